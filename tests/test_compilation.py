import keras
import pytest

import keras_vae as kv


def lstm():
    return keras.Sequential([keras.Input((5, 3)), keras.layers.LSTM(4)])


@pytest.mark.parametrize(
    ("network", "pays"),
    [
        (lambda: kv.networks.mlp_encoder([8]), True),
        (lstm, True),
        (lambda: kv.networks.conv_encoder((8, 8, 1)), False),
        (lambda: kv.networks.conv_decoder((8, 8, 1)), False),
        (lambda: kv.networks.resnet_encoder((8, 8, 1)), False),
    ],
)
def test_xla_pays_unless_a_cpu_convolves(network, pays):
    assert kv.compilation.xla_pays(network()) is pays


def test_a_layer_may_not_support_xla():
    layer = keras.layers.Dense(3)
    layer.supports_jit = False
    assert not kv.compilation.xla_pays(keras.Sequential([layer]))

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_vae as kv
from keras_vae.multi_rate.gated_network import GatedNetwork

layers = keras.layers
GENERATOR = np.random.default_rng(0)


def functional():
    """Two inputs into one layer each, a layer that is used twice, and a skip."""
    x = keras.Input((6,))
    shared = layers.Dense(6, activation="tanh", use_bias=False, name="shared")
    h = layers.LayerNormalization()(shared(shared(x)))
    h = layers.Concatenate()([h, layers.Dropout(0.5)(x)])
    return keras.Model(x, keras.ops.relu(layers.Dense(3)(h)))


def nested_convolutions():
    image = keras.Input((4, 4, 2))
    h = layers.Conv2D(4, 3, padding="same", groups=2)(image)
    h = layers.GroupNormalization(2)(layers.PReLU()(h))
    trunk = keras.Model(image, layers.Add()([h, layers.Conv2D(4, 1)(image)]))
    return keras.Sequential(
        [trunk, layers.Conv2DTranspose(2, 3, strides=2, activation="elu")]
    )


NETWORKS = {
    "layer": (lambda: layers.Dense(3, activation="sigmoid"), (5,)),
    "sequential": (lambda: kv.networks.mlp_encoder([4, 3]), (2, 3)),
    "functional": (functional, (6,)),
    "nested": (nested_convolutions, (4, 4, 2)),
    "conv1d": (lambda: layers.Conv1D(3, 2, activation="gelu"), (5, 2)),
    "conv1d_transpose": (lambda: layers.Conv1DTranspose(3, 2, use_bias=False), (5, 2)),
    "conv3d": (lambda: layers.Conv3D(3, 2), (3, 3, 3, 2)),
    "conv3d_transpose": (lambda: layers.Conv3DTranspose(3, 2), (3, 3, 3, 2)),
    "resnet": (
        lambda: kv.networks.resnet_encoder((4, 4, 1), filters=[2], hidden=[3]),
        (4, 4, 1),
    ),
    "decoder": (lambda: kv.networks.conv_decoder((6, 6, 1), hidden=[3]), (2,)),
}


def made(name, gate="spline"):
    """A gated network, all of whose weights are away from where they start."""
    make, shape = NETWORKS[name]
    network = GatedNetwork(make(), gate, rank=2)
    x = GENERATOR.normal(size=(2, *shape)).astype("float32")
    network(x)
    for weight in network.weights:
        weight.assign(weight + GENERATOR.normal(scale=0.05, size=weight.shape))
    return network, x


@pytest.mark.parametrize("name", NETWORKS)
def test_folded_network_is_the_gated_one(name):
    network, x = made(name)
    outputs = []
    for u in (-1.7, 0.2, 1.7):
        plain = network.fold(u)
        np.testing.assert_allclose(
            plain(x), network(x, u=tf.constant([[u]])), rtol=1e-5, atol=1e-5
        )
        outputs.append(plain(x))
    assert np.max(np.abs(outputs[0] - outputs[2])) > 1e-3


@pytest.mark.parametrize("gate", ["sigmoid", "root"])
def test_original_gates_fold_too(gate):
    network, x = made("nested", gate)
    u = tf.constant([[-0.4]])
    np.testing.assert_allclose(network.fold(-0.4)(x), network(x, u=u), atol=1e-5)


@pytest.mark.parametrize("name", ["sequential", "nested"])
def test_each_example_has_its_own_u(name):
    network, x = made(name)
    u = np.float32([[-1.0], [1.5]])
    together = network(x, u=u)
    for i in range(2):
        alone = network(x[i : i + 1], u=u[i : i + 1])
        np.testing.assert_allclose(together[i], alone[0], atol=1e-5)


@pytest.mark.parametrize("name", ["layer", "decoder", "functional"])
def test_folding_takes_up_what_multiplies_the_inputs(name):
    network, x = made(name)
    scale = GENERATOR.uniform(size=x.shape[1]).astype("float32")
    plain = network.fold(0.5, input_scale=scale)
    expected = network(x * scale, u=tf.constant([[0.5]]))
    np.testing.assert_allclose(plain(x), expected, atol=1e-5)
    dense_first = name != "functional"
    rescaled = [x for x in getattr(plain, "layers", []) if "rescaling" in x.name]
    assert bool(rescaled) is not dense_first


def test_weights_start_as_those_of_the_network():
    network = functional()
    x = GENERATOR.normal(size=(2, 6)).astype("float32")
    np.testing.assert_allclose(GatedNetwork(network, "spline")(x), network(x))


class Own(layers.Layer):
    def build(self, shape):
        self.kernel = self.add_weight(shape=(shape[-1], 2))

    def call(self, x):
        return x @ self.kernel


class OwnModel(keras.Model):
    def call(self, x):
        return x


@pytest.mark.parametrize(
    ("network", "name"),
    [
        (keras.Sequential([layers.Dense(2), Own(name="mine")]), "mine"),
        (keras.Sequential([layers.BatchNormalization(name="norm")]), "norm"),
        (keras.Sequential([layers.LSTM(2, name="recurrent")]), "recurrent"),
        (keras.Sequential([OwnModel(name="model")]), "model"),
        (
            keras.Sequential([layers.TimeDistributed(layers.Dense(2), name="each")]),
            "each",
        ),
        (keras.Sequential([layers.EinsumDense("abc,cd->abd", (3, 2), name="e")]), "e"),
    ],
)
def test_what_cannot_be_gated_is_named(network, name):
    with pytest.raises(ValueError, match=f"^'{name}' "):
        GatedNetwork(network, "spline")(np.zeros((2, 3, 3)))


def test_config_round_trip():
    network, _ = made("nested")
    copy = GatedNetwork.from_config(network.get_config())
    assert copy.get_config() == network.get_config()

"""The networks' images end in their channels, whatever `keras.json` says."""

import keras
import numpy as np
import pytest

import keras_vae as kv

SHAPE = (7, 6, 2)
X = np.random.default_rng(0).random((3, *SHAPE), "float32")
Z = np.random.default_rng(1).normal(size=(3, 4)).astype("float32")

MAKERS = {
    "mlp_encoder": lambda: kv.networks.mlp_encoder([5]),
    "mlp_decoder": lambda: kv.networks.mlp_decoder([5], SHAPE),
    "conv_encoder": lambda: kv.networks.conv_encoder(SHAPE, [3, 4], [5]),
    "conv_decoder": lambda: kv.networks.conv_decoder(SHAPE, [3, 4], [5]),
    "skip_decoder": lambda: kv.networks.conv_decoder(
        SHAPE, [3, 4], [5], skip_connections=True
    ),
    "resnet_encoder": lambda: kv.networks.resnet_encoder(SHAPE, [3, 4], 1, [5]),
    "resnet_decoder": lambda: kv.networks.resnet_decoder(SHAPE, [3, 4], 1, [5]),
}


@pytest.fixture(autouse=True)
def _channels_last_again():
    yield
    keras.config.set_image_data_format("channels_last")


def outputs(name, data_format):
    keras.config.set_image_data_format(data_format)
    keras.utils.set_random_seed(3)
    return MAKERS[name]()(X if name.endswith("encoder") else Z).numpy()


@pytest.mark.parametrize("name", MAKERS)
def test_the_configured_data_format_changes_no_output(name):
    expected = outputs(name, "channels_last")
    np.testing.assert_array_equal(outputs(name, "channels_first"), expected)


def test_a_multi_rate_vae_of_convolutions_trains_alike():
    def loss(data_format):
        keras.config.set_image_data_format(data_format)
        keras.utils.set_random_seed(3)
        model = kv.MultiRateVAE(
            kv.networks.conv_encoder(SHAPE, [3, 4], [5]),
            kv.networks.conv_decoder(SHAPE, [3, 4], [5]),
            latent_dim=2,
            seed=0,
        )
        model.compile(keras.optimizers.SGD(1e-3))
        trained = model.fit(X, epochs=2, verbose=0).history["loss"]
        return [
            *trained,
            *model.at(0.5).evaluate(X, verbose=0, return_dict=True).values(),
        ]

    np.testing.assert_array_equal(loss("channels_first"), loss("channels_last"))

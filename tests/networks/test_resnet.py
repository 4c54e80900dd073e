import keras
import numpy as np
import pytest

from keras_vae import networks


@pytest.mark.parametrize("shape", [(64, 64, 1), (28, 28, 1), (32, 32, 3), (9, 6, 2)])
def test_decoder_gives_the_shape_that_the_encoder_takes(shape):
    encoder = networks.resnet_encoder(shape, [4, 8], blocks=1, hidden=[6])
    decoder = networks.resnet_decoder(shape, [4, 8], blocks=1, hidden=[6])
    assert encoder(np.zeros((2, *shape), "float32")).shape == (2, 6)
    assert decoder(np.zeros((2, 3), "float32")).shape == (2, *shape)


def test_parameters_are_those_of_the_blocks():
    encoder = networks.resnet_encoder((8, 8, 1), [4], blocks=3, hidden=[5])
    halving = 4 * 4 * 1 * 4 + 4
    block = 2 * (3 * 3 * 4 * 4 + 4)
    assert encoder.count_params() == halving + 3 * block + (4 * 4 * 4 * 5 + 5)
    decoder = networks.resnet_decoder((8, 8, 1), [4], blocks=3, hidden=[5])
    decoder.build((None, 2))
    dense = (2 * 5 + 5) + (5 * 64 + 64)
    doubling = 4 * 4 * 4 * 4 + 4
    last = 3 * 3 * 4 * 1 + 1
    assert decoder.count_params() == dense + 3 * block + doubling + last


def test_variance_does_not_grow_with_depth():
    x = np.random.default_rng(0).normal(size=(8, 32, 32, 1)).astype("float32")
    deviations = []
    for blocks in (1, 16):
        encoder = networks.resnet_encoder((32, 32, 1), [32], blocks, hidden=[])
        deviations.append(np.std(encoder(x)))
    assert 0.5 < deviations[1] / deviations[0] < 2


def test_last_layer_starts_at_the_bias():
    decoder = networks.resnet_decoder((8, 8, 2), [4], output_bias=[-3, 2])
    params = decoder(np.zeros((1, 2), "float32")).numpy()
    np.testing.assert_allclose(params, np.broadcast_to([-3.0, 2.0], (1, 8, 8, 2)))


@pytest.mark.parametrize(
    ("network", "shape"),
    [
        (networks.resnet_encoder((9, 6, 1), [3, 4]), (2, 9, 6, 1)),
        (networks.resnet_decoder((9, 6, 1), [3, 4]), (2, 3)),
    ],
)
def test_networks_are_saved_and_cloned(network, shape, tmp_path):
    inputs = np.ones(shape, "float32")
    outputs = network(inputs)
    network.save(tmp_path / "network.keras")
    loaded = keras.models.load_model(tmp_path / "network.keras")
    np.testing.assert_array_equal(loaded(inputs), outputs)
    assert keras.models.clone_model(network)(inputs).shape == outputs.shape


@pytest.mark.parametrize("blocks", [0, -1, 1.5, True])
def test_blocks_must_be_positive(blocks):
    with pytest.raises(ValueError, match="`blocks` must be a positive integer. Receiv"):
        networks.resnet_encoder((8, 8, 1), blocks=blocks)
    with pytest.raises(ValueError, match="`blocks` must be a positive integer. Receiv"):
        networks.resnet_decoder((8, 8, 1), blocks=blocks)

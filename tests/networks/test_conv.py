import keras
import numpy as np
import pytest

from keras_vae import networks

SHAPES = [(64, 64, 1), (64, 64, 3), (28, 28, 1), (32, 32, 3), (8, 8, 1), (27, 50, 2)]


def test_64x64_is_the_network_of_burgess():
    encoder = networks.conv_encoder((64, 64, 1))
    decoder = networks.conv_decoder((64, 64, 1))
    decoder.build((None, 10))
    kernels = (4 * 4 * 1 * 32 + 32) + 3 * (4 * 4 * 32 * 32 + 32)
    dense = (4 * 4 * 32 * 256 + 256) + (256 * 256 + 256)
    assert encoder.count_params() == kernels + dense == 246_912
    kernels = 3 * (4 * 4 * 32 * 32 + 32) + (4 * 4 * 32 * 1 + 1)
    dense = (10 * 256 + 256) + (256 * 256 + 256) + (256 * 512 + 512)
    assert decoder.count_params() == kernels + dense == 249_953
    sides = [
        layer.output.shape[1]
        for layer in encoder.layers
        if isinstance(layer, keras.layers.Conv2D)
    ]
    assert sides == [32, 16, 8, 4]


@pytest.mark.parametrize(
    ("shape", "convolutions"), [((28, 28, 1), 3), ((32, 32, 3), 3), ((8, 8, 1), 1)]
)
def test_smaller_images_take_fewer_convolutions(shape, convolutions):
    encoder = networks.conv_encoder(shape)
    kinds = [isinstance(layer, keras.layers.Conv2D) for layer in encoder.layers]
    assert sum(kinds) == convolutions


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("filters", [None, [8, 16]])
def test_decoder_gives_the_shape_that_the_encoder_takes(shape, filters):
    encoder = networks.conv_encoder(shape, filters, hidden=[6])
    decoder = networks.conv_decoder(shape, filters, hidden=[6])
    assert encoder(np.zeros((2, *shape), "float32")).shape == (2, 6)
    assert decoder(np.zeros((2, 3), "float32")).shape == (2, *shape)


def test_decoder_goes_through_the_encoders_sizes_backwards():
    decoder = networks.conv_decoder((16, 16, 1), filters=[4, 8], hidden=[20, 10])
    decoder.build((None, 2))
    shapes = [weight.shape for weight in decoder.weights if len(weight.shape) > 1]
    assert shapes == [
        (2, 10),
        (10, 20),
        (20, 4 * 4 * 8),
        (4, 4, 4, 8),
        (4, 4, 1, 4),
    ]


def test_last_layer_is_linear_and_starts_at_the_bias():
    decoder = networks.conv_decoder((8, 8, 2), hidden=[4], output_bias=[-3, 2])
    params = decoder(np.zeros((1, 2), "float32")).numpy()
    np.testing.assert_allclose(params, np.broadcast_to([-3.0, 2.0], (1, 8, 8, 2)))


@pytest.mark.parametrize(
    "network",
    [networks.conv_encoder((9, 6, 1), [3, 4]), networks.conv_decoder((9, 6, 1), [3])],
)
def test_networks_are_saved_and_cloned(network, tmp_path):
    encodes = network.built
    inputs = np.ones((2, 9, 6, 1) if encodes else (2, 3), "float32")
    outputs = network(inputs)
    network.save(tmp_path / "network.keras")
    loaded = keras.models.load_model(tmp_path / "network.keras")
    np.testing.assert_array_equal(loaded(inputs), outputs)
    assert keras.models.clone_model(network)(inputs).shape == outputs.shape


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"input_shape": (28, 28)}, r"`input_shape` must be \(height, width, channels"),
        ({"input_shape": (28, 0, 1)}, "`input_shape` must be a list of positive"),
        ({"filters": []}, "`filters` must not be empty"),
        ({"filters": [8, -8]}, "`filters` must be a list of positive integers"),
        ({"filters": [8] * 6}, "`filters` must not halve .* Pass at most 5"),
        ({"kernel_size": 0}, "`kernel_size` must be a positive integer. Received"),
        ({"hidden": 8}, "`hidden` must be a list"),
    ],
)
def test_arguments_are_checked(arguments, message):
    with pytest.raises(ValueError, match=message):
        networks.conv_encoder(**{"input_shape": (28, 28, 1), **arguments})


def test_output_bias_is_one_number_a_channel():
    with pytest.raises(ValueError, match="one bias per channel: pass the mean over"):
        networks.conv_decoder((8, 8, 1), output_bias=np.zeros((8, 8, 1)))


def test_skip_connections_show_z_to_each_pixel():
    """Of all further kernels 0, the last layer alone sees z, the same everywhere."""
    arguments = {"filters": [4, 3], "hidden": [5]}
    decoder = networks.conv_decoder((6, 7, 2), skip_connections=True, **arguments)
    z = np.random.default_rng(0).normal(size=(3, 2)).astype("float32")
    decoder(z)
    plain = networks.conv_decoder((6, 7, 2), **arguments)
    plain(z)
    shapes = [np.shape(weight) for weight in plain.get_weights()]
    # The kernels of all layers but the first see the latent's two units beside h.
    for index in range(2, len(shapes), 2):
        axis = 3 if len(shapes[index]) == 4 else 0
        shapes[index] = tuple(
            size + 2 * (place == axis) for place, size in enumerate(shapes[index])
        )
    assert [np.shape(weight) for weight in decoder.get_weights()] == shapes
    *others, kernel, bias = decoder.get_weights()
    decoder.set_weights([*map(np.zeros_like, others), kernel, bias])
    params = decoder(z)
    assert params.shape == (3, 6, 7, 2)
    images = np.broadcast_to(z[:, None, None], (3, 3, 4, 2))
    transpose = keras.ops.conv_transpose(
        np.ascontiguousarray(images), kernel[..., -2:], strides=2, padding="same"
    )
    np.testing.assert_allclose(params, transpose[:, :6, :7] + bias, atol=1e-6)

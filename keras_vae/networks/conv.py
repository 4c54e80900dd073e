"""Convolutional networks that halve or double the image in each layer."""

import math

import keras

from keras_vae.arguments import check_count
from keras_vae.networks import _arguments
from keras_vae.networks import conditional
from keras_vae.networks.mlp import dense_stack

_SMALLEST_SIDE = 4


def conv_encoder(
    input_shape,
    filters=None,
    hidden=(256, 256),
    kernel_size=4,
    activation="relu",
    name=None,
    conditions=None,
):
    """Makes an encoder of convolutions with stride 2 and dense layers.

    For images of 64 x 64 the defaults are the network of Burgess et al. (2018),
    appendix A: four convolutions of 32 channels, 4 x 4, stride 2, then two layers of
    256 units. Images of 28 x 28 and 32 x 32 get three convolutions, images of 8 x 8
    one.

    Args:
        input_shape: Tuple (height, width, channels).
        filters: List of positive integers, the channels of each convolution. Defaults
            to None: as many convolutions of 32 channels as reduce the longer side to 4.
        hidden: List of positive integers, the units of the dense layers. Defaults to
            (256, 256).
        kernel_size: Positive integer, side of the kernels. Defaults to 4.
        activation: Name of a Keras activation or a callable. Defaults to "relu".
        name: String, optional name of the model.
        conditions: Dict of names to kinds, those of the conditions of a `VAE` that the
            network takes after its convolutions, or None for none.

    Returns:
        A `keras.Sequential` that maps (batch, height, width, channels) to features
        (batch, hidden[-1]).

    Raises:
        ValueError: If an argument is invalid.

    Example:
    >>> encoder = kv.networks.conv_encoder((64, 64, 1))
    >>> encoder.count_params()
    246912

    References:
        Understanding disentangling in beta-VAE, https://arxiv.org/abs/1804.03599
    """
    input_shape = _arguments.check_image_shape("input_shape", input_shape)
    filters = check_filters(filters, input_shape)
    kernel_size = check_count("kernel_size", kernel_size)
    convolutions = [
        keras.layers.Conv2D(
            channels,
            kernel_size,
            strides=2,
            padding="same",
            data_format=_arguments.DATA_FORMAT,
            activation=activation,
            kernel_initializer=_arguments.initializer(activation),
        )
        for channels in filters
    ]
    before = [*convolutions, keras.layers.Flatten(_arguments.DATA_FORMAT)]
    dense = dense_stack(hidden, activation)
    return conditional.encoder(before, dense, conditions, name, input_shape)


def conv_decoder(
    output_shape,
    filters=None,
    hidden=(256, 256),
    kernel_size=4,
    activation="relu",
    output_bias=None,
    skip_connections=False,
    name=None,
    conditions=None,
):
    """Makes the transpose of `conv_encoder`, linear in its last layer.

    Args:
        output_shape: Tuple (height, width, channels), the shape of the likelihood's
            parameters for one example.
        filters: List of positive integers as in `conv_encoder`, in the encoder's order;
            the decoder uses it in reverse. Defaults to None: 32 channels for each of
            the encoder's convolutions.
        hidden: List of positive integers in the encoder's order. Defaults to
            (256, 256).
        kernel_size: Positive integer, side of the kernels. Defaults to 4.
        activation: Name of a Keras activation or a callable. Defaults to "relu".
        output_bias: Number or array of shape (channels,), the initial bias of the last
            layer. Defaults to None, which is zero.
        skip_connections: Boolean, whether each layer also gets z as input, see
            `SkipSequential`. Defaults to False.
        name: String, optional name of the model.
        conditions: Dict of names to kinds, those of the conditions of a `VAE` that the
            network takes beside z, or None for none.

    Returns:
        A `keras.Sequential`, or `SkipSequential`, that maps (batch, latent) to (batch,
        height, width, channels). The first call sets the size of the latent.

    Raises:
        ValueError: If an argument is invalid.

    Example:
    >>> decoder = kv.networks.conv_decoder((28, 28, 1))
    >>> decoder(np.zeros((5, 10), "float32")).shape
    TensorShape([5, 28, 28, 1])

    References:
        Understanding disentangling in beta-VAE, https://arxiv.org/abs/1804.03599
    """
    output_shape = _arguments.check_image_shape("output_shape", output_shape)
    filters = check_filters(filters, output_shape)
    hidden = _arguments.check_sizes("hidden", hidden)
    kernel_size = check_count("kernel_size", kernel_size)
    sizes = image_sizes(output_shape, len(filters))
    layers = feature_map(hidden[::-1], (*sizes[-1], filters[-1]), activation)
    stages = zip(filters[-2::-1], sizes[-2:0:-1], strict=True)
    for channels, size in stages:
        layers += upsampling(channels, kernel_size, size, activation)
    layers += upsampling(
        output_shape[-1],
        kernel_size,
        sizes[0],
        activation=None,
        bias_initializer=channel_bias(output_bias, output_shape),
    )
    return conditional.decoder(layers, conditions, name, skip_connections)


def check_filters(filters, image_shape, first_halves=True):
    """Returns the channels after each halving; by default 32 until the side is 4.

    Args:
        filters: List of positive integers, or None.
        image_shape: Tuple (height, width, channels).
        first_halves: Boolean, whether the first entry stands behind a halving, or for
            the image as it is.
    """
    longer = max(image_shape[:2])
    if filters is None:
        halvings = math.ceil(math.log2(longer / _SMALLEST_SIDE))
        return (32,) * max(1, halvings)
    filters = _arguments.check_sizes("filters", filters, empty=False)
    whole = 0 if first_halves else 1
    if 2 ** (len(filters) - whole - 1) >= longer:
        raise ValueError(
            f"`filters` must not halve the image below a single pixel. Received: "
            f"{len(filters)} filters for an image of {image_shape[:2]}. Pass at most "
            f"{math.ceil(math.log2(longer)) + whole or 1}."
        )
    return filters


def image_sizes(image_shape, halvings):
    """Returns (height, width) before, between and after `halvings` halvings."""
    height, width = image_shape[:2]
    # A strided convolution with "same" padding rounds the side up.
    return [
        (math.ceil(height / 2**i), math.ceil(width / 2**i)) for i in range(halvings + 1)
    ]


def feature_map(hidden, shape, activation):
    """Returns the layers from the latent to a feature map of `shape`."""
    return [
        *dense_stack([*hidden, math.prod(shape)], activation),
        keras.layers.Reshape(shape),
    ]


def upsampling(channels, kernel_size, size, activation, bias_initializer="zeros"):
    """Returns the layers that double an image and crop it to `size`."""
    layers = [
        keras.layers.Conv2DTranspose(
            channels,
            kernel_size,
            strides=2,
            padding="same",
            data_format=_arguments.DATA_FORMAT,
            activation=activation,
            kernel_initializer=_arguments.initializer(activation),
            bias_initializer=bias_initializer,
        )
    ]
    odd = [side % 2 for side in size]
    if any(odd):
        cropping = [(0, cut) for cut in odd]
        layers.append(keras.layers.Cropping2D(cropping, _arguments.DATA_FORMAT))
    return layers


def channel_bias(output_bias, output_shape):
    """Returns the initializer of a bias with one value per channel."""
    return _arguments.bias_initializer(
        output_bias,
        output_shape[-1:],
        remedy=" A convolution has one bias per channel: pass the mean over pixels.",
    )

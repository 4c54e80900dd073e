"""Residual networks with preactivations and without normalization."""

import keras

from keras_vae.arguments import check_count
from keras_vae.networks import _arguments
from keras_vae.networks import conditional
from keras_vae.networks import conv
from keras_vae.networks.mlp import dense_stack


def resnet_encoder(
    input_shape,
    filters=None,
    blocks=2,
    hidden=(256,),
    activation="relu",
    name=None,
    conditions=None,
):
    """Makes an encoder of residual blocks between halvings of the image.

    A block is h + conv(activation(conv(activation(h)))), the preactivation form of He
    et al. (2016), figure 1b. It has no normalization, because batch normalization would
    make the examples of a batch depend on each other. Instead the initial values of
    each block's last kernel are divided by the root of the number of blocks, after
    Child (2021), section 3.2.

    Args:
        input_shape: Tuple (height, width, channels).
        filters: List of positive integers, the channels after each halving. Defaults to
            None: as many halvings with 32 channels as reduce the longer side to 4.
        blocks: Positive integer, residual blocks after each halving. Defaults to 2.
        hidden: List of positive integers, the units of the dense layers. Defaults to
            (256,).
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
    >>> encoder = kv.networks.resnet_encoder((32, 32, 3), filters=[16, 32])
    >>> encoder(np.zeros((5, 32, 32, 3), "float32")).shape
    TensorShape([5, 256])

    References:
        Identity Mappings in Deep Residual Networks, https://arxiv.org/abs/1603.05027
        Very Deep VAEs, https://arxiv.org/abs/2011.10650
    """
    input_shape = _arguments.check_image_shape("input_shape", input_shape)
    filters = conv.check_filters(filters, input_shape)
    blocks = check_count("blocks", blocks)
    dense = dense_stack(hidden, activation)
    images = keras.Input(input_shape)
    h = images
    for channels in filters:
        h = convolution(channels, None, kernel_size=4, strides=2)(h)
        h = residual_blocks(h, blocks, 2.0 / (len(filters) * blocks), activation)
    h = keras.layers.Activation(activation)(h)
    trunk = keras.Model(images, h, name="trunk")
    flatten = keras.layers.Flatten(_arguments.DATA_FORMAT)
    return conditional.encoder([trunk, flatten], dense, conditions, name, input_shape)


def resnet_decoder(
    output_shape,
    filters=None,
    blocks=2,
    hidden=(256,),
    activation="relu",
    output_bias=None,
    name=None,
    conditions=None,
):
    """Makes the mirror image of `resnet_encoder`, linear in its last layer.

    Args:
        output_shape: Tuple (height, width, channels), the shape of the likelihood's
            parameters for one example.
        filters: List of positive integers in the encoder's order; the decoder uses it
            in reverse. Defaults to None: 32 channels for each of the encoder's
            halvings.
        blocks: Positive integer, residual blocks before each doubling. Defaults to 2.
        hidden: List of positive integers in the encoder's order. Defaults to (256,).
        activation: Name of a Keras activation or a callable. Defaults to "relu".
        output_bias: Number or array of shape (channels,), the initial bias of the last
            layer. Defaults to None, which is zero.
        name: String, optional name of the model.
        conditions: Dict of names to kinds, those of the conditions of a `VAE` that the
            network takes beside z, or None for none.

    Returns:
        A `keras.Sequential` that maps (batch, latent) to (batch, height, width,
        channels). The first call sets the size of the latent.

    Raises:
        ValueError: If an argument is invalid.

    Example:
    >>> decoder = kv.networks.resnet_decoder((8, 8, 1), filters=[16])
    >>> decoder(np.zeros((5, 2), "float32")).shape
    TensorShape([5, 8, 8, 1])
    """
    output_shape = _arguments.check_image_shape("output_shape", output_shape)
    filters = conv.check_filters(filters, output_shape)
    blocks = check_count("blocks", blocks)
    hidden = _arguments.check_sizes("hidden", hidden)
    bias = conv.channel_bias(output_bias, output_shape)
    sizes = conv.image_sizes(output_shape, len(filters))
    smallest = (*sizes[-1], filters[-1])
    features = keras.Input(smallest)
    h = features
    for channels, size in zip(
        (*filters[-2::-1], filters[0]), sizes[-2::-1], strict=True
    ):
        h = residual_blocks(h, blocks, 2.0 / (len(filters) * blocks), activation)
        h = keras.layers.Activation(activation)(h)
        for layer in conv.upsampling(channels, 4, size, activation=None):
            h = layer(h)
    h = keras.layers.Activation(activation)(h)
    h = convolution(output_shape[-1], None, bias_initializer=bias)(h)
    trunk = keras.Model(features, h, name="trunk")
    layers = [*conv.feature_map(hidden[::-1], smallest, activation), trunk]
    return conditional.decoder(layers, conditions, name)


def residual_blocks(h, blocks, variance, activation):
    """Adds residual blocks with preactivations to a symbolic tensor.

    Args:
        h: `keras.KerasTensor` (batch, height, width, channels).
        blocks: Integer, how many.
        variance: Float, the variance of the output of each block's last convolution at
            the start, for inputs of variance 1.
        activation: Name of a Keras activation or a callable.
    """
    for _ in range(blocks):
        residual = keras.layers.Activation(activation)(h)
        residual = convolution(h.shape[-1], _arguments.initializer(activation))(
            residual
        )
        residual = keras.layers.Activation(activation)(residual)
        last = keras.initializers.VarianceScaling(
            variance, mode="fan_in", distribution="truncated_normal"
        )
        residual = convolution(h.shape[-1], last)(residual)
        h = keras.layers.Add()([h, residual])
    return h


def convolution(channels, initializer, kernel_size=3, strides=1, **kwargs):
    """Returns a convolution that keeps the size of the image or divides it.

    Args:
        channels: Integer.
        initializer: Initializer of the kernel, or None for Glorot's.
        kernel_size: Integer, side of the kernel.
        strides: Integer.
        **kwargs: See `keras.layers.Conv2D`.
    """
    return keras.layers.Conv2D(
        channels,
        kernel_size,
        strides=strides,
        padding="same",
        data_format=_arguments.DATA_FORMAT,
        kernel_initializer=initializer or "glorot_uniform",
        **kwargs,
    )

"""Networks of a hierarchy of latents."""

import functools
import itertools
import math

import keras

from keras_vae.arguments import check_count
from keras_vae.conditions import Conditions
from keras_vae.networks import _arguments
from keras_vae.networks import conditional
from keras_vae.networks import conv
from keras_vae.networks.mlp import dense_stack
from keras_vae.networks.resnet import convolution
from keras_vae.networks.resnet import residual_blocks

# Variance of what a residual block adds at the start, near zero.
_ADDED = 1e-4


def mlp_levels(
    hidden,
    output_shape,
    activation="relu",
    batch_normalization=False,
    output_bias=None,
    conditions=None,
    layers=1,
):
    """Makes the encoders and decoders of a `HierarchicalVAE`, of dense layers.

    h_l = activation(BN(W_l h_{l-1} + b_l)), with or without the batch normalization BN,
    `layers` times. Upwards h_0 is flat x, downwards h_l is of z of its level. The
    decoder of level 1 has a linear last layer on top.

    Args:
        hidden: List of positive integers, the units of each level, that next to x
            first.
        output_shape: Tuple, the shape of the likelihood's parameters for one example.
        activation: Name of a Keras activation or a callable. Defaults to "relu".
        batch_normalization: Boolean, whether the layers normalize over the batch
            before the activation. Defaults to False.
        output_bias: See `mlp_decoder`.
        conditions: Dict of names to kinds, those of the conditions of a `VAE` that the
            networks of level 1 take, or None for none.
        layers: Positive integer, the dense layers of each network, all of the units of
            its level. Defaults to 1.

    Returns:
        Two lists of `keras.Sequential`s, the encoders and the decoders.

    Raises:
        ValueError: If a size, or `layers`, is no positive integer.

    Example:
    >>> encoder, decoder = kv.networks.mlp_levels([32, 16], (8, 8, 1))
    >>> vae = kv.HierarchicalVAE(encoder, decoder, latent_dim=[4, 2])
    >>> vae.reconstruct(np.zeros((3, 8, 8, 1))).shape
    TensorShape([3, 8, 8, 1])

    Reference:
        [Ladder Variational Autoencoders](https://arxiv.org/abs/1602.02282)
    """
    hidden = _arguments.check_sizes("hidden", hidden, empty=False)
    output_shape = _arguments.check_sizes("output_shape", output_shape, empty=False)
    layers = check_count("layers", layers)

    def stack(units):
        if not batch_normalization:
            return dense_stack([units] * layers, activation)
        return [
            layer
            for _ in range(layers)
            for layer in (
                *dense_stack([units], None),
                keras.layers.BatchNormalization(),
                keras.layers.Activation(activation),
            )
        ]

    def flat():
        return keras.layers.Flatten(_arguments.DATA_FORMAT)

    bias = _arguments.bias_initializer(output_bias, output_shape)
    last = [
        keras.layers.Dense(math.prod(output_shape), bias_initializer=bias),
        keras.layers.Reshape(output_shape),
    ]
    first, *others = hidden
    encoders = [conditional.encoder([flat()], stack(first), conditions, None)]
    decoders = [conditional.decoder([*stack(first), *last], conditions, None)]
    for units in others:
        encoders.append(keras.Sequential([flat(), *stack(units)]))
        decoders.append(keras.Sequential([flat(), *stack(units)]))
    return encoders, decoders


def resnet_levels(
    output_shape,
    levels=(4,) * 6,
    filters=(16, 24, 32),
    blocks=1,
    activation="gelu",
    output_bias=None,
    conditions=None,
):
    """Makes the networks of a hierarchy of maps in residual states, a small VDVAE.

    Upwards and downwards a state of few channels passes all levels. Residual blocks add
    to it, whose last convolutions start near zero. The image is halved between the
    resolutions, each of which has as many levels. A level adds its z to the state that
    comes from above:

        h_l = f_l(h_{l+1} + W_l z_l)

    The prior of the level below, and with `inference="top_down"` its posterior too, see
    h_l.

    Args:
        output_shape: Tuple (height, width, channels), the shape of the likelihood's
            parameters for one example.
        levels: List of positive integers, the channels of z of each level, that next to
            x first. Defaults to two levels of four channels at each of three
            resolutions.
        filters: List of positive integers, the channels of the state at each
            resolution, that of the image first. Their number divides that of `levels`.
        blocks: Positive integer, residual blocks of each network.
        activation: Name of a Keras activation or a callable. Defaults to "gelu".
        output_bias: Number or array of shape (channels,), the initial bias of the last
            layer. Defaults to None, which is zero.
        conditions: See `mlp_levels`.

    Returns:
        Three lists, the first arguments of a `HierarchicalVAE` with `inference`
        "top_down" or "ladder": the encoders, the decoders, and the shapes of z.

    Raises:
        ValueError: If an argument is invalid.

    Example:
    >>> networks = kv.networks.resnet_levels((8, 8, 1), levels=[2, 2], filters=[4, 6])
    >>> vae = kv.HierarchicalVAE(*networks, inference="top_down")
    >>> [latent.shape for latent in vae.latents]
    [(8, 8, 2), (4, 4, 2)]

    Reference:
        [Very Deep VAEs Generalize Autoregressive Models and Can Outperform Them on
        Images](https://arxiv.org/abs/2011.10650)
    """
    output_shape = _arguments.check_image_shape("output_shape", output_shape)
    levels = _arguments.check_sizes("levels", levels, empty=False)
    filters = conv.check_filters(filters, output_shape, first_halves=False)
    blocks = check_count("blocks", blocks)
    bias = conv.channel_bias(output_bias, output_shape)
    states = _states(output_shape, filters, levels)
    add = functools.partial(
        residual_blocks, blocks=blocks, variance=_ADDED, activation=activation
    )
    given = Conditions(conditions)
    first = [convolution(filters[0], None), _encoder(states[0], states[0], add)]
    encoders = [conditional.encoder([], first, given.get_config(), None)]
    encoders += [_encoder(*pair, add) for pair in itertools.pairwise(states)]
    shapes = [(*s[:-1], channels) for s, channels in zip(states, levels, strict=True)]
    decoders = []
    for place, (state, channels) in enumerate(zip(states, levels, strict=True)):
        seen = channels if place else channels + given.size
        inputs, h = _with_latent(seen, state, has_above=place + 1 < len(states))
        h = add(h)
        if not place:
            h = keras.layers.Activation(activation)(h)
            h = convolution(output_shape[-1], None, bias_initializer=bias)(h)
        elif states[place - 1] != state:
            h = _enlarged(keras.layers.Activation(activation)(h), states[place - 1])
        decoders.append(keras.Model(inputs, h))
    if given:
        decoders[0] = conditional.ConditionalSequential(
            [conditional.JoinConditions(conditions), decoders[0]]
        )
    return encoders, decoders, shapes


def _states(image_shape, filters, levels):
    """Returns the shape of the state at each level."""
    if len(levels) % len(filters):
        raise ValueError(
            "`levels` must have as many entries for each of the resolutions of "
            f"`filters`. Received: levels={levels}, filters={filters}"
        )
    sizes = conv.image_sizes(image_shape, len(filters) - 1)
    maps = [(*size, c) for size, c in zip(sizes, filters, strict=True)]
    return [state for state in maps for _ in range(len(levels) // len(filters))]


def _encoder(below, state, add):
    """Returns a network from the state below to that of a level, which may be less."""
    features = keras.Input(below)
    h = features
    if below != state:
        h = convolution(state[-1], None, kernel_size=4, strides=2)(h)
    return keras.Model(features, add(h))


def _with_latent(channels, state, has_above):
    """Returns the inputs of a decoder, and the state with z added to it."""
    z = keras.Input((*state[:-1], channels), name="z")
    h = convolution(state[-1], None, kernel_size=1)(z)
    if not has_above:
        return z, h
    above = keras.Input(state, name="above")
    return {"z": z, "above": above}, keras.layers.Add()([above, h])


def _enlarged(h, state):
    *size, channels = state
    for layer in conv.upsampling(channels, 4, size, activation=None):
        h = layer(h)
    return h

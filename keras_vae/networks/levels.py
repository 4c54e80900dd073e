"""Networks of a hierarchy of latents."""

import math

import keras

from keras_vae.networks import _arguments
from keras_vae.networks import conditional
from keras_vae.networks.mlp import dense_stack


def mlp_levels(
    hidden,
    output_shape,
    activation="relu",
    batch_normalization=False,
    output_bias=None,
    conditions=None,
):
    """Makes the encoders and decoders of a `HierarchicalVAE`, of a dense layer each.

    h_l = activation(BN(W_l h_{l-1} + b_l)), with or without the batch normalization BN.
    Upwards h_0 is flat x, downwards h_l is of z of its level. The decoder of level 1
    has a linear last layer on top.

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

    Returns:
        Two lists of `keras.Sequential`s, the encoders and the decoders.

    Raises:
        ValueError: If a size is no positive integer.

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

    def stack(units):
        if not batch_normalization:
            return dense_stack([units], activation)
        return [
            *dense_stack([units], None),
            keras.layers.BatchNormalization(),
            keras.layers.Activation(activation),
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

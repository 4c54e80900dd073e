"""Multilayer perceptrons."""

import math

import keras

from keras_vae.networks import _arguments
from keras_vae.networks import conditional


def mlp_encoder(
    hidden, input_shape=None, activation="relu", name=None, conditions=None
):
    """Makes an encoder of dense layers.

    h_0 = flat(x), h_l = activation(W_l h_{l-1} + b_l). Kernels start with He's
    initialization for rectifiers and with Glorot's otherwise.

    Args:
        hidden: List of positive integers, the units of each layer. If it is empty, the
            features are x itself, as a linear VAE needs.
        input_shape: Tuple, the shape of one example. Defaults to None: the first call
            sets it.
        activation: Name of a Keras activation or a callable. Defaults to "relu".
        name: String, optional name of the model.
        conditions: Dict of names to kinds, those of the conditions of a `VAE` that the
            network takes beside flat x, or None for none.

    Returns:
        A `keras.Sequential`, or `ConditionalSequential`, that maps (batch,
        *input_shape) to features (batch, hidden[-1]).

    Raises:
        ValueError: If `hidden` or `input_shape` is not a list of positive integers.

    Example:
    >>> encoder = kv.networks.mlp_encoder([256, 128])
    >>> encoder(np.zeros((5, 8, 8, 1), "float32")).shape
    TensorShape([5, 128])
    """
    if input_shape is not None:
        input_shape = _arguments.check_sizes("input_shape", input_shape, empty=False)
    flatten = keras.layers.Flatten(_arguments.DATA_FORMAT)
    dense = dense_stack(hidden, activation)
    return conditional.encoder([flatten], dense, conditions, name, input_shape)


def mlp_decoder(
    hidden,
    output_shape,
    activation="relu",
    output_bias=None,
    skip_connections=False,
    name=None,
    conditions=None,
):
    """Makes a decoder of dense layers with a linear last layer.

    Args:
        hidden: List of positive integers, the units of each layer before the last. If
            it is empty, the decoder is linear.
        output_shape: Tuple, the shape of the likelihood's parameters for one example.
        activation: Name of a Keras activation or a callable. Defaults to "relu".
        output_bias: Number or array of shape `output_shape`, the initial bias of the
            last layer; the logit of the data's mean is a good start for a Bernoulli.
            Defaults to None, which is zero.
        skip_connections: Boolean, whether each layer also gets z as input, see
            `SkipSequential`. Defaults to False.
        name: String, optional name of the model.
        conditions: Dict of names to kinds, those of the conditions of a `VAE` that the
            network takes beside z, or None for none.

    Returns:
        A `keras.Sequential`, or `SkipSequential`, that maps (batch, latent) to (batch,
        *output_shape). The first call sets the size of the latent.

    Raises:
        ValueError: If `hidden`, `output_shape` or `output_bias` has a wrong shape.

    Example:
    >>> decoder = kv.networks.mlp_decoder([256, 256], (8, 8, 1))
    >>> decoder(np.zeros((5, 2), "float32")).shape
    TensorShape([5, 8, 8, 1])
    """
    output_shape = _arguments.check_sizes("output_shape", output_shape, empty=False)
    bias = _arguments.bias_initializer(output_bias, output_shape)
    layers = [
        *dense_stack(hidden, activation),
        keras.layers.Dense(math.prod(output_shape), bias_initializer=bias),
        keras.layers.Reshape(output_shape),
    ]
    return conditional.decoder(layers, conditions, name, skip_connections)


def dense_stack(hidden, activation):
    """Returns one dense layer for each of `hidden`; errors name `hidden`."""
    return [
        keras.layers.Dense(
            units,
            activation=activation,
            kernel_initializer=_arguments.initializer(activation),
        )
        for units in _arguments.check_sizes("hidden", hidden)
    ]

"""The network of autoregressive flows."""

import keras
import numpy as np
import tensorflow as tf

from keras_vae.weights import add_float32

# Of log-scales, on either side of 0.
_LIMIT = 2.0


class AutoregressiveNetwork(keras.layers.Layer):
    """Shift and log-scale of each unit from the units before it and from a context.

    A masked network of one hidden layer (MADE, Germain et al. 2015). It starts at shift
    and log-scale 0; log-scales stay within 2 of 0.

    Args:
        hidden_units: Integer, units of the hidden layer.
        context_units: Integer, size of the context, which all units see; 0 for none.
        reverse: Boolean, whether the order of the units is reversed.
        seed: Integer or None, seed of the initial kernels.

    Call arguments:
        z: Float tensor (..., latent_dim).
        context: Float tensor (..., context_units), or None.

    Returns:
        Two float32 tensors (..., latent_dim).

    Example:
    >>> network = AutoregressiveNetwork(hidden_units=8)
    >>> network.build((None, 3))
    >>> shift, log_scale = network(tf.ones([1, 3]))
    >>> shift.numpy()
    array([[0., 0., 0.]], dtype=float32)

    Reference:
        [MADE: Masked Autoencoder for Distribution Estimation](
        https://arxiv.org/abs/1502.03509)
    """

    def __init__(
        self, hidden_units, context_units=0, reverse=False, seed=None, **kwargs
    ):
        # Half precision would lose digits of the density.
        super().__init__(**{**kwargs, "dtype": "float32"})
        self.hidden_units, self.context_units = hidden_units, context_units
        self.reverse, self.seed = reverse, seed

    def build(self, input_shape):
        """Creates the weights."""
        units, hidden = input_shape[-1], self.hidden_units
        places = np.arange(1, units + 1)
        places = places[::-1] if self.reverse else places
        # Places up to which a hidden unit sees.
        seen = np.arange(hidden) % max(units - 1, 1) + 1
        self._first = np.float32(seen >= places[:, None])
        self._last = np.tile(np.float32(places > seen[:, None]), 2)
        sizes = self.context_units, 2 * units
        glorot = keras.initializers.GlorotUniform(self.seed)
        self.kernel = add_float32(self, "kernel", glorot, (units, hidden))
        self.bias = add_float32(self, "bias", "zeros", (hidden,))
        self.last_kernel = add_float32(self, "last_kernel", "zeros", (hidden, sizes[1]))
        self.last_bias = add_float32(self, "last_bias", "zeros", sizes[1:])
        if self.context_units:
            shape = self.context_units, hidden
            self.context_kernel = add_float32(self, "context_kernel", glorot, shape)
            # The first unit sees nothing else.
            self.direct_kernel = add_float32(self, "direct_kernel", "zeros", sizes)

    def call(self, z, context=None):
        """See the class."""
        hidden = _product(z, self.kernel * self._first) + self.bias
        if context is not None:
            hidden += _product(context, self.context_kernel)
        values = _product(tf.tanh(hidden), self.last_kernel * self._last)
        values += self.last_bias
        if context is not None:
            values += _product(context, self.direct_kernel)
        shift, raw = tf.split(values, 2, axis=-1)
        return shift, _LIMIT * tf.tanh(raw / _LIMIT)


def transform(networks, z, context=None):
    """Returns z after `z = shift + exp(log_scale) z` of each network in turn.

    TFP's bijectors would keep results between calls, so that an eager gradient misses
    what was computed before its tape.

    Args:
        networks: List of `AutoregressiveNetwork`s.
        z: Float tensor (..., latent_dim).
        context: Float tensor (..., context_units), or None.

    Returns:
        A float32 tensor (..., latent_dim), and log |det| of the map, shape (...).
    """
    log_det = 0.0
    for network in networks:
        shift, log_scale = network(z, context)
        z = shift + tf.exp(log_scale) * z
        log_det += tf.reduce_sum(log_scale, axis=-1)
    return z, log_det


def undo(networks, z, context=None):
    """Returns what `transform` maps to z, and log |det| of `transform` there."""
    log_det = 0.0
    for network in reversed(networks):
        after = z
        # Each pass makes one more unit right.
        for _ in range(z.shape[-1]):
            shift, log_scale = network(z, context)
            z = (after - shift) * tf.exp(-log_scale)
        log_det += tf.reduce_sum(log_scale, axis=-1)
    return z, log_det


def _product(values, kernel):
    return tf.tensordot(tf.cast(values, tf.float32), kernel, axes=1)

"""Dense and convolutional layers that depend on u and fold into plain layers."""

import keras
import numpy as np
import tensorflow as tf

from keras_vae.multi_rate import gates
from keras_vae.weights import add_float32

_CONVOLUTIONS = (keras.layers.Conv1D, keras.layers.Conv2D, keras.layers.Conv3D)
_TRANSPOSED = (
    keras.layers.Conv1DTranspose,
    keras.layers.Conv2DTranspose,
    keras.layers.Conv3DTranspose,
)
GATED = (keras.layers.Dense, *_CONVOLUTIONS, *_TRANSPOSED)


class GatedLayer(keras.layers.Layer):
    """A copy of a dense or convolutional layer that depends on u.

    A gate between bias and activation scales and shifts each unit. The kernel of a
    dense layer depends on u as well: `kernel(u) = kernel + down diag(strengths(u)) up`.
    Strengths are linear in u between evenly spaced knots. Each strength is initially
    nonzero at one knot only, and `up` is zero. A convolution with this term would take
    three times as long on a CPU, so convolutions lack it.

    Args:
        layer: One of `GATED`. Its weights are not copied.
        make_gate: Callable, (activation, axis, name) -> `gates.Gate`.
        rank: Integer, columns of `down`, at most half the smaller side of the kernel.
            Convolutions have none.
    """

    def __init__(self, layer, make_gate, rank, **kwargs):
        super().__init__(**kwargs, dtype=layer.dtype_policy)
        self.is_dense = isinstance(layer, keras.layers.Dense)
        channels_first = layer.get_config().get("data_format") == "channels_first"
        self.axis = 1 if channels_first else -1
        self.rank = rank if self.is_dense else 0
        self.layer = _copy(layer, activation=None)
        self.supports_masking = layer.supports_masking
        self.gate = make_gate(layer.activation, axis=self.axis, name="gate")

    @property
    def kernel(self):
        """The kernel that all u share."""
        return self.layer.kernel

    @property
    def bias(self):
        """The bias of that kernel, or None."""
        return self.layer.bias

    @property
    def units(self):
        """Channels of the layer's output."""
        return self.layer.units if self.is_dense else self.layer.filters

    def build(self, input_shape):
        """Creates all weights."""
        self.layer.build(input_shape)
        self.gate.build(self.units)
        self.rank = min(self.rank, self.units // 2, input_shape[-1] // 2)
        if self.rank:
            self.down = _copy(self.layer, use_bias=False, name="down", units=self.rank)
            self.down.build(input_shape)
            places = np.arange(self.rank)
            at_knots = np.equal.outer(np.arange(gates.KNOTS), places % gates.KNOTS)
            initial = at_knots / gates.GAIN
            self.strengths = add_float32(self, "strengths", initial, initial.shape)
            self.up = self.add_weight(
                shape=(self.rank, self.units), initializer="zeros", name="up"
            )
        self.built = True

    def call(self, x):
        """See the class."""
        y = self.layer(x)
        if self.rank:
            strengths = gates.hats(gates.current_u()) @ self.strengths
            low = self.down(x)
            low = low * gates.along_axis(strengths, low, self.axis)
            y = y + low @ tf.cast(self.up, low.dtype)
        return self.gate(y)

    def compute_output_shape(self, input_shape):
        """Returns the output shape of the layer."""
        return self.layer.compute_output_shape(input_shape)

    def fold(self, u, plain):
        """Assigns weights to a plain layer so that it equals this layer at u.

        Args:
            u: Float.
            plain: A layer of the original's form, with a bias.
        """
        u = tf.constant([[u]], tf.float32)
        scale, shift = self.gate.scale_and_shift(u)
        scale = np.asarray(scale)[0]
        shift = np.zeros_like(scale) if shift is None else np.asarray(shift)[0]
        kernel = np.asarray(self.layer.kernel)
        if self.rank:
            strengths = np.asarray(gates.hats(u) @ self.strengths)[0]
            up = strengths[:, None] * np.asarray(self.up)
            kernel = kernel + np.asarray(self.down.kernel) @ up
        bias = np.asarray(self.layer.bias) if self.layer.use_bias else 0.0
        # Transposed convolutions have their units on the second last axis.
        transposed = isinstance(self.layer, _TRANSPOSED)
        plain.kernel.assign(kernel * (scale[:, None] if transposed else scale))
        plain.bias.assign(bias * scale + shift)


def _copy(layer, **changes):
    return type(layer).from_config({**layer.get_config(), **changes})

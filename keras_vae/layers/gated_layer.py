"""Dense and convolutional layers that depend on one number, and fold back."""

import keras
import numpy as np
import tensorflow as tf

from keras_vae.layers import gates

_CONVOLUTIONS = (keras.layers.Conv1D, keras.layers.Conv2D, keras.layers.Conv3D)
_TRANSPOSED = (
    keras.layers.Conv1DTranspose,
    keras.layers.Conv2DTranspose,
    keras.layers.Conv3DTranspose,
)
GATED = (keras.layers.Dense, *_CONVOLUTIONS, *_TRANSPOSED)


class GatedLayer(keras.layers.Layer):
    """A copy of a dense or convolutional layer whose kernel and bias depend on u.

    `kernel(u) = (kernel + down diag(strengths(u)) up) scale(u)`, and the bias likewise
    is scaled and shifted. A gate, which scales and shifts each unit, acts between the
    bias and the activation. Strengths are linear in u between evenly spaced knots; each
    starts at one of the knots alone, and `up` at zero.

    Args:
        layer: One of `GATED`. Its weights are not copied.
        make_gate: Callable, (activation, axis, name) -> `gates.Gate`.
        rank: Integer, columns of `down`. There are at most half as many as the layer
            has units on its smaller side, a quarter where it convolves, which takes
            longer, and none where it has `groups`.
    """

    def __init__(self, layer, make_gate, rank, **kwargs):
        super().__init__(**kwargs, dtype=layer.dtype_policy)
        config = layer.get_config()
        channels_first = config.get("data_format") == "channels_first"
        self.axis = 1 if channels_first else -1
        self.rank = rank if config.get("groups", 1) == 1 else 0
        self.layer = _copy(layer, activation=None)
        self.gate = make_gate(layer.activation, axis=self.axis, name="gate")

    @property
    def units(self):
        """Channels of the layer's output."""
        return self.layer.units if self._is_dense else self.layer.filters

    @property
    def _is_dense(self):
        return isinstance(self.layer, keras.layers.Dense)

    def build(self, input_shape):
        """Creates all weights."""
        self.layer.build(input_shape)
        self.gate.build(self.units)
        smaller = min(self.units, input_shape[self.axis])
        self.rank = min(self.rank, smaller // (2 if self._is_dense else 4))
        if self.rank:
            size = "units" if self._is_dense else "filters"
            self.down = _copy(
                self.layer, use_bias=False, name="down", **{size: self.rank}
            )
            self.down.build(input_shape)
            places = np.arange(self.rank)
            at_knots = np.equal.outer(np.arange(gates.KNOTS), places % gates.KNOTS)
            self.strengths = self.add_weight(
                shape=at_knots.shape,
                initializer=keras.initializers.Constant(at_knots / gates.GAIN),
                dtype="float32",
                autocast=False,
                name="strengths",
            )
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
            up = tf.cast(self.up, low.dtype)
            equation = "br...,ru->bu..." if self.axis == 1 else "...r,ru->...u"
            y = y + tf.einsum(equation, low, up)
        return self.gate(y)

    def compute_output_shape(self, input_shape):
        """Returns the layer's own."""
        return self.layer.compute_output_shape(input_shape)

    def fold(self, u, plain):
        """Assigns to a layer of the original's form what this one does at u.

        Args:
            u: Float.
            plain: The layer, with a bias.
        """
        u = tf.constant([[u]], tf.float32)
        scale, shift = self.gate.scale_and_shift(u)
        scale = np.asarray(scale)[0]
        shift = np.zeros_like(scale) if shift is None else np.asarray(shift)[0]
        kernel = np.asarray(self.layer.kernel)
        # Transposed convolutions have the units on the last axis but one.
        transposed = isinstance(self.layer, _TRANSPOSED)
        if self.rank:
            strengths = np.asarray(gates.hats(u) @ self.strengths)[0]
            up = strengths[:, None] * np.asarray(self.up)
            down = np.asarray(self.down.kernel)
            kernel = kernel + (up.T @ down if transposed else down @ up)
        bias = np.asarray(self.layer.bias) if self.layer.use_bias else 0.0
        plain.kernel.assign(kernel * (scale[:, None] if transposed else scale))
        plain.bias.assign(bias * scale + shift)


def _copy(layer, **changes):
    return type(layer).from_config({**layer.get_config(), **changes})

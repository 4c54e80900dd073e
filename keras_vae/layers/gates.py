"""Gates: scale and shift of pre-activations by a function of one number."""

import contextlib
import math
import threading

import keras
import numpy as np
import tensorflow as tf

# Where u lies: it has mean 0 and variance 1 when it is uniform.
LIMIT = math.sqrt(3.0)

# Optimisers such as Adam move all weights alike, and gates have further to go than the
# kernels that many inputs share.
_GAIN = 10.0

# Replicas run as threads, each with a u of its own.
_running = threading.local()


@contextlib.contextmanager
def gating(u):
    """Makes all gates that are called inside of it read `u`.

    Args:
        u: Float32 tensor of shape (batch, 1) or (1, 1).
    """
    before = getattr(_running, "u", None)
    _running.u = u
    try:
        yield
    finally:
        _running.u = before


class Gate(keras.layers.Layer):
    """Base of the gates: activation(scale(u) * x + shift(u)) for each unit of x.

    It takes the place of a layer's activation, so that x is its pre-activation, and
    reads u from the surrounding `gating`. A subclass defines `build` and
    `scale_and_shift`. Both fold into the kernel and bias of the layer at a given u.

    Args:
        activation: Callable that follows, or None for none.
        axis: Integer, the axis of x along which the units lie.
    """

    def __init__(self, activation=None, axis=-1, **kwargs):
        super().__init__(**kwargs)
        self.activation = keras.activations.get(activation)
        self.axis = axis

    def scale_and_shift(self, u):
        """Returns what multiplies x, and what is added to it after that.

        Args:
            u: Float32 tensor of shape (batch, 1).

        Returns:
            Two float32 tensors of shape (batch, units), the second one None where
            nothing is added.
        """
        raise NotImplementedError

    def call(self, x):
        """See the class."""
        scale, shift = self.scale_and_shift(_running.u)
        x = x * self._along_units(scale, x)
        if shift is not None:
            x = x + self._along_units(shift, x)
        return self.activation(x)

    def _along_units(self, values, x):
        shape = [1] * x.shape.rank
        shape[0], shape[self.axis] = -1, values.shape[-1]
        return tf.cast(tf.reshape(values, shape), x.dtype)

    def _add_numbers(self, name, shape, initializer="zeros"):
        return self.add_weight(
            shape=shape,
            initializer=initializer,
            dtype="float32",
            autocast=False,
            name=name,
        )


class SigmoidGate(Gate):
    """Bae et al.'s gate of encoders: x is multiplied by sigmoid(w u + b)."""

    def build(self, units):
        """Creates w and b of each unit; the gate starts nearly open."""
        self.slope = self._add_numbers("slope", (units,))
        self.bias = self._add_numbers("bias", (units,), keras.initializers.Constant(2))
        self.built = True

    def scale_and_shift(self, u):
        """See `Gate.scale_and_shift`."""
        return tf.sigmoid(u * self.slope + self.bias), None


class RootGate(Gate):
    """Bae et al.'s gate of decoders: sqrt(max(1 - exp(w u + b), 0)) multiplies x.

    With w u = log beta and b = log(s2 / lam) it is exact for the linear decoder, whose
    best column has the norm sqrt(lam - beta s2), where lam is an eigenvalue of the
    data's covariance and s2 the variance of the noise.

    Args:
        activation: Callable that follows, or None for none.
        axis: Integer, the axis of x along which the units lie.
        slope: Float, what w starts at.
        bias: Float or list of one float per unit, what b starts at.
    """

    def __init__(self, activation=None, axis=-1, slope=0.0, bias=-2.0, **kwargs):
        super().__init__(activation, axis, **kwargs)
        self.initial = (slope, bias)

    def build(self, units):
        """Creates w and b of each unit."""
        slope, bias = map(keras.initializers.Constant, self.initial)
        self.slope = self._add_numbers("slope", (units,), slope)
        self.bias = self._add_numbers("bias", (units,), bias)
        self.built = True

    def exponent(self, u):
        """Returns w u + b, at and above which the gate is closed.

        Args:
            u: Float32 tensor of shape (batch, 1).

        Returns:
            A float32 tensor of shape (batch, units).
        """
        return u * self.slope + self.bias

    def scale_and_shift(self, u):
        """See `Gate.scale_and_shift`."""
        openness = -tf.math.expm1(self.exponent(u))
        # A closed gate has no gradient, not an infinite one.
        is_open = openness > 0
        root = tf.sqrt(tf.where(is_open, openness, 1.0))
        return tf.where(is_open, root, 0.0), None


class SplineGate(Gate):
    """Scale and shift that are piecewise linear in u, free at `knots` places.

    A scale alone cannot move what has to follow log beta, such as the logarithm of the
    posterior's scale. It starts as the identity.

    Args:
        activation: Callable that follows, or None for none.
        axis: Integer, the axis of x along which the units lie.
        knots: Integer, at least 2, evenly spaced places.
    """

    def __init__(self, activation=None, axis=-1, knots=5, **kwargs):
        super().__init__(activation, axis, **kwargs)
        self.knots = knots

    def build(self, units):
        """Creates the values of scale and shift at the knots of each unit."""
        self.scales = self._add_numbers("scales", (self.knots, units))
        self.shifts = self._add_numbers("shifts", (self.knots, units))
        self.built = True

    def scale_and_shift(self, u):
        """See `Gate.scale_and_shift`."""
        places, distance = np.linspace(-LIMIT, LIMIT, self.knots, retstep=True)
        hats = tf.nn.relu(1.0 - tf.abs(u - np.float32(places)) / np.float32(distance))
        hats = _GAIN * hats
        return 1.0 + hats @ self.scales, hats @ self.shifts


class LatentGate(SplineGate):
    """Gate of a posterior's head: closes each unit above a water level of its own.

    A `SplineGate` in front of what the linear VAE does, where unit j is used below the
    beta that is its level: the mean is multiplied by `sqrt(1 - beta / level)`, see
    `openness`, and the raw scale gets `log(beta / level) / 2` added below the level and
    nothing above it. Levels and slopes are learned.

    Args:
        activation: Callable that follows, or None for none.
        axis: Integer, the axis of x along which the units lie.
        latent_dim: Integer; the first so many units are means, and the next as many raw
            scales where there are twice as many in all.
        slope: Float, the change of log beta with u.
        bias: List of floats, minus the logarithm of each level at u = 0.
        **kwargs: See `SplineGate`.
    """

    def __init__(self, *args, latent_dim, slope, bias, **kwargs):
        super().__init__(*args, **kwargs)
        self.latent_dim = latent_dim
        self.openness = RootGate(slope=slope, bias=bias, name="openness")

    def build(self, units):
        """Creates all weights."""
        super().build(units)
        self.openness.build(self.latent_dim)

    def scale_and_shift(self, u):
        """See `Gate.scale_and_shift`."""
        scale, shift = super().scale_and_shift(u)
        root, _ = self.openness.scale_and_shift(u)
        rest = tf.zeros_like(scale[:, self.latent_dim :])
        openness = tf.concat([root, 1.0 + rest], axis=1)
        if scale.shape[1] == 2 * self.latent_dim:
            rest = 0.5 * tf.minimum(self.openness.exponent(u), 0.0)
        below = tf.concat([tf.zeros_like(root), rest], axis=1)
        return scale * openness, shift * openness + below


GATES = {
    "spline": SplineGate,
    "latent": LatentGate,
    "sigmoid": SigmoidGate,
    "root": RootGate,
}

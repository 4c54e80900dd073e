"""Gates: scale and shift of pre-activations as functions of u."""

import contextlib
import math
import threading

import keras
import numpy as np
import tensorflow as tf

from keras_vae.weights import add_float32

# u lies in [-LIMIT, LIMIT]: a uniform u then has mean 0 and variance 1.
LIMIT = math.sqrt(3.0)

# Optimizers such as Adam move all weights at the same pace, and gates have further to
# go than kernels, which sum over many inputs.
GAIN = 10.0
KNOTS = 5
# Initial openness of a closed latent: an openness of 0 would have no gradient, because
# it multiplies z on both sides.
_LEAST = 0.03

# Replicas run as threads, and each has its own u.
_running = threading.local()


@contextlib.contextmanager
def gating(u):
    """Sets the u that all gates called within this context read.

    Args:
        u: Float32 tensor of shape (batch, 1) or (1, 1).
    """
    before = getattr(_running, "u", None)
    _running.u = u
    try:
        yield
    finally:
        _running.u = before


def current_u():
    """Returns the u of the enclosing `gating`, (batch, 1) or (1, 1)."""
    return _running.u


def hats(u):
    """Returns basis functions that are linear in u between evenly spaced knots.

    Args:
        u: Float32 tensor of shape (batch, 1).

    Returns:
        A float32 tensor of shape (batch, KNOTS); each function is `GAIN` at its own
        knot.
    """
    places, distance = np.linspace(-LIMIT, LIMIT, KNOTS, retstep=True)
    return GAIN * tf.nn.relu(
        1.0 - tf.abs(u - np.float32(places)) / np.float32(distance)
    )


def along_axis(values, x, axis):
    """Returns (batch, units) values in the dtype of x, to broadcast along its axis."""
    shape = [1] * x.shape.rank
    shape[0], shape[axis] = -1, values.shape[-1]
    return tf.cast(tf.reshape(values, shape), x.dtype)


class Gate(keras.layers.Layer):
    """Base of the gates: activation(scale(u) * x + shift(u)) for each unit of x.

    It replaces a layer's activation, so x is the pre-activation. It reads u from the
    enclosing `gating`. A subclass defines `build` and `scale_and_shift`. At a given u,
    scale and shift fold into the kernel and bias of the layer.

    Args:
        activation: Callable applied after the gate, or None for the identity.
        axis: Integer, the axis of x along which the units lie.
    """

    def __init__(self, activation=None, axis=-1, **kwargs):
        super().__init__(**kwargs)
        self.activation = keras.activations.get(activation)
        self.axis = axis
        self.supports_masking = True

    def scale_and_shift(self, u):
        """Returns the factor of x and the shift added afterwards.

        Args:
            u: Float32 tensor of shape (batch, 1).

        Returns:
            Two float32 tensors of shape (batch, units). The second is None without a
            shift.
        """
        raise NotImplementedError

    def call(self, x):
        """See the class."""
        scale, shift = self.scale_and_shift(current_u())
        x = x * along_axis(scale, x, self.axis)
        if shift is not None:
            x = x + along_axis(shift, x, self.axis)
        return self.activation(x)


class SigmoidGate(Gate):
    """Bae et al.'s gate of encoders: sigmoid(w u + b) multiplies x."""

    def build(self, units):
        """Creates w and b of each unit; the gate starts almost open."""
        self.slope = add_float32(self, "slope", "zeros", (units,))
        self.bias = add_float32(self, "bias", 2, (units,))
        self.built = True

    def scale_and_shift(self, u):
        """See `Gate.scale_and_shift`."""
        return tf.sigmoid(u * self.slope + self.bias), None


class RootGate(Gate):
    """Bae et al.'s gate of decoders: sqrt(max(1 - exp(w u + b), 0)) multiplies x.

    With w u = log beta and b = log(s2 / lam) it is exact for the linear decoder, whose
    optimal column has norm sqrt(lam - beta s2). Here lam is an eigenvalue of the data's
    covariance and s2 the variance of the noise.
    """

    def build(self, units):
        """Creates w and b of each unit; the gate starts almost open."""
        self.slope = add_float32(self, "slope", "zeros", (units,))
        self.bias = add_float32(self, "bias", -2, (units,))
        self.built = True

    def scale_and_shift(self, u):
        """See `Gate.scale_and_shift`."""
        openness = -tf.math.expm1(u * self.slope + self.bias)
        # The gradient of a closed gate is 0 and not infinite.
        is_open = openness > 0
        root = tf.sqrt(tf.where(is_open, openness, 1.0))
        return tf.where(is_open, root, 0.0), None


class SplineGate(Gate):
    """Scale and shift as splines of u: log-scale and shift are piecewise linear.

    Their values at evenly spaced knots are free and start as the identity. The shift is
    needed for quantities that follow log beta, such as the log-scale of the posterior.
    """

    def build(self, units):
        """Creates the log-scale and shift of each unit at each knot."""
        self.log_scales = add_float32(self, "log_scales", "zeros", (KNOTS, units))
        self.shifts = add_float32(self, "shifts", "zeros", (KNOTS, units))
        self.built = True

    def scale_and_shift(self, u):
        """See `Gate.scale_and_shift`."""
        basis = hats(u)
        # Positive, so that no unit changes its sign between low and high u.
        scale = tf.exp(basis @ self.log_scales)
        return scale, basis @ self.shifts


class WaterLevels(keras.layers.Layer):
    """The response of a linear VAE's latents to beta.

    A latent is used only if beta is below its level, the eigenvalue over the variance
    of the noise. Then its posterior mean and its decoder column are sqrt(1 - beta /
    level) times their values at beta = 0, and its posterior scale is sqrt(beta /
    level). Levels are learned. Initially they are spread like log beta but a hundred
    times higher: the lowest beta starts with all latents used and the highest with
    most.

    Args:
        log_beta_range: Pair of floats, the logarithm of beta at both ends of u.
    """

    def __init__(self, log_beta_range, **kwargs):
        super().__init__(**kwargs)
        self.log_beta_range = log_beta_range

    def build(self, units):
        """Creates one level per latent."""
        low, high = self.log_beta_range
        levels = np.linspace(low, high, units) + np.log(100.0)
        self.levels = add_float32(self, "levels", levels / GAIN, (units,))
        self.built = True

    def response(self, u):
        """Returns the response of each latent to beta.

        Args:
            u: Float32 tensor of shape (batch, 1).

        Returns:
            Two float32 tensors of shape (batch, units): the openness, which multiplies
            the mean and also z before the decoder; and the raw scale, see
            `bounded_scale`.
        """
        low, high = self.log_beta_range
        log_beta = (low + high) / 2 + (high - low) / (2 * LIMIT) * u
        below = tf.minimum(log_beta - GAIN * self.levels, 0.0)
        scale = tf.exp(0.5 * below)
        raw = tf.math.log(tf.math.expm1(scale)) - np.log(np.expm1(1.0))
        return tf.sqrt(tf.maximum(-tf.math.expm1(below), _LEAST**2)), raw


class HeadGate(SplineGate):
    """Gate of a posterior's head: a `SplineGate` in front of `WaterLevels`.

    Args:
        activation: Callable applied after the gate, or None for the identity.
        axis: Integer, the axis of x along which the units lie.
        water_levels: `WaterLevels` of the latents. The head's first outputs are their
            means; the next are their raw scales if there are no other parameters.
    """

    def __init__(self, activation=None, axis=-1, water_levels=None, **kwargs):
        super().__init__(activation, axis, **kwargs)
        self.water_levels = water_levels

    def scale_and_shift(self, u):
        """See `Gate.scale_and_shift`."""
        scale, shift = super().scale_and_shift(u)
        openness, raw_scale = self.water_levels.response(u)
        latents = openness.shape[1]
        others = tf.zeros_like(scale[:, latents:])
        factor = tf.concat([openness, 1.0 + others], axis=1)
        raw = raw_scale if scale.shape[1] == 2 * latents else others
        return scale * factor, shift * factor + tf.concat([0.0 * openness, raw], axis=1)


GATES = {
    "spline": SplineGate,
    "head": HeadGate,
    "sigmoid": SigmoidGate,
    "root": RootGate,
}

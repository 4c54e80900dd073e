"""Gates: scale and shift of pre-activations by a function of one number."""

import contextlib
import math
import threading

import keras
import numpy as np
import tensorflow as tf

# Where u lies: it has mean 0 and variance 1 when it is uniform.
LIMIT = math.sqrt(3.0)

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
        activation: Callable that follows.
        axis: Integer, the axis of x along which the units lie.
    """

    def __init__(self, activation, axis=-1, **kwargs):
        super().__init__(**kwargs)
        self.activation = activation
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
    """

    def build(self, units):
        """Creates w and b of each unit; the gate starts nearly open."""
        self.slope = self._add_numbers("slope", (units,))
        self.bias = self._add_numbers("bias", (units,), keras.initializers.Constant(-2))
        self.built = True

    def scale_and_shift(self, u):
        """See `Gate.scale_and_shift`."""
        openness = -tf.math.expm1(u * self.slope + self.bias)
        # A closed gate has no gradient, not an infinite one.
        open_ = openness > 0
        root = tf.sqrt(tf.where(open_, openness, 1.0))
        return tf.where(open_, root, 0.0), None


class SplineGate(Gate):
    """Scale and shift that are piecewise linear in u, free at `knots` places.

    A scale alone cannot move what has to follow log beta, such as the logarithm of the
    posterior's scale. It starts as the identity.

    Args:
        activation: Callable that follows.
        axis: Integer, the axis of x along which the units lie.
        knots: Integer, at least 2, evenly spaced places.
    """

    def __init__(self, activation, axis=-1, knots=5, **kwargs):
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
        return 1.0 + hats @ self.scales, hats @ self.shifts


GATES = {"spline": SplineGate, "sigmoid": SigmoidGate, "root": RootGate}

"""The formulas of ramps, in float64."""

import math

import tensorflow as tf


def float64(value):
    """Returns a number as a float64 scalar tensor."""
    return tf.constant(float(value), tf.float64)


def logistic(x, midpoint=0.5, steepness=10.0):
    """Returns 1 / (1 + exp(-steepness (x - midpoint))), float64."""
    return 1 / (1 + tf.exp(-steepness * (x - midpoint)))


# From [0, 1] to [0, 1].
SHAPES = {
    "linear": lambda x: x,
    "cosine": lambda x: (1 - tf.cos(math.pi * x)) / 2,
    "sigmoid": logistic,
}


def until(duration, step, curve, end):
    """Returns `curve(step / duration)` before step `duration`, then `end`, float64."""
    x = tf.cast(step, tf.float64) / max(float(duration), 1.0)
    return tf.where(step < math.ceil(duration), curve(x), float64(end))


def interpolate(shape, duration, step, start, end):
    """Returns `start` to `end` by a shape on [0, 1], then `end`, float64."""
    return until(duration, step, lambda x: start + (end - start) * shape(x), end)

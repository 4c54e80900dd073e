"""Helpers for shapes."""

import tensorflow as tf


def is_shape(shape):
    """Whether `shape` is one shape and not a structure of several."""
    return isinstance(shape, tuple | list | tf.TensorShape) and all(
        size is None or isinstance(size, int) for size in shape
    )


def shape_text(shape):
    """Returns the axes of a shape as text."""
    return ", ".join(map(str, shape))

"""Finds means in the graph of a loss, which a gradient does not show."""

import math

import numpy as np
import tensorflow as tf


def mean_axes(loss, starts, batch_size):
    """Finds the axes that are averaged between tensors of a graph and its loss.

    Args:
        loss: Tensor.
        starts: List of tensors.
        batch_size: Integer.

    Returns:
        List of (size of the axes without the batch, whether the graph multiplies by
        that size).
    """
    ancestors = _walk([loss.op], lambda op: [tensor.op for tensor in op.inputs])

    def users(tensors):
        ops = [op for tensor in tensors for op in tensor.consumers()]
        return [op for op in ops if op.name in ancestors]

    between = _walk(users(starts), lambda op: users(op.outputs)).values()
    sizes = [_mean_size(op, batch_size) for op in between if op.type == "Mean"]
    factors = [n for op in between if op.type == "Mul" for n in _constants(op)]
    return [(size, size in factors) for size in sizes]


def _walk(ops, following):
    """Returns all operations on the way, by name; a stopped gradient ends it."""
    met, stack = {}, list(ops)
    while stack:
        op = stack.pop()
        if op.name in met:
            continue
        met[op.name] = op
        if op.type != "StopGradient":
            stack.extend(following(op))
    return met


def _mean_size(op, batch_size):
    """Returns the number of values that a mean combines for each example."""
    shape = op.inputs[0].shape
    axes = np.ravel(tf.get_static_value(op.inputs[1])) % max(len(shape), 1)
    reduced = [shape[int(axis)] for axis in axes]
    if axes.size and 0 in axes and shape[0] == batch_size:
        reduced.remove(batch_size)
    return math.prod(n for n in reduced if n)


def _constants(op):
    values = [tf.get_static_value(tensor) for tensor in op.inputs]
    return [float(v) for v in values if v is not None and np.size(v) == 1]

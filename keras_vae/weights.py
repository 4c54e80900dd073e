"""Weights that stay float32 under any dtype policy of their layer."""

import keras
import numpy as np


def add_float32(layer, name, initial, shape=(), **kwargs):
    """Adds a float32 weight to a layer; mixed precision does not round it.

    Args:
        layer: `keras.layers.Layer`.
        name: String, the name of the weight.
        initial: Number, array of shape `shape`, or initializer or its name.
        shape: Tuple of integers.
        **kwargs: See `keras.layers.Layer.add_weight`; with several replicas a weight
            with `trainable=False` needs `aggregation`.

    Returns:
        `keras.Variable`.

    Example:
    >>> layer = keras.layers.Layer(dtype="mixed_float16")
    >>> float(kv.weights.add_float32(layer, "scale", 0.1).value)
    0.10000000149011612
    """
    if isinstance(initial, int | float | np.ndarray):
        initial = keras.initializers.Constant(np.asarray(initial).tolist())
    return layer.add_weight(
        shape=shape,
        initializer=initial,
        dtype="float32",
        autocast=False,
        name=name,
        **kwargs,
    )

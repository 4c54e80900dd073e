"""Finds the first value that is not finite, in data or in a model's outputs."""

import contextlib

import keras
import numpy as np
import tensorflow as tf

from keras_vae import _keras

# Squares of larger numbers soon overflow.
_EXAMPLES, _HUGE = 32, 1e8


def first_bad_data(data, num_batches=None, missing=None):
    """Searches data for the first values that are not finite.

    Args:
        data: Array, tuple of arrays, `tf.data.Dataset`, `keras.utils.PyDataset` or
            None.
        num_batches: Integer, how many batches to search if data have no known end; or
            None for all.
        missing: See `VAE`: unless it is None, NaN is a missing element.

    Returns:
        A string with the place of the values, or None.

    Example:
    >>> x = np.zeros((3, 2))
    >>> x[1, 0] = np.nan
    >>> kv.callbacks.divergence_probe.first_bad_data(x)
    'example 1, counted from 0, holds nan'
    """
    if data is None:
        return None
    if isinstance(data, tf.data.Dataset | keras.utils.PyDataset):
        for index, batch in enumerate(_batches(data, num_batches)):
            for part in _arrays(batch):
                if (bad := _bad(part, missing)).any():
                    bad = part[bad].flat[0]
                    return f"batch {index + 1} holds {bad}"
        return None
    for part in _arrays(data):
        rows = _bad(part, missing).reshape(len(part), -1).any(axis=1)
        if rows.any():
            row = int(np.argmax(rows))
            bad = part[row][_bad(part[row], missing)].flat[0]
            return f"example {row}, counted from 0, holds {bad}"
    return None


def first_bad_outputs(model, data=None):
    """Calls a model and returns the first layer with non-finite or huge outputs.

    The state of the model does not change.

    Args:
        model: A built `keras.Model`.
        data: As in `first_bad_data`; or None to call it with uniform noise in [0, 1].

    Returns:
        The path of the layer and its largest absolute output; or None if no layer has
        such outputs or the model cannot be called with these inputs.
    """
    inputs = _first_inputs(data) if data is not None else _noise(model)
    if inputs is None:
        return None
    found = []

    def watch(layer, outputs):
        parts = [tf.convert_to_tensor(x) for x in tf.nest.flatten(outputs)]
        floats = [
            np.ravel(tf.cast(x, tf.float32)) for x in parts if x.dtype.is_floating
        ]
        largest = np.abs(np.concatenate([[0.0], *floats])).max()
        if not largest < _HUGE:
            found.append((layer.path, float(largest)))

    layers = [x for x in _keras.sublayers(model, keras.layers.Layer) if x is not model]
    with keras.StatelessScope(), _keras.calls_watched(layers, watch):
        # A model that does not take these inputs cannot be searched.
        with contextlib.suppress(ValueError, TypeError, tf.errors.OpError):
            model(inputs, training=True)
    return found[0] if found else None


def _bad(part, missing):
    return ~np.isfinite(part) if missing is None else np.isinf(part)


def _batches(data, limit=None):
    if isinstance(data, tf.data.Dataset):
        has_end = int(data.cardinality()) >= 0
        return data if has_end or limit is None else data.take(limit)
    number = limit if data.num_batches is None else data.num_batches
    return (data[index] for index in range(number or 1))


def _arrays(values):
    parts = [np.asarray(part) for part in tf.nest.flatten(values) if part is not None]
    return [part for part in parts if part.dtype.kind == "f"]


def _first_inputs(data):
    if isinstance(data, tf.data.Dataset | keras.utils.PyDataset):
        data = next(iter(_batches(data)))
    inputs, _, _ = keras.utils.unpack_x_y_sample_weight(data)
    return tf.nest.map_structure(lambda x: tf.convert_to_tensor(x[:_EXAMPLES]), inputs)


def _noise(model):
    shape = (model.get_build_config() or {}).get("input_shape")
    if not isinstance(shape, tuple | list) or None in shape[1:]:
        return None
    generator = np.random.default_rng(0)
    return tf.constant(generator.random((_EXAMPLES, *shape[1:]), "float32"))

"""Checks of the data of `fit`, `evaluate` and `predict`, before they begin."""

import types

import keras
import numpy as np
import tensorflow as tf

from keras_vae.checks import kinds
from keras_vae.checks.arrays import check_array
from keras_vae.checks.arrays import check_no_lists
from keras_vae.checks.arrays import check_read_target
from keras_vae.checks.arrays import check_sizes
from keras_vae.checks.arrays import check_structure
from keras_vae.checks.arrays import check_support
from keras_vae.checks.arrays import check_target
from keras_vae.checks.arrays import check_weights
from keras_vae.checks.conditions import check_conditions
from keras_vae.checks.conditions import split_inputs

DATA_SETS = (tf.data.Dataset, keras.utils.PyDataset, types.GeneratorType)


def check_data(model, x, y=None, sample_weight=None, name="x"):
    """Checks arrays whole and the first batch of a data set, and builds the model.

    Args:
        model: The `VAE`.
        x: Argument `x` of `fit`.
        y: Argument `y` of `fit`.
        sample_weight: Argument `sample_weight` of `fit`.
        name: Name of `x` in errors.

    Returns:
        A dict of the arguments "x", "y" and "sample_weight" for Keras.

    Raises:
        ValueError: If the model cannot train on the data.
    """
    data = {"x": x, "y": y, "sample_weight": sample_weight}
    if x is None:
        raise ValueError(f"`{name}` must be given. Received: {name}=None")
    if _cannot_be_peeked(x):
        return data
    if _is_data_set(x):
        first, data["x"] = _peek(x, name)
        x, y, sample_weight = unpack(first)
        if y is None and sample_weight is not None:
            _check_none_is_taken(data["x"])
    else:
        data = _for_keras(model.conditions, **data)
        x, y, sample_weight = data.values()
    x, given = split_inputs(model.conditions, x, name)
    check_no_lists(x, name)
    check_no_lists(y, "y")
    check_structure(x, y)
    inputs = tf.nest.map_structure(lambda v: check_array(v, name, model.missing), x)
    y = None if y is None else check_array(y, "y", model.missing)
    size = check_sizes(inputs, y, name)
    check_conditions(model.conditions, given, size)
    if sample_weight is not None:
        check_weights(sample_weight, size)
    _build(model, inputs)
    check_read_target(model, inputs, y)
    check_support(model, check_target(inputs, y, model.event_shape), y)
    return data


def check_batch(model, x, y=None, sample_weight=None):
    """Checks one batch as `check_data` does, and returns it dense."""
    data = check_data(model, x, y, sample_weight)
    return tf.nest.map_structure(
        lambda v: kinds.as_array(v) if kinds.is_sparse(v) else v, data
    )


def check_inputs(model, x, name="x"):
    """Checks the input of `predict`: arrays whole, a data set by its first batch.

    Args:
        model: The `VAE`, which is built if it is not.
        x: Argument `x` of `predict`.
        name: Its name in errors.

    Returns:
        The `x` to pass to Keras.

    Raises:
        ValueError: If `x` holds anything but finite numbers.
    """
    if _cannot_be_peeked(x):
        return x
    inputs = x
    if _is_data_set(x):
        first, x = _peek(x, name)
        inputs = unpack(first)[0]
    else:
        inputs = x = tf.nest.map_structure(kinds.in_order, x)
    inputs, given = split_inputs(model.conditions, inputs, name)
    check_no_lists(inputs, name)
    inputs = tf.nest.map_structure(
        lambda v: check_array(v, name, model.missing), inputs
    )
    if given:
        check_conditions(model.conditions, given, check_sizes(inputs, None, name))
    _build(model, inputs)
    return x


def check_validation_data(model, data):
    """Checks `validation_data`, and returns it as Keras takes it."""
    parts = tuple(data) if isinstance(data, tuple | list) else (data,)
    if not 1 <= len(parts) <= 3:
        raise ValueError(
            "`validation_data` must be (x,), (x, y), (x, y, sample_weight) or a data "
            f"set. Received: {len(parts)} entries"
        )
    try:
        checked = check_data(model, *parts)
    except ValueError as error:
        raise ValueError(f"`validation_data` cannot be used: {error}") from error
    return tuple(checked.values()) if isinstance(data, tuple | list) else checked["x"]


def peek_generator(generator, name):
    """Returns the first batch of a generator, and a generator of all its batches."""
    try:
        first = next(generator)
    except StopIteration as error:
        raise _no_batch(name) from error

    def all_batches():
        yield first
        yield from generator

    return first, all_batches()


def peek(data, name):
    """Returns the first batch of a data set, which stays as it is."""
    if isinstance(data, keras.utils.PyDataset):
        # A PyDataset without an end has None as its number of batches.
        if data.num_batches == 0:
            raise _no_batch(name, "hold")
        return data[0]
    if isinstance(data, tf.data.Dataset):
        data = data.take(1)
    try:
        return kinds.first_batch(data)
    except StopIteration as error:
        raise _no_batch(name, "hold") from error


def _no_batch(name, verb="yield"):
    return ValueError(f"`{name}` must {verb} at least one batch. Received: none")


def _is_data_set(x):
    return isinstance(x, DATA_SETS) or kinds.is_loader(x)


def _cannot_be_peeked(x):
    """Whether reading a batch of `x` would lose it."""
    return hasattr(x, "__next__") and not isinstance(x, types.GeneratorType)


def _peek(x, name):
    """Returns the first batch of a data set, and the data set with all of them."""
    if isinstance(x, types.GeneratorType):
        return peek_generator(x, name)
    first = peek(x, name)
    if kinds.is_loader(x) and hasattr(first, "shape"):
        # Keras would take the rows of one tensor for inputs, targets and weights.
        raise ValueError(
            f"`{name}` must yield tuples (x,), (x, y) or (x, y, sample_weight): give "
            "the loader a `TensorDataset(x)`. Received: a "
            f"{type(x).__name__} of single tensors"
        )
    return first, x


def unpack(batch):
    """Returns x, y and sample_weight of a batch, None for what it lacks."""
    if isinstance(batch, list):
        # torch's `default_collate` makes a list of the tuples of a data set.
        batch = tuple(batch)
    return keras.utils.unpack_x_y_sample_weight(batch)


def _build(model, inputs):
    with model.distribute_strategy.scope():
        if not model.built:
            model.build(tf.nest.map_structure(lambda v: (None, *v.shape[1:]), inputs))


def _check_none_is_taken(data):
    if isinstance(data, keras.utils.PyDataset):
        raise ValueError(
            "`x` must yield targets if it yields weights, because Keras accepts no "
            "None from a PyDataset: yield (x, x, sample_weight). Received: "
            "(x, None, sample_weight)"
        )


def _for_keras(conditions, x, y, sample_weight):
    """Returns the arguments of `fit` as Keras takes them, in a dict."""
    x, y = tf.nest.map_structure(kinds.in_order, (x, y))
    if sample_weight is not None:
        sample_weight = np.asarray(kinds.as_array(sample_weight))
        if y is None:
            # Keras drops the weights of data without `y`.
            y = conditions.main(x)
        if not np.any(sample_weight):
            raise ValueError(
                "`sample_weight` must weigh at least one example. Received: all zero"
            )
    return {"x": x, "y": y, "sample_weight": sample_weight}

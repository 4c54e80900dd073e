"""Checks of conditions: what a model declares, and what it is given."""

import numpy as np
import tensorflow as tf

from keras_vae import conditions
from keras_vae.checks import kinds
from keras_vae.checks.arrays import check_finite


def check_declared(declared, **parts):
    """Raises ValueError if a model's networks and its conditions do not fit.

    Args:
        declared: `keras_vae.conditions.Conditions`.
        **parts: Lists of layers, of which encoder, decoder and prior consist.
    """
    for name, layers in parts.items():
        for layer in layers:
            _check_inputs(declared, name, layer)
    (prior,), encoders = parts["prior"], parts["encoder"]
    taken = [name for name in declared if _take(encoders, name)]
    if prior.calls_encoder and not prior.encodes_conditions and taken:
        raise ValueError(
            f"`prior` {type(prior).__name__} encodes inputs of its own, which have no "
            f"conditions, but `encoder` takes {taken}: use another prior, or an "
            f"encoder without conditions. Received: prior={prior!r}"
        )
    for name in declared:
        if not any(_take(layers, name) for layers in parts.values()):
            raise ValueError(
                f"`conditions` declares {name!r}, which neither {' nor '.join(parts)} "
                f"takes: name an input of a network {name!r}, or pass conditions="
                f"{{{name!r}: ...}} to it if it comes from `keras_vae.networks`. "
                f"Received: conditions={declared.get_config()}"
            )


def _take(layers, name):
    return any(conditions.takes(layer, name) for layer in layers)


def _check_inputs(declared, name, layer):
    inputs = conditions.input_names(layer)
    known = {*declared, conditions.PREVIOUS, conditions.ABOVE}
    others = [one for one in inputs if one not in known]
    if declared and inputs and len(others) != 1:
        raise ValueError(
            f"`{name}` must have one input for the data, and all others must be "
            f"named in `conditions`, {list(declared)}. Received: inputs named "
            f"{list(inputs)}"
        )


def split_inputs(declared, inputs, name):
    """Returns the data and a dict of the conditions, as given; checks their names.

    Args:
        declared: `keras_vae.conditions.Conditions`.
        inputs: Inputs of a model, which are the data alone without conditions.
        name: Their name in errors.
    """
    if not declared:
        return inputs, {}
    names = [conditions.MAIN, *declared]
    if not isinstance(inputs, dict):
        raise ValueError(
            f"`{name}` must be a dict with the keys {names}, the data and each "
            f"condition. Received: a {type(inputs).__name__}"
        )
    if faults := _unlike(inputs, names):
        raise ValueError(
            f"`{name}` must be a dict with the keys {names}, the data and each "
            f"condition. Received: a dict {faults}"
        )
    given = {key: value for key, value in inputs.items() if key != conditions.MAIN}
    return inputs[conditions.MAIN], given


def _unlike(keys, names):
    """Returns words for the names that keys lack or add, "" if there are none."""
    lacking = [name for name in names if name not in keys]
    unknown = [key for key in keys if key not in names]
    words = [f"without {lacking}"] if lacking else []
    words += [f"with the unknown {unknown}"] if unknown else []
    return " and ".join(words)


def check_conditions(declared, given, size, one_for_all=False, all_known=False):
    """Raises ValueError unless each condition has a valid value for each example.

    Args:
        declared: `keras_vae.conditions.Conditions`.
        given: Dict of names to arrays (size, ...).
        size: Integer, number of examples, or None if it is unknown.
        one_for_all: Boolean, whether one value may stand for all examples.
        all_known: Boolean, whether no label may be unknown.
    """
    for name, value in given.items():
        if not hasattr(value, "shape"):
            value = np.asarray(value)
        if not one_for_all or tuple(value.shape) != declared.raw_shape(name):
            _check_shape(declared, name, value, size)
        values, number = np.asarray(kinds.as_array(value)), declared.num_classes(name)
        lowest = 0 if all_known else declared.lowest_label(name)
        if number is None:
            check_finite(values, name)
        elif values.dtype.kind not in "iub":
            raise ValueError(
                f"`{name}` must be integer labels of {number} classes: cast them by "
                f"`astype('int64')`. Received: dtype={values.dtype}"
            )
        elif values.size and not lowest <= values.min() <= values.max() < number:
            unknown = f", {lowest} where they are unknown" if lowest else ""
            raise ValueError(
                f"`{name}` must be labels in [0, {number}){unknown}, because "
                f"`conditions` declares {number} classes. Received: labels from "
                f"{values.min()} to {values.max()}"
            )


def _check_shape(declared, name, value, size):
    shape, needed = tuple(value.shape), declared.raw_shape(name)
    whole = [(size, *needed), (size, 1)] if not needed else [(size, *needed)]
    if not any(tf.TensorShape(part).is_compatible_with(shape) for part in whole):
        whole = ("examples" if size is None else size, *needed)
        raise ValueError(
            f"`{name}` must have shape {whole}, a value for each example. Received: "
            f"{name}.shape={shape}"
        )


def check_names(declared, given, needed, takers):
    """Raises ValueError unless a method gets the conditions that it needs.

    Args:
        declared: `keras_vae.conditions.Conditions`.
        given: Names of what it gets.
        needed: Names of what it needs.
        takers: String, the parts that need them.
    """
    for name in given:
        if name not in declared:
            raise ValueError(
                f"`condition` must hold conditions that the model declares, "
                f"{list(declared)}. Received: {name!r}"
            )
    for name in needed:
        if name not in given:
            raise ValueError(
                f"`condition` must hold {name!r}, which the {takers} takes: pass "
                f"condition={{{name!r}: ...}}. Received: {list(given) or None}"
            )

"""Checks of numeric arguments, and of the precision of weights."""

import numbers
import warnings

import numpy as np
import tensorflow as tf

# Values of the argument `missing` of a `VAE` for which NaN is a missing element.
NAN_IS_MISSING = ("nan", "nan_with_mask")


def check_number(name, value, positive=False, signed=False):
    """Returns an argument as a float.

    Args:
        name: String, name of the argument.
        value: Its value.
        positive: Boolean, whether to reject 0.
        signed: Boolean, whether to accept negative numbers.

    Raises:
        ValueError: If the value is not a finite number of the required sign.
    """
    try:
        number = np.nan if isinstance(value, (bool, str)) else float(value)
    except (TypeError, ValueError):
        number = np.nan
    if np.isfinite(number) and (signed or number > 0 or (number == 0 and not positive)):
        return number
    sign = (
        "" if signed else " that is positive" if positive else " that is not negative"
    )
    raise ValueError(
        f"`{name}` must be a finite number{sign}. Received: {name}={value!r}"
    )


def is_integer(value):
    """Whether a value is an integer of Python or NumPy and not a boolean."""
    return isinstance(value, numbers.Integral) and not isinstance(value, bool)


def check_count(name, value, least=1):
    """Returns an argument as an integer, or a tensor unchecked.

    A tensor may have no value yet.

    Args:
        name: String, name of the argument.
        value: Its value.
        least: Integer, the smallest valid value.

    Raises:
        ValueError: If the value is not an integer, or is too small.
    """
    if tf.is_tensor(value):
        return value
    if is_integer(value) and value >= least:
        return int(value)
    kind = "a positive integer" if least == 1 else f"an integer, at least {least}"
    raise ValueError(f"`{name}` must be {kind}. Received: {name}={value!r}")


def warn_of_half_precision(layers, stacklevel=3):
    """Warns if a layer keeps its weights in half precision.

    Args:
        layers: List of `keras.layers.Layer`.
        stacklevel: Integer, as in `warnings.warn`.
    """
    for layer in layers:
        policy = layer.dtype_policy
        if policy.variable_dtype in ("float16", "bfloat16"):
            warnings.warn(
                f"The dtype policy {policy.name!r} of {layer.name!r} keeps weights in "
                "half precision, which loses small updates and overflows in large "
                "sums. For the same speed use "
                f"`keras.config.set_dtype_policy('mixed_{policy.variable_dtype}')` "
                "before the networks are made.",
                stacklevel=stacklevel + 1,
            )
            return

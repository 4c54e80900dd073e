"""Checks of arrays."""

import numpy as np
import tensorflow as tf

from keras_vae.arguments import NAN_IS_MISSING
from keras_vae.checks import kinds
from keras_vae.checks.shapes import is_shape
from keras_vae.checks.shapes import shape_text

NO_LABELS = (
    "A VAE reconstructs `y` if it is given. If `y` holds labels, pass only `fit(x)`; "
    "for denoising pass `fit(noisy, clean)`."
)


def check_array(value, name, missing=None):
    """Returns `value` as an array; a tensor or sparse matrix stays as it is.

    Args:
        value: Array or tensor of any library, or a sparse matrix.
        name: String, its name in errors.
        missing: See `VAE`.
    """
    if not kinds.is_sparse(value):
        value = kinds.as_array(value)
    dtype = tf.as_dtype(value.dtype) if value.dtype != object else None
    if dtype is None or not (dtype.is_floating or dtype.is_integer or dtype.is_bool):
        raise ValueError(
            f"`{name}` must be an array of numbers. Received: dtype={value.dtype}"
        )
    if len(value.shape) < 2:
        raise ValueError(
            f"`{name}` must have a batch axis and at least one more. "
            f"Received: shape={tuple(value.shape)}"
            + (f". {NO_LABELS}" if name == "y" else "")
        )
    check_finite(value, name, missing)
    return value


def check_finite(value, name, missing=None):
    """Raises ValueError if an array holds a NaN or an infinite number.

    Args:
        value: Array, tensor or sparse matrix of numbers.
        name: String, its name in errors.
        missing: See `check_array`.
    """
    if tf.as_dtype(value.dtype).is_floating:
        # A float64 beyond the range of float32 is infinite to the model.
        with np.errstate(over="ignore"):
            numbers = np.asarray(kinds.stored(value), "float32")
        if missing in NAN_IS_MISSING:
            if bad := int(np.count_nonzero(np.isinf(numbers))):
                raise ValueError(
                    f"`{name}` must be finite or NaN, which stands for a missing "
                    f"element. Received: {bad} values that are infinite"
                )
            return
        bad = int(np.count_nonzero(~np.isfinite(numbers)))
        if bad:
            raise ValueError(
                f"`{name}` must be finite. Received: {bad} values that are NaN or "
                "infinite. Impute them, or leave these examples out; "
                '`VAE(missing="nan")` trains on the elements that are there.'
            )


def with_nan(values, inputs, missing=None):
    """Returns `values`, with NaN for each example whose input is not finite.

    A rectifier would turn a NaN into a number, and a graph cannot raise an error.

    Args:
        values: Tensor of shape (batch, ...), the network's output for the inputs.
        inputs: Array or tensor of shape (batch, ...), or a structure of such.
        missing: Whether a NaN of the inputs stands for a missing element, see
            `check_array`.
    """
    for part in map(tf.convert_to_tensor, tf.nest.flatten(inputs)):
        if part.dtype.is_floating:
            part = tf.cast(part, tf.float32)
            is_finite = tf.math.is_finite(part)
            if missing in NAN_IS_MISSING:
                is_finite |= tf.math.is_nan(part)
            is_finite = tf.reduce_all(is_finite, axis=tf.range(1, tf.rank(part)))
            shape = tf.concat([tf.shape(values)[:1], [1] * (values.shape.rank - 1)], 0)
            nan = tf.constant(np.nan, values.dtype)
            values = tf.where(tf.reshape(is_finite, shape), values, nan)
    return values


def check_examples(data, missing=None):
    """Returns a callback's `data` as an array; raises ValueError if it is empty.

    Args:
        data: Array (examples, ...).
        missing: See `check_array`.
    """
    data = np.asarray(kinds.as_array(check_array(data, "data", missing)))
    if not data.size:
        raise ValueError(
            f"`data` must hold at least one example. Received: data.shape={data.shape}"
        )
    return data


def check_input(model, data):
    """Raises ValueError if `data` does not fit the input of a built `VAE`."""
    check_array(data, "data", model.missing)
    shape = model.get_build_config()["input_shape"]
    if not is_shape(shape) or not tf.TensorShape(
        (None, *tuple(shape)[1:])
    ).is_compatible_with(data.shape):
        raise ValueError(
            "`data` must have the shape of the model's input, "
            f"{shape}. Received: data.shape={data.shape}"
        )


def check_weights(sample_weight, size):
    """Raises ValueError unless each example has one finite, non-negative weight."""
    weights = np.asarray(kinds.as_array(sample_weight))
    if weights.dtype.kind not in "biuf":
        raise ValueError(
            "`sample_weight` must be an array of numbers. "
            f"Received: dtype={weights.dtype}"
        )
    if weights.shape not in ((size,), (size, 1)):
        raise ValueError(
            "`sample_weight` must hold one weight per example, shape "
            f"({size},). Received: shape={weights.shape}"
        )
    if not np.all(np.isfinite(weights)) or np.any(weights < 0):
        raise ValueError(
            "`sample_weight` must be finite and not negative. "
            f"Received: values in [{weights.min()}, {weights.max()}]"
        )


def check_no_lists(value, name):
    """Raises ValueError for lists of numbers, which Keras takes for several inputs."""
    for part in tf.nest.flatten(value):
        if part is not None and not hasattr(part, "shape"):
            raise ValueError(
                f"`{name}` must be an array or tensor: convert lists of numbers with "
                f"`np.asarray`. Received: {type(part).__name__} within "
                f"{type(value).__name__}"
            )


def check_structure(x, y):
    """Raises ValueError if `x` has several tensors and no `y` names the target."""
    if y is None and not hasattr(x, "shape"):
        raise ValueError(
            "`y` must be given if `x` is a structure of several tensors: pass "
            "`fit(x, y)` with the tensor to reconstruct as `y`, or declare all but 'x' "
            "by `VAE(conditions=...)`. "
            f"Received: x is a {type(x).__name__}, y=None"
        )


def check_sizes(inputs, y, name):
    """Returns the number of examples; raises ValueError unless all arrays share it."""
    parts = tf.nest.flatten((inputs, [] if y is None else y))
    sizes = {int(part.shape[0]) for part in parts}
    if len(sizes) != 1:
        raise ValueError(
            f"`{name}` and `y` must have the same number of examples. "
            f"Received: {sorted(sizes)} examples"
        )
    (size,) = sizes
    if size == 0:
        raise ValueError(f"`{name}` must hold at least one example. Received: 0")
    return size


def check_target(x, y, event_shape):
    """Returns the tensor to reconstruct.

    Args:
        x: Input of the model.
        y: Target, or None if the input is the target.
        event_shape: Shape of one target.

    Raises:
        ValueError: If the target does not have this shape.
    """
    check_structure(x, y)
    target = x if y is None else y
    if not hasattr(target, "shape"):
        raise ValueError(
            f"`y` must be one tensor of shape (batch, {shape_text(event_shape)}). "
            f"Received: a {type(target).__name__}"
        )
    if not tf.TensorShape(target.shape).is_compatible_with((None, *event_shape)):
        name = "x" if y is None else "y"
        advice = (
            f"Reshape the data, or give the decoder the output shape of {name}."
            if y is None
            else NO_LABELS
        )
        raise ValueError(
            f"`{name}` must have shape (batch, {shape_text(event_shape)}) to be "
            f"reconstructed by the decoder. Received: {name}.shape="
            f"{tuple(target.shape)}. {advice}"
        )
    return target


def check_read_target(model, x, y):
    """Raises ValueError if a decoder would have to read another target than x."""
    if y is None or y is x or not model.reads_target:
        return
    if x.shape != y.shape or np.any(kinds.as_array(x) != kinds.as_array(y)):
        raise ValueError(
            "`y` must be left out, or equal x: the decoder reads the target as "
            "`previous`, and `call` gets x alone. Received: another `y`"
        )


def check_support(model, target, y=None):
    """Raises ValueError if the target lies outside the support of the likelihood."""
    try:
        for block in kinds.blocks(target):
            model.likelihood.check_data(block, model.missing)
    except ValueError as error:
        if y is None:
            raise
        raise ValueError(
            f"`y` cannot be reconstructed by the likelihood, which calls it x: {error}"
        ) from error

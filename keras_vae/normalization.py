"""Mean and deviation by which data are standardised, as a Keras layer."""

import keras
import numpy as np

# A deviation below this fraction of the mean is rounding: the element is constant.
_CONSTANT = 1e-6
# `keras.layers.Normalization` divides by 1e-7 at least.
_SMALL = 1e-6


def layer(mean, stddev):
    """Makes the Keras layer that turns x into `(x - mean) / stddev`.

    Args:
        mean: Float array, with the axes of one example; an axis of 1 is for any size,
            and a number for any shape.
        stddev: Float array of the same shape, positive.

    Returns:
        A built `keras.layers.Normalization` without weights, in float32.

    Raises:
        ValueError: If the shapes differ, or a number is not finite or not positive.

    Example:
    >>> kv.normalization.layer([5.0, 0.0], [2.0, 1.0])(np.ones([1, 2])).numpy()
    array([[-2.,  1.]], dtype=float32)
    """
    mean, stddev = np.asarray(mean, np.float64), np.asarray(stddev, np.float64)
    finite = np.isfinite(mean).all() and np.isfinite(stddev).all()
    if mean.shape != stddev.shape or not finite or not (stddev > 0).all():
        raise ValueError(
            "`mean` and `stddev` must be finite and of equal shape, and `stddev` "
            f"positive. Received: mean of shape {mean.shape}, stddev of shape "
            f"{stddev.shape}"
        )
    # An axis of 1 stays free, and may be of unknown size.
    kept = [size for size in mean.shape if size > 1]
    made = keras.layers.Normalization(
        axis=[axis for axis, size in enumerate(mean.shape, 1) if size > 1] or None,
        mean=mean.reshape(kept).tolist(),
        variance=np.square(stddev).reshape(kept).tolist(),
        dtype="float32",
        # Counted up by Keras, it would tell equal layers apart.
        name="normalization",
    )
    made.build((None, *mean.shape))
    return made


def layers(mean, stddev):
    """Returns the layers that standardise x where deviations may be tiny.

    Args:
        mean: See `layer`.
        stddev: See `layer`.

    Returns:
        List of one or two layers.

    Example:
    >>> first, second = kv.normalization.layers([3e-12], [1e-12])
    >>> second(first(np.array([[4e-12]], "float32"))).numpy()
    array([[1.]], dtype=float32)
    """
    mean, stddev = np.asarray(mean, np.float64), np.asarray(stddev, np.float64)
    if (stddev >= _SMALL).all():
        return [layer(mean, stddev)]
    factor = np.where(stddev < _SMALL, 1 / stddev, 1.0)
    larger = keras.layers.Rescaling(factor.tolist(), dtype="float32")
    return [larger, layer(mean * factor, stddev * factor)]


def moments(normalization):
    """Returns mean and standard deviation of a Keras layer.

    Args:
        normalization: `keras.layers.Normalization` that was adapted or built.

    Returns:
        Two float64 arrays, with the axes of one example, each as long as that of an
        example or 1. The deviation is 1 where the data were constant, or it is 0.

    Raises:
        ValueError: If it is no such layer.

    Example:
    >>> normalization = keras.layers.Normalization()
    >>> normalization.adapt(np.array([[1.0, 7.0], [3.0, 7.0]]))
    >>> [part.tolist() for part in kv.normalization.moments(normalization)]
    [[2.0, 7.0], [1.0, 1.0]]
    """
    is_layer = isinstance(normalization, keras.layers.Normalization)
    if not is_layer or normalization.invert:
        raise ValueError(
            "`normalization` must be a `keras.layers.Normalization` that is not "
            f"inverted. Received: normalization={normalization!r}"
        )
    if normalization.mean is None:
        raise ValueError(
            "`normalization` must know its numbers: first call `adapt(x)`, or "
            f"`build((None, *event_shape))`. Received: {normalization!r}, not built"
        )
    found = normalization.mean, normalization.variance
    mean, variance = (np.asarray(value, np.float64)[0] for value in found)
    given = normalization.input_mean, normalization.input_variance
    adapted = given[0] is None
    if not adapted and np.size(given[0]) == mean.size:
        # The layer's own float32 has no squares of tiny deviations.
        mean, variance = (np.reshape(value, mean.shape) for value in given)
    if (
        not (np.isfinite(mean).all() and np.isfinite(variance).all())
        or (variance < 0).any()
    ):
        raise ValueError(
            "`normalization` must hold finite means, and variances that are not "
            f"negative. Received: mean={mean.tolist()}, variance={variance.tolist()}"
        )
    stddev = np.sqrt(variance)
    least = _CONSTANT * np.abs(mean) if adapted else 0.0
    return mean, np.where(stddev > least, stddev, 1.0)


def observed_moments(x, axis=0):
    """Returns mean and variance of the elements that are not NaN.

    Args:
        x: Float array (examples, ...).
        axis: 0 for each element over the examples, or None for all together. An element
            that no example has gets mean and variance 0.

    Example:
    >>> kv.normalization.observed_moments(np.array([[1.0], [np.nan], [3.0]]))
    (array([2.]), array([1.]))
    """
    gaps = np.isnan(x)
    if not gaps.any():
        return x.mean(axis=axis), x.var(axis=axis)
    number = np.maximum(np.sum(~gaps, axis=axis), 1)
    mean = np.nansum(x, axis=axis) / number
    return mean, np.nansum(np.square(x - mean), axis=axis) / number


def check_shape(shape, event_shape):
    """Raises ValueError unless moments of a shape are those of such examples."""
    known = [*shape[::-1]]
    sizes = [*event_shape[::-1]]
    if len(known) > len(sizes) or any(
        size not in (1, whole) for size, whole in zip(known, sizes, strict=False)
    ):
        raise ValueError(
            f"`normalization` must be for examples of shape {tuple(event_shape)}. "
            f"Received: one of shape {tuple(shape)}"
        )

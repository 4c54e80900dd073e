"""Masks of the observed elements of an event, and sums over these elements."""

import tensorflow as tf


def event_mask(mask, x):
    """Returns a mask with the full shape of `x`.

    Args:
        mask: Boolean tensor (batch, ...) with some of the leading axes of x; each axis
            has the size of x's axis or 1. False marks an element that is left out.
        x: Tensor (batch, *event_shape).

    Returns:
        A boolean tensor (batch, *event_shape).

    Raises:
        ValueError: If `mask` has another shape.

    Example:
    >>> mask = event_mask(tf.constant([[True, False]]), tf.zeros([1, 2, 3]))
    >>> mask.numpy().astype(int)
    array([[[1, 1, 1],
            [0, 0, 0]]])
    """
    mask = tf.cast(mask, tf.bool)
    if not 0 < mask.shape.rank <= x.shape.rank or any(
        size not in (None, 1) and whole not in (None, size)
        for size, whole in zip(mask.shape, x.shape, strict=False)
    ):
        raise ValueError(
            "`mask` must have the shape of the leading axes of x, including the batch "
            "axis; each axis must have the size of x's axis or 1. Received: "
            f"mask.shape={tuple(mask.shape)}, x.shape={tuple(x.shape)}"
        )
    return tf.broadcast_to(_at_rank(mask, x.shape.rank), tf.shape(x))


def both(mask, other):
    """Returns the elements that both masks keep; one mask may have further axes.

    Args:
        mask: Boolean tensor (batch, ...), or None if all is observed.
        other: Boolean tensor (batch, ...), or None likewise.

    Returns:
        A boolean tensor of the longer shape, or None.
    """
    if mask is None or other is None:
        return mask if other is None else other
    rank = max(mask.shape.rank, other.shape.rank)
    return _at_rank(mask, rank) & _at_rank(other, rank)


def sum_observed(values, mask):
    """Sums the values of the observed elements of an event.

    Args:
        values: Float tensor (batch, samples, *event_shape), finite also at elements
            left out.
        mask: Boolean tensor (batch, *event_shape).

    Returns:
        A tensor (batch, samples).
    """
    values = tf.where(mask[:, None], values, tf.zeros([], values.dtype))
    return tf.reduce_sum(values, axis=range(2, values.shape.rank))


def observed_share(mask):
    """Returns the observed fraction of each event, a float32 tensor (batch,).

    Args:
        mask: Boolean tensor (batch, *event_shape).
    """
    observed = tf.cast(mask, tf.float32)
    return tf.reduce_mean(observed, axis=range(1, mask.shape.rank))


def _at_rank(mask, rank):
    for _ in range(rank - mask.shape.rank):
        mask = mask[..., None]
    return mask

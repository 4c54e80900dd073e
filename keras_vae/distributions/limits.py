"""Smooth limits for outputs of an encoder or decoder, such as scales."""

import math

import tensorflow as tf

from keras_vae.distributions.softplus import softplus_and_slopes

# The smallest default limit of a scale.
_NEXT_TO_NOTHING = 1e-5


def soft_clip(x, low, high):
    """Limits `x` to (low, high) with a gradient that fades out but never jumps.

        y = low + softplus(x - low)
        soft_clip(x) = y - softplus(y - high)

    between `low - softplus(low - high)` and `high`. If the limits are so close that
    this matters, the result is stretched to (low, high).

    The lower limit has the form of Rybkin et al. (2020). Between the limits, some units
    away from both, it is the identity. Beyond them value and gradient stay finite for
    every x of float16's range and far beyond.

    Args:
        x: Float tensor.
        low: Python float, the lower limit.
        high: Python float, the upper limit.

    Returns:
        A tensor of the shape of `x`.

    Example:
    >>> clip = kv.distributions.posteriors.soft_clip
    >>> clip(tf.constant([-1e4, 5.0, 1e4]), -6.0, 100.0).numpy().round(3)
    array([ -6.,   5., 100.], dtype=float32)

    Reference:
        [Simple and Effective VAE Training with Calibrated Decoders](
        https://arxiv.org/abs/2006.13202)
    """

    @tf.custom_gradient
    def clip(x):
        value, slope, _ = softplus_and_slopes(x - low)
        above = low + value
        # `high - softplus(high - above)` would round small values to the ulp of `high`.
        value, _, high_slope = softplus_and_slopes(above - high)
        # The gradients of the draw and of the KL then cost one product each.
        slope *= high_slope
        excess = _excess(low, high)
        if not excess:
            return above - value, lambda upstream: upstream * slope
        stretch = (high - low) / (high - low + excess)
        result = low + stretch * (above - value - low + excess)
        return result, lambda upstream: upstream * (stretch * slope)

    return clip(x)


def inverse_soft_clip(y, low, high):
    """Returns the float that `soft_clip` maps to `y`, a float in (low, high)."""
    excess = _excess(low, high)
    y = low - excess + (y - low) * (high - low + excess) / (high - low)
    above = high - _inverse_softplus(high - y)
    return low + _inverse_softplus(above - low)


def bounded_scale(raw, min_scale, max_scale):
    """Maps unbounded numbers to scales; 0 maps to 1.

        scale = soft_clip(raw + c, min_scale, max_scale), c such that raw = 0 gives 1

    It is exponential below one and linear above: a network's output changes small
    scales by a factor and large scales by an amount.

    Args:
        raw: Float tensor.
        min_scale: Python float, the lower limit.
        max_scale: Python float, the upper limit.

    Returns:
        A tensor of the shape of `raw`, in (min_scale, max_scale).
    """
    return soft_clip(
        raw + inverse_soft_clip(1.0, min_scale, max_scale), min_scale, max_scale
    )


def _excess(low, high):
    """Returns how far below `low` the clipped values reach, 0 if next to nothing."""
    excess = math.log1p(math.exp(low - high))
    return excess if excess > _NEXT_TO_NOTHING else 0.0


def _inverse_softplus(y):
    return y + math.log(-math.expm1(-y))

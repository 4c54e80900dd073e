"""Weights that stay, or go from one value to another."""

import math

import tensorflow as tf

from keras_vae.schedules.durations import check_duration
from keras_vae.schedules.durations import check_number
from keras_vae.schedules.formulas import SHAPES
from keras_vae.schedules.formulas import float64
from keras_vae.schedules.formulas import interpolate
from keras_vae.schedules.formulas import logistic
from keras_vae.schedules.formulas import until
from keras_vae.schedules.schedule import Schedule
from keras_vae.schedules.schedule import factory


@factory
def constant(value: float) -> Schedule:
    """The same weight at every step.

    Args:
        value: Float, the weight.

    Returns:
        A `Schedule`.

    Raises:
        ValueError: If `value` is not a finite number.

    Example:
        >>> float(kv.schedules.constant(0.5)(1000))
        0.5
    """
    value = check_number("value", value)
    return Schedule(
        constant,
        {"value": value},
        lambda step: tf.fill(tf.shape(step), float64(value)),
        lambda: 0,
    )


@factory
def linear(duration="50%", start: float = 0.0, end: float = 1.0) -> Schedule:
    """A straight ramp, then its end.

    `start + (end - start) min(t / duration, 1)`, the warm-up of Sonderby et al. (2016).

    Args:
        duration: Integer or string, the step from which the weight is `end`. Defaults
            to "50%", the first half of the run.
        start: Float, the weight at step 0. Defaults to 0.
        end: Float, the last weight. Defaults to 1.

    Returns:
        A `Schedule`.

    Raises:
        ValueError: If an argument is out of range.

    Example:
        >>> float(kv.schedules.linear(100)(25))
        0.25

    References:
        Ladder Variational Autoencoders, https://arxiv.org/abs/1602.02282
    """
    return _ramp(linear, SHAPES["linear"], duration, start, end)


@factory
def sigmoid(
    duration="50%",
    start: float = 0.0,
    end: float = 1.0,
    midpoint: float = 0.5,
    steepness: float = 10.0,
) -> Schedule:
    """A logistic ramp, then its end, as Bowman et al. (2015) draw it.

    `start + (end - start) / (1 + exp(-steepness (t / duration - midpoint)))`

    The logistic curve meets neither end. With the defaults it starts at 0.0067 and has
    reached 0.9933 when it jumps to `end` at step `duration`: from there on the weight
    is exact. A larger `steepness` makes both gaps smaller. The paper gives no
    constants; those in use are

    * `sigmoid((t - 5000) / 1000)` for 10,000 steps, of ControlVAE: `sigmoid(10_000)`;
    * `1 / (1 + exp(-k (t - x0)))`, k = 0.0025 and x0 = 2500, of Sentence-VAE:
      `sigmoid(10_000, midpoint=0.25, steepness=25.0)`, that is midpoint =
      x0 / duration and steepness = k duration, with a jump below 1e-8.

    Args:
        duration: Integer or string, the step from which the weight is `end`. Defaults
            to "50%", the first half of the run.
        start: Float, the lower asymptote. Defaults to 0.
        end: Float, the upper asymptote and last weight. Defaults to 1.
        midpoint: Float in [0, 1], where the weight is halfway, as a fraction of
            `duration`. Defaults to 0.5.
        steepness: Positive float, the slope times 4, per `duration`. Defaults to 10.

    Returns:
        A `Schedule`.

    Raises:
        ValueError: If an argument is out of range.

    Example:
        >>> schedule = kv.schedules.sigmoid(10_000)
        >>> [round(float(schedule(step)), 4) for step in (0, 5000, 9999, 10_000)]
        [0.0067, 0.5, 0.9933, 1.0]

    References:
        Generating Sentences from a Continuous Space, https://arxiv.org/abs/1511.06349
    """
    midpoint = check_number("midpoint", midpoint, "in [0, 1]", lambda m: 0 <= m <= 1)
    steepness = check_number(
        "steepness", steepness, "a positive number", lambda s: s > 0
    )
    return _ramp(
        sigmoid,
        lambda x: logistic(x, midpoint, steepness),
        duration,
        start,
        end,
        midpoint=midpoint,
        steepness=steepness,
    )


@factory
def cosine(duration="50%", start: float = 0.0, end: float = 1.0) -> Schedule:
    """Half a cosine wave, then its end: flat at both.

    `start + (end - start) (1 - cos(pi t / duration)) / 2`, f(tau) of Fu et al. (2019).

    Args:
        duration: Integer or string, the step from which the weight is `end`. Defaults
            to "50%", the first half of the run.
        start: Float, the weight at step 0. Defaults to 0.
        end: Float, the last weight. Defaults to 1.

    Returns:
        A `Schedule`.

    Raises:
        ValueError: If an argument is out of range.

    Example:
        >>> round(float(kv.schedules.cosine(100)(25)), 4)
        0.1464

    References:
        Cyclical Annealing Schedule, https://arxiv.org/abs/1903.10145
    """
    return _ramp(cosine, SHAPES["cosine"], duration, start, end)


@factory
def exponential(duration="50%", start: float = 1e-3, end: float = 1.0) -> Schedule:
    """A ramp with a constant ratio between steps, then its end.

    `start (end / start)^(t / duration)`: a straight line on a logarithmic axis.

    Args:
        duration: Integer or string, the step from which the weight is `end`. Defaults
            to "50%", the first half of the run.
        start: Positive float, the weight at step 0. Defaults to 0.001.
        end: Positive float, the last weight. Defaults to 1.

    Returns:
        A `Schedule`.

    Raises:
        ValueError: If an argument is out of range.

    Example:
        >>> round(float(kv.schedules.exponential(100, start=0.01)(50)), 4)
        0.1
    """
    duration = check_duration("duration", duration)
    start = check_number("start", start, "a positive number", lambda s: s > 0)
    end = check_number("end", end, "a positive number", lambda e: e > 0)
    log_ratio = math.log(end / start)
    return Schedule(
        exponential,
        {"duration": duration, "start": start, "end": end},
        lambda step: until(
            duration, step, lambda x: start * tf.exp(log_ratio * x), end
        ),
        lambda: 0 if start == end else duration,
    )


def _ramp(factory, shape, duration, start, end, **options):
    duration = check_duration("duration", duration)
    start, end = check_number("start", start), check_number("end", end)
    return Schedule(
        factory,
        {"duration": duration, "start": start, "end": end, **options},
        lambda step: interpolate(shape, duration, step, start, end),
        lambda: 0 if start == end else duration,
    )

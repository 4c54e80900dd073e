"""Schedules that start again."""

import fractions
import math

import tensorflow as tf

from keras_vae.arguments import check_count
from keras_vae.schedules.combinations import get
from keras_vae.schedules.combinations import join
from keras_vae.schedules.durations import check_boundaries
from keras_vae.schedules.durations import check_duration
from keras_vae.schedules.durations import check_number
from keras_vae.schedules.formulas import SHAPES
from keras_vae.schedules.formulas import interpolate
from keras_vae.schedules.schedule import Schedule
from keras_vae.schedules.schedule import factory


@factory
def cyclical(
    duration="100%",
    num_cycles: int = 4,
    ratio: float = 0.5,
    shape: str = "linear",
    start: float = 0.0,
    end: float = 1.0,
) -> Schedule:
    """Ramps that start again, of Fu et al. (2019), equations 6 and 7.

    At step t, counted from 0, of `duration` = T steps in `num_cycles` = M cycles,

        beta(t) = f(tau) if tau <= R else 1,  tau = mod(t, ceil(T / M)) / (T / M)

    with `ratio` = R, f rising from `start` to `end` within R; `end` from step T on. The
    paper's PTB runs restart at `start=0.1`. For cycles without end see `repeat`.

    Args:
        duration: Integer or string, T, the length of all cycles together. Defaults to
            "100%", the whole run.
        num_cycles: Positive integer, M. Defaults to 4.
        ratio: Float in (0, 1], R, the part of a cycle that rises. Defaults to 0.5.
        shape: String, f: "linear", "cosine" or "sigmoid" (the logistic curve from
            0.0067 to 0.9933 of `schedules.sigmoid`). Defaults to "linear".
        start: Float, the weight at the start of a cycle. Defaults to 0.
        end: Float, the weight for the rest of a cycle and of the run. Defaults to 1.

    Returns:
        A `Schedule`.

    Raises:
        ValueError: If an argument is out of range.

    Example:
        >>> schedule = kv.schedules.cyclical(40_000, num_cycles=4, ratio=0.5)
        >>> schedule(np.array([0, 2500, 5000, 9999, 10_000])).numpy().tolist()
        [0.0, 0.5, 1.0, 1.0, 0.0]

    References:
        Cyclical Annealing Schedule, https://arxiv.org/abs/1903.10145
    """
    duration = check_duration("duration", duration)
    start, end = check_number("start", start), check_number("end", end)
    ratio = check_number("ratio", ratio, "in (0, 1]", lambda r: 0 < r <= 1)
    num_cycles = check_count("num_cycles", num_cycles)
    if shape not in SHAPES:
        raise ValueError(f"`shape` must be one of {sorted(SHAPES)}. Received: {shape=}")

    def rise():
        # Exact for decimal ratios: 0.07 * 100 is more than 7 in floating point.
        return fractions.Fraction(str(ratio)) * duration / num_cycles

    def cycle():
        return max(math.ceil(fractions.Fraction(duration, num_cycles)), 1)

    def formula(step):
        position = tf.where(step < duration, step % cycle(), cycle())
        return interpolate(SHAPES[shape], rise(), position, start, end)

    def end_step():
        last = max(duration - 1, 0) // cycle() * cycle()
        return 0 if start == end else min(duration, last + math.ceil(rise()))

    return Schedule(
        cyclical,
        {
            "duration": duration,
            "num_cycles": num_cycles,
            "ratio": ratio,
            "shape": shape,
            "start": start,
            "end": end,
        },
        formula,
        end_step,
    )


@factory
def repeat(schedule, duration) -> Schedule:
    """A schedule that starts again every `duration` steps, without end.

    Args:
        schedule: `Schedule`, or what `get` makes one of.
        duration: Integer or string, the length of a cycle.

    Returns:
        A `Schedule`.

    Raises:
        ValueError: If an argument is out of range.

    Example:
        >>> schedule = kv.schedules.repeat(kv.schedules.linear(50), 100)
        >>> schedule(np.array([25, 75, 125])).numpy().tolist()
        [0.5, 1.0, 0.5]
    """
    schedule = get(schedule)
    duration = check_duration("duration", duration)
    return Schedule(
        repeat,
        {"schedule": schedule, "duration": duration},
        lambda step: schedule(step % max(duration, 1)),
        lambda: 0 if schedule.end_step == 0 else None,
    )


@factory
def restart(schedule, boundaries) -> Schedule:
    """A schedule that starts again at given steps, and then goes on to its end.

    A posterior that collapsed once the weight was full gets a further chance. Restarts
    at equal distances are `cyclical`, without an end `repeat`; a restart with a further
    `fit` is `KLAnnealing(schedule, restart=True)`.

    Args:
        schedule: `Schedule`, or what `get` makes one of.
        boundaries: List of integers or strings, in increasing order: the steps of the
            whole run at which the schedule is at its step 0 again.

    Returns:
        A `Schedule`.

    Raises:
        ValueError: If an argument is out of range.

    Example:
        >>> schedule = kv.schedules.restart(kv.schedules.linear(50), [200, 300])
        >>> schedule(np.array([25, 199, 200, 225, 310, 350])).numpy().tolist()
        [0.5, 1.0, 0.0, 0.5, 0.20000000298023224, 1.0]
    """
    schedule = get(schedule)
    starts = (schedule,) * (len(boundaries) + 1)
    boundaries = check_boundaries(boundaries, "schedule", starts)
    pieces = join(starts, boundaries)
    return Schedule(
        restart,
        {"schedule": schedule, "boundaries": boundaries},
        pieces._formula,
        pieces._end_step,
    )

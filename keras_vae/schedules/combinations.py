"""Schedules made of schedules, and of what stands for one."""

import numbers
from collections.abc import Callable

import keras
import tensorflow as tf

from keras_vae.schedules.durations import check_boundaries
from keras_vae.schedules.durations import check_duration
from keras_vae.schedules.durations import check_number
from keras_vae.schedules.ramps import constant
from keras_vae.schedules.schedule import FACTORIES
from keras_vae.schedules.schedule import Schedule
from keras_vae.schedules.schedule import factory

# Those that need no arguments.
_NAMES = ("linear", "sigmoid", "cosine", "exponential", "cyclical")


@factory
def piecewise(boundaries, values) -> Schedule:
    """A step function: `values[i]` from step `boundaries[i - 1]` on.

    At a boundary the new value holds, unlike in Keras's `PiecewiseConstantDecay`.

    Args:
        boundaries: List of integers or strings, in increasing order.
        values: List of floats, one more than `boundaries`.

    Returns:
        A `Schedule`.

    Raises:
        ValueError: If an argument is out of range.

    Example:
        >>> schedule = kv.schedules.piecewise([100, 200], [0.0, 0.5, 1.0])
        >>> schedule(np.array([99, 100, 200])).numpy().tolist()
        [0.0, 0.5, 1.0]
    """
    values = tuple(check_number("values", value) for value in values)
    boundaries = check_boundaries(boundaries, "values", values)
    steps = join([constant(value) for value in values], boundaries)
    return Schedule(
        piecewise,
        {"boundaries": boundaries, "values": values},
        steps._formula,
        steps._end_step,
    )


@factory
def join(schedules, boundaries) -> Schedule:
    """Schedules one after the other, each counting its steps from where it starts.

    Args:
        schedules: List of `Schedule`, or of what `get` makes one of.
        boundaries: List of integers or strings, in increasing order, one less than
            `schedules`: the steps of the whole run at which the next schedule starts.

    Returns:
        A `Schedule`.

    Raises:
        ValueError: If an argument is out of range.

    Example:
        >>> up = kv.schedules.linear(100)
        >>> down = kv.schedules.linear(100, start=1.0, end=0.5)
        >>> schedule = kv.schedules.join([up, down], [500])
        >>> schedule(np.array([50, 499, 550, 600])).numpy().tolist()
        [0.5, 1.0, 0.75, 0.5]
    """
    schedules = tuple(map(get, schedules))
    boundaries = check_boundaries(boundaries, "schedules", schedules)

    def formula(step):
        value = schedules[0](step)
        for boundary, schedule in zip(boundaries, schedules[1:], strict=True):
            value = tf.where(step < boundary, value, schedule(step - boundary))
        return value

    def end_step():
        last = schedules[-1].end_step
        return None if last is None else last + (boundaries[-1] if boundaries else 0)

    return Schedule(
        join, {"schedules": schedules, "boundaries": boundaries}, formula, end_step
    )


@factory
def delay(schedule, duration) -> Schedule:
    """A schedule that waits at its first weight for `duration` steps.

    Args:
        schedule: `Schedule`, or what `get` makes one of.
        duration: Integer or string, the step at which `schedule` starts.

    Returns:
        A `Schedule`.

    Raises:
        ValueError: If an argument is out of range.

    Example:
        >>> schedule = kv.schedules.delay(kv.schedules.linear(100), 1000)
        >>> schedule(np.array([0, 1000, 1050])).numpy().tolist()
        [0.0, 0.0, 0.5]
    """
    schedule = get(schedule)
    duration = check_duration("duration", duration)
    return Schedule(
        delay,
        {"schedule": schedule, "duration": duration},
        lambda step: schedule(step - duration),
        lambda: schedule.end_step and schedule.end_step + duration,
    )


@factory
def custom(function: Callable, end_step: int | None = None) -> Schedule:
    """A schedule of one's own.

    Args:
        function: Callable, int64 step tensor -> weight, written in TensorFlow
            operations so that it also runs in a graph. A Keras `LearningRateSchedule`
            is one. To be saved it must be registered with `keras.saving`.
        end_step: Integer, the step from which the weight no longer changes. Defaults
            to None: unknown.

    Returns:
        A `Schedule`.

    Raises:
        ValueError: If `function` is not callable, or cannot be called in a graph.

    Example:
        >>> schedule = kv.schedules.custom(lambda step: 1 / (1 + step))
        >>> float(schedule(3))
        0.25
    """
    if not callable(function):
        raise ValueError(f"`function` must be callable. Received: {function=}")
    _check_in_graph(function)
    if end_step is not None:
        end_step = check_duration("end_step", end_step)
    return Schedule(
        custom,
        {"function": function, "end_step": end_step},
        function,
        lambda: end_step,
    )


def _check_in_graph(function):
    traced = tf.function(lambda step: function(step), autograph=False)
    try:
        traced.get_concrete_function(tf.TensorSpec([], tf.int64))
    except Exception as error:
        raise ValueError(
            "`function` must take an int64 step tensor in TensorFlow operations, for "
            "instance `lambda step: tf.minimum(1e-4 * tf.cast(step, 'float32'), 1.0)`. "
            f"Received: {function=}, which raised {type(error).__name__}: {error}"
        ) from error


def get(identifier) -> Schedule:
    """Returns the schedule that an argument stands for.

    Args:
        identifier: `Schedule`; number, a constant; callable, see `custom`; or name of a
            function of this package which needs no arguments: "linear", "sigmoid",
            "cosine" and "exponential" over the first half of the run, "cyclical" over
            all of it.

    Returns:
        A `Schedule`.

    Raises:
        ValueError: If `identifier` is none of these.

    Example:
        >>> kv.schedules.get(0.5)
        constant(value=0.5)
    """
    if isinstance(identifier, Schedule):
        return identifier
    if isinstance(identifier, str) and identifier in _NAMES:
        return FACTORIES[identifier]()
    if isinstance(identifier, dict):
        return keras.saving.deserialize_keras_object(identifier)
    if isinstance(identifier, numbers.Real) and not isinstance(identifier, bool):
        return constant(identifier)
    if callable(identifier):
        return custom(identifier)
    raise ValueError(
        "`identifier` must be a schedule, a number, a callable step -> weight or one "
        f"of {list(_NAMES)}. Received: {identifier=}"
    )

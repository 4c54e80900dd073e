"""Schedules: pure functions from an optimiser step to a weight.

A schedule is evaluated wherever the step is known: in Python, in a `tf.function`, under
XLA and inside loops. One formula in float64 serves all of them, so that a weight is a
function of the step alone. Durations are given in one of four ways:

* `1000` or `"1000 steps"`: optimiser steps;
* `"10 epochs"`: epochs, which need the number of steps per epoch;
* `"50%"`: a fraction of the run, which needs the number of steps of the run.

The last two are unknown until training starts; `Schedule.resolve` turns them into
steps, rounding halves up: "50%" of 41 steps are 21.
"""

import dataclasses
import fractions
import inspect
import math
import numbers
import re
from collections.abc import Callable

import keras
import tensorflow as tf


@keras.saving.register_keras_serializable(package="keras_vae")
class Schedule:
    """A pure function from an optimiser step to a float32 weight.

    Made by the functions of this module (`linear`, `join`, ...), never directly: a
    schedule is the function that made it, called with these arguments, which is what
    lets it be printed, saved, and made again once its durations are known.

    Args:
        factory: Callable, the function of this module that makes the schedule.
        arguments: Dict, the arguments of `factory`.
        formula: Callable, int64 step tensor -> tensor of the same shape.
        end_step: Callable without arguments that returns the `end_step`.

    Example:
        >>> schedule = kv.schedules.linear("50%")
        >>> schedule = schedule.resolve(total_steps=41)
        >>> schedule
        linear(duration=21, start=0.0, end=1.0)
        >>> float(schedule(21))
        1.0
    """

    def __init__(
        self,
        factory: Callable,
        arguments: dict,
        formula: Callable,
        end_step: Callable,
    ):
        self._factory = factory
        self._arguments = arguments
        self._formula = formula
        self._end_step = end_step

    def __call__(self, step):
        """Returns the weight at a step, counted from 0.

        Args:
            step: Integer, or integer tensor, array or variable of any shape; a negative
                step counts as step 0.

        Returns:
            A float32 tensor of the shape of `step`.

        Raises:
            ValueError: If `step` is not an integer, or if the schedule is not resolved.
        """
        self._require_resolved()
        step = tf.convert_to_tensor(step)
        if not step.dtype.is_integer:
            raise ValueError(
                f"`step` must be an integer. Received: step={step} of {step.dtype}"
            )
        step = tf.maximum(tf.cast(step, tf.int64), 0)
        return tf.cast(self._formula(step), tf.float32)

    @property
    def is_resolved(self) -> bool:
        """Whether every duration is known in steps."""
        return not any(_unresolved(self._arguments.values()))

    @property
    def end_step(self) -> int | None:
        """The first step from which the weight no longer changes.

        0 for a constant; None if the weight never settles (`repeat`) or if nobody knows
        (`custom`). Where the pieces of a `join` agree at a boundary this is the
        boundary, although the weight may have settled before.
        """
        self._require_resolved()
        return self._end_step()

    def resolve(
        self, total_steps: int | None = None, steps_per_epoch: int | None = None
    ) -> "Schedule":
        """Returns the same schedule with every duration in steps.

        Args:
            total_steps: Integer, optimiser steps of the run, which "50%" refers to.
                Defaults to None: unknown.
            steps_per_epoch: Integer, optimiser steps of one epoch. Defaults to None:
                unknown.

        Returns:
            A resolved `Schedule`.

        Raises:
            ValueError: If a duration needs a number that is None.
        """

        def resolve(value):
            if isinstance(value, tuple):
                return tuple(map(resolve, value))
            if isinstance(value, _Duration | Schedule):
                return value.resolve(total_steps, steps_per_epoch)
            return value

        return self._factory(**{k: resolve(v) for k, v in self._arguments.items()})

    def get_config(self) -> dict:
        """Returns the function that makes this schedule, and its arguments.

        Returns:
            A dict, the name and the arguments, durations as they were given.
        """

        def plain(value):
            if isinstance(value, tuple):
                return [plain(v) for v in value]
            return value.text if isinstance(value, _Duration) else value

        arguments = {k: plain(v) for k, v in self._arguments.items()}
        return {"name": self._factory.__name__, **arguments}

    @classmethod
    def from_config(cls, config: dict) -> "Schedule":
        """Returns the schedule that `get_config` describes.

        Args:
            config: Dict from `get_config`.

        Returns:
            A `Schedule`.
        """
        config = keras.saving.deserialize_keras_object(dict(config))
        return _FACTORIES[config.pop("name")](**config)

    def __repr__(self):
        arguments = (
            f"{name}={value.__name__ if inspect.isfunction(value) else repr(value)}"
            for name, value in self._arguments.items()
        )
        return f"{self._factory.__name__}({', '.join(arguments)})"

    def _require_resolved(self):
        for duration in _unresolved(self._arguments.values()):
            raise ValueError(
                f"`{duration.argument}` must be known in steps before the schedule is "
                "used: call `schedule.resolve(total_steps=..., steps_per_epoch=...)`. "
                f"Received: {self!r}"
            )


# === Ramps ===


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
    value = _number("value", value)
    return Schedule(
        constant,
        {"value": value},
        lambda step: tf.fill(tf.shape(step), _float64(value)),
        lambda: 0,
    )


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
    return _ramp(linear, _SHAPES["linear"], duration, start, end)


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
    midpoint = _number("midpoint", midpoint, "in [0, 1]", lambda m: 0 <= m <= 1)
    steepness = _number("steepness", steepness, "a positive number", lambda s: s > 0)
    return _ramp(
        sigmoid,
        lambda x: _logistic(x, midpoint, steepness),
        duration,
        start,
        end,
        midpoint=midpoint,
        steepness=steepness,
    )


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
    return _ramp(cosine, _SHAPES["cosine"], duration, start, end)


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
    duration = _duration("duration", duration)
    start = _number("start", start, "a positive number", lambda s: s > 0)
    end = _number("end", end, "a positive number", lambda e: e > 0)
    log_ratio = math.log(end / start)
    return Schedule(
        exponential,
        {"duration": duration, "start": start, "end": end},
        lambda step: _until(
            duration, step, lambda x: start * tf.exp(log_ratio * x), end
        ),
        lambda: 0 if start == end else duration,
    )


# === Cycles ===


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
    duration = _duration("duration", duration)
    start, end = _number("start", start), _number("end", end)
    ratio = _number("ratio", ratio, "in (0, 1]", lambda r: 0 < r <= 1)
    if not _is_integer(num_cycles) or num_cycles < 1:
        raise ValueError(
            f"`num_cycles` must be a positive integer. Received: {num_cycles=}"
        )
    if shape not in _SHAPES:
        raise ValueError(
            f"`shape` must be one of {sorted(_SHAPES)}. Received: {shape=}"
        )

    def rise():
        # Exact for decimal ratios: 0.07 * 100 is more than 7 in floating point.
        return fractions.Fraction(str(ratio)) * duration / num_cycles

    def cycle():
        return max(math.ceil(fractions.Fraction(duration, num_cycles)), 1)

    def formula(step):
        position = tf.where(step < duration, step % cycle(), cycle())
        return _interpolate(_SHAPES[shape], rise(), position, start, end)

    def end_step():
        last = max(duration - 1, 0) // cycle() * cycle()
        return 0 if start == end else min(duration, last + math.ceil(rise()))

    return Schedule(
        cyclical,
        {
            "duration": duration,
            "num_cycles": int(num_cycles),
            "ratio": ratio,
            "shape": shape,
            "start": start,
            "end": end,
        },
        formula,
        end_step,
    )


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
    duration = _duration("duration", duration)
    return Schedule(
        repeat,
        {"schedule": schedule, "duration": duration},
        lambda step: schedule(step % max(duration, 1)),
        lambda: 0 if schedule.end_step == 0 else None,
    )


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
    boundaries = _boundaries(boundaries, "schedule", starts)
    pieces = join(starts, boundaries)
    return Schedule(
        restart,
        {"schedule": schedule, "boundaries": boundaries},
        pieces._formula,
        pieces._end_step,
    )


# === Combinations ===


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
    values = tuple(_number("values", value) for value in values)
    boundaries = _boundaries(boundaries, "values", values)
    steps = join([constant(value) for value in values], boundaries)
    return Schedule(
        piecewise,
        {"boundaries": boundaries, "values": values},
        steps._formula,
        steps._end_step,
    )


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
    boundaries = _boundaries(boundaries, "schedules", schedules)

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
    duration = _duration("duration", duration)
    return Schedule(
        delay,
        {"schedule": schedule, "duration": duration},
        lambda step: schedule(step - duration),
        lambda: schedule.end_step and schedule.end_step + duration,
    )


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
        ValueError: If `function` is not callable.

    Example:
        >>> schedule = kv.schedules.custom(lambda step: 1 / (1 + step))
        >>> float(schedule(3))
        0.25
    """
    if not callable(function):
        raise ValueError(f"`function` must be callable. Received: {function=}")
    if end_step is not None:
        end_step = _duration("end_step", end_step)
    return Schedule(
        custom,
        {"function": function, "end_step": end_step},
        function,
        lambda: end_step,
    )


def get(identifier) -> Schedule:
    """Returns the schedule that an argument stands for.

    Args:
        identifier: `Schedule`; number, a constant; callable, see `custom`; or name of a
            function of this module which needs no arguments: "linear", "sigmoid",
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
        return _FACTORIES[identifier]()
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


# === Formulas ===


def _float64(value):
    return tf.constant(float(value), tf.float64)


def _logistic(x, midpoint=0.5, steepness=10.0):
    return 1 / (1 + tf.exp(-steepness * (x - midpoint)))


# From [0, 1] to [0, 1].
_SHAPES = {
    "linear": lambda x: x,
    "cosine": lambda x: (1 - tf.cos(math.pi * x)) / 2,
    "sigmoid": _logistic,
}


def _until(duration, step, curve, end):
    x = tf.cast(step, tf.float64) / max(float(duration), 1.0)
    return tf.where(step < math.ceil(duration), curve(x), _float64(end))


def _interpolate(shape, duration, step, start, end):
    return _until(duration, step, lambda x: start + (end - start) * shape(x), end)


def _ramp(factory, shape, duration, start, end, **options):
    duration = _duration("duration", duration)
    start, end = _number("start", start), _number("end", end)
    return Schedule(
        factory,
        {"duration": duration, "start": start, "end": end, **options},
        lambda step: _interpolate(shape, duration, step, start, end),
        lambda: 0 if start == end else duration,
    )


# === Arguments ===


@dataclasses.dataclass(frozen=True)
class _Duration:
    """A duration in epochs or in fractions of a run, and the argument that it is."""

    argument: str
    text: str
    count: fractions.Fraction
    unit: str

    def resolve(self, total_steps, steps_per_epoch):
        steps = total_steps if self.unit == "run" else steps_per_epoch
        if steps is None:
            raise ValueError(
                f"`{self.argument}` must be in steps where the number of steps per "
                f"{self.unit} is unknown: pass `steps_per_epoch`, or write for example "
                f"{self.argument}=1000. Received: {self.argument}={self.text!r}"
            )
        return math.floor(self.count * int(steps) + fractions.Fraction(1, 2))

    def __repr__(self):
        return repr(self.text)


def _duration(argument, value):
    """Returns steps, or a `_Duration` that will be resolved to steps."""
    if isinstance(value, _Duration):
        return dataclasses.replace(value, argument=argument)
    if _is_integer(value) and value >= 0:
        return int(value)
    text = value.strip() if isinstance(value, str) else ""
    match = re.fullmatch(r"(\d+(?:\.\d+)?) *(%|steps?|epochs?)", text)
    if match:
        count, unit = fractions.Fraction(match[1]), match[2].rstrip("s")
        if unit == "epoch":
            return _Duration(argument, value, count, unit)
        if unit == "%" and count <= 100:
            return _Duration(argument, value, count / 100, "run")
        if unit == "step" and count.denominator == 1:
            return int(count)
    hint = ""
    if isinstance(value, numbers.Real) and 0 <= value <= 1:
        hint = f' (a fraction of the run is a string: "{100 * float(value):g}%")'
    raise ValueError(
        f"`{argument}` must be a non-negative integer (steps), or a string such as "
        f'"1000 steps", "10 epochs" or "50%"{hint}. Received: {argument}={value!r}'
    )


def _boundaries(boundaries, other, values):
    boundaries = tuple(_duration("boundaries", boundary) for boundary in boundaries)
    if len(values) != len(boundaries) + 1:
        raise ValueError(
            f"`{other}` must have one entry more than `boundaries`. Received: "
            f"{other}={list(values)}, boundaries={list(boundaries)}"
        )
    known = [boundary for boundary in boundaries if _is_integer(boundary)]
    if known != sorted(known):
        raise ValueError(
            "`boundaries` must be in increasing order. Received: "
            f"boundaries={list(boundaries)}"
        )
    return boundaries


def _number(argument, value, rule="a finite number", accepts=math.isfinite):
    is_number = isinstance(value, numbers.Real) and not isinstance(value, bool)
    if not (is_number and math.isfinite(value) and accepts(value)):
        raise ValueError(f"`{argument}` must be {rule}. Received: {argument}={value!r}")
    return float(value)


def _is_integer(value):
    return isinstance(value, numbers.Integral) and not isinstance(value, bool)


def _unresolved(values):
    for value in values:
        if isinstance(value, _Duration):
            yield value
        elif isinstance(value, Schedule):
            yield from _unresolved(value._arguments.values())
        elif isinstance(value, tuple):
            yield from _unresolved(value)


_NAMES = ("linear", "sigmoid", "cosine", "exponential", "cyclical")
_FACTORIES = {
    factory.__name__: factory
    for factory in (
        constant,
        linear,
        sigmoid,
        cosine,
        exponential,
        cyclical,
        repeat,
        restart,
        piecewise,
        join,
        delay,
        custom,
    )
}

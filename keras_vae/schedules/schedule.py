"""The class of all schedules."""

import inspect
from collections.abc import Callable

import keras
import tensorflow as tf

from keras_vae.schedules.durations import Duration

# Functions that make schedules, by name.
FACTORIES = {}


def factory(function):
    """Registers a function that makes schedules, and returns it."""
    FACTORIES[function.__name__] = function
    return function


@keras.saving.register_keras_serializable(package="keras_vae")
class Schedule:
    """A pure function from an optimizer step to a float32 weight.

    The functions of this package (`linear`, `join`, ...) make schedules; the class is
    never called directly. A schedule stores its function and arguments, so that it can
    be printed, saved, and made again once its durations are known.

    Args:
        factory: Callable, the function of this package that makes the schedule.
        arguments: Dict, the arguments of `factory`.
        formula: Callable, int64 step tensor -> tensor of the same shape.
        end_step: Callable without arguments that returns `end_step`.

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

        0 for a constant; None if the weight never settles (`repeat`) or the end is
        unknown (`custom`). If the pieces of a `join` agree at a boundary, this is the
        boundary, although the weight may have settled earlier.
        """
        self._require_resolved()
        return self._end_step()

    def resolve(
        self, total_steps: int | None = None, steps_per_epoch: int | None = None
    ) -> "Schedule":
        """Returns the same schedule with every duration in steps.

        Args:
            total_steps: Integer, optimizer steps of the run, the reference of "50%".
                Defaults to None: unknown.
            steps_per_epoch: Integer, optimizer steps of one epoch. Defaults to None:
                unknown.

        Returns:
            A resolved `Schedule`.

        Raises:
            ValueError: If a duration needs a number that is None.
        """

        def resolve(value):
            if isinstance(value, tuple):
                return tuple(map(resolve, value))
            if isinstance(value, Duration | Schedule):
                return value.resolve(total_steps, steps_per_epoch)
            return value

        return self._factory(**{k: resolve(v) for k, v in self._arguments.items()})

    def get_config(self) -> dict:
        """Returns the name of the function that made this schedule, and its arguments.

        Returns:
            A dict of the name and the arguments, with durations in their original form.
        """

        def plain(value):
            if isinstance(value, tuple):
                return [plain(v) for v in value]
            return value.text if isinstance(value, Duration) else value

        arguments = {k: plain(v) for k, v in self._arguments.items()}
        return {"name": self._factory.__name__, **arguments}

    def __eq__(self, other):
        return isinstance(other, Schedule) and self.get_config() == other.get_config()

    def __hash__(self):
        return hash(self._factory.__name__)

    @classmethod
    def from_config(cls, config: dict) -> "Schedule":
        """Returns the schedule that `get_config` describes.

        Args:
            config: Dict from `get_config`.

        Returns:
            A `Schedule`.
        """
        config = keras.saving.deserialize_keras_object(dict(config))
        return _make(config.pop("name"), config)

    def __reduce__(self):
        # Formulas are closures, and neither `pickle` nor `copy.deepcopy` supports them.
        return _make, (self._factory.__name__, self._arguments)

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


def _make(name, arguments):
    return FACTORIES[name](**arguments)


def _unresolved(values):
    for value in values:
        if isinstance(value, Duration):
            yield value
        elif isinstance(value, Schedule):
            yield from _unresolved(value._arguments.values())
        elif isinstance(value, tuple):
            yield from _unresolved(value)

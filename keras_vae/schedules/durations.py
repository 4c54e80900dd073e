"""Durations of schedules, and checks of other arguments of schedules."""

import dataclasses
import fractions
import math
import numbers
import re

from keras_vae.arguments import is_integer


@dataclasses.dataclass(frozen=True)
class Duration:
    """A duration in epochs or fractions of a run, with the name of its argument."""

    argument: str
    text: str
    count: fractions.Fraction
    unit: str

    def resolve(self, total_steps, steps_per_epoch):
        """Returns the duration in steps; raises ValueError if it is unknown."""
        steps = total_steps if self.unit == "run" else steps_per_epoch
        if steps is None:
            raise ValueError(
                f"`{self.argument}` must be in steps if the number of steps per "
                f"{self.unit} is unknown: pass `steps_per_epoch`, or write for example "
                f"{self.argument}=1000. Received: {self.argument}={self.text!r}"
            )
        return math.floor(self.count * int(steps) + fractions.Fraction(1, 2))

    def __repr__(self):
        return repr(self.text)


def check_duration(argument, value):
    """Returns an integer number of steps, or a `Duration` to be resolved later."""
    if isinstance(value, Duration):
        return dataclasses.replace(value, argument=argument)
    if is_integer(value) and value >= 0:
        return int(value)
    text = value.strip() if isinstance(value, str) else ""
    match = re.fullmatch(r"(\d+(?:\.\d+)?) *(%|steps?|epochs?)", text)
    if match:
        count, unit = fractions.Fraction(match[1]), match[2].rstrip("s")
        if unit == "epoch":
            return Duration(argument, value, count, unit)
        if unit == "%" and count <= 100:
            return Duration(argument, value, count / 100, "run")
        if unit == "step" and count.denominator == 1:
            return int(count)
    hint = ""
    if isinstance(value, numbers.Real) and 0 <= value <= 1:
        hint = f' (a fraction of the run is a string: "{100 * float(value):g}%")'
    raise ValueError(
        f"`{argument}` must be a non-negative integer (steps), or a string such as "
        f'"1000 steps", "10 epochs" or "50%"{hint}. Received: {argument}={value!r}'
    )


def check_boundaries(boundaries, other, values):
    """Returns a tuple of durations; raises ValueError if they do not fit `values`.

    Args:
        boundaries: List of integers or strings.
        other: String, name of the argument with `values`.
        values: Sequence with one entry more than `boundaries`.
    """
    boundaries = tuple(
        check_duration("boundaries", boundary) for boundary in boundaries
    )
    if len(values) != len(boundaries) + 1:
        raise ValueError(
            f"`{other}` must have one entry more than `boundaries`. Received: "
            f"{other}={list(values)}, boundaries={list(boundaries)}"
        )
    known = [boundary for boundary in boundaries if is_integer(boundary)]
    if known != sorted(known):
        raise ValueError(
            "`boundaries` must be in increasing order. Received: "
            f"boundaries={list(boundaries)}"
        )
    return boundaries


def check_number(argument, value, rule="a finite number", accepts=math.isfinite):
    """Returns an argument as a float; raises ValueError if it breaks the rule."""
    is_number = isinstance(value, numbers.Real) and not isinstance(value, bool)
    if not (is_number and math.isfinite(value) and accepts(value)):
        raise ValueError(f"`{argument}` must be {rule}. Received: {argument}={value!r}")
    return float(value)

"""Kinds of flags: text, switches, names, lists and numbers within bounds."""

import math

from absl import flags

# The flags belong to the program that defines them.
flags.disclaim_key_flags()


class _FiniteParser(flags.FloatParser):
    """Refuses NaN, which no bound excludes, and infinity."""

    def convert(self, argument):
        number = super().convert(argument)
        if not math.isfinite(number):
            raise ValueError(f"it must be a finite number. Received: {argument}")
        return number


class Definer:
    """Defines flags on `absl.flags.FlagValues`, by their kind.

    Args:
        values: `absl.flags.FlagValues` that takes them up.
    """

    def __init__(self, values):
        self._values = {"flag_values": values}

    def string(self, name, default, text):
        """Defines a flag of any text."""
        flags.DEFINE_string(name, default, text, **self._values)

    def boolean(self, name, default, text):
        """Defines a flag that is on or off."""
        flags.DEFINE_boolean(name, default, text, **self._values)

    def enum(self, name, default, choices, text):
        """Defines a flag that is one of some names."""
        flags.DEFINE_enum(name, default, choices, text, **self._values)

    def several(self, name, text):
        """Defines a flag of values with commas between them, None by default."""
        flags.DEFINE_list(name, None, text, **self._values)

    def integer(self, name, default, text, low=1, high=None):
        """Defines a flag of a whole number."""
        bounds = {"lower_bound": low, "upper_bound": high}
        flags.DEFINE_integer(name, default, text, **bounds, **self._values)

    def number(self, name, default, text, low=0.0, high=None):
        """Defines a flag of a finite number."""
        serializer = flags.ArgumentSerializer()
        parser = _FiniteParser(low, high)
        flags.DEFINE(parser, name, default, text, serializer=serializer, **self._values)

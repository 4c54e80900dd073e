"""Wide matrices: the first values run by default, all others with `-m slow`."""

import pytest


def first(number, values):
    """Returns parameters of which the default suite runs the first `number`.

    Args:
        number: Integer.
        values: Sequence, a parameter or a tuple of parameters each.
    """
    return [
        pytest.param(
            *(value if isinstance(value, tuple) else (value,)),
            marks=[] if place < number else [pytest.mark.slow],
        )
        for place, value in enumerate(values)
    ]

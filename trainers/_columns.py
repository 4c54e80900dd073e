"""Columns of a table, which a model takes in the order that it was trained on."""

import re

from keras_vae.datasets import tables
from trainers import _settings

# What the reader calls columns without names.
_NUMBERED = re.compile(r"column_\d+")
_SHOWN = 12


def places(found, known, settings):
    """Returns where in a table the columns stand that a model takes.

    Args:
        found: Sequence of strings, the columns of the table, or None of other data.
        known: Sequence of strings, those of the table that the model was trained on, or
            None.
        settings: `_settings.DataSettings`.

    Returns:
        List of integers, or None where one of the two has no names: columns are known
        by their order then.

    Raises:
        _settings.FlagError: If columns are missing, or there are others.
    """
    if not _have_names(found) or not _have_names(known):
        return None
    missing = [name for name in known if name not in found]
    others = [name for name in found if name not in known]
    if missing or others:
        raise _settings.FlagError(
            "`--dataset` must have the columns that the model was trained on, "
            f"{listed(known)}. Received: "
            f"{_settings.written('dataset', settings.dataset)}, "
            + _fault(missing, others, settings.drop_columns or ())
        )
    return [list(found).index(name) for name in known]


def _have_names(columns):
    return bool(columns) and not all(map(_NUMBERED.fullmatch, columns))


def _fault(missing, others, dropped):
    if not missing:
        flag = tables.drop_flag([*dropped, *others])
        return f"which has {listed(others)} too: leave them out, {flag}"
    instead = f", and has {listed(others)}" if others else ""
    return f"which lacks {listed(missing)}{instead}"


def listed(names):
    """Returns names with commas, of many the first ones."""
    more = [f"and {len(names) - _SHOWN} more"] if len(names) > _SHOWN else []
    return ", ".join([*map(repr, names[:_SHOWN]), *more])

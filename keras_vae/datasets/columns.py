"""What the columns of a table hold, and which of them are no numbers."""

import dataclasses
import warnings

import numpy as np

from keras_vae.datasets import table_layout

_LARGEST = float(np.finfo(np.float32).max)
_EXACT = 2**24  # Whole numbers up to it are float32 numbers.


@dataclasses.dataclass(frozen=True)
class Column:
    """A column of a table.

    Args:
        name: String.
        values: Float array of shape (rows,), or None if it cannot be used.
        text: String, what it holds, or why it cannot be used.
        may_be_index: Boolean, whether it may hold the labels of the rows.
    """

    name: str
    values: np.ndarray | None
    text: str
    may_be_index: bool = False


def read(name, cells, first_row, decimal, missing=None):
    """Returns the `Column` of a series of pandas.

    Args:
        name: String.
        cells: `pandas.Series` as `read_csv` infers it.
        first_row: Integer, the number of its first row in the file.
        decimal: String, the decimal sign.
        missing: None, or "nan" if cells may be empty, which become NaN.
    """
    import pandas as pd

    is_boolean = pd.api.types.infer_dtype(cells, skipna=True) == "boolean"
    # Beside gaps they are objects.
    cells = cells.astype(float) if is_boolean else cells
    numbers, empty, remark = cells, cells.isna(), ""
    if not pd.api.types.is_numeric_dtype(cells):
        texts = cells.astype(object).map(str, na_action="ignore").str.strip()
        plain, remark = (texts, "") if decimal == "." else _with_points(texts)
        numbers = pd.to_numeric(plain, errors="coerce")
        other = numbers.isna() & ~empty
        if other.any():
            text = _text(texts, other, first_row, decimal)
            return Column(name, None, text, may_be_index=not empty.any())
    if empty.any() and (missing is None or empty.all()):
        return Column(name, None, _gaps(empty, first_row))
    values = numbers.to_numpy(np.float64, na_value=np.nan)
    too_large = np.abs(values) > _LARGEST
    if too_large.any():
        row = int(np.argmax(too_large))
        text = f"has {values[row]:g} in row {row + first_row}, out of float32's range"
        return Column(name, None, text)
    kind = "True and False, read as 1 and 0" if is_boolean else None
    rises = not np.any(values % 1) and bool(np.all(np.diff(values) > 0))
    text = _described(values[~empty.to_numpy()], kind) + remark
    if empty.any():
        text += f"; {_gaps(empty, first_row)}"
    return Column(name, values, text, may_be_index=rises)


def _with_points(texts):
    """Returns numbers with points for decimal commas, and a remark on other points."""
    parted = texts[texts.str.fullmatch(table_layout.GROUPED.pattern, na=False)]
    remark = f"; points part thousands, as in {parted.iloc[0]}" if len(parted) else ""
    return texts.map(_with_point, na_action="ignore"), remark


def _with_point(text):
    if table_layout.GROUPED.fullmatch(text):
        text = text.replace(".", "")
    # A point that parts no thousands may be a decimal one, and no number is sure.
    return "" if "." in text else text.replace(",", ".")


def _gaps(empty, first_row):
    number = int(empty.sum())
    if number == len(empty):
        return "is empty"
    row = int(np.argmax(empty.to_numpy())) + first_row
    return f"lacks {number} of {len(empty)} cells, the first in row {row}"


def _text(texts, other, first_row, decimal):
    """What a column holds of which some cells are no numbers."""
    row = int(np.argmax(other.to_numpy()))
    number, cell = int(other.sum()), str(texts.iloc[row])
    shown = repr(cell if len(cell) < 30 else cell[:27] + "...")
    where = f"{shown} in row {row + first_row}"
    sign = "." if decimal == "," else ","
    if sign in cell and table_layout.is_number(cell, sign):
        where += f" (a number if `decimal` is {sign!r})"
    if 2 * number < texts.notna().sum():
        return f"has {where}" + ("" if number == 1 else f" and {number - 1} such cells")
    kind = "dates" if _are_dates(texts[other].iloc[:50]) else "text"
    return f"holds {kind}, {where}"


def _are_dates(texts):
    import pandas as pd

    if not texts.str.contains(r"\d[-/.: ]+\w").all():
        return False
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            dates = pd.to_datetime(texts, errors="coerce", format="mixed", utc=True)
        except ValueError:
            return False
    return bool(dates.notna().all())


def _described(values, kind):
    low, high = values.min(), values.max()
    whole = not np.any(values % 1)
    if low == high:
        return f"always {low:g}, which drop_columns would leave out"
    if kind is not None:
        return kind
    if whole and (low, high) == (0, 1):
        return "zeros and ones"
    rounds = ", which float32 rounds" if max(-low, high) > _EXACT else ""
    if len(values) > 2 and np.all(np.diff(values) == 1):
        start = f"{low:.0f}{rounds}" if whole else f"{low:g}"
        return f"counts the rows from {start}; drop_columns would leave it out"
    if whole:
        return f"whole numbers, {low:.17g} to {high:.17g}{rounds}"
    return f"{low:.4g} to {high:.4g}, mean {values.mean():.4g}, deviation " + (
        f"{values.std():.4g}"
    )

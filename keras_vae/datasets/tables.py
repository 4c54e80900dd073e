"""Tables of numbers, `.csv`, with one example per row."""

import csv
import functools
import pathlib

import numpy as np

from keras_vae.datasets import splits


def table(path):
    """Returns the numbers of a `.csv` file with one example per row.

    Cells are separated by commas, semicolons or tabs. A first row with any cell that is
    not a number is read as column names. Values are not rescaled.

    Args:
        path: Path of the file.

    Returns:
        A float32 array of shape (rows, columns).

    Raises:
        FileNotFoundError: If the file does not exist.
        ValueError: If a cell is empty, not a number or not finite, or rows differ in
            length.

    Example:
    >>> np.savetxt("sizes.csv", [[5.1, 3.5], [4.9, 3.0]], "%g", ",", header="a,b")
    >>> kv.datasets.table("sizes.csv").shape
    (2, 2)
    """
    path = pathlib.Path(path)
    if not path.is_file():
        raise FileNotFoundError(
            f"`path` must be an existing file. Received: path={str(path)!r}"
        )
    with open(path, newline="", encoding="utf-8-sig") as file:
        first = file.readline()
        delimiter = max(",;\t", key=first.count)
        names = next(csv.reader([first], delimiter=delimiter), [])
        rows = [] if all(map(_is_number, names)) else [names]
        file.seek(0)
        cells = [row for row in csv.reader(file, delimiter=delimiter) if row]
    cells = cells[len(rows) :]
    for i, row in enumerate(cells):
        line = i + 1 + len(rows)
        if len(row) != len(names):
            raise ValueError(
                f"`path` must hold rows of equal length. Received: {len(row)} cells in "
                f"row {line} of {str(path)!r}, and {len(names)} in the first"
            )
        for j, cell in enumerate(row):
            if not _is_number(cell):
                column = repr(names[j]) if rows else j + 1
                raise ValueError(
                    "`path` must hold finite numbers. Received: "
                    f"{cell!r} in row {line}, column {column} of {str(path)!r}. Fill "
                    "in missing cells, and remove columns of text or code them as "
                    "numbers."
                )
    if not cells:
        raise ValueError(
            f"`path` must hold at least one row of numbers. Received: {str(path)!r}"
        )
    return np.array(cells, np.float64).astype("float32")


def load(path, **kwargs):
    """Returns the `Dataset` of a file."""
    return splits.hold_out(functools.partial(table, path), **kwargs)


def _is_number(cell):
    try:
        return abs(float(cell)) <= float(np.finfo(np.float32).max)
    except ValueError:
        return False

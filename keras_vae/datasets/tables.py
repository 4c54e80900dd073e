"""Tables of numbers, `.csv` and `.tsv`, with one example per row."""

import csv
import difflib
import io
import pathlib
import re
import shlex

import numpy as np

from keras_vae.datasets import columns
from keras_vae.datasets import splits
from keras_vae.datasets import table_layout

_SHOWN = 12
# What `DataFrame.to_csv` and `read_csv` make of an index without a name.
_UNNAMED = re.compile(r"(Unnamed: \d+)?")


def table(path, header=None, drop_columns=(), decimal=None, missing=None):
    """Returns the numbers of a `.csv` file with one example per row.

    pandas reads it. Cells are separated by commas, semicolons, tabs, bars or spaces;
    with another sign than the comma between them, numbers may have decimal commas, and
    points that part thousands.
    Names of columns may stand in the first row, also numbers that count from 0. The
    index that pandas writes without a name is left out. Values are not rescaled.

    Args:
        path: Path of the file.
        header: Boolean, whether the first row has the names. Defaults to None: it is
            inferred, and an error asks for it where that is uncertain.
        drop_columns: Sequence of strings, the names of columns to leave out. A column
            without a name is called by its place, "column_1" the first. Defaults to
            none.
        decimal: String, the decimal sign, "." or ",". Defaults to None: it is
            inferred, and an error asks for it where that is uncertain.
        missing: "nan" if cells may be empty, or hold "NA" or the like: they become NaN.
            Defaults to None: such cells are an error.

    Returns:
        A float32 array of shape (rows, columns).

    Raises:
        FileNotFoundError: If the file does not exist.
        ValueError: If the file may be read in two ways, rows differ in length, or
            columns are no finite numbers; the error names all of these columns.

    Example:
    >>> np.savetxt("sizes.csv", [[5.1, 3.5], [4.9, 3.0]], "%g", ",", header="a,b")
    >>> kv.datasets.table("sizes.csv").shape
    (2, 2)
    >>> kv.datasets.table("sizes.csv", drop_columns=["a"]).tolist()
    [[3.5], [3.0]]
    """
    return read(path, header, drop_columns, decimal, missing)[0]


def column_names(path, header=None, decimal=None):
    """Returns the names of all columns of a file, a list; see `table`."""
    path = _checked(path)
    layout = table_layout.infer(path, header, decimal)
    return _names(layout, len(next(layout.rows(path))))


def load(path, header=None, drop_columns=(), decimal=None, missing=None, **kwargs):
    """Returns the `Dataset` of a file, with names and description of its columns."""
    x, names, description = read(path, header, drop_columns, decimal, missing)
    return splits.hold_out(x, columns=names, description=description, **kwargs)


def read(path, header=None, drop_columns=(), decimal=None, missing=None):
    """Returns numbers, names of their columns, and what was inferred; see `table`."""
    path = _checked(path)
    if decimal not in (None, ".", ","):
        raise ValueError(f"`decimal` must be '.' or ','. Received: decimal={decimal!r}")
    layout = table_layout.infer(path, header, decimal)
    frame = _frame(path, layout)
    names = _names(layout, frame.shape[1])
    wanted = _wanted(names, drop_columns)
    first_row = 1 + (layout.names is not None)
    found, remarks = [], []
    for j in wanted:
        cells = frame.iloc[:, j], first_row, layout.decimal, missing
        column = columns.read(names[j], *cells)
        unnamed = layout.names is not None and _UNNAMED.fullmatch(layout.names[j])
        if unnamed:
            column, remark = _judge_unnamed(column, j)
            remarks += remark
        if column is not None:
            found.append(column)
    _check(path, found)
    x = np.empty((len(frame), len(found)), np.float32)
    for j, column in enumerate(found):
        x[:, j] = column.values
    dropped = [f"{name!r} is left out." for name in drop_columns]
    return (
        x,
        tuple(c.name for c in found),
        "\n".join(
            [
                f"{path}: {x.shape[0]} rows, {x.shape[1]} columns, {layout}.",
                *remarks,
                *dropped,
                *_lines(found),
            ]
        ),
    )


def _checked(path):
    path = pathlib.Path(path)
    if not path.is_file():
        raise FileNotFoundError(
            f"`path` must be an existing file. Received: path={str(path)!r}"
        )
    return path


def _lines(found):
    width = min(max(len(column.name) for column in found), 24)
    return [f"  {column.name:{width}}  {column.text}" for column in found]


def _frame(path, layout):
    """Returns the `pandas.DataFrame` of the rows below the names."""
    # Imported here, because pandas imports slowly.
    import pandas as pd

    try:
        frame = pd.read_csv(
            path,
            sep=r"\s+" if layout.separator == " " else layout.separator,
            header=None,
            skiprows=layout.skipped,
            decimal=layout.decimal,
            na_values=table_layout.MISSING,
            encoding=layout.encoding,
            skipinitialspace=True,
            low_memory=False,
        )
    except pd.errors.EmptyDataError as error:
        raise ValueError(
            f"`path` must hold at least one row of numbers. Received: {str(path)!r}"
        ) from error
    except (pd.errors.ParserError, ValueError) as error:
        _check_lengths(path, layout)
        raise ValueError(
            f"`path` must be a table that pandas can read. Received: {str(path)!r}: "
            f"{str(error).strip()}"
        ) from error
    width = frame.shape[1]
    # pandas fills up short rows.
    if len(layout.names or range(width)) != width or frame.iloc[:, -1].isna().any():
        _check_lengths(path, layout)
    return frame.iloc[: len(frame) - _num_empty_last(path, layout, frame)]


def _num_empty_last(path, layout, frame):
    """Returns how many last rows hold separators alone, as spreadsheets write them."""
    if frame.shape[1] == 1 or not frame.iloc[-1].isna().all():
        return 0
    number = 0
    for row in layout.rows(path):
        number = 0 if any(cell.strip() for cell in row) else number + 1
    # A table of nothing else has its own error.
    return number if number < len(frame) else 0


def _check_lengths(path, layout):
    width = None
    for i, row in enumerate(layout.rows(path)):
        width = len(row) if width is None else width
        if len(row) != width:
            raise ValueError(
                f"`path` must hold rows of equal length. Received: {len(row)} cells in "
                f"row {i + 1} of {str(path)!r}, and {width} in the first. Remove lines "
                "that are no rows, such as titles, and fill up short rows"
            )


# === Columns ===


def _names(layout, width):
    """Returns a name for each column, and no name twice."""
    names = []
    for j, name in enumerate(layout.names or [""] * width):
        unique = name = name or f"column_{j + 1}"
        number = 1
        while unique in names:
            unique, number = f"{name}.{number}", number + 1
        names.append(unique)
    return names


def _wanted(names, drop_columns):
    """Returns the places of the columns that are not to be left out."""
    for name in drop_columns:
        if name not in names:
            close = difflib.get_close_matches(name, names) or names[:_SHOWN]
            raise ValueError(
                "`drop_columns` must be names of columns. Received: "
                f"{name!r}; there are {', '.join(map(repr, close))}"
                f"{'' if len(close) == len(names) else ' and others'}"
            )
    wanted = [j for j, name in enumerate(names) if name not in drop_columns]
    if not wanted:
        raise ValueError(
            f"`drop_columns` must leave a column. Received: drop_columns="
            f"{list(drop_columns)!r}"
        )
    return wanted


def _judge_unnamed(column, j):
    """Returns the column to take, or None, and remarks."""
    place = f"Column {j + 1}, which has no name,"
    if column.text == "is empty":
        return None, [f"{place} is empty and left out."]
    if j == 0 and column.may_be_index:
        return None, [f"{place} is left out as the index of a data frame."]
    if j == 0 and column.values is not None:
        text = "has no name, and may be the index of a data frame"
        return columns.Column(column.name, None, text), []
    return column, []


def _check(path, found):
    if not found:
        raise ValueError(
            f"`path` must hold a column of numbers. Received: {str(path)!r}, whose "
            "columns are empty or the index of a data frame"
        )
    bad = [column for column in found if column.values is None]
    if not bad:
        return
    reasons = [f"{column.name!r} {column.text}" for column in bad[:_SHOWN]]
    if len(bad) > _SHOWN:
        reasons.append(f"and {len(bad) - _SHOWN} more")
    remedy = (
        "Fill in missing cells, or train on the others (trainers.train --missing=nan), "
    )
    remedy += "and code text as numbers"
    if len(bad) < len(found):
        remedy += (
            f", or leave columns out, {drop_flag([column.name for column in bad])}"
        )
    raise ValueError(
        f"`path` must hold finite numbers. Received: {str(path)!r}, {len(bad)} of "
        f"{len(found)} columns of which do not: {'; '.join(reasons)}. {remedy}"
    )


def drop_flag(names):
    """Returns the argument that leaves columns out, as the programs take it."""
    text = io.StringIO()
    csv.writer(text, lineterminator="").writerow(names)
    return f"--drop_columns={shlex.quote(text.getvalue())}"

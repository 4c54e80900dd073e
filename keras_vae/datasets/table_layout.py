"""How a text file holds a table: encoding, separator, decimal sign, names."""

import codecs
import csv
import dataclasses
import itertools
import re

_SAMPLE = 200  # Rows.
_WORDS = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "bars", " ": "spaces"}
_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
# Cells that stand for none; pandas knows more of them.
MISSING = ("?", "-", ".", "NA", "N/A", "na", "n/a", "NaN", "nan", "NULL", "null", "")
_COMMA = re.compile(r"[-+]?\d*,\d+([eE][-+]?\d+)?")
# The same whose thousands are parted by points; the decimals may be none.
GROUPED = re.compile(r"[-+]?[1-9]\d{0,2}(\.\d{3})+(,\d+)?")
_THOUSANDS = re.compile(r"[-+]?[1-9]\d{0,2}(,\d{3})+")
# So many numbers that count from 0 are no row of data.
_SURE = 10


@dataclasses.dataclass(frozen=True)
class Layout:
    """How a file is read.

    Args:
        encoding: String.
        separator: String of one character; a space stands for any number of them.
        decimal: String, "." or ",".
        names: List of strings, the cells of the first row if it is one of names, or
            None.
        skipped: Integer, the rows before the data, empty ones too. Cells in quotes
            may have several lines.
    """

    encoding: str
    separator: str
    decimal: str
    names: list | None
    skipped: int

    def __str__(self):
        """What was inferred, as the end of a sentence."""
        text = f"separated by {_WORDS[self.separator]}, "
        text += "names" if self.names is not None else "no names"
        text += " in the first row"
        if self.decimal == ",":
            text += ", decimal commas"
        if not self.encoding.startswith("utf-8"):
            text += f", encoded as {self.encoding}"
        return text

    def rows(self, path):
        """Yields the lists of cells of all rows but empty ones."""
        with open(path, newline="", encoding=self.encoding) as file:
            yield from _rows(file, self.separator)


def infer(path, header=None, decimal=None):
    """Returns the `Layout` of a file.

    Args:
        path: `pathlib.Path`.
        header: Boolean, whether the first row has the names, or None to infer it.
        decimal: String, "." or ",", or None to infer it.

    Raises:
        ValueError: If it is no text, is empty, or may be read in two ways.
    """
    encoding = _encoding(path)
    with open(path, newline="", encoding=encoding) as file:
        lines = [line for line in itertools.islice(file, _SAMPLE) if line.strip()]
    separator = _separator(lines, decimal)
    rows = list(_rows(lines, separator))
    if not rows:
        raise ValueError(
            f"`path` must hold at least one row of numbers. Received: {str(path)!r}"
        )
    if decimal is None:
        decimal = _decimal(path, separator, rows)
    if header is None:
        header = _has_names(path, rows, decimal)
    names = [_in_one_line(cell) for cell in rows[0]] if header else None
    if names and names[0].startswith("# "):
        names[0] = names[0][2:]  # As `numpy.savetxt` marks them.
    skipped = 0
    if header:
        with open(path, newline="", encoding=encoding) as file:
            filled = map(_is_filled, _reader(file, separator))
            skipped = 1 + next(i for i, is_filled in enumerate(filled) if is_filled)
    return Layout(encoding, separator, decimal, names, skipped)


def _reader(lines, separator):
    if separator == " ":
        lines = (f"{line.strip()}\n" for line in lines)
    return csv.reader(lines, delimiter=separator, skipinitialspace=True)


def _rows(lines, separator):
    rows = filter(_is_filled, _reader(lines, separator))
    start = list(itertools.islice(rows, 2))
    # As `numpy.savetxt` marks names, between which spaces stand.
    if len(start) > 1 and start[0][0] == "#" and len(start[0]) > len(start[1]):
        del start[0][0]
    return itertools.chain(start, rows)


def _in_one_line(cell):
    return " ".join(line.strip() for line in cell.strip().splitlines())


def _is_filled(row):
    return len(row) > 1 or any(cell.strip() for cell in row)


def _encoding(path):
    with open(path, "rb") as file:
        start = file.read(4)
        for mark, encoding in _MARKS:
            if start.startswith(mark):
                return encoding
        decoder = codecs.getincrementaldecoder("utf-8")()
        block, encoding = start, "utf-8"
        while block:
            if b"\0" in block:
                raise ValueError(
                    "`path` must be a text file. Received: "
                    f"{str(path)!r}, which holds zero bytes. Save it as UTF-8 text, "
                    "with commas between the cells."
                )
            if encoding == "utf-8":
                try:
                    decoder.decode(block)
                except UnicodeDecodeError:
                    # Numbers are the same in all encodings that extend ASCII.
                    encoding = "latin-1"
            block = file.read(2**20)
    return encoding


def _separator(lines, decimal):
    """The sign that parts most lines into equally many cells that are numbers."""
    tables = {sign: list(_rows(lines, sign)) for sign in _WORDS}
    if decimal == "," and not _may_separate(tables):
        del tables[","]
    return max(tables, key=lambda sign: _fit(tables[sign], sign, decimal))


def _may_separate(tables):
    """Whether commas may stand between the cells where they are decimal signs."""
    sizes = {len(row) for row in tables[","]}
    named = len(sizes) == 1 and {_kind(cell) for cell in tables[","][0]} == {"text"}
    # Cells that hold commas, which separate cells too, stand in quotes.
    quoted = _has_commas(tables[","])
    return quoted or named or not any(map(_has_commas, tables.values()))


def _has_commas(rows):
    return any(_has_comma(cell.strip()) for row in rows for cell in row)


def _has_comma(cell):
    return "," in cell and _is_with_comma(cell)


def _is_with_comma(cell):
    return bool(_COMMA.fullmatch(cell) or GROUPED.fullmatch(cell))


def _fit(rows, separator, decimal):
    """How well a separator fits: what is larger fits better."""
    sizes = [len(row) for row in rows]
    width = max(set(sizes), key=sizes.count, default=0)
    # Lines without a separator are a column, unless commas may separate them.
    if width < 2 and decimal != ",":
        return 0, False, 0.0
    point = separator == "," and decimal != ","
    kinds = [_kind(cell, "." if point else ",") for row in rows for cell in row]
    filled = len(kinds) - kinds.count("missing")
    return sizes.count(width), width > 1, kinds.count("number") / max(1, filled)


def _decimal(path, separator, rows):
    cells = [cell.strip() for row in rows for cell in row]
    commas = [cell for cell in cells if _has_comma(cell)]
    points = [cell for cell in cells if "." in cell and _kind(cell) == "number"]
    if separator == "," or not commas or not all(map(GROUPED.fullmatch, points)):
        return "."
    if any("." in cell for cell in commas):
        return ","
    if points:
        cell = points[0]
        as_point = f"{cell}, which leaves {commas[0]!r} as text"
        _ask_decimal(path, cell, cell.replace(".", ""), as_point)
    if all(map(_THOUSANDS.fullmatch, commas)):
        cell, whole = commas[0], commas[0].replace(",", "")
        as_point = f"text, since it may be {whole}"
        _ask_decimal(path, cell, cell.replace(",", ".", 1), as_point)
    return ","


def _ask_decimal(path, cell, as_comma, as_point):
    raise ValueError(
        f"`decimal` must say how {cell!r} in {str(path)!r} is read, ',' as {as_comma} "
        f"or '.' as {as_point}. Received: None. In the programs: --decimal=comma or "
        "--decimal=point"
    )


def _kind(cell, decimal="."):
    """Returns "number", also for one out of range, "missing" or "text"."""
    cell = cell.strip()
    if cell in MISSING:
        return "missing"
    if decimal == "," and _is_with_comma(cell):
        return "number"
    try:
        float(cell)
    except ValueError:
        return "text"
    return "number"


def is_number(cell, decimal):
    """Returns whether a cell is a number where the decimal sign is "." or ","."""
    return _kind(cell, decimal) == "number"


def _number(cell, decimal):
    """The number of a cell whose kind that is."""
    if decimal == "," and _is_with_comma(cell.strip()):
        cell = cell.replace(".", "").replace(",", ".")
    return float(cell)


# === Names ===


def _has_names(path, rows, decimal):
    first, rest = rows[0], rows[1:]
    kinds = [_kind(cell, decimal) for cell in first]
    if len(first) > 1 and first[0].strip() == "" and _is_index(rest):
        return True
    numbers = [
        _number(cell, decimal)
        for cell, kind in zip(first, kinds, strict=True)
        if kind == "number"
    ]
    if "text" not in kinds:
        return _are_names(path, first, numbers, rest)
    over_numbers = any(
        kind == "text"
        and all(_kind(row[j], decimal) != "text" for row in rest if j < len(row))
        for j, kind in enumerate(kinds)
    )
    if numbers and (over_numbers or _are_in_steps(numbers)):
        _ask(path, first, "has text and numbers")
    return not numbers


def _is_index(rows):
    """Whether the first column is what `DataFrame.to_csv` writes without a name."""
    counted = [row[0].strip() for row in rows]
    return bool(counted) and counted == [str(i) for i in range(len(counted))]


def _are_names(path, first, numbers, rest):
    """Whether a first row of numbers alone has names, such as 0, 1, 2, ..."""
    if not rest or not _are_whole(first):
        return False
    # Among rows like it the first may well be data, and so may the start of a curve.
    alone = not any(map(_are_whole, rest))
    if numbers == list(range(len(numbers))):
        if len(numbers) >= _SURE or (len(numbers) > 2 and alone):
            return True
        if len(numbers) > 1 or alone:
            _ask(path, first, "counts from 0")
    if len(numbers) > 2 and alone and _are_in_steps(numbers):
        _ask(path, first, "has whole numbers in equal steps, as no other row")
    return False


def _are_whole(cells):
    return all(cell.strip().lstrip("+-").isdigit() for cell in cells)


def _are_in_steps(numbers):
    steps = {b - a for a, b in itertools.pairwise(numbers)}
    return len(steps) == 1 and steps != {0.0} and all(map(float.is_integer, numbers))


def _ask(path, first, what):
    shown = ",".join(first[:4]) + (",..." if len(first) > 4 else "")
    raise ValueError(
        f"`header` must say if the first row of {str(path)!r} has names, True, or is "
        f"data, False: it {what}. Received: {shown}. In the programs: --header=true or "
        "--header=false"
    )

"""What a run keeps of its data: the columns, and sums by which to know them again."""

import zlib

import numpy as np


def of(parts, columns=None):
    """Returns what is kept of data, as JSON takes it.

    Args:
        parts: Dict, names to arrays of numbers or (n,) of strings; None is left out.
        columns: Sequence of strings, the columns of a table, or None.

    Returns:
        Dict with "columns", and with "examples", the size and the sum of each part.
    """
    read = {name: part for name, part in parts.items() if part is not None}
    return {
        "columns": None if columns is None else list(columns),
        "examples": {name: _sum(part) for name, part in read.items()},
    }


def change(before, now):
    """Returns what has changed of the examples, in words; "" if nothing has.

    Args:
        before: Dict, see `of`.
        now: Dict.
    """
    before, now = before["examples"], now["examples"]
    words = []
    for name in dict.fromkeys([*before, *now]):
        old, new = before.get(name), now.get(name)
        if old == new:
            continue
        if old is not None and new is not None and old["shape"] == new["shape"]:
            words.append(f"{name} has other values")
        else:
            words.append(f"{name} of shape {_shape(old)} became {_shape(new)}")
    return ", ".join(words)


def _sum(part):
    part = np.asarray(part)
    # What an array of strings has in memory depends on the longest.
    is_text = part.dtype.kind in "OU"
    read = "\n".join(map(str, part)).encode() if is_text else _bytes(part)
    # Of changes by accident this sum misses too few to count, and it is fast.
    return {"shape": list(part.shape), "crc32": zlib.crc32(read)}


def _bytes(array):
    return np.ascontiguousarray(array).reshape(-1).view(np.uint8)


def _shape(found):
    return "none" if found is None else str(tuple(found["shape"]))

"""Curves as text and in files.

Columns are a dict, names to (points,) arrays. The arrays "rate_low" and "rate_high" are
the interval of "rate", and likewise for other names.
"""

import csv
import os

import numpy as np

from keras_vae.weighing.curve import quantities

_NEEDED = {"beta", "rate", "distortion", "active_units", "latent_dim"}


def text(columns):
    """Returns a line for each weight, nats, with half the width of intervals."""
    names = [name for name in quantities.MEASURED if name in columns]
    titles = [quantities.MEASURED[name] for name in names]
    rows = [["beta", *titles, "active units"]]
    bounds = intervals(columns)
    for i, beta in enumerate(columns["beta"]):
        cells = [
            quantities.with_error(columns[n][i], bounds[n][i] if n in bounds else None)
            for n in names
        ]
        units = f"{columns['active_units'][i]} of {columns['latent_dim'][i]}"
        rows.append([f"{beta:.4g}", *cells, units])
    return quantities.aligned(rows)


def intervals(columns):
    """Returns all intervals as a dict, names to (points, 2) arrays."""
    return {
        name: np.stack([columns[f"{name}_low"], columns[f"{name}_high"]], axis=1)
        for name in quantities.MEASURED
        if f"{name}_low" in columns
    }


def write(columns, path):
    """Writes a line for each weight."""
    with open(os.fspath(path), "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(columns)
        writer.writerows(zip(*(v.tolist() for v in columns.values()), strict=True))


def read(path):
    """Returns the columns of a file that `write` wrote, as floats.

    Raises:
        ValueError: If the file lacks columns.
    """
    with open(os.fspath(path), newline="", encoding="utf-8") as file:
        header, *rows = csv.reader(file)
    if missing := sorted(_NEEDED - set(header)):
        raise ValueError(
            f"`path` must be a file that `to_csv` wrote. Received: {path}, which "
            f"has no columns {missing}"
        )
    return dict(zip(header, np.array(rows, np.float64).T, strict=True))

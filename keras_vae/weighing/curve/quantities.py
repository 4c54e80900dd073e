"""The quantities of a curve: their names, their intervals and their text."""

import numpy as np

CONFIDENCE = 0.95
PERCENTILES = 2.5, 97.5
# Names of the measured quantities, and words for them.
MEASURED = {
    "rate": "rate",
    "distortion": "distortion",
    "negative_elbo": "-ELBO",
    "negative_log_likelihood": "-log p(x)",
}


def known(values):
    """Returns the measured quantities of a dict, as arrays; -ELBO follows from them."""
    names = [n for n in MEASURED if n in values and n != "negative_elbo"]
    return {name: np.asarray(values[name]) for name in names}


def with_elbo(values):
    """Returns the dict with rate + distortion added."""
    return {**values, "negative_elbo": values["rate"] + values["distortion"]}


def interval(replicates):
    """Returns the percentile interval of (resamples, points), shape (points, 2)."""
    outside = 100 * (1 - CONFIDENCE) / 2
    return np.percentile(replicates, [outside, 100 - outside], axis=0).T


def with_error(value, bounds):
    """Returns a value as text, with half the width of its interval unless None."""
    if bounds is None:
        return f"{value:.2f}"
    return f"{value:.2f} +-{(bounds[1] - bounds[0]) / 2:.2f}"


def aligned(rows):
    """Returns rows of texts as lines, each column as wide as its widest text."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(
        "   ".join(f"{cell:>{width}}" for cell, width in zip(row, widths, strict=True))
        for row in rows
    )

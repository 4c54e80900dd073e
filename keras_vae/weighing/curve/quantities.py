"""What a curve holds for each weight, how sure that is, and how it is written."""

import numpy as np

CONFIDENCE = 0.95
PERCENTILES = 2.5, 97.5
# The values, and what they are called in words.
MEASURED = {
    "rate": "rate",
    "distortion": "distortion",
    "negative_elbo": "-ELBO",
    "negative_log_likelihood": "-log p(x)",
}


def known(values):
    """Returns those of a dict that are measured; the others follow or are not known."""
    names = [n for n in MEASURED if n in values and n != "negative_elbo"]
    return {name: np.asarray(values[name]) for name in names}


def with_elbo(values):
    """Returns the dict with what follows from rate and distortion."""
    return {**values, "negative_elbo": values["rate"] + values["distortion"]}


def interval(replicates):
    """Returns the percentile interval of (resamples, points), shape (points, 2)."""
    outside = 100 * (1 - CONFIDENCE) / 2
    return np.percentile(replicates, [outside, 100 - outside], axis=0).T


def with_error(value, bounds):
    """Returns a value as text, with half of its interval where there is one."""
    if bounds is None:
        return f"{value:.2f}"
    return f"{value:.2f} +-{(bounds[1] - bounds[0]) / 2:.2f}"

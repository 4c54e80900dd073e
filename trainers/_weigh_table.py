"""The table of `python -m trainers.weigh`."""

import math

import numpy as np

from keras_vae.weighing.curve import quantities


def columns(curve):
    """Returns what the curve file has beside the curve: names to (points,)."""
    reading = curve.reading
    found = {"bound": reading.bound}
    if reading.error is not None:
        found |= {"sigma": reading.sigma, "rmse": np.sqrt(reading.error)}
    return found


def text(curve, data):
    """Returns the curve as text, and what its columns are.

    Args:
        curve: `keras_vae.weighing.RateDistortionCurve` with a meaning.
        data: `_data.Data` that it was measured on.
    """
    reading = curve.reading
    bounds, replicates = reading.bound, reading.bound_replicates
    intervals = [None] * len(bounds)
    if replicates is not None:
        intervals = quantities.interval(replicates)
    names = ["beta", "rate", "distortion", "-ELBO", "active units"]
    if reading.error is not None:
        names[2:3] = ["sigma", "rms error"]
    rows = [names]
    for i, beta in enumerate(curve.beta):
        cells = [f"{beta:.4g}", f"{curve.rate[i]:.2f}"]
        if reading.error is None:
            cells.append(f"{curve.distortion[i]:.2f}")
        else:
            rmse = math.sqrt(reading.error[i])
            cells += [f"{reading.sigma[i]:.4g}", f"{rmse:.4g}"]
        cells.append(quantities.with_error(bounds[i], intervals[i]))
        cells.append(f"{curve.active_units[i]} of {curve.latent_dim}")
        rows.append(cells)
    return f"{_title(curve, data)}\n{quantities.aligned(rows)}"


def _title(curve, data):
    split = "test" if data.validation is None else "validation"
    title = (
        f"Held-out data ({split} split, {curve.num_examples} examples), nats per "
        "example"
    )
    if curve.reading.is_noise:
        title += ";\nsigma = sqrt(beta), the noise with which -ELBO is that of x"
    if curve.reading.is_grey:
        title += ";\nsigma is the most likely normal noise, with which -ELBO is of x"
    return title

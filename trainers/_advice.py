"""What a measured curve says about the weight of the KL, purpose by purpose."""

import dataclasses
import math
import textwrap

import numpy as np
import scipy.spatial.distance

from trainers import _data
from trainers import _reading

# Draws and examples whose distances are compared.
_COMPARED = 500
_BISECTIONS = 4
_WIDTH = 80


@dataclasses.dataclass(frozen=True)
class Advice:
    """A weight for a purpose.

    Args:
        purpose: String.
        beta: Float, or None where there is none to advise.
        reason: String, a sentence.
        units: `_reading.Units` of the weight, or None where there is none.
        interval: Pair of floats, the 95% interval of beta, or None.
    """

    purpose: str
    beta: float | None
    reason: str
    units: _reading.Units | None = None
    interval: tuple | None = None

    def __str__(self):
        """A paragraph."""
        head = f"{self.purpose}: "
        if self.beta is None:
            return "\n    ".join(textwrap.wrap(f"{head}{self.reason}", _WIDTH))
        head += f"beta = {self.beta:.4g}"
        if self.interval is not None and self.interval[0] < self.interval[1]:
            head += f" (95%: {self.interval[0]:.4g} to {self.interval[1]:.4g})"
        lines = textwrap.wrap(f"{self.reason}.", _WIDTH)
        lines += textwrap.wrap(f"= {self.units}", _WIDTH, subsequent_indent="  ")
        return head + textwrap.indent("".join(f"\n{line}" for line in lines), "    ")


def advise(reading):
    """Says which weight serves which purpose.

    Args:
        reading: `_reading.Reading`.

    Returns:
        List of `Advice`, that for likelihood first.
    """
    found = [_likelihood(reading), _samples(reading)]
    if reading.chosen.target_rate is not None:
        found.append(_target(reading, "rate", "rate", reading.chosen.target_rate))
    if reading.chosen.target_distortion is not None:
        target = reading.chosen.target_distortion
        found.append(_target(reading, "distortion", "distortion", target))
    if reading.chosen.target_rmse is not None:
        distortion = reading.distortion_of(reading.chosen.target_rmse**2)
        found.append(_target(reading, "rmse", "distortion", distortion))
    return [*found, _active_units(reading), _collapse(reading)]


def _advice(reading, purpose, beta, reason, interval=None):
    nearest = float(reading.source.nearest(beta))
    if not math.isclose(nearest, beta, rel_tol=1e-3):
        reason += f". The nearest weight with a model is {nearest:.4g}"
    return Advice(purpose, float(beta), reason, reading.units(beta), interval)


def _likelihood(reading):
    purpose = "Best likelihood"
    if reading.is_normal:
        return _noise(reading, purpose)
    if reading.is_grey:
        place = int(np.argmin(reading.bound))
        return _advice(
            reading,
            purpose,
            reading.curve.beta[place],
            "the cross-entropy of values between 0 and 1 is no likelihood, so that "
            "1 is a weight like any other. With the decoder's means read as "
            f"a normal of noise {reading.sigma[place]:.3g}, -ELBO is least here, "
            f"{reading.bound[place]:.2f} nats. Better train --likelihood=normal, "
            "whose noise is the weight, or --likelihood=continuous_bernoulli, "
            "--binarize=dynamic",
        )
    beta = float(min(max(1.0, reading.curve.beta[0]), reading.curve.beta[-1]))
    reason = (
        "the loss bounds -log p(x) at beta = 1 and nowhere else"
        if beta == 1
        else "beta = 1 bounds -log p(x); this is the nearest that was trained"
    )
    return _advice(reading, purpose, beta, reason + _evidence(reading, beta))


def _evidence(reading, beta):
    """What the held-out data say of a weight that follows from theory."""
    one = int(np.argmin(np.abs(np.log(reading.curve.beta / beta))))
    best = int(np.argmin(reading.bound))
    value = f"; -ELBO there is {reading.bound[one]:.2f} nats"
    if best == one:
        return value + ", the least of all measured"
    gain = reading.bound_replicates[:, one] - reading.bound_replicates[:, best]
    low, high = np.percentile(gain, _reading.CONFIDENCE)
    other = reading.curve.beta[best]
    if low <= 0:
        return value + ", which no other weight betters significantly"
    cause = (
        "the model overfits: use more data, smaller networks or fewer epochs"
        if other > 1
        else "it is not trained to the end: use more epochs"
    )
    return value + (
        f". Held-out data have {low:.2f} to {high:.2f} nats less at "
        f"{other:.4g}: {cause}"
    )


def _noise(reading, purpose):
    """The weight that is the squared error: the noise that a normal learns."""
    beta = _crossing(reading, reading.error)
    ends = {reading.curve.beta[0]: "below", reading.curve.beta[-1]: "above"}
    if beta in ends:
        return _advice(
            reading,
            purpose,
            beta,
            f"the best noise lies {ends[beta]} the weights that were trained; "
            "widen --beta_range",
        )
    errors = reading.error_of(reading.curve.replicates["distortion"])
    betas = [_crossing(reading, error) for error in errors]
    interval = np.percentile(betas, _reading.CONFIDENCE)
    reason = (
        "beta is the variance of the noise, and here it equals the mean squared "
        "error of held-out values: the noise that the likelihood itself would "
        "learn. -ELBO is least there" + _bound_near(reading, beta)
    )
    if reading.data.scaling is None and _data.is_unit_interval(reading.data):
        reason += (
            ". (A cross-entropy of grey values would be no likelihood, and "
            "beta = 1 would mean nothing there)"
        )
    return _advice(reading, purpose, beta, reason, tuple(map(float, interval)))


def _bound_near(reading, beta):
    if not reading.source.is_continuous:
        return ""
    return f", {reading.bound_of_noise(beta):.2f} nats"


def _crossing(reading, error):
    """Where the error equals beta; the end next to it where it does nowhere."""
    places = np.log(reading.curve.beta)
    heights = np.log(np.maximum(error, 1e-30)) - places
    falls = np.flatnonzero((heights[:-1] > 0) & (heights[1:] <= 0))
    if not falls.size:
        return reading.curve.beta[-1 if heights[-1] > 0 else 0]
    i = falls[0]
    share = heights[i] / (heights[i] - heights[i + 1])
    return float(np.exp(places[i] + share * (places[i + 1] - places[i])))


def _samples(reading):
    """The weight whose draws look most like data that were not trained on."""
    purpose = "Best samples"
    if reading.chosen.likelihood == "categorical":
        # Numbers of classes have no distance.
        try:
            found = reading.curve.recommend("samples")
        except ValueError as error:
            return Advice(purpose, None, f"unknown. {error}")
        return _advice(reading, purpose, found.beta, found.reason)
    real = _flat(reading.data.held_out[:_COMPARED])
    distances = np.array(
        [
            energy_distance(_flat(_samples_of(reading, beta)), real)
            for beta in reading.curve.beta
        ]
    )
    best = int(np.argmin(distances))
    data = reading.data
    other = data.train if data.validation is None else data.test
    floor = energy_distance(_flat(other[:_COMPARED]), real)
    return _advice(
        reading,
        purpose,
        reading.curve.beta[best],
        "what `generate` returns is nearest to held-out data: energy distance "
        f"{distances[best]:.3g}, from {distances.min():.3g} to "
        f"{distances.max():.3g} over all weights; other data are at {floor:.3g}",
    )


def _samples_of(reading, beta):
    # The same z at all weights.
    return reading.source.at(beta).generate(_COMPARED, seed=reading.chosen.seed).numpy()


def _target(reading, name, purpose, target):
    title = f"Target {name}"
    try:
        found = reading.curve.recommend(purpose, target)
    except ValueError as error:
        value = getattr(reading.chosen, f"target_{name}")
        return Advice(title, None, f"`--target_{name}`={value:g}: {error}")
    point = found.point
    reason = f"rate {point.rate:.4g} nats, distortion {point.distortion:.4g} nats"
    if reading.is_normal:
        rmse = math.sqrt(max(reading.error_of(point.distortion), 0.0))
        reason = f"rate {point.rate:.4g} nats, root mean squared error {rmse:.3g}"
    reason += " there, on held-out data"
    return _advice(reading, title, found.beta, reason, found.interval)


def _active_units(reading):
    if not reading.curve.active_units.any():
        return Advice("Most active units", None, "no weight keeps any")
    found = reading.curve.recommend("active_units")
    return _advice(reading, "Most active units", found.beta, found.reason)


def _collapse(reading):
    title = "Units begin to collapse"
    falls = reading.curve.collapses()
    if not falls:
        low, high = reading.curve.beta[[0, -1]]
        return Advice(title, None, f"nowhere from beta = {low:.4g} to {high:.4g}")
    low, high, before, after = falls[0]
    if reading.source.is_continuous:
        low, high, after = _bisect(reading, low, high, before, after)
    beta = math.sqrt(low * high)
    reason = (
        f"{before} of {reading.curve.latent_dim} units are active at {low:.4g}, "
        f"{after} at {high:.4g}"
    )
    return _advice(reading, title, beta, reason)


def _bisect(reading, low, high, before, after):
    for _ in range(_BISECTIONS):
        middle = math.sqrt(low * high)
        units = int(reading.measure([middle]).active_units[0])
        if units < before:
            high, after = middle, units
        else:
            low = middle
    return low, high, after


def energy_distance(x, y):
    """Returns E|X - Y| - E|X - X'| / 2 - E|Y - Y'| / 2, 0 for equal distributions.

    Args:
        x: (draws, numbers) array.
        y: (other draws, numbers) array.
    """

    def within(values):
        return scipy.spatial.distance.pdist(values).mean()

    across = scipy.spatial.distance.cdist(x, y).mean()
    return float(across - within(x) / 2 - within(y) / 2)


def _flat(x):
    return np.asarray(x, np.float64).reshape(len(x), -1)

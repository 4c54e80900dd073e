"""The choice of a weight for a purpose."""

import dataclasses

import numpy as np

from keras_vae.arguments import is_integer
from keras_vae.weighing.curve import quantities
from keras_vae.weighing.curve.interpolation import Interpolation
from keras_vae.weighing.curve.interpolation import Point
from keras_vae.weighing.curve.likeliest import likeliest

# The default for the largest gap of the aggregate posterior, in nats.
_GAP = 1.0
# The default for what a code is to carry, in nats.
_CODE = 5.0
# Share of the replicates that an interval must be of.
_MOST = 0.975


@dataclasses.dataclass(frozen=True)
class Recommendation:
    """A weight for a purpose.

    Args:
        purpose: String, see `RateDistortionCurve.recommend`.
        beta: Float, the weight.
        reason: String, why, with the numbers.
        point: `Point` of the curve at `beta`.
        interval: Pair of floats, the 95% interval of the weight, or None if it is not
            known.
    """

    purpose: str
    beta: float
    reason: str
    point: Point
    interval: tuple | None = None

    def __str__(self):
        """One sentence."""
        return f"beta = {self.beta:.4g} for {self.purpose}: {self.reason}"


def recommend(curve, purpose, target, bound_at=None):
    """Does what `RateDistortionCurve.recommend` says.

    Args:
        curve: `RateDistortionCurve`.
        purpose: String.
        target: Number or None.
        bound_at: See `likeliest`.
    """
    if purpose not in PURPOSES:
        raise ValueError(
            f"`purpose` must be one of {PURPOSES}. Received: purpose={purpose!r}"
        )
    if purpose in ("rate", "distortion") and target is None:
        raise ValueError(
            f"`target` must be given for the purpose {purpose!r}, in nats. "
            "Received: target=None"
        )
    finite = np.isfinite(curve.rate) & np.isfinite(curve.distortion)
    if not finite.all():
        raise ValueError(
            "The curve must be finite to choose by it. Leave out the models that have "
            "diverged. Received: rates or distortions that are not finite at beta="
            f"{[float(f'{beta:.4g}') for beta in curve.beta[~finite]]}"
        )
    if purpose == "likelihood":
        beta, reason, interval = likeliest(curve, bound_at)
    else:
        beta, reason, interval = _RULES[purpose](curve, target)
    return Recommendation(purpose, float(beta), reason, curve.at(beta), interval)


# === A rule for each purpose: the weight, the reason, and the interval or None ===


def _rate(curve, target):
    point = curve.at_rate(target)
    reason = (
        f"a rate of {target:.4g} nats has a distortion of {point.distortion:.4g} "
        "nats there"
    )
    interval = _interval_of(curve, lambda lines: lines.of_rate(target))
    return point.beta, reason, interval


def _distortion(curve, target):
    point = curve.at_distortion(target)
    reason = (
        f"a distortion of {target:.4g} nats costs a rate of {point.rate:.4g} nats there"
    )
    interval = _interval_of(curve, lambda lines: lines.of_distortion(target))
    return point.beta, reason, interval


def _active_units(curve, target):
    most = int(curve.active_units.max())
    wanted = most if target is None else target
    if not is_integer(wanted) or not 1 <= wanted <= most:
        raise ValueError(
            f"`target` must be a number of units from 1 to {most}, the most that "
            f"the curve has active. Received: target={target!r}"
        )
    beta = float(curve.beta[curve.active_units >= wanted].max())
    following = curve.beta[curve.beta > beta]
    reason = f"the largest weight with {wanted} of {curve.latent_dim} units active"
    interval = None
    if following.size:
        units = int(curve.active_units[curve.beta == following[0]][0])
        reason += f"; at {following[0]:.4g} there are {units}"
        interval = beta, float(following[0])
    return beta, reason, interval


def _code(curve, target):
    wanted = _CODE if target is None else target
    carrying = np.flatnonzero(curve.rate >= wanted)
    if not carrying.size:
        raise ValueError(
            f"`target` must be a rate of at most {curve.rate.max():.4g} nats, the most "
            f"of the curve. Received: target={wanted}"
        )
    place = carrying[-1]
    beta = float(curve.beta[place])
    reason = (
        f"the largest measured weight at which z carries {wanted:.4g} nats, there "
        f"{curve.rate[place]:.4g}"
    )
    if place + 1 == curve.beta.size:
        return beta, reason, None
    following, rate = float(curve.beta[place + 1]), curve.rate[place + 1]
    return beta, f"{reason}; at {following:.4g} it is {rate:.3g}", (beta, following)


def _knee(curve, _):
    beta = curve.knee.beta
    reason = (
        "below it a nat of rate buys less distortion than on average over the "
        f"weights from {curve.beta[0]:.4g} to {curve.beta[-1]:.4g}, above it more"
    )
    return beta, reason, _interval_of(curve, lambda lines: lines.knee())


def _samples(curve, target):
    if target is None and np.isfinite(curve.sample_distance).all():
        return _nearest_samples(curve)
    return _small_gap(curve, _GAP if target is None else target)


def _nearest_samples(curve):
    distances = curve.sample_distance
    best = int(np.argmin(distances))
    reason = (
        "what `generate` returns is nearest to held-out data: energy distance "
        f"{distances[best]:.3g}, from {distances.min():.3g} to "
        f"{distances.max():.3g} over all weights"
    )
    return curve.beta[best], reason, None


def _small_gap(curve, target):
    measured = np.isfinite(curve.gap)
    if not measured.any():
        raise ValueError(
            "`purpose` cannot be 'samples' here: KL(q(z) || p(z)) was not measured "
            "at any weight. The rate is not well below the log of the number of "
            "examples, or z are levels that are drawn downwards. Rates: "
            f"{np.round(curve.rate, 1).tolist()} nats. Pass `num_generated` to "
            "`rate_distortion`, measure on more data (up to 512 examples are paired) "
            "or larger betas, or take 'likelihood'."
        )
    good = measured & (np.nan_to_num(curve.gap, nan=np.inf) <= target)
    if not good.any():
        least = np.nanmin(curve.gap)
        raise ValueError(
            f"`target` must be a gap of at least {least:.3g} nats, the least that "
            f"was measured. Received: target={target}"
        )
    place = int(np.flatnonzero(good)[0])
    reason = (
        f"the smallest weight at which KL(q(z) || p(z)) is at most {target:.3g} "
        f"nats ({curve.gap[place]:.2g}): draws from the prior resemble the codes that "
        "trained the decoder"
    )
    return curve.beta[place], reason, None


def _interval_of(curve, solve):
    """Returns the 95% interval of a weight over its replicates, or None.

    It is not known if more replicates lack the weight than an interval leaves out at
    one end.

    Args:
        curve: `RateDistortionCurve`.
        solve: Callable of an `Interpolation` that returns the weight, or raises a
            ValueError if there is none.
    """
    if curve.replicates is None:
        return None
    found = []
    for rate, distortion in zip(
        curve.replicates["rate"], curve.replicates["distortion"], strict=True
    ):
        try:
            found.append(solve(Interpolation(curve.beta, rate, distortion)))
        except ValueError:
            # The target lies outside of this replicate.
            continue
    if len(found) < _MOST * len(curve.replicates["rate"]):
        return None
    return tuple(map(float, quantities.interval(np.array(found)[:, None])[0]))


_RULES = {
    "rate": _rate,
    "distortion": _distortion,
    "active_units": _active_units,
    "code": _code,
    "knee": _knee,
    "samples": _samples,
}
PURPOSES = ("likelihood", *_RULES)

"""The weight of the best likelihood: a rule for each kind of likelihood."""

import numpy as np

from keras_vae.weighing.curve import quantities

_UNKNOWN = (
    "The curve does not know its likelihood, which may have a rule of its own: measure "
    "with `rate_distortion`, or pass `meaning`"
)


def likeliest(curve, bound_at=None):
    """Returns weight, reason, and interval or None.

    Args:
        curve: `RateDistortionCurve`.
        bound_at: Callable that measures -ELBO, nats, at a weight beside those of the
            curve, or None.
    """
    meaning = curve.meaning
    if meaning is None or (meaning.is_grey and not np.isfinite(curve.squared_error[0])):
        return _least(curve)
    if meaning.is_noise:
        return _noise(curve.reading, bound_at)
    if meaning.is_grey:
        return _grey(curve.reading)
    return _one(curve.reading)


def _least(curve):
    """The least of what was measured."""
    name = _name(curve)
    heights = getattr(curve, name)
    best = int(np.argmin(heights))
    bounds = None if curve.intervals is None else curve.intervals[name][best]
    reason = (
        f"the least {quantities.MEASURED[name]} of the measured weights, "
        f"{quantities.with_error(heights[best], bounds)} nats"
    )
    interval = None
    if curve.replicates is not None:
        above = curve.replicates[name] - curve.replicates[name][:, best : best + 1]
        equal = np.percentile(above, 100 * (1 - quantities.CONFIDENCE), axis=0) <= 0
        interval = tuple(float(b) for b in curve.beta[equal][[0, -1]])
        if np.count_nonzero(equal) > 1:
            reason += (
                f"; between {interval[0]:.4g} and {interval[1]:.4g} the examples "
                "are too few to tell weights apart"
            )
    return curve.beta[best], f"{reason}. {_UNKNOWN}", interval


def _name(curve):
    known = curve.negative_log_likelihood is not None
    return "negative_log_likelihood" if known else "negative_elbo"


def _noise(reading, bound_at):
    """The weight that is the squared error: the noise that a normal learns."""
    curve = reading.curve
    beta = reading.likeliest(reading.error)
    ends = {curve.beta[0]: ("below", "smaller"), curve.beta[-1]: ("above", "larger")}
    if beta in ends:
        side, others = ends[beta]
        reason = (
            f"the best noise lies {side} the weights that were measured; train and "
            f"measure {others} ones too"
        )
        return beta, reason, None
    scale = reading.meaning.likelihood.scale
    name = "beta" if scale == 1 else f"beta times {scale:.4g} squared"
    reason = (
        f"{name} is the variance of the noise, and at {beta:.4g} it equals the mean "
        "squared error of held-out values: the noise that the likelihood itself would "
        "learn"
    )
    interval = None
    if curve.replicates is not None:
        errors = reading.error_of(curve.replicates["distortion"])
        betas = [reading.likeliest(error) for error in errors]
        interval = tuple(map(float, np.percentile(betas, quantities.PERCENTILES)))
    better, words = _less_elsewhere(reading, beta, bound_at)
    if better is not None:
        beta, interval = better, None
    reason += words
    if reading.meaning.unit_interval:
        reason += (
            ". (A cross-entropy of grey values would be no likelihood, and "
            "beta = 1 would mean nothing there)"
        )
    return beta, reason, interval


def _less_elsewhere(reading, beta, bound_at):
    """Returns a measured weight that is better than this one or None, and words.

    At the optimum -ELBO is least where the noise is the squared error. Held-out data
    may differ, and an imperfect model does.
    """
    betas, heights = reading.curve.beta, reading.bound
    best = int(np.argmin(heights))
    here = None if bound_at is None else bound_at(beta)
    value = "" if here is None else f", {here:.2f} nats"
    near = int(np.argmin(np.abs(np.log(betas / beta))))
    if near == best or (here is not None and here <= heights[best]):
        return None, f". -ELBO is least there{value}"
    value = value or f", {heights[near]:.2f} nats at {betas[near]:.4g}"
    other = f"{heights[best]:.2f} at {betas[best]:.4g}"
    replicates = reading.bound_replicates
    if replicates is None:
        return None, f". -ELBO is near its least{value}, against {other}"
    gain = replicates[:, near] - replicates[:, best]
    low, high = np.percentile(gain, quantities.PERCENTILES)
    if low <= 0:
        words = "which the examples cannot tell from it"
        return None, f". -ELBO is near its least{value}, against {other}, {words}"
    return float(betas[best]), (
        f". But -ELBO of held-out data is least here, {heights[best]:.2f} nats: "
        f"{low:.2f} to {high:.2f} less than at {betas[near]:.4g}"
    )


def _grey(reading):
    """The least bound of a normal, where the loss is no likelihood."""
    place = int(np.argmin(reading.bound))
    reason = (
        "the cross-entropy of values between 0 and 1 is no likelihood, so that "
        "1 is a weight like any other. With the decoder's means read as "
        f"a normal of noise {reading.sigma[place]:.3g}, -ELBO is least here, "
        f"{reading.bound[place]:.2f} nats. Better train a normal likelihood, whose "
        "noise is the weight, or a continuous Bernoulli, or draw zeros and ones from "
        "the values"
    )
    return reading.curve.beta[place], reason, None


def _one(reading):
    """1, or the weight next to it, and what the data say of it."""
    betas = reading.curve.beta
    beta = float(min(max(1.0, betas[0]), betas[-1]))
    reason = (
        "the loss bounds -log p(x) at beta = 1 and nowhere else"
        if beta == 1
        else "beta = 1 bounds -log p(x); this is the nearest that was trained"
    )
    return beta, reason + _evidence(reading.curve, beta), None


def _evidence(curve, beta):
    """What the held-out data say of a weight that follows from theory."""
    name = _name(curve)
    heights, words = getattr(curve, name), quantities.MEASURED[name]
    one = int(np.argmin(np.abs(np.log(curve.beta / beta))))
    best = int(np.argmin(heights))
    value = f"; {words} there is {heights[one]:.2f} nats"
    if best == one:
        return value + ", the least of all measured"
    other = curve.beta[best]
    if curve.replicates is None:
        return value + f", at {other:.4g} {heights[best]:.2f}"
    values = curve.replicates[name]
    gain = values[:, one] - values[:, best]
    low, high = np.percentile(gain, quantities.PERCENTILES)
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

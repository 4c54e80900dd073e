"""What a model loses to its weight, noise, training data and against a linear model.

All in nats of the negative ELBO at weight 1, which is bounded by -log p(x) from below.
"""

import numpy as np

from keras_vae import linear
from keras_vae.distributions.likelihoods import Laplace
from keras_vae.distributions.likelihoods import Normal
from keras_vae.distributions.posteriors import DiagonalNormal
from keras_vae.objectives import ImportanceWeighted
from keras_vae.weighing.curve.betas import is_noise

# A weight that differs from 1 by less than this part is 1.
EQUAL = 1e-3
_STEPS = 3


def of_weight(sample, evidence):
    """Bounds from below what another weight than 1 loses, without training.

    A VAE of weight 1 reaches every model whose parameters this one can have, and so
    loses nothing against the best of a few that are measured: of a normal of fixed
    scale s the one of its own noise, sqrt(beta) s; otherwise those whose posteriors are
    narrower, up to sqrt(beta) times.

    Args:
        sample: `Sample`.
        evidence: Dict, what is known of it.
    """
    objectives = sample.subject.objectives
    weight = evidence["kl_weight"]
    plain = all(o.is_weighted_sum and not o.is_controlled for o in objectives)
    same = len({o.weight for o in objectives}) == 1
    on_ramp = "ramp_value" in evidence
    if not plain or not same or on_ramp or weight <= 0 or abs(weight - 1) < EQUAL:
        return {}
    bounds = {"narrower": _of_narrower(sample, evidence, weight)}
    heads, likelihoods = sample.drawn.heads, sample.subject.likelihoods
    if all(map(is_noise, likelihoods)):
        changes = [_of_scale(head, 1.0) - _of_scale(head, weight) for head in heads]
        bounds["own_noise"] = float(sum(changes))
    bounds = {name: nats for name, nats in bounds.items() if nats is not None}
    if not bounds:
        return {}
    best = max(bounds, key=bounds.get)
    return {"weight_loss": max(bounds[best], 0.0), "weight_loss_by": best}


def _of_narrower(sample, evidence, weight):
    """Nats that posteriors of another width gain at weight 1, or None."""
    codes = sample.codes
    kinds = {type(code.variable.posterior) for code in codes}
    if kinds != {DiagonalNormal} or not all(code.has_units for code in codes):
        return None
    if sample.subject.is_hierarchy:
        return None  # The prior of one level moves with the draws of another.
    ends = np.cumsum([code.mean.shape[1] for code in codes])[:-1]
    active = np.split(np.asarray(evidence["active"]), ends)
    values = []
    for step in range(1, _STEPS + 1):
        factor = weight ** (-step / _STEPS / 2)
        latents, rate = [], 0.0
        for code, used in zip(codes, active, strict=True):
            factors = np.where(used, np.float32(factor), np.float32(1))
            latents.append(code.mean + factors * (code.z - code.mean))
            widths = code.stddev / code.prior_stddev
            change = (factors**2 - 1) * widths**2 / 2 - np.log(factors)
            # Examples that are masked out have no rate.
            rate = rate + code.rate + np.where(code.rate == 0, 0, change.sum(axis=1))
        values.append(np.mean(sample.decode(latents).distortion + rate))
    return float(np.mean(sample.negative_elbo) - min(values))


def of_noise(sample, evidence):
    """What the noise loses to the one of the size of the error.

    Of a normal with noise s and D numbers `D/2 (r - 1 - log r)`, where r is the mean of
    (error / s)^2; of a Laplace `D (r - 1 - log r)` with the mean of |error| / b. Where
    the weight has chosen the noise, that one counts.

    Args:
        sample: `Sample`.
        evidence: Dict, what is known of it.
    """
    heads = [h for h in sample.drawn.heads if _has_scale(h)]
    if not heads:
        return {}
    own = evidence.get("weight_loss_by") == "own_noise"
    weight = evidence["kl_weight"] if own else 1.0
    ratios = [_ratio(head) / weight for head in heads]
    nats = [_of_scale(h, weight) - _of_scale(h, None) for h in heads]
    return {
        "error_to_noise": max(ratios, key=lambda r: abs(np.log(r))),
        "noise_loss": float(sum(nats)),
    }


def of_overfitting(sample, trained):
    """What examples lose to those that were trained on.

    Args:
        sample: `Sample`.
        trained: `Sample` of training data.
    """
    held_out, training = sample.negative_elbo, trained.negative_elbo
    parts = [np.var(values) / len(values) for values in (held_out, training)]
    found = {
        "train_negative_elbo": float(training.mean()),
        "overfitting": float(held_out.mean() - training.mean()),
        "overfitting_error": float(np.sqrt(sum(parts))),
    }
    ratios = [_ratio(head) for head in trained.drawn.heads if _has_scale(head)]
    return found | ({"train_error_to_noise": max(ratios)} if ratios else {})


def of_linear(sample, examples):
    """-log p(x) of probabilistic PCA with as many units, if it compares.

    Args:
        sample: `Sample`.
        examples: Array (examples, ...) to fit it to. Without them each half of the
            sample is scored by the model of the other half.
    """
    subject, heads = sample.subject, sample.drawn.heads
    compares = subject.reconstructs_itself and heads and _has_scale(heads[0])
    bound = any(isinstance(o, ImportanceWeighted) for o in subject.objectives)
    if not compares or bound or not heads[0].observed.all():
        return {}
    if examples is not None and np.isnan(examples).any():
        return {}
    likelihood = heads[0].likelihood
    x = likelihood.standardize(np.asarray(sample.x, np.float64))
    if examples is None:
        pairs = [(x[1::2], x[::2]), (x[::2], x[1::2])]
    else:
        pairs = [(likelihood.standardize(np.asarray(examples, np.float64)), x)]
    units, size = sum(v.units for v in subject.variables), x[0].size
    units = min(units, size - 1, *(len(fitted) - 1 for fitted, _ in pairs))
    if units < 1 or any(not np.ptp(fitted, axis=0).any() for fitted, _ in pairs):
        return {}
    try:
        nats = [
            -linear.log_likelihood(linear.components(fitted, units), _flat(scored))
            for fitted, scored in pairs
        ]
    except linear.NoNoiseError:
        return {}
    value = float(np.concatenate(nats).mean()) + likelihood.log_units(x.shape[1:])
    return {
        "linear_negative_elbo": value,
        "linear_units": units,
        "linear_gap": float(sample.negative_elbo.mean()) - value,
    }


def _flat(x):
    return x.reshape(len(x), -1)


def _has_scale(head):
    return isinstance(head.likelihood.core(), Normal | Laplace)


def _ratio(head):
    """Mean deviation of an error in units of its noise, above 0."""
    squares = head.residual**2 / head.variance
    if isinstance(head.likelihood.core(), Laplace):
        # Its variance is 2 b^2.
        squares = np.sqrt(2 * squares)
    return max(float(squares.mean(where=head.observed)), 1e-12)


def _of_scale(head, change):
    """Distortion, but for a constant, where the variance changes by a factor.

    Args:
        head: `DecodedHead`.
        change: Float, or None for the best one.
    """
    ratio, number = _ratio(head), head.observed.sum() / len(head.observed)
    change = ratio if change is None else change
    share = 1.0 if isinstance(head.likelihood.core(), Laplace) else 0.5
    return share * number * (ratio / change + np.log(change))


# === In words ===


def lost_lines(evidence):
    """Yields a sentence, without its end, on each loss that was measured."""
    if "weight_loss" in evidence:
        yield _weight_line(evidence)
    if "overfitting" in evidence:
        yield (
            f"Lost to overfitting: {max(evidence['overfitting'], 0):.3g} nats of "
            f"-ELBO, standard error {evidence['overfitting_error']:.2g}; "
            f"{evidence['negative_elbo']:.4g} here, "
            f"{evidence['train_negative_elbo']:.4g} on the training data"
        )
    if "noise_loss" in evidence:
        yield (
            f"Lost to the noise's size: {evidence['noise_loss']:.3g} nats of -ELBO; "
            f"the error has {evidence['error_to_noise']:.3g} times its variance"
        )
    if "linear_gap" in evidence:
        gap = evidence["linear_gap"]
        yield (
            f"Against a linear model of {evidence['linear_units']} units: "
            f"{abs(gap):.3g} nats {'behind' if gap > 0 else 'ahead'}; its -log p is "
            f"{evidence['linear_negative_elbo']:.4g}"
        )


def _weight_line(evidence):
    weight, nats = evidence["kl_weight"], evidence["weight_loss"]
    line = f"Lost to the weight, kl_weight={weight:.4g}"
    if nats == 0:
        return f"{line}: unknown, posteriors of another width gain nothing at weight 1"
    how = f"at {np.sqrt(weight):.3g} times the noise, which this weight stands for"
    if evidence["weight_loss_by"] == "narrower":
        how = f"with posteriors up to {1 / np.sqrt(weight):.3g} times as wide"
    return f"{line}: at least {nats:.3g} nats of -ELBO, which is so much lower {how}"

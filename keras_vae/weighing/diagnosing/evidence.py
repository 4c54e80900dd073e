"""The numbers on which a verdict rests."""

import keras
import numpy as np

from keras_vae import _keras
from keras_vae import metrics
from keras_vae.distributions.likelihoods import Laplace
from keras_vae.distributions.likelihoods import Normal
from keras_vae.hyperparameter import Hyperparameter
from keras_vae.replicas import number
from keras_vae.weighing import measuring
from keras_vae.weighing.diagnosing import lost
from keras_vae.weighing.diagnosing.sample import Sample

# The decoder reads z if shuffled latents raise the distortion by at least this fraction
# of the rate. If z is used at all, they raise it by more than the rate.
READ = 0.1
# Least variance of an element under the decoder, as a fraction of the mean variance. An
# element with less would dominate, although its errors come from a few examples.
_LEAST_VARIANCE = 1e-3


def gather(subject, num_examples, seed, training=None, linear_examples=None):
    """Measures a model.

    Args:
        subject: `Subject`.
        num_examples: Integer, how many of its examples are looked at.
        seed: Integer, of the noise and of the shuffling.
        training: `Subject` of the same model with the data that it was trained on, or
            None.
        linear_examples: Array of examples to fit the linear model to, or None for
            those that are looked at.

    Returns:
        Dict, names to numbers. It lacks quantities that could not be measured, except
        "kl_per_unit", which is None if the prior has no units.
    """
    # Layers called in this scope neither keep losses nor move their state.
    with keras.StatelessScope():
        sample = Sample(subject, num_examples, seed)
        evidence = {
            "num_examples": sample.size,
            "latent_dim": sum(v.units for v in subject.variables),
            "kl_weight": max(
                objective.total_weight(variable.name)
                for objective, variable in zip(
                    subject.objectives, subject.variables, strict=True
                )
            ),
            **_ramp(subject.model),
            **_of_codes(sample.codes, subject.is_hierarchy),
        }
        if evidence["non_finite"] or not subject.likelihoods:
            return evidence
        evidence |= _of_decoder(sample, evidence, seed)
        if evidence["non_finite"]:
            return evidence
        evidence |= lost.of_weight(sample, evidence)
        evidence |= lost.of_noise(sample, evidence)
        if training is not None:
            trained = Sample(training, num_examples, seed, spread=True)
            evidence |= lost.of_overfitting(sample, trained)
        evidence |= lost.of_linear(sample, linear_examples)
    return evidence


def _of_codes(codes, is_hierarchy):
    finite = [np.isfinite(code.params).all(axis=1) for code in codes]
    non_finite = int(np.count_nonzero(~np.all(finite, axis=0)))
    if non_finite:
        return {"non_finite": non_finite}
    mean = np.concatenate([code.mean for code in codes], axis=1)
    stddev = np.concatenate([code.stddev for code in codes], axis=1)
    prior_stddev = np.concatenate([code.prior_stddev for code in codes], axis=-1)
    active = metrics.active_units(np.concatenate([c.signal for c in codes], axis=1))
    evidence = {
        "non_finite": 0,
        "rate": float(sum(code.rate.mean() for code in codes)),
        "kl_per_unit": None,
        "active_units": active.number,
        "active": active.mask.tolist(),
        "unused_units": len(active.mask) - active.number,
        "stddev_per_unit": _stddev_per_unit(stddev, prior_stddev).tolist(),
        **_information(codes),
    }
    if is_hierarchy:
        evidence["levels"] = _of_levels(codes, active.mask)
    if all(code.has_units for code in codes):
        # In units of the prior the divergences are those from N(0, 1).
        prior_mean = np.concatenate([code.prior_mean for code in codes], axis=-1)
        moments = (mean - prior_mean) / prior_stddev, stddev / prior_stddev
        evidence |= _of_units(codes, moments)
    return evidence


def _information(codes):
    """Returns the mutual information of x and z, {} where it is not known."""
    found = measuring.information_of(
        [code.variable.posterior.distribution(code.params) for code in codes],
        [code.z for code in codes],
        [code.is_free for code in codes],
        codes[0].prior_sees_z,
    )
    if found is None:
        return {}
    return {
        "mutual_information": found.value,
        "mutual_information_limit": found.limit,
    }


def _of_levels(codes, active):
    """Returns rate, units and active units of each latent, by its name."""
    found, end = {}, 0
    for code in codes:
        start, end = end, end + code.variable.units
        found[code.variable.name] = {
            "rate": float(code.rate.mean()),
            "units": code.variable.units,
            "active_units": int(np.count_nonzero(active[start:end])),
        }
    return found


def name_of_unit(unit, evidence):
    """Returns the name of a unit in words: "z3", or of a level "z0 of level_2".

    Args:
        unit: Integer, its place among those of all latents.
        evidence: Dict, see `gather`.
    """
    for name, level in evidence.get("levels", {}).items():
        if unit < level["units"]:
            return f"z{unit} of {name}"
        unit -= level["units"]
    return f"z{unit}"


def _stddev_per_unit(stddev, prior_stddev):
    """Returns the stddev of each unit in units of the prior's, over the examples."""
    if prior_stddev.ndim == 2:
        return np.sqrt(np.mean((stddev / prior_stddev) ** 2, axis=0))
    return np.sqrt(np.mean(stddev**2, axis=0)) / prior_stddev


def _of_units(codes, moments):
    """Returns evidence on each unit of codes whose units are independent.

    Args:
        codes: List of finished codes.
        moments: Means and stddevs (examples, units) in units of the prior.
    """
    found = {"kl_per_unit": np.concatenate([c.kl.mean(axis=0) for c in codes]).tolist()}
    if any(code.prior_sees_z for code in codes):
        return found  # Mean and prior are not independent given x.
    collapsed = metrics.collapsed_units(*moments)
    columns = [[m[:, [i]] for m in moments] for i in range(moments[0].shape[1])]
    return {
        **found,
        "collapsed_units": collapsed.number,
        "collapsed": collapsed.mask.tolist(),
        "aggregate_gap": metrics.aggregate_gap(*moments),
        "aggregate_gap_per_unit": [metrics.aggregate_gap(*pair) for pair in columns],
    }


def _ramp(model):
    """Step and value of a scheduled weight before the ramp's end, or {} after it."""
    for item in _keras.sublayers(model, Hyperparameter):
        schedule = item.last_schedule
        end_step = getattr(schedule, "end_step", None)
        if not item.weighs_kl or not end_step:
            continue
        final, value = float(schedule(end_step)), number(item.value)
        step = number(item.last_step) - number(item.offset)
        if step < end_step:
            return {
                "ramp_name": item.name,
                "ramp_step": step,
                "ramp_end": int(end_step),
                "ramp_final": final,
                "ramp_value": value,
            }
    return {}


def _of_decoder(sample, evidence, seed):
    """Distortions at own and shuffled latents, and the rate missing at the means."""
    drawn = sample.drawn
    if bad := np.count_nonzero(~np.isfinite(drawn.distortion)):
        return {"non_finite": int(bad)}
    distortion = float(drawn.distortion.mean())
    found = {
        "distortion": distortion,
        "negative_elbo": distortion + evidence["rate"],
    }
    if sample.size > 1:
        # No example keeps its own, as some do in a permutation.
        shift = int(np.random.default_rng(seed).integers(1, sample.size))
        others = sample.decode([np.roll(c.z, shift, axis=0) for c in sample.codes])
        shuffled = float(others.distortion.mean())
        found["shuffled_distortion"] = shuffled
        found["shuffle_cost"] = shuffled - distortion
    if activation := sample.activation():
        found["activation"] = activation
    if not drawn.heads or sample.subject.reads_classes:
        return found
    if sample.subject.may_bypass:
        found["bypass"] = _bypass(sample)
    found |= _of_errors(drawn)
    # If latents of other examples decode as well, no unit is used, active or not.
    is_read = found.get("shuffle_cost", np.inf) >= READ * evidence["rate"]
    unused = evidence["latent_dim"] - is_read * evidence["active_units"]
    found["unused_units"] = int(unused)
    found["missing_rate"] = found["missing_rate_at_one"] = 0.0
    if unused and sample.size > 1:
        residual = _standardized(sample.decode([c.mean for c in sample.codes]))
        weight = max(evidence["kl_weight"], 1e-6)
        found["missing_rate"] = metrics.missing_rate(residual, weight, unused)
        # At weight 1. A normal or Laplace counts with the noise that it would learn.
        scaled = all(
            isinstance(h.likelihood.core(), Normal | Laplace) for h in drawn.heads
        )
        honest = None if scaled else 1.0
        found["missing_rate_at_one"] = metrics.missing_rate(residual, honest, unused)
    return found


def _of_errors(drawn):
    """Error and noise; of several outputs those whose noise is furthest from it."""
    errors = [
        (float(np.sqrt(np.mean(h.residual**2, where=h.observed))), h)
        for h in drawn.heads
    ]
    pairs = [
        (error, float(head.variance.mean(where=head.observed)))
        for error, head in errors
        if isinstance(head.likelihood.core(), Normal | Laplace)
    ]
    if not pairs:
        return {"error": errors[0][0]}
    pairs = [(error, noise, noise / error**2) for error, noise in pairs]
    error, noise, ratio = max(pairs, key=lambda pair: abs(np.log(pair[2])))
    return {"error": error, "noise": float(np.sqrt(noise)), "noise_ratio": ratio}


def _bypass(sample):
    """Fraction of the data's variance that is decoded while z is held fixed."""
    fixed = [np.broadcast_to(c.prior_mean, c.mean.shape) for c in sample.codes]
    varied, spread = 0.0, 0.0
    for head in sample.decode(fixed).heads:
        seen = np.where(head.observed, head.target, 0)
        varied += np.var(seen - head.residual, axis=0).sum()
        spread += np.var(seen, axis=0, dtype=np.float64).sum()
    return float(varied / max(spread, 1e-12))


def _standardized(decoded):
    """Errors in units of each element's noise; 0 for elements that are left out."""
    rows = []
    for head in decoded.heads:
        least = _LEAST_VARIANCE * head.variance.mean(where=head.observed)
        number = np.maximum(head.observed.sum(axis=0), 1)
        variance = head.variance.sum(axis=0, where=head.observed) / number
        scaled = head.residual / np.sqrt(np.maximum(variance, least))
        rows.append(scaled.reshape(len(scaled), -1))
    return np.concatenate(rows, axis=1)

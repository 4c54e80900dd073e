"""The numbers on which a verdict rests."""

import keras
import numpy as np
import tensorflow as tf

from keras_vae import _keras
from keras_vae import metrics
from keras_vae import random
from keras_vae.distributions import masks
from keras_vae.distributions import posteriors
from keras_vae.distributions import tfd
from keras_vae.distributions.likelihoods import Laplace
from keras_vae.distributions.likelihoods import Normal
from keras_vae.hyperparameter import Hyperparameter
from keras_vae.objectives import Estimate
from keras_vae.replicas import number
from keras_vae.weighing import measuring

_BATCH_SIZE = 256
# The decoder reads z if shuffled latents raise the distortion by at least this fraction
# of the rate. If z is used at all, they raise it by more than the rate.
READ = 0.1
# Least variance of an element under the decoder, as a fraction of the mean variance. An
# element with less would dominate, although its errors come from a few examples.
_LEAST_VARIANCE = 1e-3


def gather(subject, num_examples, seed):
    """Measures a model.

    Args:
        subject: `Subject`.
        num_examples: Integer, how many of its examples are looked at.
        seed: Integer, of the noise and of the shuffling.

    Returns:
        Dict, names to numbers. It lacks quantities that could not be measured, except
        "kl_per_unit", which is None if the prior has no units.
    """
    x = tf.nest.map_structure(lambda v: v[:num_examples], subject.x)
    y = np.asarray(subject.y[:num_examples])
    # Layers called in this scope neither keep losses nor move their state.
    with keras.StatelessScope():
        codes = [
            _Code(subject, index, random.fork(random.key(seed), 1 + index))
            for index in range(len(subject.variables))
        ]
        for start, x_batch, _ in measuring.batches(x, None, _BATCH_SIZE):
            params = subject.encode(x_batch)
            for code, param in zip(codes, params, strict=True):
                code.take(param, start)
        evidence = {
            "num_examples": len(y),
            "latent_dim": sum(v.units for v in subject.variables),
            "kl_weight": max(o.weight for o in subject.objectives),
            **_ramp(subject.model),
            **_of_codes(codes),
        }
        if evidence["non_finite"] == 0 and subject.likelihood is not None:
            evidence |= _of_decoder(subject, x, y, codes, evidence, seed)
    return evidence


class _Code:
    """Posterior, draw and rate of one latent variable for all examples."""

    def __init__(self, subject, index, key):
        self.variable = subject.variables[index]
        self.objective = subject.objectives[index]
        self.prior = subject.prior(index)
        # A mixture has no units of its own.
        self.has_units = isinstance(self.prior, tfd.Independent)
        self.key = key
        self.columns = []

    def take(self, params, start):
        """Takes up a batch, whose first example has the number `start`."""
        variable = self.variable
        posterior = variable.posterior.distribution(params)
        key = self.key + tf.constant([0, start], tf.int64)
        z = variable.sample(params, 1, key)
        mean, stddev = variable.posterior.mean_and_stddev(params)
        kl = tf.fill(mean.shape, np.nan)
        if self.has_units:
            kl = posteriors.kl_per_dimension(posterior, self.prior)
        rate = self.objective.rate(Estimate(posterior, self.prior, z))
        mask = _keras.mask_of(params)
        if mask is not None:
            mask = tf.cast(mask, tf.bool)
            rate = tf.where(mask, rate, 0.0)
            kl = tf.where(mask[:, None], kl, 0.0)
        column = (params, mean, stddev, z[:, 0], kl, rate)
        self.columns.append([value.numpy() for value in column])

    def finish(self):
        """Puts the batches together."""
        whole = [np.concatenate(parts) for parts in zip(*self.columns, strict=True)]
        self.params, self.mean, self.stddev, self.z, self.kl, self.rate = whole


def _of_codes(codes):
    for code in codes:
        code.finish()
    finite = [np.isfinite(code.params).all(axis=1) for code in codes]
    non_finite = int(np.count_nonzero(~np.all(finite, axis=0)))
    if non_finite:
        return {"non_finite": non_finite}
    mean = np.concatenate([code.mean for code in codes], axis=1)
    stddev = np.concatenate([code.stddev for code in codes], axis=1)
    prior_stddev = np.concatenate([code.prior.stddev() for code in codes])
    active = metrics.active_units(mean)
    information = measuring.information_of(
        [code.variable.posterior.distribution(code.params) for code in codes],
        [tf.constant(code.z) for code in codes],
    )
    evidence = {
        "non_finite": 0,
        "rate": float(sum(code.rate.mean() for code in codes)),
        "kl_per_unit": None,
        "active_units": active.number,
        "active": active.mask.tolist(),
        "unused_units": len(active.mask) - active.number,
        "mutual_information": information.value,
        "mutual_information_limit": information.limit,
        "stddev_per_unit": (
            np.sqrt(np.mean(stddev**2, axis=0)) / prior_stddev
        ).tolist(),
    }
    if all(code.has_units for code in codes):
        # In units of the prior the divergences are those from N(0, 1).
        prior_mean = np.concatenate([code.prior.mean() for code in codes])
        moments = (mean - prior_mean) / prior_stddev, stddev / prior_stddev
        evidence |= _of_units(codes, moments)
    return evidence


def _of_units(codes, moments):
    """Returns evidence on each unit of codes whose units are independent.

    Args:
        codes: List of finished codes.
        moments: Means and stddevs (examples, units) in units of the prior.
    """
    collapsed = metrics.collapsed_units(*moments)
    columns = [[m[:, [i]] for m in moments] for i in range(moments[0].shape[1])]
    return {
        "kl_per_unit": np.concatenate([c.kl.mean(axis=0) for c in codes]).tolist(),
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
        if item.name != "kl_weight" or not end_step:
            continue
        final, value = float(schedule(end_step)), number(item.value)
        step = number(item.last_step) - number(item.offset)
        if step < end_step:
            return {
                "ramp_step": step,
                "ramp_end": int(end_step),
                "ramp_final": final,
                "ramp_value": value,
            }
    return {}


def _of_decoder(subject, x, y, codes, evidence, seed):
    """Distortions at own and shuffled latents, and the rate missing at the means."""
    own = [code.z for code in codes]
    order = np.random.default_rng(seed).permutation(len(y))
    others = [code.z[order] for code in codes]
    means = [code.mean for code in codes]
    drawn = _decode(subject, x, y, own)
    if not np.isfinite(drawn["distortion"]).all():
        bad = np.count_nonzero(~np.isfinite(drawn["distortion"]))
        return {"non_finite": int(bad)}
    distortion = float(drawn["distortion"].mean())
    shuffled = float(_decode(subject, x, y, others)["distortion"].mean())
    found = {
        "distortion": distortion,
        "negative_elbo": distortion + evidence["rate"],
        "shuffled_distortion": shuffled,
        "shuffle_cost": shuffled - distortion,
    }
    if drawn["variance"] is None:
        return found
    observed = drawn["observed"]
    if subject.may_bypass:
        found["bypass"] = _bypass(subject, x, y, codes, observed)
    noise = drawn["variance"].mean(where=observed)
    found["error"] = float(np.sqrt(np.mean(drawn["residual"] ** 2, where=observed)))
    honest = 1.0
    if isinstance(subject.likelihood.core(), Normal | Laplace):
        honest = None
        found["noise"] = float(np.sqrt(noise))
        found["noise_ratio"] = float(noise / found["error"] ** 2)
    # If latents of other examples decode as well, no unit is used, active or not.
    is_read = found["shuffle_cost"] >= READ * evidence["rate"]
    unused = evidence["latent_dim"] - is_read * evidence["active_units"]
    found["unused_units"] = int(unused)
    found["missing_rate"] = found["missing_rate_at_one"] = 0.0
    if unused and len(y) > 1:
        residual = _standardized(_decode(subject, x, y, means))
        weight = max(evidence["kl_weight"], 1e-6)
        found["missing_rate"] = metrics.missing_rate(residual, weight, unused)
        # At weight 1. A normal or Laplace counts with the noise that it would learn.
        found["missing_rate_at_one"] = metrics.missing_rate(residual, honest, unused)
    return found


def _bypass(subject, x, y, codes, observed):
    """Fraction of the data's variance that is decoded while z is held fixed."""
    fixed = [np.broadcast_to(code.prior.mean(), code.mean.shape) for code in codes]
    seen = np.where(observed, subject.likelihood.standardize(y), 0)
    decoded = seen - _decode(subject, x, y, fixed)["residual"]
    spread = np.var(seen, axis=0, dtype=np.float64).sum()
    return float(np.var(decoded, axis=0).sum() / max(spread, 1e-12))


def _standardized(decoded):
    """Errors in units of each element's noise; 0 for elements that are left out."""
    variance, observed = decoded["variance"], decoded["observed"]
    least = _LEAST_VARIANCE * variance.mean(where=observed)
    number = np.maximum(observed.sum(axis=0), 1)
    variance = variance.sum(axis=0, where=observed) / number
    return decoded["residual"] / np.sqrt(np.maximum(variance, least))


def _decode(subject, x, y, latents):
    """Returns the distortion, and the error and variance of each element, or None.

    Error and variance are those of standardised data, where the likelihood standardises
    them. Elements that are left out have no error; "observed" marks the others.
    """
    likelihood = subject.likelihood
    core = likelihood.core()
    columns = []
    for start, x_batch, y_batch in measuring.batches(x, y, _BATCH_SIZE):
        rows = slice(start, start + len(y_batch))
        params = subject.decode(x_batch, [tf.constant(z[rows]) for z in latents])
        mask, options = subject.mask(x_batch, y_batch, params), {}
        if mask is not None:
            options["mask"] = mask = masks.event_mask(mask, tf.constant(y_batch))
        distortion = -likelihood.log_prob(params[:, None], y_batch, **options)[:, 0]
        column = [distortion.numpy()]
        try:
            variance = core.distribution(params, 1).variance().numpy()
        except NotImplementedError:
            variance = None  # Classes have none.
        if variance is not None:
            observed = np.ones(y_batch.shape, bool) if mask is None else mask.numpy()
            target = likelihood.standardize(np.asarray(y_batch, np.float64))
            residual = np.where(observed, target - core.mean(params).numpy(), 0.0)
            column += [residual, np.asarray(variance, np.float64), observed]
        columns.append(column)
    whole = [np.concatenate(parts) for parts in zip(*columns, strict=True)]
    names = "distortion", "residual", "variance", "observed"
    return dict(zip(names, (*whole, None, None, None)[:4], strict=True))

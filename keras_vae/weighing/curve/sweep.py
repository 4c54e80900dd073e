"""The measurement of a curve on models of several weights."""

import dataclasses
import math
from collections import Counter

import numpy as np

from keras_vae import metrics
from keras_vae.arguments import check_count
from keras_vae.distributions import likelihoods
from keras_vae.models import VAE
from keras_vae.weighing import measuring
from keras_vae.weighing.curve.betas import betas_between
from keras_vae.weighing.curve.curve import RateDistortionCurve
from keras_vae.weighing.curve.own_noise import with_own_noise
from keras_vae.weighing.curve.reading import Meaning

# Examples whose means are decoded for the error of grey values.
_DECODED = 1000


def rate_distortion(
    models,
    data,
    betas=None,
    num_samples=1,
    importance_samples=0,
    num_resamples=1000,
    seed=0,
    num_generated=0,
):
    """Measures rate and distortion over the weight of the KL.

    A bootstrap over the examples gives the intervals, which include the noise of z.
    The models do not change.

    Where elements are missing, distortions and errors are those of the elements that
    are there, and the intervals of the distortion those of as many elements as an
    example has on average.

    Args:
        models: A Multi-Rate VAE, whose `at(beta)` is a `VAE`; a list of `VAE`s, whose
            objectives hold their weights; or a dict, weight to `VAE`.
        data: Array x (examples, ...), or tuple (x, y), as for `fit`. To choose a
            weight pass the validation set.
        betas: Weights to measure. Defaults to the weights of all models; for a
            Multi-Rate VAE to 13 weights in its `beta_range`, with 1 if it is inside.
        num_samples: Integer, draws of z per example.
        importance_samples: Integer, draws of z per example for -log p(x), or 0 to leave
            it out. Papers take 500 to 5,000. Each draw costs one decoding.
        num_resamples: Integer, of the bootstrap.
        seed: Integer, of all draws, which are the same for all models.
        num_generated: Integer, events that each model generates, to compare with as
            many examples: what `recommend("samples")` goes by. Of real numbers they
            are draws of x, of others means of p(x|z). 0 leaves them out, and so do
            examples with missing elements, of which nothing is at a distance.

    Returns:
        A `RateDistortionCurve`, with the `meaning` of its weights where all models have
        one likelihood.

    Raises:
        ValueError: If models, weights or data do not fit.

    Example:
    >>> x, _ = kv.datasets.digits()
    >>> def make(beta):
    ...     return kv.VAE(
    ...         encoder=kv.networks.mlp_encoder([16]),
    ...         decoder=kv.networks.mlp_decoder([16], (8, 8, 1)),
    ...         latent_dim=2,
    ...         objective=kv.ELBO(kl_weight=beta),
    ...         seed=0,
    ...     )
    >>> curve = kv.rate_distortion([make(0.1), make(1.0)], x[:100])
    >>> curve.beta.tolist(), curve.latent_dim
    ([0.10000000149011612, 1.0], 2)

    References:
        [Fixing a Broken ELBO](https://arxiv.org/abs/1711.00464);
        [Multi-Rate VAE](https://arxiv.org/abs/2212.03905)
    """
    _check_counts(num_samples, num_resamples, importance_samples, num_generated)
    models = _by_beta(models, betas)
    columns, values, meanings = [], [], []
    for beta, make in models:
        model = make()
        x, y = measuring.split(model, data)
        terms = measuring.elbo_terms(model, x, y, num_samples, importance_samples, seed)
        target = np.asarray(x if y is None else y)
        meaning = _meaning(model, target, meanings)
        others = {
            "gap": _gap(terms),
            "squared_error": _squared_error(model, meaning, x, target, seed),
            "sample_distance": _distance(model, beta, x, target, num_generated, seed),
        }
        columns.append(terms)
        values.append(others)
        meanings.append(meaning)
    per_example = _per_example(columns)
    return RateDistortionCurve(
        [beta for beta, _ in models],
        {
            **{n: np.mean(v, axis=1) for n, v in per_example.items()},
            **{n: [one[n] for one in values] for n in values[0]},
        },
        [metrics.active_units(terms.signals).number for terms in columns],
        columns[0].signals.shape[1],
        len(columns[0].rate),
        replicates=_replicates(per_example, target, num_resamples, seed),
        meaning=_common(meanings),
    )


def _check_counts(num_samples, num_resamples, importance_samples, num_generated):
    check_count("num_samples", num_samples)
    check_count("num_resamples", num_resamples)
    check_count("importance_samples", importance_samples, 0)
    check_count("num_generated", num_generated, 0)


def _per_example(columns):
    """Returns names to lists, for each model an array (examples,), nats."""
    per_example = {
        "rate": [terms.rate for terms in columns],
        "distortion": [terms.distortion for terms in columns],
    }
    if columns[0].log_likelihood is not None:
        per_example["negative_log_likelihood"] = [
            -terms.log_likelihood for terms in columns
        ]
    return per_example


def _replicates(per_example, target, num_resamples, seed):
    """Returns names to (resamples, models) arrays."""
    # One call, so that all are resampled alike.
    stacked = np.stack(list(per_example.values()))
    means = metrics.bootstrap_means(stacked, num_resamples, seed)
    found = {name: means[:, i] for i, name in enumerate(per_example)}
    if np.isnan(target).any():
        here = np.mean(~np.isnan(target.reshape(len(target), -1)), axis=1)
        shares = metrics.bootstrap_means(here, num_resamples, seed)
        found["distortion"] = found["distortion"] * here.mean() / shares[:, None]
    return found


def _meaning(model, target, found):
    """Returns that of one more model, on data that are looked through once."""
    if found:
        return dataclasses.replace(found[0], likelihood=model.likelihood)
    return Meaning.of(model.likelihood, target)


def _common(meanings):
    """Returns what the weights of all models mean, None where they differ in it."""
    first, *others = (meaning.likelihood.get_config() for meaning in meanings)
    # Names of layers are counted up.
    plain = [{**config, "name": None} for config in (first, *others)]
    kinds = {type(meaning.likelihood) for meaning in meanings}
    same = len(kinds) == 1 and all(config == plain[0] for config in plain)
    return meanings[0] if same else None


def _squared_error(model, meaning, x, target, seed):
    """Returns that of the means of grey values, whose noise is not in the loss."""
    if not meaning.is_grey:
        return np.nan
    x = measuring.rows_of(x, slice(_DECODED))
    z = model.sample_posterior(x, seed=seed)
    decoded = model.decode(z, model.given(x))
    return np.nanmean(np.square(decoded.numpy() - target[:_DECODED]))


def _distance(model, beta, x, target, number, seed):
    """Returns the energy distance of generated events and data, NaN without one.

    Real numbers are drawn with the noise of the model, under a normal of fixed scale
    that of the weight: means spread less than data. Of other data means are compared.
    """
    # Numbers of classes have no distance, missing elements and single events have none.
    classes = isinstance(model.likelihood, likelihoods.Categorical)
    if min(number, len(target)) < 2 or classes or np.isnan(target[:number]).any():
        return np.nan
    noise = model.likelihood.real_valued
    if noise:
        model = with_own_noise(model, beta)
    # The same z at all weights, and the conditions of the examples.
    condition = model.given(measuring.rows_of(x, slice(number)))
    if condition:
        number = min(number, len(target))
    generated = model.generate(number, seed, noise, condition).numpy()
    return metrics.energy_distance(generated, target[:number])


def _gap(terms):
    """Returns KL(q(z) || p(z)) in nats, NaN if the information is not known."""
    information = terms.mutual_information
    if information is None or not information.is_measured:
        return np.nan
    return max(terms.rate.mean() - information.value, 0.0)


def beta_of(model):
    """Returns the current weight of the KL of a `VAE` against its log-likelihood.

    Args:
        model: A `keras_vae.VAE`.

    Returns:
        Float.

    Raises:
        ValueError: If its objective is no weighted sum of rate and distortion.
    """
    objective = model.objective
    if not objective.is_weighted_sum:
        raise ValueError(
            "`models` must be a dict, beta to model, if the objective is no plain sum "
            f"of distortion and beta times rate. Received: objective={objective!r}"
        )
    return objective.weight


def _by_beta(models, betas):
    """Returns a list of (beta, callable that returns the model)."""
    if isinstance(models, VAE):
        if models.beta_range is not None:
            chosen = betas_between(*models.beta_range) if betas is None else betas
            return [(float(b), lambda b=b: models.at(float(b))) for b in chosen]
        models = [models]
    if not isinstance(models, dict):
        models = [(beta_of(check_vae(model)), model) for model in models]
    pairs = list(models.items() if isinstance(models, dict) else models)
    if betas is not None:
        pairs = [_nearest(pairs, beta) for beta in betas]
    if not pairs:
        raise ValueError("`models` must hold at least one model. Received: none")
    check_different([beta for beta, _ in pairs])
    return [(float(b), lambda m=m: check_vae(m)) for b, m in pairs]


def _nearest(pairs, beta):
    for pair in pairs:
        # Objectives store weights in float32.
        if math.isclose(pair[0], beta, rel_tol=1e-6):
            return pair
    raise ValueError(
        "`betas` must be weights of `models`, which were trained one by one. "
        f"Received: {beta}, which is not among {[b for b, _ in pairs]}"
    )


def check_different(betas):
    """Raises ValueError if two models have the same weight.

    Args:
        betas: List of floats.
    """
    if again := [beta for beta, number in Counter(betas).items() if number > 1]:
        raise ValueError(
            "`models` must have one model of each weight; measure several seeds one "
            f"after the other. Received: {len(betas)} models, some of the same weight "
            f"{again[0]:.4g}"
        )


def check_vae(model):
    """Returns a model of `models` that is a `VAE`, raises a ValueError for others."""
    if not isinstance(model, VAE):
        raise ValueError(
            "`models` must be a Multi-Rate VAE, or a list or dict of `keras_vae.VAE`s. "
            f"Received: {model!r}"
        )
    return model

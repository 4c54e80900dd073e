"""The measurement of a curve on models of several weights."""

import math

import numpy as np

from keras_vae import metrics
from keras_vae.models import VAE
from keras_vae.weighing import measuring
from keras_vae.weighing.curve.curve import RateDistortionCurve

# Default number of weights of a Multi-Rate VAE.
_NUM_BETAS = 13


def rate_distortion(
    models,
    data,
    betas=None,
    num_samples=1,
    importance_samples=0,
    num_resamples=1000,
    seed=0,
):
    """Measures rate and distortion over the weight of the KL.

    A bootstrap over the examples gives the intervals, which include the noise of z.
    The models do not change.

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
        num_resamples: Integer, resamples of the bootstrap.
        seed: Integer, the seed of all draws. All models get the same draws.

    Returns:
        A `RateDistortionCurve`.

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
    models = _by_beta(models, betas)
    columns = []
    for _, make in models:
        model = make()
        x, y = measuring.split(model, data)
        terms = measuring.elbo_terms(model, x, y, num_samples, importance_samples, seed)
        columns.append(terms)
    per_example = {
        "rate": [terms.rate for terms in columns],
        "distortion": [terms.distortion for terms in columns],
    }
    if importance_samples:
        per_example["negative_log_likelihood"] = [
            -terms.log_likelihood for terms in columns
        ]
    # One call draws the same resamples for all.
    stacked = np.stack(list(per_example.values()))
    replicates = metrics.bootstrap_means(stacked, num_resamples, seed)
    return RateDistortionCurve(
        [beta for beta, _ in models],
        {
            **{n: np.mean(v, axis=1) for n, v in per_example.items()},
            "gap": [_gap(terms) for terms in columns],
        },
        [metrics.active_units(terms.mean).number for terms in columns],
        columns[0].mean.shape[1],
        len(columns[0].rate),
        replicates={n: replicates[:, i] for i, n in enumerate(per_example)},
    )


def _gap(terms):
    """Returns KL(q(z) || p(z)) in nats, NaN if the examples are too few to tell."""
    if not terms.mutual_information.is_measured:
        return np.nan
    return max(terms.rate.mean() - terms.mutual_information.value, 0.0)


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
            chosen = _betas_in(models.beta_range) if betas is None else betas
            return [(float(b), lambda b=b: models.at(float(b))) for b in chosen]
        models = [models]
    if not isinstance(models, dict):
        models = [(beta_of(_check_vae(model)), model) for model in models]
    pairs = list(models.items() if isinstance(models, dict) else models)
    if betas is not None:
        pairs = [_nearest(pairs, beta) for beta in betas]
    if not pairs:
        raise ValueError("`models` must hold at least one model. Received: none")
    return [(float(b), lambda m=m: _check_vae(m)) for b, m in pairs]


def _nearest(pairs, beta):
    for pair in pairs:
        # Objectives store weights in float32.
        if math.isclose(pair[0], beta, rel_tol=1e-6):
            return pair
    raise ValueError(
        "`betas` must be weights of `models`, which were trained one by one. "
        f"Received: {beta}, which is not among {[b for b, _ in pairs]}"
    )


def _betas_in(beta_range):
    low, high = (float(b) for b in beta_range)
    betas = np.geomspace(low, high, _NUM_BETAS)
    # The ELBO itself is read most often, and rounding would miss beta = 1.
    if low < 1 < high:
        betas[np.argmin(np.abs(np.log(betas)))] = 1.0
    # Rounding may exceed the range.
    return np.clip(betas, low, high).tolist()


def _check_vae(model):
    if not isinstance(model, VAE):
        raise ValueError(
            "`models` must be a Multi-Rate VAE, or a list or dict of `keras_vae.VAE`s. "
            f"Received: {model!r}"
        )
    return model

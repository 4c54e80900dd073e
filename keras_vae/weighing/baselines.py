"""What models without a network reach on the same split: the floor of any -ELBO."""

import numpy as np

from keras_vae import checks
from keras_vae import linear
from keras_vae import normalization
from keras_vae import random
from keras_vae.arguments import check_count
from keras_vae.distributions import likelihoods
from keras_vae.models import VAE
from keras_vae.networks import mlp_decoder
from keras_vae.networks import mlp_encoder

# Factor analysis of more elements takes minutes.
_FACTORED = 128
_AT_ONCE = 1000


def baselines(train, x, latent_dim, likelihood="normal", seed=0):
    """Measures simple models on held-out data, beside which a VAE is to be seen.

    | name | model | beside which likelihoods |
    |---|---|---|
    | "independent" | each element by itself | all |
    | "ppca" | probabilistic PCA, `x = W z + mu + e`, one noise | real and grey data |
    | "factor_analysis" | the same with a noise of each element | the same, tables |
    | "linear_vae" | the linear start of a VAE, see `VAE.adapt` | all but normals |

    The first three are -log p(x), exact; the last is a -ELBO, because its log p(x) has
    no closed form. Columns of a table, events (size,) of at most 128 numbers, have
    noises of their own in "independent" and "factor_analysis". The pixels of larger
    events share one: a pixel that is nearly always black would otherwise decide the
    comparison by the density of its one value.

    Elements that are NaN are missing. The models are fitted to the others, those with z
    by EM, and measured on the others. Of events of more than 128 numbers there is then
    "independent" alone.

    Args:
        train: Array (examples, ...), on which the models are fitted.
        x: Array (other examples, ...), on which they are measured.
        latent_dim: Integer, dimensions of z.
        likelihood: Name, config or `Likelihood`, of the VAE that they stand beside.
        seed: Integer, of the draws of z.

    Returns:
        Dict, names to floats, nats per example; those that suit the likelihood.

    Raises:
        ValueError: If the data do not fit.

    Example:
    >>> x, x_test = kv.datasets.digits()
    >>> found = kv.baselines(x, x_test, latent_dim=8)
    >>> {name: round(nats, 1) for name, nats in found.items()}
    {'independent': 7.5, 'ppca': -13.4}

    References:
        [Probabilistic Principal Component Analysis](
        https://doi.org/10.1111/1467-9868.00196);
        [EM algorithms for ML factor analysis](https://doi.org/10.1007/BF02293851)
    """
    likelihood = likelihoods.get(likelihood)
    train, x = (checks.check_examples(part, missing="nan") for part in (train, x))
    check_count("latent_dim", latent_dim)
    if train.shape[1:] != x.shape[1:]:
        raise ValueError(
            "`x` must have examples like those of `train`. Received: shapes "
            f"{x.shape} and {train.shape}"
        )
    train, x = likelihood.standardize(train), likelihood.standardize(x)
    shares = np.mean(~np.isnan(x), axis=0)
    units, likelihood = likelihood.log_units(x.shape[1:], shares), likelihood.core()
    is_normal = isinstance(likelihood, likelihoods.Normal)
    found = {"independent": _independent(train, x, likelihood)}
    has_gaps = bool(np.isnan(train).any() or np.isnan(x).any())
    if is_normal or isinstance(likelihood, _DENSITIES):
        models = _observed_factor_models if has_gaps else _factor_models
        found |= models(train, x, latent_dim)
    is_small = not has_gaps or _is_table(train)
    if is_small and not is_normal and isinstance(likelihood, _STARTED):
        found["linear_vae"] = _linear_vae(train, x, latent_dim, likelihood, seed)
    return {name: nats + units for name, nats in found.items()}


_DENSITIES = likelihoods.Laplace, likelihoods.ContinuousBernoulli
_STARTED = *_DENSITIES, likelihoods.Bernoulli


def _is_table(x):
    return x.ndim == 2 and x.shape[1] <= _FACTORED


def _independent(train, x, likelihood):
    if isinstance(likelihood, likelihoods.Normal):
        flat_train, flat = (np.float64(v.reshape(len(v), -1)) for v in (train, x))
        mean, variance = normalization.observed_moments(flat_train)
        if not _is_table(train):
            variance = np.full_like(variance, variance.mean())
        # A column that never varied has no density; 1 is as good as any unit.
        variance = np.where(variance > 0, variance, 1.0)
        squares = np.square(flat - mean) / variance
        nats = 0.5 * (squares + np.log(2 * np.pi * variance))
        return float(np.where(np.isnan(flat), 0.0, nats).sum(axis=1).mean())
    # A new one: a scale that was learned would be that of the VAE.
    fresh = type(likelihood).from_config(likelihood.get_config())
    return _of_bias(fresh, train, x)


def _of_bias(likelihood, train, x):
    """-log p(x) of a decoder that puts out one vector, whatever z is."""
    if isinstance(likelihood, likelihoods.Categorical):
        values = range(likelihood.num_classes)
        counts = [(train == value).sum(axis=0) for value in values]
        shares = np.stack(counts, axis=-1) + 1.0
        # The logits of all classes of an element stand side by side.
        bias = np.log(shares).astype("float32").reshape(*shares.shape[:-2], -1)
    else:
        # One example of each value more, or a value never seen would be impossible.
        grey = isinstance(
            likelihood, likelihoods.Bernoulli | likelihoods.ContinuousBernoulli
        )
        extra, half = (2, 0.5) if grey else (0, 0.0)
        number = np.sum(~np.isnan(train), axis=0) + extra
        total = np.nansum(train, axis=0, dtype="float64") + extra * half
        mean = total / np.maximum(number, 1)
        bias = likelihood.initial_bias(mean)
        if isinstance(likelihood, likelihoods.Laplace):
            likelihood.adapt_scale(float(np.nanmean(np.abs(train - mean))))
    nats = [
        -likelihood.log_prob(
            np.broadcast_to(bias, (len(part), 1, *bias.shape)),
            part,
            mask=~np.isnan(part) if np.isnan(part).any() else None,
        )
        for part in np.split(x, range(_AT_ONCE, len(x), _AT_ONCE))
    ]
    return float(np.concatenate(nats).mean(dtype="float64"))


def _factor_models(train, x, latent_dim):
    """-log p(x) of the models whose p(x) is a normal."""
    is_table = _is_table(train)
    train, x = (part.reshape(len(part), -1) for part in (train, x))
    number = min(latent_dim, min(train.shape) - 1)
    if number < 1 or not np.ptp(train, axis=0).any():
        return {}
    found = {}
    try:
        components = linear.components(train, number)
        found["ppca"] = -linear.log_likelihood(components, x).mean()
        if is_table:
            psi = linear.noise_variances(train, number)
            scaled = linear.components(train / np.sqrt(psi), number)
            nats = linear.log_likelihood(scaled, x / np.sqrt(psi), noise=1.0)
            found["factor_analysis"] = 0.5 * np.log(psi).sum() - nats.mean()
    except linear.NoNoiseError:
        # So many components explain all: no density is the best.
        return found
    return {name: float(nats) for name, nats in found.items()}


def _observed_factor_models(train, x, latent_dim):
    """-log p of the elements that are there, under the same models."""
    found, number = {}, min(latent_dim, min(train.shape) - 1)
    if not _is_table(train) or number < 1:
        return found
    try:
        for name, own_noises in (("ppca", False), ("factor_analysis", True)):
            fitted = linear.observed_components(train, number, own_noises=own_noises)
            model = linear.FactorModel.of(fitted, 1.0 if own_noises else None)
            found[name] = float(-model.log_likelihood(x).mean())
    except linear.NoNoiseError:
        return found
    return found


def _linear_vae(train, x, latent_dim, likelihood, seed):
    event_shape = train.shape[1:]
    fresh = type(likelihood).from_config(likelihood.get_config())
    vae = VAE(
        mlp_encoder([], event_shape),
        mlp_decoder([], fresh.params_shape(event_shape)),
        latent_dim,
        likelihood=fresh,
        linear_path=True,
        missing="nan" if np.isnan(train).any() or np.isnan(x).any() else None,
        seed=seed,
    )
    vae.adapt(train)
    total = 0.0
    for start in range(0, len(x), _AT_ONCE):
        part = x[start : start + _AT_ONCE]
        estimate = vae.estimate(part, part, 1, random.key(seed, start))
        total += float(np.sum(estimate.distortion + estimate.rate()))
    return total / len(x)

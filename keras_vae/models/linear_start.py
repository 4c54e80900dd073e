"""Where training starts: at the best linear VAE of the data."""

import dataclasses

import numpy as np

from keras_vae import checks
from keras_vae import linear
from keras_vae import priors
from keras_vae.distributions import likelihoods
from keras_vae.distributions import posteriors
from keras_vae.priors import StandardNormal

_FAMILIES = {
    likelihoods.Normal: "normal",
    likelihoods.Laplace: "laplace",
    likelihoods.Bernoulli: "bernoulli",
    likelihoods.ContinuousBernoulli: "continuous_bernoulli",
}
_KNOWN = *_FAMILIES, likelihoods.Categorical
_PARTS = {"posterior": posteriors.DiagonalNormal, "prior": StandardNormal}
# Logits of classes that never occur would be infinite.
_SMALLEST_SHARE = 1e-3
# The variance of p(x|z) over its scale squared.
_VARIANCE_OF_SCALE = {likelihoods.Normal: 1.0, likelihoods.Laplace: 2.0}


def adapt(model, x, regression=None):
    """Sets linear path, output bias and noise of a VAE from data.

    With working residuals `y = (x - mean) / sqrt(v)`, eigenvalues lam and eigenvectors
    u of their covariance, and the level `theta = beta noise`, unit j is open if
    `lam_j > theta`. Then

        decoder:  eta = eta0 + sum_j z_j u_j sqrt(lam_j - theta) sqrt(v)^-1
        encoder:  mean_j = u_j . y sqrt(lam_j - theta) / lam_j
                  stddev_j = sqrt(theta / lam_j)

    and the deep path puts out 0. Under a normal likelihood this is the minimum over all
    linear VAEs, at beta = 1 probabilistic PCA. Under a Bernoulli and a continuous
    Bernoulli it is that of a quadratic approximation, under a Laplace likelihood that
    of a normal with its variance, `noise = 2 scale^2`. Under a Categorical likelihood y
    is `(1[x = k] - p_k) / sqrt(p_k)` of each class k, v is `p_k`, and the units code
    what class ids tell linearly of y: see `keras_vae.linear.class_components`.

    With `scale="per_output"` v is a noise psi of each element, and the location of
    p(x|z) is `mean + sqrt(psi) E[y|z]`: at beta = 1 factor analysis. Below 1 psi stays
    that of beta = 1; of more than 2048 elements it is what probabilistic PCA leaves
    unexplained: see `keras_vae.linear.noise_variances`.

    A closed unit has mean 0, nearly, and stddev 1. A `MultiRateVAE` is set for all its
    weights at once: its water levels follow beta exactly, up to .0005 nats for each
    closed unit. A noise that it learns starts at that of beta = 1.

    Where elements of x are missing, mean and covariance are those of EM on the others,
    see `keras_vae.linear.observed_components`. The decoder is then the most likely one
    at beta = 1. The true posterior depends on which elements are there: mean_j is the
    best linear map to its mean of what the encoder sees, and stddev_j^2 the mean
    squared error of this map.

    With conditions c, x is regressed on them, `E[x|c] = mean + (c - E[c]) B`, and y is
    what they leave. The linear maps of c hold `(c - E[c]) B / v` on the decoder's side,
    the mean of x that the encoder subtracts on the other: under a normal likelihood the
    minimum over all linear conditional VAEs (Dang et al.).

    Args:
        model: `VAE` or `MultiRateVAE` with `linear_path=True` that is built, with a
            `Normal`, `Laplace`, `Bernoulli`, `ContinuousBernoulli` or `Categorical`
            likelihood, a `DiagonalNormal` posterior and a `StandardNormal` prior. Its
            objective says the weight beta.
        x: `keras_vae.checks.Batches` of the data, less what conditions tell of them.
        regression: `keras_vae.linear.Regression` on the conditions, or None.

    Raises:
        ValueError: If the model has no linear path, or parts of another kind, or its
            deep decoder does not end in a layer with a kernel, or the data do not fit.

    References:
        [Probabilistic Principal Component Analysis](
        https://doi.org/10.1111/1467-9868.00196);
        [Don't Blame the ELBO!](https://arxiv.org/abs/1911.02469);
        [EM algorithms for ML factor analysis](https://doi.org/10.1007/BF02293851);
        [Beyond Vanilla Variational Autoencoders](https://arxiv.org/abs/2306.05023)
    """
    _check(model, x.example_shape)
    likelihood, beta = model.likelihood, model.objective.weight
    noise = _fixed_noise(likelihood)
    found = _components(model, x)
    if regression is not None:
        found = dataclasses.replace(found, regression=regression)
    best = linear.optimum(found, beta, noise)
    # Both may refuse, and only then is anything assigned.
    last = _last_with_kernel(model.deep_decoder)
    lengths = model.latent.adapt(found, beta, best.noise)
    last.kernel.assign(np.zeros(last.kernel.shape))
    if last.bias is not None:
        last.bias.assign(np.zeros(last.bias.shape))
    kernel, bias = _outputs(likelihood, found, lengths, model.event_shape)
    if noise is None:
        share = _VARIANCE_OF_SCALE[type(likelihood)]
        likelihood.adapt_scale(float(np.sqrt(best.noise / share)))
    bias = np.ravel(bias)
    if regression is not None:
        slopes = _slopes(likelihood, found, model.event_shape)
        model.decoder.of_conditions.kernel.assign(slopes)
        bias = bias - regression.mean @ slopes
    model.decoder.linear.kernel.assign(kernel.reshape(len(kernel), -1))
    model.decoder.linear.bias.assign(bias)


def _components(model, x):
    likelihood, units = model.likelihood, model.latent_dim
    if isinstance(likelihood, likelihoods.Categorical):
        return linear.class_components(x, units, likelihood)
    return linear.observed_components(
        x,
        units,
        _FAMILIES[type(likelihood)],
        _has_own_noises(likelihood),
        model.objective.weight,
        likelihood.origin,
    )


def _outputs(likelihood, found, lengths, shape):
    """Returns kernel (units, ...) and bias of the map from z to parameters."""
    scale = np.sqrt(found.variance)
    if isinstance(likelihood, likelihoods.Categorical):
        shares = np.clip(found.shares, _SMALLEST_SHARE, 1.0)
        return (found.vectors * lengths / scale[:, None]).T, np.log(shares)
    mean = found.mean.reshape(shape)
    if not _has_own_noises(likelihood):
        kernel = (found.vectors * lengths / scale[:, None]).T
        return kernel, likelihood.initial_bias(mean)
    # The location is no natural parameter: it is mean + sqrt(psi) E[y|z].
    kernel = (found.vectors * lengths * scale[:, None]).T.reshape(-1, *shape)
    scale = scale.reshape(shape) / np.sqrt(_VARIANCE_OF_SCALE[type(likelihood)])
    kernel = np.concatenate([kernel, np.zeros_like(kernel)], axis=-1)
    return kernel, likelihood.initial_bias(mean, scale)


def _slopes(likelihood, found, shape):
    """Returns the kernel (conditions, ...) of the map from conditions to parameters."""
    slopes = found.regression.slopes
    if not _has_own_noises(likelihood):
        return slopes / found.variance
    location = slopes.reshape(-1, *shape)
    kernel = np.concatenate([location, np.zeros_like(location)], axis=-1)
    return kernel.reshape(len(slopes), -1)


def _last_with_kernel(network):
    """Returns the last layer of a network, whose kernel decides its output."""
    last = network
    while steps := getattr(last, "operations", None) or getattr(last, "layers", None):
        last = next((step for step in reversed(steps) if step.weights), None)
    if not hasattr(last, "kernel"):
        raise ValueError(
            "`decoder` must end in a layer with a kernel, which `adapt` sets to 0. "
            f"Received: {getattr(last, 'name', 'no weights')!r} as its last layer with "
            "weights"
        )
    return last


def _fixed_noise(likelihood):
    """Returns the variance of p(y|z), or None if it is learned."""
    share = _VARIANCE_OF_SCALE.get(type(likelihood))
    if share is None or _has_own_noises(likelihood):
        return 1.0
    fixed = isinstance(likelihood.scale, float)
    return share * likelihood.scale**2 if fixed else None


def _has_own_noises(likelihood):
    return getattr(likelihood, "scale", None) == "per_output"


def is_known(likelihood, posterior, prior):
    """Whether `adapt` knows the best linear VAE of such parts.

    Args:
        likelihood: Name, config or `Likelihood`.
        posterior: Name, config or `Posterior`.
        prior: Name, config or `Prior`.

    Example:
    >>> is_known("laplace", "diagonal_normal", "standard_normal")
    True
    """
    parts = {"posterior": posteriors.get(posterior), "prior": priors.get(prior)}
    return type(likelihoods.get(likelihood)) in _KNOWN and all(
        type(part) is _PARTS[name] for name, part in parts.items()
    )


def check_linear_path(model):
    """Raises ValueError if a model has no linear path to set."""
    if not model.linear_path:
        raise ValueError(
            "`adapt` needs a linear path: make the model with `linear_path=True`. "
            f"Received: {model.name!r} without one"
        )


def _check(model, shape):
    check_linear_path(model)
    if not model.objective.weight > 0:
        raise ValueError(
            "`kl_weight` must be positive for `adapt`: the posterior has no width "
            "without a weight on the rate. Received: "
            f"kl_weight={model.objective.weight:g}"
        )
    for part, kind in _PARTS.items():
        value = getattr(model.latent, part)
        if type(value) is not kind:
            raise ValueError(
                f"`{part}` must be a {kind.__name__} for `adapt`, whose start is known "
                f"for no other. Received: {part}={value!r}"
            )
    if type(model.likelihood) not in _KNOWN:
        names = ", ".join(kind.__name__ for kind in _KNOWN)
        raise ValueError(
            f"`likelihood` must be one of {names} for `adapt`, whose start is known "
            f"for no other. Received: likelihood={model.likelihood!r}"
        )
    taken = [list(part.declared) for part in (model.encoder, model.decoder)]
    categorical = isinstance(model.likelihood, likelihoods.Categorical)
    if taken[0] != taken[1] or (taken[0] and categorical):
        raise ValueError(
            "`conditions` must be the same of encoder and decoder for `adapt`, none "
            f"under a Categorical likelihood. Received: {taken[0]} of the encoder, "
            f"{taken[1]} of the decoder, likelihood={model.likelihood!r}"
        )
    if shape != model.event_shape:
        raise ValueError(
            f"`x` must have shape (examples, {checks.shape_text(model.event_shape)}), "
            f"or yield batches of that shape. Received: {('examples', *shape)}"
        )

"""A noise for each element: factor analysis."""

import warnings

import numpy as np

from keras_vae.arguments import check_count
from keras_vae.linear.components import components
from keras_vae.linear.moments import FEW
from keras_vae.linear.moments import Moments
from keras_vae.linear.optimum import NoNoiseError
from keras_vae.linear.optimum import log_likelihood
from keras_vae.linear.optimum import optimum

# Of the variance of an element.
_SMALLEST_NOISE = 1e-3
# Nats an example.
_LEAST_GAIN = 0.1
_TURNS, _TURNS_OF_MANY = 20, 3


def noise_variances(x, latent_dim, beta=1.0):
    """Finds the noise of each element by factor analysis.

    With `y = x / sqrt(psi)` a linear VAE of one noise is factor analysis: `x = W z + mu
    + e`, `e ~ N(0, diag(psi))`. At a weight beta above 1 psi is what the optimum leaves
    unexplained, found by turns. Below 1 it is that of beta = 1, because the objective
    has no bound: `(1 - beta) log(psi_i) / 2` falls as a unit tells element i alone.

    Of more than 2048 elements it is what probabilistic PCA does not explain.

    Args:
        x: Array (examples, size), or `Moments`.
        latent_dim: Integer.
        beta: Positive float, the weight of the rate.

    Returns:
        (size,) array psi, at least a thousandth of the element's variance: factor
        analysis makes it 0 where other elements tell one of them. 1 for an element
        that does not vary.

    Example:
    >>> random = np.random.default_rng(0)
    >>> x = random.normal(size=(2000, 1)) + random.normal(size=(2000, 4)) * [1, 1, 2, 3]
    >>> kv.linear.noise_variances(x, latent_dim=1).round()
    array([1., 1., 4., 9.])

    Reference:
        [EM algorithms for ML factor analysis](https://doi.org/10.1007/BF02293851)
    """
    latent_dim = check_count("latent_dim", latent_dim)
    if isinstance(x, Moments) and x.size > FEW:
        found = components(x, latent_dim)
        psi = unexplained(found, x, optimum(found, 1.0).noise)
    else:
        rows = x.equal_rows() if isinstance(x, Moments) else _checked(x)
        psi = _by_factor_analysis(rows, latent_dim)
    if beta > 1.0:
        x = Moments.of(x)
        for _ in range(_TURNS if x.size <= FEW // 4 else _TURNS_OF_MANY):
            psi = unexplained(components(x, latent_dim, variance=psi), x, beta)
    return psi


def _by_factor_analysis(x, latent_dim):
    psi, variance = np.ones(x.shape[1]), x.var(axis=0)
    varies = variance > 0
    number = min(latent_dim, np.count_nonzero(varies))
    if number:
        share = _factor_analysis(x[:, varies] / np.sqrt(variance[varies]), number)
        psi[varies] = np.clip(share, _SMALLEST_NOISE, 1.0) * variance[varies]
    return psi


def _factor_analysis(x, number):
    from sklearn import decomposition
    from sklearn import exceptions

    with warnings.catch_warnings():
        # It need not converge for a scale.
        warnings.simplefilter("ignore", exceptions.ConvergenceWarning)
        found = decomposition.FactorAnalysis(number, max_iter=200, random_state=0)
        return found.fit(x).noise_variance_


def unexplained(found, moments, level):
    """Returns the variance of x that the optimum at a water level does not explain.

    Args:
        found: `Components`, whose variance is the noise of each element so far.
        moments: `Moments` of x.
        level: Float, the weight of the rate: at 1 this is a step of EM.

    Returns:
        (size,) array.
    """
    excess = np.maximum(found.eigenvalues - level, 0.0)
    explained = found.variance * (np.square(found.vectors) @ excess)
    least = _SMALLEST_NOISE * moments.variance
    psi = np.maximum(moments.variance - explained, least)
    return np.where(moments.variance > 0, psi, 1.0)


def are_noises_unequal(x, latent_dim, folds=3):
    """Whether elements have noises of their own, by cross-validation.

    They have if that gains a tenth of a nat for each example that was left out.

    Compares log p(x) of examples that were left out: under factor analysis, with a
    noise for each element, and under probabilistic PCA of elements of unit variance.

    Args:
        x: Array (examples, size), at least two examples.
        latent_dim: Integer.
        folds: Integer.

    Returns:
        A boolean.

    Example:
    >>> random = np.random.default_rng(0)
    >>> x = random.normal(size=(200, 1)) + random.normal(size=(200, 4)) * [0.1, 1, 2, 3]
    >>> kv.linear.are_noises_unequal(x, latent_dim=1)
    True
    """
    x = _checked(x)
    x = x[:, x.std(axis=0) > 0]
    latent_dim = min(check_count("latent_dim", latent_dim), x.shape[1] - 1)
    order = np.random.default_rng(0).permutation(len(x))
    gain = 0.0
    for held_out in np.array_split(order, min(folds, len(x))):
        train, test = np.delete(x, held_out, axis=0), x[held_out]
        scale = train.std(axis=0)
        if latent_dim < 1 or len(train) < 2 or not scale.all():
            return False
        psi = noise_variances(train, latent_dim)
        try:
            equal = _held_out(train / scale, test / scale, latent_dim)
            own = _held_out(train / np.sqrt(psi), test / np.sqrt(psi), latent_dim, 1.0)
        except NoNoiseError:
            return False
        gain += (own - equal).sum() + len(test) * np.log(scale / np.sqrt(psi)).sum()
    return bool(gain > _LEAST_GAIN * len(x))


def _held_out(train, test, latent_dim, noise=None):
    return log_likelihood(components(train, latent_dim), test, noise)


def _checked(x):
    x = np.asarray(x, np.float64)
    if x.ndim < 2:
        raise ValueError(
            "`x` must be an array of examples, (examples, ...). Received: "
            f"x.shape={x.shape}"
        )
    x = x.reshape(len(x), -1)
    if not np.isfinite(x).all():
        raise ValueError("`x` must be finite. Received: NaN or infinity")
    return x

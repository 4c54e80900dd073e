"""The linear VAE: its optimum at each weight of the rate is known in closed form."""

import dataclasses
import math
import warnings

import numpy as np

from keras_vae.arguments import check_count

# Variances of a Bernoulli whose mean is further from 1/2 overstate the gain of a unit.
_BERNOULLI_MEANS = 0.2, 0.8
# The variance of a continuous Bernoulli is 1/12 at 1/2, and falls to 0 at both ends.
_CONTINUOUS_MEANS = 0.1, 0.9
_SMALLEST_MEAN = 1e-3
_SMALLEST_SHARE = 1e-9
# Of the variance of an element.
_SMALLEST_NOISE = 1e-3


@dataclasses.dataclass(frozen=True)
class Components:
    """Principal components of working residuals, `y = (x - mean) / sqrt(variance)`.

    The variance is 1 for a normal or Laplace likelihood, that of p(x|z) at the mean
    otherwise, so that a linear map of z to the natural parameters of p(x|z) is a linear
    VAE of y. Units for which the data have no direction left have a vector of zeros.

    Args:
        mean: (size,) array, the mean of each element of x.
        variance: (size,) array.
        eigenvalues: (latent_dim,) array, the largest of the covariance of y, falling.
        vectors: (size, latent_dim) array, their eigenvectors.
        total: Float, the sum of all eigenvalues.
    """

    mean: np.ndarray
    variance: np.ndarray
    eigenvalues: np.ndarray
    vectors: np.ndarray
    total: float

    @property
    def size(self):
        """Number of elements of x."""
        return len(self.mean)

    def left_over(self, num_open):
        """Returns the variance that so many units do not explain."""
        return max(self.total - float(self.eigenvalues[:num_open].sum()), 0.0)

    def closing_weights(self, noise=None):
        """Returns the weight beta at which each unit closes.

        Unit j of a linear VAE is open if `beta noise < eigenvalue_j` (Lucas et al.).

        Args:
            noise: Float, the variance of p(y|z), or None for the one that is learned at
                each weight.

        Returns:
            (latent_dim,) array, falling.
        """
        if noise is not None:
            return self.eigenvalues / noise
        place = np.arange(len(self.eigenvalues))
        rest = np.array([self.left_over(n) for n in place])
        weights = self.size * self.eigenvalues / (rest + place * self.eigenvalues)
        # A direction without variance is never open, however small the noise is.
        varies = self.eigenvalues > 2 * _SMALLEST_SHARE * self.total
        return np.where(varies, weights, 0.0)

    def learned_noise(self, beta, num_open):
        """Returns the variance of p(y|z) that maximises the objective at a weight."""
        return self.left_over(num_open) / (self.size - num_open * beta)


def components(x, latent_dim, likelihood="normal"):
    """Finds the principal components of data under a likelihood.

    Args:
        x: Array (examples, ...).
        latent_dim: Integer. Less than the number of examples and of elements of an
            example can be open.
        likelihood: "normal", "laplace", "bernoulli", "continuous_bernoulli" or
            "poisson".

    Returns:
        `Components`.

    Raises:
        ValueError: If the data are not finite, or have too few examples or elements.

    Example:
    >>> x, _ = kv.datasets.digits()
    >>> kv.linear.components(x, latent_dim=2).vectors.shape
    (64, 2)

    References:
        [Probabilistic Principal Component Analysis](
        https://doi.org/10.1111/1467-9868.00196);
        [Don't Blame the ELBO!](https://arxiv.org/abs/1911.02469)
    """
    x = _checked(x)
    latent_dim = check_count("latent_dim", latent_dim)
    number = min(latent_dim, min(x.shape) - 1)
    if not number:
        raise ValueError(
            "`x` must have two examples of two elements at least, or there is nothing "
            f"to explain. Received: data of shape {x.shape}"
        )
    mean = x.mean(axis=0)
    if likelihood not in _VARIANCES:
        raise ValueError(
            f"`likelihood` must be one of {tuple(_VARIANCES)}, for which the linear "
            f"optimum is known. Received: likelihood={likelihood!r}"
        )
    # Slow to import, and not needed for training.
    from sklearn import decomposition

    variance = _VARIANCES[likelihood](mean)
    y = (x - mean) / np.sqrt(variance)
    total = float(np.square(y).sum() / len(y))
    if total == 0:
        raise ValueError("`x` must vary. Received: examples that are all equal")
    found = decomposition.PCA(number, random_state=0).fit(y)
    eigenvalues, vectors = np.zeros(latent_dim), np.zeros((x.shape[1], latent_dim))
    # scikit-learn divides by N - 1.
    eigenvalues[:number] = found.explained_variance_ * (len(y) - 1) / len(y)
    vectors[:, :number] = found.components_.T
    # Directions without variance would divide by 0.
    eigenvalues = np.maximum(eigenvalues, _SMALLEST_SHARE * total)
    return Components(mean, variance, eigenvalues, vectors, total)


def noise_variances(x, latent_dim):
    """Finds the noise of each element by factor analysis.

    With `y = x / sqrt(psi)` a linear VAE of one noise is factor analysis: `x = W z + mu
    + e`, `e ~ N(0, diag(psi))`.

    Args:
        x: Array (examples, size).
        latent_dim: Integer.

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
    from sklearn import decomposition
    from sklearn import exceptions

    x = _checked(x)
    psi, variance = np.ones(x.shape[1]), x.var(axis=0)
    varies = variance > 0
    x = x[:, varies] / np.sqrt(variance[varies])
    number = min(check_count("latent_dim", latent_dim), x.shape[1])
    if not number:
        return psi
    with warnings.catch_warnings():
        # It need not converge for a scale.
        warnings.simplefilter("ignore", exceptions.ConvergenceWarning)
        found = decomposition.FactorAnalysis(number, max_iter=200, random_state=0).fit(
            x
        )
    share = np.clip(found.noise_variance_, _SMALLEST_NOISE, 1.0)
    psi[varies] = share * variance[varies]
    return psi


def are_noises_unequal(x, latent_dim, folds=3):
    """Whether elements have noises of their own, by cross-validation.

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
    >>> x = random.normal(size=(200, 1)) + random.normal(size=(200, 4)) * [1, 1, 2, 3]
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
    return bool(gain > 0)


def _held_out(train, test, latent_dim, noise=None):
    return log_likelihood(components(train, latent_dim), test, noise)


_VARIANCES = {
    "normal": np.ones_like,
    "laplace": np.ones_like,
    "bernoulli": lambda mean: (
        np.clip(mean, *_BERNOULLI_MEANS) * (1 - np.clip(mean, *_BERNOULLI_MEANS))
    ),
    "continuous_bernoulli": lambda mean: _continuous_bernoulli_variance(mean),
    "poisson": lambda mean: np.maximum(mean, _SMALLEST_MEAN),
}


def _continuous_bernoulli_variance(mean):
    """Returns the variance of a continuous Bernoulli of a mean.

    With the logit h the mean is `1 / (1 - exp(-h)) - 1 / h` and the variance its
    derivative, `1 / h^2 - 1 / (4 sinh(h / 2)^2)`.
    """
    logits = np.linspace(-20.0, 20.0, 2000)  # An even number leaves out 0.
    means = 1 / -np.expm1(-logits) - 1 / logits
    variances = 1 / logits**2 - 1 / (4 * np.sinh(logits / 2) ** 2)
    return np.interp(np.clip(mean, *_CONTINUOUS_MEANS), means, variances)


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


class NoNoiseError(ValueError):
    """So many units explain all variance of the data, and leave no noise."""


@dataclasses.dataclass(frozen=True)
class Optimum:
    """What a linear VAE reaches at one weight of the rate.

    Args:
        noise: Float, the variance of p(y|z).
        num_open: Integer, open units.
        rate: Float, nats.
        squared_error: Float, `E||y - decode(z)||^2` over data and posterior.
    """

    noise: float
    num_open: int
    rate: float
    squared_error: float


def optimum(found, beta, noise=None):
    """Finds the optimum of `E||y - W z||^2 / (2 noise) + beta rate`.

    Reverse water-filling: units whose eigenvalue exceeds the level `theta = beta noise`
    carry `log(eigenvalue / theta) / 2` nats each and leave theta of their variance.

    Args:
        found: `Components`.
        beta: Positive float.
        noise: Float, the variance of p(y|z), or None to learn it.

    Returns:
        `Optimum`.

    Raises:
        NoNoiseError: If the learned noise would be 0.
    """
    num_open = int(np.sum(found.closing_weights(noise) > beta))
    if noise is None:
        noise = found.learned_noise(beta, num_open)
        if noise <= 1e-12 * found.total:
            raise NoNoiseError(
                f"`latent_dim` must be smaller: {num_open} units explain all variance, "
                "so that a learned noise would become 0. Pass `noise`, or data of more "
                f"dimensions. Received: latent_dim={len(found.eigenvalues)}"
            )
    theta = beta * noise
    rate = 0.5 * float(np.log(found.eigenvalues[:num_open] / theta).sum())
    squared_error = num_open * theta + found.left_over(num_open)
    return Optimum(noise, num_open, rate, squared_error)


def log_likelihood(found, x, noise=None):
    """Returns log p(x) of probabilistic PCA, without a matrix of all elements.

    `p(x) = N(mean, U diag(eigenvalues - noise) U' + noise I)`, of the open units.

    Args:
        found: `Components` for the likelihood "normal".
        x: Array (examples, size).
        noise: Float, or None for the one that is most likely on the data of `found`.

    Returns:
        (examples,) array, nats.

    Raises:
        NoNoiseError: If the most likely noise is 0.
    """
    best = optimum(found, 1.0, noise)
    lam = found.eigenvalues[: best.num_open]
    y = np.asarray(x, np.float64) - found.mean
    scores = y @ found.vectors[:, : best.num_open]
    rest = np.square(y).sum(axis=1) - np.square(scores).sum(axis=1)
    squares = (np.square(scores) / lam).sum(axis=1) + rest / best.noise
    left = found.size - best.num_open
    log_det = np.log(lam).sum() + left * math.log(best.noise)
    return -0.5 * (squares + log_det + found.size * math.log(2 * math.pi))


def distortion(found, best):
    """Returns -E[log p(x|z)] of an optimum under a normal likelihood, in nats.

    Args:
        found: `Components` for the likelihood "normal".
        best: `Optimum`.
    """
    constant = 0.5 * found.size * math.log(2 * math.pi * best.noise)
    return constant + best.squared_error / (2 * best.noise)

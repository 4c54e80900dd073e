"""The linear VAE: its optimum at each weight of the rate is known in closed form."""

import dataclasses
import math

import numpy as np

from keras_vae.arguments import check_count

# Variances of a Bernoulli whose mean is further from 1/2 overstate the gain of a unit.
_BERNOULLI_MEANS = 0.2, 0.8
_SMALLEST_MEAN = 1e-3
_SMALLEST_SHARE = 1e-9


@dataclasses.dataclass(frozen=True)
class Components:
    """Principal components of working residuals, `y = (x - mean) / sqrt(variance)`.

    The variance is 1 for a normal likelihood, that of the mean otherwise, so that a
    linear map of z to the natural parameters of p(x|z) is a linear VAE of y.

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
        return self.size * self.eigenvalues / (rest + place * self.eigenvalues)

    def learned_noise(self, beta, num_open):
        """Returns the variance of p(y|z) that maximises the objective at a weight."""
        return self.left_over(num_open) / (self.size - num_open * beta)


def components(x, latent_dim, likelihood="normal"):
    """Finds the principal components of data under a likelihood.

    Args:
        x: Array (examples, ...).
        latent_dim: Integer, less than the number of elements of an example.
        likelihood: "normal", "bernoulli" or "poisson".

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
    if latent_dim >= min(x.shape):
        raise ValueError(
            "`latent_dim` must be less than the number of examples and of elements of "
            f"an example. Received: latent_dim={latent_dim} and data of shape {x.shape}"
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
    found = decomposition.PCA(latent_dim, random_state=0).fit(y)
    # scikit-learn divides by N - 1.
    eigenvalues = found.explained_variance_ * (len(y) - 1) / len(y)
    # Directions without variance would divide by 0.
    eigenvalues = np.maximum(eigenvalues, _SMALLEST_SHARE * total)
    return Components(mean, variance, eigenvalues, found.components_.T, total)


_VARIANCES = {
    "normal": np.ones_like,
    "bernoulli": lambda mean: (
        np.clip(mean, *_BERNOULLI_MEANS) * (1 - np.clip(mean, *_BERNOULLI_MEANS))
    ),
    "poisson": lambda mean: np.maximum(mean, _SMALLEST_MEAN),
}


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
        ValueError: If the learned noise would be 0.
    """
    num_open = int(np.sum(found.closing_weights(noise) > beta))
    if noise is None:
        noise = found.learned_noise(beta, num_open)
        if noise <= 1e-12 * found.total:
            raise ValueError(
                f"`latent_dim` must be smaller: {num_open} units explain all variance, "
                "so that a learned noise would become 0. Pass `noise`, or data of more "
                f"dimensions. Received: latent_dim={len(found.eigenvalues)}"
            )
    theta = beta * noise
    rate = 0.5 * float(np.log(found.eigenvalues[:num_open] / theta).sum())
    squared_error = num_open * theta + found.left_over(num_open)
    return Optimum(noise, num_open, rate, squared_error)


def distortion(found, best):
    """Returns -E[log p(x|z)] of an optimum under a normal likelihood, in nats.

    Args:
        found: `Components` for the likelihood "normal".
        best: `Optimum`.
    """
    constant = 0.5 * found.size * math.log(2 * math.pi * best.noise)
    return constant + best.squared_error / (2 * best.noise)

"""Principal components of working residuals."""

import dataclasses

import numpy as np

from keras_vae.arguments import check_count
from keras_vae.linear.moments import Moments
from keras_vae.linear.regression import Regression
from keras_vae.linear.residuals import VARIANCES

_SMALLEST_SHARE = 1e-9


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
        regression: `Regression` of x on conditions, or None. Then `x - mean` is less
            what the conditions tell of it.
    """

    mean: np.ndarray
    variance: np.ndarray
    eigenvalues: np.ndarray
    vectors: np.ndarray
    total: float
    regression: Regression | None = dataclasses.field(default=None, kw_only=True)

    @property
    def size(self):
        """Number of elements of x."""
        return len(self.mean)

    @property
    def directions(self):
        """(size, latent_dim) array that maps x - mean to coordinates of y."""
        return self.vectors / np.sqrt(self.variance)[:, None]

    @property
    def seen_mean(self):
        """(size,) array, the mean of what the encoder sees of x."""
        return self.mean

    def posterior_variances(self, level):
        """Returns the variance of q(z|x) of each open unit, (latent_dim,).

        Args:
            level: Float, the water level, beta times the noise.
        """
        return level / self.eigenvalues

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


def components(x, latent_dim, likelihood="normal", steps=None, variance=None):
    """Finds the principal components of data under a likelihood.

    Eigenvalues are exact if x has at most 2048 elements or examples, in one reading.
    Beyond, the data are read about ten times. Memory holds one batch, and 2048 examples
    or their covariance.

    Args:
        x: Array (examples, ...), `tf.data.Dataset`, `keras.utils.PyDataset`, iterable
            of batches x or (x, ...), or the `Moments` of such.
        latent_dim: Integer. Less than the number of examples and of elements of an
            example can be open.
        likelihood: "normal", "laplace", "bernoulli", "continuous_bernoulli" or
            "poisson".
        steps: Integer, batches to read at most, or None to read all.
        variance: (size,) array that replaces the variance of the likelihood.

    Returns:
        `Components`.

    Raises:
        ValueError: If the data are not finite, or have too few examples or elements, or
            no end.

    Example:
    >>> x, _ = kv.datasets.digits()
    >>> kv.linear.components(x, latent_dim=2).vectors.shape
    (64, 2)
    >>> batches = tf.data.Dataset.from_tensor_slices(x).batch(100)
    >>> kv.linear.components(batches, latent_dim=2).vectors.shape
    (64, 2)

    References:
        [Probabilistic Principal Component Analysis](
        https://doi.org/10.1111/1467-9868.00196);
        [Don't Blame the ELBO!](https://arxiv.org/abs/1911.02469);
        [Toward the Optimal Preconditioned Eigensolver](
        https://doi.org/10.1137/S1064827500366124)
    """
    latent_dim = check_count("latent_dim", latent_dim)
    if likelihood not in VARIANCES:
        raise ValueError(
            f"`likelihood` must be one of {tuple(VARIANCES)}, for which the linear "
            f"optimum is known. Received: likelihood={likelihood!r}"
        )
    moments = Moments.of(x, steps)
    number = check_sizes(latent_dim, moments.count, moments.size)
    if variance is None:
        variance = VARIANCES[likelihood](moments.mean)
    total = float((moments.variance / variance).sum())
    if total == 0:
        raise ValueError("`x` must vary. Received: examples that are all equal")
    eigenvalues, vectors = np.zeros(latent_dim), np.zeros((moments.size, latent_dim))
    eigenvalues[:number], vectors[:, :number] = moments.largest(number, variance)
    # Directions without variance would divide by 0.
    eigenvalues = np.maximum(eigenvalues, _SMALLEST_SHARE * total)
    return Components(moments.mean, variance, eigenvalues, vectors, total)


def check_sizes(latent_dim, count, size):
    """Returns how many units can be open.

    Args:
        latent_dim: Integer.
        count: Integer, examples.
        size: Integer, elements of an example.

    Raises:
        ValueError: If none can.
    """
    number = min(latent_dim, count - 1, size - 1)
    if number < 1:
        raise ValueError(
            "`x` must have two examples of two elements at least, or there is nothing "
            f"to explain. Received: {count} examples of {size} elements"
        )
    return number

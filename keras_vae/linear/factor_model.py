"""Probability of examples under probabilistic PCA and factor analysis."""

import dataclasses
import math

import numpy as np

from keras_vae.linear.optimum import optimum

# Numbers of float64 in a temporary array.
_BLOCK = 2**21


@dataclasses.dataclass(frozen=True)
class FactorModel:
    """A linear model of x, `x = W z + mean + e`, `z ~ N(0, I)`, `e ~ N(0, diag(psi))`.

    Elements of x that are NaN are missing, and all is given the others, x_o. With W_o
    and psi_o, their rows,

        q(z|x_o) = N(V W_o' psi_o^-1 (x_o - mean_o), V),  V = (I + W_o' psi_o^-1 W_o)^-1

    Args:
        mean: (size,) array.
        kernel: (size, units) array W.
        psi: (size,) array, positive; equal for all elements in probabilistic PCA.

    References:
        [Probabilistic Principal Component Analysis](
        https://doi.org/10.1111/1467-9868.00196);
        [EM algorithms for ML factor analysis](https://doi.org/10.1007/BF02293851)
    """

    mean: np.ndarray
    kernel: np.ndarray
    psi: np.ndarray

    @classmethod
    def of(cls, found, noise=None):
        """Returns the model of the most likely kernel.

        Args:
            found: `Components`, whose variance is that of e over the noise.
            noise: Float, or None for the one that is most likely.

        Raises:
            NoNoiseError: If the most likely noise is 0.
        """
        noise = optimum(found, 1.0, noise).noise
        lengths = np.sqrt(np.maximum(found.eigenvalues - noise, 0.0))
        scale = np.sqrt(found.variance)[:, None]
        return cls(found.mean, scale * found.vectors * lengths, noise * found.variance)

    def blocks(self, x):
        """Yields consecutive examples with few numbers in all, float64 (block, size).

        Args:
            x: Array (examples, ...).
        """
        size, units = self.kernel.shape
        step = max(1, _BLOCK // (size * max(units, 1)))
        for start in range(0, len(x), step):
            yield np.float64(x[start : start + step].reshape(-1, size))

    def posterior(self, x):
        """Returns q(z|x_o) and log p(x_o).

        Args:
            x: Float64 array (block, size).

        Returns:
            Arrays (block, units), the means, (block, units, units), the covariances,
            and (block,), nats.
        """
        size, units = self.kernel.shape
        here = ~np.isnan(x)
        residual = np.where(here, x - self.mean, 0.0)
        scaled = self.kernel / self.psi[:, None]
        products = (scaled[:, :, None] * self.kernel[:, None]).reshape(size, -1)
        known = (here @ products).reshape(-1, units, units)
        precision = np.eye(units) + known
        covariance = np.linalg.inv(precision)
        scores = residual @ scaled
        mean = np.einsum("nkl,nl->nk", covariance, scores)
        squares = np.square(residual) @ (1 / self.psi) - (scores * mean).sum(axis=1)
        log_det = np.linalg.slogdet(precision)[1] + here @ np.log(self.psi)
        constant = here.sum(axis=1) * math.log(2 * math.pi)
        return mean, covariance, -0.5 * (squares + log_det + constant)

    def log_likelihood(self, x):
        """Returns log p(x_o) of each example, (examples,), nats.

        Args:
            x: Array (examples, ...), NaN where an element is missing.

        Example:
        >>> model = FactorModel(np.zeros(2), np.zeros((2, 1)), np.ones(2))
        >>> x = np.array([[0.0, np.nan], [0.0, 0.0], [np.nan, np.nan]])
        >>> [abs(round(float(nats), 4)) for nats in model.log_likelihood(x)]
        [0.9189, 1.8379, 0.0]
        """
        return np.concatenate([self.posterior(block)[2] for block in self.blocks(x)])

"""Closed forms, in float64 NumPy, that the tests compare against.

The linear VAE: p(z) = N(0, I), p(x|z) = N(W z + b, s2 I), and q(z|x) = N(m(x),
diag(s(x)^2)) with means and raw scales that are affine in x.
"""

import dataclasses

import numpy as np

EIGENVALUES = (4.0, 2.0, 1.0, 0.5, 0.25)


@dataclasses.dataclass(frozen=True)
class Optimum:
    """What a linear VAE reaches: E||x - W z - b||^2 and the KL of each latent."""

    sse: float
    kl: np.ndarray


def data(eigenvalues=EIGENVALUES, size=16):
    """Makes points whose mean is 0 and whose covariance (ddof=0) is exact.

    Returns:
        The points (size, dimensions), and the orthonormal eigenvectors as columns.
    """
    generator = np.random.default_rng(0)
    dimensions = len(eigenvalues)
    points = generator.normal(size=(size, dimensions))
    white, _ = np.linalg.qr(points - points.mean(axis=0))
    vectors, _ = np.linalg.qr(generator.normal(size=(dimensions, dimensions)))
    return np.sqrt(size) * white * np.sqrt(eigenvalues) @ vectors.T, vectors


def water_filling(theta, latents, eigenvalues=EIGENVALUES):
    """Minimises E||x - W z - b||^2 / (2 s2) + beta KL, where theta = beta s2.

    Latents above the water level theta carry half the logarithm of their eigenvalue
    over it, all others nothing.
    """
    kept = np.array(eigenvalues[:latents])
    lost = np.sum(eigenvalues[latents:])
    return Optimum(
        sse=np.minimum(kept, theta).sum() + lost,
        kl=0.5 * np.log(np.maximum(kept / theta, 1.0)),
    )


def linear_terms(x, mean, stddev, weights, bias):
    """Evaluates a linear VAE without sampling.

    Args:
        x: Data (size, dimensions).
        mean: Posterior means (size, latents).
        stddev: Posterior standard deviations (size, latents).
        weights: W (dimensions, latents).
        bias: b (dimensions,).
    """
    residual = x - mean @ weights.T - bias
    noise = stddev**2 @ np.sum(weights**2, axis=0)
    return Optimum(
        sse=np.mean(np.sum(residual**2, axis=1) + noise),
        kl=np.mean(standard_normal_kl(mean, stddev), axis=0),
    )


def gaussian_elbo(terms, variance, dimensions):
    """The ELBO per example of a VAE with these terms and this noise."""
    constant = 0.5 * dimensions * np.log(2 * np.pi * variance)
    return -constant - terms.sse / (2 * variance) - terms.kl.sum()


def standard_normal_kl(mean, stddev):
    """KL(N(mean, stddev^2) || N(0, 1)), elementwise."""
    return 0.5 * (mean**2 + stddev**2 - 1) - np.log(stddev)


def full_normal_kl(mean, covariance, prior_mean, prior_covariance):
    """KL between two normals with full covariances."""
    precision = np.linalg.inv(prior_covariance)
    shift = prior_mean - mean
    _, log_det = np.linalg.slogdet(covariance)
    _, prior_log_det = np.linalg.slogdet(prior_covariance)
    return 0.5 * (
        np.trace(precision @ covariance)
        + shift @ precision @ shift
        - len(mean)
        + prior_log_det
        - log_det
    )


@dataclasses.dataclass(frozen=True)
class ProbabilisticPCA:
    """The most likely linear-Gaussian model of data of exact covariance."""

    weights: np.ndarray
    variance: float

    @classmethod
    def fit(cls, latents, eigenvalues, vectors):
        values = np.array(eigenvalues)
        variance = values[latents:].mean()
        weights = vectors[:, :latents] * np.sqrt(values[:latents] - variance)
        return cls(weights, variance)

    @property
    def covariance(self):
        return self.weights @ self.weights.T + self.variance * np.eye(len(self.weights))

    def log_prob(self, x):
        """log p(x) of each example."""
        _, log_det = np.linalg.slogdet(2 * np.pi * self.covariance)
        squares = np.einsum("ni,ij,nj->n", x, np.linalg.inv(self.covariance), x)
        return -0.5 * (log_det + squares)

    def posterior(self, x):
        """Means (size, latents) and variances (latents,), for orthogonal weights."""
        precision = self.weights.T @ self.weights + self.variance * np.eye(
            self.weights.shape[1]
        )
        mean = np.linalg.solve(precision, self.weights.T @ x.T).T
        return mean, self.variance / np.diag(precision)


def expectation_maximization(x, units, iterations):
    """Imputes by probabilistic PCA at its maximum likelihood; returns its numbers."""
    here, filled = ~np.isnan(x), np.nan_to_num(x.astype(np.float64))
    size = x.shape[1]
    mean, noise = filled.sum(axis=0) / here.sum(axis=0), 1.0
    kernel = np.random.default_rng(0).normal(size=(size, units))

    def codes():
        known = np.einsum("nd,dk,dl->nkl", here, kernel, kernel) / noise
        covariance = np.linalg.inv(np.eye(units) + known)
        residual = np.where(here, filled - mean, 0.0) @ kernel / noise
        return np.einsum("nkl,nl->nk", covariance, residual), covariance

    for _ in range(iterations):
        z, covariance = codes()
        z = np.concatenate([z, np.ones((len(z), 1))], axis=1)
        squares = np.einsum("nk,nl->nkl", z, z)
        squares[:, :units, :units] += covariance
        # A regression of each element on the codes of the rows that have it.
        left = np.einsum("nd,nkl->dkl", here, squares)
        right = np.einsum("nd,nk->dk", filled, z)
        solved = np.linalg.solve(left, right[..., None])[..., 0]
        kernel, mean = solved[:, :units], solved[:, units]
        explained = np.einsum("dk,dk->", solved, right)
        quadratic = np.einsum("dk,dkl,dl->", solved, left, solved)
        noise = (np.sum(filled**2) - 2 * explained + quadratic) / here.sum()
    return codes()[0] @ kernel.T + mean, kernel, mean, noise

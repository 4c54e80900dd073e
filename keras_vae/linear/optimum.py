"""What a linear VAE reaches at one weight of the rate."""

import dataclasses
import math

import numpy as np


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

"""The rate-distortion curve that a linear VAE would have, before any training."""

import dataclasses

import numpy as np

from keras_vae import linear
from keras_vae.arguments import check_number

_NUM_BETAS = 13


@dataclasses.dataclass(frozen=True)
class LinearForecast:
    """The curve of the best linear VAE.

    Args:
        beta: (points,) array, weights of the rate, rising.
        rate: (points,) array, nats.
        distortion: (points,) array, nats.
        active_units: (points,) array of integers.
        noise: (points,) array, the variance of p(x|z).
        closing_weights: (latent_dim,) array, the weight at which each unit closes,
            falling; above the first all units are closed.
    """

    beta: np.ndarray
    rate: np.ndarray
    distortion: np.ndarray
    active_units: np.ndarray
    noise: np.ndarray
    closing_weights: np.ndarray

    @property
    def negative_elbo(self):
        """(points,) array, rate + distortion in nats; at beta 1 that of pPCA."""
        return self.rate + self.distortion

    def __str__(self):
        """A table with a line for each weight."""
        names = ("beta", "rate", "distortion", "-ELBO", "noise", "active units")
        lines = ["".join(f"{name:>14}" for name in names)]
        columns = (self.beta, self.rate, self.distortion, self.negative_elbo)
        for i, cells in enumerate(zip(*columns, strict=True)):
            texts = [f"{cells[0]:.4g}", *(f"{cell:.2f}" for cell in cells[1:])]
            units = f"{self.active_units[i]} of {len(self.closing_weights)}"
            texts += [f"{self.noise[i]:.4g}", units]
            lines.append("".join(f"{text:>14}" for text in texts))
        first = self.closing_weights[0]
        lines.append(f"All units of a linear model are closed from beta = {first:.4g}.")
        return "\n".join(lines)


def linear_forecast(x, latent_dim, betas=None, noise=None, steps=None):
    """Forecasts the rate-distortion curve by that of the best linear VAE.

    A VAE with a linear encoder, a linear decoder and a normal likelihood has a known
    optimum at each weight beta of the rate, by reverse water-filling on the eigenvalues
    of the data's covariance. It costs a principal component analysis, of batches if the
    data are such. At beta = 1 with
    a learned noise -ELBO is that of probabilistic PCA, a baseline for any VAE.

    Args:
        x: Array (examples, ...), `tf.data.Dataset`, `keras.utils.PyDataset`, or any
            iterable of batches x, (x,), (x, y) or (x, y, sample_weight), of which only
            x counts. An iterator is read to its end.
        latent_dim: Integer, less than the elements of an example.
        betas: List of positive floats, or None for 13 weights from a tenth of the
            smallest at which a unit closes to twice the largest.
        noise: Positive float, the fixed variance of p(x|z), or None if it is learned.
        steps: Integer, batches to read at most, or None to read all. Data without an
            end need it.

    Returns:
        A `LinearForecast`.

    Raises:
        ValueError: If data, sizes or weights do not fit. If examples and elements are
            both more than 2048, the data are read about ten times, so that an iterator
            is an error.

    Example:
    >>> x, x_test = kv.datasets.digits()
    >>> forecast = kv.linear_forecast(x, latent_dim=8, betas=[0.1, 1.0, 10.0])
    >>> forecast.active_units.tolist()
    [8, 8, 0]

    References:
        [Don't Blame the ELBO!](https://arxiv.org/abs/1911.02469);
        [Fixing a Broken ELBO](https://arxiv.org/abs/1711.00464)
    """
    if noise is not None:
        noise = check_number("noise", noise, positive=True)
    found = linear.components(x, latent_dim, steps=steps)
    closing = found.closing_weights(noise)
    if betas is None:
        low = max(closing[-1], 1e-6 * closing[0]) / 10
        betas = np.geomspace(low, 2 * closing[0], _NUM_BETAS)
    betas = sorted(check_number("betas", beta, positive=True) for beta in betas)
    optima = [linear.optimum(found, beta, noise) for beta in betas]
    return LinearForecast(
        np.array(betas),
        np.array([best.rate for best in optima]),
        np.array([linear.distortion(found, best) for best in optima]),
        np.array([best.num_open for best in optima]),
        np.array([best.noise for best in optima]),
        closing,
    )

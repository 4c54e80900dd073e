"""Principal components of data with missing elements, by EM on the others."""

import dataclasses

import numpy as np

from keras_vae import normalization
from keras_vae.arguments import NAN_IS_MISSING
from keras_vae.arguments import check_count
from keras_vae.checks import Batches
from keras_vae.linear.components import Components
from keras_vae.linear.components import components
from keras_vae.linear.factor_model import FactorModel
from keras_vae.linear.moments import FEW
from keras_vae.linear.moments import Moments
from keras_vae.linear.noises import noise_variances
from keras_vae.linear.noises import unexplained

# EM ends where a turn gains less, nats an example.
_LEAST_GAIN = 1e-6
_TURNS = 500
# Likelihoods whose noise is learned.
_LEARNED = "normal", "laplace"
# Of the largest eigenvalue: smaller directions of what the encoder sees tell nothing.
_SMALLEST_VARIANCE = 1e-6


@dataclasses.dataclass(frozen=True)
class IncompleteComponents(Components):
    """Components of data with missing elements, for which the encoder sees a number.

    Args:
        mean_of_seen: (size,) array, see `Components.seen_mean`.
        of_seen: (size, latent_dim) array that maps what it sees, less its mean, to the
            expected coordinates of y given what is there, by least squares.
        errors: (latent_dim,) array, the mean squared errors of these coordinates.
    """

    mean_of_seen: np.ndarray
    of_seen: np.ndarray
    errors: np.ndarray

    @property
    def seen_mean(self):
        """See `Components.seen_mean`."""
        return self.mean_of_seen

    @property
    def directions(self):
        """See `Components.directions`."""
        return self.of_seen

    def posterior_variances(self, level):
        """See `Components.posterior_variances`.

        By the law of total variance, with the water level theta,

            theta / eigenvalue + (eigenvalue - theta) / eigenvalue^2 error

        which is wide enough for importance sampling. Training narrows it.
        """
        gains = np.maximum(self.eigenvalues - level, 0.0) / np.square(self.eigenvalues)
        return super().posterior_variances(level) + gains * self.errors


def observed_components(
    x, latent_dim, likelihood="normal", own_noises=False, beta=1.0, origin=0.0
):
    """Finds the principal components of data some of whose elements may be missing.

    Where none is, see `components` and `noise_variances`. Else the mean and covariance
    are those that are expected given what is there, under the most likely model: in
    turns, EM finds

        E:  mean = sum_n E[x_n | x_n,there] / N,   C = sum_n Cov[x | x_n,there] / N
        M:  the most likely `FactorModel` of this mean and this covariance

    so that, with a normal likelihood, the `FactorModel` of the result is the maximum of
    the likelihood of what is there. Where nothing is missing it is there at once. Under
    other likelihoods the noise of y is 1, as in `components`. Elements are taken to be
    missing at random given what is there.

    Args:
        x: Array (examples, ...), NaN where an element is missing, or `Batches` of such,
            of which those with a NaN are held in memory.
        latent_dim: Integer.
        likelihood: See `components`.
        own_noises: Boolean, whether each element has a noise of its own, see
            `noise_variances`, which then is the variance of the components.
        beta: Positive float, the weight of the rate, see `noise_variances`.
        origin: Float or array, what the encoder sees of a missing element.

    Returns:
        `Components`, or `IncompleteComponents` if an element is missing.

    Raises:
        ValueError: If the data do not fit, see `components`, or an element is missing
            of more than 2048.
        NoNoiseError: If the units explain all that is there.

    Example:
    >>> x = np.random.default_rng(0).normal(size=(500, 1)) * [3.0, 3.0, 3.0, 1.0]
    >>> x += np.random.default_rng(1).normal(size=x.shape)
    >>> x[np.random.default_rng(2).random(x.shape) < 0.3] = np.nan
    >>> found = kv.linear.observed_components(x, latent_dim=1)
    >>> found.vectors.round(1).ravel().tolist()
    [0.6, 0.6, 0.6, 0.2]

    References:
        [Probabilistic Principal Component Analysis](
        https://doi.org/10.1111/1467-9868.00196), section 3.3;
        [Practical Approaches to Principal Component Analysis in the Presence of Missing
        Values](https://jmlr.org/papers/v11/ilin10a.html)
    """
    latent_dim = check_count("latent_dim", latent_dim)
    x = x if isinstance(x, Batches) else Batches(x, missing="nan")
    rows, x = _with_gaps(x)
    if rows is None:
        moments = Moments.of(x)
        psi = noise_variances(moments, latent_dim, beta) if own_noises else None
        return components(moments, latent_dim, likelihood, variance=psi)
    if rows.shape[1] > FEW:
        raise ValueError(
            f"`x` must have at most {FEW} elements where some are missing, whose "
            f"covariance is needed. Received: examples of {rows.shape[1]} elements"
        )
    turns = _Turns(rows, latent_dim, likelihood, own_noises)
    found, moments = turns.to_the_end()
    if own_noises and beta > 1.0:
        psi = noise_variances(moments, latent_dim, beta)
        found = components(moments, latent_dim, variance=psi)
    return _incomplete(found, turns, origin)


def _with_gaps(x):
    """Returns all rows of data with a missing element, else None, and the data."""
    if x.missing not in NAN_IS_MISSING:
        return None, x
    if x.can_be_read_again:
        if not any(np.isnan(batch).any() for batch in x):
            return None, x
        return _rows(x), x
    rows = _rows(x)
    return (rows if np.isnan(rows).any() else None), Batches(rows, missing=x.missing)


def _rows(x):
    return np.concatenate([batch.reshape(len(batch), -1) for batch in x])


class _Turns:
    """EM on the rows of data with gaps.

    Args:
        rows: Array (examples, size).
        latent_dim: Integer.
        likelihood: See `components`.
        own_noises: Boolean.
    """

    def __init__(self, rows, latent_dim, likelihood, own_noises):
        self.rows = rows
        self.options = latent_dim, likelihood
        self.own_noises = own_noises
        mean, variance = normalization.observed_moments(np.float64(rows))
        psi = np.where(variance > 0, variance, 1.0)
        # Independent elements.
        self.model = FactorModel(mean, np.zeros((len(mean), 1)), psi)

    def to_the_end(self):
        """Returns `Components` and expected `Moments` of the most likely model."""
        best, psi = -np.inf, self.model.psi
        for _ in range(_TURNS):
            nats, moments = self.expected()
            if self.own_noises:
                found = components(moments, *self.options, variance=psi)
                psi = unexplained(found, moments, 1.0)
            else:
                found = components(moments, *self.options)
            learned = self.options[1] in _LEARNED and not self.own_noises
            self.model = FactorModel.of(found, None if learned else 1.0)
            if nats - best < _LEAST_GAIN:
                break
            best = nats
        return found, moments

    def expected(self):
        """Returns log p of what is there, nats an example, and expected `Moments`."""
        model, count = self.model, len(self.rows)
        nats, first, second = 0.0, 0.0, 0.0
        for x in model.blocks(self.rows):
            gaps = np.isnan(x)
            z, covariance, of_rows = model.posterior(x)
            filled = np.where(gaps, z @ model.kernel.T, x - model.mean)
            # The covariance of the missing elements, W_m V W_m' + psi_m.
            roots = model.kernel @ np.linalg.cholesky(covariance)
            roots = np.swapaxes(gaps[:, :, None] * roots, 1, 2).reshape(-1, x.shape[1])
            nats += of_rows.sum()
            first += filled.sum(axis=0)
            second += filled.T @ filled + roots.T @ roots
            second += np.diag(gaps.sum(axis=0) * model.psi)
        shift = first / count
        whole = second / count - np.outer(shift, shift)
        moments = Moments(
            count, model.mean + shift, whole.diagonal().copy(), whole, None, None
        )
        return nats / count, moments


def _incomplete(found, turns, origin):
    """Returns the components with what the encoder makes of what it sees."""
    model, count = turns.model, len(turns.rows)
    directions = found.vectors / np.sqrt(found.variance)[:, None]
    seen, scores, squares, products = 0.0, 0.0, 0.0, 0.0
    for x in model.blocks(turns.rows):
        gaps = np.isnan(x)
        expected = model.posterior(x)[0] @ model.kernel.T
        coordinates = np.where(gaps, expected, x - model.mean) @ directions
        filled = np.where(gaps, np.ravel(origin), x)
        seen, scores = seen + filled.sum(axis=0), scores + coordinates.sum(axis=0)
        squares = squares + filled.T @ filled
        products = products + filled.T @ coordinates
    seen, scores = seen / count, scores / count
    covariance = squares / count - np.outer(seen, seen)
    products = products / count - np.outer(seen, scores)
    inverse = np.linalg.pinv(covariance, rcond=_SMALLEST_VARIANCE, hermitian=True)
    of_seen = inverse @ products
    explained = np.einsum("ij,ij->j", of_seen, products)
    values = {f.name: getattr(found, f.name) for f in dataclasses.fields(Components)}
    return IncompleteComponents(
        **values,
        mean_of_seen=seen,
        of_seen=of_seen,
        errors=np.maximum(found.eigenvalues - explained, 0.0),
    )

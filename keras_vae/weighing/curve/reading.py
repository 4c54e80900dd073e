"""What the weights of a curve mean under the likelihood that was trained."""

import dataclasses
import math
import re

import numpy as np

from keras_vae.distributions import likelihoods
from keras_vae.weighing import units
from keras_vae.weighing.curve.betas import is_noise

_LOG_2PI = math.log(2 * math.pi)


@dataclasses.dataclass(frozen=True)
class Meaning:
    """What a curve must know of its likelihood to read its weights.

    Args:
        likelihood: A likelihood or its name, of all models of the curve.
        event_size: Integer N, or the shape of one event.
        grey: Boolean, whether all values are in [0, 1] and some neither 0 nor 1, of
            which the cross-entropy of a Bernoulli is no likelihood.
        unit_interval: Boolean, whether all values are in [0, 1].
        log_units: Float, nats, by which the distortion exceeds that of standardised
            data, whose likelihood `likelihood` then is.
        share: Float, the share of the elements that are there.

    Example:
    >>> meaning = kv.weighing.Meaning("unit_normal", (8, 8, 1))
    >>> meaning.event_size, meaning.is_noise, meaning.family
    (64, True, 'normal')
    """

    likelihood: object
    event_size: int
    grey: bool = False
    unit_interval: bool = False
    log_units: float = 0.0
    share: float = 1.0

    def __post_init__(self):
        core = likelihoods.get(self.likelihood).core()
        object.__setattr__(self, "likelihood", core)
        object.__setattr__(self, "event_size", units.count_of(self.event_size))

    @classmethod
    def of(cls, likelihood, x):
        """Takes what there is to know from the data.

        Args:
            likelihood: A likelihood or its name.
            x: Array (examples, ...), the targets, NaN where an element is missing.

        Returns:
            A `Meaning`.
        """
        x = np.asarray(x)
        here = ~np.isnan(x)
        known = x[here]
        unit_interval = bool(known.min() >= 0 and known.max() <= 1)
        grey = unit_interval and not np.isin(known, (0, 1)).all()
        shares = here.mean(axis=0)
        log_units = likelihoods.get(likelihood).log_units(x.shape[1:], shares)
        sizes = x.shape[1:] or 1, bool(grey), unit_interval, log_units
        return cls(likelihood, *sizes, float(here.mean()))

    @property
    def observed_size(self):
        """How many numbers of an event are there, on average."""
        return self.share * self.event_size

    @property
    def is_noise(self):
        """Whether beta is a noise: the likelihood is a normal of fixed scale."""
        return is_noise(self.likelihood)

    @property
    def is_grey(self):
        """Whether the loss is a cross-entropy of grey values."""
        return self.grey and isinstance(self.likelihood, likelihoods.Bernoulli)

    @property
    def family(self):
        """Name of the likelihood in words, such as "continuous bernoulli"."""
        name = type(self.likelihood).__name__
        return re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name).lower()

    @property
    def constant(self):
        """Distortion of a decoder without error, nats; 0 where beta is no noise."""
        if not self.is_noise:
            return 0.0
        variance = self.likelihood.scale**2
        nats = self.observed_size / 2 * (_LOG_2PI + math.log(variance))
        return nats + self.log_units

    def weight(self, beta, latent_dim):
        """Returns the `units.Weight` of a beta, or None where it has no other unit."""
        sizes = self.event_size, latent_dim
        return units.of_likelihood(self.likelihood, beta, *sizes)


class Reading:
    """A curve, and what its weights mean under the likelihood that was trained.

    Under a normal of fixed scale s `SSE / (2 s^2) + beta KL` is beta times the negative
    ELBO of a normal with the variance beta s^2, up to a constant: weights are noises,
    each with a bound of its own, and the best of them is where the noise is what the
    decoder leaves over, `beta s^2 = mean squared error`. The cross-entropy of values
    between 0 and 1 is no likelihood; there the means are read as those of a normal with
    the most likely noise. Of all other likelihoods rate + distortion is the bound.

    Args:
        curve: `RateDistortionCurve` with a `meaning`.

    Example:
    >>> curve = kv.weighing.RateDistortionCurve(
    ...     beta=[0.25, 1.0],
    ...     values={"rate": [3.0, 1.0], "distortion": [4.0, 4.5]},
    ...     active_units=[2, 1],
    ...     latent_dim=2,
    ...     num_examples=100,
    ...     meaning=kv.weighing.Meaning("unit_normal", 4),
    ... )
    >>> curve.reading.sigma
    array([0.5, 1. ])
    >>> curve.reading.error.round(3)
    array([0.162, 0.412])

    References:
        [Understanding disentangling in beta-VAE](https://arxiv.org/abs/1804.03599);
        [Simple and Effective VAE Training with Calibrated
        Decoders](https://arxiv.org/abs/2006.13202)
    """

    def __init__(self, curve):
        self.curve, self.meaning = curve, curve.meaning

    @property
    def is_noise(self):
        """See `Meaning.is_noise`."""
        return self.meaning.is_noise

    @property
    def is_grey(self):
        """See `Meaning.is_grey`."""
        return self.meaning.is_grey

    # === Noise ===

    @property
    def error(self):
        """(points,) array, squared error of a number, its mean; None without noise."""
        if self.is_noise:
            return self.error_of(self.curve.distortion)
        return self.curve.squared_error if self.is_grey else None

    @property
    def sigma(self):
        """(points,) array, the noise of each weight in units of x, or None."""
        if self.is_noise:
            return np.sqrt(self.noise_of(self.curve.beta))
        return np.sqrt(self.error) if self.is_grey else None

    def noise_of(self, beta):
        """Returns the variance that a weight is, beta s^2."""
        return beta * self.meaning.likelihood.scale**2

    def error_of(self, distortion):
        """Returns the mean squared error of a distortion in nats under the normal."""
        variance = self.meaning.likelihood.scale**2
        constant = _LOG_2PI + math.log(variance)
        nats = distortion - self.meaning.log_units
        return (2 * nats / self.meaning.observed_size - constant) * variance

    def distortion_of(self, error):
        """Returns the distortion in nats of a mean squared error under the normal."""
        variance = self.meaning.likelihood.scale**2
        constant = _LOG_2PI + math.log(variance)
        nats = self.meaning.observed_size / 2 * (error / variance + constant)
        return nats + self.meaning.log_units

    def without_constant(self, distortion):
        """Returns SSE / (2 s^2) of a distortion under the normal, else the distortion.

        Args:
            distortion: Array, nats, as measured.
        """
        return distortion - self.meaning.constant

    # === Bound ===

    @property
    def bound(self):
        """(points,) array, -ELBO of the likelihood that each weight stands for, nats.

        Of a normal the noise of each weight is its own; of grey values that of a normal
        with the most likely noise.
        """
        curve = self.curve
        return self._bound(curve.rate, curve.distortion, self.error, curve.beta)

    @property
    def bound_replicates(self):
        """(resamples, points) array of `bound`, or None where there are none."""
        values = self.curve.replicates
        if self.is_grey or values is None:
            return None
        error = self.error_of(values["distortion"]) if self.is_noise else None
        return self._bound(values["rate"], values["distortion"], error, self.curve.beta)

    def _bound(self, rate, distortion, error, beta):
        if error is None:
            return rate + distortion
        noise = self.noise_of(beta) if self.is_noise else error
        size = self.meaning.observed_size
        nats = size / 2 * (np.log(noise) + error / noise + _LOG_2PI)
        return rate + nats + self.meaning.log_units

    def likeliest(self, error):
        """Returns where the squared error is the noise.

        Args:
            error: (points,) array, mean squared error at each weight.

        Returns:
            Float, a weight; the end of the curve next to it where it is at none.
        """
        betas = self.curve.beta
        places = np.log(betas)
        error = error / self.meaning.likelihood.scale**2
        heights = np.log(np.maximum(error, 1e-30)) - places
        falls = np.flatnonzero((heights[:-1] > 0) & (heights[1:] <= 0))
        if not falls.size:
            return betas[-1 if heights[-1] > 0 else 0]
        i = falls[0]
        share = heights[i] / (heights[i] - heights[i + 1])
        return float(np.exp(places[i] + share * (places[i + 1] - places[i])))

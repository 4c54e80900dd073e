"""Some examples, coded by a model and decoded from any latents."""

import dataclasses
import functools

import numpy as np
import tensorflow as tf

from keras_vae import _keras
from keras_vae import random
from keras_vae.distributions import masks
from keras_vae.distributions import tfd
from keras_vae.distributions.likelihoods import Likelihood
from keras_vae.objectives import LatentEstimate
from keras_vae.weighing import measuring

_BATCH_SIZE = 256


@dataclasses.dataclass
class DecodedHead:
    """One output of a model for all examples.

    All but the likelihood are of standardised data, where that standardises them.

    Args:
        likelihood: `Likelihood`.
        target: Array (examples, ...).
        residual: Array (examples, ...), target minus mean, 0 for what is left out.
        variance: Array (examples, ...), of the likelihood.
        observed: Boolean array (examples, ...), False for elements left out.
    """

    likelihood: Likelihood
    target: np.ndarray
    residual: np.ndarray
    variance: np.ndarray
    observed: np.ndarray


@dataclasses.dataclass
class Decoded:
    """What a model makes of latents.

    Args:
        distortion: Array (examples,), nats, the sum over the outputs.
        heads: List of `DecodedHead`s, without those of classes, which have no error.
    """

    distortion: np.ndarray
    heads: list


class Sample:
    """Examples of a subject with their codes. Use it in a `StatelessScope`.

    Args:
        subject: `Subject`.
        num_examples: Integer, how many of its examples are taken.
        seed: Integer, of the noise.
        spread: Boolean, whether the examples are spread over all, or the first ones.
    """

    def __init__(self, subject, num_examples, seed, spread=False):
        self.subject = subject
        length = len(tf.nest.flatten(subject.x)[0])
        step = max(length // num_examples, 1) if spread else 1
        rows = slice(0, step * num_examples, step)
        self.x = measuring.rows_of(subject.x, rows)
        self.targets = [np.asarray(target[rows]) for target in subject.targets]
        self.size = len(tf.nest.flatten(self.x)[0])
        self.codes = [
            Code(subject, index, random.fork(random.key(seed), 1 + index))
            for index in range(len(subject.variables))
        ]
        for start, x_batch, _ in measuring.batches(self.x, None, _BATCH_SIZE):
            shift = tf.constant([0, start], tf.int64)
            draws = subject.draw(x_batch, [code.key + shift for code in self.codes])
            for code, (params, z) in zip(self.codes, draws, strict=True):
                code.take(params, z, x_batch)
        for code in self.codes:
            code.finish()

    @functools.cached_property
    def drawn(self):
        """`Decoded` from the draws of z."""
        return self.decode([code.z for code in self.codes])

    @property
    def rate(self):
        """Array (examples,), nats."""
        return np.sum([code.rate for code in self.codes], axis=0)

    @property
    def negative_elbo(self):
        """Array (examples,), nats."""
        return self.drawn.distortion + self.rate

    def decode(self, latents):
        """Returns `Decoded`.

        Args:
            latents: List of arrays (examples, latent), one a variable.
        """
        columns = []
        for start, x, targets in self._batches():
            rows = slice(start, start + _BATCH_SIZE)
            params = self.subject.decode(x, [tf.constant(z[rows]) for z in latents])
            columns.append(
                [
                    self._score(likelihood, x, *pair)
                    for likelihood, *pair in zip(
                        self.subject.likelihoods, targets, params, strict=True
                    )
                ]
            )
        heads, distortion = [], 0.0
        by_head = zip(*columns, strict=True)
        known = zip(self.subject.likelihoods, self.targets, by_head, strict=True)
        for likelihood, target, parts in known:
            nats, *whole = map(np.concatenate, zip(*parts, strict=True))
            distortion = distortion + nats
            if whole:
                target = likelihood.standardize(target)
                heads.append(DecodedHead(likelihood, target, *whole))
        return Decoded(distortion, heads)

    def activation(self):
        """Names the activation that an output has passed before logits, or None."""
        rows = slice(0, _BATCH_SIZE)
        latents = [tf.constant(code.z[rows]) for code in self.codes]
        outputs = self.subject.decode(measuring.rows_of(self.x, rows), latents)
        heads = zip(self.subject.likelihoods, outputs, self.targets, strict=True)
        names = (
            likelihood.activation_of(params, target[rows])
            for likelihood, params, target in heads
        )
        return next(filter(None, names), None)

    def _batches(self):
        return measuring.batches(self.x, self.targets, _BATCH_SIZE)

    def _score(self, likelihood, x, y, params):
        """Returns the distortion, and error, variance and what is observed, if any."""
        mask, options = self.subject.mask(x, y, params), {}
        if mask is not None:
            options["mask"] = mask = masks.event_mask(mask, tf.constant(y))
        nats = -likelihood.log_prob(params[:, None], y, **options)[:, 0].numpy()
        core = likelihood.core()
        try:
            variance = core.distribution(params, 1).variance().numpy()
        except NotImplementedError:
            return (nats,)  # Classes have none.
        observed = np.ones(y.shape, bool) if mask is None else mask.numpy()
        target = likelihood.standardize(np.asarray(y, np.float64))
        residual = np.where(observed, target - core.mean(params).numpy(), 0.0)
        return nats, residual, np.asarray(variance, np.float64), observed


class Code:
    """Posterior, draw and rate of one latent variable for all examples.

    Attributes:
        variable: `LatentVariable`.
        is_free: Boolean, see `Subject.is_free`.
        prior_sees_z: Boolean, see `LatentEstimate`.
        has_units: Boolean, whether its units are independent normals, as the prior's.
    """

    def __init__(self, subject, index, key):
        self.variable = subject.variables[index]
        self.objective = subject.objectives[index]
        self._subject, self._index = subject, index
        self._prior, self._moments = None, []
        self.key = key
        self.columns = []

    def take(self, params, z, x):
        """Takes up the parameters and draws of a batch of inputs x."""
        variable = self.variable
        if self._prior is None or self._subject.has_conditional_prior:
            self._prior = self._subject.prior(self._index, x)
            moments = [self._prior.mean(), self._prior.stddev()]
            if self._subject.has_conditional_prior:
                # Of a hierarchy only the prior of the top is the same for all.
                moments = [tf.broadcast_to(value, z[:, 0].shape) for value in moments]
            self._moments.append([value.numpy() for value in moments])
        self.is_free = self._subject.is_free(self._index)
        self.prior_sees_z = self._subject.prior_sees_z(self._index)
        # A mixture has no units of its own, nor has what flows mix.
        is_normal = variable.posterior.is_normal
        self.has_units = is_normal and isinstance(self._prior, tfd.Independent)
        posterior = variable.posterior.distribution(params)
        mean, stddev = variable.posterior.mean_and_stddev(params)
        signal = self._subject.signal(self._index, mean, self._prior)
        estimate = LatentEstimate(
            posterior, self._prior, z, prior_sees_z=self.prior_sees_z
        )
        kl = tf.fill(mean.shape, np.nan)
        if self.has_units:
            kl = estimate.rate_per_unit
        rate = self.objective.rate(estimate)
        mask = _keras.mask_of(params)
        if mask is not None:
            mask = tf.cast(mask, tf.bool)
            rate = tf.where(mask, rate, 0.0)
            kl = tf.where(mask[:, None], kl, 0.0)
        column = (params, mean, stddev, z[:, 0], kl, rate, signal)
        self.columns.append([value.numpy() for value in column])

    def finish(self):
        """Puts the batches together."""
        whole = [np.concatenate(parts) for parts in zip(*self.columns, strict=True)]
        self.params, self.mean, self.stddev, self.z, *whole = whole
        self.kl, self.rate, self.signal = whole
        # (units,), or (examples, units) of a prior that takes conditions.
        self.prior_mean, self.prior_stddev = map(
            np.concatenate, zip(*self._moments, strict=True)
        )

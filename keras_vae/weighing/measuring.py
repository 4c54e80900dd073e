"""Evaluation of a model on data: no weight, state or noise of the model changes."""

import dataclasses

import keras
import numpy as np
import tensorflow as tf

from keras_vae import checks
from keras_vae import metrics
from keras_vae import random

# Number of latents that are decoded at once.
_DECODED = 2**13
# Number of examples whose pairs give the mutual information.
_PAIRED = 512


@dataclasses.dataclass
class ELBOTerms:
    """Terms of the ELBO of each example, and what the latents say of it.

    Args:
        rate: (examples,) float64 array, nats.
        distortion: (examples,) float64 array, nats.
        signals: (examples, latent) array, see `VAE.signals`.
        log_likelihood: (examples,) float64 array, nats, or None.
        mutual_information: `Information`, or None where it is not known.
    """

    rate: np.ndarray
    distortion: np.ndarray
    signals: np.ndarray
    log_likelihood: np.ndarray | None
    mutual_information: "Information | None"


@dataclasses.dataclass
class Information:
    """Mutual information of x and z among some examples.

    Args:
        value: Float, nats.
        limit: Float, log of the number of examples. The value cannot exceed it.
    """

    value: float
    limit: float

    @property
    def is_measured(self):
        """Whether the value is more than a nat below its limit."""
        return self.value < self.limit - 1


def split(model, data, name="data"):
    """Returns x and y of `data`, checked.

    Args:
        model: A `keras_vae.VAE`. It is built if it is not yet.
        data: Array x (examples, ...), dict with conditions, or tuple (x, y), as for
            `fit`; of a `SentenceVAE` also strings.
        name: Name of `data` in errors.

    Returns:
        x, a structure of arrays, and y, an array, or None if x is the target.

    Raises:
        ValueError: If the data cannot be encoded or scored.
    """
    x, y = unpack(model.as_numbers(data), name)
    checked = checks.check_data(model, x, y, name=name)
    x, y = checked["x"], checked["y"]
    if y is None and model.conditions:
        y = model.conditions.main(x)
    return x, y


def unpack(data, name="data"):
    """Returns x and y of an array x or a tuple (x,) or (x, y)."""
    parts = data if isinstance(data, tuple) else (data,)
    if not 1 <= len(parts) <= 2 or any(
        not hasattr(part, "shape") for part in tf.nest.flatten(parts)
    ):
        raise ValueError(
            f"`{name}` must be an array of examples, or a tuple of arrays (x, y). "
            f"Received: {type(data).__name__}"
        )
    return (*parts, None)[:2]


def take_weighted(x, y, sample_weight, limit):
    """Returns examples in proportion to their weights.

    Each example is there as often as its weight says, in units of the smallest weight
    above 0, or as nearly as `limit` examples can say it.

    Args:
        x: Array (examples, ...) or structure of arrays.
        y: The same for targets, or None.
        sample_weight: Array (examples,), as for `fit`.
        limit: Integer, the most examples.

    Returns:
        x and y.

    Raises:
        ValueError: If the weights do not fit.
    """
    checks.check_weights(sample_weight, len(tf.nest.flatten(x)[0]))
    weights = np.asarray(sample_weight, np.float64).ravel()
    if not weights.any():
        raise ValueError(
            "`sample_weight` must be above 0 for some examples. Received: only zeros"
        )
    ends = np.cumsum(weights) / weights[weights > 0].min()
    number = int(np.clip(round(ends[-1]), 2, limit))
    places = (np.arange(number) + 0.5) * ends[-1] / number
    rows = np.searchsorted(ends, places)

    def take(value):
        return None if value is None else np.asarray(checks.as_array(value))[rows]

    return tf.nest.map_structure(take, x), tf.nest.map_structure(take, y)


def batches(x, y, size):
    """Yields (index of the first example, x, y) of consecutive batches."""
    for start in range(0, len(tf.nest.flatten(x)[0]), size):
        x_batch, y_batch = (rows_of(v, slice(start, start + size)) for v in (x, y))
        yield start, x_batch, y_batch


def rows_of(values, rows):
    """Returns some examples of a structure of arrays, or None of None."""
    return tf.nest.map_structure(lambda v: None if v is None else v[rows], values)


def elbo_terms(model, x, y, num_samples, importance_samples, seed):
    """Evaluates the terms of the ELBO on all examples.

    Args:
        model: A `keras_vae.VAE`.
        x: Structure of arrays (examples, ...).
        y: Array or None.
        num_samples: Integer, draws of z per example.
        importance_samples: Integer, draws of z for the likelihood, 0 for none.
        seed: Integer.

    Returns:
        `ELBOTerms`.
    """
    size = max(1, _DECODED // max(num_samples, 16))
    columns = []
    # Layers in this scope keep no losses and no new state.
    with keras.StatelessScope():
        for start, *batch in batches(x, x if y is None else y, size):
            estimate = model.estimate(*batch, num_samples, random.key(seed, start))
            column = (
                model.objective.rate(estimate),
                estimate.distortion,
                model.signals(estimate.latents, batch[0]),
            )
            columns.append([np.asarray(v, np.float64) for v in column])
        _, *batch = next(batches(x, x if y is None else y, _PAIRED))
        first = model.estimate(*batch, 1, random.key(seed))
    whole = [np.concatenate(parts) for parts in zip(*columns, strict=True)]
    log_likelihood = None
    if importance_samples:
        # Each model would be compiled by itself.
        settings = {"seed": seed, "jit_compile": False, "verbose": 0}
        log_likelihood = model.log_likelihood(x, y, importance_samples, **settings)
    information = information_of(
        [latent.posterior for latent in first.latents],
        [latent.z[:, 0] for latent in first.latents],
        [latent.posterior.batch_shape.rank == 1 for latent in first.latents],
        first.latents[0].prior_sees_z,
    )
    return ELBOTerms(*whole, log_likelihood, information)


def information_of(posteriors, latents, is_free, drawn_upwards):
    """Measures the mutual information of examples and all latents.

    Args:
        posteriors: List of `tfd.Distribution`s q(z|x), one for each latent variable, of
            batch shape (examples,) where it is free.
        latents: List of tensors (examples, latent), their draws.
        is_free: List of booleans, whether a variable depends on x alone. Free ones are
            independent given x.
        drawn_upwards: Boolean, whether the others know x by the free ones alone.

    Returns:
        `Information`, or None if others know x by themselves: q(z|x) of all is then no
        density that pairs of examples share.
    """
    if not (all(is_free) or drawn_upwards):
        return None
    posteriors, latents = (
        [value for value, free in zip(values, is_free, strict=True) if free]
        for values in (posteriors, latents)
    )
    size = min(_PAIRED, latents[0].shape[0])
    # A flow cannot be sliced.
    posteriors = [q[:size] if q.batch_shape[0] > size else q for q in posteriors]
    densities = np.zeros((size, size))
    for posterior, z in zip(posteriors, latents, strict=True):
        for i in range(0, size, 64):
            rows = tf.cast(z[i : min(i + 64, size), None], tf.float32)
            densities[i : i + 64] += posterior.log_prob(rows).numpy()
    return Information(metrics.mutual_information(densities), float(np.log(size)))

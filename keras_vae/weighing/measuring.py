"""A model looked at on data, without a trace: no weight, state or noise moves."""

import dataclasses

import keras
import numpy as np
import tensorflow as tf

from keras_vae import checks
from keras_vae import metrics
from keras_vae import random

# Latents that are decoded at once, and examples among which the information is
# measured: all pairs of them are compared.
_DECODED = 2**13
_PAIRED = 512


@dataclasses.dataclass
class Terms:
    """The terms of the ELBO of each example, and the moments of its posterior.

    Args:
        rate: (examples,) float64 array, nats.
        distortion: (examples,) float64 array, nats.
        mean: (examples, latent) array, of q(z|x).
        stddev: (examples, latent) array.
        log_likelihood: (examples,) float64 array, nats, or None.
        mutual_information: `Information`.
    """

    rate: np.ndarray
    distortion: np.ndarray
    mean: np.ndarray
    stddev: np.ndarray
    log_likelihood: np.ndarray | None
    mutual_information: "Information"


@dataclasses.dataclass
class Information:
    """Mutual information of x and z among some examples.

    Args:
        value: Float, nats.
        limit: Float, log of the number of examples, which the value cannot exceed.
    """

    value: float
    limit: float

    @property
    def is_measured(self):
        """Whether the value is far enough from its limit to say more than that."""
        return self.value < self.limit - 1


def split(model, data):
    """Returns x and y of `data`, checked.

    Args:
        model: A `keras_vae.VAE`, which is built if need be.
        data: Array x (examples, ...) or tuple (x, y), as for `fit`.

    Returns:
        x, a structure of arrays, and y, an array or None.

    Raises:
        ValueError: If the data cannot be encoded or scored.
    """
    x, y = unpack(data)
    checked = checks.check_data(model, x, y, name="data")
    return checked["x"], checked["y"]


def unpack(data):
    """Returns x and y of an array x or a tuple (x,) or (x, y)."""
    parts = data if isinstance(data, tuple) else (data,)
    if not 1 <= len(parts) <= 2 or any(
        not hasattr(part, "shape") for part in tf.nest.flatten(parts)
    ):
        raise ValueError(
            "`data` must be an array of examples, or a tuple (x, y) of such. "
            f"Received: {type(data).__name__}"
        )
    return (*parts, None)[:2]


def batches(x, y, size):
    """Yields (start, x, y) of consecutive examples."""
    for start in range(0, len(tf.nest.flatten(x)[0]), size):
        rows = slice(start, start + size)
        taken = tf.nest.map_structure(lambda v, rows=rows: v[rows], x)
        yield start, taken, None if y is None else y[rows]


def measure(model, x, y, num_samples, importance_samples, seed):
    """Evaluates the terms of a model on all examples.

    Args:
        model: A `keras_vae.VAE`.
        x: Structure of arrays (examples, ...).
        y: Array or None.
        num_samples: Integer, draws of z per example.
        importance_samples: Integer, draws of z for the likelihood, 0 for none.
        seed: Integer.

    Returns:
        `Terms`.
    """
    size = max(1, _DECODED // max(num_samples, 16))
    columns = []
    # Layers called in this scope neither keep losses nor move their state.
    with keras.StatelessScope():
        for start, *batch in batches(x, x if y is None else y, size):
            estimate = model.estimate(*batch, num_samples, random.key(seed, start))
            column = (
                model.objective.rate(estimate),
                estimate.distortion,
                estimate.posterior.mean(),
                estimate.posterior.stddev(),
            )
            columns.append([np.asarray(v, np.float64) for v in column])
        _, *batch = next(batches(x, x if y is None else y, _PAIRED))
        first = model.estimate(*batch, 1, random.key(seed))
    whole = [np.concatenate(parts) for parts in zip(*columns, strict=True)]
    log_likelihood = None
    if importance_samples:
        # A model of another weight would be compiled anew.
        settings = {"seed": seed, "jit_compile": False, "verbose": 0}
        log_likelihood = model.log_likelihood(x, y, importance_samples, **settings)
    information = information_of([first.posterior], [first.z[:, 0]])
    return Terms(*whole, log_likelihood, information)


def information_of(posteriors, latents):
    """Measures the mutual information of examples and latents.

    Args:
        posteriors: List of `tfd.Distribution`s q(z|x) of batch shape (examples,), of
            latent variables that are independent given x.
        latents: List of tensors (examples, latent), drawn from them.

    Returns:
        `Information`.
    """
    size = min(_PAIRED, latents[0].shape[0])
    densities = np.zeros((size, size))
    for posterior, z in zip(posteriors, latents, strict=True):
        for i in range(0, size, 64):
            rows = tf.cast(z[i : min(i + 64, size), None], tf.float32)
            densities[i : i + 64] += posterior[:size].log_prob(rows).numpy()
    return Information(metrics.mutual_information(densities), float(np.log(size)))

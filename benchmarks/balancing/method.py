"""A way of balancing KL and reconstruction, and what it is tried on."""

import typing
from collections.abc import Callable

import numpy as np

import keras_vae as kv


class Problem(typing.NamedTuple):
    """What all methods are trained on, and with which budget."""

    train: np.ndarray
    validation: np.ndarray
    test: np.ndarray
    hidden: list
    latent_dim: int
    epochs: int
    batch_size: int
    learning_rate: float
    importance_samples: int
    nll_images: int
    rate_target: float
    distortion_target: float
    seed: int


class Method(typing.NamedTuple):
    """A row of the table.

    Args:
        name: String, the key of the row.
        parts: Callable, `Problem` -> the arguments of `kv.VAE` that make the method.
        callbacks: Callable, `Problem` -> callbacks of `fit`.
        target: "rate" or "distortion" where the method is led to one, or None.
        note: String, what theory says of the row, or "".
        likelihood: Callable that returns p(x|z).
        model: Class of the model.
        decoder: Callable that takes the arguments of `kv.networks.mlp_decoder`.
    """

    name: str
    parts: Callable
    callbacks: Callable = lambda problem: []
    target: str | None = None
    note: str = ""
    likelihood: Callable = kv.distributions.Bernoulli
    model: type = kv.VAE
    decoder: Callable = kv.networks.mlp_decoder

    @property
    def comparable(self):
        """Whether its nats are probabilities of binary images, as those of most."""
        return self.likelihood is kv.distributions.Bernoulli

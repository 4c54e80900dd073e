"""The terms of a loss, as measured on one batch."""

import dataclasses

import numpy as np

from keras_vae.distributions.likelihoods import Likelihood
from keras_vae.weighing.auditing.probe import Added
from keras_vae.weighing.auditing.probe import Seen


@dataclasses.dataclass(frozen=True)
class MeasuredKL:
    """A KL and its coefficient in the loss.

    Args:
        key: Hashable, equal for the same KL on another batch.
        source: Words that name the layers that put out the posterior.
        form: See `report.KL`.
        latent_dim: Integer.
        coefficient: Float.
        residual: Float, the relative size of the gradient that is no multiple of the
            KL's; infinite if the KL is at its minimum and has no gradient.
        asked: The weight that the layer was given, or None.
        places: Tuple of (`Seen.place`, `Seen.is_output`) of mean and scale, or ().
        mean: Array (batch, ...), the posterior's mean, or None.
        terms: Tuple of (`Added`, coefficient of the KL in it).
    """

    key: object
    source: str
    form: str
    latent_dim: int
    coefficient: float
    residual: float = 0.0
    asked: float | None = None
    places: tuple = ()
    mean: np.ndarray | None = None
    terms: tuple = ()


@dataclasses.dataclass(frozen=True)
class MeasuredReconstruction:
    """A reconstruction that was recognised, and its coefficient in the loss.

    Args:
        seen: The output, a `Seen`.
        form: See `report.Reconstruction`.
        coefficient: Float.
        event_shape: Shape of one reconstruction.
        loss_index: Index of the differentiated loss that holds it.
        source: String, the name of the output, or of the layer that puts it out.
        activation: "sigmoid" or "softmax" if the output has passed one, or "".
        likelihood: `Likelihood` that the output trains with, or None.
    """

    seen: Seen
    form: str
    coefficient: float
    event_shape: tuple
    loss_index: int
    source: str
    activation: str
    likelihood: Likelihood | None

    @property
    def takes_logits(self):
        """Whether the loss takes the output for logits."""
        if self.form == "likelihood":
            return bool(self.likelihood.invalid_activations)
        return self.form == "bernoulli_logits" and not self.seen.is_logits


@dataclasses.dataclass(frozen=True)
class MeasuredLoss:
    """A loss that `add_loss` got, and its coefficient in the loss.

    Args:
        added: `Added`.
        weight: Float, in the loss that the step differentiates.
        computed: Float, in the result of `compute_loss`, or None.
    """

    added: Added
    weight: float
    computed: float | None


@dataclasses.dataclass(frozen=True)
class BatchMeasurement:
    """All terms of one batch.

    Args:
        size: Integer, the number of examples.
        reconstructions: Tuple with a `MeasuredReconstruction` of each head, or None.
        heads: Tuple of the heads' names.
        detached: Tuple of the `Seen.place`s of the outputs without a gradient while
            the KLs were measured.
        loss_index: Index of the differentiated loss in which they were measured.
        loss_shape: Shape of that loss.
        added: Tuple of `MeasuredLoss`es.
        kls: Tuple of `MeasuredKL`s.
        reached: Whether a gradient reached any tensor that may be a posterior's.
    """

    size: int
    reconstructions: tuple
    heads: tuple
    detached: tuple
    loss_index: int
    loss_shape: tuple
    added: tuple
    kls: tuple
    reached: bool

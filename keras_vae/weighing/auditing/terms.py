"""The terms of a loss, as measured on one batch."""

import dataclasses

import numpy as np

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
    """

    seen: Seen
    form: str
    coefficient: float
    event_shape: tuple
    loss_index: int


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
        reconstruction: `MeasuredReconstruction`, or None.
        detached: `Seen.place` of the output without a gradient while the KLs were
            measured, or None.
        loss_index: Index of the differentiated loss in which they were measured.
        loss_shape: Shape of that loss.
        added: Tuple of `MeasuredLoss`es.
        kls: Tuple of `MeasuredKL`s.
        reached: Whether a gradient reached any tensor that may be a posterior's.
    """

    size: int
    reconstruction: MeasuredReconstruction | None
    detached: tuple | None
    loss_index: int
    loss_shape: tuple
    added: tuple
    kls: tuple
    reached: bool

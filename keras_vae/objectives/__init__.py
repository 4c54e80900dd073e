"""What is optimised, in nats."""

from keras_vae import serialization
from keras_vae.objectives.capacity import Capacity
from keras_vae.objectives.divergences import MaximumMeanDiscrepancy
from keras_vae.objectives.divergences import SkewJensenShannon
from keras_vae.objectives.elbo import ELBO
from keras_vae.objectives.estimate import Estimate
from keras_vae.objectives.free_bits import FreeBits
from keras_vae.objectives.importance import ImportanceWeighted
from keras_vae.objectives.reduction import BatchMean
from keras_vae.objectives.targets import DistortionTarget
from keras_vae.objectives.targets import RateTarget
from keras_vae.objectives.total_correlation import DisentangledInferredPrior
from keras_vae.objectives.total_correlation import TotalCorrelation

_MAKERS = {
    "elbo": ELBO,
    "importance_weighted": ImportanceWeighted,
    "capacity": Capacity,
    "free_bits": FreeBits,
    "mmd": MaximumMeanDiscrepancy,
}


def get(identifier):
    """Returns the objective that `identifier` names.

    Args:
        identifier: "elbo", "importance_weighted", "capacity", "free_bits" or "mmd",
            with their default arguments, an objective or its serialized config.

    Returns:
        An instance of `ELBO`, of which all objectives are subclasses.

    Raises:
        ValueError: If `identifier` is none of these.

    Example:
    >>> kv.objectives.get("importance_weighted").num_samples
    5
    """
    return serialization.get(identifier, ELBO, _MAKERS, "objective")


__all__ = [
    "ELBO",
    "BatchMean",
    "Capacity",
    "DisentangledInferredPrior",
    "DistortionTarget",
    "Estimate",
    "FreeBits",
    "ImportanceWeighted",
    "MaximumMeanDiscrepancy",
    "RateTarget",
    "SkewJensenShannon",
    "TotalCorrelation",
    "get",
]

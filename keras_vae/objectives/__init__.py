"""What is optimised, in nats."""

from keras_vae import serialization
from keras_vae.objectives.elbo import ELBO
from keras_vae.objectives.estimate import Estimate
from keras_vae.objectives.importance import ImportanceWeighted
from keras_vae.objectives.reduction import BatchMean

_MAKERS = {"elbo": ELBO, "importance_weighted": ImportanceWeighted}


def get(identifier):
    """Returns the objective that `identifier` names.

    Args:
        identifier: "elbo", "importance_weighted", an objective or its serialized
            config.

    Returns:
        An instance of `ELBO`, of which all objectives are subclasses.

    Raises:
        ValueError: If `identifier` is none of these.

    Example:
    >>> kv.objectives.get("importance_weighted").num_samples
    5
    """
    return serialization.get(identifier, ELBO, _MAKERS, "objective")


__all__ = ["ELBO", "BatchMean", "Estimate", "ImportanceWeighted", "get"]

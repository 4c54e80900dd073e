"""Objectives of training, in nats."""

import functools

from keras_vae import serialization
from keras_vae.objectives.capacity import Capacity
from keras_vae.objectives.divergences import MaximumMeanDiscrepancy
from keras_vae.objectives.divergences import SkewJensenShannon
from keras_vae.objectives.elbo import ELBO
from keras_vae.objectives.estimate import Estimate
from keras_vae.objectives.estimate import LatentEstimate
from keras_vae.objectives.free_bits import FreeBits
from keras_vae.objectives.importance import ImportanceWeighted
from keras_vae.objectives.reduction import BatchMean
from keras_vae.objectives.targets import DistortionTarget
from keras_vae.objectives.targets import RateTarget
from keras_vae.objectives.total_correlation import DisentangledInferredPrior
from keras_vae.objectives.total_correlation import TotalCorrelation


def _beta_vae(kl_weight, **kwargs):
    """Requires a weight, because no default suits all data."""
    return ELBO(kl_weight, **kwargs)


_MAKERS = {
    "elbo": ELBO,
    "importance_weighted": ImportanceWeighted,
    "capacity": Capacity,
    "free_bits": FreeBits,
    "mmd": MaximumMeanDiscrepancy,
    "skew_jensen_shannon": SkewJensenShannon,
    # The names in the papers.
    "beta_vae": _beta_vae,
    "beta_tcvae": TotalCorrelation,
    "control_vae": RateTarget,
    "dip_vae_i": functools.partial(DisentangledInferredPrior, kind="i"),
    "dip_vae_ii": functools.partial(DisentangledInferredPrior, kind="ii"),
    "geco": DistortionTarget,
    "info_vae": MaximumMeanDiscrepancy,
    "iwae": ImportanceWeighted,
    "wae_mmd": functools.partial(MaximumMeanDiscrepancy, kl_weight=0.0),
}


def get(identifier):
    """Returns the objective that `identifier` names.

    Args:
        identifier: "elbo", "importance_weighted" or "iwae", "capacity", "free_bits",
            "mmd" or "info_vae", "wae_mmd", "skew_jensen_shannon", "dip_vae_i",
            "dip_vae_ii"; an objective; or its serialized config. Names that need an
            argument are passed in a dict such as
            `{"class_name": "beta_vae", "config": {"kl_weight": 4.0}}`: "beta_vae"
            (kl_weight), "beta_tcvae" (dataset_size), "control_vae" (rate, nats) and
            "geco" (distortion, nats).

    Returns:
        An instance of `ELBO`, the base class of all objectives.

    Raises:
        ValueError: If `identifier` is none of these, or lacks an argument.

    Example:
    >>> kv.objectives.get("iwae").num_samples
    5
    >>> kv.objectives.get({"class_name": "geco", "config": {"distortion": 80.0}}).decay
    0.99
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
    "LatentEstimate",
    "MaximumMeanDiscrepancy",
    "RateTarget",
    "SkewJensenShannon",
    "TotalCorrelation",
    "get",
]

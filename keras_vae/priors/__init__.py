"""Priors p(z): fixed, learned, or made from the posterior."""

from keras_vae import serialization
from keras_vae.priors.conditional import Conditional
from keras_vae.priors.flow import Flow
from keras_vae.priors.gaussian_mixture import GaussianMixture
from keras_vae.priors.learned_normal import LearnedNormal
from keras_vae.priors.prior import Prior
from keras_vae.priors.standard_normal import StandardNormal
from keras_vae.priors.vamp_prior import VampPrior

__all__ = [
    "Conditional",
    "Flow",
    "GaussianMixture",
    "LearnedNormal",
    "Prior",
    "StandardNormal",
    "VampPrior",
    "get",
]


def get(identifier):
    """Returns the prior that `identifier` names.

    Args:
        identifier: "standard_normal", "learned_normal", "conditional" (a mean and a
            scale for each class), "gaussian_mixture" (10 components), "vamp_prior" (500
            components), "flow", a `Prior` or its serialized config.

    Returns:
        A `Prior`. It is not built if it was made from a name.

    Raises:
        ValueError: If `identifier` is none of these.

    Example:
    >>> kv.priors.get("vamp_prior").num_components
    500
    """
    return serialization.get(identifier, Prior, _MAKERS, "prior")


_MAKERS = {
    "standard_normal": StandardNormal,
    "learned_normal": LearnedNormal,
    "conditional": Conditional,
    "gaussian_mixture": GaussianMixture,
    "flow": Flow,
    "vamp_prior": VampPrior,
}

"""Likelihoods p(x|z): what a decoder's output means, and how it is scored."""

from keras_vae import serialization
from keras_vae.distributions.likelihoods.categorical import Categorical
from keras_vae.distributions.likelihoods.likelihood import Likelihood
from keras_vae.distributions.likelihoods.location_scale import Laplace
from keras_vae.distributions.likelihoods.location_scale import Normal
from keras_vae.distributions.likelihoods.unit_interval import Bernoulli
from keras_vae.distributions.likelihoods.unit_interval import ContinuousBernoulli

__all__ = [
    "Bernoulli",
    "Categorical",
    "ContinuousBernoulli",
    "Laplace",
    "Likelihood",
    "Normal",
    "get",
]


def get(identifier):
    """Returns the likelihood that `identifier` names.

    Args:
        identifier: "bernoulli", "continuous_bernoulli", "normal" (one learned scale),
            "optimal_normal" (scale="optimal"), "unit_normal" (scale=1.0), "laplace"
            (one learned scale), a `Likelihood` or its serialized config.

    Returns:
        A `Likelihood`.

    Raises:
        ValueError: If `identifier` is none of these, or "categorical", which has no
            default number of classes.

    Example:
    >>> kv.distributions.likelihoods.get("optimal_normal").scale
    'optimal'
    """
    if identifier == "categorical":
        raise ValueError(
            "`likelihood` cannot be a string for this family, which has to know "
            "`num_classes`; pass `Categorical(num_classes)`. Received: "
            f"likelihood={identifier!r}"
        )
    return serialization.get(identifier, Likelihood, _MAKERS, "likelihood")


_MAKERS = {
    "bernoulli": Bernoulli,
    "continuous_bernoulli": ContinuousBernoulli,
    "normal": Normal,
    "optimal_normal": lambda: Normal(scale="optimal"),
    "unit_normal": lambda: Normal(scale=1.0),
    "laplace": Laplace,
}

"""Likelihoods p(x|z): the meaning of a decoder's output, and its score."""

from keras_vae import serialization
from keras_vae.distributions.likelihoods.categorical import Categorical
from keras_vae.distributions.likelihoods.likelihood import Likelihood
from keras_vae.distributions.likelihoods.location_scale import Laplace
from keras_vae.distributions.likelihoods.location_scale import Normal
from keras_vae.distributions.likelihoods.standardized import Standardized
from keras_vae.distributions.likelihoods.unit_interval import Bernoulli
from keras_vae.distributions.likelihoods.unit_interval import ContinuousBernoulli

__all__ = [
    "Bernoulli",
    "Categorical",
    "ContinuousBernoulli",
    "Laplace",
    "Likelihood",
    "Normal",
    "Standardized",
    "get",
]


def get(identifier):
    """Returns the likelihood that `identifier` names.

    Args:
        identifier: "bernoulli", "continuous_bernoulli", "normal" or "sigma_vae" (one
            learned scale), "optimal_normal" or "optimal_sigma_vae" (scale="optimal"),
            "unit_normal" (scale=1.0), "laplace" (one learned scale), a `Likelihood` or
            its serialized config. "categorical" needs its number of classes:
            `{"class_name": "categorical", "config": {"num_classes": 5}}`; so does
            "standardized".

    Returns:
        A `Likelihood`.

    Raises:
        ValueError: If `identifier` is none of these, or lacks an argument.

    Example:
    >>> kv.distributions.likelihoods.get("optimal_normal").scale
    'optimal'
    """
    return serialization.get(identifier, Likelihood, _MAKERS, "likelihood")


_MAKERS = {
    "bernoulli": Bernoulli,
    "categorical": Categorical,
    "continuous_bernoulli": ContinuousBernoulli,
    "normal": Normal,
    "optimal_normal": lambda: Normal(scale="optimal"),
    "unit_normal": lambda: Normal(scale=1.0),
    "laplace": Laplace,
    "standardized": Standardized,
    # The names in the paper.
    "sigma_vae": Normal,
    "optimal_sigma_vae": lambda: Normal(scale="optimal"),
}

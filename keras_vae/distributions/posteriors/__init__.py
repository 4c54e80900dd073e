"""Approximate posteriors q(z|x), their divergences from a prior, scale limits."""

from keras_vae import serialization
from keras_vae.distributions.limits import bounded_scale
from keras_vae.distributions.limits import inverse_soft_clip
from keras_vae.distributions.limits import soft_clip
from keras_vae.distributions.posteriors.batch_normalized_normal import (
    BatchNormalizedNormal,
)
from keras_vae.distributions.posteriors.closed_forms import kl_divergence
from keras_vae.distributions.posteriors.closed_forms import kl_per_dimension
from keras_vae.distributions.posteriors.committed_normal import CommittedNormal
from keras_vae.distributions.posteriors.diagonal_normal import DiagonalNormal
from keras_vae.distributions.posteriors.full_covariance_normal import (
    MultivariateNormalTriL,
)
from keras_vae.distributions.posteriors.inverse_autoregressive import (
    InverseAutoregressive,
)
from keras_vae.distributions.posteriors.merged import PrecisionWeighted
from keras_vae.distributions.posteriors.merged import Residual
from keras_vae.distributions.posteriors.planar import Planar
from keras_vae.distributions.posteriors.posterior import Posterior

__all__ = [
    "BatchNormalizedNormal",
    "CommittedNormal",
    "DiagonalNormal",
    "InverseAutoregressive",
    "MultivariateNormalTriL",
    "Planar",
    "Posterior",
    "PrecisionWeighted",
    "Residual",
    "bounded_scale",
    "get",
    "inverse_soft_clip",
    "kl_divergence",
    "kl_per_dimension",
    "soft_clip",
]


def get(identifier):
    """Returns the posterior family that `identifier` names.

    Args:
        identifier: "diagonal_normal" or "normal" (`DiagonalNormal`),
            "full_covariance_normal" (`MultivariateNormalTriL`), "committed_normal" or
            "delta_vae" (`CommittedNormal`), "batch_normalized_normal" or "bn_vae"
            (`BatchNormalizedNormal`), "inverse_autoregressive" or "iaf"
            (`InverseAutoregressive`), "planar" (`Planar`), a `Posterior` or its
            serialized config.

    Returns:
        A `Posterior`.

    Raises:
        ValueError: If `identifier` is none of these.

    Example:
    >>> kv.distributions.posteriors.get("normal").params_size(16)
    32
    """
    return serialization.get(identifier, Posterior, _MAKERS, "posterior")


_MAKERS = {
    "diagonal_normal": DiagonalNormal,
    "normal": DiagonalNormal,
    "full_covariance_normal": MultivariateNormalTriL,
    "committed_normal": CommittedNormal,
    "batch_normalized_normal": BatchNormalizedNormal,
    "inverse_autoregressive": InverseAutoregressive,
    "planar": Planar,
    # The names in the papers.
    "bn_vae": BatchNormalizedNormal,
    "delta_vae": CommittedNormal,
    "iaf": InverseAutoregressive,
}

"""Distributions p(x|z) and q(z|x), made from the parameters that networks output."""

from keras_vae.distributions import likelihoods
from keras_vae.distributions import posteriors
from keras_vae.distributions.likelihoods import Bernoulli
from keras_vae.distributions.likelihoods import Categorical
from keras_vae.distributions.likelihoods import ContinuousBernoulli
from keras_vae.distributions.likelihoods import Laplace
from keras_vae.distributions.likelihoods import Likelihood
from keras_vae.distributions.likelihoods import Normal
from keras_vae.distributions.likelihoods import Standardized
from keras_vae.distributions.posteriors import BatchNormalizedNormal
from keras_vae.distributions.posteriors import CommittedNormal
from keras_vae.distributions.posteriors import DiagonalNormal
from keras_vae.distributions.posteriors import InverseAutoregressive
from keras_vae.distributions.posteriors import MultivariateNormalTriL
from keras_vae.distributions.posteriors import Planar
from keras_vae.distributions.posteriors import Posterior
from keras_vae.distributions.posteriors import PrecisionWeighted
from keras_vae.distributions.posteriors import Residual
from keras_vae.distributions.posteriors import kl_divergence
from keras_vae.distributions.posteriors import kl_per_dimension

__all__ = [
    "BatchNormalizedNormal",
    "CommittedNormal",
    "Bernoulli",
    "Categorical",
    "ContinuousBernoulli",
    "DiagonalNormal",
    "InverseAutoregressive",
    "Laplace",
    "Likelihood",
    "MultivariateNormalTriL",
    "Normal",
    "Planar",
    "Posterior",
    "PrecisionWeighted",
    "Residual",
    "Standardized",
    "kl_divergence",
    "kl_per_dimension",
    "likelihoods",
    "posteriors",
]

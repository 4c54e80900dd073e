"""Models."""

from keras_vae.models.factor_vae import FactorVAE
from keras_vae.models.vae import VAE

__all__ = ["VAE", "FactorVAE"]

"""Models."""

from keras_vae.models.multi_rate_vae import MultiRateVAE
from keras_vae.models.vae import VAE

__all__ = ["VAE", "MultiRateVAE"]

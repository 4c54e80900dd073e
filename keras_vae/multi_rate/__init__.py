"""One model for all weights of the rate."""

from keras_vae.multi_rate.multi_rate_vae import MultiRateVAE

__all__ = ["MultiRateVAE"]

"""Metrics: functions on encoded data."""

from keras_vae.metrics.latent import Units
from keras_vae.metrics.latent import active_units
from keras_vae.metrics.latent import collapsed_units
from keras_vae.metrics.latent import kl_to_standard_normal

__all__ = [
    "Units",
    "active_units",
    "collapsed_units",
    "kl_to_standard_normal",
]

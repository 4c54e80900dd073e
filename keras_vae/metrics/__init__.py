"""Metrics: functions on encoded data."""

from keras_vae.metrics.latent import Units
from keras_vae.metrics.latent import active_units
from keras_vae.metrics.latent import collapsed_units
from keras_vae.metrics.latent import kl_to_standard_normal
from keras_vae.metrics.latent import mutual_information

__all__ = [
    "Units",
    "active_units",
    "collapsed_units",
    "kl_to_standard_normal",
    "mutual_information",
]

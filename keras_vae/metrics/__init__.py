"""Metrics: functions on encoded data."""

from keras_vae.metrics.bootstrap import bootstrap_means
from keras_vae.metrics.energy import energy_distance
from keras_vae.metrics.latent import Units
from keras_vae.metrics.latent import active_units
from keras_vae.metrics.latent import aggregate_gap
from keras_vae.metrics.latent import collapsed_units
from keras_vae.metrics.latent import kl_to_standard_normal
from keras_vae.metrics.latent import mutual_information
from keras_vae.metrics.residuals import missing_rate

__all__ = [
    "Units",
    "active_units",
    "aggregate_gap",
    "bootstrap_means",
    "collapsed_units",
    "energy_distance",
    "kl_to_standard_normal",
    "missing_rate",
    "mutual_information",
]

"""Layers for any Keras model."""

from keras_vae.layers.input_dropout import InputDropout
from keras_vae.layers.latent import Latent

__all__ = ["InputDropout", "Latent"]

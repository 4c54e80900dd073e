"""Layers for any Keras model."""

from keras_vae.layers.latent import Latent

__all__ = ["Latent"]

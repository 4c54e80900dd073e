"""Callbacks for `fit`."""

from keras_vae.callbacks.hyperparameter_scheduler import HyperparameterScheduler
from keras_vae.callbacks.hyperparameter_scheduler import KLAnnealing

__all__ = ["HyperparameterScheduler", "KLAnnealing"]

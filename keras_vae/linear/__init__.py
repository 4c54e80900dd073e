"""The linear VAE: its optimum at each weight of the rate is known in closed form."""

from keras_vae.linear.classes import ClassComponents
from keras_vae.linear.classes import class_components
from keras_vae.linear.components import Components
from keras_vae.linear.components import components
from keras_vae.linear.factor_model import FactorModel
from keras_vae.linear.incomplete import IncompleteComponents
from keras_vae.linear.incomplete import observed_components
from keras_vae.linear.moments import Moments
from keras_vae.linear.noises import are_noises_unequal
from keras_vae.linear.noises import noise_variances
from keras_vae.linear.optimum import NoNoiseError
from keras_vae.linear.optimum import Optimum
from keras_vae.linear.optimum import distortion
from keras_vae.linear.optimum import log_likelihood
from keras_vae.linear.optimum import optimum
from keras_vae.linear.regression import Regression

__all__ = [
    "ClassComponents",
    "Components",
    "FactorModel",
    "IncompleteComponents",
    "Moments",
    "NoNoiseError",
    "Optimum",
    "Regression",
    "are_noises_unequal",
    "class_components",
    "components",
    "distortion",
    "log_likelihood",
    "noise_variances",
    "observed_components",
    "optimum",
]

"""Measures rate and distortion over the weight of the KL, and recommends a weight.

Lowest first: `quantities` names the measured quantities and computes intervals,
`betas` chooses weights to measure, `own_noise` gives a model the noise of its weight,
`reading` says what weights mean under a likelihood, `interpolation` computes values
between the weights, `comparison` compares two curves, `likeliest` and `recommendation`
choose a weight, `table` writes and reads curves, `curve` holds the class, and `sweep`
holds `rate_distortion`.
"""

from keras_vae.weighing.curve.betas import beta_range
from keras_vae.weighing.curve.betas import betas_between
from keras_vae.weighing.curve.comparison import Comparison
from keras_vae.weighing.curve.curve import RateDistortionCurve
from keras_vae.weighing.curve.interpolation import Point
from keras_vae.weighing.curve.own_noise import with_own_noise
from keras_vae.weighing.curve.reading import Meaning
from keras_vae.weighing.curve.reading import Reading
from keras_vae.weighing.curve.recommendation import PURPOSES
from keras_vae.weighing.curve.recommendation import Recommendation
from keras_vae.weighing.curve.sweep import beta_of
from keras_vae.weighing.curve.sweep import check_different
from keras_vae.weighing.curve.sweep import check_vae
from keras_vae.weighing.curve.sweep import rate_distortion

__all__ = [
    "PURPOSES",
    "Comparison",
    "Meaning",
    "Point",
    "RateDistortionCurve",
    "Reading",
    "Recommendation",
    "beta_of",
    "beta_range",
    "betas_between",
    "check_different",
    "check_vae",
    "rate_distortion",
    "with_own_noise",
]

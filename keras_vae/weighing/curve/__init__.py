"""Measures rate and distortion over the weight of the KL, and recommends a weight.

Lowest first: `quantities` names the measured quantities and computes intervals,
`interpolation` computes values between the weights, `comparison` compares two curves,
`recommendation` chooses a weight, `table` writes and reads curves, `curve` holds the
class, and `sweep` holds `rate_distortion`.
"""

from keras_vae.weighing.curve.comparison import Comparison
from keras_vae.weighing.curve.curve import RateDistortionCurve
from keras_vae.weighing.curve.interpolation import Point
from keras_vae.weighing.curve.recommendation import PURPOSES
from keras_vae.weighing.curve.recommendation import Recommendation
from keras_vae.weighing.curve.sweep import beta_of
from keras_vae.weighing.curve.sweep import rate_distortion

__all__ = [
    "PURPOSES",
    "Comparison",
    "Point",
    "RateDistortionCurve",
    "Recommendation",
    "beta_of",
    "rate_distortion",
]

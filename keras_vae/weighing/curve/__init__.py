"""Measures rate and distortion over the weight of the KL, and says which to take.

Lowest first: `quantities` names what is measured and gives its intervals,
`interpolation` goes between the weights, `comparison` and `recommendation` answer what
is asked of a curve, `table` writes and reads it, `curve` holds it, and `run` holds
`rate_distortion`.
"""

from keras_vae.weighing.curve.comparison import Comparison
from keras_vae.weighing.curve.curve import RateDistortionCurve
from keras_vae.weighing.curve.interpolation import Point
from keras_vae.weighing.curve.recommendation import PURPOSES
from keras_vae.weighing.curve.recommendation import Recommendation
from keras_vae.weighing.curve.run import beta_of
from keras_vae.weighing.curve.run import rate_distortion

__all__ = [
    "PURPOSES",
    "Comparison",
    "Point",
    "RateDistortionCurve",
    "Recommendation",
    "beta_of",
    "rate_distortion",
]

"""Measures rate and distortion over the weight of the KL, and says which to take.

Lowest first: `quantities` names what is measured and gives its intervals, `betas` says
which weights are worth a look, `reading` what they mean under a likelihood,
`interpolation` goes between them, `comparison`, `likeliest` and `recommendation` answer
what is asked of a curve, `table` writes and reads it, `curve` holds it, and `run` holds
`rate_distortion`.
"""

from keras_vae.weighing.curve.betas import beta_range
from keras_vae.weighing.curve.betas import betas_between
from keras_vae.weighing.curve.comparison import Comparison
from keras_vae.weighing.curve.curve import RateDistortionCurve
from keras_vae.weighing.curve.interpolation import Point
from keras_vae.weighing.curve.reading import Meaning
from keras_vae.weighing.curve.reading import Reading
from keras_vae.weighing.curve.recommendation import PURPOSES
from keras_vae.weighing.curve.recommendation import Recommendation
from keras_vae.weighing.curve.run import beta_of
from keras_vae.weighing.curve.run import check_vae
from keras_vae.weighing.curve.run import rate_distortion

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
    "check_vae",
    "rate_distortion",
]

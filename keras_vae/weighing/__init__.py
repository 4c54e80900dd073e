"""How the KL is weighed against the reconstruction: units and measurement."""

from keras_vae.weighing.advising import Advice
from keras_vae.weighing.advising import AdviceReport
from keras_vae.weighing.advising import advise
from keras_vae.weighing.auditing import AuditReport
from keras_vae.weighing.auditing import Finding
from keras_vae.weighing.auditing import audit
from keras_vae.weighing.baselines import baselines
from keras_vae.weighing.curve import Meaning
from keras_vae.weighing.curve import RateDistortionCurve
from keras_vae.weighing.curve import Reading
from keras_vae.weighing.curve import beta_range
from keras_vae.weighing.curve import betas_between
from keras_vae.weighing.curve import rate_distortion
from keras_vae.weighing.curve import with_own_noise
from keras_vae.weighing.diagnosing import Diagnosis
from keras_vae.weighing.diagnosing import diagnose
from keras_vae.weighing.forecast import LinearForecast
from keras_vae.weighing.forecast import linear_forecast
from keras_vae.weighing.polishing import Polished
from keras_vae.weighing.polishing import polish
from keras_vae.weighing.sentence_baselines import sentence_baselines
from keras_vae.weighing.units import Weight

__all__ = [
    "Advice",
    "AdviceReport",
    "AuditReport",
    "Diagnosis",
    "Finding",
    "Meaning",
    "LinearForecast",
    "Polished",
    "RateDistortionCurve",
    "Reading",
    "Weight",
    "advise",
    "audit",
    "baselines",
    "beta_range",
    "betas_between",
    "diagnose",
    "linear_forecast",
    "polish",
    "rate_distortion",
    "sentence_baselines",
    "with_own_noise",
]

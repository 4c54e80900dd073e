"""How the KL is weighed against the reconstruction: units and measurement."""

from keras_vae.weighing.auditing import AuditReport
from keras_vae.weighing.auditing import Finding
from keras_vae.weighing.auditing import audit
from keras_vae.weighing.curve import RateDistortionCurve
from keras_vae.weighing.curve import rate_distortion
from keras_vae.weighing.diagnosing import Diagnosis
from keras_vae.weighing.diagnosing import diagnose
from keras_vae.weighing.forecast import LinearForecast
from keras_vae.weighing.forecast import linear_forecast
from keras_vae.weighing.units import Weight

__all__ = [
    "AuditReport",
    "Diagnosis",
    "Finding",
    "LinearForecast",
    "RateDistortionCurve",
    "Weight",
    "audit",
    "diagnose",
    "linear_forecast",
    "rate_distortion",
]

"""Names the fault of a trained model, the numbers that tell it, and a remedy.

Lowest first: `report` holds the result, `subject` opens models for a look, `evidence`
measures, `rules` turn numbers into findings, and `run` holds `diagnose`.
"""

from keras_vae.weighing.diagnosing.report import Diagnosis
from keras_vae.weighing.diagnosing.run import diagnose

__all__ = ["Diagnosis", "diagnose"]

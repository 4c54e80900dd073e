"""Says what ails a trained model, by which numbers, and what to do.

Lowest first: `report` holds the result, `subject` opens models for a look, `evidence`
measures, `rules` turn numbers into findings, and `run` holds `diagnose`.
"""

from keras_vae.weighing.diagnosing.report import Diagnosis
from keras_vae.weighing.diagnosing.run import diagnose

__all__ = ["Diagnosis", "diagnose"]

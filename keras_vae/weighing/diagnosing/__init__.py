"""Names the fault of a trained model, the numbers that tell it, and a remedy.

Lowest first: `subject` opens models for a look, `evidence` measures, `rules` turn
numbers into findings, and `diagnosis` holds `diagnose` and its result.
"""

from keras_vae.weighing.diagnosing.diagnosis import Diagnosis
from keras_vae.weighing.diagnosing.diagnosis import diagnose

__all__ = ["Diagnosis", "diagnose"]

"""Measures the coefficients which the optimiser really sees, on any Keras model.

Lowest first: `report` holds the results, `probe` runs the model's training step,
`solve` and `graph` compare gradients and look into the graph, `reconstruction`,
`known` and `posteriors` find the terms, `measure` puts them together, `case` and
`judge` turn them into findings, and `run` holds `audit`.
"""

from keras_vae.weighing.auditing.report import AuditReport
from keras_vae.weighing.auditing.report import Finding
from keras_vae.weighing.auditing.run import audit

__all__ = ["AuditReport", "Finding", "audit"]

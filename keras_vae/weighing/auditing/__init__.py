"""Measures the coefficients which the optimiser really sees, on any Keras model.

Lowest first: `report` holds the results, `probe` runs the model's training step,
`terms` holds what one batch shows, `solve` and `graph` compare gradients and look into
the graph, `adapters` answer for each kind of model, `reconstruction`, `declared` and
`posterior_search` find the terms, `measurement` measures one batch, `pairing` compares
two, `judge` turns them into findings, and `audit` holds the function.
"""

from keras_vae.weighing.auditing.audit import audit
from keras_vae.weighing.auditing.report import AuditReport
from keras_vae.weighing.auditing.report import Finding

__all__ = ["AuditReport", "Finding", "audit"]

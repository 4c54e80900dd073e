"""Finds the sigmoid or softmax at the end of a decoder."""

import math

import numpy as np

from keras_vae import _keras
from keras_vae.distributions.likelihoods import Bernoulli

_NAMES = "sigmoid", "softmax"
_SHAPING = "Reshape", "Flatten", "InputLayer"


def activation_of(step, head, seen, form):
    """Names the activation that the reconstruction has passed, or "".

    Args:
        step: `Step`.
        head: `AuditedHead`.
        seen: The output that was recognised, a `Seen`.
        form: Its form, see `report.Reconstruction`.
    """
    name = getattr(_last_activation(_origin(step, seen)), "__name__", "")
    if name in _NAMES:
        return name
    logits = seen.is_logits or _keras.logits_behind(seen.tensor) is not None
    if form == "bernoulli" or (logits and form == "bernoulli_logits"):
        return "sigmoid"
    likelihood = Bernoulli() if form == "bernoulli_logits" else head.likelihood
    if likelihood is None or not likelihood.invalid_activations:
        return ""
    if logits:
        return likelihood.invalid_activations[0]
    return likelihood.activation_of(seen.tensor, head.targets[0]) or ""


def _origin(step, seen):
    """Returns the first layer that puts out these numbers, in any shape."""
    values = np.ravel(seen.tensor)
    same = (
        other.layer
        for other in step.outputs
        if math.prod(other.tensor.shape) == len(values)
        and np.array_equal(np.ravel(other.tensor), values)
    )
    return next(same, seen.layer)


def _last_activation(layer):
    """Returns the last activation of a layer or model, or None."""
    while steps := [
        step
        for step in getattr(layer, "layers", None) or []
        if type(step).__name__ not in _SHAPING
    ]:
        layer = steps[-1]
    return getattr(layer, "activation", None)

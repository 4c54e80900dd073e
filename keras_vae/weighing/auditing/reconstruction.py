"""Finds the output whose gradient is that of a reconstruction, a dR/dp."""

import dataclasses
import math

import numpy as np
import tensorflow as tf

from keras_vae import _keras
from keras_vae.losses import NegativeLogLikelihood
from keras_vae.models import observed
from keras_vae.models.vae import VAE
from keras_vae.objectives import BatchMean
from keras_vae.weighing.auditing.probe import Seen
from keras_vae.weighing.auditing.solve import project
from keras_vae.weighing.auditing.solve import tolerance


@dataclasses.dataclass
class Fit:
    """A reconstruction that was recognised.

    Args:
        seen: The output.
        form: See `report.Reconstruction`.
        coefficient: Float a.
        event_shape: Shape of one reconstruction.
        loss_index: Which of the losses that the step differentiates holds it.
    """

    seen: Seen
    form: str
    coefficient: float
    event_shape: tuple
    loss_index: int


def likelihood_of(model):
    """The likelihood of this library that a model is trained with, or None."""
    loss = getattr(model, "loss", None)
    if isinstance(loss, NegativeLogLikelihood):
        return loss.likelihood
    return model.likelihood if isinstance(model, VAE) else None


def find(model, step, like=None):
    """Finds the reconstruction.

    Args:
        model: The model.
        step: `Step`.
        like: `Fit` of another step, whose place and form it must have, or None.

    Returns:
        A `Fit`, or None.
    """
    # The last that fits is the nearest to the loss.
    for seen in reversed(step.trace.outputs):
        if like is None or seen.place == like.seen.place:
            fit = _fit(model, step, seen, like and like.form)
            if fit is not None:
                return fit
    return None


def last_output(model, step):
    """Finds the last output as large as a target that reaches a loss.

    Args:
        model: The model.
        step: `Step`.

    Returns:
        Its place, or None.
    """
    sizes = {math.prod(target.shape) for target in step.batch.targets}
    for seen in reversed(step.trace.outputs):
        decoded = isinstance(model, VAE) and seen.layer is model.decoder
        if decoded or math.prod(seen.tensor.shape) in sizes:
            for loss in step.trace.targets:
                if np.any(step.gradient(loss, seen.tensor).numpy()):
                    return seen.place
    return None


def _fit(model, step, seen, form):
    if isinstance(model, VAE) and seen.layer is not model.decoder:
        return None
    references = _references(model, step, seen)
    for index, loss in enumerate(step.trace.targets if references else ()):
        gradient = step.gradient(loss, seen.tensor).numpy()
        if not gradient.any():
            continue
        best = _best(gradient, references, form, tolerance(seen.tensor))
        if best is not None:
            shape = tuple(seen.tensor.shape[1:])
            if best[0] == "likelihood":
                shape = tuple(likelihood_of(model).event_shape(shape))
            return Fit(seen, *best, shape, index)
    return None


def _best(gradient, references, form, limit):
    """The form that fits best and its coefficient, or None."""
    fits = []
    for name, reference in references.items():
        c, residual = project(gradient, reference)
        if residual < limit and form in (None, name):
            # A likelihood of this library knows more than the shape of a gradient.
            fits.append((name != "likelihood", residual, name, float(c)))
    return min(fits)[2:] if fits else None


def _references(model, step, seen):
    """Gradients by an output of all reconstructions that it may be, by form."""
    references = {}
    shape = seen.tensor.shape
    for target in step.batch.targets:
        same_size = math.prod(shape) == math.prod(target.shape)
        if same_size and shape[0] == target.shape[0]:
            references.update(_forms(seen.tensor.numpy(), target.numpy()))
    return references | _likelihood_form(model, step, seen)


def _forms(p, target):
    """Gradients by p of what is summed over the event and averaged over the batch."""
    batch = len(target)
    p, target = p.astype("float64"), target.reshape(p.shape).astype("float64")
    error = (p - target) / batch
    forms = {
        "squared_error": 2 * error,
        "bernoulli_logits": (1 / (1 + np.exp(-p)) - target) / batch,
        "absolute_error": np.sign(p - target) / batch,
    }
    inside = (p > 0) & (p < 1)
    if inside.all():
        forms["bernoulli"] = error / (p * (1 - p))
    return forms


def _likelihood_form(model, step, seen):
    """The gradient of -log p(x|z) of a likelihood of this library."""
    likelihood = likelihood_of(model)
    if likelihood is None:
        return {}
    target = step.batch.targets[0]
    try:
        shape = tuple(likelihood.event_shape(tuple(seen.tensor.shape[1:])))
    except ValueError:
        return {}
    if shape != tuple(target.shape[1:]):
        return {}
    p = tf.cast(seen.tensor, tf.float32)
    mean = BatchMean(step.batch.size)
    with tf.GradientTape() as tape:
        tape.watch(p)
        params = tf.reshape(p, [step.batch.size, -1, *p.shape[1:]])
        log_prob = likelihood.log_prob(
            params, target, mean=mean, training=True, **_mask(model, step, seen, target)
        )
        value = mean(-log_prob)
        value = tf.reduce_mean(value)
    return {"likelihood": tape.gradient(value, p).numpy()}


def _mask(model, step, seen, target):
    """The argument `mask` of `Likelihood.log_prob`, where the model masks its loss."""
    mask = _keras.mask_of(seen.tensor)
    if isinstance(model, VAE):
        mask = observed.mask_of_outputs(step.trace.results[id(model), 0], target)
    return {} if mask is None else {"mask": mask}

"""Finds the output with the gradient of a reconstruction, a dR/dp."""

import math

import numpy as np
import tensorflow as tf

from keras_vae.weighing.auditing import activations
from keras_vae.weighing.auditing import solve
from keras_vae.weighing.auditing.terms import MeasuredReconstruction


def find(audited, step, head, like=None):
    """Finds the reconstruction of a head.

    Args:
        audited: `AuditedModel`.
        step: `Step`.
        head: `AuditedHead`.
        like: `MeasuredReconstruction` of another step, whose place and form it must
            have, or None.

    Returns:
        A `MeasuredReconstruction`, or None.
    """
    fits = (
        _fit(audited, step, head, seen, like and like.form)
        for seen in head.seen
        if like is None or seen.place == like.seen.place
    )
    # The last output that fits is the nearest to the loss.
    return next(filter(None, fits), None)


def last_place(step, head):
    """Returns the place of the last possible reconstruction in a loss, or None."""
    for seen in head.seen:
        for loss in step.targets:
            if np.any(step.gradient(loss, seen.tensor).numpy()):
                return seen.place
    return None


def _fit(audited, step, head, seen, form):
    references = _references(audited, step, head, seen)
    for index, loss in enumerate(step.targets if references else ()):
        gradient = step.gradient(loss, seen.tensor).numpy()
        best = _best(gradient, references, form, solve.tolerance(seen.tensor))
        if best is not None:
            shape = tuple(seen.tensor.shape[1:])
            if best[0] == "likelihood":
                shape = tuple(head.targets[0].shape[1:])
            activation = activations.activation_of(step, head, seen, best[0])
            source = head.name or seen.layer.name
            known = shape, index, source, activation, head.likelihood
            return MeasuredReconstruction(seen, *best, *known)
    return None


def _best(gradient, references, form, limit):
    """Returns the form that fits best and its coefficient, or None."""
    fits = []
    for name, reference in references.items() if gradient.any() else ():
        c, residual = solve.project(gradient, reference)
        if residual < limit and form in (None, name):
            # A likelihood of this library knows more than the shape of a gradient.
            fits.append((name != "likelihood", residual, name, c))
    return min(fits)[2:] if fits else None


def _references(audited, step, head, seen):
    """Returns the gradients by an output of all possible reconstructions, by form."""
    references, mean = {}, audited.mean(step)
    shape = seen.tensor.shape
    for target in head.targets:
        same_size = math.prod(shape) == math.prod(target.shape)
        if same_size and shape[0] == target.shape[0]:
            references |= _forms(seen.tensor.numpy(), target.numpy(), mean)
    target = head.targets[0]
    if head.likelihood is not None:
        needed = head.likelihood.params_shape(tuple(target.shape[1:]))
        if tuple(needed) == tuple(shape[1:]):
            mask = audited.mask(step, seen, target)
            references["likelihood"] = _of_likelihood(head, seen, target, mask, mean)
    return references


def _forms(p, target, mean):
    """Returns gradients by p of sums over the event, averaged over the batch."""
    shares = 1 / len(target)
    if mean.weights is not None:
        shares = mean.weights.numpy() / np.sum(mean.weights)
        shares = shares.reshape(-1, *[1] * (p.ndim - 1))
    p, target = p.astype("float64"), target.reshape(p.shape).astype("float64")
    error = (p - target) * shares
    forms = {
        "squared_error": 2 * error,
        "bernoulli_logits": (1 / (1 + np.exp(-p)) - target) * shares,
        "absolute_error": np.sign(p - target) * shares,
    }
    inside = (p > 0) & (p < 1)
    if inside.all():
        forms["bernoulli"] = error / (p * (1 - p))
    return forms


def _of_likelihood(head, seen, target, mask, mean):
    """Returns the gradient of -log p(x|z) of a likelihood of this library."""
    size = len(target)
    options = {} if mask is None else {"mask": mask}
    p = tf.cast(seen.tensor, tf.float32)
    with tf.GradientTape() as tape:
        tape.watch(p)
        params = tf.reshape(p, [size, -1, *p.shape[1:]])
        log_prob = head.likelihood.log_prob(
            params, target, mean=mean, training=True, **options
        )
        value = tf.reduce_mean(mean(-log_prob))
    return tape.gradient(value, p).numpy()

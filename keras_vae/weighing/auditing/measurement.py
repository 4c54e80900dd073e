"""Measures the terms of a model's loss on one batch."""

import tensorflow as tf

from keras_vae import _keras
from keras_vae.weighing.auditing import declared
from keras_vae.weighing.auditing import graph
from keras_vae.weighing.auditing import posterior_search
from keras_vae.weighing.auditing import probe
from keras_vae.weighing.auditing import reconstruction
from keras_vae.weighing.auditing.terms import BatchMeasurement
from keras_vae.weighing.auditing.terms import MeasuredLoss


def measure_batch(audited, batch, posterior=None, kl=None, like=None):
    """Measures all terms of one batch.

    Args:
        audited: `AuditedModel`.
        batch: `Batch`.
        posterior: Names of layers, see `audit`.
        kl: See `audit`.
        like: `BatchMeasurement` of another batch, whose reconstructions are looked
            for, or None.

    Returns:
        A `BatchMeasurement`.
    """
    step = probe.run_step(audited.model, batch)
    added = _weigh_added(audited.model, step)
    heads = audited.heads(step)
    fits, detached, index = _reconstructions(audited, step, heads, like)
    # The other terms are measured without the gradient through the reconstruction.
    step = probe.run_step(audited.model, batch, detached)
    targets = step.targets
    loss = targets[min(index, len(targets) - 1)]
    shape = tuple(loss.shape) if isinstance(loss, tf.Tensor) else ()
    reached = False
    kls = declared.of_layers(audited, step, loss)
    if not kls and kl is not None:
        kls = [declared.of_callable(audited.model, step, loss, kl)]
    elif not kls:
        kls, reached = posterior_search.find(step, loss, posterior)
    names = tuple(head.name for head in heads)
    terms = index, shape, tuple(added), tuple(kls), reached
    return BatchMeasurement(batch.size, fits, names, detached, *terms)


def _reconstructions(audited, step, heads, like):
    """Returns a reconstruction or None by head, their places, and a loss's index."""
    if like is not None:
        fits = tuple(
            fit and reconstruction.find(audited, step, head, fit)
            for head, fit in zip(heads, like.reconstructions, strict=True)
        )
        known = [fit.loss_index for fit in fits if fit]
        return fits, like.detached, known[0] if known else like.loss_index
    fits = tuple(reconstruction.find(audited, step, head) for head in heads)
    # The KL can be measured without a reconstruction that is recognised.
    places = [
        fit.seen.place if fit else reconstruction.last_place(step, head)
        for head, fit in zip(heads, fits, strict=True)
    ]
    known = [fit.loss_index for fit in fits if fit]
    return fits, tuple(filter(None, places)), known[0] if known else 0


def _weigh_added(model, step):
    """Weighs each added loss that depends on the weights."""
    weights = probe.trainable(model)
    computed = [loss for loss in step.computed if probe.is_tensor(loss)]
    for added in step.added:
        gradients = step.tape.gradient(added.tensor, weights)
        if any(gradient is not None for gradient in gradients):
            weigh = [step.weigh(loss, added.tensor) for loss in step.targets]
            again = [step.weigh(loss, added.tensor) for loss in computed]
            # An adversary has a loss of its own, which the added loss does not reach.
            yield MeasuredLoss(added, max(weigh, key=abs), max(again, default=None))


def averaged_sizes(model, batch, measured):
    """Finds over how many latents each KL is averaged.

    Args:
        model: The compiled model.
        batch: `Batch`.
        measured: `BatchMeasurement` of that batch.

    Returns:
        List of sizes of averaged axes, without those that a product undoes, and a list
        of notes.
    """
    places = [place for kl in measured.kls for place in kl.places]
    found = []

    def traced():
        step = probe.run_step(model, batch, measured.detached)
        starts = [s.tensor for s in step.seen if (s.place, s.is_output) in places]
        loss = step.targets[measured.loss_index]
        found.extend(graph.mean_axes(loss, starts, batch.size))
        _keras.forget_gradients()
        return tf.zeros(())

    try:
        if places:
            tf.function(traced, autograph=False).get_concrete_function()
    except Exception as error:
        return [], [
            "the training step could not be traced, so that a mean over latents looks "
            f"like a weight: {type(error).__name__}: {error}"
        ]
    return [size for size, undone in found if not undone], []

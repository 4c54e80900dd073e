"""Measures the coefficients of one model at two batch sizes."""

import dataclasses

import tensorflow as tf

from keras_vae import _keras
from keras_vae.weighing.auditing import graph
from keras_vae.weighing.auditing import known
from keras_vae.weighing.auditing import posteriors
from keras_vae.weighing.auditing import reconstruction
from keras_vae.weighing.auditing.probe import Added
from keras_vae.weighing.auditing.probe import is_tensor
from keras_vae.weighing.auditing.probe import trainable


@dataclasses.dataclass
class WeighedLoss:
    """With which weight an added loss reaches the loss.

    Args:
        added: `Added`.
        weight: Float, in the loss that is differentiated.
        computed: Float, in the result of `compute_loss`, or None.
    """

    added: Added
    weight: float
    computed: float | None


@dataclasses.dataclass
class Rate:
    """The rate's side of one step.

    Args:
        loss_shape: Shape of what is differentiated.
        known: List of `known.Solved`.
        posteriors: List of `posteriors.Posterior`s.
        reached: Whether any gradient reached what may be a posterior.
    """

    loss_shape: tuple
    known: list = dataclasses.field(default_factory=list)
    posteriors: list = dataclasses.field(default_factory=list)
    reached: bool = False


class Measurement:
    """The coefficients of one model at two batch sizes.

    Args:
        probe: `Probe`.
        small: `Batch`.
        large: `Batch` of another size.
    """

    def __init__(self, probe, small, large):
        self.probe = probe
        self.model = probe.model
        self.sizes = small.size, large.size
        self.notes = []
        # Builds what is not built, outside of all tapes.
        probe.run(small)
        self.reconstruction = self._reconstruction(small, large)
        self.small = self._rate(small)
        self.large = self._rate(large)
        self.mean_axes = self._mean_axes(small)

    def _reconstruction(self, small, large):
        """The reconstruction at both sizes, or None; sets what else the step shows."""
        step = self.probe.step(small)
        self.added = _weigh_added(self.model, step)
        self._loss_index = 0
        first = reconstruction.find(self.model, step)
        if first is None:
            # Past an unknown reconstruction the rate can be measured all the same.
            self._detach = reconstruction.last_output(self.model, step)
            return None
        self._detach = first.seen.place
        second = reconstruction.find(self.model, self.probe.step(large), like=first)
        self._loss_index = (second or first).loss_index
        return second and (first, second)

    def _rate(self, batch):
        """Measures all that reaches the loss past the decoder's output."""
        step = self.probe.step(batch, self._detach)
        rates = known.layer_rates(self.model, step)
        targets = step.trace.targets
        loss = targets[min(self._loss_index, len(targets) - 1)]
        shape = tuple(loss.shape) if isinstance(loss, tf.Tensor) else ()
        if rates:
            return Rate(shape, known.solve_layers(step, loss, rates))
        kl = self.probe.kl
        if kl is not None:
            return Rate(shape, [known.solve_callable(self.model, step, loss, kl)])
        found, reached = posteriors.find(step, loss, self.probe.posterior)
        return Rate(shape, posteriors=found, reached=reached)

    def _mean_axes(self, batch):
        """Finds over which axes the KL is averaged; see `graph.mean_axes`."""
        found = []
        if not self.small.posteriors:
            return found
        parts = [part for q in self.small.posteriors for part in (q.mean, q.scale)]
        places = [(part.seen.place, part.seen.is_output) for part in parts]

        def step():
            trace = self.probe.run(batch, self._detach)
            starts = [
                seen.tensor
                for seen in trace.seen
                if (seen.place, seen.is_output) in places
            ]
            loss = trace.targets[self._loss_index]
            found.extend(graph.mean_axes(loss, starts, batch.size))
            _keras.forget_gradients()
            return tf.zeros(())

        try:
            tf.function(step, autograph=False).get_concrete_function()
        except Exception as error:
            self.notes.append(
                "the training step could not be traced, so that a mean over latents "
                f"would look like a weight: {type(error).__name__}: {error}"
            )
        return found


def _weigh_added(model, step):
    """Weighs each added loss that depends on the weights."""
    weights = trainable(model)
    weighed = []
    for added in step.trace.added:
        gradients = step.tape.gradient(added.tensor, weights)
        if all(gradient is None for gradient in gradients):
            # A constant, which needs no gradient.
            continue
        weigh = [step.weigh(loss, added.tensor) for loss in step.trace.targets]
        computed = [loss for loss in step.trace.computed if is_tensor(loss)]
        computed = [step.weigh(loss, added.tensor) for loss in computed]
        # Of several losses, as an adversary has, the one that it reaches most.
        reached = max(weigh, key=abs)
        weighed.append(WeighedLoss(added, reached, max(computed, default=None)))
    return weighed

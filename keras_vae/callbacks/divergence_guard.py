"""Stops or rewinds training whose loss is NaN or infinite."""

import dataclasses
import math
import warnings

import keras
import numpy as np

from keras_vae import checks
from keras_vae import learning_rates
from keras_vae import snapshot
from keras_vae.callbacks import divergence_probe
from keras_vae.replicas import number

# Sums of other terms, so they do not show which term is to blame.
_SUMS = ("loss", "negative_elbo", "val_loss", "val_negative_elbo")


class DivergenceError(RuntimeError):
    """Training has diverged and `DivergenceGuard` has `raise_error=True`."""


@dataclasses.dataclass(frozen=True)
class Divergence:
    """Findings of `DivergenceGuard` about one divergence.

    Args:
        epoch: Integer, counted from 0.
        batch: Integer, counted from 0, the first batch whose loss is not finite. None
            if only the weights or the validation loss were not finite after the epoch.
        terms: Dict, the logged terms that are not finite; the terms of the loss come
            before their sums.
        layer: String, the first layer whose outputs on the data, or on noise, are not
            finite or huge with the restored weights; otherwise the first layer whose
            weights were not finite; or None.
        largest_output: Float, the largest absolute output of that layer, or None if its
            weights are not finite.
        data: String, the fault in the data, or None if they are finite or unknown.
        restored_step: Integer, the optimizer step of the restored state.
        message: String, all of this as a text.
    """

    epoch: int
    batch: int | None
    terms: dict
    layer: str | None
    largest_output: float | None
    data: str | None
    restored_step: int
    message: str


class DivergenceGuard(keras.callbacks.Callback):
    """Stops training at the first batch whose loss is NaN or infinite.

    Without it every later step silently computes with NaN. It names the first term of
    the loss and the first layer that are not finite, and restores the last good state:
    weights, optimizers, metrics and noise counters. Then it stops `fit` with a warning,
    or lowers the learning rate and continues with the next batch. It changes no number
    of a run that does not diverge.

    It keeps a state in memory at the beginning of each epoch, or every n batches. A
    state counts as good once the next batch has a finite loss. At the end of an epoch
    the guard also checks the weights and `val_loss`, because the last update may have
    made weights NaN, or so large that no further loss is finite. The logs of the epoch
    are means over the batches since the restored state. Without such batches they stay
    NaN, so that no callback takes them for the best.

    Only the data can show whether bad data or the training is to blame: pass the data,
    and the guard searches them after a divergence.

    Attributes:
        divergence: The last `Divergence`, or None.
        restarts: Integer, number of times this `fit` has continued at a lower learning
            rate.

    Args:
        save_freq: "epoch", or a positive integer: the state is kept after every so many
            batches and at the beginning of each epoch.
        learning_rate_factor: Float in (0, 1), factor of the learning rate at a restart,
            or None to stop.
        max_restarts: Positive integer, the most restarts of a `fit`; then it stops.
        data: The training data in a form that can be read again: an array, a tuple of
            arrays, a `tf.data.Dataset` or `keras.utils.PyDataset`; or None. Only read
            after a divergence.
        raise_error: Boolean, whether to raise a `DivergenceError` instead of stopping
            `fit` with a warning. The state is restored first.

    Raises:
        ValueError: If an argument is out of range.

    Example:
    >>> guard = kv.callbacks.DivergenceGuard(learning_rate_factor=0.5)
    >>> guard.divergence is None, guard.restarts
    (True, 0)
    """

    # A block of steps ends at a non-finite loss, so that the model in memory belongs to
    # the batch whose logs are shown.
    ends_blocks_at_nan = True

    def __init__(
        self,
        save_freq="epoch",
        learning_rate_factor=None,
        max_restarts=3,
        data=None,
        raise_error=False,
    ):
        super().__init__()
        if save_freq != "epoch":
            checks.check_count("save_freq", save_freq)
        checks.check_count("max_restarts", max_restarts)
        if learning_rate_factor is not None and not 0 < learning_rate_factor < 1:
            raise ValueError(
                "`learning_rate_factor` must be in (0, 1), or None to stop. "
                f"Received: learning_rate_factor={learning_rate_factor}"
            )
        self.save_freq = save_freq
        self.learning_rate_factor = learning_rate_factor
        self.max_restarts = max_restarts
        self.data = data
        self.raise_error = raise_error
        self.divergence = None
        self.restarts = 0
        self._forget()

    # === When it acts ===

    def steps_until_action(self):
        """Returns the number of batches until the guard reads the model, or None."""
        if self._good is None and self._newest is None:
            return 1  # The first batch builds the model.
        if self.save_freq == "epoch":
            return None
        return self.save_freq - self._batches % self.save_freq

    def on_train_begin(self, logs=None):
        """Forgets an earlier run."""
        self.divergence = None
        self.restarts = 0
        self._forget()
        if self.learning_rate_factor is not None:
            each = map(learning_rates.make_scalable, snapshot.optimizers(self.model))
            if any(list(each)):
                self.model.make_train_function(force=True)

    def on_epoch_begin(self, epoch, logs=None):
        """Keeps the state that the epoch begins with."""
        self._epoch, self._batches = epoch, 0
        _build_optimizer(self.model)
        self._keep()

    def on_train_batch_end(self, batch, logs=None):
        """Acts if the loss is not finite, and keeps the state if that is due."""
        logs = logs or {}
        self._seen += 1
        if not math.isfinite(float(logs.get("loss", 0.0))):
            self._act(self._epoch, batch, {k: float(v) for k, v in logs.items()})
            return
        if self._newest is not None:
            # Its weights gave a finite loss.
            self._good, self._newest = self._newest, None
        self._batches += 1
        is_due = self.save_freq != "epoch" and self._batches % self.save_freq == 0
        # A model that its first batch builds had no state before it.
        if is_due or (self._good is None and self._newest is None):
            self._keep()

    def on_epoch_end(self, epoch, logs=None):
        """Acts if the epoch's last updates made weights or the validation loss NaN."""
        if self._has_stopped:
            return
        validated = {k: float(v) for k, v in (logs or {}).items() if k[:4] == "val_"}
        is_finite = math.isfinite(validated.get("val_loss", 0.0))
        if not is_finite or snapshot.first_not_finite(self.model):
            self._act(epoch, None, validated)

    def on_train_end(self, logs=None):
        """Frees the memory of the kept states."""
        self._forget()

    # === Actions ===

    def _forget(self):
        self._epoch, self._batches, self._seen = 0, 0, 0
        self._good, self._newest = None, None
        self._has_stopped = False

    def _keep(self):
        if snapshot.first_not_finite(self.model) is None:
            self._newest = self._batches, snapshot.Snapshot(self.model)

    def _act(self, epoch, batch, logs):
        layer = snapshot.first_not_finite(self.model)
        rates = [number(x.learning_rate) for x in snapshot.optimizers(self.model)]
        # Without a good state, the first state of the run is the best available.
        state = self._good or self._newest
        goes_on = (
            self.learning_rate_factor is not None
            and self.restarts < self.max_restarts
            and state is not None
        )
        if state is not None:
            self._batches, kept = state
            is_last = batch is None or batch + 1 == self.params.get("steps")
            # The mean over no batches would be 0, and count as the best epoch.
            with_metrics = self._batches > 0 or (goes_on and not is_last)
            kept.restore(with_metrics)
        found = self._find(epoch, batch, logs, layer, state is not None)
        message = _in_words(found, logs, state is not None)
        if goes_on:
            message += self._go_on()
        else:
            message += f" Training stops. {_advice(found['data'], rates)}"
            self.model.stop_training = self._has_stopped = True
        self.divergence = Divergence(message=message, **found)
        if self.raise_error and not goes_on:
            raise DivergenceError(message)
        warnings.warn(message, stacklevel=2)

    def _go_on(self):
        """Lowers the learning rate; returns a sentence about it."""
        self.restarts += 1
        for optimizer in snapshot.optimizers(self.model):
            learning_rates.multiply(optimizer, self.learning_rate_factor)
        # The state for a further divergence must have the lower rate too.
        self._good = self._batches, snapshot.Snapshot(self.model)
        self._newest = None
        return (
            " Training goes on with the next batch, at "
            f"{self.learning_rate_factor:g} times the learning rate (restart "
            f"{self.restarts} of {self.max_restarts})."
        )

    def _find(self, epoch, batch, logs, layer, restored):
        """Returns the findings, as arguments of a `Divergence`."""
        terms = {k: v for k, v in logs.items() if not math.isfinite(v)}
        missing = getattr(self.model, "missing", None)
        data = divergence_probe.first_bad_data(self.data, self._seen, missing)
        if restored and data is None:
            outputs = divergence_probe.first_bad_outputs(self.model, self.data)
        else:
            outputs = None
        return {
            "epoch": epoch,
            "batch": batch,
            "terms": dict(sorted(terms.items(), key=lambda item: item[0] in _SUMS)),
            "layer": outputs[0] if outputs else layer,
            "largest_output": outputs[1] if outputs else None,
            "data": data,
            "restored_step": number(self.model.optimizer.iterations),
        }


def _build_optimizer(model):
    """Creates the variables of an optimizer, so that the first state holds them."""
    if model.built and not model.optimizer.built:
        with model.distribute_strategy.scope():
            model.optimizer.build(model.trainable_variables)


def _in_words(found, logs, restored):
    place = "the end of" if found["batch"] is None else f"batch {found['batch'] + 1} of"
    text = f"Training diverged at {place} epoch {found['epoch'] + 1}"
    if found["terms"]:
        text += f": {_terms_in_words(found['terms'], logs)}"
    sentences = [text]
    layer, largest = found["layer"], found["largest_output"]
    step = found["restored_step"]
    if largest is not None:
        sentences.append(
            f"With the weights of step {step} the outputs of layer {layer!r} are up to "
            f"{largest:.3g} already"
        )
    elif layer is not None:
        sentences.append(f"The weights of layer {layer!r} are not finite")
    if found["data"] is not None:
        sentences.append(f"The data are to blame: {found['data']}")
    sentences.append(
        f"The state of step {step} is restored"
        if restored
        else "No finite state could be restored: weights were not finite before"
    )
    return ". ".join(sentences) + "."


def _terms_in_words(terms, logs):
    first = next(iter(terms))
    text = f"`{first}` is {terms[first]}"
    others = [name for name in terms if name != first and name not in _SUMS]
    if others:
        text += f", and so {'are' if len(others) > 1 else 'is'} " + ", ".join(
            f"`{name}`" for name in others
        )
    fine = [
        f"`{name}` is still {value:.6g}"
        for name, value in logs.items()
        if math.isfinite(value) and name.endswith("_loss")
    ]
    return ", ".join([text, *fine])


def _advice(data, rates):
    if data is not None:
        return "Remove or replace these values."
    known = " or ".join(f"{rate:.4g}" for rate in dict.fromkeys(np.float32(rates)))
    return (
        f"Lower the learning rate, which was {known}, pass `clipnorm` to the "
        "optimizer, or scale the data; if they come from a stream, check the "
        "stream for values that are not finite."
    )

"""A callback that diagnoses the latents during training."""

import os

import keras
import tensorflow as tf

from keras_vae import checks
from keras_vae.callbacks.monitor import RemembersRun
from keras_vae.weighing.diagnosing.diagnosis import diagnose
from keras_vae.weighing.diagnosing.evidence import name_of_unit
from keras_vae.weighing.diagnosing.subject import subject_of

# Evidence written as scalars beside the verdict, if it was measured.
_SCALARS = (
    "active_units",
    "mutual_information",
    "shuffle_cost",
    "missing_rate",
    "aggregate_gap",
    "noise_ratio",
)


class CollapseMonitor(RemembersRun, keras.callbacks.Callback):
    """Diagnoses the model during training and records since when units are unused.

    Runs `keras_vae.diagnose` at the end of epochs, without the audit, which takes
    training steps. It does not change the run: the final weights are equal with and
    without it. While `kl_weight` is on its ramp the verdict is "ramp_not_finished",
    because the latents cannot be judged yet. The record begins anew with another model,
    or with the same model at step 0.

    Attributes:
        diagnosis: The last `Diagnosis`, or None.
        history: List of pairs (epoch, verdict), epochs counted from 0.
        collapsed_since: List with one entry per unit: the epoch, counted from 0, since
            which the unit has been unused without a break, or None if it is active. A
            unit is active if the variance of its posterior mean exceeds 0.01.

    Args:
        validation_data: Array x or tuple (x, y), as for `fit`.
        every: Integer, epochs between two diagnoses; the last epoch has one too.
        log_dir: Directory of a TensorBoard run, or None. Verdicts are written as text
            `diagnosis/verdict`, and numbers as scalars, to `<log_dir>/diagnosis`.
        max_examples: Integer, the most examples to diagnose.
        seed: Integer, see `diagnose`.
        verbose: Integer, 1 to print verdicts when they change, 2 to print all.

    Raises:
        ValueError: If an argument is out of range. At the start of `fit`, if the model
            has no latent variable or the data do not fit.

    Example:
    >>> _, x_test = kv.datasets.digits()
    >>> monitor = kv.callbacks.CollapseMonitor(x_test, every=5, log_dir="runs/digits")

    Reference:
        [Don't Blame the ELBO!](https://arxiv.org/abs/1911.02469)
    """

    def __init__(
        self,
        validation_data,
        every=1,
        log_dir=None,
        max_examples=1000,
        seed=0,
        verbose=1,
    ):
        super().__init__()
        checks.check_count("every", every)
        checks.check_count("max_examples", max_examples, 2)
        self.validation_data = validation_data
        self.every = int(every)
        self.log_dir = None if log_dir is None else os.fspath(log_dir)
        self.max_examples = int(max_examples)
        self.seed = seed
        self.verbose = verbose
        self._writer = None
        self._forget_run()

    def on_train_begin(self, logs=None):
        """Checks that the model can be diagnosed."""
        super().on_train_begin(logs)
        subject_of(self.model, self.validation_data)

    def _forget_run(self):
        self.diagnosis = None
        self.history = []
        self.collapsed_since, self._names = [], []

    def on_epoch_end(self, epoch, logs=None):
        """Diagnoses the model if a diagnosis is due."""
        is_last = epoch + 1 == self.params.get("epochs") or self.model.stop_training
        if not is_last and (epoch + 1) % self.every:
            return
        before = None if self.diagnosis is None else self.diagnosis.verdict
        self.diagnosis = diagnose(
            self.model,
            self.validation_data,
            audit=False,
            max_examples=self.max_examples,
            seed=self.seed,
        )
        self.history.append((epoch, self.diagnosis.verdict))
        self._remember(epoch)
        if self.verbose > 1 or (self.verbose and self.diagnosis.verdict != before):
            print(f"\nEpoch {epoch + 1}: {self.diagnosis}\n{self._since()}".rstrip())
        if self.log_dir is not None:
            self._write(epoch)

    def on_train_end(self, logs=None):
        """Closes the file of the events."""
        if self._writer is not None:
            self._writer.close()
            self._writer = None

    def _remember(self, epoch):
        active = self.diagnosis.evidence.get("active")
        if active is None:
            return  # Diverged.
        # Of a later look that finds the model diverged there are none.
        self._names = [
            name_of_unit(unit, self.diagnosis.evidence) for unit in range(len(active))
        ]
        since = self.collapsed_since or [None] * len(active)
        self.collapsed_since = [
            None if used else epoch if first is None else first
            for used, first in zip(active, since, strict=True)
        ]

    def _since(self):
        """Lists the epochs since which units are unused, counted from 1 as printed."""
        epochs = {}
        for name, epoch in zip(self._names, self.collapsed_since, strict=True):
            if epoch is not None:
                epochs.setdefault(epoch + 1, []).append(name)
        if not epochs:
            return ""
        words = [f"{n}: {', '.join(units)}" for n, units in sorted(epochs.items())]
        return f"  Unused since epoch {'; since epoch '.join(words)}."

    def _write(self, epoch):
        if self._writer is None:
            self._writer = tf.summary.create_file_writer(
                os.path.join(self.log_dir, "diagnosis")
            )
        # Another callback may have left `record_if` in force.
        with self._writer.as_default(step=epoch), tf.summary.record_if(True):
            text = self.diagnosis.markdown()
            if since := self._since().strip():
                text += f"\n* {since}"
            tf.summary.text("diagnosis/verdict", text)
            for name in _SCALARS:
                if name in self.diagnosis.evidence:
                    value = self.diagnosis.evidence[name]
                    tf.summary.scalar(f"diagnosis/{name}", value)
        self._writer.flush()

"""Checkpoints that ignore the rise of the loss during annealing."""

import json
import math
import os
import warnings

import keras
import tensorflow as tf

from keras_vae.callbacks.monitor import ComparesEpochs
from keras_vae.callbacks.monitor import RemembersRun
from keras_vae.callbacks.monitor import ramp_end
from keras_vae.files import replaced
from keras_vae.replicas import number


class ModelCheckpoint(RemembersRun, ComparesEpochs, keras.callbacks.ModelCheckpoint):
    """Saves the model of the best epoch by the unweighted negative ELBO.

    Keras's callback, except that it compares no epochs before the ramp of the KL weight
    has ended: under annealing the best `val_loss` belongs to the smallest weight, not
    to the best model. The ramp is the schedule that `KLAnnealing` attaches, in any
    order of callbacks. A schedule that never settles, such as `schedules.repeat`,
    delays nothing. If training ends before the ramp, the last model is saved with a
    warning.

    | file | content |
    |---|---|
    | `filepath` | the model, always complete: it is written aside and moved |
    | `<filepath>.json` | the best value in its units, its name and its epoch |

    A run that continues reads the second file, so that a resumed run does not overwrite
    a better model. A run from step 0 ignores it: with another `fit` of another model,
    or of the same model from step 0, the same callback begins anew. The second file is
    not written if `filepath` holds names in braces, because such files do not overwrite
    each other. An epoch whose value is NaN or infinite is never the best; if all are,
    nothing is saved, with a warning. `save_best_only=False` saves every epoch, from the
    first.

    Args:
        filepath: String or path, ending in ".keras", or in ".weights.h5" with
            `save_weights_only=True`; may hold "{epoch:02d}" and names in the logs.
        monitor: String, the log to compare. The default is comparable across weights
            and time.
        save_best_only: Boolean, whether to save only an epoch better than all before.
        mode: "min", "max" or "auto", which is "min" for the losses of this library.
        validation_freq: Integer or collection of integers, as passed to `fit`.
        **kwargs: See `keras.callbacks.ModelCheckpoint`.

    Raises:
        ValueError: If `filepath` is a directory, or if `save_freq` is a number of
            batches and `save_best_only` is set. Before the first epoch of a run that
            continues, if `<filepath>.json` cannot be read. At the end of the first
            epoch with validation, if its logs lack the monitored value, for example
            because there are no validation data.

    Example:
    >>> callback = kv.callbacks.ModelCheckpoint("runs/digits/best.keras")
    >>> callback.monitor, callback.mode, callback.save_best_only
    ('val_negative_elbo', 'min', True)

    Reference:
        [Generating Sentences from a Continuous Space](
        https://arxiv.org/abs/1511.06349), section 3.1 and figure 2, for the ramp
    """

    def __init__(
        self,
        filepath,
        monitor="val_negative_elbo",
        save_best_only=True,
        mode="auto",
        validation_freq=1,
        **kwargs,
    ):
        super().__init__(
            filepath=filepath,
            monitor=monitor,
            save_best_only=save_best_only,
            mode=mode,
            validation_freq=validation_freq,
            **kwargs,
        )
        if tf.io.gfile.isdir(self.filepath):
            raise ValueError(
                "`filepath` must name a file. Received: the directory "
                f"{self.filepath!r}"
            )
        if self.save_best_only and self.save_freq != "epoch":
            raise ValueError(
                '`save_freq` must be "epoch" to save the best only, because epochs '
                "are compared; pass `save_best_only=False` to save every n "
                f"batches. Received: save_freq={self.save_freq}"
            )
        self._threshold = self.best

    def on_train_begin(self, logs=None):
        """Forgets the ramp of an earlier run."""
        super().on_train_begin(logs)
        self._skipped = None
        self._is_sound = True

    def on_epoch_end(self, epoch, logs=None):
        """Saves the model if it is the best since the ramp ended."""
        if not self.save_best_only:
            super().on_epoch_end(epoch, logs)
            return
        is_comparable = self._is_comparable(epoch, logs)
        if self._is_measured(epoch):
            self._is_sound = self._is_finite(epoch, logs)
        self._skipped = None
        if is_comparable and self._is_sound:
            super().on_epoch_end(epoch, logs)
        elif self._is_sound:
            # Schedules may be detached by the end of training.
            self._skipped = epoch, ramp_end(self.model)

    def on_train_end(self, logs=None):
        """Saves the last model if the ramp left none to compare."""
        super().on_train_end(logs)
        # A best exists if only the last epochs were not validated.
        if self.best is not None:
            return
        if self._skipped is not None:
            self._save_last(*self._skipped, logs)
        elif not self._is_sound:
            warnings.warn(
                f"No model was saved to {self.filepath}: no epoch had a finite "
                f"`{self.monitor}` to compare. Received: {self._not_finite}",
                stacklevel=2,
            )

    def _save_last(self, epoch, end_step, logs):
        filepath = self._get_file_path(epoch, None, logs or {})
        # The best value belongs to a model that is about to be overwritten.
        if tf.io.gfile.exists(self._best_path):
            tf.io.gfile.remove(self._best_path)
        self._write(filepath)
        step = number(self.model.optimizer.iterations)
        if step <= end_step:
            reason = (
                f"after {step} optimizer steps, but "
                f"the ramp of `kl_weight` takes {end_step}. Train longer, or "
                'shorten the ramp, for example with `duration="50%"`.'
            )
        else:
            reason = (
                f"before an epoch with {self.monitor!r} in its logs. Train longer, or "
                "validate more often. Received: "
                f"validation_freq={self.validation_freq}"
            )
        warnings.warn(
            f"The last model was saved to {filepath}, not the best: `fit` ended "
            + reason,
            stacklevel=2,
        )

    def _save_model(self, epoch, batch, logs):
        filepath = self._get_file_path(epoch, batch, logs)
        if not self._should_save_model(epoch, batch, logs, filepath):
            return
        self._write(filepath)
        if self.save_best_only and filepath == self.filepath:
            best = {"epoch": epoch + 1, "monitor": self.monitor, "best": self.best}
            with replaced(self._best_path) as path, tf.io.gfile.GFile(path, "w") as f:
                json.dump(best, f, default=float)

    def _write(self, filepath):
        directory = os.path.dirname(filepath)
        if directory:
            tf.io.gfile.makedirs(directory)
        # Keras writes in place: a run killed during the write would lose the old file
        # and leave the new one incomplete.
        with replaced(filepath) as path:
            if self.save_weights_only:
                self.model.save_weights(path, overwrite=True)
            else:
                self.model.save(path, overwrite=True)

    @property
    def _best_path(self):
        return f"{self.filepath}.json"

    def _forget_run(self):
        self.best = self._threshold
        goes_on = number(self.model.optimizer.iterations) > 0
        if not self.save_best_only or self.best is not None or not goes_on:
            return
        if not all(map(tf.io.gfile.exists, (self.filepath, self._best_path))):
            return
        best = self._read_best()
        # A file of an earlier version may hold NaN as the best.
        if best["monitor"] == self.monitor and math.isfinite(best["best"]):
            self.best = best["best"]

    def _read_best(self):
        try:
            with tf.io.gfile.GFile(self._best_path) as file:
                best = json.load(file)
            return {"monitor": best["monitor"], "best": float(best["best"])}
        except (KeyError, TypeError, ValueError, tf.errors.OpError) as error:
            raise ValueError(
                f"The best value so far must be readable to continue a run: it is in "
                f"{self._best_path}. Remove that file to let the next epoch count as "
                f"the best. Received: {type(error).__name__}: {error}"
            ) from error

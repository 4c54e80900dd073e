"""Rules for comparing the epochs of a run with each other."""

import math
import warnings
import weakref

from absl import logging

from keras_vae import _keras
from keras_vae.hyperparameter import Hyperparameter
from keras_vae.replicas import number

# Logs of this library's models; Keras knows the direction of other metrics.
_MINIMISED = {"loss", "negative_elbo", "reconstruction_loss", "kl_loss"}


def ramp_end(model):
    """Returns the optimizer step at which the last ramp of a `kl_weight` ends.

    A ramp is a schedule that changes the weight and settles. A schedule that never
    settles, such as `schedules.repeat`, is not a ramp: waiting for it would never end.
    A schedule without a known end is not a ramp either.

    Args:
        model: A compiled `keras.Model`, at any time while `fit` runs.

    Returns:
        An integer, 0 if there is no ramp.
    """
    ends = [0]
    for item in _keras.sublayers(model, Hyperparameter):
        end_step = getattr(item.schedule, "end_step", None)
        if item.weighs_kl and end_step:
            ends.append(end_step + number(item.offset))
    return max(ends)


class RemembersRun:
    """Mixin for a callback that carries its record from one `fit` to the next.

    A run begins anew with another model, or at the optimizer's step 0.
    """

    _model_of_run = None

    def on_train_begin(self, logs=None):
        """Defers to the first epoch: another callback may still restore the model."""
        super().on_train_begin(logs)
        self._is_first_epoch = True

    def on_epoch_begin(self, epoch, logs=None):
        """Forgets the previous run unless this run continues it."""
        super().on_epoch_begin(epoch, logs)
        if not self._is_first_epoch:
            return
        self._is_first_epoch = False
        before = self._model_of_run and self._model_of_run()
        self._model_of_run = weakref.ref(self.model)
        if before is not self.model or number(self.model.optimizer.iterations) == 0:
            self._forget_run()

    def _forget_run(self):
        """Resets the callback to its initial state."""
        raise NotImplementedError


class ComparesEpochs:
    """Mixin for a callback of Keras with a `monitor`, `mode` and `verbose`.

    Args:
        validation_freq: Integer or collection of integers, as in `fit`.
    """

    def __init__(self, *args, monitor, mode, validation_freq, **kwargs):
        if mode == "auto" and monitor.removeprefix("val_") in _MINIMISED:
            mode = "min"
        super().__init__(*args, monitor=monitor, mode=mode, **kwargs)
        self.validation_freq = validation_freq

    def on_train_begin(self, logs=None):
        """Forgets the warnings of an earlier `fit`."""
        super().on_train_begin(logs)
        self._said = False
        self._not_finite = None

    def _is_finite(self, epoch, logs):
        """Whether the value of an epoch may become the best; warns if not, once.

        Args:
            epoch: Integer, counted from 0.
            logs: Dict, the logs of the epoch.
        """
        value = (logs or {}).get(self.monitor)
        if value is None:
            return True
        value = float(value)
        if math.isfinite(value):
            return True
        if self._not_finite is None:
            self._not_finite = value
            warnings.warn(
                f"`{self.monitor}` is {value} after epoch {epoch + 1}: an epoch "
                f"without a finite value is never the best of {type(self).__name__}. "
                "Lower the learning rate, clip gradients with `clipnorm`, or search "
                "the data for such values; `kv.callbacks.DivergenceGuard` stops at the "
                "first such loss.",
                stacklevel=2,
            )
        return False

    def _is_comparable(self, epoch, logs):
        """Whether this epoch has a value to compare, from a model at full KL weight.

        Args:
            epoch: Integer, counted from 0.
            logs: Dict, the logs of the epoch.

        Raises:
            ValueError: If the logs lack the monitored value.
        """
        if not self._is_measured(epoch):
            return False
        if self.monitor not in (logs or {}):
            raise ValueError(self._not_in_logs(logs or {}))
        end, step = ramp_end(self.model), number(self.model.optimizer.iterations)
        # Step `end`, counted from 0, is the first step trained at the final weight.
        if not end or step > end:
            return True
        if not self._said:
            self._said = True
            text = (
                f"{type(self).__name__} compares epochs once the ramp of `kl_weight` "
                f"has ended, after {end} optimizer steps; {step} are done."
            )
            logging.info(text)
            if self.verbose:
                print(f"\nEpoch {epoch + 1}: {text}")
        return False

    def _is_measured(self, epoch):
        if not self.monitor.startswith("val_"):
            return True
        if isinstance(self.validation_freq, int):
            return (epoch + 1) % self.validation_freq == 0
        return epoch + 1 in self.validation_freq

    def _not_in_logs(self, logs):
        if self.monitor.startswith("val_") and not any(
            name.startswith("val_") for name in logs
        ):
            advice = (
                "Pass `validation_data=(x_test,)` to `fit`, or monitor "
                f"{self.monitor.removeprefix('val_')!r}. If `fit` validates every n "
                "epochs, pass its `validation_freq` to this callback too."
            )
        else:
            advice = "Pass one of these names."
        return (
            f"`monitor` must be in the logs of `fit`. Received: "
            f"monitor={self.monitor!r}, which is not among {sorted(logs)}. {advice}"
        )

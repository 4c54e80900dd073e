"""Stopping that does not mistake annealing for getting worse."""

import keras

from keras_vae.callbacks.monitor import ComparesEpochs


class EarlyStopping(ComparesEpochs, keras.callbacks.EarlyStopping):
    """Stops training when the unweighted negative ELBO has stopped improving.

    Keras's callback, which does nothing before the ramp of the KL weight has ended: the
    best of the earlier epochs has another objective, and patience would run out while
    the weight still rises. The end is that of the schedule that `KLAnnealing` attaches,
    in whatever order callbacks are listed; `start_from_epoch` applies beside it. A
    schedule that never settles, such as `schedules.repeat`, holds nothing up.

    Patience and the best value begin anew with each `fit`, after a resume too. An epoch
    whose value is NaN or infinite counts as one without improvement and is never the
    best, so that its weights are never restored.

    Args:
        monitor: String, what to compare. The default compares across weights and time.
        patience: Integer, epochs without improvement after which training stops.
        mode: "min", "max" or "auto", which is "min" for the losses of this library.
        validation_freq: Integer or collection of integers, that of `fit`.
        **kwargs: See `keras.callbacks.EarlyStopping`.

    Raises:
        ValueError: At the end of the first epoch that should have a value to compare,
            if it is not in the logs: there are no validation data, for example.

    Example:
    >>> callback = kv.callbacks.EarlyStopping(patience=10, restore_best_weights=True)
    >>> callback.monitor
    'val_negative_elbo'

    Reference:
        [Generating Sentences from a Continuous Space](
        https://arxiv.org/abs/1511.06349), section 3.1 and figure 2, for the ramp
    """

    def __init__(
        self,
        monitor="val_negative_elbo",
        patience=0,
        mode="auto",
        validation_freq=1,
        **kwargs,
    ):
        super().__init__(
            monitor=monitor,
            patience=patience,
            mode=mode,
            validation_freq=validation_freq,
            **kwargs,
        )

    def on_epoch_end(self, epoch, logs=None):
        """Compares the epoch with the best one, once the ramp has ended."""
        if not self._is_comparable(epoch, logs):
            return
        if self._is_finite(epoch, logs):
            super().on_epoch_end(epoch, logs)
        elif epoch >= self.start_from_epoch:
            self.wait += 1
            if self.wait >= self.patience and epoch > 0:
                self.stopped_epoch = epoch
                self.model.stop_training = True

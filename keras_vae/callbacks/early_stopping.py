"""Early stopping that ignores the rise of the loss during annealing."""

import keras

from keras_vae.callbacks.monitor import ComparesEpochs


class EarlyStopping(ComparesEpochs, keras.callbacks.EarlyStopping):
    """Stops training when the unweighted negative ELBO has stopped improving.

    Keras's callback, except that it does nothing before the ramp of the KL weight has
    ended. Earlier epochs have another objective, so their best is not comparable, and
    patience would run out while the weight still rises. The ramp is the schedule that
    `KLAnnealing` attaches, in any order of callbacks; `start_from_epoch` applies as
    well. A schedule that never settles, such as `schedules.repeat`, delays nothing.

    Patience and the best value begin anew with each `fit`, also after a resume. An
    epoch whose value is NaN or infinite counts as an epoch without improvement. It is
    never the best, so its weights are never restored.

    Args:
        monitor: String, the log to compare. The default is comparable across weights
            and time.
        patience: Integer, epochs without improvement after which training stops.
        mode: "min", "max" or "auto", which is "min" for the losses of this library.
        validation_freq: Integer or collection of integers, as passed to `fit`.
        **kwargs: See `keras.callbacks.EarlyStopping`.

    Raises:
        ValueError: At the end of the first epoch with validation, if its logs lack the
            monitored value, for example because there are no validation data.

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

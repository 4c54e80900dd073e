"""A callback that ends the aggressive training of an encoder."""

import keras
from absl import logging

from keras_vae import checks
from keras_vae import evaluation
from keras_vae import random
from keras_vae.callbacks.hyperparameter_scheduler import number
from keras_vae.models import AggressiveVAE


class AggressiveStopping(keras.callbacks.Callback):
    """Ends the aggressive phase when the mutual information of x and z falls.

    After each epoch of the phase it estimates `I(x; z)` on held-out data, with one draw
    of z per example and always from the same noise. The phase of the `AggressiveVAE`
    ends after the first epoch whose estimate is below the previous one, as in He et al.
    An epoch of `fit` has fewer updates of the decoder than an epoch of the paper:
    measure less often with `period`.

    Writes `mutual_information` into the logs of the epochs that it measures. The
    previous estimate is saved with the model, so a resumed run ends the phase at the
    epoch at which the interrupted run would have ended it.

    Args:
        data: Array of shape (examples, *input_shape), held out.
        period: Positive integer, epochs between two measurements.
        batch_size: Positive integer, examples per estimate; an estimate never exceeds
            log(batch_size).
        seed: Integer in [0, 2**31), seed of the noise.
        verbose: 0, or 1 to print when the phase ends; it is always logged.

    Raises:
        ValueError: If an argument is out of range. At the start of `fit`, if the model
            is not an `AggressiveVAE` or does not take the data.

    Example:
    >>> _, x_test = kv.datasets.digits()
    >>> callback = kv.callbacks.AggressiveStopping(x_test)

    Reference:
        [Lagging Inference Networks and Posterior Collapse in Variational
        Autoencoders](https://arxiv.org/abs/1901.05534)
    """

    def __init__(self, data, period=1, batch_size=256, seed=0, verbose=0):
        super().__init__()
        self.data = checks.check_examples(data, missing="nan")
        self.period = checks.check_count("period", period)
        self.batch_size = checks.check_count("batch_size", batch_size, 2)
        self.seed = random.check_seed(seed)
        self.verbose = verbose

    def on_train_begin(self, logs=None):
        """Checks that the model has an aggressive phase and can encode the data."""
        if not isinstance(self.model, AggressiveVAE):
            raise ValueError(
                "`AggressiveStopping` needs a model with an aggressive phase, a "
                f"`keras_vae.AggressiveVAE`. Received: a {type(self.model).__name__}"
            )
        checks.check_input(self.model, self.data)

    def on_epoch_begin(self, epoch, logs=None):
        """Measures an epoch that was interrupted before its measurement."""
        # `BackupAndRestore` may have saved before this callback's turn came.
        self._compare(epoch - 1)

    def on_epoch_end(self, epoch, logs=None):
        """Measures, and ends the phase if the mutual information fell."""
        self._compare(epoch, logs)

    def _compare(self, epoch, logs=None):
        loop, step = self.model.inner_loop, number(self.model.latent.noise.count)
        last_step = number(loop.measured_step)
        is_due = step != last_step and (epoch + 1) % self.period == 0
        if not (is_due and self.model.aggressive):
            return
        before = number(loop.information)
        loop.information.assign(self.mutual_information())
        # Read back in float32, the precision of the next comparison.
        now = number(loop.information)
        loop.measured_step.assign(step)
        if logs is not None:
            logs["mutual_information"] = now
        if last_step and now < before:
            self.model.aggressive = False
            text = (
                f"The aggressive phase ends after {step} steps: the mutual information "
                f"fell from {before:.4f} to {now:.4f} nats."
            )
            logging.info(text)
            if self.verbose:
                print(f"\nEpoch {epoch + 1}: {text}")

    def mutual_information(self):
        """Estimates I(x; z) of the data.

        Returns:
            Float, nats, the mean over batches weighted by their size.
        """
        return evaluation.mutual_information(
            self.model, self.data, self.batch_size, self.seed
        )

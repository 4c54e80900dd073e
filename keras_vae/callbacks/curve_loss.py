"""The loss of validation data over all weights of a Multi-Rate VAE."""

import keras
import numpy as np
import tensorflow as tf

from keras_vae import random
from keras_vae.arguments import check_count
from keras_vae.weighing import measuring
from keras_vae.weighing.curve import betas_between
from keras_vae.weighing.curve.reading import Meaning

_NUM_BETAS = 7
# Examples that are evaluated at once.
_BATCH = 500


class CurveLoss(keras.callbacks.Callback):
    """Logs `val_curve_loss`, by which epochs of a Multi-Rate VAE compare.

    Validation within `fit` evaluates one weight only. This callback measures

        L(beta) = distortion + beta rate

    at several weights, with the same draws of z in each epoch, and logs the mean over
    the weights. Under a normal of fixed scale, where beta is a noise and L grows with
    it, the mean is that of `size / 2 log L'(beta)`, with L' = SSE / (2 scale^2) + beta
    rate, so that each weight counts by its relative change.

    Callbacks that monitor the value, such as `ModelCheckpoint(path,
    monitor="val_curve_loss")`, come after this one in the list.

    Args:
        data: Array x (examples, ...), or tuple (x, y), as for `fit`.
        betas: List of weights, or None for 7 over the `beta_range` of the model.
        max_examples: Integer, so many examples are measured, the first ones.

    Example:
    >>> multi = kv.MultiRateVAE(
    ...     encoder=kv.networks.mlp_encoder([4]),
    ...     decoder=kv.networks.mlp_decoder([4], (3,)),
    ...     latent_dim=2,
    ...     likelihood="unit_normal",
    ...     seed=0,
    ... )
    >>> multi.compile("adam")
    >>> x = np.float32(np.random.default_rng(0).normal(size=(64, 3)))
    >>> callback = kv.callbacks.CurveLoss(x[:32])
    >>> history = multi.fit(x[32:], callbacks=[callback], verbose=0)
    >>> len(history.history["val_curve_loss"])
    1

    Reference:
        [Multi-Rate VAE](https://arxiv.org/abs/2212.03905)
    """

    def __init__(self, data, betas=None, max_examples=1000):
        super().__init__()
        self.data, self.betas = data, betas
        self.max_examples = check_count("max_examples", max_examples)
        self._measured = None

    def on_train_begin(self, logs=None):
        """Checks model and data."""
        super().on_train_begin(logs)
        if getattr(self.model, "beta_range", None) is None:
            raise ValueError(
                "`CurveLoss` needs a model of all weights, a `MultiRateVAE`; of one "
                f"weight `val_loss` compares epochs. Received: {self.model.name!r}"
            )
        if self.betas is not None:
            if not len(self.betas):
                raise ValueError("`betas` must hold weights, or be None. Received: []")
            for beta in self.betas:
                self.model.condition_of(beta)
        self._measured = None

    def on_epoch_end(self, epoch, logs=None):
        """Adds the value to the logs."""
        if logs is not None:
            logs["val_curve_loss"] = self.measure()

    def measure(self):
        """Returns the value of the model as it is.

        Returns:
            Float, nats.
        """
        if self._measured is None:
            self._measured = _Measurement(self.model, self.data, self.max_examples)
        betas = self.betas
        if betas is None:
            betas = betas_between(*self.model.beta_range, _NUM_BETAS)
        return self._measured.mean(betas)


class _Measurement:
    """What is compiled once for a model and its data."""

    def __init__(self, model, data, max_examples):
        self.model = model
        x, y = measuring.split(model, data)
        self.x = tf.nest.map_structure(lambda v: v[:max_examples], x)
        self.y = None if y is None else y[:max_examples]
        target = np.asarray(self.x if y is None else self.y)
        self.meaning = Meaning.of(model.likelihood, target)
        self._sums = tf.function(self._sums_of, autograph=False, reduce_retracing=True)

    def mean(self, betas):
        losses = np.array([self._loss(beta) for beta in betas])
        if not self.meaning.is_noise:
            return float(losses.mean())
        return float(self.meaning.observed_size / 2 * np.log(losses).mean())

    def _loss(self, beta):
        total, number = np.zeros(2), len(tf.nest.flatten(self.x)[0])
        for start, x, y in measuring.batches(self.x, self.y, _BATCH):
            condition = self.model.condition_of(beta)
            y = x if y is None else y
            total += self._sums(x, y, random.key(0, start), condition).numpy()
        distortion, rate = total / number
        return distortion - self.meaning.constant + beta * rate

    def _sums_of(self, x, y, key, condition):
        # Layers in this scope keep no losses and no new state.
        with keras.StatelessScope():
            estimate = self.model.estimate(x, y, 1, key, condition)
            rate = self.model.objective.rate(estimate)
        return tf.stack([tf.reduce_sum(estimate.distortion), tf.reduce_sum(rate)])

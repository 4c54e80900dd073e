"""Likelihood of classes."""

import keras
import numpy as np
import tensorflow as tf

from keras_vae import random
from keras_vae.arguments import check_count
from keras_vae.distributions import tfd
from keras_vae.distributions.likelihoods.likelihood import Likelihood
from keras_vae.distributions.likelihoods.likelihood import divide_last
from keras_vae.distributions.likelihoods.likelihood import multiply_last


@keras.saving.register_keras_serializable("keras_vae")
class Categorical(Likelihood):
    """Classes, such as words or quantised pixels; the decoder puts out logits.

        log p(x|z) = sum_i log softmax(params_i)[x_i]

    The last axis of the decoder's output is `num_classes` times as long as the last
    axis of x: first the logits of its first element, then the logits of the second, and
    so on. x holds class ids, which may be floats.

    Args:
        num_classes: Integer above 1.

    Raises:
        ValueError: If `num_classes` is invalid.

    Example:
    >>> likelihood = kv.distributions.Categorical(num_classes=4)
    >>> likelihood.params_shape((28, 28, 1))
    (28, 28, 4)
    >>> likelihood.log_prob(tf.zeros([1, 1, 8]), tf.constant([[3, 0]])).numpy().round(3)
    array([[-2.773]], dtype=float32)

    Reference:
        [Generating Sentences from a Continuous Space](
        https://arxiv.org/abs/1511.06349)
    """

    invalid_activations = ("sigmoid", "softmax")
    value_dtype = "int32"

    def __init__(self, num_classes, **kwargs):
        super().__init__(**kwargs)
        self.num_classes = check_count("num_classes", num_classes, 2)

    def params_shape(self, event_shape):
        """See `Likelihood.params_shape`."""
        return multiply_last(event_shape, self.num_classes)

    def event_shape(self, params_shape):
        """See `Likelihood.event_shape`."""
        return divide_last(params_shape, self.num_classes)

    def mean(self, params):
        """Computes E[x|z] of the class ids, which is useful only for ordered classes.

        Args:
            params: Float tensor (..., *params_shape).

        Returns:
            A float32 tensor (..., *event_shape), in [0, num_classes - 1].
        """
        logits = self._elements(params).logits
        # On CPUs softmax supports at most five axes.
        rows = tf.nn.softmax(tf.reshape(logits, [-1, self.num_classes]))
        ids = tf.range(self.num_classes, dtype=tf.float32)
        return tf.reshape(tf.linalg.matvec(rows, ids), tf.shape(logits)[:-1])

    def activation_of(self, params, x):
        """See `Likelihood.activation_of`: the values of each element add up to 1."""
        rows = np.reshape(np.asarray(params, np.float64), (-1, self.num_classes))
        adds_up = rows.min() >= 0 and np.abs(rows.sum(axis=1) - 1).max() < 1e-2
        return "softmax" if adds_up else None

    def get_config(self):
        """Returns the config; `from_config` makes an equal layer from it."""
        return {**super().get_config(), "num_classes": self.num_classes}

    def _params_mask(self, mask):
        return tf.repeat(mask, self.num_classes, axis=-1)

    def _elements(self, params):
        *leading, last = keras.ops.shape(params)
        shape = (*leading, last // self.num_classes, self.num_classes)
        return tfd.Categorical(tf.reshape(tf.cast(params, tf.float32), shape))

    def _draw(self, elements, key):
        noise = random.uniform(keras.ops.shape(elements.logits), key)
        gumbel = -tf.math.log(-tf.math.log(noise))
        return tf.argmax(elements.logits + gumbel, axis=-1, output_type=tf.int32)

    def _check_support(self, x):
        low, high = x.min(), x.max()
        if low < 0 or high >= self.num_classes or (x != np.floor(x)).any():
            raise ValueError(
                "`x` must hold the class ids 0 to num_classes - 1 as whole numbers; "
                "quantize continuous data or raise `num_classes`. Received: x in "
                f"[{low}, {high}], num_classes={self.num_classes}"
            )

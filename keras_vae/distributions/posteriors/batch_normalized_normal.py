"""The normal posterior of BN-VAE, whose means have a fixed spread."""

import math

import keras
import tensorflow as tf

from keras_vae import replicas
from keras_vae.distributions.posteriors.diagonal_normal import DiagonalNormal
from keras_vae.weights import add_float32


@keras.saving.register_keras_serializable("keras_vae")
class BatchNormalizedNormal(DiagonalNormal):
    """Normal posterior whose means are batch-normalized to a fixed spread: BN-VAE.

    In training the means of each unit have the standard deviation `gamma` over the
    batch of all replicas. This bounds the rate of L units from below: `E KL >= L
    gamma^2 / 2`, Zhu et al. Outside training the moving statistics normalize the means.

    Args:
        gamma: Positive float, spread of the means.

    Example:
    >>> kv.distributions.BatchNormalizedNormal(gamma=0.5).gamma
    0.5

    Reference:
        [A Batch Normalized Inference Network Keeps the KL Vanishing Away](
        https://arxiv.org/abs/2004.12585)
    """

    def __init__(self, gamma=0.5, **kwargs):
        super().__init__(**kwargs)
        if not 0 < gamma < math.inf:
            raise ValueError(f"`gamma` must be positive. Received: gamma={gamma}")
        self.gamma = float(gamma)
        self.normalization = _BatchNormalization(dtype="float32", name="normalization")

    def transform(self, raw):
        """See `Posterior.transform`."""
        loc, raw_scale = tf.split(raw, 2, axis=-1)
        return tf.concat([self.gamma * self.normalization(loc), raw_scale], axis=-1)

    def build_for(self, latent_dim):
        """See `Posterior.build_for`."""
        if not self.normalization.built:
            self.normalization.build((None, latent_dim))

    def get_config(self):
        """Returns the config; `from_config` makes an equal layer from it."""
        return {**super().get_config(), "gamma": self.gamma}


class _BatchNormalization(keras.layers.Layer):
    """Batch normalization without a gain, over the batch of all replicas.

    Keras's own layer computes statistics per replica, so its moving statistics differ
    between replicas.
    """

    momentum, epsilon = 0.99, 1e-5

    def build(self, input_shape):
        """Creates the weights."""
        self.beta = self._add_units("beta", input_shape[-1], "zeros", True)
        self.moving_mean = self._add_units("moving_mean", input_shape[-1], "zeros")
        self.moving_variance = self._add_units(
            "moving_variance", input_shape[-1], "ones"
        )

    def call(self, inputs, training=False):
        """Normalizes a tensor (batch, units)."""
        mean, variance = self.moving_mean.value, self.moving_variance.value
        if training:
            mean = _mean_over_replicas(inputs)
            variance = _mean_over_replicas(tf.square(inputs - mean))
            for moving, value in (
                (self.moving_mean, mean),
                (self.moving_variance, variance),
            ):
                value = self.momentum * moving + (1.0 - self.momentum) * value
                # Not `replicas.assign`: a prior's pseudo-inputs must not update these.
                moving.assign(tf.stop_gradient(value))
        return (inputs - mean) * tf.math.rsqrt(variance + self.epsilon) + self.beta

    def _add_units(self, name, units, initializer, trainable=False):
        return add_float32(
            self, name, initializer, (units,), trainable=trainable, aggregation="mean"
        )


def _mean_over_replicas(values):
    # Shards may differ in size, and one may be empty.
    count = tf.cast(tf.shape(values)[0], tf.float32)
    total = replicas.sum_over_replicas(tf.reduce_sum(values, axis=0))
    return total / replicas.sum_over_replicas(count)

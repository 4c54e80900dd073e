"""The normal posterior of delta-VAE, with a minimum rate."""

import math

import keras
import tensorflow as tf
from scipy import special

from keras_vae.distributions.posteriors.diagonal_normal import DiagonalNormal


@keras.saving.register_keras_serializable("keras_vae")
class CommittedNormal(DiagonalNormal):
    """Normal posterior with a rate of at least `delta` in each unit: delta-VAE.

    The variances v lie between the roots of `ln v - v + 2 delta + 1 = 0`, and the means
    satisfy `mu^2 >= 2 delta + 1 + ln v - v`. Hence `KL(q(z_j|x) || N(0, 1)) >= delta`
    for every x, Razavi et al., for independent latents. Use it with the prior
    "standard_normal".

    Args:
        delta: Positive float, nats per unit.

    Example:
    >>> posterior = kv.distributions.CommittedNormal(delta=0.1)
    >>> standard = kv.priors.StandardNormal()
    >>> standard.build_for(latent_dim=2)
    >>> q = posterior.distribution(tf.zeros([1, 4]))
    >>> rate = kv.distributions.kl_divergence(q, standard.distribution())
    >>> bool(rate[0] > 2 * 0.1 - 1e-5)
    True

    Reference:
        [Preventing Posterior Collapse with delta-VAEs](
        https://arxiv.org/abs/1901.03416)
    """

    def __init__(self, delta=0.1, **kwargs):
        super().__init__(**kwargs)
        if not 0 < delta < math.inf:
            raise ValueError(
                f"`delta` must be a positive number of nats. Received: delta={delta}"
            )
        self.delta = float(delta)
        argument = -math.exp(-1 - 2 * self.delta)
        self.variances = tuple(
            float(-special.lambertw(argument, branch).real) for branch in (0, -1)
        )

    def mean_and_stddev(self, params):
        """See `Posterior.mean_and_stddev`."""
        raw_loc, raw_scale = tf.split(tf.cast(params, tf.float32), 2, axis=-1)
        low, high = self.variances
        # A raw scale of 0 gives variance 1, as in the other families.
        offset = math.log((1.0 - low) / (high - 1.0))
        variance = low + (high - low) * tf.sigmoid(raw_scale + offset)
        least = 2 * self.delta + 1 + tf.math.log(variance) - variance
        size = tf.sqrt(tf.maximum(least, 0.0) + raw_loc**2 + 1e-8)
        return tf.where(raw_loc < 0, -size, size), tf.sqrt(variance)

    def get_config(self):
        """Returns the config; `from_config` makes an equal layer from it."""
        return {**super().get_config(), "delta": self.delta}

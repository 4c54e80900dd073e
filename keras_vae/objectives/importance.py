"""Importance-weighted bounds."""

import keras
import numpy as np
import tensorflow as tf

from keras_vae.objectives.elbo import ELBO


@keras.saving.register_keras_serializable("keras_vae")
class ImportanceWeighted(ELBO):
    """Negative importance-weighted bound, L_k of Burda et al.

    `loss = -E log (1/k) sum_i p(x|z_i) (p(z_i) / q(z_i|x))^kl_weight`, where k is
    `num_samples`. At `kl_weight=1` it lies between the ELBO (k = 1) and log p(x).

    Args:
        num_samples: Integer, draws of z per example, k in the paper.
        **kwargs: See `ELBO`.

    Example:
    >>> kv.ImportanceWeighted(num_samples=50).num_samples
    50

    Reference:
        [Importance Weighted Autoencoders](https://arxiv.org/abs/1509.00519)
    """

    separable = False

    def __init__(self, num_samples=5, **kwargs):
        super().__init__(num_samples=num_samples, **kwargs)

    def losses(self, estimate, mean):
        """See `ELBO.losses`."""
        log_ratio = estimate.log_ratio
        if self.latent_weights:
            log_ratio = self.weighted_sum(estimate, lambda latent: latent.log_ratio)
        log_weights = estimate.log_likelihood - self.kl_weight.value * log_ratio
        bound = tf.reduce_logsumexp(log_weights, axis=1) - np.log(self.num_samples)
        return {"importance_weighted_bound": -mean(bound)}

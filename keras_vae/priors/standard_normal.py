"""The prior N(0, I)."""

import keras
import tensorflow as tf

from keras_vae import random
from keras_vae.distributions import tfd
from keras_vae.priors.prior import Prior


@keras.saving.register_keras_serializable("keras_vae")
class StandardNormal(Prior):
    """The prior N(0, I).

        p(z) = prod_j N(z_j; 0, 1)

    as in section 3 of Kingma and Welling (2013).

    Example:
    >>> prior = kv.priors.StandardNormal()
    >>> prior.build_for(latent_dim=2)
    >>> prior.distribution().log_prob([[0.0, 0.0]]).numpy().round(3)
    array([-1.838], dtype=float32)

    Reference:
        [Auto-Encoding Variational Bayes](https://arxiv.org/abs/1312.6114)
    """

    def distribution(self, params=None, posterior=None):
        """See `Prior.distribution`."""
        zeros = tf.zeros([self.latent_dim])
        return tfd.Independent(tfd.Normal(zeros, tf.ones_like(zeros)), 1)

    def sample(self, num_samples, key, params=None, posterior=None):
        """See `Prior.sample`."""
        return random.normal((num_samples, self.latent_dim), key)

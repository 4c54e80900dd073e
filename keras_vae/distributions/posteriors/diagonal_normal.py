"""The normal posterior with independent latents."""

import keras
import tensorflow as tf

from keras_vae import random
from keras_vae.distributions import tfd
from keras_vae.distributions.posteriors.posterior import Posterior
from keras_vae.distributions.posteriors.posterior import sample_shape


@keras.saving.register_keras_serializable("keras_vae")
class DiagonalNormal(Posterior):
    """Normal posterior with independent latents.

        q(z|x) = prod_j N(z_j; loc_j, scale_j^2)

    as in appendix C.2 of Kingma and Welling (2013). The 2L parameters are loc and the
    raw scale, in this order; a raw scale of 0 gives a scale of 1 (see `bounded_scale`).

    Args:
        min_scale: Float in (0, 1), lower limit of the scales. Defaults to 1e-5.
        max_scale: Float above 1, upper limit of the scales. Defaults to 1000.

    Raises:
        ValueError: If the limits do not enclose 1.

    Example:
    >>> posterior = kv.distributions.DiagonalNormal()
    >>> q = posterior.distribution(tf.zeros([8, posterior.params_size(3)]))
    >>> q.batch_shape, q.event_shape
    (TensorShape([8]), TensorShape([3]))

    Reference:
        [Auto-Encoding Variational Bayes](https://arxiv.org/abs/1312.6114)
    """

    def params_size(self, latent_dim):
        """See `Posterior.params_size`."""
        return 2 * latent_dim

    def distribution(self, params):
        """See `Posterior.distribution`."""
        loc, scale = self.mean_and_stddev(params)
        return tfd.Independent(tfd.Normal(loc, scale), 1)

    def sample(self, params, num_samples, key):
        """See `Posterior.sample`."""
        loc, scale = self.mean_and_stddev(params)
        noise = random.normal(sample_shape(loc, num_samples), key)
        return loc[..., None, :] + scale[..., None, :] * noise

    def mean_and_stddev(self, params):
        """See `Posterior.mean_and_stddev`."""
        if params.shape[-1] % 2:
            raise ValueError(
                "`params` must hold a loc and a scale for each latent, an even number "
                f"on the last axis. Received: params.shape={tuple(params.shape)}"
            )
        loc, raw = tf.split(tf.cast(params, tf.float32), 2, axis=-1)
        return loc, self._scale(raw)

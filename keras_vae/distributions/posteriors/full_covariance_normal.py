"""The normal posterior with a full covariance."""

import math

import keras
import tensorflow as tf

from keras_vae import random
from keras_vae.distributions import tfd
from keras_vae.distributions.posteriors.posterior import Posterior
from keras_vae.distributions.posteriors.posterior import sample_shape


@keras.saving.register_keras_serializable("keras_vae")
class MultivariateNormalTriL(Posterior):
    """Normal posterior with a full covariance.

        q(z|x) = N(z; loc, T T'),  T lower triangular with a positive diagonal

    as in section 2.5.1 of Kingma and Welling (2019). The parameters are loc (L) and the
    triangle (L(L+1)/2, in the order of `tfp.math.fill_triangular`). `bounded_scale`
    maps the triangle's diagonal, so zeros give the standard normal.

    Args:
        min_scale: Float in (0, 1), lower limit of the diagonal of T. Defaults to 1e-5.
        max_scale: Float above 1, upper limit of the diagonal of T. Defaults to 1000.

    Raises:
        ValueError: If the limits do not enclose 1.

    Example:
    >>> posterior = kv.distributions.MultivariateNormalTriL()
    >>> posterior.params_size(3)
    9
    >>> q = posterior.distribution(tf.zeros([8, 9]))
    >>> q.batch_shape, q.event_shape
    (TensorShape([8]), TensorShape([3]))

    Reference:
        [An Introduction to Variational Autoencoders](
        https://arxiv.org/abs/1906.02691)
    """

    def params_size(self, latent_dim):
        """See `Posterior.params_size`."""
        return latent_dim * (latent_dim + 3) // 2

    def distribution(self, params):
        """See `Posterior.distribution`."""
        loc, tril = self._loc_and_tril(params)
        return tfd.MultivariateNormalTriL(loc, tril)

    def sample(self, params, num_samples, key):
        """See `Posterior.sample`."""
        loc, tril = self._loc_and_tril(params)
        noise = random.normal(sample_shape(loc, num_samples), key)
        # A sum instead of a matmul, because GPUs may round a matmul to ten bits.
        step = tf.reduce_sum(tril[..., None, :, :] * noise[..., None, :], axis=-1)
        return loc[..., None, :] + step

    def mean_and_stddev(self, params):
        """See `Posterior.mean_and_stddev`."""
        loc, tril = self._loc_and_tril(params)
        return loc, tf.sqrt(tf.reduce_sum(tf.square(tril), axis=-1))

    def _loc_and_tril(self, params):
        size = params.shape[-1]
        latent_dim = (math.isqrt(9 + 8 * size) - 3) // 2
        if self.params_size(latent_dim) != size:
            raise ValueError(
                "`params` must hold L + L(L+1)/2 numbers on the last axis. "
                f"Received: params.shape={tuple(params.shape)}"
            )
        params = tf.cast(params, tf.float32)
        tril = tfd.fill_triangular(params[..., latent_dim:])
        diagonal = self._scale(tf.linalg.diag_part(tril))
        return params[..., :latent_dim], tf.linalg.set_diag(tril, diagonal)

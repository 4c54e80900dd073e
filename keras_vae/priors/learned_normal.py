"""A normal prior whose means and scales are learned."""

import keras
import tensorflow as tf

from keras_vae.distributions.posteriors import DiagonalNormal
from keras_vae.priors.prior import Prior
from keras_vae.weights import add_float32


@keras.saving.register_keras_serializable("keras_vae")
class LearnedNormal(Prior):
    """A normal prior whose means and scales are learned.

        p(z) = prod_j N(z_j; loc_j, scale_j^2)

    The best such prior has the means and variances of the aggregate posterior. It
    lowers the rate by KL(q(z) || N(0, I)) - KL(q(z) || p), a part of the last term of
    Hoffman and Johnson's (2016) decomposition. It starts as N(0, I). The KL has a
    closed form.

    Example:
    >>> prior = kv.priors.LearnedNormal()
    >>> prior.build_for(latent_dim=2)
    >>> prior.distribution().log_prob([[0.0, 0.0]]).numpy().round(3)
    array([-1.838], dtype=float32)

    Reference:
        [ELBO surgery: yet another way to carve up the variational evidence lower
        bound](http://approximateinference.org/accepted/HoffmanJohnson2016.pdf)
    """

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self._family = DiagonalNormal(dtype=self.dtype_policy)

    def build(self, latent_dim, input_shape=None):
        """See `Prior.build`."""
        super().build(latent_dim, input_shape)
        self.loc = add_float32(self, "loc", "zeros", (latent_dim,))
        self.raw_scale = add_float32(self, "raw_scale", "zeros", (latent_dim,))

    def distribution(self, params=None, posterior=None):
        """See `Prior.distribution`."""
        return self._family.distribution(normal_params(self.loc, self.raw_scale))

    def sample(self, num_samples, key, params=None, posterior=None):
        """See `Prior.sample`."""
        params = normal_params(self.loc, self.raw_scale)
        return self._family.sample(params[None], num_samples, key)[0]


def normal_params(loc, raw_scale):
    """Returns the parameters of a `DiagonalNormal` from two variables."""
    return tf.concat([tf.convert_to_tensor(v) for v in (loc, raw_scale)], axis=-1)

"""A mixture of learned normals."""

import keras

from keras_vae.distributions.posteriors import DiagonalNormal
from keras_vae.priors.learned_normal import normal_params
from keras_vae.priors.mixture import Mixture
from keras_vae.weights import add_float32


@keras.saving.register_keras_serializable("keras_vae")
class GaussianMixture(Mixture):
    """A mixture of normals; weights, means and scales are learned.

        p(z) = sum_k w_k prod_j N(z_j; loc_kj, scale_kj^2)

    the "mixture of Gaussians" baseline of section 4 of Tomczak and Welling (2017). The
    KL of a posterior from it has no closed form: use `kl="monte_carlo"`. Initially the
    means are draws from N(0, I), the scales are 1 and the weights are equal.

    Args:
        num_components: Integer. Defaults to 10.
        learned_weights: Boolean, whether to learn the weights w_k. Defaults to True.
        seed: Integer or None, seed of the initial means.

    Raises:
        ValueError: If `num_components` is not a positive integer.

    Example:
    >>> prior = kv.priors.GaussianMixture(num_components=5, seed=0)
    >>> prior.build_for(latent_dim=2)
    >>> prior.distribution().log_prob(tf.zeros([8, 2])).shape
    TensorShape([8])

    Reference:
        [VAE with a VampPrior](https://arxiv.org/abs/1705.07120)
    """

    def __init__(self, num_components=10, learned_weights=True, seed=None, **kwargs):
        super().__init__(num_components, learned_weights, seed, **kwargs)
        self._family = DiagonalNormal(min_scale=1e-3, dtype=self.dtype_policy)

    def build(self, latent_dim, input_shape=None):
        """See `Prior.build`."""
        super().build(latent_dim, input_shape)
        shape = (self.num_components, latent_dim)
        normal = keras.initializers.RandomNormal(stddev=1.0, seed=self.seed)
        self.locs = add_float32(self, "locs", normal, shape)
        self.raw_scales = add_float32(self, "raw_scales", "zeros", shape)

    def _components(self, params, posterior):
        return self._family, normal_params(self.locs, self.raw_scales)

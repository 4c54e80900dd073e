"""Mixtures with components of a posterior family."""

import tensorflow as tf

from keras_vae import random
from keras_vae.arguments import check_count
from keras_vae.distributions import tfd
from keras_vae.priors.prior import Prior
from keras_vae.weights import add_float32


class Mixture(Prior):
    """Mixture of K components of a posterior family.

    A subclass defines `_components(params, posterior)`. It returns the family and the
    parameters (num_components, params_size) of the components.
    """

    def __init__(self, num_components, learned_weights=False, seed=None, **kwargs):
        super().__init__(**kwargs)
        self.num_components = check_count("num_components", num_components)
        self.learned_weights = bool(learned_weights)
        self.seed = seed

    def build(self, latent_dim, input_shape=None):
        """See `Prior.build`."""
        super().build(latent_dim, input_shape)
        if self.learned_weights:
            self.logits = add_float32(self, "logits", "zeros", (self.num_components,))

    def distribution(self, params=None, posterior=None):
        """See `Prior.distribution`."""
        family, params = self._components(params, posterior)
        weights = tfd.Categorical(self._logits())
        return tfd.MixtureSameFamily(weights, family.distribution(params))

    def sample(self, num_samples, key, params=None, posterior=None):
        """See `Prior.sample`."""
        family, params = self._components(params, posterior)
        # TFP would draw from every component and discard all but one draw.
        edges = tf.cumsum(tf.nn.softmax(self._logits()))[:-1]
        noise = random.uniform((num_samples,), random.fork(key, 1))
        index = tf.searchsorted(edges, noise, side="right")
        return family.sample(tf.gather(params, index), 1, key)[:, 0]

    def get_config(self):
        """Returns the config; `from_config` makes an equal layer from it."""
        return {
            **super().get_config(),
            "num_components": self.num_components,
            "learned_weights": self.learned_weights,
            "seed": self.seed,
        }

    def _logits(self):
        if self.learned_weights:
            return tf.convert_to_tensor(self.logits)
        return tf.zeros([self.num_components])

    def _components(self, params, posterior):
        raise NotImplementedError

"""A prior of masked autoregressive flows."""

import keras
import tensorflow as tf

from keras_vae import random
from keras_vae.arguments import check_count
from keras_vae.distributions import autoregressive
from keras_vae.distributions import tfd
from keras_vae.priors.prior import Prior

# Fixed draws from which mean and standard deviation are computed.
_DRAWS = 1000


@keras.saving.register_keras_serializable("keras_vae")
class Flow(Prior):
    """Standard normal, transformed by masked autoregressive flows: MAF.

        log p(z) = log N(e_T; 0, I) + sum_t sum_i log s_ti,
        e_t = m_t + s_t e_{t-1},   m_t, log s_t = network_t(e_{t-1}),   e_0 = z

    where unit i of m_t and s_t depends on the units before it: equations 2 to 5 of
    Papamakarios et al. (2017), whose scale is 1/s and whose shift is -m/s. A density
    costs one pass through each network, a draw as many as there are units. The order of
    the units is reversed from one flow to the next. It starts as N(0, I). The KL of a
    posterior from this prior has no closed form: use `kl="monte_carlo"`.

    Args:
        num_flows: Integer, number of flows.
        hidden_units: Integer, hidden units of each network.
        seed: Integer or None, seed of the initial kernels.

    Raises:
        ValueError: If a number is not a positive integer.

    Example:
    >>> prior = kv.priors.Flow(num_flows=2)
    >>> prior.build_for(latent_dim=2)
    >>> prior.distribution().log_prob([[0.0, 0.0]]).numpy().round(3)
    array([-1.838], dtype=float32)

    Reference:
        [Masked Autoregressive Flow for Density Estimation](
        https://arxiv.org/abs/1705.07057)
    """

    def __init__(self, num_flows=4, hidden_units=64, seed=None, **kwargs):
        super().__init__(**kwargs)
        self.num_flows = check_count("num_flows", num_flows)
        self.hidden_units = check_count("hidden_units", hidden_units)
        self.seed = seed
        self.networks = [
            autoregressive.AutoregressiveNetwork(
                self.hidden_units,
                reverse=index % 2 == 1,
                seed=None if seed is None else seed + index,
                name=f"network_{index}",
            )
            for index in range(self.num_flows)
        ]

    def build(self, latent_dim, input_shape=None):
        """See `Prior.build`."""
        super().build(latent_dim, input_shape)
        for network in self.networks:
            network.build((None, latent_dim))

    def distribution(self, params=None, posterior=None):
        """See `Prior.distribution`; the networks are called, but add no losses."""
        zeros = tf.zeros([self.latent_dim])
        base = tfd.Independent(tfd.Normal(zeros, tf.ones_like(zeros)), 1)

        def log_prob(z):
            noise, log_det = autoregressive.transform(self.networks, z)
            return base.log_prob(noise) + log_det

        return tfd.Flow(base, log_prob, self._moments)

    def sample(self, num_samples, key, params=None, posterior=None):
        """See `Prior.sample`."""
        noise = random.normal((num_samples, self.latent_dim), key)
        return autoregressive.undo(self.networks, noise)[0]

    def _moments(self):
        z = self.sample(_DRAWS, random.key(0))
        return tf.reduce_mean(z, axis=0), tf.math.reduce_std(z, axis=0)

    def get_config(self):
        """Returns the config; `from_config` makes an equal layer from it."""
        return {
            **super().get_config(),
            "num_flows": self.num_flows,
            "hidden_units": self.hidden_units,
            "seed": self.seed,
        }

"""An objective that steers the rate to a capacity."""

import keras
import tensorflow as tf

from keras_vae.arguments import check_number
from keras_vae.hyperparameter import Hyperparameter
from keras_vae.objectives.elbo import ELBO


@keras.saving.register_keras_serializable("keras_vae")
class Capacity(ELBO):
    """Distortion plus the distance of the rate from a capacity.

    `loss = -E_q[log p(x|z)] + gamma |KL(q(z|x) || p(z)) - C|`, Burgess et al., where KL
    is the mean over the batch and C is `capacity`. To raise C as in the paper use
    `HyperparameterScheduler("capacity", linear(..., 0, 25))`.

    The rate stays at the capacity only if `gamma` is at least the marginal value of the
    rate there: for a linear VAE theta(C) / sigma^2.

    Args:
        capacity: Non-negative float, C in nats.
        gamma: Positive float.
        **kwargs: See `ELBO`; `kl_weight` multiplies the distance, `latent_weights` the
            rates in it.

    Example:
    >>> kv.objectives.Capacity(capacity=25.0, gamma=1000.0).capacity.initial_value
    25.0

    Reference:
        [Understanding disentangling in beta-VAE](https://arxiv.org/abs/1804.03599)
    """

    def __init__(self, capacity=25.0, gamma=100.0, **kwargs):
        super().__init__(**kwargs)
        self.capacity = Hyperparameter(
            check_number("capacity", capacity), name="capacity", dtype=self.dtype_policy
        )
        self.gamma = check_number("gamma", gamma, positive=True)

    def rate_loss(self, estimate, mean):
        """See `ELBO.rate_loss`."""
        rate = mean.over_replicas(self.weighted_rate(estimate))
        distance = tf.abs(rate - self.capacity.value)
        return self.kl_weight.value * self.gamma * distance

    def get_config(self):
        """Returns the config; `from_config` makes an equal layer from it."""
        return {
            **super().get_config(),
            "capacity": self.capacity.initial_value,
            "gamma": self.gamma,
        }

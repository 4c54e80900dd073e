"""The posterior of planar flows."""

import math

import keras
import tensorflow as tf

from keras_vae.arguments import check_count
from keras_vae.distributions.posteriors.flow import FlowPosterior

# Of the interval in which the inverse is sought, and then polished by Newton's method.
_HALVINGS, _NEWTON = 24, 3
# softplus(x + this) - 1 is 0 at x = 0.
_SHIFT = math.log(math.e - 1)


@keras.saving.register_keras_serializable("keras_vae")
class Planar(FlowPosterior):
    """Diagonal normal, transformed by planar flows.

        z_t = z_{t-1} + u_t tanh(w_t . z_{t-1} + b_t),   z_0 ~ N

    equation 10 of Rezende and Mohamed (2015); u_t, w_t and b_t are parameters of each
    example. u is moved along w such that `w . u > -1`, as in their appendix A.1, so
    that each flow can be inverted; parameters of 0 are the identity.

    The KL has no closed form: use `kl="monte_carlo"`.

    Args:
        num_flows: Integer, number of flows.
        **kwargs: See `DiagonalNormal`.

    Raises:
        ValueError: If `num_flows` is not a positive integer.

    Example:
    >>> posterior = kv.distributions.Planar(num_flows=3)
    >>> posterior.build_for(latent_dim=2)
    >>> posterior.params_size(2)
    19

    Reference:
        [Variational Inference with Normalizing Flows](
        https://arxiv.org/abs/1505.05770)
    """

    def __init__(self, num_flows=4, **kwargs):
        super().__init__(**kwargs)
        self.num_flows = check_count("num_flows", num_flows)

    def params_size(self, latent_dim):
        """See `Posterior.params_size`."""
        return 2 * latent_dim + self.num_flows * (2 * latent_dim + 1)

    def forward(self, z, params):
        """See `FlowPosterior.forward`."""
        log_det = 0.0
        for u, w, b, product in self._flows(params):
            bent = tf.tanh(_dot(w, z) + b)
            z += u * bent
            log_det += tf.squeeze(_log_slope(bent, product), -1)
        return z, log_det

    def inverse(self, z, params):
        """See `FlowPosterior.inverse`."""
        log_det = 0.0
        for u, w, b, product in reversed(list(self._flows(params))):
            bent = tf.tanh(_solved(_dot(w, z), product, b) + b)
            z -= u * bent
            log_det += tf.squeeze(_log_slope(bent, product), -1)
        return z, log_det

    def _flows(self, params):
        """Yields u, w, b and w . u of each flow; scalars have an axis of 1."""
        units = self.latent_dim
        for index, part in enumerate(tf.split(params, self.num_flows, axis=-1)):
            u, w, b = tf.split(part, [units, units, 1], axis=-1)
            # At w = 0 the direction of u would be undefined.
            w += tf.one_hot(index % units, units)
            raw = _dot(w, u)
            product = tf.nn.softplus(raw + _SHIFT) - 1.0
            square = tf.maximum(_dot(w, w), 1e-6)
            yield u + (product - raw) * w / square, w, b, product

    def get_config(self):
        """Returns the config; `from_config` makes an equal layer from it."""
        return {**super().get_config(), "num_flows": self.num_flows}


def _dot(a, b):
    return tf.reduce_sum(a * b, axis=-1, keepdims=True)


def _log_slope(bent, product):
    """Returns log |det| of a flow, log(1 + tanh' w . u), by the value of tanh."""
    return tf.math.log1p((1.0 - tf.square(bent)) * product)


def _solved(target, product, b):
    """Returns a with `a + product tanh(a + b) = target`, which rises with a."""
    low, high = target - tf.abs(product), target + tf.abs(product)
    for _ in range(_HALVINGS):
        middle = 0.5 * (low + high)
        is_low = middle + product * tf.tanh(middle + b) < target
        low, high = tf.where(is_low, middle, low), tf.where(is_low, high, middle)
    a = 0.5 * (low + high)
    for _ in range(_NEWTON):
        bent = tf.tanh(a + b)
        slope = 1.0 + product * (1.0 - tf.square(bent))
        a -= (a + product * bent - target) / tf.maximum(slope, 1e-3)
    return a

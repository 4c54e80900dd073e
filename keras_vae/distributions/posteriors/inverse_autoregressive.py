"""The posterior of inverse autoregressive flow."""

import keras

from keras_vae.arguments import check_count
from keras_vae.distributions import autoregressive
from keras_vae.distributions.posteriors.flow import FlowPosterior


@keras.saving.register_keras_serializable("keras_vae")
class InverseAutoregressive(FlowPosterior):
    """Diagonal normal, transformed by inverse autoregressive flows: IAF.

        z_t = m_t + s_t z_{t-1},   m_t, log s_t = network_t(z_{t-1}, h),   z_0 ~ N

    equations 9 and 10 of Kingma et al. (2016), where unit i of m_t and s_t depends on
    the units of z_{t-1} before it, and h is a context that the encoder puts out. The
    order of the units is reversed from one flow to the next. The flows start at the
    identity. A draw and its density cost one pass through each network; the density at
    other places, which training does not need, as many passes as there are units.

    The KL has no closed form: use `kl="monte_carlo"`.

    Args:
        num_flows: Integer, number of flows.
        hidden_units: Integer, hidden units of each network.
        context_units: Integer, size of h.
        **kwargs: See `DiagonalNormal`.

    Raises:
        ValueError: If a number is not a positive integer.

    Example:
    >>> posterior = kv.distributions.InverseAutoregressive(context_units=4)
    >>> posterior.build_for(latent_dim=2)
    >>> params = tf.zeros([1, posterior.params_size(2)])
    >>> z, log_density = posterior.draw(params, 5, kv.random.key(0))
    >>> z.shape, log_density.shape
    (TensorShape([1, 5, 2]), TensorShape([1, 5]))

    Reference:
        [Improving Variational Inference with Inverse Autoregressive Flow](
        https://arxiv.org/abs/1606.04934)
    """

    def __init__(self, num_flows=2, hidden_units=64, context_units=16, **kwargs):
        super().__init__(**kwargs)
        self.num_flows = check_count("num_flows", num_flows)
        self.hidden_units = check_count("hidden_units", hidden_units)
        self.context_units = check_count("context_units", context_units)
        self.networks = [
            autoregressive.AutoregressiveNetwork(
                self.hidden_units,
                self.context_units,
                reverse=index % 2 == 1,
                name=f"network_{index}",
            )
            for index in range(self.num_flows)
        ]

    def params_size(self, latent_dim):
        """See `Posterior.params_size`."""
        return 2 * latent_dim + self.context_units

    def build_for(self, latent_dim):
        """See `Posterior.build_for`."""
        super().build_for(latent_dim)
        for network in self.networks:
            if not network.built:
                network.build((None, latent_dim))

    def forward(self, z, params):
        """See `FlowPosterior.forward`."""
        return autoregressive.transform(self.networks, z, params)

    def inverse(self, z, params):
        """See `FlowPosterior.inverse`."""
        return autoregressive.undo(self.networks, z, params)

    def get_config(self):
        """Returns the config; `from_config` makes an equal layer from it."""
        return {
            **super().get_config(),
            "num_flows": self.num_flows,
            "hidden_units": self.hidden_units,
            "context_units": self.context_units,
        }

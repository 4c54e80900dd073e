"""The input of an objective for one batch."""

import tensorflow as tf

from keras_vae.distributions import kl_divergence
from keras_vae.distributions import kl_per_dimension

KL_ESTIMATORS = ("analytic", "monte_carlo")


class Estimate:
    """Distributions and samples of one batch, and quantities in nats from them.

    Args:
        posterior: `tfd.Distribution` q(z|x), batch shape (batch,), event (latent,).
        prior: `tfd.Distribution` p(z), batch shape () or (batch,), event (latent,).
        z: Tensor of shape (batch, samples, latent), drawn from the posterior.
        log_likelihood: Tensor of shape (batch, samples), log p(x|z) in nats, or None if
            only the rate is needed.
        event_size: Number of elements of an event. With missing elements, a scalar
            tensor: the mean number of observed elements. None if only the rate is
            needed.
        prior_z: Tensor of shape (batch, latent), drawn from the prior, for objectives
            with `needs_prior_samples`.
        log_posterior: Tensor of shape (batch, samples), log q(z|x) of the draws in
            nats, or None to ask `posterior`.
    """

    def __init__(
        self,
        posterior,
        prior,
        z,
        log_likelihood=None,
        event_size=None,
        prior_z=None,
        log_posterior=None,
    ):
        self.posterior = posterior
        self.prior = prior
        self.z = z
        self.log_likelihood = log_likelihood
        self.event_size = event_size
        self.prior_z = prior_z
        self.log_posterior = log_posterior

    @property
    def distortion(self):
        """-E_q[log p(x|z)], shape (batch,), nats."""
        return -tf.reduce_mean(self.log_likelihood, axis=1)

    @property
    def log_ratio(self):
        """Log q(z|x) - log p(z), shape (batch, samples), nats."""
        # TFP broadcasts a leading sample axis.
        z = tf.transpose(tf.cast(self.z, tf.float32), [1, 0, 2])
        if self.log_posterior is not None:
            return self.log_posterior - tf.transpose(self.prior.log_prob(z))
        return tf.transpose(self.posterior.log_prob(z) - self.prior.log_prob(z))

    @property
    def rate_per_unit(self):
        """KL(q(z_j|x) || p(z_j)) in closed form, shape (batch, latent), nats."""
        return kl_per_dimension(self.posterior, self.prior)

    def rate(self, kl="analytic"):
        """KL(q(z|x) || p(z)), shape (batch,), nats.

        Args:
            kl: "analytic" for the closed form, "monte_carlo" for the mean of
                `log_ratio` over the samples.

        Raises:
            ValueError: If there is no closed form.
        """
        if kl == "monte_carlo":
            return tf.reduce_mean(self.log_ratio, axis=1)
        return kl_divergence(self.posterior, self.prior)

"""The input of an objective for one batch."""

import tensorflow as tf

from keras_vae.distributions import kl_divergence
from keras_vae.distributions import kl_per_dimension
from keras_vae.distributions.posteriors.closed_forms import units_of

KL_ESTIMATORS = ("analytic", "monte_carlo")


class LatentEstimate:
    """Distributions and draws of one latent variable, and its rate in nats.

    Args:
        posterior: `tfd.Distribution` q(z|x), event (latent,), batch shape (batch,), or
            (batch, samples) if it depends on the draws of another latent.
        prior: `tfd.Distribution` p(z), event (latent,), batch shape (), or as q(z|x).
        z: Tensor of shape (batch, samples, latent), drawn from the posterior.
        log_posterior: Tensor of shape (batch, samples), log q(z|x) of the draws in
            nats, or None to ask `posterior`.
        prior_z: Tensor of shape (batch, latent), drawn from the prior, for objectives
            with `needs_prior_samples`.
        prior_sees_z: Boolean, whether the prior depends on this z, through a latent
            that was drawn from it. Then the closed form of the KL would take z and the
            prior for independent, and the rate is always the mean of `log_ratio`.
        name: String, by which an objective knows the latent variable, or None.
    """

    def __init__(
        self,
        posterior,
        prior,
        z,
        log_posterior=None,
        prior_z=None,
        prior_sees_z=False,
        name=None,
    ):
        self.posterior = posterior
        self.prior = prior
        self.z = z
        self.log_posterior = log_posterior
        self.prior_z = prior_z
        self.prior_sees_z = prior_sees_z
        self.name = name

    @property
    def log_ratio(self):
        """Log q(z|x) - log p(z), shape (batch, samples), nats."""
        z = tf.cast(self.z, tf.float32)
        if self.is_per_draw:
            log_posterior = self.log_posterior
            if log_posterior is None:
                log_posterior = _log_prob(self.posterior, z)
            return log_posterior - _log_prob(self.prior, z)
        # TFP broadcasts a leading sample axis.
        z = tf.transpose(z, [1, 0, 2])
        if self.log_posterior is not None:
            return self.log_posterior - tf.transpose(self.prior.log_prob(z))
        return tf.transpose(self.posterior.log_prob(z) - self.prior.log_prob(z))

    @property
    def rate_per_unit(self):
        """KL(q(z_j|x) || p(z_j)) in closed form, shape (batch, latent), nats."""
        if not self.prior_sees_z:
            return self._over_draws(kl_per_dimension)
        z = tf.cast(self.z, tf.float32)
        log_ratio = _log_probs(self.posterior, z) - _log_probs(self.prior, z)
        return tf.reduce_mean(log_ratio, axis=1)

    def rate(self, kl="analytic"):
        """See `Estimate.rate`."""
        if kl == "monte_carlo" or self.prior_sees_z:
            return tf.reduce_mean(self.log_ratio, axis=1)
        return self._over_draws(kl_divergence)

    @property
    def moments(self):
        """Mean and standard deviation of q(z|x), two tensors (batch, latent).

        If the prior depends on the draws of a latent above they are in units of it, so
        that a latent which says nothing about x has the mean 0.
        """
        posterior, prior = self._aligned
        mean, stddev = posterior.mean(), posterior.stddev()
        if not self.is_per_draw:
            return mean, stddev
        if _rank(self.prior) > 1 and not self.prior_sees_z:
            mean = (mean - prior.mean()) / prior.stddev()
            stddev = stddev / prior.stddev()
        mean, square = (tf.reduce_mean(v, axis=1) for v in (mean, stddev**2))
        return mean, tf.sqrt(square)

    @property
    def is_per_draw(self):
        """Whether posterior or prior depends on the draws of another latent."""
        return max(map(_rank, (self.posterior, self.prior))) > 1

    @property
    def _aligned(self):
        """Posterior and prior, both with an axis of samples if one of them has one."""
        pair = self.posterior, self.prior
        if not self.is_per_draw:
            return pair
        return tuple(d[:, None] if _rank(d) == 1 else d for d in pair)

    def _over_draws(self, divergence):
        values = divergence(*self._aligned)
        return tf.reduce_mean(values, axis=1) if self.is_per_draw else values


def _rank(distribution):
    return distribution.batch_shape.rank


def _log_prob(distribution, z):
    """Returns log densities of z (batch, samples, latent), (batch, samples)."""
    if _rank(distribution) == 1:
        return tf.transpose(distribution.log_prob(tf.transpose(z, [1, 0, 2])))
    return distribution.log_prob(z)


def _log_probs(distribution, z):
    """Returns log densities of each unit of z, (batch, samples, latent)."""
    units = units_of(distribution)
    if _rank(distribution) == 1:
        return tf.transpose(units.log_prob(tf.transpose(z, [1, 0, 2])), [1, 0, 2])
    return units.log_prob(z)


class Estimate:
    """Distributions and samples of one batch, and quantities in nats from them.

    The arguments are those of a model with one latent variable. `Estimate.of` takes any
    number, whose rates add up: `rate = sum_l KL(q(z_l|...) || p(z_l|...))`.

    Args:
        posterior: `tfd.Distribution` q(z|x), batch shape (batch,), event (latent,).
        prior: `tfd.Distribution` p(z), batch shape () or (batch,), event (latent,).
        z: Tensor of shape (batch, samples, latent), drawn from the posterior.
        log_likelihood: Tensor of shape (batch, samples), log p(x|z) in nats, or None if
            only the rate is needed.
        event_size: Number of elements of an event. With missing elements, a scalar
            tensor: the mean number of observed elements. None if only the rate is
            needed.
        prior_z: See `LatentEstimate`.
        log_posterior: See `LatentEstimate`.

    Attributes:
        latents: List of a `LatentEstimate` for each latent variable.
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
        self.latents = [LatentEstimate(posterior, prior, z, log_posterior, prior_z)]
        self.log_likelihood = log_likelihood
        self.event_size = event_size

    @classmethod
    def of(cls, latents, log_likelihood=None, event_size=None):
        """Makes an estimate of any number of latent variables.

        Args:
            latents: List of `LatentEstimate`s.
            log_likelihood: See the class.
            event_size: See the class.
        """
        estimate = cls.__new__(cls)
        estimate.latents = list(latents)
        estimate.log_likelihood = log_likelihood
        estimate.event_size = event_size
        return estimate

    @property
    def posterior(self):
        """Q(z|x) of the only latent variable."""
        return self._only("posterior")

    @property
    def prior(self):
        """P(z) of the only latent variable."""
        return self._only("prior")

    @property
    def z(self):
        """Draws of the only latent variable, (batch, samples, latent)."""
        return self._only("z")

    @property
    def prior_z(self):
        """Draws from the prior of the only latent variable, (batch, latent)."""
        return self._only("prior_z")

    def _only(self, name):
        if len(self.latents) != 1:
            raise ValueError(
                "`objective` must work on the rates alone of a model with several "
                "latents, as `ELBO`, `FreeBits` and `ImportanceWeighted` do: one that "
                f"needs the {name} of the only latent does not fit. Received: "
                f"{len(self.latents)} latents"
            )
        return getattr(self.latents[0], name)

    @property
    def distortion(self):
        """-E_q[log p(x|z)], shape (batch,), nats."""
        return -tf.reduce_mean(self.log_likelihood, axis=1)

    @property
    def log_ratio(self):
        """Log q(z|x) - log p(z), shape (batch, samples), nats."""
        return tf.add_n([latent.log_ratio for latent in self.latents])

    @property
    def rate_per_unit(self):
        """KL(q(z_j|x) || p(z_j)) in closed form, shape (batch, latent), nats.

        The units of several latents stand one after the other.
        """
        rates = [latent.rate_per_unit for latent in self.latents]
        return rates[0] if len(rates) == 1 else tf.concat(rates, axis=1)

    def rate(self, kl="analytic"):
        """KL(q(z|x) || p(z)), shape (batch,), nats, the sum over the latents.

        Args:
            kl: "analytic" for the closed form, "monte_carlo" for the mean of
                `log_ratio` over the samples. If one latent depends on another, the
                closed form of each is averaged over the samples.

        Raises:
            ValueError: If there is no closed form.
        """
        return tf.add_n([latent.rate(kl) for latent in self.latents])

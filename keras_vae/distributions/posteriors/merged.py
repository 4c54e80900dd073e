"""Normal posteriors that build on the prior which the latents above give."""

import keras
import tensorflow as tf

from keras_vae.distributions.posteriors.diagonal_normal import DiagonalNormal


class Merged(DiagonalNormal):
    """Base class of the normal posteriors that take up the parameters of the prior.

    The 4L parameters are the 2L of the head and the 2L of the prior, both as those of a
    `DiagonalNormal`. The prior must be `keras_vae.priors.Conditional`. A subclass
    defines `merge`.
    """

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self._prior = DiagonalNormal(dtype=self.dtype_policy)

    def params_size(self, latent_dim):
        """See `Posterior.params_size`."""
        return 4 * latent_dim

    def head_size(self, latent_dim):
        """See `Posterior.head_size`."""
        return 2 * latent_dim

    def with_prior(self, params, prior_params):
        """See `Posterior.with_prior`."""
        if prior_params is None:
            raise ValueError(
                f"`posterior` {type(self).__name__} takes up the prior that latents "
                "above give: use it in a `HierarchicalVAE` below the top, by "
                "`inference`, or in a `Latent` that gets `prior_features`. Received: "
                "no such prior"
            )
        return tf.concat([params, tf.cast(prior_params, params.dtype)], axis=-1)

    def mean_and_stddev(self, params):
        """See `Posterior.mean_and_stddev`."""
        own, prior = tf.split(params, 2, axis=-1)
        own = super().mean_and_stddev(own)
        return self.merge(*own, *self._prior.mean_and_stddev(prior))

    def merge(self, loc, scale, prior_loc, prior_scale):
        """Returns mean and standard deviation of q(z|x), float32 (..., latent_dim)."""
        raise NotImplementedError


@keras.saving.register_keras_serializable("keras_vae")
class PrecisionWeighted(Merged):
    """The normalized product of the head's normal and the prior: the Ladder VAE.

        q(z|x) ~ N(z; loc, scale^2) p(z|above)
        1 / variance = 1 / scale^2 + 1 / prior_scale^2
        mean = variance (loc / scale^2 + prior_loc / prior_scale^2)

    equations 17 and 18 of Sonderby et al. (2016): what is above corrects what comes
    from below, by their precisions.

    Args:
        min_scale: Float in (0, 1), lower limit of the head's scales.
        max_scale: Float above 1, upper limit of the head's scales.

    Example:
    >>> posterior = kv.distributions.PrecisionWeighted()
    >>> head, prior = tf.constant([[2.0, 0.0]]), tf.constant([[0.0, 0.0]])
    >>> mean, stddev = posterior.mean_and_stddev(posterior.with_prior(head, prior))
    >>> mean.numpy(), stddev.numpy().round(3)
    (array([[1.]], dtype=float32), array([[0.707]], dtype=float32))

    Reference:
        [Ladder Variational Autoencoders](https://arxiv.org/abs/1602.02282)
    """

    def merge(self, loc, scale, prior_loc, prior_scale):
        """See `Merged.merge`."""
        precision, prior_precision = scale**-2, prior_scale**-2
        total = precision + prior_precision
        mean = (loc * precision + prior_loc * prior_precision) / total
        return mean, tf.math.rsqrt(total)


@keras.saving.register_keras_serializable("keras_vae")
class Residual(Merged):
    """The prior, moved and widened by what the head says: NVAE's residual normal.

        q(z|x) = N(z; prior_loc + loc, (prior_scale scale)^2)

    equation 4 of Vahdat and Kautz (2020). A head of zeros gives the prior, and with it
    a rate of 0.

    Args:
        min_scale: Float in (0, 1), lower limit of the head's scales.
        max_scale: Float above 1, upper limit of the head's scales.

    Example:
    >>> posterior = kv.distributions.Residual()
    >>> head, prior = tf.constant([[0.5, 0.0]]), tf.constant([[2.0, 0.0]])
    >>> mean, stddev = posterior.mean_and_stddev(posterior.with_prior(head, prior))
    >>> mean.numpy(), stddev.numpy()
    (array([[2.5]], dtype=float32), array([[1.]], dtype=float32))

    Reference:
        [NVAE: A Deep Hierarchical Variational Autoencoder](
        https://arxiv.org/abs/2007.03898)
    """

    def merge(self, loc, scale, prior_loc, prior_scale):
        """See `Merged.merge`."""
        return prior_loc + loc, prior_scale * scale

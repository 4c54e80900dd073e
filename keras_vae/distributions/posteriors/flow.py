"""Base class of the posteriors that transform a diagonal normal."""

import numpy as np
import tensorflow as tf

from keras_vae import random
from keras_vae.distributions import tfd
from keras_vae.distributions.posteriors.diagonal_normal import DiagonalNormal
from keras_vae.distributions.posteriors.posterior import sample_shape

# Draws from which the moments of each unit are computed.
_DRAWS = 64


class FlowPosterior(DiagonalNormal):
    """Posterior whose draws are those of a diagonal normal, transformed.

        log q(z|x) = log N(z_0; loc, scale^2) - log |det dz/dz_0|,   z = f(z_0; x)

    `draw` returns both sides of this, so that f is never inverted in training. The
    first 2L parameters are those of a `DiagonalNormal`, the others describe f.

    A subclass defines `params_size`, `forward` and `inverse`.
    """

    is_normal = False

    def build_for(self, latent_dim):
        """See `Posterior.build_for`."""
        self.latent_dim = latent_dim

    def forward(self, z, params):
        """Transforms z_0.

        Args:
            z: Float32 tensor (..., latent_dim).
            params: Float32 tensor (..., params_size - 2 latent_dim), what describes f.

        Returns:
            The transformed tensor, and log |det dz/dz_0|, shape (...).
        """
        raise NotImplementedError

    def inverse(self, z, params):
        """Returns z_0, and log |det dz/dz_0| there; the inverse of `forward`."""
        raise NotImplementedError

    def draw(self, params, num_samples, key):
        """See `Posterior.draw`."""
        loc, scale, others = self._split(params)
        noise = random.normal(sample_shape(loc, num_samples), key)
        start = loc[..., None, :] + scale[..., None, :] * noise
        z, log_det = self.forward(start, others[..., None, :])
        base = tfd.Independent(tfd.Normal(loc[..., None, :], scale[..., None, :]), 1)
        return z, base.log_prob(start) - log_det

    def sample(self, params, num_samples, key):
        """See `Posterior.sample`."""
        return self.draw(params, num_samples, key)[0]

    def distribution(self, params):
        """See `Posterior.distribution`."""
        loc, scale, others = self._split(params)
        base = tfd.Independent(tfd.Normal(loc, scale), 1)

        def log_prob(z):
            start, log_det = self.inverse(z, others)
            return base.log_prob(start) - log_det

        return tfd.Flow(base, log_prob, lambda: self.mean_and_stddev(params))

    def mean_and_stddev(self, params):
        """Returns the moments of each latent, of 64 fixed draws.

        Args:
            params: Float tensor (..., params_size).

        Returns:
            Two float32 tensors (..., latent_dim).
        """
        loc, scale, others = self._split(params)
        half = np.random.default_rng(0).normal(size=(_DRAWS // 2, loc.shape[-1]))
        # Mean 0 and variance 1, so that f = identity gives the normal's own moments.
        half /= np.sqrt(np.mean(half**2, axis=0))
        noise = tf.constant(np.concatenate([half, -half]), tf.float32)
        start = loc[..., None, :] + scale[..., None, :] * noise
        z, _ = self.forward(start, others[..., None, :])
        mean = tf.reduce_mean(z, axis=-2)
        variance = tf.reduce_mean(tf.square(z - mean[..., None, :]), axis=-2)
        return mean, tf.sqrt(variance)

    def _split(self, params):
        """Returns loc and scale of z_0, and what describes f."""
        params = tf.cast(params, tf.float32)
        size = 2 * self.latent_dim
        return *super().mean_and_stddev(params[..., :size]), params[..., size:]

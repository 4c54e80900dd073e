"""Approximate posteriors q(z|x), their divergences from a prior, and scale limits."""

import math

import keras
import tensorflow as tf
from scipy import special

from keras_vae import random
from keras_vae import replicas
from keras_vae import serialization
from keras_vae.distributions import tfd
from keras_vae.distributions.softplus import softplus_and_slopes


def soft_clip(x, low, high):
    """Limits `x` to (low, high) with a gradient that fades out but never jumps.

        y = low + softplus(x - low)
        soft_clip(x) = y - softplus(y - high)

    The lower half is that of Rybkin et al. (2020). Between the limits, and some units
    away from them, it is the identity; beyond them value and gradient stay finite for
    every x of float16's range and far beyond.

    Args:
        x: Float tensor.
        low: Python float, the lower limit.
        high: Python float, the upper limit.

    Returns:
        A tensor of the shape of `x`.

    Example:
    >>> clip = kv.distributions.posteriors.soft_clip
    >>> clip(tf.constant([-1e4, 5.0, 1e4]), -6.0, 100.0).numpy().round(3)
    array([ -6.,   5., 100.], dtype=float32)

    Reference:
        [Simple and Effective VAE Training with Calibrated Decoders](
        https://arxiv.org/abs/2006.13202)
    """

    @tf.custom_gradient
    def clip(x):
        value, slope, _ = softplus_and_slopes(x - low)
        above = low + value
        # Not `high - softplus(high - above)`, which rounds small values to the ulp of
        # `high`.
        value, _, high_slope = softplus_and_slopes(above - high)
        # Gradients come from the draw and from the KL. Each then costs one product.
        slope *= high_slope
        return above - value, lambda upstream: upstream * slope

    return clip(x)


def inverse_soft_clip(y, low, high):
    """Returns the float which `soft_clip` maps to `y`, a float in (low, high)."""
    above = high - _inverse_softplus(high - y)
    return low + _inverse_softplus(above - low)


def bounded_scale(raw, min_scale, max_scale):
    """Maps unbounded numbers to scales, 0 to 1.

        scale = soft_clip(raw + c, min_scale, max_scale), c such that raw = 0 gives 1

    It is exponential below one and linear above: a network's output moves small scales
    by a factor and large ones by an amount.

    Args:
        raw: Float tensor.
        min_scale: Python float, the lower limit.
        max_scale: Python float, the upper limit.

    Returns:
        A tensor of the shape of `raw`, in (min_scale, max_scale).
    """
    return soft_clip(
        raw + inverse_soft_clip(1.0, min_scale, max_scale), min_scale, max_scale
    )


class Posterior(keras.layers.Layer):
    """Base of the families for q(z|x): what the numbers of an encoder stand for.

    A subclass defines `params_size`, `distribution`, `sample` and `mean_and_stddev`.
    Everything is computed in float32, whatever the dtype of the parameters.

    Args:
        min_scale: Float in (0, 1), below which no scale falls.
        max_scale: Float above 1, which no scale exceeds.
    """

    def __init__(self, min_scale=1e-5, max_scale=1e3, **kwargs):
        super().__init__(**kwargs)
        if not 0 < min_scale < 1 < max_scale < math.inf:
            raise ValueError(
                "`min_scale` and `max_scale` must be finite and satisfy "
                "0 < min_scale < 1 < max_scale. Received: "
                f"min_scale={min_scale}, max_scale={max_scale}"
            )
        self.min_scale = float(min_scale)
        self.max_scale = float(max_scale)
        self.built = True

    def params_size(self, latent_dim):
        """Returns how many numbers per example describe `latent_dim` latents."""
        raise NotImplementedError

    def build_for(self, latent_dim):
        """Creates the weights of layers that `transform` calls; here there are none."""

    def transform(self, raw):
        """Turns what the head puts out into parameters; here that is what they are.

        This is the place for layers that a family calls, such as a normalisation.

        Args:
            raw: Float tensor (batch, params_size).

        Returns:
            A tensor of the same shape.
        """
        return raw

    def distribution(self, params):
        """Builds q(z|x).

        Args:
            params: Float tensor (..., params_size).

        Returns:
            A float32 `tfd.Distribution` of batch shape (...), event (latent_dim,).
        """
        raise NotImplementedError

    def sample(self, params, num_samples, key):
        """Draws z = loc + scale * noise, differentiable in `params`.

        Args:
            params: Float tensor (batch, params_size).
            num_samples: Integer, draws per example.
            key: Int64 tensor (2,), see `keras_vae.random`.

        Returns:
            A float32 tensor (batch, num_samples, latent_dim).
        """
        raise NotImplementedError

    def mean_and_stddev(self, params):
        """Returns the moments of each latent by itself.

        Args:
            params: Float tensor (..., params_size).

        Returns:
            Two float32 tensors (..., latent_dim).
        """
        raise NotImplementedError

    def get_config(self):
        """Returns the config, from which `from_config` makes an equal layer."""
        return {
            **super().get_config(),
            "min_scale": self.min_scale,
            "max_scale": self.max_scale,
        }

    def _scale(self, raw):
        return bounded_scale(raw, self.min_scale, self.max_scale)


@keras.saving.register_keras_serializable("keras_vae")
class DiagonalNormal(Posterior):
    """Normal posterior with independent latents.

        q(z|x) = prod_j N(z_j; loc_j, scale_j^2)

    as in appendix C.2 of Kingma and Welling (2013). The 2L parameters are loc and the
    raw scale, in this order; a raw scale of 0 is a scale of 1 (see `bounded_scale`).

    Args:
        min_scale: Float in (0, 1), below which no scale falls. Defaults to 1e-5.
        max_scale: Float above 1, which no scale exceeds. Defaults to 1000.

    Raises:
        ValueError: If the limits are not on either side of 1.

    Example:
    >>> posterior = kv.distributions.DiagonalNormal()
    >>> q = posterior.distribution(tf.zeros([8, posterior.params_size(3)]))
    >>> q.batch_shape, q.event_shape
    (TensorShape([8]), TensorShape([3]))

    Reference:
        [Auto-Encoding Variational Bayes](https://arxiv.org/abs/1312.6114)
    """

    def params_size(self, latent_dim):
        """See `Posterior.params_size`."""
        return 2 * latent_dim

    def distribution(self, params):
        """See `Posterior.distribution`."""
        loc, scale = self.mean_and_stddev(params)
        return tfd.Independent(tfd.Normal(loc, scale), 1)

    def sample(self, params, num_samples, key):
        """See `Posterior.sample`."""
        loc, scale = self.mean_and_stddev(params)
        noise = random.normal(_sample_shape(loc, num_samples), key)
        return loc[..., None, :] + scale[..., None, :] * noise

    def mean_and_stddev(self, params):
        """See `Posterior.mean_and_stddev`."""
        if params.shape[-1] % 2:
            raise ValueError(
                "`params` must hold a loc and a scale for each latent, an even number "
                f"on the last axis. Received: params.shape={tuple(params.shape)}"
            )
        loc, raw = tf.split(tf.cast(params, tf.float32), 2, axis=-1)
        return loc, self._scale(raw)


@keras.saving.register_keras_serializable("keras_vae")
class CommittedNormal(DiagonalNormal):
    """Normal posterior each unit of which keeps a rate of `delta`: delta-VAE.

    The variances v lie between the roots of `ln v - v + 2 delta + 1 = 0`, and the
    means satisfy `mu^2 >= 2 delta + 1 + ln v - v`, so that `KL(q(z_j|x) || N(0, 1)) >=
    delta` for every x, Razavi et al., for independent latents. Use it with the prior
    "standard_normal".

    Args:
        delta: Positive float, nats per unit.

    Example:
    >>> posterior = kv.distributions.CommittedNormal(delta=0.1)
    >>> standard = kv.priors.StandardNormal()
    >>> standard.build_for(latent_dim=2)
    >>> q = posterior.distribution(tf.zeros([1, 4]))
    >>> rate = kv.distributions.kl_divergence(q, standard.distribution())
    >>> bool(rate[0] > 2 * 0.1 - 1e-5)
    True

    Reference:
        [Preventing Posterior Collapse with delta-VAEs](
        https://arxiv.org/abs/1901.03416)
    """

    def __init__(self, delta=0.1, **kwargs):
        super().__init__(**kwargs)
        if not 0 < delta < math.inf:
            raise ValueError(
                f"`delta` must be a positive number of nats. Received: delta={delta}"
            )
        self.delta = float(delta)
        argument = -math.exp(-1 - 2 * self.delta)
        self.variances = tuple(
            float(-special.lambertw(argument, branch).real) for branch in (0, -1)
        )

    def mean_and_stddev(self, params):
        """See `Posterior.mean_and_stddev`."""
        raw_loc, raw_scale = tf.split(tf.cast(params, tf.float32), 2, axis=-1)
        low, high = self.variances
        # A raw scale of 0 is the variance 1, as in the other families.
        offset = math.log((1.0 - low) / (high - 1.0))
        variance = low + (high - low) * tf.sigmoid(raw_scale + offset)
        least = 2 * self.delta + 1 + tf.math.log(variance) - variance
        size = tf.sqrt(tf.maximum(least, 0.0) + raw_loc**2 + 1e-8)
        return tf.where(raw_loc < 0, -size, size), tf.sqrt(variance)

    def get_config(self):
        """Returns the config, from which `from_config` makes an equal layer."""
        return {**super().get_config(), "delta": self.delta}


@keras.saving.register_keras_serializable("keras_vae")
class BatchNormalizedNormal(DiagonalNormal):
    """Normal posterior whose means are batch-normalised to a fixed spread: BN-VAE.

    The means of each unit have the standard deviation `gamma` over the batch of all
    replicas, which bounds the rate of L units from below: `E KL >= L gamma^2 / 2`, Zhu
    et al., in training; outside of it the moving statistics normalise.

    Args:
        gamma: Positive float, spread of the means.

    Example:
    >>> kv.distributions.BatchNormalizedNormal(gamma=0.5).gamma
    0.5

    Reference:
        [A Batch Normalized Inference Network Keeps the KL Vanishing Away](
        https://arxiv.org/abs/2004.12585)
    """

    def __init__(self, gamma=0.5, **kwargs):
        super().__init__(**kwargs)
        if not 0 < gamma < math.inf:
            raise ValueError(f"`gamma` must be positive. Received: gamma={gamma}")
        self.gamma = float(gamma)
        self.normalization = _BatchNormalization(dtype="float32", name="normalization")

    def transform(self, raw):
        """See `Posterior.transform`."""
        loc, raw_scale = tf.split(raw, 2, axis=-1)
        return tf.concat([self.gamma * self.normalization(loc), raw_scale], axis=-1)

    def build_for(self, latent_dim):
        """See `Posterior.build_for`."""
        if not self.normalization.built:
            self.normalization.build((None, latent_dim))

    def get_config(self):
        """Returns the config, from which `from_config` makes an equal layer."""
        return {**super().get_config(), "gamma": self.gamma}


class _BatchNormalization(keras.layers.Layer):
    """Batch normalisation without a gain, over the batch of all replicas.

    The statistics of Keras's own layer are those of each replica by itself, so that the
    moving ones drift apart.
    """

    momentum, epsilon = 0.99, 1e-5

    def build(self, input_shape):
        """Creates the weights."""
        self.beta = self._add_units("beta", input_shape[-1], "zeros", True)
        self.moving_mean = self._add_units("moving_mean", input_shape[-1], "zeros")
        self.moving_variance = self._add_units(
            "moving_variance", input_shape[-1], "ones"
        )

    def call(self, inputs, training=False):
        """Normalises (batch, units)."""
        mean, variance = self.moving_mean.value, self.moving_variance.value
        if training:
            mean = _mean_over_replicas(inputs)
            variance = _mean_over_replicas(tf.square(inputs - mean))
            for moving, value in (
                (self.moving_mean, mean),
                (self.moving_variance, variance),
            ):
                value = self.momentum * moving + (1.0 - self.momentum) * value
                # Not `replicas.assign`: pseudo-inputs of a prior move no statistics.
                moving.assign(tf.stop_gradient(value))
        return (inputs - mean) * tf.math.rsqrt(variance + self.epsilon) + self.beta

    def _add_units(self, name, units, initializer, trainable=False):
        return self.add_weight(
            shape=(units,),
            initializer=initializer,
            dtype="float32",
            autocast=False,
            trainable=trainable,
            aggregation="mean",
            name=name,
        )


def _mean_over_replicas(values):
    # Shards may differ in size, and one may be empty.
    count = tf.cast(tf.shape(values)[0], tf.float32)
    total = replicas.sum_over_replicas(tf.reduce_sum(values, axis=0))
    return total / replicas.sum_over_replicas(count)


@keras.saving.register_keras_serializable("keras_vae")
class MultivariateNormalTriL(Posterior):
    """Normal posterior with a full covariance.

        q(z|x) = N(z; loc, T T'),  T lower triangular with a positive diagonal

    as in section 2.5.1 of Kingma and Welling (2019). The parameters are loc (L) and
    the triangle (L(L+1)/2, ordered as by `tfp.math.fill_triangular`), whose diagonal
    is mapped as by `bounded_scale`: zeros are the standard normal.

    Args:
        min_scale: Float in (0, 1), below which no diagonal entry of T falls. Defaults
            to 1e-5.
        max_scale: Float above 1, which no diagonal entry of T exceeds. Defaults to
            1000.

    Raises:
        ValueError: If the limits are not on either side of 1.

    Example:
    >>> posterior = kv.distributions.MultivariateNormalTriL()
    >>> posterior.params_size(3)
    9
    >>> q = posterior.distribution(tf.zeros([8, 9]))
    >>> q.batch_shape, q.event_shape
    (TensorShape([8]), TensorShape([3]))

    Reference:
        [An Introduction to Variational Autoencoders](
        https://arxiv.org/abs/1906.02691)
    """

    def params_size(self, latent_dim):
        """See `Posterior.params_size`."""
        return latent_dim * (latent_dim + 3) // 2

    def distribution(self, params):
        """See `Posterior.distribution`."""
        loc, tril = self._loc_and_tril(params)
        return tfd.MultivariateNormalTriL(loc, tril)

    def sample(self, params, num_samples, key):
        """See `Posterior.sample`."""
        loc, tril = self._loc_and_tril(params)
        noise = random.normal(_sample_shape(loc, num_samples), key)
        # A sum instead of a matmul, which GPUs may round to ten bits.
        step = tf.reduce_sum(tril[..., None, :, :] * noise[..., None, :], axis=-1)
        return loc[..., None, :] + step

    def mean_and_stddev(self, params):
        """See `Posterior.mean_and_stddev`."""
        loc, tril = self._loc_and_tril(params)
        return loc, tf.sqrt(tf.reduce_sum(tf.square(tril), axis=-1))

    def _loc_and_tril(self, params):
        size = params.shape[-1]
        latent_dim = (math.isqrt(9 + 8 * size) - 3) // 2
        if self.params_size(latent_dim) != size:
            raise ValueError(
                "`params` must hold L + L(L+1)/2 numbers on the last axis. "
                f"Received: params.shape={tuple(params.shape)}"
            )
        params = tf.cast(params, tf.float32)
        tril = tfd.fill_triangular(params[..., latent_dim:])
        diagonal = self._scale(tf.linalg.diag_part(tril))
        return params[..., :latent_dim], tf.linalg.set_diag(tril, diagonal)


def kl_divergence(posterior, prior):
    """Computes KL(q || p) in closed form.

        KL(q || p) = E_q[log q(z) - log p(z)]

    Args:
        posterior: `tfd.Distribution` q.
        prior: `tfd.Distribution` p of the same event shape.

    Returns:
        A float32 tensor of the broadcast batch shape, in nats.

    Raises:
        ValueError: If there is no closed form between the two families.

    Example:
    >>> standard = kv.priors.StandardNormal()
    >>> standard.build_for(latent_dim=2)
    >>> params = tf.constant([[1.0, 2.0, 0.0, 0.0]])
    >>> q = kv.distributions.DiagonalNormal().distribution(params)
    >>> kv.distributions.kl_divergence(q, standard.distribution()).numpy()
    array([2.5], dtype=float32)

    Reference:
        [Auto-Encoding Variational Bayes](https://arxiv.org/abs/1312.6114), appendix B
    """
    try:
        return tfd.kl_divergence(posterior, prior)
    except NotImplementedError as error:
        raise ValueError(
            "There is no closed form of the KL divergence between `posterior` and "
            '`prior`; pass `kl="monte_carlo"` to estimate it. Received: '
            f"posterior={posterior}, prior={prior}"
        ) from error


def kl_per_dimension(posterior, prior):
    """Computes KL(q(z_j|x) || p(z_j)) of each latent by itself.

    For a posterior with independent latents the sum over j is the whole KL. For one
    with a full covariance these are the divergences of its marginals, and the whole KL
    exceeds their sum by the total correlation of q(z|x).

    Args:
        posterior: `tfd.Independent(tfd.Normal)` or `tfd.MultivariateNormalTriL`.
        prior: `tfd.Independent(tfd.Normal)`.

    Returns:
        A float32 tensor (..., latent_dim), in nats.

    Raises:
        ValueError: If the two families are not these.

    Example:
    >>> standard = kv.priors.StandardNormal()
    >>> standard.build_for(latent_dim=2)
    >>> params = tf.constant([[1.0, 2.0, 0.0, 0.0]])
    >>> q = kv.distributions.DiagonalNormal().distribution(params)
    >>> kv.distributions.kl_per_dimension(q, standard.distribution()).numpy()
    array([[0.5, 2. ]], dtype=float32)
    """
    full = isinstance(posterior, tfd.MultivariateNormalTriL)
    if not tfd.is_diagonal(prior) or not (full or tfd.is_diagonal(posterior)):
        raise ValueError(
            "`prior` must be a normal with independent latents and `posterior` a "
            "normal for the KL to have a closed form per dimension. Received: "
            f"posterior={posterior}, prior={prior}"
        )
    marginals = (
        tfd.Normal(posterior.mean(), posterior.stddev())
        if full
        else posterior.distribution
    )
    return tfd.kl_divergence(marginals, prior.distribution)


def get(identifier):
    """Returns the posterior family that `identifier` names.

    Args:
        identifier: "diagonal_normal" or "normal" (`DiagonalNormal`),
            "full_covariance_normal" (`MultivariateNormalTriL`), a `Posterior` or its
            serialized config.

    Returns:
        A `Posterior`.

    Raises:
        ValueError: If `identifier` is none of these.

    Example:
    >>> kv.distributions.posteriors.get("normal").params_size(16)
    32
    """
    return serialization.get(identifier, Posterior, _MAKERS, "posterior")


_MAKERS = {
    "diagonal_normal": DiagonalNormal,
    "normal": DiagonalNormal,
    "full_covariance_normal": MultivariateNormalTriL,
    "committed_normal": CommittedNormal,
    "batch_normalized_normal": BatchNormalizedNormal,
}


def _sample_shape(loc, num_samples):
    *batch, latent_dim = keras.ops.shape(loc)
    return (*batch, num_samples, latent_dim)


def _inverse_softplus(y):
    return y + math.log(-math.expm1(-y))

"""Priors p(z): fixed, learned, and made of the posterior itself."""

import numbers

import keras
import numpy as np
import tensorflow as tf

from keras_vae import random
from keras_vae import serialization
from keras_vae.distributions import tfd
from keras_vae.distributions.posteriors import DiagonalNormal


class Prior(keras.layers.Layer):
    """Base of the priors p(z).

    A subclass defines `distribution` and `sample`; `build` where it owns weights, after
    a call of this class's; and `params` where it has to call layers.
    """

    # Whether `params` calls `encode`.
    calls_encoder = False

    def build_for(self, latent_dim, input_shape=None, posterior=None):
        """Creates the weights; a second call with the same latents does nothing.

        Args:
            latent_dim: Integer, number of latents.
            input_shape: Shape of what `encode` gets, batch axis first. Only priors that
                call `encode` need it.
            posterior: `Posterior` of the same latents, for priors that depend on it.

        Raises:
            ValueError: If the prior was built for another number of latents.
        """
        if not self.built:
            self.build(latent_dim, input_shape)
        elif self.latent_dim != latent_dim:
            raise ValueError(
                f"`prior` is built for {self.latent_dim} latents and cannot be shared "
                f"with another number. Received: latent_dim={latent_dim}"
            )

    def build(self, latent_dim, input_shape=None):
        """Creates the weights, see `build_for`."""
        self.latent_dim = latent_dim

    def params(self, encode=None):
        """Makes every layer call that the prior needs.

        Args:
            encode: Callable that maps a batch of inputs to posterior parameters.

        Returns:
            A tensor to hand on to `distribution`, or None.
        """
        return None

    def distribution(self, params=None, posterior=None):
        """Builds p(z), without layer calls.

        Args:
            params: What `params(encode)` returned.
            posterior: `Posterior` that gives such parameters their meaning.

        Returns:
            A float32 `tfd.Distribution` of batch shape (), event (latent_dim,).
        """
        raise NotImplementedError

    def sample(self, num_samples, key, params=None, posterior=None):
        """Draws z from p(z), differentiable in what is learned of a single component.

        Args:
            num_samples: Integer.
            key: Int64 tensor (2,), see `keras_vae.random`.
            params: What `params(encode)` returned.
            posterior: `Posterior` that gives such parameters their meaning.

        Returns:
            A float32 tensor (num_samples, latent_dim).
        """
        raise NotImplementedError

    def _add_numbers(self, name, shape, initializer="zeros"):
        return self.add_weight(
            shape=shape,
            initializer=initializer,
            dtype="float32",
            autocast=False,
            name=name,
        )


@keras.saving.register_keras_serializable("keras_vae")
class StandardNormal(Prior):
    """The prior N(0, I).

        p(z) = prod_j N(z_j; 0, 1)

    as in section 3 of Kingma and Welling (2013).

    Example:
    >>> prior = kv.priors.StandardNormal()
    >>> prior.build_for(latent_dim=2)
    >>> prior.distribution().log_prob([[0.0, 0.0]]).numpy().round(3)
    array([-1.838], dtype=float32)

    Reference:
        [Auto-Encoding Variational Bayes](https://arxiv.org/abs/1312.6114)
    """

    def distribution(self, params=None, posterior=None):
        """See `Prior.distribution`."""
        zeros = tf.zeros([self.latent_dim])
        return tfd.Independent(tfd.Normal(zeros, tf.ones_like(zeros)), 1)

    def sample(self, num_samples, key, params=None, posterior=None):
        """See `Prior.sample`."""
        return random.normal((num_samples, self.latent_dim), key)


@keras.saving.register_keras_serializable("keras_vae")
class LearnedNormal(Prior):
    """A normal prior whose means and scales are learned.

        p(z) = prod_j N(z_j; loc_j, scale_j^2)

    The best one, with means and variances of the aggregate posterior, lowers the rate
    by KL(q(z) || N(0, I)) - KL(q(z) || p), a part of the last term of Hoffman and
    Johnson's (2016) decomposition. It starts as N(0, I). The KL has a closed form.

    Example:
    >>> prior = kv.priors.LearnedNormal()
    >>> prior.build_for(latent_dim=2)
    >>> prior.distribution().log_prob([[0.0, 0.0]]).numpy().round(3)
    array([-1.838], dtype=float32)

    Reference:
        [ELBO surgery: yet another way to carve up the variational evidence lower
        bound](http://approximateinference.org/accepted/HoffmanJohnson2016.pdf)
    """

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self._family = DiagonalNormal(dtype=self.dtype_policy)

    def build(self, latent_dim, input_shape=None):
        """See `Prior.build`."""
        super().build(latent_dim, input_shape)
        self.loc = self._add_numbers("loc", (latent_dim,))
        self.raw_scale = self._add_numbers("raw_scale", (latent_dim,))

    def distribution(self, params=None, posterior=None):
        """See `Prior.distribution`."""
        return self._family.distribution(_concat(self.loc, self.raw_scale))

    def sample(self, num_samples, key, params=None, posterior=None):
        """See `Prior.sample`."""
        params = _concat(self.loc, self.raw_scale)
        return self._family.sample(params[None], num_samples, key)[0]


class _Mixture(Prior):
    """Mixtures of K members of a posterior family.

    A subclass defines `_components(params, posterior)`, the family and the parameters
    (num_components, params_size) of its members.
    """

    def __init__(self, num_components, learned_weights=False, seed=None, **kwargs):
        super().__init__(**kwargs)
        if (
            not isinstance(num_components, numbers.Integral)
            or isinstance(num_components, bool)
            or num_components < 1
        ):
            raise ValueError(
                "`num_components` must be a positive integer. Received: "
                f"num_components={num_components!r}"
            )
        self.num_components = int(num_components)
        self.learned_weights = bool(learned_weights)
        self.seed = seed

    def build(self, latent_dim, input_shape=None):
        """See `Prior.build`."""
        super().build(latent_dim, input_shape)
        if self.learned_weights:
            self.logits = self._add_numbers("logits", (self.num_components,))

    def distribution(self, params=None, posterior=None):
        """See `Prior.distribution`."""
        family, params = self._components(params, posterior)
        weights = tfd.Categorical(self._logits())
        return tfd.MixtureSameFamily(weights, family.distribution(params))

    def sample(self, num_samples, key, params=None, posterior=None):
        """See `Prior.sample`."""
        family, params = self._components(params, posterior)
        # TFP would draw from every component and throw all but one away.
        edges = tf.cumsum(tf.nn.softmax(self._logits()))[:-1]
        noise = random.uniform((num_samples,), random.fork(key, 1))
        index = tf.searchsorted(edges, noise, side="right")
        return family.sample(tf.gather(params, index), 1, key)[:, 0]

    def get_config(self):
        """Returns the config, from which `from_config` makes an equal layer."""
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


@keras.saving.register_keras_serializable("keras_vae")
class GaussianMixture(_Mixture):
    """A mixture of normals; weights, means and scales are learned.

        p(z) = sum_k w_k prod_j N(z_j; loc_kj, scale_kj^2)

    the "mixture of Gaussians" baseline of section 4 of Tomczak and Welling (2017). Its
    KL from a posterior has no closed form: use `kl="monte_carlo"`. The means start as
    draws from N(0, I), the scales at 1, the weights equal.

    Args:
        num_components: Integer. Defaults to 10.
        learned_weights: Boolean, whether to learn the weights w_k. Defaults to True.
        seed: Integer or None, of the initial means.

    Raises:
        ValueError: If `num_components` is not a positive integer.

    Example:
    >>> prior = kv.priors.GaussianMixture(num_components=5, seed=0)
    >>> prior.build_for(latent_dim=2)
    >>> prior.distribution().log_prob(tf.zeros([8, 2])).shape
    TensorShape([8])

    Reference:
        [VAE with a VampPrior](https://arxiv.org/abs/1705.07120)
    """

    def __init__(self, num_components=10, learned_weights=True, seed=None, **kwargs):
        super().__init__(num_components, learned_weights, seed, **kwargs)
        self._family = DiagonalNormal(min_scale=1e-3, dtype=self.dtype_policy)

    def build(self, latent_dim, input_shape=None):
        """See `Prior.build`."""
        super().build(latent_dim, input_shape)
        shape = (self.num_components, latent_dim)
        normal = keras.initializers.RandomNormal(stddev=1.0, seed=self.seed)
        self.locs = self._add_numbers("locs", shape, normal)
        self.raw_scales = self._add_numbers("raw_scales", shape)

    def _components(self, params, posterior):
        return self._family, _concat(self.locs, self.raw_scales)


@keras.saving.register_keras_serializable("keras_vae")
class VampPrior(_Mixture):
    """Mixture of the posteriors of learned pseudo-inputs.

        p(z) = 1/K sum_k q(z|u_k)

    Tomczak and Welling (2017), u_k = clip(weights_k, value_range). The weights start as
    the authors', normal with mean 0.05 and standard deviation 0.01, or by `initialize`
    as examples. The KL from a posterior has no closed form: use `kl="monte_carlo"`.

    Args:
        num_components: Integer, K. Defaults to 500.
        value_range: Pair of floats between which the pseudo-inputs are clipped, or None
            for data without limits. Defaults to (0, 1).
        learned_weights: Boolean, whether to learn the weights 1/K. Defaults to False.
        seed: Integer or None, of the initial pseudo-inputs.

    Raises:
        ValueError: If `num_components` or `value_range` is out of its range.

    Example:
    >>> prior = kv.priors.VampPrior(num_components=3)
    >>> prior.build_for(latent_dim=2, input_shape=(None, 4))
    >>> params = prior.params(encode=keras.layers.Dense(4))
    >>> p = prior.distribution(params, kv.distributions.DiagonalNormal())
    >>> p.log_prob(tf.zeros([8, 2])).shape
    TensorShape([8])

    Reference:
        [VAE with a VampPrior](https://arxiv.org/abs/1705.07120)
    """

    calls_encoder = True

    def __init__(self, num_components=500, value_range=(0.0, 1.0), **kwargs):
        super().__init__(num_components, **kwargs)
        self.value_range = _check_range(value_range)

    def build(self, latent_dim, input_shape=None):
        """See `Prior.build`."""
        super().build(latent_dim, input_shape)
        shape = (self.num_components, *_example_shape(input_shape))
        authors = keras.initializers.RandomNormal(0.05, 0.01, self.seed)
        self.pseudo_inputs = self._add_numbers("pseudo_inputs", shape, authors)

    def initialize(self, x):
        """Sets the pseudo-inputs to examples drawn without replacement.

        Args:
            x: Float array (num_examples, ...), at least `num_components` examples.

        Raises:
            ValueError: If the prior is not built or `x` does not fit it.
        """
        examples = _draw_examples(self, x)
        self.pseudo_inputs.assign(examples)

    def params(self, encode=None):
        """See `Prior.params`."""
        inputs = tf.convert_to_tensor(self.pseudo_inputs)
        return encode(_clip(inputs, self.value_range))

    def get_config(self):
        """Returns the config, from which `from_config` makes an equal layer."""
        return {**super().get_config(), "value_range": self.value_range}

    def _components(self, params, posterior):
        return posterior, params


def get(identifier):
    """Returns the prior that `identifier` names.

    Args:
        identifier: "standard_normal", "learned_normal", "gaussian_mixture" (10
            components), "vamp_prior" (500 components), a `Prior` or its serialized
            config.

    Returns:
        A `Prior`, not built yet if it was made from a name.

    Raises:
        ValueError: If `identifier` is none of these.

    Example:
    >>> kv.priors.get("vamp_prior").num_components
    500
    """
    return serialization.get(identifier, Prior, _MAKERS, "prior")


_MAKERS = {
    "standard_normal": StandardNormal,
    "learned_normal": LearnedNormal,
    "gaussian_mixture": GaussianMixture,
    "vamp_prior": VampPrior,
}


def _concat(loc, raw_scale):
    return tf.concat([tf.convert_to_tensor(v) for v in (loc, raw_scale)], axis=-1)


def _check_range(value_range):
    if value_range is None:
        return None
    low, high = value_range
    if not low < high:
        raise ValueError(
            "`value_range` must be a pair (low, high) with low < high, or None. "
            f"Received: value_range={value_range!r}"
        )
    return (low, high)


def _clip(inputs, value_range):
    return inputs if value_range is None else tf.clip_by_value(inputs, *value_range)


def _draw_examples(prior, x):
    if not prior.built:
        raise ValueError(
            "The prior must be built before `initialize`: call the model on a "
            "batch first, or `build_for`."
        )
    size, *event = prior.pseudo_inputs.shape
    if list(x.shape[1:]) != event or len(x) < size:
        raise ValueError(
            f"`x` must hold at least {size} examples of shape {tuple(event)}. "
            f"Received: x.shape={tuple(x.shape)}"
        )
    generator = np.random.default_rng(prior.seed)
    chosen = generator.choice(len(x), size, replace=False)
    return np.asarray(x)[np.sort(chosen)]


def _example_shape(input_shape):
    one = isinstance(input_shape, (tuple, list, tf.TensorShape))
    sizes = tuple(input_shape)[1:] if one else ()
    if not sizes or not all(isinstance(size, numbers.Integral) for size in sizes):
        raise ValueError(
            "`input_shape` must be the shape of one input, batch axis first and all "
            "others known, for a VampPrior, whose pseudo-inputs take its place; models "
            "of several inputs, or of variable ones, need another prior. Received: "
            f"input_shape={input_shape!r}"
        )
    return sizes

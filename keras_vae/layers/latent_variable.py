"""A latent variable: its posterior, its prior and its noise."""

import math

import keras
import numpy as np
import tensorflow as tf

from keras_vae import conditions
from keras_vae import priors
from keras_vae import random
from keras_vae.distributions import heads
from keras_vae.distributions import posteriors
from keras_vae.distributions.limits import inverse_soft_clip
from keras_vae.objectives import LatentEstimate

# Share of its direction that a closed unit keeps.
_CLOSED = 1e-3


class LatentVariable(keras.layers.Layer):
    """Turns features into posterior parameters, and the parameters into samples.

    Parameters and samples are flat. Networks see z in its own shape, see `shaped`.

    Attributes:
        shape: Tuple, the shape of z: (units,), or that of a map.
        units: Integer, how many numbers z has.

    Args:
        units: Integer, dimensions of the latent space, or a tuple, the shape of a map,
            channels last.
        posterior: Name, config or `Posterior`.
        prior: Name, config or `Prior`.
        seed: Integer or None, see `keras_vae.random.Noise`.
    """

    def __init__(
        self,
        units,
        posterior="diagonal_normal",
        prior="standard_normal",
        seed=None,
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.shape = heads.check_shape(units)
        self.units = math.prod(self.shape)
        self.posterior = posteriors.get(posterior)
        self.prior = priors.get(prior)
        self.noise = random.Noise(seed, name="noise", dtype=self.dtype_policy)
        self.head = self.make_head()

    def make_head(self):
        """Returns the layer that turns features into posterior parameters."""
        return heads.make(self.posterior.head_size, self.shape)

    def build_from_features(
        self,
        features_shape,
        pseudo_input_shape,
        condition_shapes=conditions.NONE,
        encoder_conditions=None,
    ):
        """Creates all weights.

        Args:
            features_shape: Shape of the input of `infer`, batch axis first.
            pseudo_input_shape: Shape of the input of the prior's `encode`, batch axis
                first.
            condition_shapes: Dict of names to shapes of the conditions, batch axis
                first.
            encoder_conditions: Dict, the `conditions` of a model that the prior's
                `encode` takes, or None.
        """
        if not self.head.built:
            self.head.build(self._head_shape(features_shape))
            self.posterior.build_for(self.units)
            shapes = {
                name: shape
                for name, shape in condition_shapes.items()
                if self.prior.takes_condition(name)
            }
            options = {"condition_shapes": shapes} if shapes else {}
            if shapes and len(self.shape) > 1:
                options["latent_shape"] = self.shape
            if encoder_conditions and self.prior.encodes_conditions:
                options["encoder_conditions"] = encoder_conditions
            self.prior.build_for(
                self.units, pseudo_input_shape, self.posterior, **options
            )
        self.built = True

    def _head_shape(self, features_shape):
        """Returns the shape of the features as the head takes them."""
        if len(self.shape) > 1:
            return tuple(features_shape)
        return None, flat_size(features_shape, "the encoder's output")

    def infer(self, features, condition=conditions.NONE, prior_params=None):
        """Returns posterior parameters of features, (batch, params_size), float32.

        Args:
            features: Tensor of shape (batch, ...).
            condition: Dict of names to tensors, of which the head takes what it names.
            prior_params: Parameters of the prior (batch, ...) that a posterior may take
                up, see `Posterior.with_prior`, or None.
        """
        size = self._head_shape(features.shape)[1:]
        features = tf.reshape(features, [-1, *size])
        raw = conditions.call(self.head, features, condition)
        params = self.posterior.transform(raw)
        return self.posterior.with_prior(params, prior_params)

    def sample(self, params, num_samples, key):
        """Draws z by reparameterization, shape (batch, num_samples, units), float32."""
        return self.posterior.sample(params, num_samples, key)

    def shaped(self, z):
        """Returns flat z, (..., units), as rows of its own shape, (rows, *shape)."""
        return tf.reshape(z, [-1, *self.shape])

    def draw(self, params, num_samples, key):
        """Draws z as `sample` does, with what `estimate` takes of the draws.

        Args:
            params: Tensor of shape (batch, params_size).
            num_samples: Integer, draws per example.
            key: Int64 tensor (2,), see `keras_vae.random`, or None for the mean of
                q(z|x) as the only draw.

        Returns:
            z, and a dict with "log_posterior" (batch, num_samples) where the posterior
            knows log q(z|x) of its draws.
        """
        if key is None:
            return self.posterior.mean_and_stddev(params)[0][:, None], {}
        z, log_posterior = self.posterior.draw(params, num_samples, key)
        return z, {} if log_posterior is None else {"log_posterior": log_posterior}

    def prior_params(self, encode, condition=conditions.NONE):
        """Returns what `sample_prior` and `estimate` need of the prior.

        Args:
            encode: Callable that maps a batch of inputs to posterior parameters.
            condition: Dict of names to tensors, of which the prior takes what it names.
        """
        taken = {n: v for n, v in condition.items() if self.prior.takes_condition(n)}
        options = {"condition": taken} if taken else {}
        return self.prior.params(encode, **options)

    def sample_prior(self, n, key, prior_params):
        """Draws z ~ p(z), shape (n, units), float32."""
        return self.prior.sample(n, key, prior_params, self.posterior)

    def estimate(self, params, prior_params, z, **kwargs):
        """Returns the `LatentEstimate` of a batch from its tensors.

        Args:
            params: Tensor (batch, params_size), or (batch, samples, params_size) if
                they depend on the draws of another latent.
            prior_params: What `prior_params` returned, likewise.
            z: Tensor (batch, samples, units).
            **kwargs: See `LatentEstimate`.
        """
        return LatentEstimate(
            self.posterior.distribution(params),
            self.prior.distribution(prior_params, self.posterior),
            z,
            name=self.name,
            **kwargs,
        )

    def adapt(self, found, beta, noise):
        """Sets the head to q(z|x) of the best linear VAE; see `linear_start.adapt`.

        Args:
            found: `keras_vae.linear.Components` of the data, whose elements are the
                first inputs of the head.
            beta: Float, the weight of the rate.
            noise: Float, the variance of p(y|z).

        Returns:
            (units,) array, the length of the decoder's column for each unit.
        """
        excess = np.maximum(found.eigenvalues - beta * noise, 0.0)
        is_open = excess > 0
        # A closed unit could never open without a part of its direction.
        gains = np.where(
            is_open,
            np.sqrt(excess) / found.eigenvalues,
            _CLOSED / np.sqrt(found.eigenvalues),
        )
        variances = found.posterior_variances(beta * noise)
        stddev = np.sqrt(np.where(is_open, variances, 1.0))
        limits = self.posterior.min_scale, self.posterior.max_scale
        raw = [inverse_soft_clip(float(s), *limits) for s in stddev]
        raw = np.array(raw) - inverse_soft_clip(1.0, *limits)
        set_linear_head(self.head, found, gains, raw)
        return np.sqrt(excess)

    def get_config(self):
        """Returns the config; `from_config` makes an equal layer from it."""
        return {
            **super().get_config(),
            "units": self.units if len(self.shape) == 1 else list(self.shape),
            "posterior": keras.saving.serialize_keras_object(self.posterior),
            "prior": keras.saving.serialize_keras_object(self.prior),
            "seed": self.noise.seed,
        }


def set_linear_head(head, found, gains, raw):
    """Sets a head to means that are linear in x, and to constant raw scales.

    Args:
        head: Dense layer, whose first inputs are the elements of x and conditions.
        found: `keras_vae.linear.Components`.
        gains: (units,) array, the mean of a unit for a residual of 1 along its
            eigenvector.
        raw: (units,) array.
    """
    rows = found.directions * gains
    kernel = np.zeros(head.kernel.shape)
    mean = found.seen_mean
    if found.regression is not None:
        slopes = found.regression.slopes
        mean = mean - found.regression.mean @ slopes
        rows = np.concatenate([rows, -slopes @ rows])
    kernel[: len(rows), : rows.shape[1]] = rows
    head.kernel.assign(kernel)
    head.bias.assign(np.concatenate([-mean @ rows[: len(mean)], raw]))


def flat_size(shape, what):
    """Returns the number of elements of one example.

    Args:
        shape: Shape with the batch axis first.
        what: String, the name of the tensor in the error.

    Raises:
        ValueError: If an axis other than the first is unknown.
    """
    if len(shape) < 2 or None in tuple(shape)[1:]:
        raise ValueError(
            f"The shape of {what} must be (batch, ...) with all axes but the first "
            f"known. Received: shape={tuple(shape)}"
        )
    return math.prod(tuple(shape)[1:])

"""A normal prior whose means and scales depend on conditions."""

import math

import keras
import tensorflow as tf

from keras_vae import conditions
from keras_vae.distributions import heads
from keras_vae.distributions.posteriors import DiagonalNormal
from keras_vae.priors.prior import Prior
from keras_vae.serialization import HoldsNetworks


@keras.saving.register_keras_serializable("keras_vae")
class Conditional(HoldsNetworks, Prior):
    """A normal prior whose means and scales come from a network of the conditions.

        p(z|c) = prod_j N(z_j; loc_j(c), scale_j(c)^2)

    the prior of Sohn et al. A dense head turns the features of the network into means
    and scales. It starts at zero, so that p(z|c) starts as N(0, I). The KL has a closed
    form. All methods of a `VAE` that use the prior need its conditions.

    Args:
        network: `keras.Model` or layer of the conditions, as features (batch, ...), or
            None for a head on the conditions themselves: a mean and a scale for each
            class. A functional model gets the conditions that its inputs name, any
            other the flat conditions in one vector.
        conditions: List of the names of the conditions, or None for those that the
            inputs of `network` name, all of the model if they name none.

    Example:
    >>> prior = kv.priors.Conditional()
    >>> prior.build_for(latent_dim=2, condition_shapes={"label": (None, 3)})
    >>> params = prior.params(condition={"label": tf.eye(3)})
    >>> prior.distribution(params).log_prob(tf.zeros([3, 2])).numpy().round(3)
    array([-1.838, -1.838, -1.838], dtype=float32)

    Reference:
        [Learning Structured Output Representation using Deep Conditional Generative
        Models](https://papers.nips.cc/paper/5775)
    """

    def __init__(self, network=None, conditions=None, **kwargs):
        super().__init__(**kwargs)
        self.network = _checked(network)
        self.names = None if conditions is None else list(conditions)
        self._family = DiagonalNormal(dtype=self.dtype_policy)
        self._head, self._built_names, self._is_map = None, (), False

    @property
    def head(self):
        """See `Prior`."""
        return self._head

    def takes_condition(self, name):
        """See `Prior.takes_condition`."""
        names = self._built_names or self.names or self._input_names
        return not names or name in names

    @property
    def _input_names(self):
        """Names of the inputs of a functional network, [] of other networks."""
        if not getattr(self.network, "operations", None):
            return []
        if isinstance(self.network, keras.Sequential):
            return []
        inputs = self.network.input
        if isinstance(inputs, dict):
            return list(inputs)
        return [part.name for part in tf.nest.flatten(inputs)]

    def build_for(
        self,
        latent_dim,
        input_shape=None,
        posterior=None,
        condition_shapes=None,
        latent_shape=None,
    ):
        """See `Prior.build_for`."""
        if not self.built:
            self.build(latent_dim, condition_shapes, latent_shape)
        super().build_for(latent_dim, input_shape, posterior)

    def build(self, latent_dim, condition_shapes=None, latent_shape=None):
        """Creates the weights.

        Args:
            latent_dim: Integer.
            condition_shapes: Dict of names to shapes, batch axis first.
            latent_shape: Shape of a latent that is a map, or None. Its features are a
                map of the same height and width.
        """
        super().build(latent_dim)
        if not condition_shapes:
            raise ValueError(
                "`prior` Conditional needs a model that declares `conditions`: pass "
                "`VAE(conditions={'label': 10})`; a `Latent` needs `prior_features`. "
                "Received: none"
            )
        self._built_names = tuple(condition_shapes)
        symbols = {
            name: keras.KerasTensor(tuple(shape))
            for name, shape in condition_shapes.items()
        }
        self._is_map = latent_shape is not None
        shape = self._flat(self._features(symbols)).shape
        self._head = heads.make(
            self._family.params_size,
            latent_shape or (latent_dim,),
            kernel_initializer="zeros",
        )
        self._head.build((None, *shape[1:]))

    def params(self, encode=None, condition=conditions.NONE):
        """See `Prior.params`; one row for each example."""
        features = self._flat(self._features(condition))
        return self._family.transform(self._head(features))

    def _flat(self, features):
        """Returns features as the head takes them."""
        if self._is_map:
            return features
        return keras.ops.reshape(features, (-1, math.prod(features.shape[1:])))

    def _features(self, condition):
        if names := self._input_names:
            taken = {name: condition[name] for name in names}
            return self.network(taken if len(names) > 1 else taken[names[0]])
        if self._is_map:
            return self._of_map(condition)
        parts = [
            keras.ops.reshape(
                condition[name], (-1, math.prod(condition[name].shape[1:]))
            )
            for name in sorted(condition)
        ]
        joined = keras.ops.concatenate(parts, axis=-1)
        return joined if self.network is None else self.network(joined)

    def _of_map(self, condition):
        if len(condition) > 1:
            raise ValueError(
                "`prior` Conditional of a latent that is a map must have one "
                "condition, or a functional `network` whose inputs name them. "
                f"Received: conditions {list(condition)}"
            )
        (features,) = condition.values()
        return features if self.network is None else self.network(features)

    def distribution(self, params=None, posterior=None):
        """See `Prior.distribution`."""
        return self._family.distribution(params)

    def sample(self, num_samples, key, params=None, posterior=None):
        """See `Prior.sample`; a draw for each of `num_samples` rows of parameters."""
        return self._family.sample(params, 1, key)[:, 0]

    def get_build_config(self):
        """Returns None: the latent that owns it builds it for its own shapes."""
        return None

    def get_config(self):
        """Returns the config; `from_config` makes an equal layer from it."""
        return {
            **super().get_config(),
            "network": keras.saving.serialize_keras_object(self.network),
            "conditions": self.names,
        }


def _checked(network):
    if network is not None and not isinstance(network, keras.layers.Layer):
        raise ValueError(
            "`network` must be a `keras.Model` or `keras.layers.Layer` of the "
            f"conditions, or None. Received: network={network!r}"
        )
    return network

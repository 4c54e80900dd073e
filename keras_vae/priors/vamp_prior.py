"""A mixture of the posteriors of learned pseudo-inputs."""

import keras
import numpy as np
import tensorflow as tf

from keras_vae.arguments import is_integer
from keras_vae.conditions import Conditions
from keras_vae.priors.mixture import Mixture
from keras_vae.weights import add_float32

# The first logits of a pseudo-input: of its class against each other one as .95 to .05.
_SURE = 0.95


@keras.saving.register_keras_serializable("keras_vae")
class VampPrior(Mixture):
    """Mixture of the posteriors of learned pseudo-inputs.

        p(z) = 1/K sum_k q(z|u_k)

    or q(z|u_k, c_k) where the encoder takes conditions, which are learned as u_k are:
    probabilities of the classes of a label, initially each of one class in turn, and
    real values, initially 0. So p(z) does not depend on the conditions of an example.

    Tomczak and Welling (2017), with u_k = clip(weights_k, value_range). Initially the
    pseudo-inputs are normal draws with mean 0.05 and standard deviation 0.01, as in the
    authors' code; `initialize` sets them to examples instead. The KL of a posterior
    from this prior has no closed form: use `kl="monte_carlo"`.

    Args:
        num_components: Integer, K. Defaults to 500.
        value_range: Pair of floats, limits to which the pseudo-inputs are clipped, or
            None for data without limits. Defaults to (0, 1).
        learned_weights: Boolean, whether to learn the weights 1/K. Defaults to False.
        seed: Integer or None, seed of the initial pseudo-inputs.

    Raises:
        ValueError: If `num_components` or `value_range` is invalid.

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
    encodes_conditions = True

    def __init__(self, num_components=500, value_range=(0.0, 1.0), **kwargs):
        super().__init__(num_components, **kwargs)
        self.value_range = _check_range(value_range)

    def build_for(
        self, latent_dim, input_shape=None, posterior=None, encoder_conditions=None
    ):
        """See `Prior.build_for`.

        Args:
            latent_dim: Integer.
            input_shape: Shape, batch axis first.
            posterior: `Posterior`.
            encoder_conditions: Dict, the `conditions` of a `VAE` that `encode` takes,
                or None.
        """
        if not self.built:
            self.build(latent_dim, input_shape, encoder_conditions)
        super().build_for(latent_dim, input_shape, posterior)

    def build(self, latent_dim, input_shape=None, encoder_conditions=None):
        """Creates the weights; see `build_for`."""
        super().build(latent_dim, input_shape)
        self._declared = Conditions(encoder_conditions)
        shape = (self.num_components, *_example_shape(input_shape))
        authors = keras.initializers.RandomNormal(0.05, 0.01, self.seed)
        self.pseudo_inputs = add_float32(self, "pseudo_inputs", authors, shape)
        self.pseudo_conditions = {
            name: add_float32(self, f"pseudo_{name}", self._start(name), shape)
            for name in self._declared
            for shape in [(self.num_components, *self._declared.shape(name))]
        }

    def _start(self, name):
        """Returns the first values of a pseudo-condition: logits, or real values."""
        number = self._declared.num_classes(name)
        if number is None:
            return "zeros"
        return _logits(np.arange(self.num_components) % number, number)

    def initialize(self, x):
        """Sets the pseudo-inputs to examples drawn without replacement.

        Args:
            x: Float array (num_examples, ...), at least `num_components` examples, or a
                dict of it as "x" and of each condition that the encoder takes.

        Raises:
            ValueError: If the prior is not built or `x` does not fit it.
        """
        chosen = _chosen(self, self._declared.main(x) if self.built else x)
        self.pseudo_inputs.assign(np.asarray(self._declared.main(x))[chosen])
        for name, variable in self.pseudo_conditions.items():
            values, number = np.asarray(x[name]), self._declared.num_classes(name)
            if number is not None:
                variable.assign(_logits(np.ravel(values)[chosen], number))
            else:
                variable.assign(values[chosen].reshape(variable.shape))

    def rescale(self, shift, scale):
        """See `Prior.rescale`. The limits are applied, and then given up."""
        clipped = _clip(tf.convert_to_tensor(self.pseudo_inputs), self.value_range)
        self.pseudo_inputs.assign(shift + scale * clipped)
        self.value_range = None

    def params(self, encode=None):
        """See `Prior.params`."""
        inputs = tf.convert_to_tensor(self.pseudo_inputs)
        inputs = _clip(inputs, self.value_range)
        if not self.pseudo_conditions:
            return encode(inputs)
        return encode(inputs, {n: self._condition(n) for n in self._declared})

    def _condition(self, name):
        """Returns values of a condition as the networks get them."""
        values = tf.convert_to_tensor(self.pseudo_conditions[name])
        is_real = self._declared.num_classes(name) is None
        return values if is_real else tf.nn.softmax(values)

    def get_config(self):
        """Returns the config; `from_config` makes an equal layer from it."""
        return {**super().get_config(), "value_range": self.value_range}

    def _components(self, params, posterior):
        return posterior, params


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


def _logits(labels, number):
    """Returns logits (labels, classes) by which each label is likely."""
    return np.log(np.where(np.eye(number)[labels] > 0, _SURE, 1 - _SURE))


def _chosen(prior, x):
    """Returns the places of examples drawn without replacement."""
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
    return np.sort(chosen)


def _example_shape(input_shape):
    one = isinstance(input_shape, (tuple, list, tf.TensorShape))
    sizes = tuple(input_shape)[1:] if one else ()
    if not sizes or not all(map(is_integer, sizes)):
        raise ValueError(
            "`input_shape` must be the shape of one input, batch axis first and all "
            "other axes known, because the pseudo-inputs of a VampPrior have this "
            "shape; use another prior for several or variable inputs. Received: "
            f"input_shape={input_shape!r}"
        )
    return sizes

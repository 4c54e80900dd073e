"""Networks that take conditions beside x or z."""

import math

import keras
from keras import ops

from keras_vae.conditions import Conditions
from keras_vae.conditions import call
from keras_vae.conditions import takes
from keras_vae.networks.skip import SkipSequential
from keras_vae.networks.skip import append
from keras_vae.networks.stack import Stack


@keras.saving.register_keras_serializable("keras_vae")
class JoinConditions(keras.layers.Layer):
    """Appends conditions to features, or to the channels of each pixel.

    Args:
        conditions: Dict of names to kinds, as of a `VAE`.

    Call arguments:
        inputs: Tensor of shape (batch, ..., size).
        **condition: A tensor (batch, *shape) for each condition, labels as one-hot
            vectors.

    Returns:
        Tensor of shape (batch, ..., size + size of all conditions).

    Example:
    >>> layer = kv.networks.JoinConditions({"label": 3})
    >>> layer(np.ones((2, 4)), label=np.eye(3)[[0, 2]]).numpy()[1]
    array([1., 1., 1., 1., 0., 0., 1.], dtype=float32)
    """

    def __init__(self, conditions, **kwargs):
        super().__init__(**kwargs)
        self.declared = Conditions(conditions)
        self.built = True

    def takes_condition(self, name):
        """Whether this is one of the conditions, see `keras_vae.conditions`."""
        return name in self.declared

    def call(self, inputs, **condition):
        """See the class."""
        for name in self.declared:
            value, shape = condition.get(name), self.declared.shape(name)
            if value is None or tuple(value.shape[1:]) != shape:
                raise ValueError(
                    f"`conditions` of the model must declare {name!r} as the network "
                    f"does, {self.declared.get_config()}. Received: "
                    + ("none" if value is None else f"shape {tuple(value.shape)}")
                )
            flat = ops.reshape(value, (-1, math.prod(shape)))
            inputs = append(inputs, flat)
        return inputs

    def compute_output_shape(self, inputs_shape, **kwargs):
        """Returns the shape with a longer last axis."""
        return (*inputs_shape[:-1], inputs_shape[-1] + self.declared.size)

    def get_config(self):
        """Returns the config; `from_config` makes an equal layer from it."""
        return {**super().get_config(), "conditions": self.declared.get_config()}


@keras.saving.register_keras_serializable("keras_vae")
class ConditionalSequential(Stack):
    """A sequence of layers, each of which also gets the conditions that it takes.

    Args:
        layers: List of `keras.layers.Layer`, one of them `JoinConditions` or a model
            with inputs that conditions name.
        **kwargs: See `keras.Model`.

    Call arguments:
        inputs: Tensor, the input of the first layer.
        **condition: Tensors of the conditions by name.

    Example:
    >>> join = kv.networks.JoinConditions({"label": 3})
    >>> network = kv.networks.ConditionalSequential([join, keras.layers.Dense(5)])
    >>> network(np.ones((2, 4)), label=np.eye(3)[[0, 2]]).shape
    TensorShape([2, 5])
    """

    def takes_condition(self, name):
        """Whether one of the layers takes it, see `keras_vae.conditions`."""
        return any(takes(layer, name) for layer in self.stack)

    def build(self, input_shape):
        """Creates the weights of all layers."""
        shape = tuple(input_shape)
        for layer in self.stack:
            if not layer.built:
                layer.build(shape)
            if layer is not self.stack[-1]:
                shape = layer.compute_output_shape(shape)
        self.built = True

    def call(self, inputs, **condition):
        """See the class."""
        for layer in self.stack:
            inputs = call(layer, inputs, condition)
        return inputs


def encoder(before, after, conditions, name, input_shape=None):
    """Returns a sequential model that takes conditions, if any, between its layers.

    Args:
        before: List of layers, of which the last puts out (batch, features).
        after: List of layers.
        conditions: Dict, see `JoinConditions`, or None.
        name: String or None.
        input_shape: Tuple, the shape of one example, or None if the first call sets it.
    """
    if not conditions:
        inputs = [] if input_shape is None else [keras.Input(input_shape)]
        return keras.Sequential([*inputs, *before, *after], name=name)
    join = JoinConditions(conditions)
    network = ConditionalSequential([*before, join, *after], name=name)
    if input_shape is not None:
        network.build((None, *input_shape))
    return network


def decoder(layers, conditions, name, skip_connections=False):
    """Returns a sequential model of z and of conditions, if there are any.

    Args:
        layers: List of layers.
        conditions: Dict, see `JoinConditions`, or None.
        name: String or None.
        skip_connections: Boolean, see `SkipSequential`.
    """
    kind = SkipSequential if skip_connections else keras.Sequential
    if not conditions:
        return kind(layers, name=name)
    after = [SkipSequential(layers)] if skip_connections else layers
    return ConditionalSequential([JoinConditions(conditions), *after], name=name)

"""Linear maps beside a deep encoder and a deep decoder."""

import math

import keras
import tensorflow as tf

from keras_vae import _keras
from keras_vae import checks
from keras_vae.conditions import Conditions
from keras_vae.conditions import call
from keras_vae.conditions import takes
from keras_vae.layers.latent_variable import flat_size
from keras_vae.serialization import HoldsNetworks


class _Beside(HoldsNetworks, keras.layers.Layer):
    """A network with a linear map beside it.

    Args:
        network: `keras.Model` or layer.
        conditions: Dict, what the model declares, see `keras_vae.conditions`. The
            linear map takes those that the network takes.
    """

    def __init__(self, network, conditions=None, **kwargs):
        super().__init__(**kwargs)
        self.network = network
        declared = Conditions(conditions).get_config() or {}
        self.declared = Conditions(
            {name: kind for name, kind in declared.items() if takes(network, name)}
        )

    def takes_condition(self, name):
        """Whether the network takes a condition, see `keras_vae.conditions`."""
        return takes(self.network, name)

    def build_network(self, input_shape, name):
        """Builds the network and returns the shape of its output."""
        shapes = self.declared.shapes
        return checks.build_network(self.network, input_shape, name, shapes)

    def flat(self, condition):
        """Returns the conditions of the linear map, a list of (batch, size) tensors."""
        return [
            tf.reshape(condition[name], [-1, math.prod(self.declared.shape(name))])
            for name in self.declared
        ]

    def get_config(self):
        """Returns the config, from which `from_config` makes an equal layer."""
        return {
            **super().get_config(),
            "conditions": self.declared.get_config(),
            "network": keras.saving.serialize_keras_object(self.network),
        }


@keras.saving.register_keras_serializable("keras_vae")
class LinearEncoder(_Beside):
    """An encoder whose features begin with the input itself.

    `features = [flat x, encoder(x)]`, so that the dense head of q(z|x) holds a linear
    map of x beside that of the deep features. Flat conditions follow x.

    Args:
        network: `keras.Model` or layer, x -> features (batch, ...).
        conditions: See `LinearDecoder`.
        has_mask: Boolean, whether the last half of the input's last axis says which
            elements are there, which the network alone takes.
    """

    def __init__(self, network, conditions=None, has_mask=False, **kwargs):
        super().__init__(network, conditions, **kwargs)
        self.has_mask = bool(has_mask)

    def build(self, input_shape):
        """Creates the weights of the network."""
        if not checks.is_shape(input_shape):
            raise ValueError(
                "`linear_path` needs an input of one tensor. Received: inputs of shape "
                f"{input_shape}"
            )
        self.input_size = flat_size(input_shape, "the input") // (1 + self.has_mask)
        shape = self.build_network(input_shape, "encoder")
        self.feature_size = flat_size(shape, "the encoder's output")
        self.built = True

    def call(self, x, **condition):
        """Returns features, float32: flat x, conditions, those of the network."""
        deep = call(self.network, x, condition)
        straight = x[..., : x.shape[-1] // 2] if self.has_mask else x
        parts = [tf.reshape(straight, [-1, self.input_size]), *self.flat(condition)]
        parts.append(tf.reshape(deep, [-1, self.feature_size]))
        features = tf.concat([tf.cast(part, tf.float32) for part in parts], axis=-1)
        return _keras.with_mask(features, _keras.mask_of(deep))

    def get_config(self):
        """Returns the config, from which `from_config` makes an equal layer."""
        return {**super().get_config(), "has_mask": self.has_mask}


@keras.saving.register_keras_serializable("keras_vae")
class LinearDecoder(_Beside):
    """A decoder to whose output a linear map of z is added.

    `params = decoder(z) + W z + V c + b`, with the flat conditions c, if there are any.

    Args:
        network: `keras.Model` or layer, (batch, latent_dim) -> parameters of p(x|z).
        conditions: Dict, what the model declares, see `keras_vae.conditions`. The
            linear map takes those that the network takes.
    """

    def build(self, input_shape):
        """Creates the weights of the network and of the linear map."""
        shape = self.build_network(input_shape, "decoder")
        self.params_shape = shape[1:]
        self.linear = keras.layers.Dense(
            math.prod(self.params_shape), dtype="float32", name="linear"
        )
        self.linear.build(input_shape)
        if self.declared:
            self.of_conditions = keras.layers.Dense(
                math.prod(self.params_shape),
                use_bias=False,
                dtype="float32",
                name="of_conditions",
            )
            self.of_conditions.build((None, self.declared.size))
        self.built = True

    def call(self, z, **condition):
        """Returns parameters of p(x|z), (batch, *params_shape), float32."""
        deep = call(self.network, z, condition)
        straight = self.linear(z)
        if self.declared:
            straight += self.of_conditions(tf.concat(self.flat(condition), axis=-1))
        straight = tf.reshape(straight, [-1, *self.params_shape])
        params = tf.cast(deep, tf.float32) + straight
        return _keras.with_mask(params, _keras.mask_of(deep))


def beside(encoder, decoder, conditions, has_mask):
    """Returns encoder and decoder with linear maps beside them; see their classes."""
    return (
        LinearEncoder(encoder, conditions, has_mask, name="encoder"),
        LinearDecoder(decoder, conditions, name="decoder"),
    )

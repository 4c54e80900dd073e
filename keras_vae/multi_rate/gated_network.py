"""Networks with gated pre-activations, which fold back into plain networks."""

import functools

import keras
import numpy as np
import tensorflow as tf

from keras_vae import conditions
from keras_vae.layers.latent_variable import LatentVariable
from keras_vae.layers.latent_variable import set_linear_head
from keras_vae.multi_rate import gates
from keras_vae.multi_rate.gated_layer import GATED
from keras_vae.multi_rate.gated_layer import GatedLayer
from keras_vae.networks import ConditionalSequential
from keras_vae.networks import JoinConditions
from keras_vae.serialization import HoldsNetworks

# Layers whose weights all u share and which process each example separately.
_SHARED = (
    keras.layers.Embedding,
    keras.layers.GroupNormalization,
    keras.layers.LayerNormalization,
    keras.layers.Normalization,
    keras.layers.PReLU,
)


@keras.saving.register_keras_serializable("keras_vae")
class GatedNetwork(HoldsNetworks, keras.layers.Layer):
    """A copy of a network with a gate in each dense and convolutional layer.

    Each of these layers is a `GatedLayer`; all other layers are equal for all u. At a
    given u the gates fold into kernels and biases; the result is a network of the
    original's form, see `fold`.

    Args:
        network: `keras.Sequential`, functional `keras.Model` or one layer. If it is
            built, the copy starts with its weights.
        gate: One of `gates.GATES`.
        rank: Integer, see `GatedLayer`.
        default: Float, u if no u is given.
        gate_options: Dict, further arguments of each gate.

    Call arguments:
        inputs: Inputs of the network.
        u: Float tensor of shape (batch, 1) or (1, 1), or None for the default.
        **condition: What the network takes beside its inputs.

    Raises:
        ValueError: If a part of the network can neither be gated nor shared.
    """

    def __init__(self, network, gate, rank=0, default=0.0, gate_options=None, **kwargs):
        # In half precision u would be rounded before it is used.
        super().__init__(**{**kwargs, "dtype": "float32"})
        for layer in _leaves(network):
            _check(layer)
        self.gate = gate
        self.rank = rank
        self.default = default
        make_gate = functools.partial(gates.GATES[gate], **(gate_options or {}))
        self.network = _copy(
            network, lambda layer: GatedLayer(layer, make_gate, rank, name=layer.name)
        )
        # In a closure, because Keras would track the original's weights as the copy's.
        self._plain = lambda: network

    def takes_condition(self, name):
        """Whether the layer takes a condition, see `keras_vae.conditions`."""
        return name == "u" or conditions.takes(self.network, name)

    @property
    def plain_network(self):
        """The original network, with its weights at the time it was given."""
        return self._plain()

    def build(self, input_shape):
        """Creates all weights."""
        self._input_shape = input_shape
        _build(self.network, input_shape)
        layers, originals = _leaves(self.network), _leaves(self.plain_network)
        for layer, original in zip(layers, originals, strict=True):
            is_gated = isinstance(layer, GatedLayer)
            if not is_gated:
                _check_shared(layer)
            if original.built:
                (layer.layer if is_gated else layer).set_weights(original.get_weights())
        self.built = True

    def call(self, inputs, u=None, **condition):
        """See the class."""
        with gates.gating(tf.constant([[self.default]]) if u is None else u):
            return conditions.call(self.network, inputs, condition)

    def compute_output_spec(self, inputs, u=None, **condition):
        """Returns the spec of the network's output."""
        args, kwargs = conditions.arguments(self.network, inputs, condition)
        with gates.gating(tf.constant([[self.default]])):
            return self.network.compute_output_spec(*args, **kwargs)

    def fold(self, u, input_scale=None):
        """Makes a plain network that equals this network at `u`.

        Args:
            u: Float.
            input_scale: Array by which the inputs are multiplied first, or None.

        Returns:
            A network of the original's form, whose dense and convolutional layers all
            have a bias. With an `input_scale`, a network that does not begin with a
            dense layer gets a `Rescaling` in front.
        """
        network = _copy(self.plain_network, _with_bias)
        _build(network, self._input_shape)
        for plain, layer in zip(_leaves(network), _leaves(self.network), strict=True):
            if isinstance(layer, GatedLayer):
                layer.fold(u, plain)
            else:
                plain.set_weights(layer.get_weights())
        return network if input_scale is None else _rescaled(network, input_scale)

    def get_config(self):
        """Returns the config; `from_config` makes an equal layer from it."""
        return {
            **super().get_config(),
            "network": keras.saving.serialize_keras_object(self.plain_network),
            "gate": self.gate,
            "rank": self.rank,
            "default": self.default,
        }


@keras.saving.register_keras_serializable("keras_vae")
class GatedLatentVariable(LatentVariable):
    """A latent variable with a gated head and a gate on z before the decoder.

    The norms of a linear decoder's kernel columns, one per latent, depend on beta.
    Gates on the decoder's outputs cannot scale these columns; a gate on z can.

    Args:
        units: See `LatentVariable`.
        gate: See `GatedNetwork`; "head" also multiplies z.
        log_beta_range: Pair of floats, the logarithm of beta at both ends of u.
        rank: See `GatedNetwork`.
        default: See `GatedNetwork`.
        **kwargs: See `LatentVariable`.
    """

    def __init__(self, units, gate, log_beta_range, rank=0, default=0.0, **kwargs):
        self.gating = {
            "gate": gate,
            "log_beta_range": log_beta_range,
            "rank": rank,
            "default": default,
        }
        super().__init__(units, **kwargs)

    def make_head(self):
        """See `LatentVariable.make_head`."""
        head, gate = super().make_head(), self.gating["gate"]
        options = {"dtype": self.dtype_policy}
        self.water_levels = None
        if gate == "head":
            log_beta_range = self.gating["log_beta_range"]
            self.water_levels = gates.WaterLevels(
                log_beta_range, name="water_levels", dtype=self.dtype_policy
            )
            options["water_levels"] = self.water_levels
        rank, default = self.gating["rank"], self.gating["default"]
        return GatedNetwork(head, gate, rank, default, options, name="head")

    def build_from_features(self, *shapes, **kwargs):
        """See `LatentVariable.build_from_features`."""
        if self.water_levels is not None and not self.water_levels.built:
            self.water_levels.build(self.units)
        super().build_from_features(*shapes, **kwargs)

    def adapt(self, found, beta, noise):
        """See `LatentVariable.adapt`: for all weights at once, whatever `beta` is."""
        if self.water_levels is None:
            raise ValueError(
                "`gates` must be 'spline' for `adapt`: the gates of the paper do not "
                f"hold the linear optimum. Received: gate={self.gating['gate']!r}"
            )
        self.water_levels.levels.assign(np.log(found.eigenvalues / noise) / gates.GAIN)
        roots = np.sqrt(found.eigenvalues)
        dense = self.head.network.layer
        set_linear_head(dense, found, 1.0 / roots, np.zeros(self.units))
        return roots

    def z_scale(self, u):
        """Returns the factor of z before the decoder.

        Args:
            u: Float32 tensor of shape (batch, 1).

        Returns:
            A float32 tensor of shape (batch, units), or None for no factor.
        """
        return None if self.water_levels is None else self.water_levels.response(u)[0]

    def get_config(self):
        """Returns the config; `from_config` makes an equal layer from it."""
        return {**super().get_config(), **self.gating}


def _leaves(network):
    """Returns the layers of a network, including nested ones, each once."""
    if not _is_graph(network):
        return [network]
    found = [leaf for layer in network.layers for leaf in _leaves(layer)]
    return list({id(leaf): leaf for leaf in found}.values())


def _is_graph(network):
    kinds = keras.Sequential | ConditionalSequential
    return isinstance(network, kinds) or hasattr(network, "operations")


def _copy(network, copy_layer):
    """Returns a network of copied layers."""

    def copy(part):
        return _copy(part, copy_layer)

    if isinstance(network, ConditionalSequential):
        layers = [copy(layer) for layer in network.stack]
        return ConditionalSequential(layers, name=network.name)
    if _is_graph(network):
        return keras.models.clone_model(network, clone_function=copy)
    if isinstance(network, GATED):
        return copy_layer(network)
    return type(network).from_config(network.get_config())


def _build(network, input_shape):
    if not network.built:
        network.build(input_shape)


def _check(layer):
    if isinstance(layer, keras.layers.BatchNormalization):
        raise ValueError(
            f"{layer.name!r} must not be a BatchNormalization, because its statistics "
            "would mix examples of all betas: use LayerNormalization or "
            f"GroupNormalization. Received: {layer!r}"
        )
    if isinstance(layer, keras.Model):
        raise ValueError(
            f"{layer.name!r} must be a Sequential or functional model, so that each "
            f"layer can be gated. Received: a {type(layer).__name__}, a subclass "
            "of keras.Model"
        )
    if layer.built:
        _check_shared(layer)


def _check_shared(layer):
    if layer.weights and not isinstance(layer, GATED + _SHARED):
        names = sorted(kind.__name__ for kind in GATED + _SHARED)
        raise ValueError(
            f"{layer.name!r} must be a layer without weights or one of "
            f"{', '.join(names)}, because a gate for it could not fold into ordinary "
            f"weights. Received: a {type(layer).__name__}"
        )


def _rescaled(network, input_scale):
    """Returns a network whose inputs are multiplied first."""
    first = network
    while isinstance(first, keras.Sequential | ConditionalSequential):
        # Conditions come behind the inputs.
        joins = isinstance(first.layers[0], JoinConditions)
        first = first.layers[int(joins)]
    if isinstance(first, keras.layers.Dense):
        scale = np.ones(first.kernel.shape[0], "float32")
        scale[: len(input_scale)] = input_scale
        first.kernel.assign(first.kernel * scale[:, None])
        return network
    scale = keras.layers.Rescaling(input_scale.tolist(), dtype=first.dtype_policy)
    if conditions.is_conditional(network):
        return ConditionalSequential([scale, network])
    return keras.Sequential([keras.Input(input_scale.shape), scale, network])


def _with_bias(layer):
    return type(layer).from_config({**layer.get_config(), "use_bias": True})

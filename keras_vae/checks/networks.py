"""Checks of the networks of a model."""

import keras
import tensorflow as tf

from keras_vae import _keras
from keras_vae import conditions
from keras_vae.arguments import NAN_IS_MISSING
from keras_vae.checks.shapes import is_shape


def check_network(network, name):
    """Returns `network`; raises ValueError if it is not a layer or model."""
    if not isinstance(network, keras.layers.Layer):
        raise ValueError(
            f"`{name}` must be a `keras.Model` or `keras.layers.Layer`. "
            f"Received: {name}={network!r}"
        )
    return network


def check_output_activation(decoder, likelihood):
    """Raises ValueError if the decoder applies an activation to its logits."""
    last = decoder
    while steps := getattr(last, "operations", None) or getattr(last, "layers", None):
        shaping = keras.layers.Reshape | keras.layers.Flatten
        last = next((x for x in reversed(steps) if not isinstance(x, shaping)), None)
    # An operation such as `keras.ops.sigmoid` has the name of its class.
    activation = getattr(last, "activation", type(last))
    name = getattr(activation, "__name__", "").lower()
    if name in likelihood.invalid_activations:
        raise ValueError(
            f"`decoder` ends in a {name}, but {type(likelihood).__name__} takes "
            f"logits. Remove the activation of {last.name!r}; `decode` and `predict` "
            "apply it. "
            f"Received: activation={name!r}"
        )


def check_no_activation(params, likelihood):
    """Raises ValueError if parameters are not the raw output that a likelihood takes.

    Args:
        params: Tensor (batch, ...), the output of a decoder.
        likelihood: The `Likelihood`.
    """
    invalid = likelihood.invalid_activations
    name = _operation_before_shaping(params)
    if invalid and _keras.logits_behind(params) is not None and name not in invalid:
        name = invalid[0]
    if name in invalid:
        raise ValueError(
            f"`y_pred` must be logits under a {type(likelihood).__name__}: remove the "
            "activation of the decoder's last layer, and apply it to what `predict` "
            f"returns. Received: the output of a {name}"
        )


def _operation_before_shaping(tensor):
    """Names the operation that made a tensor of a graph; "" of an eager tensor."""
    operation = getattr(tensor, "op", None)
    while operation is not None and operation.type in _SHAPING:
        operation = operation.inputs[0].op
    return "" if operation is None else operation.type.lower()


_SHAPING = "Cast", "ExpandDims", "Identity", "Reshape", "Squeeze", "Transpose"


def build_network(network, input_shape, name, condition_shapes=conditions.NONE):
    """Builds a network and returns the shape of its output, batch axis first.

    Args:
        network: `keras.Model` or layer.
        input_shape: Shape of its main input, batch axis first, or structure of such.
        name: String, its name in errors.
        condition_shapes: Dict of names to shapes of the conditions, batch axis first.
    """

    def symbolic(shape):
        if is_shape(shape):
            return keras.KerasTensor(tuple(shape), dtype=keras.config.floatx())
        if isinstance(shape, dict):
            return {name: symbolic(part) for name, part in shape.items()}
        return type(shape)(symbolic(part) for part in shape)

    try:
        condition = symbolic(dict(condition_shapes))
        output = conditions.call(network, symbolic(input_shape), condition)
    except ValueError as error:
        raise ValueError(
            f"`{name}` does not take inputs of shape {input_shape}: {error}"
        ) from error
    if not hasattr(output, "shape"):
        raise ValueError(
            f"`{name}` must put out one tensor: concatenate its outputs. Received: "
            f"a {type(output).__name__} of {len(output)}"
        )
    return tuple(output.shape)


def check_params_shape(params_shape, input_shape, likelihood):
    """Raises ValueError if the decoder's output does not fit the likelihood.

    Args:
        params_shape: Shape of the decoder's output for one example.
        input_shape: Shape of x, batch axis first, or a structure of such.
        likelihood: The `Likelihood`.
    """
    name, needed = type(likelihood).__name__, None
    if is_shape(input_shape) and None not in tuple(input_shape)[1:]:
        x_shape = tuple(input_shape)[1:]
        needed = tuple(likelihood.params_shape(x_shape))
    advice = (
        f" Data of shape {x_shape} need shape {needed}: build it with "
        f"`output_shape={needed}`."
        if needed
        else ""
    )
    try:
        event_shape = tuple(likelihood.event_shape(params_shape))
    except ValueError as error:
        raise ValueError(
            f"`decoder` puts out shape {params_shape} for each example, which does "
            f"not fit the {name} likelihood: {error}.{advice}"
        ) from error
    # A target `y` may have another shape than x. Only a decoder that lacks the
    # likelihood's further parameters is known to be wrong here.
    if needed and event_shape != x_shape and tuple(params_shape) == x_shape:
        raise ValueError(
            f"`decoder` puts out shape {params_shape} for each example, which does "
            f"not fit the {name} likelihood.{advice}"
        )


def check_reader(input_shape, missing, linear_path):
    """Raises ValueError unless a decoder may read the target of a model.

    Args:
        input_shape: Shape of x, batch axis first, or a structure of such.
        missing: See `VAE`.
        linear_path: See `VAE`.
    """
    if not is_shape(input_shape) or len(input_shape) < 3:
        raise ValueError(
            "`decoder` reads the target as `previous`, so x must be one array "
            "(batch, *places, channels): add an axis of size 1 to sequences of numbers,"
            f" x[..., None]. Received: inputs of shape {input_shape}"
        )
    if missing in NAN_IS_MISSING or linear_path:
        raise ValueError(
            "`decoder` reads the target as `previous`, so `missing` must be None or "
            "'padding', because it would read elements that are missing, and "
            "`linear_path` False. "
            f"Received: missing={missing!r}, linear_path={linear_path}"
        )


def check_closed_form(latent, objective, condition=conditions.NONE):
    """Raises ValueError before training if the rate has no closed form.

    Args:
        latent: `LatentVariable`.
        objective: Objective.
        condition: Dict of names to tensors, the conditions of one example.
    """
    if objective.kl != "analytic":
        return
    size = latent.posterior.params_size(latent.units)

    def encode(x, own=conditions.NONE):
        return tf.zeros((x.shape[0], size))

    with keras.StatelessScope():
        prior = latent.prior_params(encode, condition)
    z = tf.zeros((1, 1, latent.units))
    objective.rate(latent.estimate(tf.zeros((1, size)), prior, z))

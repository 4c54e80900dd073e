"""Checks and initializers for all networks."""

import math

import keras
import numpy as np

from keras_vae.arguments import is_integer

# All shapes in arguments end with the channels, for any Keras configuration.
DATA_FORMAT = "channels_last"

# Rectifiers halve the variance of their input; He's initializer compensates for it.
_RECTIFIERS = {"relu", "leaky_relu", "elu", "gelu", "silu", "swish"}


def check_sizes(name, sizes, empty=True):
    """Returns `sizes` as a tuple of positive integers; errors name `name`."""
    if not isinstance(sizes, (list, tuple)) or not all(
        is_integer(size) and size > 0 for size in sizes
    ):
        raise ValueError(
            f"`{name}` must be a list of positive integers. Received: {name}={sizes!r}"
        )
    if not sizes and not empty:
        raise ValueError(f"`{name}` must not be empty. Received: {name}={sizes!r}")
    return tuple(int(size) for size in sizes)


def check_image_shape(name, shape):
    """Returns `shape` as (height, width, channels); errors name `name`."""
    shape = check_sizes(name, shape)
    if len(shape) != 3:
        raise ValueError(
            f"`{name}` must be (height, width, channels). Received: {name}={shape}. "
            "Add an axis of size 1 to greyscale images: x[..., None]."
        )
    return shape


def initializer(activation):
    """Returns the name of the kernel initializer for `activation`."""
    name = getattr(keras.activations.get(activation), "__name__", "")
    return "he_normal" if name in _RECTIFIERS else "glorot_uniform"


def bias_initializer(output_bias, shape, remedy="", layout=(-1,)):
    """Returns an initializer of a bias of shape `layout`; errors name `output_bias`."""
    if output_bias is None:
        return "zeros"
    bias = np.asarray(output_bias, "float32")
    if bias.size not in (1, math.prod(shape)):
        raise ValueError(
            f"`output_bias` must be a number or hold {math.prod(shape)} values, of "
            f"shape {shape}. Received: output_bias of shape {bias.shape}.{remedy}"
        )
    if not np.isfinite(bias).all():
        raise ValueError(
            "`output_bias` must be finite. Received: an array with NaN or infinity. "
            "Clip the mean of the data before taking its logit."
        )
    # A plain list, because the config of the model can hold it.
    value = bias.item() if bias.size == 1 else bias.reshape(layout).tolist()
    return keras.initializers.Constant(value)

"""Whether to compile with XLA, which depends on what a model is made of."""

import keras
import tensorflow as tf

from keras_vae import _keras

# Their kernels in XLA's CPU backend take many times as long as TensorFlow's own.
_CONVOLUTIONS = (
    keras.layers.Conv1D,
    keras.layers.Conv1DTranspose,
    keras.layers.Conv2D,
    keras.layers.Conv2DTranspose,
    keras.layers.Conv3D,
    keras.layers.Conv3DTranspose,
    keras.layers.DepthwiseConv1D,
    keras.layers.DepthwiseConv2D,
    keras.layers.SeparableConv1D,
    keras.layers.SeparableConv2D,
)


def xla_pays(model):
    """Whether a model runs faster under XLA on this machine.

    Args:
        model: A `keras.layers.Layer` or `keras.Model`.

    Returns:
        True, unless a layer does not support XLA or convolves on a CPU.

    Example:
    >>> kv.compilation.xla_pays(kv.networks.mlp_encoder([32]))
    True
    """
    if not all(item.supports_jit for item in _keras.sublayers(model, object)):
        return False
    on_cpu = not tf.config.list_logical_devices("GPU")
    return not (on_cpu and _keras.sublayers(model, _CONVOLUTIONS))

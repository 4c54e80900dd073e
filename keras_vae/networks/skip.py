"""A sequence of layers that all get the latent as input."""

import keras
from keras import ops

from keras_vae.networks.stack import Stack


@keras.saving.register_keras_serializable("keras_vae")
class SkipSequential(Stack):
    """A sequence of layers, each of which also gets z, the input of the first layer.

    `h_l = f_l([h_{l-1}, z])`, as in the skip models of Dieng et al.: the path from z to
    the output is short for a decoder of any depth. z is appended to the features, or to
    the channels of each pixel of an image. Layers without a kernel, which reshape or
    crop, get h alone.

    Args:
        layers: List of `keras.layers.Layer`.
        **kwargs: See `keras.Model`.

    Example:
    >>> layers = [keras.layers.Dense(5), keras.layers.Dense(7)]
    >>> model = kv.networks.SkipSequential(layers)
    >>> model(np.zeros((3, 2))).shape, tuple(layers[1].kernel.shape)
    (TensorShape([3, 7]), (7, 7))

    Reference:
        [Avoiding Latent Variable Collapse With Generative Skip Models](
        https://arxiv.org/abs/1807.04863)
    """

    def call(self, inputs):
        """See the class."""
        h = inputs
        for index, layer in enumerate(self.stack):
            if index and hasattr(layer, "kernel_initializer"):
                h = append(h, inputs)
            h = layer(h)
        return h


def append(h, z):
    """Appends z (batch, size) to features, or to the channels of each pixel."""
    # Keras builds a loaded model with inputs of full precision.
    z = ops.reshape(ops.cast(z, h.dtype), (-1, *[1] * (len(h.shape) - 2), z.shape[-1]))
    # Broadcast over the pixels; a symbolic tensor may not know their number.
    return ops.concatenate([h, z + ops.zeros_like(h[..., :1])], axis=-1)

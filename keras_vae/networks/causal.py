"""Decoders that read the target."""

import math

import keras
from keras import ops

from keras_vae.arguments import check_count
from keras_vae.networks import _arguments
from keras_vae.networks.skip import append
from keras_vae.networks.stack import Stack


@keras.saving.register_keras_serializable("keras_vae")
class CausalSequential(Stack):
    """A sequence of layers over what precedes each place of an event, and z.

    `h_0 = previous`, `h_l = f_l([h_{l-1}, z])`: z is appended to the channels of each
    place. The places of an image come in raster order.

    Args:
        layers: List of `keras.layers.Layer`, (batch, places, channels) -> (batch,
            places, units), none of which looks at later places.
        params_shape: Tuple, the shape of the likelihood's parameters for one example.
        **kwargs: See `keras.Model`.

    Call arguments:
        z: Tensor (batch, latent).
        previous: Tensor (batch, *places, channels), the target, one place late: see
            `keras_vae.models.reading.shifted`.

    Returns:
        Tensor (batch, *params_shape).

    Example:
    >>> last = keras.layers.Dense(1, kernel_initializer="ones")
    >>> network = kv.networks.CausalSequential([last], (3, 1))
    >>> network(np.ones((1, 1)), np.array([[[0], [1], [0]]]))[0, :, 0].numpy()
    array([1., 2., 1.], dtype=float32)
    """

    def __init__(self, layers, params_shape, **kwargs):
        super().__init__(layers, **kwargs)
        self.params_shape = _arguments.check_sizes("params_shape", params_shape, False)

    def build(self, z_shape, previous_shape):
        """Creates the weights of all layers."""
        places, size = math.prod(self.params_shape[:-1]), previous_shape[-1]
        for layer in self.stack:
            shape = (None, places, size + z_shape[-1])
            if not layer.built:
                layer.build(shape)
            size = layer.compute_output_shape(shape)[-1]
        self.built = True

    def call(self, z, previous):
        """See the class."""
        places = math.prod(self.params_shape[:-1])
        h = ops.reshape(previous, (-1, places, previous.shape[-1]))
        h = ops.cast(h, self.compute_dtype)
        for layer in self.stack:
            h = layer(append(h, z))
        return ops.reshape(h, (-1, *self.params_shape))

    def get_config(self):
        """Returns the config; `from_config` makes an equal model from it."""
        return {**super().get_config(), "params_shape": self.params_shape}


def causal_decoder(
    filters, output_shape, kernel_size=2, activation="relu", output_bias=None, name=None
):
    """Makes a decoder that reads the target: causal convolutions in raster order.

        p(x|z) = prod_t p(x_t | x_1 ... x_{t-1}, z)

    The convolutions look `kernel_size` places back, then twice as far with each layer,
    as in WaveNet: with size 2, l layers look 2^l places back. Each layer also sees z,
    the first and the last one have a bias for each place.

    With such a decoder `VAE.generate` and `VAE.decode` choose the elements one after
    the other, and the KL may vanish, since the decoder can do without z.

    Args:
        filters: List of positive integers, the channels of each convolution.
        output_shape: Tuple (*places, units), the shape of the likelihood's parameters
            for one example.
        kernel_size: Integer, at least 2.
        activation: Name of a Keras activation or a callable. Defaults to "relu".
        output_bias: Number or array of shape `output_shape`, the initial bias of the
            last layer. Defaults to None, which is zero.
        name: String, optional name of the model.

    Returns:
        A `CausalSequential` that maps z (batch, latent) and `previous` (batch, *places,
        channels) to (batch, *output_shape).

    Raises:
        ValueError: If `filters`, `output_shape`, `kernel_size` or `output_bias` is
            invalid.

    Example:
    >>> vae = kv.VAE(
    ...     encoder=kv.networks.mlp_encoder([32]),
    ...     decoder=kv.networks.causal_decoder([16] * 6, (8, 8, 1)),
    ...     latent_dim=4,
    ...     seed=0,
    ... )
    >>> vae.build((None, 8, 8, 1))
    >>> np.unique(vae.generate(2, seed=1, noise=True)).tolist()
    [0.0, 1.0]

    References:
        [WaveNet](https://arxiv.org/abs/1609.03499);
        [Variational Lossy Autoencoder](https://arxiv.org/abs/1611.02731)
    """
    filters = _arguments.check_sizes("filters", filters, empty=False)
    shape = _arguments.check_sizes("output_shape", output_shape, empty=False)
    check_count("kernel_size", kernel_size, 2)
    places = math.prod(shape[:-1])
    layout = places, shape[-1]
    bias = _arguments.bias_initializer(output_bias, shape, layout=layout)
    initializer = _arguments.initializer(activation)
    first = keras.layers.EinsumDense(
        "btc,cd->btd",
        (places, filters[0]),
        bias_axes="td",
        activation=activation,
        kernel_initializer=initializer,
    )
    convolutions = [
        keras.layers.Conv1D(
            units,
            kernel_size,
            padding="causal",
            dilation_rate=kernel_size**depth,
            activation=activation,
            kernel_initializer=initializer,
            data_format=_arguments.DATA_FORMAT,
        )
        for depth, units in enumerate(filters)
    ]
    last = keras.layers.EinsumDense(
        "btc,cd->btd", layout, bias_axes="td", bias_initializer=bias
    )
    return CausalSequential([first, *convolutions, last], shape, name=name)

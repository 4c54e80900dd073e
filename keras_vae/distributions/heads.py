"""Layers that turn features into the parameters of a latent's distribution."""

import math

import keras

from keras_vae.arguments import is_integer


def check_shape(units):
    """Returns the shape of a latent, a tuple.

    Args:
        units: Positive integer, the dimensions of a vector, or a tuple of them, the
            shape of a map, channels last.

    Raises:
        ValueError: If it is neither.
    """
    shape = tuple(units) if isinstance(units, tuple | list) else (units,)
    if not shape or not all(is_integer(size) and size > 0 for size in shape):
        raise ValueError(
            "The latent dimension must be a positive integer: `latent_dim` of a VAE, "
            "`units` of a `Latent`; for a map a tuple of them, its shape, channels "
            f"last. Received: {units!r}"
        )
    return tuple(int(size) for size in shape)


def make(params_size, shape, **kwargs):
    """Returns the layer that turns features into flat parameters.

    Args:
        params_size: Function of a number of units that returns how many parameters a
            vector of them has, see `Posterior.params_size`.
        shape: Tuple, the shape of the latent, see `check_shape`.
        **kwargs: See `keras.layers.Layer`.

    Raises:
        ValueError: If the units of a map would depend on each other.
    """
    units = math.prod(shape)
    # In half precision, scales and log-scales would lose digits of the rate.
    kwargs = {"dtype": "float32", "name": "head", **kwargs}
    if len(shape) == 1:
        return keras.layers.Dense(params_size(units), **kwargs)
    parts = params_size(1)
    if params_size(units) != parts * units:
        raise ValueError(
            "`posterior` must have independent units for a latent that is a map, such "
            f'as posterior="diagonal_normal". Received: latent_dim={shape}'
        )
    return MapHead(parts, shape, **kwargs)


class MapHead(keras.layers.Layer):
    """A dense head at each place of a map, with the parameters of all places flat.

    The parameters come in blocks: the first one of all units, then the second one, as
    those of a vector of all units do.

    Args:
        parts: Integer, parameters of each unit.
        shape: Tuple, the shape of the latent, channels last.
        **kwargs: `kernel_initializer`, and the arguments of `keras.layers.Layer`.
    """

    def __init__(self, parts, shape, kernel_initializer="glorot_uniform", **kwargs):
        super().__init__(**kwargs)
        self.parts, self.shape = parts, shape
        self.dense = keras.layers.Dense(
            parts * shape[-1],
            kernel_initializer=kernel_initializer,
            dtype=self.dtype_policy,
            name="dense",
        )

    def build(self, features_shape):
        """Creates the weights.

        Args:
            features_shape: Shape of a map of features, batch axis first.
        """
        if tuple(features_shape[1:-1]) != self.shape[:-1]:
            raise ValueError(
                f"`latent_dim` {self.shape} is a map, whose features must have the "
                f"shape (batch, {', '.join(map(str, self.shape[:-1]))}, channels). "
                f"Received: features of shape {tuple(features_shape)}"
            )
        self.dense.build(features_shape)
        self.built = True

    def call(self, features):
        """Returns parameters, (batch, parts * units)."""
        places, channels = math.prod(self.shape[:-1]), self.shape[-1]
        params = keras.ops.reshape(
            self.dense(features), (-1, places, self.parts, channels)
        )
        params = keras.ops.transpose(params, (0, 2, 1, 3))
        return keras.ops.reshape(params, (-1, self.parts * places * channels))

"""What all likelihoods p(x|z) have in common."""

import keras
import numpy as np
import tensorflow as tf

from keras_vae.distributions import tfd


class Likelihood(keras.layers.Layer):
    """Base of the families for p(x|z): what the numbers of a decoder stand for.

    A subclass defines `_elements(params)`, the TFP distribution of every element of x
    by itself, `_draw(elements, key)`, and whatever of the rest differs. Everything is
    computed in float32, whatever the dtype of the parameters.

    Attributes:
        invalid_activations: Names of the activations in which a decoder must not end,
            because the parameters are what stands before them.
    """

    invalid_activations = ()

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.built = True

    def params_shape(self, event_shape):
        """Returns the shape, per example, of what a decoder has to put out."""
        return tuple(event_shape)

    def event_shape(self, params_shape):
        """Returns the shape of an example, the inverse of `params_shape`."""
        return tuple(params_shape)

    def distribution(self, params, batch_ndims=2):
        """Builds p(x|z).

        Args:
            params: Float tensor (..., *params_shape).
            batch_ndims: Integer, the number of leading axes that are no part of an
                example. Defaults to 2, examples and samples.

        Returns:
            A float32 `tfd.Distribution` of batch shape (...), event `event_shape`.
        """
        return joint(self._elements(params), batch_ndims)

    def log_prob(self, params, x, mean=None, training=False):
        """Computes log p(x|z), summed over the event.

        Args:
            params: Float tensor (batch, samples, *params_shape).
            x: Tensor (batch, *event_shape).
            mean: Callable (batch, ...) -> (...), the weighted mean over the batch, used
                by families that take statistics of it. Defaults to the plain mean.
            training: Boolean, whether to take and keep such statistics.

        Returns:
            A float32 tensor (batch, samples), in nats.
        """
        return self.distribution(params).log_prob(beside_samples(x))

    def mean(self, params):
        """Computes E[x|z].

        Args:
            params: Float tensor (..., *params_shape).

        Returns:
            A float32 tensor (..., *event_shape).
        """
        return self._elements(params).mean()

    def sample(self, params, key):
        """Draws x from p(x|z).

        Args:
            params: Float tensor (..., *params_shape).
            key: Int64 tensor (2,), see `keras_vae.random`.

        Returns:
            A tensor (..., *event_shape), int32 for class ids and float32 otherwise.
        """
        return self._draw(self._elements(params), key)

    def initial_bias(self, x_mean):
        """Finds the decoder output, the same for all z, whose mean is `x_mean`.

        Args:
            x_mean: Float array `event_shape`, the mean of the training data.

        Returns:
            A float32 array `params_shape`, or None where a mean does not determine one.
        """
        return None

    def check_data(self, x):
        """Checks that every element of `x` can occur under this likelihood.

        Args:
            x: NumPy array (num_examples, *event_shape).

        Raises:
            ValueError: If `x` is empty, not numeric, not finite or not in the support.
        """
        x = np.asarray(x)
        if x.dtype.kind not in "biuf":
            raise ValueError(
                "`x` must be an array of real numbers; convert it with "
                f'`x.astype("float32")`. Received: x.dtype={x.dtype}'
            )
        if not x.size:
            raise ValueError(f"`x` must not be empty. Received: x.shape={x.shape}")
        finite = np.isfinite(x)
        if not finite.all():
            raise ValueError(
                "`x` must be finite; remove or replace the values that are not. "
                f"Received: x with {x.size - finite.sum()} values of {x.size} that are "
                "NaN or infinite"
            )
        self._check_support(x)

    def _elements(self, params):
        raise NotImplementedError

    def _draw(self, elements, key):
        raise NotImplementedError

    def _check_support(self, x):
        pass


def joint(elements, batch_ndims):
    """Returns the distribution of whole examples from that of their elements."""
    return tfd.Independent(elements, elements.batch_shape.rank - batch_ndims)


def beside_samples(x):
    """Returns x in float32 with a second axis, along which the samples of z lie."""
    return tf.cast(x, tf.float32)[:, None]


def multiply_last(shape, factor):
    """Returns an event's shape with `factor` times as many numbers in its last axis."""
    if not len(shape):
        raise ValueError(
            "`event_shape` must have an axis along which to put several parameters. "
            "Received: event_shape=()"
        )
    return (*shape[:-1], factor * shape[-1])


def divide_last(shape, factor):
    """Returns the inverse of `multiply_last`."""
    if not len(shape) or shape[-1] % factor:
        raise ValueError(
            f"`params_shape` must end in a multiple of {factor}. Received: "
            f"params_shape={tuple(shape)}"
        )
    return (*shape[:-1], shape[-1] // factor)

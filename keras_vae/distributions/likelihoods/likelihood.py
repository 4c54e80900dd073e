"""Base class of all likelihoods p(x|z)."""

import keras
import numpy as np
import tensorflow as tf

from keras_vae.arguments import NAN_IS_MISSING
from keras_vae.distributions import masks
from keras_vae.distributions import tfd


class Likelihood(keras.layers.Layer):
    """Base class of the families for p(x|z), which interpret a decoder's output.

    A subclass defines `_elements(params)`, the TFP distribution of each single element
    of x, and `_draw(elements, key)`, and overrides other methods if they differ. All
    computation is in float32 for any dtype of the parameters.

    Attributes:
        invalid_activations: Names of activations that must not end a decoder, because
            the parameters are the values before them.
        placeholder: A value in the support that replaces elements left out.
        real_valued: Boolean, whether x is any real number: it may be standardised, and
            draws of x look like data where means are too smooth.
        origin: Float or array, the x that `standardize` maps to 0.
        value_dtype: String, the type of draws of x, "int32" for class ids.
    """

    invalid_activations = ()
    placeholder = 0
    real_valued = False
    origin = 0.0
    value_dtype = "float32"

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.built = True

    def core(self):
        """Returns the likelihood of `standardize(x)`: itself, unless it wraps one."""
        return self

    def with_core(self, likelihood):
        """Returns the likelihood that has another `core` in the same units of x."""
        return likelihood

    def standardize(self, x):
        """Returns an array or tensor x (..., *event_shape) in the units of `core`."""
        return x

    def log_units(self, event_shape, shares=1.0):
        """Returns -log p(x|z) less that of `core`, in nats for one example.

        Args:
            event_shape: Tuple of integers.
            shares: Array `event_shape`, the share of examples that have an element;
                1 for all where no element is missing.
        """
        return 0.0

    def params_shape(self, event_shape):
        """Returns the shape of a decoder's output for one example."""
        return tuple(event_shape)

    def event_shape(self, params_shape):
        """Returns the shape of an example, the inverse of `params_shape`."""
        return tuple(params_shape)

    def distribution(self, params, batch_ndims=2):
        """Builds p(x|z).

        Args:
            params: Float tensor (..., *params_shape).
            batch_ndims: Integer, the number of leading axes that are not part of an
                example. Defaults to 2, examples and samples.

        Returns:
            A float32 `tfd.Distribution` of batch shape (...), event `event_shape`.
        """
        return joint(self._elements(params), batch_ndims)

    def log_prob(self, params, x, mean=None, training=False, mask=None):
        """Computes log p(x|z), summed over the observed elements of the event.

        Args:
            params: Float tensor (batch, samples, *params_shape).
            x: Tensor (batch, *event_shape).
            mean: Callable (batch, ...) -> (...), the weighted mean over the batch, for
                families with batch statistics. Defaults to the plain mean.
            training: Boolean, whether to compute and store such statistics.
            mask: Boolean tensor (batch, ...), False for elements that are left out, or
                None if the whole event is observed. It has some of the leading axes of
                x; each axis has the size of x's axis or 1: (batch, time) leaves out all
                features of a time. Values of `params` and `x` at elements left out
                affect neither the result nor gradients.

        Returns:
            A float32 tensor (batch, samples), in nats.

        Raises:
            ValueError: If `mask` has another shape.
        """
        if mask is None:
            return self.distribution(params).log_prob(self._beside_samples(x))
        params, x, mask = self._without_left_out(params, x, mask)
        log_probs = self._elements(params).log_prob(self._beside_samples(x))
        return masks.sum_observed(log_probs, mask)

    def mean(self, params):
        """Computes E[x|z].

        Args:
            params: Float tensor (..., *params_shape).

        Returns:
            A float32 tensor (..., *event_shape).
        """
        return self._elements(params).mean()

    def mode(self, params):
        """Finds the most probable value of each element of x.

        Args:
            params: Float tensor (..., *params_shape).

        Returns:
            A tensor (..., *event_shape) of the type `value_dtype`.
        """
        return tf.cast(self._elements(params).mode(), self.value_dtype)

    def sample(self, params, key):
        """Draws x from p(x|z).

        Args:
            params: Float tensor (..., *params_shape).
            key: Int64 tensor (2,), see `keras_vae.random`.

        Returns:
            A tensor (..., *event_shape) of the type `value_dtype`.
        """
        return self._draw(self._elements(params), key)

    def initial_bias(self, x_mean):
        """Finds the constant decoder output for which E[x|z] is `x_mean`.

        Args:
            x_mean: Float array `event_shape`, the mean of the training data.

        Returns:
            A float32 array `params_shape`, or None if the mean does not determine it.
        """
        return None

    def activation_of(self, params, x):
        """Names the activation that a decoder's output has passed, by its values.

        Args:
            params: Tensor (examples, *params_shape).
            x: Tensor (examples, *event_shape).

        Returns:
            One of `invalid_activations`, or None if the values are of a raw output.
        """
        return None

    def check_data(self, x, missing=None):
        """Checks that every element of `x` can occur under this likelihood.

        Args:
            x: NumPy array (num_examples, *event_shape).
            missing: See `VAE`.

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
        if missing in NAN_IS_MISSING and x.dtype.kind == "f":
            x = np.where(np.isnan(x), self.placeholder, x)
        finite = np.isfinite(x)
        if not finite.all():
            raise ValueError(
                "`x` must be finite; remove or replace the values that are not. "
                f"Received: x with {x.size - finite.sum()} values of {x.size} that are "
                "NaN or infinite"
            )
        self._check_support(x)

    def _without_left_out(self, params, x, mask):
        """Replaces elements left out by harmless numbers; returns the full mask too."""
        params, x = tf.convert_to_tensor(params), tf.convert_to_tensor(x)
        mask = masks.event_mask(mask, x)
        x = tf.where(mask, x, tf.cast(self.placeholder, x.dtype))
        params_mask = self._params_mask(mask)[:, None]
        # Any raw output of a decoder is valid. Only a second `where` inside the density
        # keeps its gradient finite if a value left out is not finite.
        return tf.where(params_mask, params, tf.zeros([], params.dtype)), x, mask

    def _params_mask(self, mask):
        """Returns the mask (batch, *event_shape) in the shape (batch, *params_shape).

        With several parameters, the last axis holds all values of the first parameter,
        then all of the second, unless a family overrides this.
        """
        (factor,) = self.params_shape((1,))
        return mask if factor == 1 else tf.concat([mask] * factor, axis=-1)

    def _beside_samples(self, x):
        """Returns x in the type of the density, with a second axis for the samples."""
        return tf.cast(x, self.value_dtype)[:, None]

    def _elements(self, params):
        raise NotImplementedError

    def _draw(self, elements, key):
        raise NotImplementedError

    def _check_support(self, x):
        pass


def joint(elements, batch_ndims):
    """Returns the distribution of whole examples from the distribution of elements."""
    return tfd.Independent(elements, elements.batch_shape.rank - batch_ndims)


def multiply_last(shape, factor):
    """Returns an event's shape with `factor` times as many numbers in its last axis."""
    if not len(shape):
        raise ValueError(
            "`event_shape` must have an axis for several parameters. "
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

"""Likelihood of data in their own units, through one of standardised data."""

import keras
import numpy as np
import tensorflow as tf

from keras_vae import normalization as normalizations
from keras_vae.distributions import masks
from keras_vae.distributions import tfd
from keras_vae.distributions.likelihoods.likelihood import Likelihood


@keras.saving.register_keras_serializable("keras_vae")
class Standardized(Likelihood):
    """Real data in their own units, under a likelihood of standardised data.

        log p(x|z) = log p0((x - mean) / scale | z) - sum_i log scale_i

    by the change of variables, where p0 is `likelihood`, and the sum runs over the
    observed elements. So -ELBO, distortion and log p(x) are those of x itself, which
    compare with other models of x, and means and draws come in its units. Gradients are
    those of p0 on standardised data. An element that does not vary has the scale 1.

    An encoder that begins with the same layer makes the whole model one of raw data;
    `in_original_units` makes it of a model that was trained on standardised data. What
    refers to the noise stays in standardised units: `initial_scale`, the weights of a
    curve under a normal of fixed scale, the errors of a diagnosis.

    Args:
        likelihood: Name, config or `Likelihood` of real numbers, p0.
        normalization: `keras.layers.Normalization` that was adapted or built. Its
            numbers are copied.

    Raises:
        ValueError: If `likelihood` is of other numbers, or `normalization` no such
            layer.

    Example:
    >>> x = np.float32([[100.0, 0.1], [300.0, 0.3]])
    >>> normalization = keras.layers.Normalization()
    >>> normalization.adapt(x)
    >>> likelihood = kv.distributions.Standardized("unit_normal", normalization)
    >>> likelihood.mean(tf.zeros([1, 2])).numpy().round(3)
    array([[200. ,   0.2]], dtype=float32)
    >>> round(likelihood.log_units((2,)), 3)  # log 100 + log .1
    2.303
    """

    real_valued = True

    def __init__(self, likelihood, normalization, **kwargs):
        # The package imports this module.
        from keras_vae.distributions import likelihoods

        super().__init__(**kwargs)
        self.likelihood = likelihoods.get(likelihood)
        if not self.likelihood.real_valued:
            raise ValueError(
                "`likelihood` must be of real numbers, such as 'normal' or 'laplace' "
                "or another with `real_valued = True`, because standardised data are. "
                f"Received: likelihood={likelihood!r}"
            )
        if isinstance(normalization, dict):
            normalization = keras.saving.deserialize_keras_object(normalization)
        shift, scale = normalizations.moments(normalization)
        self.normalization = normalizations.layer(shift, scale)
        self._shift, self._scale = np.float32(shift), np.float32(scale)
        self._log_units = np.log(scale)

    @property
    def origin(self):
        """See `Likelihood`."""
        return self._scale * self.likelihood.origin + self._shift

    def core(self):
        """See `Likelihood.core`."""
        return self.likelihood.core()

    def with_core(self, likelihood):
        """See `Likelihood.with_core`."""
        return Standardized(self.likelihood.with_core(likelihood), self.normalization)

    def standardize(self, x):
        """See `Likelihood.standardize`."""
        if isinstance(x, np.ndarray):
            x = (x - self._shift) / self._scale
        else:
            x = (tf.cast(x, tf.float32) - self._shift) / self._scale
        return self.likelihood.standardize(x)

    def log_units(self, event_shape, shares=1.0):
        """See `Likelihood.log_units`."""
        own = (np.broadcast_to(self._log_units, event_shape) * shares).sum()
        return float(own) + self.likelihood.log_units(event_shape, shares)

    def params_shape(self, event_shape):
        """See `Likelihood.params_shape`."""
        return self.likelihood.params_shape(event_shape)

    def event_shape(self, params_shape):
        """See `Likelihood.event_shape`."""
        shape = self.likelihood.event_shape(params_shape)
        normalizations.check_shape(self._shift.shape, shape)
        return shape

    def log_prob(self, params, x, mean=None, training=False, mask=None):
        """See `Likelihood.log_prob`."""
        x = tf.convert_to_tensor(x)
        log_prob = self.likelihood.log_prob(
            params,
            (tf.cast(x, tf.float32) - self._shift) / self._scale,
            mean=mean,
            training=training,
            mask=mask,
        )
        event = tf.constant(self._log_units, tf.float32)
        logs = tf.broadcast_to(event, tf.shape(x))[:, None]
        if mask is not None:
            return log_prob - masks.sum_observed(logs, masks.event_mask(mask, x))
        return log_prob - tf.reduce_sum(logs, axis=range(2, logs.shape.rank))

    def mean(self, params):
        """See `Likelihood.mean`."""
        return self._scale * self.likelihood.mean(params) + self._shift

    def mode(self, params):
        """See `Likelihood.mode`."""
        return self._scale * self.likelihood.mode(params) + self._shift

    def sample(self, params, key):
        """See `Likelihood.sample`."""
        return self._scale * self.likelihood.sample(params, key) + self._shift

    def initial_bias(self, x_mean):
        """See `Likelihood.initial_bias`."""
        x_mean = (np.asarray(x_mean) - self._shift) / self._scale
        return self.likelihood.initial_bias(x_mean)

    def get_config(self):
        """Returns the config; `from_config` makes an equal layer from it."""
        return {
            **super().get_config(),
            "likelihood": keras.saving.serialize_keras_object(self.likelihood),
            "normalization": keras.saving.serialize_keras_object(self.normalization),
        }

    def _elements(self, params):
        elements = self.likelihood._elements(params)
        return tfd.affine(elements, self._scale, self._shift)

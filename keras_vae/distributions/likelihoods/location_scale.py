"""Likelihoods of real data, of a location and a scale."""

import math
import numbers

import keras
import numpy as np
import tensorflow as tf

from keras_vae import random
from keras_vae import replicas
from keras_vae.distributions import limits
from keras_vae.distributions import masks
from keras_vae.distributions import tfd
from keras_vae.distributions.likelihoods.likelihood import Likelihood
from keras_vae.distributions.likelihoods.likelihood import divide_last
from keras_vae.distributions.likelihoods.likelihood import joint
from keras_vae.distributions.likelihoods.likelihood import multiply_last
from keras_vae.weights import add_float32

# Near exp(-6), the limit in the code of Rybkin et al.
_MIN_SCALE = 0.0025
_SCALES = ("shared", "per_output", "optimal")


class _LocationScale(Likelihood):
    """Families of a location, which is the mean, and a scale.

    A subclass defines `_family(loc, scale)`, the statistic `_deviation(error)` whose
    mean determines the most likely scale, and `_most_likely_scale` of that mean.
    """

    real_valued = True

    def __init__(
        self,
        scale="shared",
        initial_scale=0.1,
        min_scale=_MIN_SCALE,
        max_scale=1e3,
        momentum=0.99,
        **kwargs,
    ):
        super().__init__(**kwargs)
        fixed = isinstance(scale, numbers.Real) and not isinstance(scale, bool)
        if not (0 < scale < math.inf if fixed else scale in _SCALES):
            raise ValueError(
                "`scale` must be a positive number or one of "
                f"{', '.join(map(repr, _SCALES))}. Received: scale={scale!r}"
            )
        if not 0 < min_scale < initial_scale < max_scale < math.inf:
            raise ValueError(
                "`initial_scale` must lie between `min_scale` and `max_scale`, all "
                f"positive and finite. Received: min_scale={min_scale}, "
                f"initial_scale={initial_scale}, max_scale={max_scale}"
            )
        if not 0 <= momentum < 1:
            raise ValueError(
                f"`momentum` must be in [0, 1). Received: momentum={momentum}"
            )
        self.scale = float(scale) if fixed else scale
        self.initial_scale = float(initial_scale)
        self.min_scale = float(min_scale)
        self.max_scale = float(max_scale)
        self.momentum = float(momentum)
        self._log_limits = math.log(min_scale), math.log(max_scale)
        self._raw_initial = limits.inverse_soft_clip(
            math.log(initial_scale), *self._log_limits
        )
        if scale == "shared":
            self.log_scale = self._add_number("log_scale", self._raw_initial, True)
        if scale == "optimal":
            # Divided by the sum of their weights, the deviations are unbiased from the
            # first step on.
            self.deviation = self._add_number("deviation", 0.0, False)
            self.deviation_weight = self._add_number("deviation_weight", 0.0, False)

    def params_shape(self, event_shape):
        """See `Likelihood.params_shape`."""
        if self.scale != "per_output":
            return tuple(event_shape)
        return multiply_last(event_shape, 2)

    def event_shape(self, params_shape):
        """See `Likelihood.event_shape`."""
        if self.scale != "per_output":
            return tuple(params_shape)
        return divide_last(params_shape, 2)

    def log_prob(self, params, x, mean=None, training=False, mask=None):
        """See `Likelihood.log_prob`.

        With `scale="optimal"` and in training the scale is the most likely one for this
        batch, taken as a constant, and the moving statistic advances.
        """
        if self.scale != "optimal" or not training:
            return super().log_prob(params, x, mask=mask)
        if mask is not None:
            params, x, mask = self._without_left_out(params, x, mask)
        loc, x = tf.cast(params, tf.float32), self._beside_samples(x)
        scale = self._batch_scale(tf.stop_gradient(x - loc), mean, mask)
        elements = self._family(loc, scale)
        if mask is None:
            return joint(elements, 2).log_prob(x)
        return masks.sum_observed(elements.log_prob(x), mask)

    def current_scale(self):
        """Returns the scale in use outside of training.

        Returns:
            A float32 tensor (), in units of the data, or None with `per_output`.
        """
        if self.scale == "per_output":
            return None
        if self.scale == "shared":
            return self._bounded(tf.convert_to_tensor(self.log_scale))
        if self.scale == "optimal":
            weight = tf.convert_to_tensor(self.deviation_weight)
            deviation = tf.math.divide_no_nan(
                tf.convert_to_tensor(self.deviation), weight
            )
            return tf.where(
                weight > 0.0, self._clipped_scale(deviation), self.initial_scale
            )
        return tf.constant(self.scale, tf.float32)

    def initial_bias(self, x_mean, scale=None):
        """See `Likelihood.initial_bias`.

        Args:
            x_mean: Float array `event_shape`.
            scale: Positive array `event_shape`, at which the scales of "per_output"
                start, or None for `initial_scale`. It is limited to the range of the
                likelihood.
        """
        loc = np.asarray(x_mean, "float32")
        if self.scale != "per_output":
            return loc
        raw = np.zeros_like(loc)
        if scale is not None:
            raws = [self._raw(one) - self._raw_initial for one in np.ravel(scale)]
            raw = np.reshape(raws, loc.shape).astype("float32")
        return np.concatenate([loc, raw], axis=-1)

    def adapt_scale(self, scale):
        """Starts a scale that is "shared" or "optimal" at a number.

        Args:
            scale: Positive float, in units of the data; it is limited to the range of
                the likelihood.
        """
        if self.scale == "shared":
            self.log_scale.assign(self._raw(scale))
        if self.scale == "optimal":
            self.deviation.assign(self._deviation(tf.constant(self._limited(scale))))
            self.deviation_weight.assign(1.0)

    def get_config(self):
        """Returns the config, from which `from_config` makes an equal layer."""
        return {
            **super().get_config(),
            "scale": self.scale,
            "initial_scale": self.initial_scale,
            "min_scale": self.min_scale,
            "max_scale": self.max_scale,
            "momentum": self.momentum,
        }

    def _elements(self, params):
        params = tf.cast(params, tf.float32)
        if self.scale != "per_output":
            return self._family(params, self.current_scale())
        loc, raw = tf.split(params, 2, axis=-1)
        return self._family(loc, self._bounded(raw + self._raw_initial))

    def _limited(self, scale):
        low, high = (math.exp(limit) for limit in self._log_limits)
        return min(max(float(scale), 1.001 * low), 0.999 * high)

    def _raw(self, scale):
        """Returns the number that `_bounded` maps to a scale."""
        log_scale = math.log(self._limited(scale))
        return limits.inverse_soft_clip(log_scale, *self._log_limits)

    def _bounded(self, raw):
        return tf.exp(limits.soft_clip(raw, *self._log_limits))

    def _clipped_scale(self, deviation):
        scale = self._most_likely_scale(deviation)
        return tf.clip_by_value(scale, self.min_scale, self.max_scale)

    def _batch_scale(self, error, mean, mask):
        # The error is 0 where an element is left out.
        deviation = self._deviation(error)
        per_example = tf.reduce_mean(deviation, axis=range(1, deviation.shape.rank))
        observed = tf.ones_like(per_example)
        if mask is not None:
            observed = masks.observed_share(mask)
        # The mean of what is observed is 0 for a batch whose examples all have weight
        # 0: it then leaves the moving statistic as it was.
        values = tf.stack([per_example, observed], axis=-1)
        values = tf.reduce_mean(values, axis=0) if mean is None else mean(values)
        # `mean` gives each replica its share of the global mean.
        values = replicas.sum_over_replicas(values) / replicas.num_replicas()
        total, share = tf.unstack(values)
        rate = 1.0 - self.momentum
        for moving, value in ((self.deviation, total), (self.deviation_weight, share)):
            replicas.assign(moving, (1.0 - rate * share) * moving + rate * value)
        return self._clipped_scale(tf.math.divide_no_nan(total, share))

    def _add_number(self, name, value, trainable):
        return add_float32(self, name, value, trainable=trainable, aggregation="mean")

    def _family(self, loc, scale):
        raise NotImplementedError

    def _deviation(self, error):
        raise NotImplementedError

    def _most_likely_scale(self, deviation):
        raise NotImplementedError


@keras.saving.register_keras_serializable("keras_vae")
class Normal(_LocationScale):
    """Real data with normal noise; the decoder puts out the mean.

        log p(x|z) = -sum_i [(x_i - loc_i)^2 / (2 s^2) + log s + log(2 pi) / 2]

    as Rybkin et al. (2020). Twice s^2 is what weighs the KL against the sum
    of squared errors, so it is better learned than left at a number nobody chose:

      * a number: s is fixed; with beta, only beta * s^2 matters.
      * "shared": one s is learned, by its logarithm, clipped as in that paper by
        `soft_clip`. Lucas et al. (2019): a large initial s may collapse the posterior,
        even if it is learned.
      * "per_output": the decoder also puts out a raw log s for every output; the last
        axis holds all means, then all of these. Often worse than one s.
      * "optimal": in training, s^2 is the mean squared error of the batch, a constant
        for the gradient, which thereby is that of (D/2) log MSE.
        Elsewhere s^2 is the moving average of these, which is saved. Call `log_prob`
        with `training=True` once per step.

    Args:
        scale: Positive float, "shared", "per_output" or "optimal". Defaults to
            "shared".
        initial_scale: Float, s before training where it is not fixed. Defaults to 0.1.
        min_scale: Float, limit below s where it is not fixed. Defaults to 0.0025.
        max_scale: Float, limit above s where it is not fixed. Defaults to 1000.
        momentum: Float in [0, 1), weight of the past in the moving average of
            "optimal", which is free of the initial value. Defaults to 0.99.

    Raises:
        ValueError: If an argument is out of its range.

    Example:
    >>> likelihood = kv.distributions.Normal(scale=0.5)
    >>> likelihood.log_prob(tf.zeros([1, 1, 2]), tf.ones([1, 2])).numpy().round(3)
    array([[-4.452]], dtype=float32)

    References:
        [Simple and Effective VAE Training with Calibrated Decoders](
        https://arxiv.org/abs/2006.13202)
        [Don't Blame the ELBO!](https://arxiv.org/abs/1911.02469)
    """

    def _family(self, loc, scale):
        return tfd.Normal(loc, scale)

    def _deviation(self, error):
        return tf.square(error)

    def _most_likely_scale(self, deviation):
        return tf.sqrt(deviation)

    def _draw(self, elements, key):
        noise = random.normal(keras.ops.shape(elements.loc), key)
        return elements.loc + elements.scale * noise


@keras.saving.register_keras_serializable("keras_vae")
class Laplace(_LocationScale):
    """Real data with Laplace noise; the decoder puts out the mean.

        log p(x|z) = -sum_i [|x_i - loc_i| / b + log(2 b)]

    The absolute error in place of the squared one: robust to outliers, and sharper
    images. The scale b is fixed, learned or computed as that of `Normal` is, as by
    Rybkin et al. (2020) with another density; the "optimal" one is the mean absolute
    error.

    Args:
        scale: Positive float, "shared", "per_output" or "optimal". Defaults to
            "shared".
        initial_scale: Float, b before training where it is not fixed. Defaults to 0.1.
        min_scale: Float, limit below b where it is not fixed. Defaults to 0.0025.
        max_scale: Float, limit above b where it is not fixed. Defaults to 1000.
        momentum: Float in [0, 1), weight of the past in the moving average of
            "optimal", which is free of the initial value. Defaults to 0.99.

    Raises:
        ValueError: If an argument is out of its range.

    Example:
    >>> likelihood = kv.distributions.Laplace(scale=0.5)
    >>> likelihood.log_prob(tf.zeros([1, 1, 2]), tf.ones([1, 2])).numpy().round(3)
    array([[-4.]], dtype=float32)

    Reference:
        [Simple and Effective VAE Training with Calibrated Decoders](
        https://arxiv.org/abs/2006.13202)
    """

    def _family(self, loc, scale):
        return tfd.Laplace(loc, scale)

    def _deviation(self, error):
        return tf.abs(error)

    def _most_likely_scale(self, deviation):
        return deviation

    def _draw(self, elements, key):
        centred = 2.0 * random.uniform(keras.ops.shape(elements.loc), key) - 1.0
        # The uniform draw includes 0, whose quantile is minus infinity.
        magnitude = tf.math.log1p(-tf.minimum(tf.abs(centred), 1.0 - 2.0**-24))
        return elements.loc - elements.scale * tf.sign(centred) * magnitude

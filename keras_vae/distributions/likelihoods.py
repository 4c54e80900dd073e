"""Likelihoods p(x|z): what a decoder's output means, and how it is scored."""

import math
import numbers

import keras
import numpy as np
import tensorflow as tf

from keras_vae import random
from keras_vae import replicas
from keras_vae import serialization
from keras_vae.distributions import posteriors
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
        return _joint(self._elements(params), batch_ndims)

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
        return self.distribution(params).log_prob(_beside_samples(x))

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


class _UnitInterval(Likelihood):
    invalid_activations = ("sigmoid", "softmax")

    def _check_support(self, x):
        low, high = x.min(), x.max()
        if low >= 0 and high <= 1:
            return
        fix = "rescale it to this range or use a Normal likelihood"
        if low >= 0 and high <= 255:
            fix = "divide pixels of 0 to 255 by 255, or binarize them with `x > 127`"
        raise ValueError(
            f"`x` must be in [0, 1] under a {type(self).__name__} likelihood; {fix}. "
            f"Received: x in [{low}, {high}]"
        )


@keras.saving.register_keras_serializable("keras_vae")
class Bernoulli(_UnitInterval):
    """Binary data; the decoder puts out logits.

        log p(x|z) = sum_i x_i log p_i + (1 - x_i) log(1 - p_i),  p = sigmoid(params)

    as in appendix C.1 of Kingma and Welling (2013). Values between 0 and 1 are
    accepted, as is common for grey images, but then this is a cross-entropy and no
    likelihood: it is not normalised over x, and its ELBO bounds no log p(x). Binarise
    the data, or use `ContinuousBernoulli`.

    Example:
    >>> likelihood = kv.distributions.Bernoulli()
    >>> likelihood.log_prob(tf.zeros([1, 1, 4]), tf.ones([1, 4])).numpy().round(3)
    array([[-2.773]], dtype=float32)

    Reference:
        [Auto-Encoding Variational Bayes](https://arxiv.org/abs/1312.6114)
    """

    def initial_bias(self, x_mean):
        """See `Likelihood.initial_bias`. Means are clipped to [0.001, 0.999]."""
        mean = np.clip(x_mean, 0.001, 0.999)
        return np.log(mean / (1 - mean)).astype("float32")

    def _elements(self, params):
        return tfd.StableBernoulli(tf.cast(params, tf.float32), dtype=tf.float32)

    def _draw(self, elements, key):
        noise = random.uniform(keras.ops.shape(elements.logits), key)
        return tf.cast(noise < elements.mean(), tf.float32)


@keras.saving.register_keras_serializable("keras_vae")
class ContinuousBernoulli(_UnitInterval):
    """Data in [0, 1], such as grey images; the decoder puts out logits l.

        p(x|z) = prod_i C(l_i) p_i^x_i (1 - p_i)^(1 - x_i),  p = sigmoid(l)
        C(l) = l (1 + exp(l)) / (exp(l) - 1)

    equations 6 to 8 of Loaiza-Ganem and Cunningham (2019): the Bernoulli form,
    normalised over [0, 1]. The mean is 1 / (1 - exp(-l)) - 1 / l, not p. As a density
    it may exceed 1, and the log-likelihood 0.

    Example:
    >>> likelihood = kv.distributions.ContinuousBernoulli()
    >>> likelihood.log_prob(tf.zeros([1, 1, 4]), tf.fill([1, 4], 0.3)).numpy().round(3)
    array([[0.]], dtype=float32)

    Reference:
        [The continuous Bernoulli: fixing a pervasive error in variational
        autoencoders](https://arxiv.org/abs/1907.06845)
    """

    def initial_bias(self, x_mean):
        """See `Likelihood.initial_bias`. Means are clipped to [0.001, 0.999]."""
        mean = np.clip(np.asarray(x_mean, "float64"), 0.001, 0.999)
        # The mean increases in the logit, is 1/1000 at about -1000, and has no inverse
        # in elementary functions.
        low, high = np.full(mean.shape, -1e4), np.full(mean.shape, 1e4)
        for _ in range(60):
            middle = (low + high) / 2
            below = _continuous_bernoulli_mean(middle) < mean
            low, high = np.where(below, middle, low), np.where(below, high, middle)
        return ((low + high) / 2).astype("float32")

    def _elements(self, params):
        return tfd.ContinuousBernoulli(tf.cast(params, tf.float32))

    def _draw(self, elements, key):
        noise = random.uniform(keras.ops.shape(elements.logits), key)
        # TFP's quantile function exceeds 1 by a rounding.
        return tf.clip_by_value(elements.quantile(noise), 0.0, 1.0)


def _continuous_bernoulli_mean(logits):
    small = np.abs(logits) < 0.01
    safe = np.clip(np.where(small, 1.0, logits), -700, 700)
    exact = -1 / np.expm1(-safe) - 1 / np.where(small, 1.0, logits)
    return np.where(small, 0.5 + logits / 12, exact)


# Near exp(-6), the limit in the code of Rybkin et al.
_MIN_SCALE = 0.0025
_SCALES = ("shared", "per_output", "optimal")


class _LocationScale(Likelihood):
    """Families of a location, which is the mean, and a scale.

    A subclass defines `_family(loc, scale)`, the statistic `_deviation(error)` whose
    mean determines the most likely scale, and `_most_likely_scale` of that mean.
    """

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
        self._raw_initial = posteriors.inverse_soft_clip(
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
        return _multiply_last(event_shape, 2)

    def event_shape(self, params_shape):
        """See `Likelihood.event_shape`."""
        if self.scale != "per_output":
            return tuple(params_shape)
        return _divide_last(params_shape, 2)

    def log_prob(self, params, x, mean=None, training=False):
        """See `Likelihood.log_prob`.

        With `scale="optimal"` and in training the scale is the most likely one for this
        batch, taken as a constant, and the moving statistic advances.
        """
        if self.scale != "optimal" or not training:
            return super().log_prob(params, x)
        loc, x = tf.cast(params, tf.float32), _beside_samples(x)
        scale = self._batch_scale(tf.stop_gradient(x - loc), mean)
        return _joint(self._family(loc, scale), 2).log_prob(x)

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

    def initial_bias(self, x_mean):
        """See `Likelihood.initial_bias`. The scale starts at `initial_scale`."""
        loc = np.asarray(x_mean, "float32")
        if self.scale != "per_output":
            return loc
        return np.concatenate([loc, np.zeros_like(loc)], axis=-1)

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

    def _bounded(self, raw):
        return tf.exp(posteriors.soft_clip(raw, *self._log_limits))

    def _clipped_scale(self, deviation):
        scale = self._most_likely_scale(deviation)
        return tf.clip_by_value(scale, self.min_scale, self.max_scale)

    def _batch_scale(self, error, mean):
        deviation = self._deviation(error)
        per_example = tf.reduce_mean(deviation, axis=range(1, deviation.shape.rank))
        # The mean of ones is 0 for a batch whose examples all have weight 0: it then
        # leaves the moving statistic as it was.
        values = tf.stack([per_example, tf.ones_like(per_example)], axis=-1)
        values = tf.reduce_mean(values, axis=0) if mean is None else mean(values)
        # `mean` gives each replica its share of the global mean.
        values = replicas.sum_over_replicas(values) / replicas.num_replicas()
        total, share = tf.unstack(values)
        rate = 1.0 - self.momentum
        for moving, value in ((self.deviation, total), (self.deviation_weight, share)):
            replicas.assign(moving, (1.0 - rate * share) * moving + rate * value)
        return self._clipped_scale(tf.math.divide_no_nan(total, share))

    def _add_number(self, name, value, trainable):
        return self.add_weight(
            shape=(),
            initializer=keras.initializers.Constant(value),
            dtype="float32",
            autocast=False,
            trainable=trainable,
            aggregation="mean",
            name=name,
        )

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


@keras.saving.register_keras_serializable("keras_vae")
class Categorical(Likelihood):
    """Classes, such as words or quantised pixels; the decoder puts out logits.

        log p(x|z) = sum_i log softmax(params_i)[x_i]

    The last axis of the decoder's output is `num_classes` times that of x: the logits
    of its first element, then those of the second, and so on. x holds class ids.

    Args:
        num_classes: Integer above 1.

    Raises:
        ValueError: If `num_classes` is not such an integer.

    Example:
    >>> likelihood = kv.distributions.Categorical(num_classes=4)
    >>> likelihood.params_shape((28, 28, 1))
    (28, 28, 4)
    >>> likelihood.log_prob(tf.zeros([1, 1, 8]), tf.constant([[3, 0]])).numpy().round(3)
    array([[-2.773]], dtype=float32)

    Reference:
        [Generating Sentences from a Continuous Space](
        https://arxiv.org/abs/1511.06349)
    """

    invalid_activations = ("sigmoid", "softmax")

    def __init__(self, num_classes, **kwargs):
        super().__init__(**kwargs)
        if not isinstance(num_classes, numbers.Integral) or num_classes < 2:
            raise ValueError(
                "`num_classes` must be an integer above 1. Received: "
                f"num_classes={num_classes!r}"
            )
        self.num_classes = int(num_classes)

    def params_shape(self, event_shape):
        """See `Likelihood.params_shape`."""
        return _multiply_last(event_shape, self.num_classes)

    def event_shape(self, params_shape):
        """See `Likelihood.event_shape`."""
        return _divide_last(params_shape, self.num_classes)

    def log_prob(self, params, x, mean=None, training=False):
        """See `Likelihood.log_prob`. `x` may hold its class ids as floats."""
        return self.distribution(params).log_prob(tf.cast(x, tf.int32)[:, None])

    def mean(self, params):
        """Computes E[x|z] of the class ids, of use where their order means something.

        Args:
            params: Float tensor (..., *params_shape).

        Returns:
            A float32 tensor (..., *event_shape), in [0, num_classes - 1].
        """
        logits = self._elements(params).logits
        # On CPUs softmax takes no more than five axes.
        rows = tf.nn.softmax(tf.reshape(logits, [-1, self.num_classes]))
        ids = tf.range(self.num_classes, dtype=tf.float32)
        return tf.reshape(tf.linalg.matvec(rows, ids), tf.shape(logits)[:-1])

    def get_config(self):
        """Returns the config, from which `from_config` makes an equal layer."""
        return {**super().get_config(), "num_classes": self.num_classes}

    def _elements(self, params):
        *leading, last = keras.ops.shape(params)
        shape = (*leading, last // self.num_classes, self.num_classes)
        return tfd.Categorical(tf.reshape(tf.cast(params, tf.float32), shape))

    def _draw(self, elements, key):
        noise = random.uniform(keras.ops.shape(elements.logits), key)
        gumbel = -tf.math.log(-tf.math.log(noise))
        return tf.argmax(elements.logits + gumbel, axis=-1, output_type=tf.int32)

    def _check_support(self, x):
        low, high = x.min(), x.max()
        if low < 0 or high >= self.num_classes or (x != np.floor(x)).any():
            raise ValueError(
                "`x` must hold the class ids 0 to num_classes - 1 as whole numbers; "
                "quantize continuous data or raise `num_classes`. Received: x in "
                f"[{low}, {high}], num_classes={self.num_classes}"
            )


def get(identifier):
    """Returns the likelihood that `identifier` names.

    Args:
        identifier: "bernoulli", "continuous_bernoulli", "normal" (one learned scale),
            "optimal_normal" (scale="optimal"), "unit_normal" (scale=1.0), "laplace"
            (one learned scale), a `Likelihood` or its serialized config.

    Returns:
        A `Likelihood`.

    Raises:
        ValueError: If `identifier` is none of these, or "categorical", which has no
            default number of classes.

    Example:
    >>> kv.distributions.likelihoods.get("optimal_normal").scale
    'optimal'
    """
    if identifier == "categorical":
        raise ValueError(
            "`likelihood` cannot be a string for this family, which has to know "
            "`num_classes`; pass `Categorical(num_classes)`. Received: "
            f"likelihood={identifier!r}"
        )
    return serialization.get(identifier, Likelihood, _MAKERS, "likelihood")


_MAKERS = {
    "bernoulli": Bernoulli,
    "continuous_bernoulli": ContinuousBernoulli,
    "normal": Normal,
    "optimal_normal": lambda: Normal(scale="optimal"),
    "unit_normal": lambda: Normal(scale=1.0),
    "laplace": Laplace,
}


def _joint(elements, batch_ndims):
    return tfd.Independent(elements, elements.batch_shape.rank - batch_ndims)


def _beside_samples(x):
    return tf.cast(x, tf.float32)[:, None]


def _multiply_last(shape, factor):
    if not len(shape):
        raise ValueError(
            "`event_shape` must have an axis along which to put several parameters. "
            "Received: event_shape=()"
        )
    return (*shape[:-1], factor * shape[-1])


def _divide_last(shape, factor):
    if not len(shape) or shape[-1] % factor:
        raise ValueError(
            f"`params_shape` must end in a multiple of {factor}. Received: "
            f"params_shape={tuple(shape)}"
        )
    return (*shape[:-1], shape[-1] // factor)

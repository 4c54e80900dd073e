"""Likelihoods of data in [0, 1]."""

import keras
import numpy as np
import tensorflow as tf

from keras_vae import random
from keras_vae.distributions import tfd
from keras_vae.distributions.likelihoods.likelihood import Likelihood


class _UnitInterval(Likelihood):
    invalid_activations = ("sigmoid", "softmax")

    def activation_of(self, params, x):
        """See `Likelihood.activation_of`.

        All values lie in [0, 1], and as probabilities they have a lower cross-entropy
        than as logits.
        """
        p, x = np.asarray(params, np.float64), np.asarray(x, np.float64)
        if p.min() < 0 or p.max() > 1 or p.min() == p.max():
            return None
        inside = np.clip(p, 1e-7, 1 - 1e-7)
        as_probabilities = -x * np.log(inside) - (1 - x) * np.log1p(-inside)
        as_logits = np.logaddexp(0, p) - x * p
        return "sigmoid" if as_probabilities.mean() < as_logits.mean() else None

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
    accepted, as is common for grey images. The result is then a cross-entropy and not a
    likelihood: it is not normalized over x, and its ELBO is not a bound on log p(x).
    Binarize the data, or use `ContinuousBernoulli`.

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
    normalized over [0, 1]. The mean is 1 / (1 - exp(-l)) - 1 / l, not p. The density
    can exceed 1, and the log-likelihood can exceed 0.

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
        # Bisection: the mean increases with the logit, is 1/1000 at about -1000, and
        # has no inverse in elementary functions.
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
        # Rounding lets TFP's quantile function exceed 1.
        return tf.clip_by_value(elements.quantile(noise), 0.0, 1.0)


def _continuous_bernoulli_mean(logits):
    small = np.abs(logits) < 0.01
    safe = np.clip(np.where(small, 1.0, logits), -700, 700)
    exact = -1 / np.expm1(-safe) - 1 / np.where(small, 1.0, logits)
    return np.where(small, 0.5 + logits / 12, exact)

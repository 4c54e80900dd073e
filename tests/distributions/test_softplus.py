"""The softplus, against NumPy in float64."""

import numpy as np
import pytest
import tensorflow as tf

from keras_vae.distributions.softplus import log1p_exp
from keras_vae.distributions.softplus import softplus_and_slopes
from keras_vae.distributions.softplus import softplus_terms


def softplus(x):
    return tf.add_n(softplus_terms(x))


@pytest.mark.parametrize("jit", [False, True], ids=["graph", "xla"])
@pytest.mark.parametrize(
    ("function", "highest"),
    [(log1p_exp, 0.0), (softplus, 80.0)],
    ids=["log1p_exp", "softplus"],
)
def test_value_and_gradient_have_all_digits(function, highest, jit):
    """From where it is exp(x) to where it is x."""
    x = np.linspace(-80.0, highest, 20001, dtype="float32")

    @tf.function(jit_compile=jit, autograph=False)
    def value_and_gradient(x):
        value = function(x)
        return value, tf.gradients(value, x)[0]

    value, gradient = value_and_gradient(tf.constant(x))
    exact = x.astype("float64")
    np.testing.assert_allclose(value, np.logaddexp(0, exact), rtol=3e-6)
    np.testing.assert_allclose(gradient, 1 / (1 + np.exp(-exact)), rtol=1e-6)


def test_gradient_at_zero_is_a_half():
    x = tf.constant([0.0, -0.0])
    with tf.GradientTape() as tape:
        tape.watch(x)
        value = softplus(x)
    np.testing.assert_array_equal(tape.gradient(value, x), [0.5, 0.5])


def test_far_out_it_stays_finite():
    x = tf.constant([-1e30, -200.0, 200.0, 1e30])
    with tf.GradientTape() as tape:
        tape.watch(x)
        value = softplus(x)
    np.testing.assert_array_equal(value, np.float32([0.0, 0.0, 200.0, 1e30]))
    np.testing.assert_array_equal(tape.gradient(value, x), [0.0, 0.0, 1.0, 1.0])


@pytest.mark.parametrize("jit", [False, True], ids=["graph", "xla"])
def test_slopes_have_all_digits_where_they_are_small(jit):
    x = np.linspace(-80.0, 80.0, 20001, dtype="float32")
    function = tf.function(softplus_and_slopes, jit_compile=jit, autograph=False)
    value, slope, rest = function(tf.constant(x))
    exact = x.astype("float64")
    np.testing.assert_allclose(value, np.logaddexp(0, exact), rtol=3e-6)
    np.testing.assert_allclose(slope, 1 / (1 + np.exp(-exact)), rtol=1e-6)
    np.testing.assert_allclose(rest, 1 / (1 + np.exp(exact)), rtol=1e-6)

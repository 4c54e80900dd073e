"""Moments of standardised data, from and to Keras's layer."""

import keras
import numpy as np
import pytest

from keras_vae import normalization

X = np.random.default_rng(0).normal(size=(50, 3, 4)) * [1, 10, 0.1, 0] + [0, 5, 9, 2]


@pytest.mark.parametrize("axis", [None, -1, 1, (1, 2)])
def test_layer_is_equal_to_the_one_that_was_adapted(axis):
    adapted = keras.layers.Normalization(axis=axis)
    adapted.adapt(X[..., :3])
    mean, stddev = normalization.moments(adapted)
    assert mean.ndim == stddev.ndim == 2
    made = normalization.layer(mean, stddev)
    x = np.float32(X[:5, :, :3])
    np.testing.assert_allclose(made(x), adapted(x), rtol=1e-5, atol=1e-6)
    again = keras.saving.deserialize_keras_object(
        keras.saving.serialize_keras_object(made)
    )
    np.testing.assert_array_equal(normalization.moments(again), (mean, stddev))


def test_constant_elements_have_the_scale_1():
    adapted = keras.layers.Normalization()
    adapted.adapt(X)
    mean, stddev = normalization.moments(adapted)
    np.testing.assert_allclose(stddev, [[*X.std(axis=(0, 1))[:3], 1]], rtol=1e-5)
    assert mean[0, 3] == 2


def test_tiny_deviations_are_not_lost():
    mean, stddev = [4e-22, 1.0], [2e-22, 3.0]
    x = np.float32([[2e-22, 4.0]])
    for first in normalization.layers(mean, stddev):
        x = first(x)
    np.testing.assert_allclose(x, [[-1.0, 1.0]], rtol=1e-6)
    np.testing.assert_allclose(
        normalization.moments(normalization.layer(mean, stddev)), (mean, stddev)
    )


@pytest.mark.parametrize(
    ("mean", "stddev"),
    [([0.0], [0.0]), ([0.0], [-1.0]), ([0.0, 1.0], [1.0]), ([np.nan], [1.0])],
)
def test_impossible_moments_are_refused(mean, stddev):
    with pytest.raises(ValueError, match="`mean` and `stddev` must be finite"):
        normalization.layer(mean, stddev)


def test_an_inverted_layer_is_refused():
    layer = keras.layers.Normalization(mean=0.0, variance=1.0, invert=True)
    with pytest.raises(ValueError, match="not inverted"):
        normalization.moments(layer)

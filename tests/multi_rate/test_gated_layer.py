"""One layer that depends on u, and what it folds into."""

import functools

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_vae.multi_rate import gates
from keras_vae.multi_rate.gated_layer import GatedLayer

layers = keras.layers
CHANNELS = 12

LAYERS = {
    "dense": (functools.partial(layers.Dense, 8, activation="tanh"), ()),
    "conv1d": (functools.partial(layers.Conv1D, 8, 3, activation="tanh"), (5,)),
    "conv2d": (functools.partial(layers.Conv2D, 8, 3, dilation_rate=2), (6, 6)),
    "transposed": (functools.partial(layers.Conv2DTranspose, 16, 3, strides=2), (3, 3)),
    "conv3d": (functools.partial(layers.Conv3DTranspose, 8, 2), (2, 2, 2)),
}


def made(layer, shape, rank=3):
    """A gated layer, all of whose weights are away from where they start."""
    generator = np.random.default_rng(0)
    gated = GatedLayer(layer, gates.SplineGate, rank)
    gated.build((None, *shape))
    for weight in gated.weights:
        weight.assign(weight + generator.normal(scale=0.1, size=weight.shape))
    return gated, tf.constant(generator.normal(size=(2, *shape)), tf.float32)


def folded(gated, layer, shape, u):
    layer.build((None, *shape))
    gated.fold(u, layer)
    return layer


@pytest.mark.parametrize("name", LAYERS)
@pytest.mark.parametrize("u", [-1.7, -0.3, 1.7])
def test_folded_layer_is_the_gated_one(name, u):
    make, shape = LAYERS[name]
    shape = (*shape, CHANNELS)
    gated, x = made(make(), shape)
    with gates.gating(tf.constant([[u]])):
        expected = gated(x)
    plain = folded(gated, make(), shape, u)
    np.testing.assert_allclose(plain(x), expected, rtol=1e-5, atol=1e-5)
    assert expected.shape == gated.compute_output_shape((2, *shape))


def test_channels_first():
    """XLA has these convolutions on a CPU too."""
    make = functools.partial(layers.Conv2D, 8, 3, data_format="channels_first")
    shape = (CHANNELS, 4, 4)
    gated, x = made(make(), shape)

    @tf.function(jit_compile=True)
    def run(layer):
        with gates.gating(tf.constant([[0.4]])):
            return layer(x)

    np.testing.assert_allclose(
        run(gated), run(folded(gated, make(), shape, 0.4)), rtol=1e-5, atol=1e-5
    )


def test_kernel_changes_by_the_rank_and_no_more():
    """Beside the gate, which leaves the kernel as it is where its scale is one."""
    gated, _ = made(layers.Dense(8), (CHANNELS,), rank=2)
    gated.gate.log_scales.assign(tf.zeros_like(gated.gate.log_scales))
    kernels = [
        np.asarray(folded(gated, layers.Dense(8), (CHANNELS,), u).kernel)
        for u in (-1.7, -0.6, 0.1, 1.7)
    ]
    changes = [np.linalg.svd(k - kernels[0], compute_uv=False) for k in kernels[1:]]
    for singular in changes:
        assert singular[1] > 1e-3
        np.testing.assert_allclose(singular[2:], 0, atol=1e-5)


def test_starts_as_the_layer():
    layer = layers.Dense(8)
    x = tf.random.normal((2, CHANNELS))
    expected = layer(x)
    gated = GatedLayer(layer, gates.SplineGate, 3)
    gated.build((None, CHANNELS))
    gated.layer.set_weights(layer.get_weights())
    with gates.gating(tf.constant([[-1.0], [1.0]])):
        np.testing.assert_allclose(gated(x), expected, rtol=1e-6)


@pytest.mark.parametrize(
    ("layer", "shape", "rank"),
    [
        (layers.Dense(8), (CHANNELS,), 4),
        (layers.Dense(80), (CHANNELS,), 5),
        (layers.Dense(3), (CHANNELS,), 1),
        (layers.Conv2D(80, 3), (4, 4, 80), 0),
    ],
)
def test_rank_is_at_most_half_the_smaller_side_of_a_dense_layer(layer, shape, rank):
    gated = GatedLayer(layer, gates.SplineGate, 5)
    gated.build((None, *shape))
    assert gated.rank == rank

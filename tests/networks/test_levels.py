import keras
import numpy as np
import pytest

import keras_vae as kv


@pytest.mark.parametrize("batch_normalization", [False, True])
def test_one_dense_layer_a_level(batch_normalization):
    encoders, decoders = kv.networks.mlp_levels(
        [7, 5, 4], (4, 3), "tanh", batch_normalization, output_bias=0.5
    )
    vae = kv.HierarchicalVAE(encoders, decoders, [3, 2, 1], seed=0)
    vae.build((None, 4, 3))
    kernels = [
        [
            layer.kernel.shape
            for layer in network.layers
            if isinstance(layer, keras.layers.Dense)
        ]
        for network in (*encoders, *decoders)
    ]
    assert kernels[:3] == [[(12, 7)], [(7, 5)], [(5, 4)]]
    assert kernels[3:] == [[(3, 7), (7, 12)], [(2, 5)], [(1, 4)]]
    np.testing.assert_array_equal(decoders[0].layers[-2].bias, np.full(12, 0.5))
    normalizations = [
        layer
        for network in (*encoders, *decoders)
        for layer in network.layers
        if isinstance(layer, keras.layers.BatchNormalization)
    ]
    assert len(normalizations) == (6 if batch_normalization else 0)


def test_batch_normalization_stands_before_the_activation():
    encoders, _ = kv.networks.mlp_levels([6], (3,), "relu", batch_normalization=True)
    x = np.random.default_rng(0).normal(5.0, 3.0, size=(200, 3)).astype("float32")
    features = np.array(encoders[0](x, training=True))
    weights = [np.array(w) for w in encoders[0].layers[1].weights]
    raw = x @ weights[0] + weights[1]
    expected = (raw - raw.mean(0)) / np.sqrt(raw.var(0) + 1e-3)
    np.testing.assert_allclose(features, np.maximum(expected, 0), atol=1e-4)


def test_sizes_that_are_none():
    for hidden in ([], [4, 0], 3):
        with pytest.raises(ValueError, match="`hidden` must"):
            kv.networks.mlp_levels(hidden, (3,))

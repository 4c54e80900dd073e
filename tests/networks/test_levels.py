import keras
import numpy as np
import pytest

import keras_vae as kv


def dense_kernels(networks):
    return [
        [
            layer.kernel.shape
            for layer in network.layers
            if isinstance(layer, keras.layers.Dense)
        ]
        for network in networks
    ]


@pytest.mark.parametrize("batch_normalization", [False, True])
def test_one_dense_layer_a_level(batch_normalization):
    encoders, decoders = kv.networks.mlp_levels(
        [7, 5, 4], (4, 3), "tanh", batch_normalization, output_bias=0.5
    )
    vae = kv.HierarchicalVAE(encoders, decoders, [3, 2, 1], seed=0)
    vae.build((None, 4, 3))
    kernels = dense_kernels([*encoders, *decoders])
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


def test_several_dense_layers_a_level_with_a_normalization_each():
    encoders, decoders = kv.networks.mlp_levels(
        [7, 5], (6,), "tanh", batch_normalization=True, layers=2
    )
    vae = kv.HierarchicalVAE(encoders, decoders, [3, 2], seed=0)
    vae.build((None, 6))
    kernels = dense_kernels([*encoders, *decoders])
    assert kernels[:2] == [[(6, 7), (7, 7)], [(7, 5), (5, 5)]]
    assert kernels[2:] == [[(3, 7), (7, 7), (7, 6)], [(2, 5), (5, 5)]]
    kinds = [type(layer).__name__ for layer in encoders[1].layers]
    assert kinds == ["Flatten", *["Dense", "BatchNormalization", "Activation"] * 2]
    with pytest.raises(ValueError, match="`layers` must be"):
        kv.networks.mlp_levels([7], (6,), layers=0)


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
    with pytest.raises(ValueError, match="`levels` must have as many entries for each"):
        kv.networks.resnet_levels((8, 8, 1), levels=[4, 4, 4], filters=[4, 6])
    with pytest.raises(ValueError, match="`filters` must not halve"):
        kv.networks.resnet_levels((4, 4, 1), levels=[4] * 4, filters=[4] * 4)


def test_residual_states_pass_all_levels():
    encoders, decoders, shapes = kv.networks.resnet_levels(
        (9, 6, 2), levels=[3, 2, 5, 1], filters=[4, 6], output_bias=[-3, 2]
    )
    assert shapes == [(9, 6, 3), (9, 6, 2), (5, 3, 5), (5, 3, 1)]
    x = np.random.default_rng(0).normal(size=(2, 9, 6, 2)).astype("float32")
    states = []
    for encoder in encoders:
        states.append(encoder(states[-1] if states else x))
    assert [tuple(s.shape[1:]) for s in states] == [(9, 6, 4)] * 2 + [(5, 3, 6)] * 2
    # At the start the blocks add next to nothing.
    np.testing.assert_allclose(states[1], states[0], atol=0.05)
    draws = [keras.ops.ones((2, *shape)) for shape in shapes]
    above = decoders[3](draws[3])
    lower = decoders[2]({"z": draws[2], "above": above})
    assert above.shape == (2, 5, 3, 6)
    assert lower.shape == (2, 9, 6, 4)
    shift = decoders[1]({"z": draws[1], "above": lower}) - lower
    np.testing.assert_allclose(
        shift, np.broadcast_to(shift[:1, 4:5, 3:4], shift.shape), atol=0.05
    )
    params = decoders[0]({"z": 0 * draws[0], "above": 0 * lower})
    np.testing.assert_allclose(params, np.broadcast_to([-3.0, 2.0], (2, 9, 6, 2)))

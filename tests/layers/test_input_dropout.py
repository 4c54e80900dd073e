"""Whole positions are replaced, as often as asked for."""

import keras
import numpy as np
import pytest
import scipy.stats
import tensorflow as tf

import keras_vae as kv


@pytest.mark.parametrize("rate", [0.1, 0.75])
def test_positions_are_replaced_at_the_rate_and_whole(rate):
    layer = kv.layers.InputDropout(rate, mask_value=-2.0, seed=1)
    inputs = np.random.default_rng(0).uniform(size=(50, 40, 3)).astype("float32")
    outputs = layer(inputs, training=True).numpy()
    dropped = (outputs == -2.0).all(axis=2)
    np.testing.assert_array_equal(outputs[~dropped], inputs[~dropped])
    # The number of replaced positions is binomial.
    chance = scipy.stats.binomtest(int(dropped.sum()), dropped.size, rate)
    assert chance.pvalue > 1e-4
    # Neither examples nor positions are dropped as one.
    for axis in (0, 1):
        assert len(np.unique(dropped.mean(axis=axis))) > 3


def test_ids_keep_their_dtype_and_some_are_never_replaced():
    start, padding, unknown = 1, 0, 3
    layer = kv.layers.InputDropout(
        1.0, mask_value=unknown, keep_values=[start, padding], seed=1
    )
    ids = np.array([[start, 7, 8, padding], [start, 9, padding, padding]])
    outputs = layer(ids, training=True)
    assert outputs.dtype == "int64"
    np.testing.assert_array_equal(outputs, [[1, 3, 3, 0], [1, 3, 0, 0]])


def test_nothing_is_replaced_outside_training_or_at_rate_0():
    inputs = np.ones((4, 5), "float32")
    layer = kv.layers.InputDropout(0.9, seed=1)
    np.testing.assert_array_equal(layer(inputs), inputs)
    layer = kv.layers.InputDropout(0.0, seed=1)
    np.testing.assert_array_equal(layer(inputs, training=True), inputs)


def test_steps_and_seeds_draw_anew_and_equal_ones_alike():
    inputs = np.ones((20, 30), "float32")
    layers = [kv.layers.InputDropout(0.5, seed=seed) for seed in (1, 1, 2)]
    first, again, other = (layer(inputs, training=True).numpy() for layer in layers)
    np.testing.assert_array_equal(first, again)
    for drawn in (other, layers[0](inputs, training=True).numpy()):
        assert 0.3 < (first == drawn).mean() < 0.7


def test_it_is_part_of_a_functional_decoder_and_is_saved(tmp_path):
    ids = keras.Input((6,), dtype="int32")
    h = kv.layers.InputDropout(0.5, mask_value=1, keep_values=[0], seed=4)(ids)
    model = keras.Model(ids, keras.layers.Embedding(9, 2)(h))
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    x = np.random.default_rng(0).integers(0, 9, size=(5, 6))
    for training in (False, True):
        np.testing.assert_array_equal(
            loaded(x, training=training), model(x, training=training)
        )


def test_graph_and_xla_draw_alike():
    drawn = []
    for jit_compile in (None, False, True):
        layer = kv.layers.InputDropout(0.5, seed=4)

        def call(x, layer=layer):
            return layer(x, training=True)

        if jit_compile is not None:
            call = tf.function(call, jit_compile=jit_compile)
        drawn.append(call(tf.ones((7, 3, 2))).numpy())
    np.testing.assert_array_equal(drawn[0], drawn[1])
    np.testing.assert_array_equal(drawn[0], drawn[2])


@pytest.mark.parametrize("rate", [-0.1, 1.5, float("nan"), True, "half"])
def test_rate_must_be_a_probability(rate):
    with pytest.raises(ValueError, match="`rate` must be in"):
        kv.layers.InputDropout(rate)


@pytest.mark.parametrize(
    ("shape", "keep_values"), [((3,), ()), ((3, 2, 4), (0,))], ids=["rank 1", "keep"]
)
def test_inputs_must_have_positions(shape, keep_values):
    layer = kv.layers.InputDropout(0.5, keep_values=keep_values)
    with pytest.raises(ValueError, match="`inputs` must have shape"):
        layer(np.ones(shape, "float32"))

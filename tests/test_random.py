import keras
import numpy as np
import pytest
import scipy.stats
import tensorflow as tf

import keras_vae as kv
from keras_vae import random

MODES = {
    "eager": lambda function: function,
    "graph": tf.function,
    "xla": lambda function: tf.function(function, jit_compile=True),
}


def test_normal_noise_is_normal():
    draw = random.normal((200_000,), random.key(1)).numpy()
    assert scipy.stats.kstest(draw, "norm").pvalue > 1e-3
    assert draw.mean() == pytest.approx(0, abs=4 / np.sqrt(len(draw)))
    assert draw.var() == pytest.approx(1, abs=4 * np.sqrt(2 / len(draw)))
    assert scipy.stats.kurtosis(draw) == pytest.approx(0, abs=0.05)
    assert np.isfinite(draw).all()


def test_the_two_halves_of_a_pair_are_independent():
    pairs = random.normal((100_000, 2), random.key(2)).numpy()
    bound = 4 / np.sqrt(len(pairs))
    assert abs(np.corrcoef(pairs.T)[0, 1]) < bound
    assert abs(np.corrcoef((pairs**2).T)[0, 1]) < bound


def test_normal_noise_is_that_of_box_and_muller():
    """Of the uniform numbers of the same key, by NumPy in double precision."""
    key = random.key(4)
    radius, turns = np.float64(random.uniform((50_000, 2), key)).T
    radius, angle = np.sqrt(-2 * np.log(radius + 2.0**-25)), 2 * np.pi * turns
    expected = np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=1)
    noise = random.normal((50_000, 2), key)
    # The logarithm of numbers next to 1 has lost digits.
    np.testing.assert_allclose(noise, expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("jit_compile", [True, False])
def test_turns_are_as_exact_as_their_floats(jit_compile):
    turns = np.append(np.arange(0, 2**24, 41), 2**24 - 1) * 2.0**-24
    function = tf.function(random._cosine_and_sine, jit_compile=jit_compile)
    cosine, sine = function(tf.constant(turns, tf.float32))
    np.testing.assert_allclose(cosine, np.cos(2 * np.pi * turns), rtol=0, atol=8e-7)
    np.testing.assert_allclose(sine, np.sin(2 * np.pi * turns), rtol=0, atol=8e-7)


def test_uniform_noise_is_uniform():
    draw = random.uniform((200_000,), random.key(3)).numpy()
    assert scipy.stats.kstest(draw, "uniform").pvalue > 1e-3
    assert draw.min() >= 0
    assert draw.max() < 1
    # Steps of 2**-24: exactly representable, so that nothing rounds up to 1.
    np.testing.assert_array_equal(draw * 2.0**24 % 1, 0)


@pytest.mark.parametrize(("draw", "atol"), [(random.normal, 1e-6), (random.uniform, 0)])
def test_an_element_depends_on_its_place_alone(draw, atol):
    key = random.key(5, step=9)
    long = draw((1001,), key).numpy()
    for shape in [(10,), (7,), (7, 11, 13)]:
        expected = long[: np.prod(shape)].reshape(shape)
        # Up to the rounding of a logarithm at the end of a vector register.
        np.testing.assert_allclose(draw(shape, key), expected, rtol=0, atol=atol)


@pytest.mark.parametrize("shape", [(0,), (0, 3), (1,), (3, 5)])
def test_shapes(shape):
    assert random.normal(shape, random.key(0)).shape == shape


@pytest.mark.parametrize(("draw", "atol"), [(random.normal, 2e-6), (random.uniform, 0)])
def test_eager_graph_and_xla_agree(draw, atol):
    key = random.key(11, step=3, replica=1)
    results = {
        name: mode(lambda key: draw((33, 7), key))(key) for name, mode in MODES.items()
    }
    np.testing.assert_allclose(results["graph"], results["eager"], rtol=0, atol=atol)
    np.testing.assert_allclose(results["xla"], results["eager"], rtol=0, atol=atol)


def test_a_shape_that_is_a_tensor():
    key = random.key(0)
    draw = tf.function(lambda n: random.normal(tf.stack([n, 2]), key))
    np.testing.assert_allclose(
        draw(tf.constant(3)), random.normal((3, 2), key), atol=2e-6
    )


def test_keys_that_differ_in_anything_give_unrelated_noise():
    keys = {
        (seed, step, replica): random.key(seed, step, replica)
        for seed in (0, 1, 2**31 - 1)
        for step in (0, 1, 10**6)
        for replica in (0, 1, 7)
    }
    draws = np.stack([random.normal((4000,), key) for key in keys.values()])
    correlations = np.corrcoef(draws) - np.eye(len(keys))
    assert np.abs(correlations).max() < 5 / np.sqrt(4000)
    # Nor is one the shifted other, as overlapping counters would make it.
    elements = np.unique(draws)
    assert len(elements) > 0.99 * draws.size


@pytest.mark.parametrize("mode", MODES)
def test_next_key_counts(mode):
    noise = random.Noise(seed=7)
    draw = MODES[mode](noise.next_key)
    keys = np.stack([draw() for _ in range(4)])
    np.testing.assert_array_equal(keys, [[7, 0], [7, 1], [7, 2], [7, 3]])
    assert int(noise.count) == 4


def test_evaluation_keys_are_no_training_keys_and_move_nothing():
    noise = random.Noise(seed=7)
    training = {tuple(noise.next_key().numpy()) for _ in range(50)}
    evaluation = {tuple(noise.evaluation_key(step).numpy()) for step in range(50)}
    assert len(training) == len(evaluation) == 50
    assert not training & evaluation
    assert int(noise.count) == 50
    # Whatever the seed of another model is.
    others = {random.Noise(seed=seed).seed for seed in (0, 2**31 - 1)}
    assert not others & {seed for seed, _ in evaluation}


def test_evaluation_noise_is_unrelated_to_training_noise():
    noise = random.Noise(seed=7)
    training = random.normal((4000,), noise.next_key())
    evaluation = random.normal((4000,), noise.evaluation_key(0))
    assert abs(np.corrcoef(training, evaluation)[0, 1]) < 4 / np.sqrt(4000)


def test_the_count_is_saved(tmp_path):
    def model():
        x = keras.Input((3,))
        return keras.Model(x, kv.layers.Latent(2, seed=3)(x))

    first, second = model(), model()
    for _ in range(5):
        first(np.zeros((1, 3)), training=True)
    first.save_weights(tmp_path / "model.weights.h5")
    second.load_weights(tmp_path / "model.weights.h5")
    assert int(second.layers[1].noise.count) == 5
    again = [m(np.ones((1, 3)), training=True) for m in (first, second)]
    np.testing.assert_array_equal(*again)


def test_the_layer_round_trips_with_the_seed_that_was_drawn():
    noise = random.Noise()
    copy = random.Noise.from_config(noise.get_config())
    assert copy.seed == noise.seed
    np.testing.assert_array_equal(copy.next_key(), noise.next_key())


def test_set_random_seed_governs_a_seed_of_none():
    def draw():
        keras.utils.set_random_seed(12)
        return [random.check_seed(None) for _ in range(3)]

    assert draw() == draw()
    assert len(set(draw())) == 3


@pytest.mark.parametrize("seed", [-1, 2**31, 1.0, "7", True, [1]])
def test_seeds_that_are_none(seed):
    with pytest.raises(ValueError, match="`seed` must be"):
        random.Noise(seed)

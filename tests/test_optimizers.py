import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_vae as kv


def trained(optimizer, gradients):
    variable = keras.Variable([1.0, -1.0])
    for gradient in gradients:
        optimizer.apply([tf.constant(gradient, tf.float32)], [variable])
    return variable.numpy()


SMALL = [[0.3, -0.4], [1.2, 0.9], [-3.0, 4.0]]


def test_updates_that_are_made_are_those_of_adam():
    options = {"learning_rate": 0.1, "global_clipnorm": 2.0}
    adam = kv.optimizers.SkippingAdam(**options, skip_norm=5.0)
    with_spikes = [SMALL[0], [30.0, 0.0], SMALL[1], [np.nan, 0.0], SMALL[2]]
    found = trained(adam, with_spikes)
    expected = trained(keras.optimizers.Adam(**options), SMALL)
    np.testing.assert_array_equal(found, expected)
    assert (int(adam.skipped), int(adam.iterations)) == (2, 3)


def test_a_threshold_that_is_too_low_does_not_stop_training():
    adam = kv.optimizers.SkippingAdam(0.1, skip_norm=1e-3, max_skips=3)
    found = trained(adam, SMALL[1:2] * 12)
    expected = trained(keras.optimizers.Adam(0.1), SMALL[1:2] * 3)
    np.testing.assert_array_equal(found, expected)
    assert (int(adam.skipped), int(adam.iterations)) == (9, 3)
    # What is no number any more is seen in the end.
    adam = kv.optimizers.SkippingAdam(0.1, max_skips=3)
    assert np.isnan(trained(adam, [[np.nan, 0.0]] * 4)).any()


class Line(kv.BlockTraining, keras.Sequential):
    pass


def line(jit_compile, steps=4):
    model = Line([keras.Input((1,)), keras.layers.Dense(1, kernel_initializer="ones")])
    adam = kv.optimizers.SkippingAdam(0.05, skip_norm=50.0, max_skips=2)
    options = {"jit_compile": jit_compile, "steps_per_execution": steps}
    model.compile(adam, "mse", **options)
    return model


@pytest.mark.parametrize("jit_compile", [False, True])
def test_blocks_and_a_resumed_run_skip_alike(jit_compile, tmp_path):
    x = np.linspace(-1, 1, 8, dtype="float32")[:, None]
    y = 3 * x + 1
    y[2:4] = 1e4
    once = line(jit_compile)
    fit = {"batch_size": 2, "shuffle": False, "verbose": 0}
    once.fit(x, y, epochs=4, **fit)
    assert (int(once.optimizer.skipped), int(once.optimizer.iterations)) == (4, 12)
    without = Line(
        [keras.Input((1,)), keras.layers.Dense(1, kernel_initializer="ones")]
    )
    without.compile(keras.optimizers.Adam(0.05), "mse", jit_compile=False)
    left = np.delete(x, [2, 3], 0), np.delete(y, [2, 3], 0)
    without.fit(*left, epochs=4, **fit)
    for one, other in zip(once.weights, without.weights, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5)
    first = line(jit_compile)
    # Ends within a row of skipped updates.
    first.fit(x[:4], y[:4], epochs=1, **fit)
    first.save(tmp_path / "line.keras")
    resumed = keras.models.load_model(
        tmp_path / "line.keras", custom_objects={"Line": Line}
    )
    assert int(resumed.optimizer._in_a_row) == int(first.optimizer._in_a_row) == 1
    for model in (first, resumed):
        model.fit(x[2:4], y[2:4], epochs=2, **fit)
        # The second and the third in a row, of which the third is made.
        assert (int(model.optimizer.skipped), int(model.optimizer.iterations)) == (2, 2)
    for one, other in zip(first.weights, resumed.weights, strict=True):
        np.testing.assert_array_equal(one, other)


def test_two_replicas_skip_together(strategy):
    x = np.linspace(-1, 1, 8, dtype="float32")[:, None]
    y = 3 * x + 1
    y[4:] = 1e4
    one = line(jit_compile=False, steps=1)
    with strategy.scope():
        two = line(jit_compile=False, steps=1)
    for model in (one, two):
        model.fit(x, y, batch_size=4, epochs=3, shuffle=False, verbose=0)
    made = [int(tf.convert_to_tensor(m.optimizer.iterations)) for m in (one, two)]
    left_out = [int(tf.convert_to_tensor(m.optimizer.skipped)) for m in (one, two)]
    assert (made, left_out) == ([3, 3], [3, 3])
    for weight, other in zip(one.weights, two.weights, strict=True):
        np.testing.assert_allclose(weight.numpy(), other.numpy(), rtol=1e-5)


@pytest.mark.parametrize("wrong", [{"skip_norm": 0.0}, {"max_skips": 0}])
def test_what_is_no_threshold(wrong):
    (name,) = wrong
    with pytest.raises(ValueError, match=f"`{name}` must"):
        kv.optimizers.SkippingAdam(**wrong)

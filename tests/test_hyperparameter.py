import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_vae as kv


def following(schedule, **kwargs):
    """A hyperparameter that follows `schedule` on a step that can be set."""
    step = tf.Variable(0, dtype=tf.int64)
    hyperparameter = kv.Hyperparameter(0.5, **kwargs)
    hyperparameter.follow(schedule, step=lambda: step)
    return hyperparameter, step


def test_it_stays_where_it_is_without_a_schedule():
    hyperparameter = kv.Hyperparameter(0.5)
    hyperparameter.advance()
    assert float(hyperparameter.value) == 0.5
    assert hyperparameter.schedule is None
    assert not hyperparameter.trainable_variables


@pytest.mark.parametrize("jit_compile", [None, False, True])
def test_it_follows_the_schedule_exactly(jit_compile):
    schedule = kv.schedules.sigmoid(20)
    hyperparameter, step = following(schedule)
    advance = hyperparameter.advance
    if jit_compile is not None:
        advance = tf.function(advance, jit_compile=jit_compile)
    for now in (0, 1, 7, 19, 20, 100):
        step.assign(now)
        advance()
        expected = float(schedule(now))
        assert float(hyperparameter.value) == pytest.approx(expected, abs=1e-6)
        assert int(hyperparameter.last_step) == now


def test_the_offset_delays_the_schedule():
    hyperparameter, step = following(kv.schedules.linear(10))
    hyperparameter.offset.assign(100)
    step.assign(103)
    hyperparameter.advance()
    assert float(hyperparameter.value) == pytest.approx(0.3)
    assert int(hyperparameter.last_step) == 103


def test_release_keeps_the_value():
    hyperparameter, step = following(kv.schedules.linear(10))
    step.assign(4)
    hyperparameter.advance()
    hyperparameter.release()
    step.assign(9)
    hyperparameter.advance()
    assert float(hyperparameter.value) == pytest.approx(0.4)
    assert hyperparameter.schedule is None


def test_moving_it_does_not_trace_again():
    traces = []

    def schedule(step):
        traces.append(step)
        return tf.cast(step, tf.float32) / 10

    hyperparameter, step = following(schedule)
    advance = tf.function(hyperparameter.advance)
    for now in range(5):
        step.assign(now)
        advance()
        assert float(hyperparameter.value) == pytest.approx(now / 10)
    assert len(traces) == 1


def test_value_offset_and_last_step_are_saved(tmp_path):
    x = keras.Input((3,))
    first, second = (
        keras.Model(x, kv.layers.Latent(2, name="latent")(x)) for _ in range(2)
    )
    weight = first.get_layer("latent").objective.kl_weight
    weight.value.assign(0.1)
    weight.offset.assign(17)
    weight.last_step.assign(2**40)
    first.save_weights(tmp_path / "model.weights.h5")
    second.load_weights(tmp_path / "model.weights.h5")
    restored = second.get_layer("latent").objective.kl_weight
    assert float(restored.value) == np.float32(0.1)
    assert int(restored.offset) == 17
    assert int(restored.last_step) == 2**40


def test_the_config_holds_the_initial_value_not_the_current():
    hyperparameter, step = following(kv.schedules.linear(10), name="kl_weight")
    step.assign(4)
    hyperparameter.advance()
    copy = kv.Hyperparameter.from_config(hyperparameter.get_config())
    assert copy.get_config() == hyperparameter.get_config()
    assert copy.name == "kl_weight"
    assert float(copy.value) == 0.5


@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
def test_mixed_precision_does_not_round_it(policy):
    keras.config.set_dtype_policy(policy)

    class Scale(keras.layers.Layer):
        def __init__(self):
            super().__init__()
            self.hyperparameter = kv.Hyperparameter(0.1)

        def call(self, x):
            return tf.identity(tf.convert_to_tensor(self.hyperparameter.value))

    value = Scale()(np.zeros((1, 1)))
    assert value.dtype == tf.float32
    assert float(value) == np.float32(0.1)


def test_setting_it_by_hand_is_seen_by_a_compiled_function():
    hyperparameter = kv.Hyperparameter(1.0)
    twice = tf.function(lambda: 2 * hyperparameter.value, jit_compile=True)
    assert float(twice()) == 2.0
    hyperparameter.value.assign(4.0)
    assert float(twice()) == 8.0

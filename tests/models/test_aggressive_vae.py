"""Whose turn it is, and that nothing moves out of turn."""

import keras
import numpy as np
import pytest
import recipes
import tensorflow as tf

import keras_vae as kv
from keras_vae.models.aggressive_vae import InnerLoop

FIT = {"batch_size": 8, "shuffle": False, "verbose": 0}
X = recipes.binary_images()


def make(model=kv.AggressiveVAE, **kwargs):
    keras.utils.set_random_seed(1)
    built = recipes.mlp(model=model, **kwargs)
    built.build((None, *recipes.EVENT_SHAPE))
    return built


def values(variables):
    return [np.asarray(tf.convert_to_tensor(v)) for v in variables]


def assert_equal(these, others):
    for this, other in zip(these, others, strict=True):
        np.testing.assert_array_equal(this, other)


def decoder_turns(losses, window, max_steps):
    """He et al.'s loop in plain Python: which of the steps are the decoder's."""
    losses, turns = list(losses), []
    while losses:
        last, total = None, 0.0
        for step in range(1, max_steps + 1):
            if not losses:
                return turns
            turns.append(False)
            total += losses.pop(0)
            if step % window == 0:
                mean, total = total / window, 0.0
                if last is not None and not mean < last:
                    break
                last = mean
        if losses:
            turns.append(True)
            losses.pop(0)
    return turns


# === The inner loop ===


@pytest.mark.parametrize(
    ("window", "max_steps", "fall"),
    [(15, 100, 0.01), (3, 10, 0.1), (3, 10, 0.0), (4, 6, 5.0), (5, 5, 0.0), (1, 4, 0)],
)
def test_turns_are_those_of_the_loop(window, max_steps, fall):
    noise = np.random.default_rng(window).normal(size=300)
    losses = np.float32(100.0 - fall * np.arange(300) + noise)
    loop, seen = InnerLoop(window, max_steps), []

    @tf.function
    def step(loss):
        turns = loop.turns()
        loop.advance(loss)
        return turns

    for loss in losses:
        encodes, decodes = step(tf.constant(loss))
        assert bool(encodes) != bool(decodes)
        seen.append(bool(decodes))
    assert seen == decoder_turns(losses, window, max_steps)
    assert 0 < sum(seen)


def test_a_loss_that_is_no_number_ends_the_loop():
    losses = [2.0, np.nan, 1.0, 1.0, 1.0, 1.0]
    loop, seen = InnerLoop(2, 100), []
    for loss in losses:
        seen.append(bool(loop.turns()[1]))
        loop.advance(tf.constant(loss, tf.float32))
    assert seen == [False] * 4 + [True, False] == decoder_turns(losses, 2, 100)


# === The step ===


@pytest.mark.parametrize(
    "jit_compile", [False, pytest.param(True, marks=pytest.mark.slow)]
)
def test_only_the_weights_of_the_turn_move_and_no_moment_of_the_others(jit_compile):
    model = make(max_steps=2, posterior=kv.distributions.BatchNormalizedNormal())
    model.compile(keras.optimizers.Adam(1e-2), jit_compile=jit_compile)
    encoder = model.second_variables
    decoder = model.decoder.trainable_variables
    assert len(encoder) + len(decoder) == len(model.trainable_variables)
    model.make_train_function()
    encoders = (encoder, model.encoder_optimizer.variables)
    decoders = (decoder, model.optimizer.variables)
    for turn in (True, True, False, True, True, False):
        moving, still = (encoders, decoders) if turn else (decoders, encoders)
        before, standing = values(moving[0]), values([*still[0], *still[1]])
        model.train_on_batch(X)
        assert_equal(values([*still[0], *still[1]]), standing)
        assert not any(map(np.array_equal, values(moving[0]), before))
    assert int(model.encoder_optimizer.iterations) == 4
    assert int(model.optimizer.iterations) == 2


def test_after_the_phase_it_is_a_vae():
    plain, model = make(kv.VAE), make()
    model.aggressive = False
    histories = []
    for each in (plain, model):
        each.compile(keras.optimizers.Adam(1e-2), jit_compile=False)
        histories.append(each.fit(X, epochs=2, **FIT).history)
    for name, history in histories[0].items():
        assert history == histories[1][name]
    assert histories[1]["aggressive"] == [0.0, 0.0]
    assert_equal(values(model.trainable_variables), values(plain.trainable_variables))


def test_learned_scale_and_prior_belong_to_the_decoder():
    model = make(
        likelihood=kv.distributions.Normal(scale="shared"), prior="learned_normal"
    )
    encoder = {id(v) for v in model.second_variables}
    for part in (model.likelihood, model.latent.prior, model.decoder):
        assert part.trainable_variables
        assert not encoder & {id(v) for v in part.trainable_variables}
    for part in (model.encoder, model.latent.head):
        assert {id(v) for v in part.trainable_variables} <= encoder


def test_schedules_count_updates_of_the_decoder():
    model = make(max_steps=3)
    model.compile("adam", jit_compile=False)
    annealing = kv.KLAnnealing(kv.schedules.linear(4))
    # 20 steps, of which each fourth is the decoder's.
    history = model.fit(X, epochs=5, callbacks=[annealing], **FIT).history
    assert int(model.optimizer.iterations) == 5
    np.testing.assert_allclose(history["kl_weight"], [0, 0.25, 0.5, 0.75, 1.0])
    assert history["aggressive"] == [1.0] * 5


@pytest.mark.slow
def test_several_steps_per_execution_take_the_same_turns():
    models = []
    for steps in (1, 4):
        model = make(window=2, max_steps=5)
        model.compile("adam", jit_compile=False, steps_per_execution=steps)
        model.fit(X, epochs=4, **FIT)
        models.append(model)
    assert 0 < int(models[0].optimizer.iterations) < 8
    assert_equal(values(models[0].weights), values(models[1].weights))


def test_overflow_lowers_the_scale_of_whose_turn_it_is():
    keras.config.set_dtype_policy("mixed_float16")
    model = make(max_steps=30)
    scaled = keras.optimizers.LossScaleOptimizer
    adam = keras.optimizers.Adam
    model.compile(
        scaled(adam(1e-2), initial_scale=2.0**30),
        scaled(adam(1e-2), initial_scale=2.0**30),
        jit_compile=False,
    )
    for _ in range(30):
        model.train_on_batch(X)
    assert float(model.encoder_optimizer.dynamic_scale) < 2.0**30
    assert 0 < int(model.encoder_optimizer.iterations) < 30
    assert float(model.optimizer.dynamic_scale) == 2.0**30
    assert int(model.optimizer.iterations) == 0
    assert np.isfinite(np.concatenate([v.ravel() for v in values(model.weights)])).all()


@pytest.mark.slow
def test_replicas_take_the_same_turns(strategy):
    with strategy.scope():
        model = make(max_steps=1)
        model.compile("adam")
    decoder = values(model.decoder.trainable_variables)
    data = tf.data.Dataset.from_tensor_slices((X, X)).batch(16)
    model.fit(data.take(1), verbose=0)
    assert_equal(values(model.decoder.trainable_variables), decoder)
    encoder = values(model.second_variables)
    model.fit(data.take(1), verbose=0)
    assert_equal(values(model.second_variables), encoder)
    moved = values(model.decoder.trainable_variables)
    assert not any(map(np.array_equal, moved, decoder))
    model.fit(data, epochs=2, verbose=0)
    optimizers = model.optimizer.variables + model.encoder_optimizer.variables
    for variable in model.variables + optimizers:
        copies = strategy.experimental_local_results(variable.value)
        assert len(copies) == 2
        np.testing.assert_array_equal(copies[0].numpy(), copies[1].numpy())


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"window": 0}, "`window` must be a positive integer"),
        ({"max_steps": 2.5}, "`max_steps` must be a positive integer"),
    ],
)
def test_bad_arguments(kwargs, message):
    with pytest.raises(ValueError, match=message):
        make(**kwargs)


def test_one_optimiser_cannot_be_both():
    adam = keras.optimizers.Adam()
    with pytest.raises(ValueError, match="`encoder_optimizer` must not be `optimizer`"):
        make().compile(adam, adam)

"""Tests of what "auto" stands for."""

import keras
import numpy as np
import pytest

import keras_vae as kv
from keras_vae.training import choice
from keras_vae.training.choice import AUTO


def model_of(*layers):
    model = keras.Sequential(layers)
    model.compile("adam", "mse")
    return model


def dense():
    return model_of(keras.layers.Dense(3))


def convolutional():
    return model_of(keras.Sequential([keras.layers.Conv2DTranspose(3, 3)]))


def recurrent():
    return model_of(keras.layers.LSTM(3))


def not_compilable():
    return model_of(keras.layers.StringLookup(vocabulary=["a"]))


def choose(
    model,
    num_batches=600,
    epochs=1,
    callbacks=(),
    jit=AUTO,
    steps=AUTO,
    resident=False,
):
    num_steps = num_batches and num_batches * epochs
    return choice.choose(model, num_batches, num_steps, callbacks, jit, steps, resident)


@pytest.mark.parametrize(
    ("make", "jit_compile", "steps"),
    [
        (dense, True, 60),
        (convolutional, False, 20),
        (recurrent, True, 1),
        (not_compilable, False, 20),
    ],
)
def test_auto_goes_by_what_the_model_contains(make, jit_compile, steps):
    chosen = choose(make())
    assert (chosen.jit_compile, chosen.steps) == (jit_compile, steps)


def test_a_model_may_name_a_reason_against_xla():
    model = recurrent()
    model.reason_against_xla = "its batches differ in length"
    chosen = choose(model)
    assert not chosen.jit_compile
    assert chosen.reason == "its batches differ in length"
    words = kv.datasets.Vocabulary(["a"])
    assert "length" in choice.reason_against_xla(kv.SentenceVAE(words, 2, units=4))


def test_blocks_of_resident_data_are_longer():
    assert choose(dense(), resident=True).steps == 200
    assert choose(dense(), resident=True, jit=False).steps == 20
    assert choose(convolutional(), resident=True).steps == 20
    assert choose(convolutional(), resident=True, jit=True).steps == 20


def test_blocks_of_large_models_stay_short():
    small, large = dense(), dense()
    small.build((None, choice.LARGE // 3 - 1))
    large.build((None, choice.LARGE // 3))
    assert choose(small, resident=True).steps == 200
    assert choose(large, resident=True).steps == 60


def test_short_fits_do_not_compile():
    assert choose(dense(), 100, epochs=4).jit_compile is False
    assert choose(dense(), 100, epochs=5).jit_compile is True
    assert choose(dense(), None).steps == choice.XLA_BLOCK


@pytest.mark.parametrize("num_batches", [1, 5, 63, 64, 65, 100, 128, 599, 600, 1000])
def test_blocks_fill_an_epoch_evenly(num_batches):
    steps = choice.even_blocks(64, num_batches)
    blocks = -(-num_batches // steps)
    assert steps <= 64
    assert blocks == -(-num_batches // 64)
    assert blocks * steps - num_batches < blocks


@pytest.mark.parametrize("make", [dense, convolutional, recurrent])
def test_numbers_are_obeyed(make):
    for jit in (True, False):
        chosen = choose(make(), jit=jit, steps=13)
        assert (chosen.jit_compile, chosen.steps) == (jit, 13)
        assert choose(make(), jit=jit).jit_compile is jit
    assert choose(make(), steps=13).steps == 13
    assert choose(make(), 10, steps=13).steps == 13


class Hooked(keras.callbacks.Callback):
    def on_train_batch_begin(self, batch, logs=None):
        pass


class Inherits(Hooked):
    pass


class EpochsOnly(keras.callbacks.Callback):
    def on_epoch_end(self, epoch, logs=None):
        pass


@pytest.mark.parametrize(
    ("callback", "watches"),
    [
        (Hooked(), True),
        (Inherits(), True),
        (EpochsOnly(), False),
        (keras.callbacks.LambdaCallback(on_train_batch_end=lambda *_: None), True),
        (keras.callbacks.LambdaCallback(on_epoch_end=lambda *_: None), False),
        (keras.callbacks.TerminateOnNaN(), False),
        (keras.callbacks.BackupAndRestore("backup"), False),
        (keras.callbacks.ModelCheckpoint("model.keras"), False),
        (kv.KLAnnealing(kv.schedules.linear(10)), False),
    ],
)
def test_only_callbacks_of_the_user_get_each_batch(callback, watches):
    assert choice.watches_batches(callback) is watches
    assert (choose(dense(), callbacks=[callback]).steps == 1) is watches


def test_a_callback_of_the_user_sees_each_batch_of_fit(monkeypatch):
    monkeypatch.setattr(choice, "SHORT", 0)
    seen = []
    hook = keras.callbacks.LambdaCallback(
        on_train_batch_end=lambda batch, logs: seen.append(batch)
    )
    model = kv.VAE(
        kv.networks.mlp_encoder([4]), kv.networks.mlp_decoder([4], (3,)), 2, seed=0
    )
    model.compile()
    model.fit(np.zeros((45, 3)), batch_size=10, verbose=0, callbacks=[hook])
    assert seen == [0, 1, 2, 3, 4]


def test_replicas_and_eager_steps_are_keras_own(strategy):
    model = dense()
    model.run_eagerly = True
    assert choose(model).steps == 1
    with strategy.scope():
        model = dense()
    chosen = choose(model)
    assert (chosen.jit_compile, chosen.steps) == (False, 1)

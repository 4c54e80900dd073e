"""Schedules and callbacks are pickled, as jobs of a pool and of `ray` are."""

import copy
import pickle

import keras
import numpy as np
import pytest

import keras_vae as kv
from keras_vae import schedules

X = np.random.default_rng(0).integers(0, 2, (8, 4)).astype("float32")
STEPS = np.arange(0, 1000, 7)


def _decay(step):
    return 1 / (1 + step)


SCHEDULES = {
    "constant": schedules.constant(0.5),
    "linear": schedules.linear("50%"),
    "sigmoid": schedules.sigmoid("3 epochs", midpoint=0.3, steepness=7.0),
    "cosine": schedules.cosine(200, end=0.7),
    "exponential": schedules.exponential("10%", start=0.01),
    "cyclical": schedules.cyclical("100%", num_cycles=3, ratio=0.3, shape="sigmoid"),
    "repeat": schedules.repeat(schedules.linear(50), "1 epoch"),
    "restart": schedules.restart(schedules.cosine(50), [200, "30%"]),
    "piecewise": schedules.piecewise([100, "50%"], [0.0, 0.5, 1.0]),
    "join": schedules.join(["linear", schedules.constant(0.2)], ["60%"]),
    "delay": schedules.delay(schedules.sigmoid(100), "2 epochs"),
    "custom": schedules.custom(_decay, end_step=900),
    "a schedule of Keras": schedules.custom(
        keras.optimizers.schedules.ExponentialDecay(1.0, 100, 0.5)
    ),
}


def through_pickle(value):
    return pickle.loads(pickle.dumps(value))


@pytest.mark.parametrize("copied", [through_pickle, copy.deepcopy, copy.copy])
@pytest.mark.parametrize("name", SCHEDULES)
def test_copies_of_schedules_have_equal_values(name, copied):
    known = {"total_steps": 1000, "steps_per_epoch": 100}
    schedule = SCHEDULES[name]
    for one in (schedule, schedule.resolve(**known)):
        other = copied(one)
        assert repr(other).split(" at ")[0] == repr(one).split(" at ")[0]
        one, other = one.resolve(**known), other.resolve(**known)
        assert other.end_step == one.end_step
        np.testing.assert_array_equal(other(STEPS), one(STEPS))
    if name != "constant":
        assert len(np.unique(one(STEPS))) > 1


def test_every_kind_of_schedule_is_pickled():
    kinds = {name for name in schedules.__all__ if name not in ("Schedule", "get")}
    assert kinds <= set(SCHEDULES)


CALLBACKS = {
    "AggressiveStopping": lambda: kv.AggressiveStopping(X, batch_size=4),
    "CollapseMonitor": lambda: kv.CollapseMonitor(X),
    "CurveLoss": lambda: kv.callbacks.CurveLoss(X, betas=[0.1, 1.0]),
    "DivergenceGuard": lambda: kv.callbacks.DivergenceGuard(),
    "EarlyStopping": lambda: kv.EarlyStopping(patience=3),
    "HyperparameterScheduler": lambda: kv.callbacks.HyperparameterScheduler(
        "capacity", schedules.linear(10)
    ),
    "KLAnnealing": lambda: kv.KLAnnealing(schedules.sigmoid("50%"), restart=True),
    "ModelCheckpoint": lambda: kv.ModelCheckpoint("best.keras"),
    "StepHistory": lambda: kv.callbacks.StepHistory(every=10, path="steps.csv"),
    "TensorBoard": lambda: kv.TensorBoard("logs", X),
}


@pytest.mark.parametrize("copied", [through_pickle, copy.deepcopy])
@pytest.mark.parametrize("name", CALLBACKS)
def test_copies_of_callbacks_have_equal_arguments(name, copied):
    one = CALLBACKS[name]()
    other = copied(one)
    assert type(other) is type(one)
    assert vars(other).keys() == vars(one).keys()
    for key, value in vars(one).items():
        if isinstance(value, np.ndarray):
            np.testing.assert_array_equal(vars(other)[key], value)
        elif isinstance(value, int | float | str | bool | None):
            assert vars(other)[key] == value


def test_every_callback_is_pickled():
    names = {
        name
        for name in kv.callbacks.__all__
        if issubclass(getattr(kv.callbacks, name), keras.callbacks.Callback)
    }
    assert names == set(CALLBACKS)


@pytest.mark.parametrize("copied", [through_pickle, copy.deepcopy])
@pytest.mark.slow
def test_a_copy_of_a_callback_trains_alike(copied):
    weights = []
    for callback in (
        kv.KLAnnealing(schedules.linear("50%")),
        copied(kv.KLAnnealing(schedules.linear("50%"))),
    ):
        keras.utils.set_random_seed(0)
        dense = keras.layers.Dense
        model = kv.VAE(dense(3), dense(4), latent_dim=2, seed=0)
        model.compile("adam")
        history = model.fit(X, batch_size=2, epochs=4, verbose=0, callbacks=[callback])
        np.testing.assert_allclose(history.history["kl_weight"], [3 / 8, 7 / 8, 1, 1])
        weights.append(model.get_weights())
    for one, other in zip(*weights, strict=True):
        np.testing.assert_array_equal(one, other)

import keras
import matrix
import numpy as np
import pytest

import keras_vae as kv
from keras_vae.callbacks import EarlyStopping
from keras_vae.callbacks.monitor import ramp_end

X = np.random.default_rng(0).uniform(size=(16, 4)).astype("float32")
STEPS = 2  # in an epoch


class Script(keras.callbacks.Callback):
    """Says what was measured, in place of the model."""

    def __init__(self, values, name="val_negative_elbo"):
        super().__init__()
        self.values, self.name = values, name

    def on_epoch_end(self, epoch, logs=None):
        logs[self.name] = self.values[epoch]


def make_vae():
    vae = kv.VAE(
        kv.networks.mlp_encoder([4]), kv.networks.mlp_decoder([4], (4,)), 2, seed=0
    )
    vae.compile("adam")
    return vae


def fit(vae, callbacks, epochs, **kwargs):
    return vae.fit(
        X, batch_size=8, epochs=epochs, verbose=0, callbacks=callbacks, **kwargs
    )


def epochs_run(callbacks, epochs):
    return len(fit(make_vae(), callbacks, epochs).epoch)


RISING = Script([1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0])


def test_without_a_ramp_it_is_that_of_keras():
    ours, theirs = (
        epochs_run([RISING, callback], 8)
        for callback in (
            EarlyStopping(patience=3),
            keras.callbacks.EarlyStopping("val_negative_elbo", patience=3, mode="min"),
        )
    )
    assert ours == theirs == 4


@pytest.mark.parametrize("order", [1, -1])
def test_it_waits_for_the_ramp_in_any_order(order):
    # Steps 0 to 5 are on the ramp: three epochs. The fourth is the first of the two
    # more that patience allows.
    ramp = kv.KLAnnealing(kv.schedules.linear(3 * STEPS))
    callbacks = [ramp, EarlyStopping(patience=2)][::order]
    assert epochs_run([RISING, *callbacks], 8) == 6


@pytest.mark.parametrize(
    "schedule",
    [kv.schedules.repeat(kv.schedules.linear(4), 4), kv.schedules.constant(0.5)],
)
def test_nothing_waits_for_a_schedule_that_never_settles_or_never_moves(schedule):
    callbacks = [RISING, EarlyStopping(patience=2), kv.KLAnnealing(schedule)]
    assert epochs_run(callbacks, 8) == 3


def test_the_ramp_of_a_second_fit_counts_from_its_restart():
    vae = make_vae()
    fit(vae, [kv.KLAnnealing(kv.schedules.linear(STEPS))], 2)
    again = kv.KLAnnealing(kv.schedules.linear(3 * STEPS), restart=True)
    history = fit(vae, [RISING, again, EarlyStopping(patience=2)], 8)
    assert len(history.epoch) == 6


def test_the_end_of_the_ramp_is_the_last_of_several_layers():
    x = keras.Input((4,))
    h = kv.layers.Latent(2, seed=0, name="upper")(x)
    model = keras.Model(x, kv.layers.Latent(2, seed=0, name="lower")(h))
    model.compile("adam")
    seen = []

    class Reader(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            seen.append(ramp_end(model))

    ramps = [
        kv.KLAnnealing(kv.schedules.linear(steps), layers=[name])
        for name, steps in (("upper", 3), ("lower", 2))
    ]
    fit(model, [*ramps, Reader()], 2)
    assert seen == [3, 3]
    assert ramp_end(model) == 0


def test_best_weights_are_of_the_epochs_after_the_ramp():
    vae = make_vae()
    weights = []

    class Recorder(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            weights.append(vae.get_weights())

    stopping = EarlyStopping(patience=9, restore_best_weights=True)
    ramp = kv.KLAnnealing(kv.schedules.linear(2 * STEPS))
    values = Script([0.1, 0.2, 5.0, 4.0, 6.0])
    fit(vae, [values, Recorder(), ramp, stopping], 5)
    assert stopping.best_epoch == 3
    for mine, theirs in zip(vae.get_weights(), weights[3], strict=True):
        np.testing.assert_array_equal(mine, theirs)


def test_it_says_once_what_it_waits_for(capsys):
    ramp = kv.KLAnnealing(kv.schedules.linear(2 * STEPS))
    fit(make_vae(), [RISING, ramp, EarlyStopping(patience=9, verbose=1)], 4)
    out = capsys.readouterr().out
    assert out.count("EarlyStopping compares epochs once the ramp") == 1
    assert "after 4 optimizer steps; 2 are done" in out


def test_without_validation_data_it_names_the_fix():
    vae = make_vae()
    ramp = kv.KLAnnealing(kv.schedules.linear(2 * STEPS))
    with pytest.raises(ValueError, match="Pass `validation_data=") as error:
        fit(vae, [ramp, EarlyStopping()], 4)
    assert "monitor 'negative_elbo'" in str(error.value)
    # Before the second epoch, although the ramp goes on.
    assert int(vae.optimizer.iterations) == STEPS


def test_a_name_that_is_not_in_the_logs():
    with pytest.raises(ValueError, match="not among .*'val_loss'.*one of these"):
        fit(
            make_vae(), [EarlyStopping("val_elbo", mode="max")], 2, validation_data=(X,)
        )


@pytest.mark.parametrize("validation_freq", [2, [2, 4]])
def test_epochs_that_are_not_validated_do_not_count(validation_freq):
    stopping = EarlyStopping(patience=1, validation_freq=validation_freq)
    history = fit(
        make_vae(),
        [stopping],
        4,
        validation_data=(X,),
        validation_freq=validation_freq,
    )
    assert stopping.best == min(history.history["val_negative_elbo"])


@pytest.mark.parametrize(
    ("monitor", "mode", "resolved"),
    [
        ("val_negative_elbo", "auto", "min"),
        ("kl_loss", "auto", "min"),
        ("val_negative_elbo", "max", "max"),
        ("val_accuracy", "auto", "auto"),
    ],
)
def test_mode(monitor, mode, resolved):
    assert EarlyStopping(monitor, mode=mode).mode == resolved


# === Values that are not finite ===


@pytest.mark.parametrize("bad", matrix.first(1, [np.nan, np.inf, -np.inf]))
def test_a_value_that_is_not_finite_is_never_the_best(bad):
    vae, weights = make_vae(), []

    class Recorder(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            weights.append(vae.get_weights())

    stopping = EarlyStopping(patience=3, restore_best_weights=True)
    values = Script([bad, 2.0, 1.0, bad, bad, bad, 0.5])
    with pytest.warns(UserWarning, match=f"is {bad} after epoch 1"):
        history = fit(vae, [values, Recorder(), stopping], 7)
    # They count as epochs without improvement.
    assert len(history.epoch) == 6
    assert (stopping.best, stopping.best_epoch) == (1.0, 2)
    for mine, theirs in zip(vae.get_weights(), weights[2], strict=True):
        np.testing.assert_array_equal(mine, theirs)


def test_if_all_are_nan_it_stops_and_restores_nothing():
    vae = make_vae()
    stopping = EarlyStopping(patience=2, restore_best_weights=True)
    with pytest.warns(UserWarning, match="never the best of EarlyStopping"):
        history = fit(vae, [Script([np.nan] * 5), stopping], 5)
    assert len(history.epoch) == 2
    assert stopping.best is None
    assert stopping.best_weights is None


def test_nan_before_start_from_epoch_costs_no_patience():
    stopping = EarlyStopping(patience=2, start_from_epoch=3)
    with pytest.warns(UserWarning, match="never the best"):
        assert epochs_run([Script([np.nan] * 8), stopping], 8) == 5

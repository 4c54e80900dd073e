import errno
import json
import os

import keras
import matrix
import numpy as np
import pytest

import keras_vae as kv
from keras_vae.callbacks import ModelCheckpoint

X = np.random.default_rng(0).uniform(size=(16, 4)).astype("float32")
STEPS = 2  # in an epoch


class Script(keras.callbacks.Callback):
    """Says what was measured, in place of the model."""

    def __init__(self, values, name="val_negative_elbo"):
        super().__init__()
        self.values, self.name = values, name

    def on_epoch_end(self, epoch, logs=None):
        logs[self.name] = self.values[epoch]


class Killed(Exception):
    pass


class Kill(keras.callbacks.Callback):
    def __init__(self, epoch):
        super().__init__()
        self.epoch = epoch

    def on_epoch_begin(self, epoch, logs=None):
        if epoch == self.epoch:
            raise Killed


def make_vae():
    vae = kv.VAE(
        kv.networks.mlp_encoder([4]), kv.networks.mlp_decoder([4], (4,)), 2, seed=0
    )
    vae.build((None, 4))
    vae.compile("adam")
    return vae


def fit(vae, callbacks, epochs, **kwargs):
    return vae.fit(
        X, batch_size=8, epochs=epochs, verbose=0, callbacks=callbacks, **kwargs
    )


def step_of(path):
    return int(keras.models.load_model(path).optimizer.iterations)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "run" / "best.keras"


# === Which model is kept ===


def test_without_a_ramp_the_best_is_kept(path):
    fit(make_vae(), [Script([3.0, 1.0, 2.0]), ModelCheckpoint(path)], 3)
    assert step_of(path) == 2 * STEPS
    # Nothing is left of the writing.
    assert sorted(os.listdir(path.parent)) == ["best.keras", "best.keras.json"]


@pytest.mark.parametrize("order", [1, -1])
def test_the_best_epoch_after_the_ramp_is_kept_in_any_order(order, path):
    ramp = kv.KLAnnealing(kv.schedules.linear(2 * STEPS))
    values = Script([0.1, 0.2, 5.0, 4.0, 6.0])
    fit(make_vae(), [values, *[ramp, ModelCheckpoint(path)][::order]], 5)
    assert step_of(path) == 4 * STEPS
    assert json.loads((path.parent / "best.keras.json").read_text()) == {
        "best": 4.0,
        "epoch": 4,
        "monitor": "val_negative_elbo",
    }


def test_what_is_really_measured_is_kept(path):
    history = fit(make_vae(), [ModelCheckpoint(path)], 3, validation_data=(X,)).history
    kept = keras.models.load_model(path)
    scores = kept.evaluate(X, batch_size=8, verbose=0, return_dict=True)
    assert scores["negative_elbo"] == pytest.approx(
        min(history["val_negative_elbo"]), rel=1e-6
    )


def test_a_schedule_that_never_settles_holds_nothing_up(path):
    ramp = kv.KLAnnealing(kv.schedules.repeat(kv.schedules.linear(4), 4))
    fit(make_vae(), [Script([1.0, 2.0]), ramp, ModelCheckpoint(path)], 2)
    assert step_of(path) == STEPS


@pytest.mark.filterwarnings("ignore:`fit` will end after:UserWarning")
@pytest.mark.parametrize("order", [1, -1])
@pytest.mark.parametrize("duration", matrix.first(1, [3 * STEPS, 99]))
def test_if_the_run_ends_before_the_ramp_the_last_is_kept(duration, order, path):
    ramp = kv.KLAnnealing(kv.schedules.linear(duration))
    callbacks = [ramp, ModelCheckpoint(path)][::order]
    with pytest.warns(UserWarning, match="not the best") as warned:
        fit(make_vae(), [Script([1.0, 2.0, 3.0]), *callbacks], 3)
    (text,) = [str(w.message) for w in warned if "not the best" in str(w.message)]
    assert (
        f"after 6 optimizer steps, but the ramp of `kl_weight` takes {duration}" in text
    )
    assert 'duration="50%"' in text
    assert step_of(path) == 3 * STEPS
    assert os.listdir(path.parent) == ["best.keras"]


@pytest.mark.slow
def test_if_no_epoch_was_validated_the_last_is_kept(path):
    checkpoint = ModelCheckpoint(path, validation_freq=5)
    with pytest.warns(UserWarning, match="before an epoch with 'val_negative_elbo'"):
        fit(make_vae(), [checkpoint], 2, validation_data=(X,), validation_freq=5)
    assert step_of(path) == 2 * STEPS


def test_saving_every_epoch_waits_for_nothing(tmp_path):
    ramp = kv.KLAnnealing(kv.schedules.linear(2 * STEPS))
    checkpoint = ModelCheckpoint(
        tmp_path / "{epoch}-{kl_loss:.0f}.weights.h5",
        save_best_only=False,
        save_weights_only=True,
    )
    fit(make_vae(), [ramp, checkpoint], 3)
    assert [name[0] for name in sorted(os.listdir(tmp_path))] == ["1", "2", "3"]
    assert all(name.endswith(".weights.h5") for name in os.listdir(tmp_path))


def test_saving_every_n_batches(tmp_path):
    checkpoint = ModelCheckpoint(
        tmp_path / "{epoch}-{batch}.keras", save_best_only=False, save_freq=1
    )
    fit(make_vae(), [checkpoint], 1)
    assert sorted(os.listdir(tmp_path)) == ["1-1.keras", "1-2.keras"]


def test_it_says_what_it_does(path, capsys):
    ramp = kv.KLAnnealing(kv.schedules.linear(STEPS))
    values = Script([1.0, 2.0, 1.5, 3.0])
    fit(make_vae(), [values, ramp, ModelCheckpoint(path, verbose=1)], 4)
    out = capsys.readouterr().out
    assert out.count("compares epochs once the ramp of `kl_weight` has ended") == 1
    assert out.count("improved from") == 2
    assert out.count("did not improve") == 1


# === Going on ===


@pytest.mark.slow
def test_a_resumed_run_keeps_the_better_model_of_the_killed_one(path, tmp_path):
    values = Script([3.0, 1.0, 4.0, 2.0, 5.0])

    def run(*more):
        backup = keras.callbacks.BackupAndRestore(tmp_path / "backup")
        fit(make_vae(), [values, backup, ModelCheckpoint(path), *more], 5)

    with pytest.raises(Killed):
        run(Kill(3))
    run()
    assert step_of(path) == 2 * STEPS


@pytest.mark.slow
def test_a_resumed_run_replaces_a_worse_model(path, tmp_path):
    values = Script([3.0, 2.0, 4.0, 1.0, 5.0])

    def run(*more):
        backup = keras.callbacks.BackupAndRestore(tmp_path / "backup")
        fit(make_vae(), [values, ModelCheckpoint(path), backup, *more], 5)

    with pytest.raises(Killed):
        run(Kill(3))
    run()
    assert step_of(path) == 4 * STEPS


@pytest.mark.slow
def test_a_new_run_replaces_the_model_of_an_old_one(path):
    fit(make_vae(), [Script([1.0]), ModelCheckpoint(path)], 1)
    fit(make_vae(), [Script([3.0, 2.0, 4.0]), ModelCheckpoint(path)], 3)
    assert step_of(path) == 2 * STEPS


@pytest.mark.slow
def test_the_best_of_another_name_is_not_compared(path):
    vae = make_vae()
    fit(vae, [Script([1.0]), ModelCheckpoint(path)], 1)
    checkpoint = ModelCheckpoint(path, monitor="loss")
    fit(vae, [checkpoint, Script([9.0], "loss")][::-1], 1)
    assert checkpoint.best == 9.0
    assert step_of(path) == 2 * STEPS


@pytest.mark.filterwarnings("ignore:`fit` will end after:UserWarning")
@pytest.mark.slow
def test_a_model_saved_for_want_of_a_better_one_takes_no_best_value(path):
    fit(make_vae(), [Script([1.0]), ModelCheckpoint(path)], 1)
    ramp = kv.KLAnnealing(kv.schedules.linear(2 * STEPS))
    vae = make_vae()
    with pytest.warns(UserWarning, match="not the best"):
        fit(vae, [Script([5.0, 5.0]), ramp, ModelCheckpoint(path)], 2)
    fit(vae, [Script([7.0]), ModelCheckpoint(path)], 1)
    assert step_of(path) == 3 * STEPS


def test_a_model_is_complete_at_any_time(path, monkeypatch):
    vae = make_vae()
    fit(vae, [Script([3.0]), ModelCheckpoint(path)], 1)

    def save(filepath, **kwargs):
        with open(filepath, "w") as file:
            file.write("half")
        raise OSError("the disk is full")

    monkeypatch.setattr(vae, "save", save)
    with pytest.raises(OSError, match="the disk is full"):
        fit(vae, [Script([1.0]), ModelCheckpoint(path)], 1)
    assert step_of(path) == STEPS
    assert sorted(os.listdir(path.parent)) == ["best.keras", "best.keras.json"]


# === Another run with the same callback ===


def test_a_second_run_begins_anew(path):
    checkpoint = ModelCheckpoint(path)
    fit(make_vae(), [Script([1.0, 2.0]), checkpoint], 2)
    assert step_of(path) == STEPS
    fit(make_vae(), [Script([5.0, 4.0, 6.0]), checkpoint], 3)
    assert checkpoint.best == 4.0
    assert step_of(path) == 2 * STEPS


@pytest.mark.slow
def test_the_same_model_goes_on_with_its_best(path):
    checkpoint, vae = ModelCheckpoint(path), make_vae()
    fit(vae, [Script([1.0, 2.0]), checkpoint], 2)
    fit(vae, [Script([5.0, 4.0]), checkpoint], 2)
    assert checkpoint.best == 1.0
    assert step_of(path) == STEPS


@pytest.mark.slow
def test_another_model_that_goes_on_has_the_best_of_the_file(path, tmp_path):
    checkpoint = ModelCheckpoint(path)
    fit(make_vae(), [Script([3.0]), checkpoint], 1)
    loaded = keras.models.load_model(path)
    fit(make_vae(), [Script([1.0]), ModelCheckpoint(tmp_path / "other.keras")], 1)
    fit(loaded, [Script([4.0, 2.0]), checkpoint], 2)
    assert step_of(path) == 3 * STEPS


@pytest.mark.slow
def test_a_threshold_holds_in_each_run(path):
    checkpoint = ModelCheckpoint(path, initial_value_threshold=2.0)
    fit(make_vae(), [Script([1.0]), checkpoint], 1)
    fit(make_vae(), [Script([3.0, 1.5]), checkpoint], 2)
    assert checkpoint.best == 1.5
    assert step_of(path) == 2 * STEPS


@pytest.mark.slow
def test_each_run_says_what_it_waits_for(path, capsys):
    checkpoint = ModelCheckpoint(path, verbose=1)
    for _ in range(2):
        ramp = kv.KLAnnealing(kv.schedules.linear(STEPS))
        fit(make_vae(), [Script([1.0, 2.0]), ramp, checkpoint], 2)
    assert capsys.readouterr().out.count("compares epochs once the ramp") == 2


# === Values that are not finite ===


@pytest.mark.parametrize("bad", matrix.first(1, [np.nan, np.inf, -np.inf]))
@pytest.mark.parametrize("first", [True, False])
def test_a_value_that_is_not_finite_is_never_the_best(bad, first, path):
    values = [bad, 2.0, 3.0] if first else [2.0, bad, 3.0]
    checkpoint = ModelCheckpoint(path)
    with pytest.warns(UserWarning, match=f"is {bad} after epoch {2 - first}") as warned:
        fit(make_vae(), [Script(values), checkpoint], 3)
    assert len([w for w in warned if "never the best" in str(w.message)]) == 1
    assert checkpoint.best == 2.0
    assert step_of(path) == (1 + first) * STEPS


def test_maximised_values_too(path):
    checkpoint = ModelCheckpoint(path, monitor="val_score", mode="max")
    with pytest.warns(UserWarning, match="`val_score` is inf"):
        fit(make_vae(), [Script([1.0, np.inf, 2.0], "val_score"), checkpoint], 3)
    assert step_of(path) == 3 * STEPS


def test_if_all_are_nan_nothing_is_saved(path):
    with (
        pytest.warns(UserWarning, match="is nan after epoch 1"),
        pytest.warns(UserWarning, match="No model was saved .*: no epoch had a finite"),
    ):
        fit(make_vae(), [Script([np.nan] * 2), ModelCheckpoint(path)], 2)
    assert not path.parent.exists()


@pytest.mark.filterwarnings("ignore:`fit` will end after:UserWarning")
def test_a_run_of_nan_that_ends_before_the_ramp_saves_nothing(path):
    ramp = kv.KLAnnealing(kv.schedules.linear(99))
    with (
        pytest.warns(UserWarning, match="is nan after epoch 1"),
        pytest.warns(UserWarning, match="No model was saved"),
    ):
        fit(make_vae(), [Script([np.nan] * 2), ramp, ModelCheckpoint(path)], 2)
    assert not path.exists()


@pytest.mark.filterwarnings("ignore:`fit` will end after:UserWarning")
@pytest.mark.filterwarnings("ignore:`val_negative_elbo` is nan:UserWarning")
def test_a_nan_before_the_ramp_ends_does_not_keep_the_last_model_from_being_saved(path):
    ramp = kv.KLAnnealing(kv.schedules.linear(99))
    with pytest.warns(UserWarning, match="The last model was saved"):
        fit(make_vae(), [Script([np.nan, 2.0]), ramp, ModelCheckpoint(path)], 2)
    assert step_of(path) == 2 * STEPS


@pytest.mark.filterwarnings("ignore:`val_negative_elbo` is nan:UserWarning")
def test_an_epoch_that_was_not_validated_after_nan_is_not_saved(path):
    checkpoint = ModelCheckpoint(path, validation_freq=2)
    with pytest.warns(UserWarning, match="No model was saved"):
        fit(make_vae(), [Script([1.0, np.nan, 1.0]), checkpoint], 3)
    assert not path.exists()


def test_a_nan_that_an_earlier_version_took_for_the_best_is_replaced(path):
    vae = make_vae()
    fit(vae, [Script([1.0]), ModelCheckpoint(path)], 1)
    best = {"epoch": 1, "monitor": "val_negative_elbo", "best": float("nan")}
    (path.parent / "best.keras.json").write_text(json.dumps(best))
    fit(vae, [Script([9.0]), ModelCheckpoint(path)], 1)
    assert step_of(path) == 2 * STEPS


# === Errors ===


@pytest.mark.parametrize(
    "text", matrix.first(1, ["", "{}", '{"epoch": 1, "mon', "[1]"])
)
def test_a_best_value_that_cannot_be_read_names_its_file(text, path):
    vae = make_vae()
    fit(vae, [Script([1.0]), ModelCheckpoint(path)], 1)
    (path.parent / "best.keras.json").write_text(text)
    with pytest.raises(ValueError, match=r"(?s)best.keras.json. Remove that file"):
        fit(vae, [Script([2.0]), ModelCheckpoint(path)], 1)
    assert int(vae.optimizer.iterations) == STEPS


@pytest.mark.slow
def test_a_full_disk_names_the_file(path, monkeypatch):
    vae = make_vae()

    def save(filepath, **kwargs):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(vae, "save", save)
    with pytest.raises(OSError, match=r"No space left on device: .*best.keras"):
        fit(vae, [Script([1.0]), ModelCheckpoint(path)], 1)


def test_without_validation_data_it_names_the_fix(path):
    vae = make_vae()
    with pytest.raises(ValueError, match="Pass `validation_data=.*`validation_freq`"):
        fit(vae, [ModelCheckpoint(path)], 2)
    assert int(vae.optimizer.iterations) == STEPS


def test_arguments_that_cannot_be(tmp_path, path):
    directory = tmp_path / "model.keras"
    directory.mkdir()
    with pytest.raises(ValueError, match="`filepath` must name a file"):
        ModelCheckpoint(directory)
    with pytest.raises(ValueError, match='`save_freq` must be "epoch"'):
        ModelCheckpoint(path, save_freq=10)
    with pytest.raises(ValueError, match=r"must end in `.keras`"):
        ModelCheckpoint(tmp_path / "model")

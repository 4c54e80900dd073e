import json
import warnings

import keras
import matrix
import numpy as np
import pytest
import tensorflow as tf

import keras_vae as kv
from keras_vae import learning_rates
from keras_vae import snapshot
from keras_vae.callbacks import DivergenceError
from keras_vae.callbacks import DivergenceGuard

X = (np.random.default_rng(0).random((60, 4)) < 0.3).astype("float32")
BATCH, STEPS = 10, 6
STEP_BY_STEP = {"steps_per_execution": 1, "jit_compile": False}


def make_vae(optimizer=None, likelihood="bernoulli", **kwargs):
    vae = kv.VAE(
        kv.networks.mlp_encoder([4]),
        kv.networks.mlp_decoder([4], (4,)),
        2,
        likelihood=likelihood,
        seed=0,
    )
    vae.build((None, 4))
    vae.compile(optimizer or keras.optimizers.Adam(1e-3), **(kwargs or STEP_BY_STEP))
    return vae


def fit(vae, callbacks, x=X, epochs=2, **kwargs):
    return vae.fit(
        x, batch_size=BATCH, epochs=epochs, verbose=0, callbacks=callbacks, **kwargs
    )


def stream(bad_batch, value=np.nan):
    """A data set whose batch, counted from 0, holds a value that is not finite."""
    x = X.copy()
    x[bad_batch * BATCH + 3, 1] = value
    return tf.data.Dataset.from_tensor_slices(x).batch(BATCH)


class Poison(keras.callbacks.Callback):
    """Spoils the weights after a batch, as an update that overflows does."""

    def __init__(self, *batches):
        super().__init__()
        self.batches, self.seen, self.kept = batches, 0, []

    def on_train_batch_end(self, batch, logs=None):
        self.kept.append([v.numpy() for v in snapshot.variables(self.model)])
        if self.seen in self.batches:
            # A rectifier would make zeros of NaN.
            bias = self.model.decoder.weights[-1]
            bias.assign(np.nan * bias)
        self.seen += 1


def check_same(values, others):
    for value, other in zip(values, others, strict=True):
        np.testing.assert_array_equal(value, other)


# === Stopping ===


@pytest.mark.parametrize(
    "settings", matrix.first(1, [{"steps_per_execution": "auto"}, STEP_BY_STEP])
)
def test_a_high_learning_rate_is_stopped(settings):
    vae = make_vae(keras.optimizers.SGD(1e20), "normal", **settings)
    before = vae.get_weights()
    guard = DivergenceGuard()
    with pytest.warns(UserWarning, match="Training stops. Lower the learning rate"):
        history = fit(vae, [guard], epochs=3).history
    assert len(history["loss"]) == 1
    found = guard.divergence
    assert found.epoch == 0
    assert found.batch in (1, 2)
    assert not np.isfinite(list(found.terms.values())).any()
    assert found.layer.startswith("vae")
    assert "which was 1e+20" in found.message
    # Adam's and SGD's counters too: it is the state of step 0.
    assert found.restored_step == int(vae.optimizer.iterations) == 0
    check_same(vae.get_weights(), before)
    # Nothing takes a mean over no batch, 0, for the best.
    assert not np.isfinite(history["loss"][0])


@pytest.mark.parametrize("save_freq", matrix.first(1, [3, "epoch"]))
def test_blocks_of_steps(save_freq):
    vae = make_vae(
        keras.optimizers.SGD(1e20), "normal", steps_per_execution=3, jit_compile=False
    )
    guard = DivergenceGuard(save_freq=save_freq, learning_rate_factor=1e-25)
    with pytest.warns(UserWarning, match="restart 1 of 3"):
        history = fit(vae, [guard]).history
    assert guard.divergence.restored_step == 0
    assert guard.divergence.batch <= 2
    assert np.isfinite(history["loss"]).all()
    assert snapshot.first_not_finite(vae) is None


def test_the_model_may_be_ahead_of_the_logs():
    vae = make_vae()
    before = vae.get_weights()
    guard = DivergenceGuard()
    guard.set_model(vae)
    guard.set_params({"steps": STEPS, "epochs": 2})
    guard.on_train_begin()
    guard.on_epoch_begin(0)
    # A block of three steps, of which the logs are shown one by one afterwards.
    for start in (0, 10, 20):
        vae.train_on_batch(X[start : start + BATCH])
    for batch in range(3):
        guard.on_train_batch_end(batch, {"loss": 1.0})
    with pytest.warns(UserWarning, match="batch 4 of epoch 1: `loss` is nan"):
        guard.on_train_batch_end(3, {"loss": np.nan})
    check_same(vae.get_weights(), before)
    assert guard.divergence.restored_step == 0
    assert vae.stop_training


def test_encoder_outputs_that_are_too_large_name_their_layer():
    vae = make_vae()
    vae.encoder.set_weights([1e12 * w for w in vae.encoder.get_weights()])
    guard = DivergenceGuard(data=X)
    with pytest.warns(UserWarning, match="`kl_loss` is inf"):
        fit(vae, [guard])
    found = guard.divergence
    assert next(iter(found.terms)) == "kl_loss"
    assert found.batch == 0
    first = next(x for x in vae.encoder.layers if x.weights)
    assert found.layer == first.path
    largest = np.abs(first(X[:32])).max()
    assert found.largest_output == pytest.approx(float(largest), rel=1e-5)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_bad_data_of_a_stream_are_told_from_divergence(value):
    data = stream(2, value)
    vae = make_vae(likelihood="normal")
    guard = DivergenceGuard(data=data)
    with pytest.warns(UserWarning, match=f"data are to blame: batch 3 holds {value}"):
        fit(vae, [guard], data)
    assert guard.divergence.batch == 2
    assert np.isnan(guard.divergence.terms["reconstruction_loss"]) or value == np.inf
    assert "Lower the learning rate" not in guard.divergence.message


@pytest.mark.slow
def test_an_endless_stream_is_looked_through_as_far_as_it_was_seen():
    data = stream(2).repeat()
    guard = DivergenceGuard(data=data)
    with pytest.warns(UserWarning, match="data are to blame: batch 3 holds nan"):
        fit(make_vae(likelihood="normal"), [guard], data, steps_per_epoch=STEPS)
    finite = tf.data.Dataset.from_tensor_slices(X).batch(BATCH).repeat()
    guard = DivergenceGuard(data=finite)
    with pytest.warns(UserWarning, match="diverged at batch 3 of epoch 1"):
        fit(make_vae(), [Poison(1), guard], finite, steps_per_epoch=STEPS)
    assert guard.divergence.data is None


def test_without_the_data_both_causes_are_named():
    guard = DivergenceGuard()
    with pytest.warns(UserWarning, match="Lower the learning rate.*check the stream"):
        fit(make_vae(likelihood="normal"), [guard], stream(2))
    assert guard.divergence.data is None


def test_finite_data_are_not_to_blame():
    guard = DivergenceGuard(data=(X, X))
    with pytest.warns(UserWarning, match="diverged at batch 3 of epoch 1"):
        fit(make_vae(), [Poison(1), guard])
    assert guard.divergence.data is None


def test_raising_comes_after_the_state_is_put_back():
    vae = make_vae()
    before = vae.get_weights()
    guard = DivergenceGuard(raise_error=True)
    with pytest.raises(DivergenceError, match="diverged at batch 3 of epoch 1"):
        fit(vae, [Poison(1), guard])
    check_same(vae.get_weights(), before)


def test_the_last_update_of_an_epoch_is_looked_at():
    vae = make_vae()
    before = vae.get_weights()
    guard = DivergenceGuard()
    with pytest.warns(UserWarning, match="at the end of epoch 1. The weights of layer"):
        fit(vae, [Poison(STEPS - 1), guard])
    assert guard.divergence.batch is None
    assert guard.divergence.layer == vae.decoder.layers[-2].path
    check_same(vae.get_weights(), before)


def test_it_is_looked_at_although_another_callback_stops_the_run():
    vae = make_vae()
    before = vae.get_weights()

    class Stop(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            vae.stop_training = True

    with pytest.warns(UserWarning, match="at the end of epoch 1"):
        fit(vae, [Poison(STEPS - 1), Stop(), DivergenceGuard()])
    check_same(vae.get_weights(), before)


@pytest.mark.slow
def test_weights_with_which_no_loss_is_finite_are_found_by_validation():
    vae = make_vae(likelihood="normal")
    before = vae.get_weights()

    class Overflow(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            if batch == STEPS - 1:
                bias = vae.decoder.weights[-1]
                bias.assign(1e30 * keras.ops.ones_like(bias))

    guard = DivergenceGuard()
    with pytest.warns(UserWarning, match="`val_reconstruction_loss` is inf"):
        fit(vae, [Overflow(), guard], validation_data=(X,))
    assert guard.divergence.batch is None
    check_same(vae.get_weights(), before)


def test_weights_that_were_never_finite_cannot_be_put_back():
    vae = make_vae()
    vae.decoder.set_weights([np.nan * w for w in vae.decoder.get_weights()])
    guard = DivergenceGuard(learning_rate_factor=0.5)
    with pytest.warns(UserWarning, match="No finite state could be restored"):
        fit(vae, [guard])
    assert guard.restarts == 0


# === What is put back ===


@pytest.mark.parametrize("save_freq", matrix.first(1, [2, "epoch"]))
def test_weights_optimiser_and_metrics_go_back_together(save_freq):
    vae = make_vae()
    poison = Poison(STEPS + 4)
    guard = DivergenceGuard(save_freq=save_freq)
    with pytest.warns(UserWarning, match="diverged at batch 6 of epoch 2"):
        history = fit(vae, [poison, guard], epochs=3).history
    # The state after four batches of the second epoch gave a finite loss.
    last = STEPS - 1 if save_freq == "epoch" else STEPS + 3
    kept = dict(zip(map(id, snapshot.variables(vae)), poison.kept[last], strict=True))
    metrics = {id(v) for v in vae.metrics_variables}
    for variable in snapshot.variables(vae):
        if id(variable) not in metrics:
            np.testing.assert_array_equal(variable, kept[id(variable)])
    assert guard.divergence.restored_step == last + 1
    assert np.isnan(history["loss"][1]) == (save_freq == "epoch")


def test_a_state_that_gave_no_finite_loss_is_not_gone_back_to():
    vae = make_vae()

    class Overflow(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            if int(vae.optimizer.iterations) == 4:
                kernel = vae.decoder.weights[0]
                kernel.assign(1e38 * keras.ops.ones_like(kernel))

    guard = DivergenceGuard(save_freq=2)
    with pytest.warns(UserWarning, match="diverged at batch 5"):
        fit(vae, [Overflow(), guard])
    assert guard.divergence.restored_step == 2


@pytest.mark.parametrize("model", matrix.first(1, ["two optimisers", "plain"]))
@pytest.mark.slow
def test_a_snapshot_is_all_state(model):
    vae = make_vae()
    if model == "two optimisers":
        vae = kv.FactorVAE(
            kv.networks.mlp_encoder([4]),
            kv.networks.mlp_decoder([4], (4,)),
            2,
            gamma=2.0,
            seed=0,
        )
        vae.compile("adam", **STEP_BY_STEP)
    fit(vae, [], epochs=1)
    kept = snapshot.Snapshot(vae)
    # The last step's noise, order and metrics are all that a further step depends on.
    first = [vae.train_on_batch(X[:BATCH], return_dict=True) for _ in range(3)]
    weights = vae.get_weights()
    kept.restore()
    again = [vae.train_on_batch(X[:BATCH], return_dict=True) for _ in range(3)]
    assert first == again
    check_same(vae.get_weights(), weights)


def test_a_run_that_does_not_diverge_is_unchanged():
    vaes = [make_vae(), make_vae()]
    schedule = keras.optimizers.schedules.CosineDecay(1e-2, 20)
    for vae, callbacks in zip(
        vaes, ([], [DivergenceGuard(3, learning_rate_factor=0.5)]), strict=True
    ):
        keras.utils.set_random_seed(0)
        vae.set_weights([0.1 * np.ones_like(w) for w in vae.get_weights()])
        vae.compile(keras.optimizers.Adam(schedule), **STEP_BY_STEP)
        fit(vae, callbacks)
    check_same(vaes[0].get_weights(), vaes[1].get_weights())


# === Going on ===


def make_schedule():
    return keras.optimizers.schedules.ExponentialDecay(1e-3, 10, 0.5)


@pytest.mark.parametrize("rate", [1e-3, make_schedule()], ids=["number", "schedule"])
@pytest.mark.slow
def test_it_goes_on_at_a_lower_rate(rate):
    vae = make_vae(keras.optimizers.Adam(rate))
    guard = DivergenceGuard(learning_rate_factor=0.25)
    with pytest.warns(UserWarning, match=r"0.25 times the learning rate \(restart 1"):
        history = fit(vae, [Poison(1), guard]).history
    assert np.isfinite(history["loss"]).all()
    # Step 0 was put back after three batches of the first epoch.
    step = int(vae.optimizer.iterations)
    assert step == 2 * STEPS - 3
    expected = rate if isinstance(rate, float) else float(rate(step))
    assert float(vae.optimizer.learning_rate) == pytest.approx(0.25 * expected)


def test_the_logs_are_means_over_the_batches_since():
    vae = make_vae()
    seen = []

    class Watch(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            seen.append(logs["loss"])

    guard = DivergenceGuard(learning_rate_factor=0.5)
    with pytest.warns(UserWarning, match="restart 1 of 3"):
        history = fit(vae, [Poison(1), guard, Watch()], epochs=1).history
    assert np.isnan(seen[2])
    assert np.isfinite(seen[3:]).all()
    assert history["loss"] == [seen[-1]]


def test_it_goes_on_so_often_and_then_stops():
    # Each poisoned batch is followed by one whose loss is not finite.
    guard = DivergenceGuard(learning_rate_factor=0.5, max_restarts=2)
    vae = make_vae()
    with pytest.warns(UserWarning, match="diverged") as warned:
        fit(vae, [Poison(0, 2, 4, 6), guard], epochs=9)
    texts = [str(w.message) for w in warned if "diverged" in str(w.message)]
    assert [text.count("restart") for text in texts] == [1, 1, 0]
    assert "Training stops" in texts[-1]
    assert float(vae.optimizer.learning_rate) == pytest.approx(1e-3 / 4)


@pytest.mark.slow
def test_a_second_fit_begins_anew():
    guard = DivergenceGuard()
    with pytest.warns(UserWarning, match="diverged"):
        fit(make_vae(), [Poison(1), guard])
    vae = make_vae()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        fit(vae, [guard])
    assert guard.divergence is None
    assert np.isfinite(vae.get_weights()[0]).all()


def test_nothing_is_saved_as_the_best_of_a_diverged_epoch(tmp_path):
    path = tmp_path / "best.keras"
    checkpoint = kv.callbacks.ModelCheckpoint(path, monitor="loss")
    guard = DivergenceGuard()
    with (
        pytest.warns(UserWarning, match="diverged at batch 3 of epoch 2"),
        pytest.warns(UserWarning, match="`loss` is nan after epoch 2"),
    ):
        fit(make_vae(), [Poison(STEPS + 1), checkpoint, guard], epochs=4)
    assert json.loads((tmp_path / "best.keras.json").read_text())["epoch"] == 1


# === Other models, settings and the contract with blocks ===


def test_any_keras_model():
    x = keras.Input((4,))
    z = kv.layers.Latent(2, seed=0)(keras.layers.Dense(4, name="first")(x))
    model = keras.Model(x, keras.layers.Dense(4, name="last")(z))
    model.compile(keras.optimizers.SGD(1e20), loss="mse")
    guard = DivergenceGuard()
    with pytest.warns(UserWarning, match="Training stops"):
        model.fit(X, X, batch_size=BATCH, epochs=3, verbose=0, callbacks=[guard])
    assert guard.divergence.layer == "first"
    assert np.isfinite(np.concatenate([w.ravel() for w in model.get_weights()])).all()


def test_a_model_that_its_first_batch_builds():
    model = keras.Sequential([keras.layers.Dense(4)])
    model.compile(keras.optimizers.SGD(1e20), loss="mse", run_eagerly=True)
    guard = DivergenceGuard()
    with pytest.warns(UserWarning, match="Training stops"):
        model.fit(X, X + 1, batch_size=BATCH, epochs=3, verbose=0, callbacks=[guard])
    assert guard.divergence.restored_step in (0, 1)


def test_when_it_reads_the_model():
    assert DivergenceGuard.ends_blocks_at_nan
    plain = DivergenceGuard()
    # No state is kept yet.
    assert plain.steps_until_action() == 1
    guard, seen = DivergenceGuard(save_freq=4), []

    class Watch(keras.callbacks.Callback):
        def on_train_batch_begin(self, batch, logs=None):
            seen.append(guard.steps_until_action())
            assert plain.steps_until_action() is None

    fit(make_vae(), [guard, plain, Watch()])
    assert seen == [4, 3, 2, 1, 4, 3] * 2


def test_a_scaled_schedule_is_saved_with_its_model(tmp_path):
    vae = make_vae(keras.optimizers.Adam(make_schedule()))
    with pytest.warns(UserWarning, match="restart 1"):
        fit(vae, [Poison(1), DivergenceGuard(learning_rate_factor=0.5)])
    vae.save(tmp_path / "vae.keras")
    loaded = keras.models.load_model(tmp_path / "vae.keras")
    assert learning_rates.scale(loaded.optimizer) == 0.5
    assert float(loaded.optimizer.learning_rate) == float(vae.optimizer.learning_rate)


@pytest.mark.slow
def test_replicas(strategy):
    with strategy.scope():
        vae = make_vae(keras.optimizers.SGD(1e20), "normal")
    guard = DivergenceGuard(save_freq=2, learning_rate_factor=1e-25)
    with pytest.warns(UserWarning, match="restart 1 of 3"):
        history = fit(vae, [guard], epochs=2).history
    assert np.isfinite(history["loss"]).all()
    assert guard.divergence.restored_step == 0
    for variable in snapshot.variables(vae, with_metrics=False):
        copies = strategy.experimental_local_results(variable.value)
        check_same(copies[:1], copies[-1:])


def test_mixed_precision():
    keras.config.set_dtype_policy("mixed_float16")
    try:
        vae = make_vae(keras.optimizers.Adam(1e-3))
        guard = DivergenceGuard(learning_rate_factor=0.5)
        with pytest.warns(UserWarning, match="restart 1 of 3"):
            fit(vae, [Poison(1), guard])
        assert float(vae.optimizer.learning_rate) == pytest.approx(5e-4)
        assert snapshot.first_not_finite(vae) is None
    finally:
        keras.config.set_dtype_policy("float32")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"save_freq": 0}, "`save_freq` must be"),
        ({"max_restarts": 0}, "`max_restarts` must be"),
        ({"learning_rate_factor": 1.0}, "`learning_rate_factor` must be in"),
        ({"learning_rate_factor": np.nan}, "`learning_rate_factor` must be in"),
    ],
)
def test_arguments_that_cannot_be(arguments, message):
    with pytest.raises(ValueError, match=message):
        DivergenceGuard(**arguments)


def test_bad_data_are_found_in_each_kind():
    from keras_vae.callbacks.divergence_probe import first_bad_data

    bad = X.copy()
    bad[17, 2] = -np.inf

    class Batches(keras.utils.PyDataset):
        def __len__(self):
            return STEPS

        def __getitem__(self, index):
            return (bad[index * BATCH : (index + 1) * BATCH],)

    assert first_bad_data(Batches()) == "batch 2 holds -inf"
    assert first_bad_data((X, bad)) == "example 17, counted from 0, holds -inf"
    assert first_bad_data(X) is None
    assert first_bad_data(np.arange(3)) is None

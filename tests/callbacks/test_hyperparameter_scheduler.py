"""The scheduled weight is exact at each optimiser step."""

import contextlib

import keras
import matrix
import numpy as np
import pytest
import tensorflow as tf

import keras_vae as kv

STEPS = 40
BATCH = 8
SCHEDULE = kv.schedules.linear(30, start=0.1, end=0.7)


@keras.saving.register_keras_serializable("tests")
class Recording(kv.ELBO):
    """An ELBO that writes down the weight of each training step where it is used."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.trace = self._numbers("trace", (STEPS * 4,), "float32")
        self.calls = self._numbers("calls", (), "int32")

    def _numbers(self, name, shape, dtype):
        return self.add_weight(
            shape=shape,
            dtype=dtype,
            initializer="zeros",
            trainable=False,
            autocast=False,
            name=name,
        )

    def rate_loss(self, estimate, mean):
        place = tf.one_hot(self.calls, STEPS * 4)
        self.trace.assign_add(place * self.kl_weight.value)
        self.calls.assign_add(1)
        return super().rate_loss(estimate, mean)

    def applied(self):
        return self.trace.numpy()[: int(self.calls.numpy())]


def data(steps=STEPS):
    generator = np.random.default_rng(0)
    return generator.uniform(size=(steps * BATCH, 6)).astype("float32")


def make(kind, **compile_args):
    if kind == "vae":
        model = kv.VAE(
            kv.networks.mlp_encoder([8]),
            kv.networks.mlp_decoder([8], (6,)),
            latent_dim=2,
            objective=Recording(),
            seed=0,
        )
        model.build((None, 6))
        objectives = [model.objective]
    else:
        inputs = keras.Input((6,))
        latents = [
            kv.layers.Latent(2, objective=Recording(), seed=i, name=f"z{i}")
            for i in range(2)
        ]
        z = keras.layers.Concatenate()([latent(inputs) for latent in latents])
        model = keras.Model(inputs, keras.layers.Dense(6)(z))
        compile_args["loss"] = kv.losses.NegativeLogLikelihood()
        objectives = [latent.objective for latent in latents]
    optimizer = compile_args.pop("optimizer", "adam")
    model.compile(optimizer, **compile_args)
    return model, objectives


def fit(model, x, **kwargs):
    target = () if isinstance(model, kv.VAE) else (x,)
    return model.fit(x, *target, batch_size=BATCH, shuffle=False, verbose=0, **kwargs)


def expected(first=0, last=STEPS, schedule=SCHEDULE):
    return np.array([float(schedule(step)) for step in range(first, last)], "float32")


@contextlib.contextmanager
def counted_traces(model):
    """Counts how often the training step runs in Python."""
    counts = {"calls": 0}
    original = type(model).call

    def call(self, *args, **kwargs):
        counts["calls"] += bool(kwargs.get("training"))
        return original(self, *args, **kwargs)

    type(model).call = call
    try:
        yield counts
    finally:
        type(model).call = original


@pytest.mark.parametrize("jit_compile", [False, True], ids=["graph", "xla"])
@pytest.mark.parametrize("steps_per_execution", matrix.first(2, [7, 1, 4]))
@pytest.mark.parametrize("kind", matrix.first(1, ["vae", "functional"]))
def test_weight_at_each_step(kind, steps_per_execution, jit_compile):
    model, objectives = make(
        kind, steps_per_execution=steps_per_execution, jit_compile=jit_compile
    )
    with counted_traces(model) as counts:
        history = fit(model, data(20), epochs=2, callbacks=[kv.KLAnnealing(SCHEDULE)])
    for objective in objectives:
        np.testing.assert_array_equal(objective.applied(), expected())
    np.testing.assert_array_equal(
        np.float32(history.history["kl_weight"]), expected()[[19, 39]]
    )
    # Each traced function runs `call` once; XLA and a short last block trace again.
    assert counts["calls"] <= 3


def test_weight_does_not_retrace():
    model, objectives = make("vae")
    with counted_traces(model) as counts:
        fit(model, data(10), epochs=4, callbacks=[kv.KLAnnealing(SCHEDULE)])
    assert counts["calls"] == 1
    assert len(np.unique(objectives[0].applied())) == 31


@pytest.mark.parametrize("kind", ["vae", "functional"])
def test_a_further_fit_with_an_equal_schedule_does_not_retrace(kind):
    model, objectives = make(kind)
    x, half, other = (
        data(10),
        kv.schedules.linear("50%", end=0.5),
        kv.schedules.linear(9),
    )
    with counted_traces(model) as counts:
        fit(model, x, epochs=2, callbacks=[kv.KLAnnealing(half, restart=True)])
        first = counts["calls"]
        fit(model, x, callbacks=[])
        fit(model, x, epochs=2, callbacks=[kv.KLAnnealing(half, restart=True)])
        assert counts["calls"] == first
        fit(model, x, callbacks=[kv.KLAnnealing(other, restart=True)])
        assert counts["calls"] > first
    ramp = kv.schedules.linear(10, end=0.5)
    weights = [
        expected(0, 20, ramp),
        np.full(10, 0.5),
        expected(0, 20, ramp),
        expected(0, 10, other),
    ]
    for objective in objectives:
        np.testing.assert_array_equal(objective.applied(), np.concatenate(weights))


@pytest.mark.parametrize("order", matrix.first(1, ["before", "after"]))
@pytest.mark.parametrize("restart", [False, True])
@pytest.mark.parametrize("kind", matrix.first(1, ["vae", "functional"]))
def test_resume_goes_on_where_the_run_was_cut(kind, restart, order, tmp_path):
    class Cut(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            if epoch == 1:
                raise KeyboardInterrupt

    def callbacks():
        pair = [
            kv.KLAnnealing(SCHEDULE, restart=restart),
            keras.callbacks.BackupAndRestore(tmp_path / "backup"),
        ]
        return pair if order == "before" else pair[::-1]

    model, _ = make(kind)
    if restart:
        fit(model, data(5))
    first = 5 if restart else 0
    with pytest.raises(KeyboardInterrupt):
        fit(model, data(10), epochs=4, callbacks=[*callbacks(), Cut()])
    fresh, objectives = make(kind)
    fit(fresh, data(10), epochs=4, callbacks=callbacks())
    # BackupAndRestore saves at the end of an epoch, before or after it was cut.
    for objective in objectives:
        applied = objective.applied()[first:]
        assert len(applied) == STEPS
        np.testing.assert_array_equal(applied, expected())


def test_load_weights_into_an_unbuilt_optimizer(tmp_path):
    model, _ = make("vae")
    with pytest.warns(UserWarning, match="ends at step 30"):
        fit(model, data(12), callbacks=[kv.KLAnnealing(SCHEDULE)])
    model.save_weights(tmp_path / "w.weights.h5")
    fresh, objectives = make("vae")
    assert not fresh.optimizer.built
    fresh.load_weights(tmp_path / "w.weights.h5")
    assert int(fresh.optimizer.iterations) == 12
    fit(fresh, data(28), callbacks=[kv.KLAnnealing(SCHEDULE)])
    np.testing.assert_array_equal(objectives[0].applied(), expected())


def test_lost_step_of_a_functional_model_is_told(tmp_path):
    model, _ = make("functional")
    fit(model, data(), callbacks=[kv.KLAnnealing(SCHEDULE)])
    model.save_weights(tmp_path / "w.weights.h5")
    fresh, _ = make("functional")
    with pytest.warns(UserWarning, match="optimizer"):
        fresh.load_weights(tmp_path / "w.weights.h5")
    if int(fresh.optimizer.iterations) == STEPS:
        pytest.skip("this Keras keeps the step of an unbuilt optimiser")
    with pytest.warns(UserWarning, match="last set at step 39.*optimizer.build"):
        fit(fresh, data(), callbacks=[kv.KLAnnealing(SCHEDULE)])


def test_fit_without_then_with_annealing_then_without():
    model, objectives = make("vae")
    fit(model, data(3))
    fit(model, data(30), callbacks=[kv.KLAnnealing(SCHEDULE)])
    fit(model, data(2))
    applied = objectives[0].applied()
    np.testing.assert_array_equal(applied[:3], np.ones(3))
    np.testing.assert_array_equal(applied[3:33], expected(3, 33))
    np.testing.assert_array_equal(applied[33:], np.float32([0.7, 0.7]))


def test_second_fit_continues_and_restart_begins_anew():
    model, objectives = make("vae")
    short = kv.schedules.linear(15)
    fit(model, data(10), epochs=2, callbacks=[kv.KLAnnealing(short)])
    fit(model, data(5), callbacks=[kv.KLAnnealing(short)])
    fit(model, data(16), callbacks=[kv.KLAnnealing(short, restart=True)])
    applied = objectives[0].applied()
    np.testing.assert_array_equal(applied[:25], expected(0, 25, short))
    np.testing.assert_array_equal(applied[25:], expected(0, 16, short))


def test_a_ramp_restarts_within_a_fit():
    model, (recording,) = make("vae")
    schedule = kv.schedules.restart(kv.schedules.linear("20%"), ["50%", 30])
    fit(model, data(), callbacks=[kv.KLAnnealing(schedule)])
    ramp = np.minimum(np.arange(STEPS) / 8, 1)
    trace = np.concatenate([ramp[:20], ramp[:10], ramp[:10]])
    np.testing.assert_allclose(recording.applied(), trace, rtol=1e-6)


def test_gradient_accumulation_counts_applied_updates():
    model, objectives = make(
        "vae", optimizer=keras.optimizers.Adam(gradient_accumulation_steps=4)
    )
    schedule = kv.schedules.linear("50%")
    fit(model, data(40), callbacks=[kv.KLAnnealing(schedule)])
    # 40 micro-batches are 10 updates, of which the ramp takes 5.
    steps = np.arange(40) // 4
    np.testing.assert_allclose(
        objectives[0].applied(), np.minimum(steps / 5, 1.0), rtol=1e-7
    )


def test_skipped_float16_steps_do_not_count():
    keras.config.set_dtype_policy("mixed_float16")
    optimizer = keras.optimizers.LossScaleOptimizer(
        keras.optimizers.SGD(1e-3), initial_scale=2.0**40
    )
    model, objectives = make("vae", optimizer=optimizer)
    fit(model, data(), callbacks=[kv.KLAnnealing(kv.schedules.linear(5))])
    applied, updates = objectives[0].applied(), int(optimizer.iterations)
    skipped = STEPS - updates
    assert 5 < skipped < STEPS - 5
    # A scale of 2**40 overflows, each skip halves it until the first update.
    steps = np.maximum(np.arange(STEPS) - skipped, 0)
    np.testing.assert_allclose(applied, np.minimum(steps / 5, 1.0), rtol=1e-7)


def test_interrupted_fit_leaves_no_schedule_behind():
    class Cut(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            if batch == 9:
                raise KeyboardInterrupt

    model, objectives = make("vae")
    with pytest.raises(KeyboardInterrupt):
        fit(model, data(), callbacks=[kv.KLAnnealing(SCHEDULE), Cut()])
    fit(model, data(3))
    applied = objectives[0].applied()
    np.testing.assert_array_equal(applied[:10], expected(0, 10))
    np.testing.assert_array_equal(applied[10:], expected(9, 10).repeat(3))


def test_only_the_named_layers_move():
    model, objectives = make("functional")
    fit(model, data(), callbacks=[kv.KLAnnealing(SCHEDULE, layers=["z1"])])
    np.testing.assert_array_equal(objectives[0].applied(), np.ones(STEPS))
    np.testing.assert_array_equal(objectives[1].applied(), expected())


@pytest.mark.parametrize("duration", matrix.first(1, ["50%", "2 epochs"]))
def test_epochs_and_fractions_of_the_run(duration):
    model, objectives = make("vae")
    schedule = kv.schedules.linear(duration)
    fit(model, data(10), epochs=4, callbacks=[kv.KLAnnealing(schedule)])
    np.testing.assert_array_equal(
        objectives[0].applied(), expected(0, 40, kv.schedules.linear(20))
    )


def test_unknown_number_of_steps_is_an_error():
    model, _ = make("vae")

    def batches():
        yield from ((batch,) for batch in np.split(data(), STEPS))

    with pytest.raises(ValueError, match="steps_per_epoch"):
        model.fit(
            batches(),
            verbose=0,
            shuffle=False,
            callbacks=[kv.KLAnnealing(kv.schedules.linear("50%"))],
        )
    assert int(model.optimizer.iterations) == 0


@pytest.mark.filterwarnings("ignore:Your input ran out of data")
@pytest.mark.parametrize("known", matrix.first(1, [True, False]))
def test_run_that_ends_before_the_ramp_is_told_the_fix(known):
    model, _ = make("vae")
    schedule = kv.schedules.linear(60)
    batches = tf.data.Dataset.from_tensor_slices(data()).batch(BATCH)
    if not known:
        batches = batches.filter(lambda batch: True)
    with pytest.warns(UserWarning, match='after 4. .* ends at step 60.*"50%"'):
        model.fit(
            batches, verbose=0, shuffle=False, callbacks=[kv.KLAnnealing(schedule)]
        )


def test_callable_schedules_and_numbers():
    model, objectives = make("vae")

    def halves(step):
        return 1.0 / (1.0 + tf.cast(step, tf.float32))

    fit(model, data(4), callbacks=[kv.KLAnnealing(halves)])
    np.testing.assert_allclose(objectives[0].applied(), [1, 1 / 2, 1 / 3, 1 / 4])
    fit(model, data(2), callbacks=[kv.KLAnnealing(0.25)])
    np.testing.assert_array_equal(objectives[0].applied()[4:], [0.25, 0.25])


# === What others ship ===


class CountsItsOwnBatches(keras.callbacks.Callback):
    """Sets the weight before each batch by a count that starts with the process."""

    def __init__(self):
        super().__init__()
        self.step = 0

    def on_train_batch_begin(self, batch, logs=None):
        self.model.objective.kl_weight.value.assign(float(SCHEDULE(self.step)))
        self.step += 1


def applied_over_a_resume(make_callback, directory):
    for epochs in (2, 4):
        model, objectives = make("vae")
        backup = keras.callbacks.BackupAndRestore(directory, delete_checkpoint=False)
        fit(model, data(10), epochs=epochs, callbacks=[make_callback(), backup])
    return objectives[0].applied()


@pytest.mark.filterwarnings("ignore:.*never trains at the final value")
@pytest.mark.slow
def test_a_schedule_that_stops_on_resume_is_caught(tmp_path):
    ours = applied_over_a_resume(lambda: kv.KLAnnealing(SCHEDULE), tmp_path / "ours")
    np.testing.assert_array_equal(ours, expected())
    assert np.sum(ours == np.float32(0.7)) == STEPS - 30
    wrong = applied_over_a_resume(CountsItsOwnBatches, tmp_path / "wrong")
    np.testing.assert_array_equal(wrong[:20], expected()[:20])
    # It begins anew, and the ramp never arrives.
    np.testing.assert_array_equal(wrong[20:], expected()[:20])
    assert not np.any(wrong == np.float32(0.7))


def test_validation_at_another_weight_is_caught():
    """`val_loss` has the current weight, `val_negative_elbo` none."""
    model, _ = make("vae")
    logs = fit(
        model,
        data(10),
        epochs=4,
        callbacks=[kv.KLAnnealing(kv.schedules.linear(35, start=0.1, end=0.8))],
        validation_data=(data(14)[-32:],),
        validation_batch_size=BATCH,
    ).history
    weights, kl, loss, reconstruction, bound = (
        np.array(logs[name])
        for name in (
            "kl_weight",
            "val_kl_loss",
            "val_loss",
            "val_reconstruction_loss",
            "val_negative_elbo",
        )
    )
    assert len(np.unique(weights)) == 4
    np.testing.assert_allclose(loss - reconstruction, weights * kl, rtol=1e-3)
    np.testing.assert_allclose(bound - reconstruction, kl, rtol=1e-3)
    # At weight 1, at that of the epoch before or at none the loss is another.
    for wrong in (np.ones(4), np.roll(weights, 1), np.zeros(4)):
        assert np.all(np.abs((loss - reconstruction) / (wrong * kl + 1e-9) - 1) > 0.1)

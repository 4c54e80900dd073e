"""Tests of `fit` in blocks: it must do what Keras's own `fit` does, step by step."""

import functools

import keras
import matrix
import numpy as np
import pytest
import tensorflow as tf

import keras_vae as kv
from keras_vae.training import program
from keras_vae.training import resident

BLOCKS = {"jit_compile": True, "steps_per_execution": 7}
ONE_BY_ONE = {"jit_compile": True, "steps_per_execution": 1}
WITHOUT_XLA = {"jit_compile": False, "steps_per_execution": 7}
STOCK = {"jit_compile": False, "steps_per_execution": 1}
SIZE = 203  # Neither the batches of 10 nor the blocks of 7 of them divide it.


class Recurrent(kv.BlockTraining, keras.Model):
    """A functional model of layers with loops."""


@keras.saving.register_keras_serializable("tests")
class Line(kv.BlockTraining, keras.Model):
    """Linear regression with noise, a metric and a count of its steps."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.dense = keras.layers.Dense(2)
        self.latent = kv.layers.Latent(2, seed=3)
        self.readout = keras.layers.Dense(1)

    def call(self, x):
        return self.readout(self.latent(self.dense(x)))


def line(compile, **kwargs):
    keras.utils.set_random_seed(2)
    model = Line()
    model.compile(keras.optimizers.Adam(0.01), "mse", metrics=["mae"], **compile)
    return model


def mlp(compile, objective="elbo", **kwargs):
    keras.utils.set_random_seed(2)
    model = kv.VAE(
        encoder=kv.networks.mlp_encoder([8]),
        decoder=kv.networks.mlp_decoder([8], (6,)),
        latent_dim=2,
        objective=objective,
        seed=1,
        **kwargs,
    )
    model.compile(keras.optimizers.Adam(0.01), **compile)
    return model


def numbers(size=SIZE, columns=6):
    generator = np.random.default_rng(0)
    return np.float32(generator.random((size, columns)) < 0.4)


class Rows(keras.utils.PyDataset):
    def __init__(self, *arrays):
        super().__init__()
        self.arrays = arrays

    def __len__(self):
        return -(-len(self.arrays[0]) // 10)

    def __getitem__(self, place):
        return tuple(v[10 * place : 10 * place + 10] for v in self.arrays)


def arrays(*data):
    return dict(zip(("x", "y", "sample_weight"), data, strict=False), batch_size=10)


def assert_same(model, stock, rtol=1e-5):
    """Each array agrees to `rtol` of its largest number, the optimiser's too."""
    mine = model.weights + model.optimizer.variables
    theirs = stock.weights + stock.optimizer.variables
    for one, other in zip(mine, theirs, strict=True):
        one, other = np.asarray(one.value), np.asarray(other.value)
        np.testing.assert_allclose(one, other, 0, rtol * np.max(np.abs(other)))


FEEDS = {
    "arrays": lambda *data: arrays(*data),
    "tensors": lambda *data: arrays(*map(tf.constant, data)),
    "dataset": lambda *data: {
        "x": tf.data.Dataset.from_tensor_slices(data).batch(10),
        "shuffle": False,
    },
    "py_dataset": lambda *data: {"x": Rows(*data), "shuffle": False},
    "generator": lambda *data: {
        "x": (batch for _ in range(3) for batch in Rows(*data)),
        "steps_per_epoch": 21,
        "shuffle": False,
    },
}


def fit_line(settings, feed):
    """Trains with `y` and `sample_weight`, and validates."""
    x, y = numbers(), numbers(columns=1)
    weight = np.float32(np.random.default_rng(1).random(SIZE))
    model = line(settings)
    history = model.fit(
        **FEEDS[feed](x, y, weight),
        epochs=3,
        initial_epoch=1,
        validation_data=(x[:35], y[:35]),
        verbose=0,
    )
    return model, history.history


# Keras gives the same batches whatever holds them, if it does not shuffle.
stock_line = functools.cache(functools.partial(fit_line, STOCK))


QUICK = ("arrays", "dataset", "generator")


@pytest.mark.parametrize(
    "feed",
    [
        pytest.param(feed, marks=[] if feed in QUICK else pytest.mark.slow)
        for feed in FEEDS
    ],
)
def test_blocks_train_what_keras_trains(feed):
    model, logs = fit_line(BLOCKS, feed)
    shuffles = feed in ("arrays", "tensors")
    stock, stock_logs = stock_line("arrays" if shuffles else "dataset")
    assert int(model.optimizer.iterations) == 42
    assert_same(model, stock)
    for name, values in stock_logs.items():
        np.testing.assert_allclose(logs[name], values, rtol=1e-5, err_msg=name)


@pytest.mark.parametrize("settings", [ONE_BY_ONE, WITHOUT_XLA])
def test_resident_arrays_train_what_keras_trains(settings, monkeypatch):
    """Also without XLA, and step by step under it."""
    takes = []
    take = resident.ResidentData.take
    monkeypatch.setattr(
        resident.ResidentData,
        "take",
        lambda *args: takes.append(args) or take(*args),
    )
    model, logs = fit_line(settings, "arrays")
    stock, stock_logs = stock_line("arrays")
    assert takes
    assert_same(model, stock)
    for name, values in stock_logs.items():
        np.testing.assert_allclose(logs[name], values, rtol=1e-5, err_msg=name)


@pytest.mark.parametrize("settings", [ONE_BY_ONE, WITHOUT_XLA, STOCK])
@pytest.mark.slow
def test_one_gain_alone_needs_no_stack(settings, monkeypatch):
    """Streams without XLA are not stacked, nor arrays kept where they save nothing."""
    monkeypatch.setattr(program.Programs, "train", None)
    feed = "arrays" if settings is STOCK else "dataset"
    model, _ = fit_line(settings, feed)
    assert int(model.optimizer.iterations) == 42
    assert_same(model, stock_line(feed)[0])


def recurrent(settings):
    keras.utils.set_random_seed(2)
    inputs = keras.Input((6, 1))
    both = keras.layers.Bidirectional(keras.layers.LSTM(3, return_sequences=True))
    hidden = keras.layers.GRU(4, activity_regularizer="l2")(both(inputs))
    z = kv.layers.Latent(2, seed=3)(hidden)
    model = Recurrent(inputs, keras.layers.Dense(6)(z))
    model.compile(keras.optimizers.Adam(0.01), "mse", **settings)
    return model


@pytest.mark.parametrize(
    ("settings", "feed"),
    matrix.first(1, [(BLOCKS, "dataset"), (ONE_BY_ONE, "arrays")]),
)
@pytest.mark.slow
def test_recurrent_layers_train_as_in_keras(settings, feed):
    """Their kernels are read once in each step, and not at each place of a sequence."""
    x = numbers()
    logs, models = [], [recurrent(settings), recurrent(STOCK)]
    for model in models:
        history = model.fit(**FEEDS[feed](x[..., None], x), epochs=2, verbose=0)
        logs.append(history.history)
    assert_same(*models)
    assert set(logs[0]) == set(logs[1])
    for name, values in logs[1].items():
        np.testing.assert_allclose(logs[0][name], values, rtol=1e-5, err_msg=name)


def test_fits_that_run_in_other_ways_trace_one_step(monkeypatch):
    monkeypatch.setattr("keras_vae.training.choice.SHORT", 0)
    models, traces = [mlp({}), mlp(STOCK)], []
    step = kv.VAE.train_step
    monkeypatch.setattr(
        kv.VAE, "train_step", lambda self, data: traces.append(self) or step(self, data)
    )
    counts = []
    for reason in (None, "it is tested"):
        monkeypatch.setattr(
            "keras_vae.training.choice.reason_against_xla", lambda _, why=reason: why
        )
        for model in models:
            model.fit(numbers(), batch_size=10, verbose=0)
        counts.append(len(traces))
    assert_same(*models)
    assert counts[0] == counts[1]


@pytest.mark.slow
def test_data_beyond_the_budget_are_streamed(monkeypatch):
    pulls = []
    pull = program.Programs.collect

    def watch(self, *args):
        pulls.append(args)
        return pull(self, *args)

    monkeypatch.setattr(program.Programs, "collect", watch)
    models = []
    for budget in (SIZE * 6 * 4, SIZE * 6 * 4 - 1):
        assert not pulls
        model = mlp(BLOCKS)
        model.resident_bytes = budget
        model.fit(numbers(), batch_size=10, verbose=0)
        models.append(model)
    assert pulls
    assert_same(*models)


@pytest.mark.parametrize(
    ("size", "rtol"),
    [(497, 1e-5), pytest.param(5993, 1e-2, marks=pytest.mark.slow)],
    ids=["fifty_steps", "an_epoch"],
)
def test_a_scheduled_weight_moves_at_each_step(size, rtol):
    """Fifty steps agree to rounding, and an epoch of 600 to what rounding becomes."""
    models = []
    for settings in (BLOCKS, STOCK):
        annealing = kv.KLAnnealing(kv.schedules.linear(duration="80%"))
        model = mlp(settings)
        model.fit(numbers(size), batch_size=10, verbose=0, callbacks=[annealing])
        models.append(model)
    assert float(models[0].objective.kl_weight.value) == 1.0
    assert_same(*models, rtol=rtol)


def test_a_controller_moves_at_each_step():
    models = []
    for settings in (BLOCKS, STOCK):
        model = mlp(settings, kv.objectives.RateTarget(0.5))
        model.fit(numbers(), batch_size=10, epochs=2, verbose=0)
        models.append(model)
    assert_same(*models)


@pytest.mark.slow
def test_batches_of_any_size_end_a_block():
    """Ten batches of lengths that change, as buckets of sentences have them."""
    sizes = [4, 4, 4, 9, 9, 2, 4, 4, 4, 4, 4, 4]
    places = np.cumsum([0, *sizes])
    x = numbers(places[-1])

    def batches():
        for start, size in zip(places, sizes, strict=False):
            yield x[start : start + size]

    spec = tf.TensorSpec((None, 6))
    models = []
    for settings in (BLOCKS, STOCK):
        data = tf.data.Dataset.from_generator(batches, output_signature=spec)
        data = data.apply(tf.data.experimental.assert_cardinality(len(sizes)))
        model = mlp(settings)
        model.fit(data, verbose=0)
        models.append(model)
    assert int(models[0].optimizer.iterations) == 12
    assert_same(*models)


@pytest.mark.slow
def test_data_that_go_on_over_epochs():
    """An epoch of 5 steps takes 5 batches and leaves the others to the next."""
    models = []
    for settings in (BLOCKS, STOCK):
        data = tf.data.Dataset.from_tensor_slices(numbers()).batch(10).repeat()
        model = mlp(settings)
        model.fit(data, steps_per_epoch=14, epochs=3, verbose=0)
        models.append(model)
    assert int(models[0].optimizer.iterations) == 42
    assert_same(*models)


def test_loss_scale_moves_at_each_step():
    """Under mixed precision a step that overflows is skipped, and halves the scale."""
    keras.config.set_dtype_policy("mixed_float16")
    model = Line()
    optimizer = keras.optimizers.LossScaleOptimizer(
        keras.optimizers.SGD(1e-3), initial_scale=2.0**30, dynamic_growth_steps=10**6
    )
    model.compile(optimizer, "mse", **BLOCKS)
    model.fit(numbers(), numbers(columns=1), batch_size=10, verbose=0)
    scale = float(optimizer.dynamic_scale)
    skipped = np.log2(2.0**30 / scale)
    assert 0 < skipped < 21
    assert int(optimizer.iterations) == 21 - skipped


class Watch(keras.callbacks.Callback):
    def __init__(self):
        super().__init__()
        self.seen = []

    def on_train_batch_end(self, batch, logs=None):
        self.seen.append((batch, logs["loss"], int(self.model.optimizer.iterations)))


def test_batch_callbacks_are_called_once_per_block():
    """With the last step's number, and the mean since the epoch began as logs."""
    watch = Watch()
    model = mlp(BLOCKS)
    history = model.fit(numbers(), batch_size=10, verbose=0, callbacks=[watch])
    assert [(batch, steps) for batch, _, steps in watch.seen] == [
        (6, 7),
        (13, 14),
        (20, 21),
    ]
    np.testing.assert_allclose(
        float(watch.seen[-1][1]), history.history["loss"][0], rtol=1e-6
    )


class NotForXLA(keras.layers.Layer):
    def call(self, x):
        return tf.ensure_shape(tf.numpy_function(np.copy, [x], tf.float32), x.shape)


@pytest.mark.parametrize("steps", ["auto", 1])
def test_what_xla_cannot_compile_trains_without_it(steps, monkeypatch, caplog):
    monkeypatch.setattr("keras_vae.training.choice.SHORT", 0)
    models = []
    for settings in ({"steps_per_execution": steps}, STOCK):
        keras.utils.set_random_seed(2)
        encoder = keras.Sequential([NotForXLA(), keras.layers.Dense(4)])
        model = kv.VAE(encoder, kv.networks.mlp_decoder([8], (6,)), 2, seed=1)
        model.compile(keras.optimizers.Adam(0.01), **settings)
        model.fit(numbers(), batch_size=10, verbose=0)
        models.append(model)
    assert "XLA cannot compile" in caplog.text
    assert_same(*models)


def test_what_was_asked_for_is_obeyed():
    """XLA that was asked for is an error where it cannot be had."""
    encoder = keras.Sequential([NotForXLA(), keras.layers.Dense(4)])
    model = kv.VAE(encoder, kv.networks.mlp_decoder([8], (6,)), 2, seed=1)
    model.compile("adam", **BLOCKS)
    with pytest.raises(tf.errors.InvalidArgumentError, match="tf2xla"):
        model.fit(numbers(), batch_size=10, verbose=0)


def test_fit_leaves_the_settings_as_they_were(monkeypatch):
    """`evaluate`, `predict` and `train_on_batch` of any size go on as in Keras."""
    monkeypatch.setattr("keras_vae.training.choice.SHORT", 0)
    model, stock = mlp({}), mlp(STOCK)
    x = numbers()
    for each in (model, stock):
        each.fit(x, batch_size=10, verbose=0, validation_data=(x[:25],))
        each.train_on_batch(x[:10])
        each.fit(x[:30], batch_size=10, verbose=0)
    assert (model.jit_compile, model.steps_per_execution) == (False, 1)
    assert_same(model, stock)
    np.testing.assert_allclose(
        model.evaluate(x, batch_size=10, verbose=0),
        stock.evaluate(x, batch_size=10, verbose=0),
        rtol=1e-5,
    )
    np.testing.assert_allclose(
        model.predict(x, batch_size=10, verbose=0),
        stock.predict(x, batch_size=10, verbose=0),
        rtol=1e-5,
    )


def test_the_word_is_saved(tmp_path):
    model = mlp({"jit_compile": "auto", "steps_per_execution": "auto"})
    model.fit(numbers(), verbose=0)
    model.save(tmp_path / "model.keras")
    config = keras.saving.load_model(tmp_path / "model.keras").get_compile_config()
    assert (config["jit_compile"], config["steps_per_execution"]) == ("auto", "auto")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("jit_compile", "yes"),
        ("jit_compile", None),
        ("steps_per_execution", 0),
        ("steps_per_execution", 2.5),
        ("steps_per_execution", "many"),
    ],
)
def test_settings_that_mean_nothing(name, value):
    with pytest.raises(ValueError, match=f"`{name}` must be.*Received: {name}="):
        mlp({name: value})

"""What users met where blocks changed more than speed, with Keras's own numbers."""

import differential
import keras
import matrix
import numpy as np
import pytest
import tensorflow as tf

import keras_vae as kv

X = np.float32(np.random.default_rng(0).random((600, 16)) < 0.3)


@pytest.fixture(params=matrix.first(1, [{}, {"steps_per_execution": 4}]))
def settings(request):
    return request.param


@pytest.fixture
def short(monkeypatch):
    """Blocks that divide nothing, under XLA also in short fits."""
    with differential.short_blocks(monkeypatch):
        yield


def mlp(optimizer="adam", **settings):
    keras.utils.set_random_seed(1)
    model = kv.VAE(
        kv.networks.mlp_encoder([16]), kv.networks.mlp_decoder([16], (16,)), 3, seed=1
    )
    model.build((None, 16))
    model.compile(optimizer, **settings)
    return model


def endless(size=600):
    return tf.data.Dataset.from_tensor_slices(X[:size]).batch(10).repeat()


@pytest.mark.parametrize("is_endless", [False, True], ids=["arrays", "endless"])
def test_validation_takes_the_steps_that_it_is_given(is_endless, settings, monkeypatch):
    held_out = np.float32(np.random.default_rng(5).random((400, 16)) < 0.3)
    held_out[40:] = 1 - held_out[40:]
    drawn = []

    def batches():
        while True:
            for place in range(0, 400, 10):
                drawn.append(place)
                yield (held_out[place : place + 10],)

    def fit(model):
        data = (held_out,)
        if is_endless:
            signature = (tf.TensorSpec((None, 16), tf.float32),)
            data = tf.data.Dataset.from_generator(batches, output_signature=signature)
        drawn.clear()
        history = model.fit(
            X,
            batch_size=10,
            epochs=10,
            validation_data=data,
            validation_batch_size=None if is_endless else 10,
            validation_steps=4,
            verbose=0,
        )
        return history.history["val_loss"], len(drawn)

    with differential.stock(monkeypatch):
        expected, count = fit(mlp())
    losses, own_count = fit(mlp(**settings))
    np.testing.assert_allclose(losses, expected, rtol=1e-3)
    # Some batches are fetched ahead.
    assert own_count <= count + 10


def test_an_epoch_ends_at_its_limit_of_steps(settings):
    """At real length."""
    model = mlp(**settings)
    model.fit(endless(), steps_per_epoch=130, epochs=4, verbose=0)
    assert int(model.optimizer.iterations) == 520


def test_generators_end_an_epoch_at_its_limit_too(settings, short):
    model = mlp(**settings)
    batches = ((X[10 * (i % 60) :][:10],) for i in range(10**6))
    model.fit(batches, steps_per_epoch=13, epochs=4, shuffle=False, verbose=0)
    assert int(model.optimizer.iterations) == 52


def test_the_limit_that_keras_is_configured_with_ends_an_epoch_too(settings, short):
    model = mlp(**settings)
    keras.config.set_max_steps_per_epoch(11)
    try:
        with pytest.warns(UserWarning, match="Limiting steps_per_epoch"):
            model.fit(endless(), steps_per_epoch=30, epochs=5, verbose=0)
    finally:
        keras.config.set_max_steps_per_epoch(None)
    assert int(model.optimizer.iterations) == 55


@pytest.mark.parametrize("own", [False, True], ids=["keras", "own"])
def test_checkpoints_after_batches_hold_the_model_after_them(own, tmp_path, short):
    model = mlp()
    path = tmp_path / "{epoch}-{batch}.keras"
    options = {"save_best_only": False} if own else {}
    module = kv.callbacks if own else keras.callbacks
    checkpoint = module.ModelCheckpoint(path, save_freq=20, **options)
    model.fit(X, batch_size=10, epochs=2, verbose=0, callbacks=[checkpoint])
    assert len(list(tmp_path.iterdir())) == 6
    for name, steps in (("1-20", 20), ("1-60", 60), ("2-20", 80)):
        saved = keras.saving.load_model(tmp_path / f"{name}.keras")
        assert int(saved.optimizer.iterations) == steps


def test_backups_after_batches(tmp_path, monkeypatch, short):
    steps = []
    save = keras.Model.save_weights

    def count(self, *args, **kwargs):
        steps.append(int(self.optimizer.iterations))
        return save(self, *args, **kwargs)

    monkeypatch.setattr(keras.Model, "save_weights", count)
    backup = keras.callbacks.BackupAndRestore(tmp_path, save_freq=7)
    mlp().fit(X, batch_size=10, epochs=2, verbose=0, callbacks=[backup])
    assert steps == list(range(7, 120, 7))


def test_tensorboard_of_batches(tmp_path, short):
    board = keras.callbacks.TensorBoard(tmp_path, update_freq=5)
    mlp().fit(X, batch_size=10, epochs=2, verbose=0, callbacks=[board])
    tags = differential.files(tmp_path)["train"]
    assert [step for tag, step in tags if tag == "batch_loss"] == list(range(5, 121, 5))


def test_training_stops_at_the_first_loss_that_is_no_number(settings, short):
    x = X.copy()
    x[50] = np.nan
    model = mlp(**settings)
    data = tf.data.Dataset.from_tensor_slices(x).batch(10)
    model.fit(data, verbose=0, callbacks=[keras.callbacks.TerminateOnNaN()])
    assert int(model.optimizer.iterations) == 6


class Repair(keras.callbacks.Callback):
    """Puts back the weights of the start where the loss is no number."""

    ends_blocks_at_nan = True

    def __init__(self):
        super().__init__()
        self.repaired = []

    def steps_until_action(self):
        return None

    def on_train_begin(self, logs=None):
        self.start = self.model.get_weights()

    def on_train_batch_end(self, batch, logs=None):
        if not np.isfinite(logs["loss"]):
            self.repaired.append((batch, int(self.model.optimizer.iterations)))
            self.model.set_weights(self.start)
            self.model.reset_metrics()


@pytest.mark.parametrize("feed", ["array", "dataset"])
def test_training_goes_on_where_a_callback_repairs_the_model(feed, monkeypatch):
    """What a block had fetched and not trained on comes next, as under stock Keras."""
    x, y, _ = differential.numbers(100)
    x[35] = np.nan
    case = {"model": "classifier", "optimizer": "plain"}
    data = {**differential.feed(feed, (x, y)), "shuffle": False}

    def fit():
        repair = Repair()
        model = differential.make_model(case, {})
        model.fit(**data, epochs=2, verbose=0, callbacks=[repair])
        return repair.repaired, [np.asarray(v.value) for v in model.trainable_variables]

    with differential.stock(monkeypatch):
        expected = fit()
    with differential.short_blocks(monkeypatch):
        repaired, weights = fit()
    assert repaired == expected[0] == [(3, 4), (3, 14)]
    for one, other in zip(weights, expected[1], strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("first_epochs", matrix.first(1, [1, 10]))
def test_what_is_frozen_later_counts_at_the_next_compile(first_epochs, monkeypatch):
    """Keras's rule, whichever way the two fits are run."""

    def moves():
        model = mlp()
        model.fit(X, batch_size=10, epochs=first_epochs, verbose=0)
        model.encoder.trainable = False
        moved = []
        for epochs in (11 - first_epochs, first_epochs):
            before = model.encoder.get_weights()
            model.fit(X, batch_size=10, epochs=epochs, verbose=0)
            after = model.encoder.get_weights()
            moved.append(
                any(np.any(a != b) for a, b in zip(before, after, strict=True))
            )
            model.compile("adam")
        return moved

    with differential.stock(monkeypatch):
        expected = moves()
    assert moves() == expected == [True, False]


def test_adafactor_trains_as_in_keras(monkeypatch):
    def losses():
        model = mlp(keras.optimizers.Adafactor(1e-3))
        return model.fit(X, batch_size=10, epochs=2, verbose=0).history["loss"]

    with differential.stock(monkeypatch):
        expected = losses()
    with differential.short_blocks(monkeypatch):
        np.testing.assert_allclose(losses(), expected, rtol=1e-4)


@pytest.mark.filterwarnings("ignore:Your input ran out of data:UserWarning")
@pytest.mark.parametrize("batch", [50, None], ids=["fixed", "any"])
def test_an_evaluation_ends_with_its_data(batch):
    """Where their length is unknown Keras counts a batch more, if its size is known."""

    def batches():
        yield from X[:200].reshape(4, 50, 16)

    signature = tf.TensorSpec((batch, 16), tf.float32)
    data = tf.data.Dataset.from_generator(batches, output_signature=signature)
    model = mlp()
    expected = model.evaluate(X[:200], batch_size=50, verbose=0, return_dict=True)
    logs = model.evaluate(data, verbose=0, return_dict=True)
    for name, value in expected.items():
        np.testing.assert_allclose(logs[name], value, rtol=1e-6, err_msg=name)
    history = model.fit(X[:50], validation_data=data, verbose=0).history
    expected = model.evaluate(X[:200], batch_size=50, verbose=0, return_dict=True)
    np.testing.assert_allclose(history["val_loss"], [expected["loss"]], rtol=1e-6)


def test_a_tape_around_a_fit_changes_nothing(settings):
    data = tf.data.Dataset.from_tensor_slices(X[:200]).batch(10)
    expected, taped = mlp("sgd", **settings), mlp("sgd", **settings)
    expected.fit(data, verbose=0)
    with tf.GradientTape():
        taped.fit(data, verbose=0)
        loss = taped.evaluate(data, verbose=0)[0]
    assert loss == expected.evaluate(data, verbose=0)[0]
    for one, other in zip(taped.weights, expected.weights, strict=True):
        np.testing.assert_array_equal(one, other)

import keras
import linear
import numpy as np
import oracle
import pytest
import recipes
import tensorflow as tf
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.util import tensor_util

import keras_vae as kv
from keras_vae.callbacks import CollapseMonitor

X, VECTORS = oracle.data(size=200)
X = np.float32(X)


def train(callbacks, epochs=3, make=None, **compile_options):
    keras.utils.set_random_seed(1)
    model = make() if make else linear.make(scale=0.6)
    model.compile(keras.optimizers.Adam(1e-2), **compile_options)
    y = X if make else None
    history = model.fit(
        X, y, epochs=epochs, batch_size=50, verbose=0, callbacks=callbacks
    )
    return model, history


def functional():
    inputs = keras.Input((5,))
    hidden = keras.layers.BatchNormalization()(keras.layers.Dense(8, "relu")(inputs))
    z = kv.layers.Latent(2, seed=0)(hidden)
    model = keras.Model(inputs, keras.layers.Dense(5)(z))
    compile_model = model.compile
    loss = kv.losses.NegativeLogLikelihood("unit_normal")
    model.compile = lambda *args, **kwargs: compile_model(*args, loss=loss, **kwargs)
    return model


@pytest.mark.parametrize("make", [None, functional])
def test_a_run_ends_in_the_same_weights(make):
    options = {"steps_per_execution": 2, "jit_compile": False}
    plain, without = train([], make=make, **options)
    data = X if make is None else (X, X)
    monitor = CollapseMonitor(data, verbose=0, max_examples=60)
    watched, with_it = train([monitor], make=make, **options)
    pairs = zip(
        (*plain.variables, *plain.optimizer.variables),
        (*watched.variables, *watched.optimizer.variables),
        strict=True,
    )
    for one, other in pairs:
        np.testing.assert_array_equal(np.asarray(one), np.asarray(other), one.path)
    assert without.history == with_it.history
    assert [epoch for epoch, _ in monitor.history] == [0, 1, 2]


class Freeze(keras.callbacks.Callback):
    """Sets the encoder at the start of epochs, which a rate of 0 leaves as it is."""

    def __init__(self, active):
        super().__init__()
        self.active = active

    def on_epoch_begin(self, epoch, logs=None):
        kernel = np.zeros((5, 6), "float32")
        for unit in self.active[epoch]:
            kernel[:, unit] = VECTORS[:, 0]
        self.model.latent.head.kernel.assign(kernel)


def still(active, monitor, epochs):
    model = linear.make(scale=0.6)
    model.compile(keras.optimizers.SGD(0.0), jit_compile=False)
    callbacks = [Freeze(active), monitor]
    model.fit(X, epochs=epochs, batch_size=100, verbose=0, callbacks=callbacks)
    return model


def test_it_remembers_since_when_each_unit_is_unused(capsys):
    monitor = CollapseMonitor(X, verbose=2)
    still([(0, 1), (0,), (2,), (2,)], monitor, epochs=4)
    # z1 went at 1; z2 was unused at first, and is used since 2; z0 went then.
    assert monitor.collapsed_since == [2, 1, None]
    assert (
        capsys.readouterr()
        .out.rstrip()
        .endswith("Unused since epoch 2: z1; since epoch 3: z0.")
    )


def test_unused_units_are_named_by_their_levels(capsys):
    recipe = recipes.make("ladder")
    model = recipe.compile(keras.optimizers.SGD(0.0), jit_compile=False)
    recipe.build(model)
    for latent in model.latents[1:]:
        latent.head.set_weights([0 * weight for weight in latent.head.get_weights()])
    monitor = CollapseMonitor(recipe.x, verbose=2)
    model.fit(recipe.x, verbose=0, callbacks=[monitor])
    text = capsys.readouterr().out
    assert monitor.collapsed_since[3:] == [0] * 4
    assert "z0 of level_2, z1 of level_2, z0 of level_3, z1 of level_3." in text
    # Once the model has diverged too.
    model.latents[0].head.bias.assign(np.nan + model.latents[0].head.bias)
    monitor.on_epoch_end(1)
    text = capsys.readouterr().out
    assert "diverged" in text
    assert "z1 of level_3." in text


def test_looks_are_taken_every_few_epochs_and_at_the_end(capsys):
    monitor = CollapseMonitor(X, every=2, verbose=1)
    model = still([(0,)] * 5, monitor, epochs=5)
    assert [epoch for epoch, _ in monitor.history] == [1, 3, 4]
    assert monitor.diagnosis.to_dict() == kv.diagnose(model, X).to_dict()
    assert monitor.history[-1][1] == monitor.diagnosis.verdict
    # Printed when it changes, which is once.
    assert capsys.readouterr().out.count("Verdict: ") == 1


def test_nothing_is_said_of_latents_on_the_ramp():
    monitor = CollapseMonitor(X, verbose=0)
    annealing = kv.KLAnnealing(kv.schedules.linear("50%"))
    train([annealing, monitor], epochs=4, jit_compile=False)
    verdicts = [verdict for _, verdict in monitor.history]
    assert verdicts[0] == "ramp_not_finished"
    assert verdicts[-1] != "ramp_not_finished"


def test_verdicts_are_text_in_tensorboard(tmp_path):
    monitor = CollapseMonitor(X, log_dir=tmp_path, verbose=0)
    board = kv.callbacks.TensorBoard(tmp_path, update_freq=3)
    train([board, monitor], epochs=2, jit_compile=False)
    events = EventAccumulator(str(tmp_path / "diagnosis"))
    events.Reload()
    texts = events.Tensors("diagnosis/verdict")
    assert [event.step for event in texts] == [0, 1]
    text = tensor_util.make_ndarray(texts[1].tensor_proto).item().decode()
    assert text.startswith(f"**Verdict: {monitor.diagnosis.verdict}**")
    for name in ("active_units", "mutual_information", "shuffle_cost", "noise_ratio"):
        (_, last) = events.Tensors(f"diagnosis/{name}")
        assert tensor_util.make_ndarray(last.tensor_proto) == pytest.approx(
            monitor.diagnosis.evidence[name], rel=1e-6
        )


def test_it_goes_on_where_a_model_diverges():
    monitor = CollapseMonitor(X, verbose=0)
    model = linear.make(scale=0.6)
    model.compile(keras.optimizers.SGD(1e30), jit_compile=False)
    model.fit(X, epochs=2, verbose=0, callbacks=[monitor])
    assert monitor.diagnosis.verdict == "diverged"


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: CollapseMonitor(X, every=0), "`every` must be a positive integer"),
        (lambda: CollapseMonitor(X, max_examples=1), "`max_examples` must be"),
        (lambda: train([CollapseMonitor(X[:, :3])]), r"`x` must have shape"),
        (lambda: train([CollapseMonitor("x")]), "`data` must be an array"),
    ],
)
def test_errors(make, message):
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.slow
def test_two_replicas_end_in_the_same_weights(strategy):
    weights = []
    for callbacks in ([], [CollapseMonitor(X, verbose=0)]):
        with strategy.scope():
            model, _ = train(callbacks, jit_compile=False)
        weights.append([tf.convert_to_tensor(v).numpy() for v in model.variables])
    for one, other in zip(*weights, strict=True):
        np.testing.assert_array_equal(one, other)
    assert len(callbacks[0].history) == 3


def test_a_second_run_begins_anew(capsys):
    monitor = CollapseMonitor(X, max_examples=60)
    train([monitor], epochs=2)
    first, out = monitor.history, capsys.readouterr().out
    assert len(first) == 2
    # Another number of units, of which nothing was remembered.
    train([monitor], epochs=1, make=lambda: linear.make(1, 0.6))
    assert len(monitor.history) == 1
    assert len(monitor.collapsed_since) == 1
    again = capsys.readouterr().out
    assert "Epoch 1" in out
    assert "Epoch 1" in again


def test_the_same_model_goes_on_with_its_history():
    monitor = CollapseMonitor(X, verbose=0, max_examples=60)
    model, _ = train([monitor], epochs=1)
    model.fit(X, epochs=1, batch_size=50, verbose=0, callbacks=[monitor])
    assert [epoch for epoch, _ in monitor.history] == [0, 0]

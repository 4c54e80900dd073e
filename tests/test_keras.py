"""Each use of a private API: what upstream may change, and what follows then."""

import gc
import inspect
import weakref

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_vae as kv
from keras_vae import _keras


def test_sublayers_reads_flatten_layers():
    assert hasattr(keras.layers.Layer, "_flatten_layers"), (
        "keras.layers.Layer._flatten_layers is gone: find another way to walk a "
        "layer's sublayers in keras_vae/_keras.py"
    )
    shared = keras.layers.Dense(2, name="shared")
    inner = keras.Sequential([keras.Input((3,)), shared], name="inner")
    x = keras.Input((3,))
    outer = keras.Model(x, shared(keras.layers.Dense(3, name="first")(inner(x))))
    dense = _keras.sublayers(outer, keras.layers.Dense)
    assert sorted(layer.name for layer in dense) == ["first", "shared"], (
        "_flatten_layers no longer yields each layer once, nested ones included"
    )
    models = _keras.sublayers(outer, keras.Model)
    assert models == [outer, inner], (
        "_flatten_layers no longer yields the layer itself, first, or nested models"
    )
    assert _keras.sublayers(shared, keras.layers.Dense) == [shared]


def test_sublayers_sees_layers_that_are_attributes_of_layers():
    model = kv.VAE(keras.layers.Dense(3), keras.layers.Dense(4), latent_dim=2)
    found = _keras.sublayers(model, kv.Hyperparameter)
    assert found == [model.objective.kl_weight], (
        "_flatten_layers no longer finds a layer held by a layer held by a model, on "
        "which KLAnnealing relies"
    )


def test_outermost_call_reads_the_call_context():
    assert hasattr(keras.layers.Layer, "_get_call_context"), (
        "keras.layers.Layer._get_call_context is gone: find another way to learn the "
        "outermost layer of a running call in keras_vae/_keras.py"
    )
    seen = []

    class Probe(keras.layers.Layer):
        def call(self, x):
            seen.append(_keras.outermost_call(self))
            return x

    probe = Probe()
    probe(np.zeros((1, 2)))
    assert seen[-1].entry_layer is probe, (
        "entry_layer is no longer the layer that was called"
    )
    middle = keras.Sequential([probe])
    outer = keras.Sequential([middle, probe])
    outer(np.zeros((1, 2)))
    first, second = seen[-2:]
    assert first.entry_layer is outer, "entry_layer is no longer the outermost model"
    assert first is second, "layers within one call no longer share its context"
    assert first is not seen[0], "two calls now share one context"
    assert weakref.ref(first)() is first, "the context cannot be referred to weakly"


def test_fit_still_hands_its_cached_validation_data_to_evaluate():
    # `VAE.evaluate` does not check these data again, and passes what it was given.
    parameters = inspect.signature(keras.Model.evaluate).parameters
    assert any(p.kind is p.VAR_KEYWORD for p in parameters.values()), (
        "keras.Model.evaluate no longer takes the keyword _use_cached_eval_dataset"
    )
    calls = []

    class Watched(kv.VAE):
        def evaluate(self, *args, **kwargs):
            calls.append(kwargs.get("_use_cached_eval_dataset"))
            return super().evaluate(*args, **kwargs)

    model = Watched(keras.layers.Dense(3), keras.layers.Dense(4), latent_dim=2)
    model.compile("adam")
    model.fit(np.zeros((4, 4)), validation_data=(np.zeros((4, 4)),), verbose=0)
    assert calls == [True], (
        "fit no longer evaluates with _use_cached_eval_dataset=True: validation data "
        "would be checked in every epoch"
    )


def test_masks_are_read_and_set_as_keras_does():
    ids = np.array([[1, 2, 0]])
    embedded = keras.layers.Embedding(3, 2, mask_zero=True)(ids)
    mask = _keras.mask_of(embedded)
    assert mask is not None, (
        "Keras no longer carries masks as _keras_mask: find another way to read them, "
        "or padding counts in every loss of this library"
    )
    np.testing.assert_array_equal(mask, ids > 0)
    assert _keras.mask_of(keras.ops.ones((1, 3, 2))) is None
    seen = []

    class Probe(keras.layers.Layer):
        def call(self, x, mask=None):
            seen.append(mask)
            return x

    masked = _keras.with_mask(keras.ops.ones((1, 3, 2)), mask)
    with pytest.warns(UserWarning, match="does not support masking"):
        Probe()(masked)
    assert seen[0] is mask, "Keras no longer reads the _keras_mask that is set here"
    metric = keras.metrics.MeanSquaredError()
    target = np.array([[1.0, 3.0, 9.0]])[..., None]
    metric.update_state(target, _keras.with_mask(keras.ops.ones((1, 3, 1)), mask))
    assert float(metric.result()) == 2.0, "Keras's metrics no longer read masks"
    plain = keras.ops.ones((1, 3))
    assert _keras.with_mask(plain, None) is plain


def test_each_private_use_is_watched():
    functions = {
        name
        for name, item in vars(_keras).items()
        if inspect.isfunction(item) and item.__module__ == _keras.__name__
    }
    watched = {
        "sublayers",
        "outermost_call",
        "logits_behind",
        "weights_read_once",
        "batches_until_save",
        "traces_batches",
        "mask_of",
        "with_mask",
        "is_saving_legacy_file",
        "holds_weights",
        "calls_watched",
        "learning_rate_schedule",
        "forget_gradients",
    }
    functions -= {"_reading_once", "_put_back", "_watched"}
    assert functions == watched, "add a test for the new function"


def test_logits_behind_reads_the_mark_of_activations():
    logits = np.float32([[-1.0, 2.0]])
    for activation in (keras.activations.sigmoid, keras.activations.softmax):
        marked = _keras.logits_behind(activation(keras.ops.convert_to_tensor(logits)))
        assert marked is not None, (
            "Keras no longer marks probabilities with _keras_logits: the audit of a "
            "decoder that ends in a sigmoid must find its logits in another way"
        )
        np.testing.assert_array_equal(marked, logits)
    assert _keras.logits_behind(keras.ops.convert_to_tensor(logits)) is None


def _gradients(model, x):
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(model(x) ** 2)
    return tape.gradient(loss, model.trainable_variables)


def _reads_within_functions(function, x):
    # The bodies of loops are functions of their own, of which the outer one is none.
    graph = function.get_concrete_function(x).graph.as_graph_def()
    nodes = [node for inner in graph.library.function for node in inner.node_def]
    return sum(node.op == "ReadVariableOp" for node in nodes)


@pytest.mark.parametrize(
    "layer",
    [
        keras.layers.LSTM(3),
        keras.layers.GRU(3),
        keras.layers.SimpleRNN(3),
        keras.layers.RNN([keras.layers.LSTMCell(3), keras.layers.GRUCell(2)]),
        keras.layers.Bidirectional(keras.layers.LSTM(3)),
    ],
    ids=["lstm", "gru", "simple", "stacked", "bidirectional"],
)
def test_weights_read_once_are_cached_by_their_variables(layer):
    x = tf.constant(np.random.default_rng(0).normal(size=(2, 5, 4)), tf.float32)
    model = keras.Sequential([layer])
    model(x)
    plain = tf.function(lambda x: _gradients(model, x), autograph=False)
    assert _reads_within_functions(plain, x), (
        "Keras no longer reads the weights of a cell at each step: take "
        "weights_read_once out of keras_vae/_keras.py"
    )
    expected = plain(x)
    with _keras.weights_read_once(_keras.sublayers(model, keras.layers.RNN)):
        once = tf.function(lambda x: _gradients(model, x), autograph=False)
        assert not _reads_within_functions(once, x), (
            "tf.Variable._cached_value is no longer what a variable yields where it is "
            "read, or keras.Variable._value no longer the tf.Variable: training "
            "recurrent layers under XLA takes more memory again"
        )
        for ours, theirs in zip(once(x), expected, strict=True):
            np.testing.assert_allclose(ours, theirs, rtol=1e-6, atol=1e-7)
    assert all(weight._value._cached_value is None for weight in model.variables)
    assert not any("call" in vars(item) for item in _keras.sublayers(model, object))


def test_weights_read_once_leaves_a_call_of_the_users_own():
    layer = keras.layers.LSTM(3)
    layer.call = own = layer.call
    with _keras.weights_read_once([layer]):
        outer = layer.call
        with _keras.weights_read_once([layer]):
            assert layer(tf.zeros((2, 5, 4))).shape == (2, 3)
        assert layer.call is outer
    assert layer.call is own
    assert all(weight._value._cached_value is None for weight in layer.variables)


def test_weights_read_once_are_forgotten_after_an_error():
    layer = keras.layers.LSTM(3)
    layer.build((None, 5, 4))
    without_steps = tf.zeros((2, 4))
    with _keras.weights_read_once([layer]):
        with pytest.raises(tf.errors.InvalidArgumentError):
            layer.call(without_steps)
        assert all(weight._value._cached_value is None for weight in layer.variables)
    assert "call" not in vars(layer)


@pytest.mark.parametrize("kind", ["checkpoint", "backup"])
def test_callbacks_that_count_batches_save_when_they_are_expected_to(kind, tmp_path):
    saves = []
    if kind == "checkpoint":
        callback = keras.callbacks.ModelCheckpoint(
            tmp_path / "a{epoch}-{batch}.keras", save_freq=4
        )
    else:
        callback = keras.callbacks.BackupAndRestore(tmp_path, save_freq=4)
    callback._save_model = lambda *args, **kwargs: saves.append(True)
    done, expected = [], []
    for epoch in range(3):
        callback.on_epoch_begin(epoch)
        for batch in range(6):
            expected.append(_keras.batches_until_save(callback) == 1)
            callback.on_train_batch_end(batch, {})
            done.append(bool(saves))
            saves.clear()
        # Not the last epoch's end, at which the first would compare epochs.
        callback._last_batch_seen = 0 if kind == "backup" else 5
    assert sum(done) == 4
    assert done == expected, (
        "_batches_seen_since_last_saving no longer tells when a callback saves: find "
        "another way to end blocks there in keras_vae/_keras.py"
    )
    callback.save_freq = "epoch"
    assert _keras.batches_until_save(callback) is None


def test_the_profile_of_tensorboard_is_known(tmp_path):
    assert [
        _keras.traces_batches(
            keras.callbacks.TensorBoard(tmp_path, profile_batch=profile)
        )
        for profile in (0, 2)
    ] == [False, True], (
        "_should_trace no longer tells that keras.callbacks.TensorBoard traces batches"
    )


def test_a_legacy_file_is_known_while_it_is_written(tmp_path):
    seen = []

    @keras.saving.register_keras_serializable("tests")
    class Noting(keras.layers.Dense):
        def get_config(self):
            seen.append(_keras.is_saving_legacy_file())
            return super().get_config()

    model = keras.Sequential([keras.Input((2,)), Noting(2)])
    model.save(tmp_path / "a.keras")
    assert not any(seen)
    seen.clear()
    model.save(tmp_path / "a.h5")
    assert any(seen)
    assert not _keras.is_saving_legacy_file()


def test_what_a_file_of_weights_holds(tmp_path):
    class Noting(keras.Model):
        def __init__(self):
            super().__init__()
            self.inner = keras.layers.Dense(2)

        def build(self, input_shape):
            self.inner.build(input_shape)

        def load_own_variables(self, store):
            self.held = [
                _keras.holds_weights(store, path) for path in ("inner", "outer")
            ]

    model = Noting()
    model.build((None, 2))
    model.save_weights(tmp_path / "a.weights.h5")
    model.load_weights(tmp_path / "a.weights.h5")
    assert model.held == [True, False]
    assert not _keras.holds_weights({}, "inner")


def test_calls_watched_replaces_the_call_that_a_layer_looks_up():
    inner = keras.layers.Dense(2, name="inner")
    model = keras.Sequential([keras.Input((3,)), inner, keras.layers.ReLU()])
    seen = []
    x = np.ones((1, 3), "float32")
    with _keras.calls_watched([inner], lambda *call: seen.append(call)):
        expected = model(x)
    ((layer, outputs),) = seen
    assert layer is inner, (
        "Layer.__call__ no longer looks `call` up on the layer: find another way to "
        "see what each layer returns in keras_vae/_keras.py"
    )
    np.testing.assert_array_equal(np.maximum(outputs, 0), expected)
    assert "call" not in vars(inner)


def test_learning_rate_schedule_reads_the_private_rate():
    assert _keras.learning_rate_schedule(keras.optimizers.Adam(0.1)) is None
    schedule = keras.optimizers.schedules.CosineDecay(0.1, 10)
    optimizer = keras.optimizers.Adam(schedule)
    assert _keras.learning_rate_schedule(optimizer) is schedule, (
        "keras.optimizers.Optimizer._learning_rate is no longer the schedule: the rate "
        "of an optimiser that follows one can no longer be lowered"
    )


def test_forget_gradients_clears_what_custom_gradients_registered():
    @tf.custom_gradient
    def tripled(x):
        return 3.0 * x, lambda upstream: 5.0 * upstream

    @tf.function(autograph=False)
    def slope(x):
        with tf.GradientTape() as tape:
            tape.watch(x)
            y = tripled(x)
        slope = tape.gradient(y, x)
        graphs.append(weakref.ref(tf.compat.v1.get_default_graph()))
        _keras.forget_gradients()
        return slope

    graphs = []
    np.testing.assert_array_equal(slope(tf.ones(2)), [5.0, 5.0])
    np.testing.assert_array_equal(tripled(tf.ones(2)), [3.0, 3.0])
    del slope
    gc.collect()
    assert [graph() for graph in graphs] == [None], (
        "tf.custom_gradient no longer registers its functions as entries 'type' of "
        "tensorflow.python.framework.ops.gradient_registry, or TensorFlow keeps graphs "
        "in another way: mend or drop forget_gradients in keras_vae/_keras.py"
    )


def test_forget_gradients_leaves_functions_that_a_graph_calls():
    @tf.custom_gradient
    def tripled(x):
        return 3.0 * x, lambda upstream: 5.0 * upstream

    shared = tf.function(tripled, autograph=False)

    @tf.function(autograph=False)
    def caller(x):
        y = shared(x)
        _keras.forget_gradients()
        return y

    x = tf.ones(2)
    caller(x)
    with tf.GradientTape() as tape:
        tape.watch(x)
        y = shared(x)
    np.testing.assert_array_equal(tape.gradient(y, x), [5.0, 5.0])

"""Each use of a private Keras API: what upstream may change, and what follows then."""

import inspect

import keras
import numpy as np

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


def test_outermost_reads_the_call_context():
    assert hasattr(keras.layers.Layer, "_get_call_context"), (
        "keras.layers.Layer._get_call_context is gone: find another way to learn the "
        "outermost layer of a running call in keras_vae/_keras.py"
    )
    seen = []

    class Probe(keras.layers.Layer):
        def call(self, x):
            seen.append(_keras.outermost(self))
            return x

    probe = Probe()
    probe(np.zeros((1, 2)))
    assert seen.pop() is probe, "entry_layer is no longer the layer that was called"
    middle = keras.Sequential([probe])
    outer = keras.Sequential([middle])
    outer(np.zeros((1, 2)))
    assert seen.pop() is outer, "entry_layer is no longer the outermost model"


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


def test_each_private_use_is_watched():
    functions = {
        name
        for name, item in vars(_keras).items()
        if inspect.isfunction(item) and item.__module__ == _keras.__name__
    }
    watched = {"sublayers", "outermost", "logits_behind"}
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

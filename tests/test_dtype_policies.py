"""What is saved under one dtype policy does the same where another one is global."""

import keras
import matrix
import numpy as np
import pytest
import recipes

import keras_vae as kv
from keras_vae import _keras

# Keras itself saves no policy with these.
CONTAINERS = (keras.Sequential, keras.layers.InputLayer)
QUICK = ["bernoulli", "factor", "aggressive", "multi_rate", "latent_capacity"]
QUICK += ["normal_per_output_learned_prior", "skip_connections_and_input_dropout"]
NAMES = [
    name if name in QUICK else pytest.param(name, marks=pytest.mark.slow)
    for name in recipes.RECIPES
]


def policies(model):
    """Kind and policy of each layer, but those of which Keras saves none."""
    return [
        (type(layer).__name__, layer.dtype_policy.name)
        for layer in _keras.sublayers(model, keras.layers.Layer)
        if not isinstance(layer, CONTAINERS) and not hasattr(layer, "operations")
    ]


@pytest.mark.parametrize(
    ("saved", "loaded"),
    matrix.first(1, [("float32", "mixed_float16"), ("mixed_bfloat16", "float32")]),
)
@pytest.mark.parametrize("name", NAMES)
def test_each_layer_keeps_its_policy(name, saved, loaded, tmp_path):
    keras.config.set_dtype_policy(saved)
    recipe = recipes.make(name)
    model = recipe.model
    if not model.built:
        model.build((None, *recipe.x.shape[1:]))
    model.save(tmp_path / "model.keras")
    expected = model.predict(recipe.x, verbose=0)
    keras.config.set_dtype_policy(loaded)
    other = keras.saving.load_model(tmp_path / "model.keras")
    assert keras.config.dtype_policy().name == loaded
    assert policies(other) == policies(model)
    if isinstance(model, kv.VAE):
        np.testing.assert_array_equal(other.predict(recipe.x, verbose=0), expected)


@pytest.mark.parametrize(
    ("saved", "loaded"), [("mixed_bfloat16", "float32"), ("float32", "mixed_float16")]
)
def test_the_vae_of_one_weight_keeps_the_policies(saved, loaded):
    keras.config.set_dtype_policy(saved)
    recipe = recipes.make("multi_rate")
    recipe.model.build((None, *recipe.x.shape[1:]))
    expected = recipe.model.at(0.5)
    keras.config.set_dtype_policy(loaded)
    vae = recipe.model.at(0.5)
    assert policies(vae) == policies(expected)
    np.testing.assert_array_equal(
        vae.predict(recipe.x, verbose=0), expected.predict(recipe.x, verbose=0)
    )


def small_vae(model=kv.VAE, **kwargs):
    return model(
        kv.networks.mlp_encoder([4]), kv.networks.mlp_decoder([4], (6,)), 2, **kwargs
    )


def half_precision(policy):
    return (
        rf"The dtype policy '{policy}' of '\w+' keeps weights in half precision.*"
        rf"`keras.config.set_dtype_policy\('mixed_{policy}'\)`"
    )


@pytest.mark.parametrize("policy", ["float16", "bfloat16"])
def test_pure_half_precision_is_warned_of(policy):
    keras.config.set_dtype_policy(policy)
    for model in (small_vae(), small_vae(kv.MultiRateVAE)):
        with pytest.warns(UserWarning, match=half_precision(policy)):
            model.compile("adam")
    x = keras.Input((6,))
    with pytest.warns(UserWarning, match=half_precision(policy)):
        kv.layers.Latent(2)(x)


def test_one_network_in_half_precision_is_warned_of():
    decoder = keras.layers.Dense(6, dtype="float16", name="own")
    model = kv.VAE(kv.networks.mlp_encoder([4]), decoder, latent_dim=2)
    with pytest.warns(UserWarning, match="'float16' of 'own' keeps weights in half"):
        model.compile("adam")


@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16", "float64"])
def test_other_policies_are_not_warned_of(policy):
    keras.config.set_dtype_policy(policy)
    # Warnings are errors.
    small_vae().compile("adam")
    kv.layers.Latent(2)(keras.Input((6,)))

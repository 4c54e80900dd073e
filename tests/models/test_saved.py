"""A model is saved and loaded whole, or refused."""

import io
import json
import zipfile

import h5py
import keras
import matrix
import numpy as np
import pytest

import keras_vae as kv

X = np.random.default_rng(0).integers(0, 2, (20, 6)).astype("float32")
MODELS = [kv.VAE, kv.MultiRateVAE, kv.AggressiveVAE]


def vae(model=kv.VAE, encoder=None):
    keras.utils.set_random_seed(0)
    return model(
        encoder or kv.networks.mlp_encoder([4]),
        kv.networks.mlp_decoder([4], (6,)),
        latent_dim=2,
        seed=0,
    )


def trained(*args, **kwargs):
    model = vae(*args, **kwargs)
    model.compile("adam")
    model.fit(X, verbose=0)
    return model


def changed(path, change_config=None, change_weights=None):
    """Writes a copy of a `.keras` file with other contents, and returns its path."""
    copy = path.with_name("changed.keras")
    with zipfile.ZipFile(path) as old, zipfile.ZipFile(copy, "w") as new:
        for name in old.namelist():
            content = old.read(name)
            if change_config and name == "config.json":
                config = json.loads(content)
                change_config(config)
                content = json.dumps(config)
            if change_weights and name.endswith(".h5"):
                file = io.BytesIO(content)
                with h5py.File(file, "r+") as weights:
                    change_weights(weights)
                content = file.getvalue()
            new.writestr(name, content)
    return copy


# === HDF5 ===

NO_HDF5 = (
    r"`filepath` must end in '.keras', because Keras could not load a \w+ from HDF5: "
    r"use `save\('model.keras'\)`.*`save_weights\('model.weights.h5'\)`. Received: "
)


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("name", ["a.h5", "a.hdf5", "a.weights.h5"])
def test_hdf5_is_refused(model, name, tmp_path):
    model = vae(model)
    model.build((None, 6))
    path = tmp_path / name
    for filepath in (path, str(path)):
        with pytest.raises(ValueError, match=NO_HDF5 + f".*{name}'"):
            model.save(filepath)
    assert not path.exists()
    # What does not go through the model's own method.
    with pytest.raises(ValueError, match=NO_HDF5 + "'an HDF5 file'"):
        keras.saving.save_model(model, path)


def test_weights_may_be_hdf5(tmp_path):
    model = trained()
    model.save_weights(tmp_path / "a.weights.h5")
    other = vae()
    other.build((None, 6))
    other.load_weights(tmp_path / "a.weights.h5")
    np.testing.assert_array_equal(other.reconstruct(X), model.reconstruct(X))


@pytest.mark.filterwarnings("ignore:You are saving your model as an HDF5 file")
def test_a_functional_model_with_a_latent_may_be_hdf5(tmp_path):
    x = keras.Input((6,))
    z = kv.layers.Latent(2, kl_weight=0.5, seed=0)(x)
    model = keras.Model(x, keras.layers.Dense(6)(z))
    model.compile("adam", kv.losses.NegativeLogLikelihood("bernoulli"))
    model.fit(X, X, verbose=0)
    model.save(tmp_path / "a.h5")
    loaded = keras.saving.load_model(tmp_path / "a.h5")
    assert loaded.evaluate(X, X, verbose=0) == model.evaluate(X, X, verbose=0)


# === Files that were changed ===

DOES_NOT_FIT = (
    r"`input_shape` of the saved `build_config` must be the shape for which "
    r"'\w+' was built: the file was changed or is damaged\. Received: build_config="
)


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("shape", matrix.first(1, [[None, 3], [None, 9], None]))
def test_another_input_shape_is_refused(model, shape, tmp_path):
    trained(model).save(tmp_path / "a.keras")

    def change(config):
        config["build_config"]["input_shape"] = shape

    # Gated networks are made anew for the shape, which their weights do not fit.
    with pytest.raises(ValueError, match=f"{DOES_NOT_FIT}|could not be loaded"):
        keras.saving.load_model(changed(tmp_path / "a.keras", change))


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("compiled", matrix.first(1, [True, False]))
def test_a_file_without_build_config_is_refused(model, compiled, tmp_path):
    trained(model).save(tmp_path / "a.keras")

    def change(config):
        del config["build_config"]
        if not compiled:
            del config["compile_config"]

    path = changed(tmp_path / "a.keras", change)
    with pytest.raises(ValueError, match="must be built before its weights are loaded"):
        keras.saving.load_model(path, compile=compiled)


@pytest.mark.parametrize("missing", ["latent/head", "latent/head/{}/0", "kl_weight"])
def test_missing_weights_are_refused(missing, tmp_path):
    trained().save(tmp_path / "a.keras")

    def change(weights):
        del weights[missing.format("vars")]

    path = changed(tmp_path / "a.keras", change_weights=change)
    with pytest.raises(ValueError, match="could not be loaded"):
        keras.saving.load_model(path)


def test_another_number_of_latents_is_refused(tmp_path):
    trained().save(tmp_path / "a.keras")

    def change(config):
        config["config"]["latent_dim"] = 3

    with pytest.raises(ValueError, match=DOES_NOT_FIT):
        keras.saving.load_model(changed(tmp_path / "a.keras", change))


def test_models_that_are_right_are_loaded(tmp_path):
    model = vae()
    with pytest.warns(UserWarning, match="has not yet been built"):
        model.save(tmp_path / "a.keras")
    assert not keras.saving.load_model(tmp_path / "a.keras").built
    encoder = keras.Sequential([keras.layers.GlobalAveragePooling1D()])
    model = vae(encoder=encoder)
    model.build((None, 6, 2))
    model.save(tmp_path / "a.keras")
    loaded = keras.saving.load_model(tmp_path / "a.keras")
    assert loaded.get_build_config() == {"input_shape": [None, 6, 2]}
    x = np.stack([X, 1 - X], axis=2)
    np.testing.assert_array_equal(loaded.reconstruct(x), model.reconstruct(x))
    loaded.save(tmp_path / "b.keras")
    again = keras.saving.load_model(tmp_path / "b.keras")
    np.testing.assert_array_equal(again.reconstruct(x), model.reconstruct(x))

"""Files that the first version saved: each later one loads them, with equal outputs."""

import pathlib

import keras
import numpy as np
import pytest

import keras_vae as kv

DIRECTORY = pathlib.Path(__file__).parent / "golden"
NAMES = ("vae", "multi_rate_vae", "latent")


@pytest.fixture(params=NAMES)
def golden(request):
    """A loaded model, and what the model that was saved has put out."""
    model = keras.saving.load_model(DIRECTORY / f"{request.param}.keras")
    with np.load(DIRECTORY / f"{request.param}.npz") as arrays:
        return model, dict(arrays)


def target(model, x):
    return {} if isinstance(model, kv.VAE) else {"y": x}


def test_outputs_are_those_of_the_model_that_was_saved(golden):
    model, arrays = golden
    x = arrays["x"]
    outputs = {"predict": model.predict(x, verbose=0)}
    if isinstance(model, kv.VAE):
        mean, stddev = model.encode(x)
        outputs |= {"mean": mean, "stddev": stddev, "generate": model.generate(3, 2)}
    if isinstance(model, kv.MultiRateVAE):
        outputs["at_2"] = model.at(beta=2.0).predict(x, verbose=0)
    for name, value in outputs.items():
        np.testing.assert_allclose(value, arrays[name], 1e-5, 1e-6, err_msg=name)


def test_evaluation_is_that_of_the_model_that_was_saved(golden):
    model, arrays = golden
    x = arrays["x"]
    logs = model.evaluate(
        x, **target(model, x), batch_size=4, verbose=0, return_dict=True
    )
    expected = {
        name.removeprefix("evaluate_"): value
        for name, value in arrays.items()
        if name.startswith("evaluate_")
    }
    assert set(logs) == set(expected)
    for name, value in expected.items():
        np.testing.assert_allclose(logs[name], value, rtol=1e-5, err_msg=name)


def test_training_goes_on_as_it_did(golden):
    """Weights, noise, optimiser and its step are all restored."""
    model, arrays = golden
    x = arrays["x"]
    assert int(model.optimizer.iterations) == arrays["iterations"]
    data = {"x": x, **target(model, x)}
    model.fit(**data, batch_size=4, verbose=0, shuffle=False)
    np.testing.assert_allclose(
        model.predict(x, verbose=0), arrays["predict_after_three_steps"], 1e-4, 1e-5
    )

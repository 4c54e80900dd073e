"""A model of one weight that is trained on is never behind a candidate."""

import numpy as np
import pytest

import keras_vae as kv


def make(x, seed=0):
    vae = kv.VAE(
        kv.networks.mlp_encoder([16]),
        kv.networks.mlp_decoder([16], (6,)),
        latent_dim=2,
        likelihood="unit_normal",
        objective=kv.ELBO(0.1),
        linear_path=True,
        seed=seed,
    )
    vae.build((None, 6))
    return vae


@pytest.fixture(scope="module")
def data():
    generator = np.random.default_rng(0)
    code = generator.normal(size=(600, 2))
    x = np.sin(code @ generator.normal(size=(2, 6)) * 2)
    return np.float32(x[:400]), np.float32(x[400:])


def loss(vae, x):
    return vae.evaluate(x, batch_size=100, verbose=0, return_dict=True)["loss"]


def test_the_best_start_is_trained_to_its_best_epoch(data):
    x, validation = data
    adapted, drawn = make(x), make(x)
    adapted.adapt(x)
    found = kv.weighing.polish(
        {"drawn": drawn, "adapted": adapted}, x, validation, epochs=4
    )
    assert (found.start, found.model) == ("adapted", adapted)
    assert found.losses["adapted"] < found.losses["drawn"]
    assert found.gain > 0
    # Validation examples are drawn several times, evaluation here once.
    assert loss(adapted, np.tile(validation, (3, 1))) == pytest.approx(found.loss)


def test_a_training_that_gains_nothing_is_undone(data):
    x, validation = data
    vae = make(x)
    vae.adapt(x)
    before = vae.get_weights()
    found = kv.weighing.polish(
        {"adapted": vae}, x, validation, epochs=2, learning_rate=10.0
    )
    assert (found.epochs, found.gain) == (0, 0.0)
    for weight, old in zip(vae.get_weights(), before, strict=True):
        np.testing.assert_array_equal(weight, old)


def test_losses_compare_whatever_the_size_of_batches(data):
    x, validation = data
    vae = make(x)
    vae.adapt(x)
    # Steps too small to change a weight: the loss is that of before.
    found = kv.weighing.polish(
        {"a": vae}, x, validation, epochs=1, learning_rate=1e-30, batch_size=32
    )
    assert found.loss == pytest.approx(loss(vae, np.tile(validation, (3, 1))), rel=1e-6)
    assert found.gain == pytest.approx(0.0, abs=1e-5)


def test_without_epochs_it_chooses(data):
    x, validation = data
    adapted, drawn = make(x), make(x)
    adapted.adapt(x)
    candidates = {"drawn": drawn, "adapted": adapted}
    found = kv.weighing.polish(candidates, x, validation, epochs=0)
    assert found.model is adapted


def test_no_candidates(data):
    with pytest.raises(ValueError, match="`candidates` must hold a model"):
        kv.weighing.polish({}, *data, epochs=1)

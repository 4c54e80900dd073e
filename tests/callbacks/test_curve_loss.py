"""The loss over all weights that epochs of a Multi-Rate VAE compare by."""

import keras
import matrix
import numpy as np
import pytest

import keras_vae as kv

BETAS = [0.1, 0.5, 2.0]


def make(likelihood):
    multi = kv.MultiRateVAE(
        kv.networks.mlp_encoder([8]),
        kv.networks.mlp_decoder([8], (4,)),
        latent_dim=2,
        likelihood=likelihood,
        beta_range=(0.1, 2.0),
        seed=0,
    )
    multi.compile("adam")
    return multi


@pytest.mark.parametrize("likelihood", matrix.first(1, ["bernoulli", "unit_normal"]))
def test_it_is_the_mean_of_what_the_models_of_the_weights_lose(likelihood):
    x = np.float32(np.random.default_rng(0).random((300, 4)) < 0.5)
    multi = make(likelihood)
    callback = kv.callbacks.CurveLoss(x[:200], BETAS, max_examples=100)
    history = multi.fit(x, epochs=2, callbacks=[callback], verbose=0).history
    curve = kv.rate_distortion(multi, x[:100], BETAS, num_resamples=2)
    losses = curve.distortion + curve.beta * curve.rate
    expected = losses.mean()
    if likelihood == "unit_normal":
        expected = 2 * np.log(losses - 2 * np.log(2 * np.pi)).mean()
    # The draws of z are the same.
    assert history["val_curve_loss"][-1] == pytest.approx(expected, rel=1e-5)
    assert callback.measure() == pytest.approx(history["val_curve_loss"][-1])


@pytest.mark.slow
def test_it_leaves_training_as_it_is():
    x = np.float32(np.random.default_rng(0).random((300, 4)))
    ends = []
    for callbacks in ([], [kv.callbacks.CurveLoss(x[:100])]):
        keras.utils.set_random_seed(0)
        multi = make("unit_normal")
        multi.fit(x, epochs=2, callbacks=callbacks, verbose=0)
        ends.append(multi.get_weights())
    for one, other in zip(*ends, strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("betas", [[], [0.0], [1e4]])
def test_weights_outside_of_the_range_are_refused_before_training(betas):
    x = np.float32(np.random.default_rng(0).random((30, 4)))
    message = "`beta` must" if betas else "`betas` must hold"
    callbacks = [kv.callbacks.CurveLoss(x, betas)]
    with pytest.raises(ValueError, match=message):
        make("unit_normal").fit(x, verbose=0, callbacks=callbacks)


def test_a_model_of_one_weight_is_refused():
    vae = kv.VAE(
        kv.networks.mlp_encoder([4]), kv.networks.mlp_decoder([4], (4,)), latent_dim=1
    )
    vae.compile("adam")
    x = np.zeros((10, 4), "float32")
    with pytest.raises(ValueError, match="needs a model of all weights"):
        vae.fit(x, callbacks=[kv.callbacks.CurveLoss(x)], verbose=0)

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_vae as kv
from keras_vae.distributions import heads

SHAPE = (2, 3, 4)
X = np.random.default_rng(0).normal(size=(5, 4, 6, 1)).astype("float32")


def make(latent_dim=SHAPE, **kwargs):
    keras.utils.set_random_seed(0)
    return kv.VAE(
        encoder=keras.layers.Conv2D(5, 2, strides=2, activation="tanh"),
        decoder=keras.layers.Conv2DTranspose(1, 2, strides=2),
        latent_dim=latent_dim,
        likelihood="unit_normal",
        seed=1,
        **kwargs,
    )


@pytest.fixture(scope="module")
def vae():
    vae = make()
    vae.build((None, *X.shape[1:]))
    return vae


def test_parameters_of_a_map_come_in_blocks():
    head = heads.make(lambda units: 3 * units, SHAPE)
    features = np.random.default_rng(1).normal(size=(2, 2, 3, 5)).astype("float32")
    head.build(features.shape)
    params = head(features).numpy()
    at_each_place = head.dense(features).numpy()
    for place in range(3):
        block = params.reshape(2, 3, -1)[:, place]
        expected = at_each_place[..., 4 * place : 4 * place + 4]
        np.testing.assert_allclose(block, expected.reshape(2, -1), rtol=1e-6)


def test_each_place_has_a_head_of_its_own_features(vae):
    mean, stddev = vae.encode(X)
    assert mean.shape == stddev.shape == (5, *SHAPE)
    dense = vae.latent.head.dense(vae.encoder(X))
    loc, scale = kv.distributions.DiagonalNormal().mean_and_stddev(dense)
    np.testing.assert_allclose(mean, loc, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(stddev, scale, rtol=1e-5)
    rate = kv.metrics.kl_to_standard_normal(
        np.reshape(loc, (5, -1)), np.reshape(scale, (5, -1))
    )
    found = vae.estimate(X, X, 1, kv.random.key(0))
    np.testing.assert_allclose(found.rate(), rate.sum(1), rtol=1e-5)
    z = vae.sample_posterior(X, seed=2)
    assert z.shape == (5, *SHAPE)
    np.testing.assert_allclose(vae.decode(z), vae.decoder(z), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(vae.reconstruct(X), vae.decode(mean), rtol=1e-5)


def test_a_model_of_maps_is_saved_and_exported(vae, tmp_path):
    vae.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert loaded.latent.shape == SHAPE
    np.testing.assert_array_equal(loaded.reconstruct(X), vae.reconstruct(X))
    vae.export(tmp_path / "model", verbose=False)
    served = tf.saved_model.load(tmp_path / "model")
    mean = served.encode(X)["mean"]
    np.testing.assert_allclose(served.decode(mean), vae.reconstruct(X), rtol=1e-5)


@pytest.mark.parametrize(
    ("latent_dim", "change", "message"),
    [
        (SHAPE, {"posterior": "full_covariance_normal"}, "independent units"),
        ((2, 2, 4), {}, r"features must have the shape \(batch, 2, 2, channels\)"),
        ((2, 0), {}, "for a map a tuple"),
    ],
)
def test_maps_that_do_not_fit(latent_dim, change, message):
    with pytest.raises(ValueError, match=message):
        make(latent_dim, **change).build((None, *X.shape[1:]))

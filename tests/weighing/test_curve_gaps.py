"""Curves of models whose data have missing elements."""

import numpy as np
import pytest

import keras_vae as kv
from keras_vae import metrics

BETA, EXAMPLES, SIZE = 0.3, 60, 5
GENERATOR = np.random.default_rng(0)
GAPS = GENERATOR.random((EXAMPLES, SIZE)) < 0.3
X = np.float32(np.where(GAPS, np.nan, GENERATOR.normal(size=GAPS.shape)))


def make(likelihood="unit_normal"):
    vae = kv.VAE(
        kv.networks.mlp_encoder([8]),
        kv.networks.mlp_decoder([8], (SIZE,)),
        latent_dim=2,
        likelihood=likelihood,
        objective=kv.ELBO(kl_weight=BETA),
        missing="nan",
        seed=0,
    )
    vae.build((None, SIZE))
    return vae


@pytest.fixture(scope="module")
def measured():
    vae = make()
    return vae, kv.rate_distortion({BETA: vae}, X, num_resamples=50, num_generated=9)


def squares(vae):
    """The squared error of each example over what is there, at the draws of a curve."""
    z = vae.estimate_latents(X, 1, kv.random.key(0))[0].z[:, 0]
    return np.nansum(np.square(vae.decode(z).numpy() - X), axis=1)


def test_errors_are_those_of_what_is_there(measured):
    vae, curve = measured
    expected = squares(vae).sum() / np.sum(~GAPS)
    assert curve.reading.error[0] == pytest.approx(expected, rel=1e-5)
    distortion = curve.reading.distortion_of(curve.reading.error)
    np.testing.assert_allclose(distortion, curve.distortion)
    half = squares(vae).mean() / 2
    shown = curve.reading.without_constant(curve.distortion)
    np.testing.assert_allclose(shown, half, rtol=1e-5)


def test_the_bound_is_that_of_the_noise_of_the_weight(measured):
    vae, curve = measured
    own = kv.weighing.with_own_noise(vae, BETA)
    assert curve.reading.bound[0] == pytest.approx(-np.mean(own.elbo(X)), rel=1e-5)


def test_errors_of_resampled_examples_are_those_of_their_elements(measured):
    vae, curve = measured
    pairs = np.stack([squares(vae), np.sum(~GAPS, axis=1)])
    total, number = metrics.bootstrap_means(pairs, 50, seed=0).T
    errors = curve.reading.error_of(curve.replicates["distortion"])[:, 0]
    np.testing.assert_allclose(errors, total / number, rtol=1e-4)


def test_events_with_gaps_are_at_no_distance(measured):
    _, curve = measured
    assert np.isnan(curve.sample_distance).all()


def test_words_say_which_elements_count(measured):
    vae, _ = measured
    text = str(kv.advise({BETA: vae, 2 * BETA: vae}, X, num_resamples=9))
    assert "where an element is missing, put x in place of x_hat" in text.replace(
        "\n    ", " "
    )


def test_grey_values_are_read_as_a_normal_of_what_is_there():
    grey = np.clip(0.5 + 0.2 * X, 0, 1)
    vae = make("bernoulli")
    curve = kv.rate_distortion({1.0: vae}, grey, num_resamples=5)
    assert curve.meaning.is_grey
    z = vae.sample_posterior(grey, seed=0)
    error = np.nanmean(np.square(vae.decode(z).numpy() - grey))
    np.testing.assert_allclose(curve.reading.error, error, rtol=1e-5)
    nats = (1 - GAPS.mean()) * SIZE / 2 * (np.log(2 * np.pi * error) + 1)
    np.testing.assert_allclose(curve.reading.bound, curve.rate + nats, rtol=1e-5)


def test_units_of_standardised_data_count_for_what_is_there():
    scale = np.array([1.0, 10.0, 0.1, 1.0, 5.0])
    layer = kv.normalization.layer(np.zeros(SIZE), scale)
    likelihood = kv.distributions.Standardized("unit_normal", layer)
    meaning = kv.weighing.Meaning.of(likelihood, X * scale)
    expected = np.where(GAPS, 0.0, np.log(scale)).sum(axis=1).mean()
    assert meaning.log_units == pytest.approx(expected)
    assert meaning.observed_size == pytest.approx(np.sum(~GAPS) / EXAMPLES)


def test_weights_of_a_range_are_near_those_of_whole_data():
    generator = np.random.default_rng(1)
    x = generator.normal(size=(800, SIZE)) * [3.0, 2.0, 0.3, 0.3, 0.3]
    low, high = kv.weighing.beta_range(x, latent_dim=2)
    x = np.where(generator.random(x.shape) < 0.2, np.nan, x)
    found = kv.weighing.beta_range(x, latent_dim=2)
    np.testing.assert_allclose(found, [low, high], rtol=0.2)
    binary = np.where(np.isnan(x), np.nan, x > 0)
    found = kv.weighing.beta_range(binary, 2, "bernoulli")
    assert np.isfinite(found).all()
    assert found[1] < 10

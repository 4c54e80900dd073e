import numpy as np
import oracle
import pytest
import scipy.stats
import tensorflow as tf
import tensorflow_probability as tfp

import keras_vae as kv
from keras_vae.distributions import posteriors

tfd = tfp.distributions

LOC = np.array([[0.5, -1.0, 2.0], [0.0, 0.3, -0.2]])
SCALE = np.array([[1.0, 0.5, 2.0], [0.1, 1.5, 0.7]])


def normal(loc, scale):
    return tfd.Independent(tfd.Normal(np.float32(loc), np.float32(scale)), 1)


def standard(size=3):
    return normal(np.zeros(size), np.ones(size))


def draws(loc, scale, samples, seed=0):
    noise = np.random.default_rng(seed).normal(size=(len(loc), samples, loc.shape[1]))
    return np.float32(loc[:, None] + scale[:, None] * noise)


def test_log_ratio_against_scipy():
    prior = normal([1.0, 0.0, -1.0], [2.0, 1.0, 0.5])
    z = draws(LOC, SCALE, samples=4)
    estimate = kv.objectives.Estimate(normal(LOC, SCALE), prior, z)
    q = scipy.stats.norm.logpdf(z, LOC[:, None], SCALE[:, None]).sum(-1)
    p = scipy.stats.norm.logpdf(z, [1.0, 0.0, -1.0], [2.0, 1.0, 0.5]).sum(-1)
    assert estimate.log_ratio.shape == (2, 4)
    np.testing.assert_allclose(estimate.log_ratio, q - p, rtol=1e-5, atol=1e-5)


def test_log_ratio_under_a_prior_that_differs_between_examples():
    prior = normal(2 * LOC, SCALE + 1)
    z = draws(LOC, SCALE, samples=5)
    estimate = kv.objectives.Estimate(normal(LOC, SCALE), prior, z)
    q = scipy.stats.norm.logpdf(z, LOC[:, None], SCALE[:, None]).sum(-1)
    p = scipy.stats.norm.logpdf(z, 2 * LOC[:, None], SCALE[:, None] + 1).sum(-1)
    np.testing.assert_allclose(estimate.log_ratio, q - p, rtol=1e-5, atol=1e-5)


def test_analytic_rate_is_the_closed_form():
    estimate = kv.objectives.Estimate(normal(LOC, SCALE), standard(), None)
    expected = oracle.standard_normal_kl(LOC, SCALE).sum(-1)
    np.testing.assert_allclose(estimate.rate("analytic"), expected, rtol=1e-5)


def test_monte_carlo_rate_has_the_closed_form_as_its_mean():
    samples = 20_000
    z = draws(LOC, SCALE, samples)
    estimate = kv.objectives.Estimate(normal(LOC, SCALE), standard(), z)
    standard_error = np.std(estimate.log_ratio, axis=1) / np.sqrt(samples)
    difference = estimate.rate("monte_carlo") - estimate.rate("analytic")
    assert np.all(np.abs(difference) < 4 * standard_error)
    assert np.all(standard_error < 0.04)


def test_full_covariance_rate_is_the_closed_form():
    triangle = np.array([[1.0, 0.0, 0.0], [0.5, 0.7, 0.0], [-1.0, 0.2, 1.5]])
    posterior = tfd.MultivariateNormalTriL(
        np.float32(LOC), np.float32(np.stack([triangle, triangle]))
    )
    prior = normal([1.0, 0.0, -1.0], [2.0, 1.0, 0.5])
    estimate = kv.objectives.Estimate(posterior, prior, None)
    expected = [
        oracle.full_normal_kl(
            loc,
            triangle @ triangle.T,
            np.array([1.0, 0.0, -1.0]),
            np.diag([4.0, 1.0, 0.25]),
        )
        for loc in LOC
    ]
    np.testing.assert_allclose(estimate.rate(), expected, rtol=1e-5)


@pytest.mark.parametrize("family", ["diagonal_normal", "full_covariance_normal"])
@pytest.mark.parametrize("kl", ["analytic", "monte_carlo"])
def test_rate_of_a_posterior_that_equals_its_prior_is_zero(family, kl):
    posterior = posteriors.get(family)
    params = tf.zeros([2, posterior.params_size(3)])
    q = posterior.distribution(params)
    z = posterior.sample(params, 7, kv.random.key(0))
    estimate = kv.objectives.Estimate(q, standard(), z)
    np.testing.assert_allclose(estimate.rate(kl), 0.0, atol=1e-6)


def test_distortion_is_minus_the_mean_over_samples():
    log_likelihood = tf.constant([[-1.0, -3.0], [2.0, 4.0]])
    estimate = kv.objectives.Estimate(None, None, None, log_likelihood)
    np.testing.assert_array_equal(estimate.distortion, [2.0, -3.0])


def test_a_missing_closed_form_is_an_error():
    mixture = tfd.MixtureSameFamily(
        tfd.Categorical(np.zeros(2, "float32")),
        normal(np.zeros([2, 3]), np.ones([2, 3])),
    )
    z = draws(LOC, SCALE, samples=2)
    estimate = kv.objectives.Estimate(normal(LOC, SCALE), mixture, z)
    with pytest.raises(ValueError, match='kl="monte_carlo"'):
        estimate.rate("analytic")
    expected = kv.objectives.Estimate(normal(LOC, SCALE), standard(), z)
    np.testing.assert_allclose(
        estimate.rate("monte_carlo"), expected.rate("monte_carlo"), rtol=1e-5
    )

import numpy as np
import oracle
import pytest
import scipy.special
import scipy.stats
import tensorflow as tf
import tensorflow_probability as tfp

import keras_vae as kv

tfd = tfp.distributions

LATENTS = 3
X, VECTORS = oracle.data(size=400)
MODEL = oracle.ProbabilisticPCA.fit(LATENTS, oracle.EIGENVALUES, VECTORS)


def linear_estimate(num_samples, widening=1.0, seed=0):
    """The linear model under its exact posterior, with widened variances."""
    mean, variance = MODEL.posterior(X)
    stddev = np.broadcast_to(np.sqrt(widening * variance), mean.shape)
    noise = np.random.default_rng(seed).normal(size=(len(X), num_samples, LATENTS))
    z = mean[:, None] + stddev[:, None] * noise
    log_likelihood = scipy.stats.norm.logpdf(
        X[:, None], z @ MODEL.weights.T, np.sqrt(MODEL.variance)
    ).sum(-1)
    zeros = np.zeros(LATENTS, "float32")
    return kv.objectives.Estimate(
        tfd.Independent(tfd.Normal(np.float32(mean), np.float32(stddev)), 1),
        tfd.Independent(tfd.Normal(zeros, zeros + 1), 1),
        tf.constant(z, tf.float32),
        tf.constant(log_likelihood, tf.float32),
    )


def bound(estimate, num_samples, mean=None):
    objective = kv.ImportanceWeighted(num_samples=num_samples)
    losses = objective.losses(estimate, mean or kv.objectives.BatchMean(len(X)))
    return -float(tf.add_n(list(losses.values())))


def test_one_sample_is_the_elbo_with_monte_carlo_rate():
    estimate = linear_estimate(1, widening=2.0)
    mean = kv.objectives.BatchMean(len(X), np.linspace(0, 2, len(X), dtype="float32"))
    elbo = kv.ELBO(kl="monte_carlo").losses(estimate, mean)
    elbo = -float(tf.add_n(list(elbo.values())))
    assert bound(estimate, 1, mean) == pytest.approx(elbo, rel=1e-6)


@pytest.mark.parametrize("num_samples", [1, 5, 50])
def test_under_the_exact_posterior_it_is_the_likelihood_whatever_k_is(num_samples):
    expected = MODEL.log_prob(X)
    one = kv.objectives.BatchMean(1)
    # Of each example, not in the mean alone.
    estimate = linear_estimate(num_samples)
    log_weights = estimate.log_likelihood - estimate.log_ratio
    np.testing.assert_allclose(
        log_weights, np.repeat(expected[:, None], num_samples, axis=1), atol=2e-4
    )
    assert bound(estimate, num_samples) == pytest.approx(expected.mean(), abs=2e-5)
    first = kv.objectives.Estimate(
        estimate.posterior[:1],
        estimate.prior,
        estimate.z[:1],
        estimate.log_likelihood[:1],
    )
    assert bound(first, num_samples, one) == pytest.approx(expected[0], abs=1e-4)


def test_the_bound_tightens_with_the_number_of_samples():
    log_prob = MODEL.log_prob(X).mean()
    gaps = [
        log_prob - bound(linear_estimate(samples, widening=2.0), samples)
        for samples in (1, 5, 50, 500)
    ]
    # One sample is the ELBO, whose gap is KL(q || p(z|x)) = 1.5 (2 - 1 - log 2).
    # log q(z) - log p(z|x) has the variance 3 / 2.
    standard_error = np.sqrt(1.5 / len(X))
    assert gaps[0] == pytest.approx(1.5 * (1 - np.log(2)), abs=4 * standard_error)
    assert gaps[1] == pytest.approx(0.047, abs=0.05)
    assert gaps[0] > 4 * gaps[1] > 8 * abs(gaps[2])
    assert gaps[3] == pytest.approx(0.0, abs=5e-3)


def test_the_analytic_gap_of_one_sample_is_exact():
    estimate = linear_estimate(1, widening=2.0)
    mean, variance = MODEL.posterior(X)
    stddev = np.sqrt(2 * variance)
    terms = oracle.linear_terms(
        X, mean, np.broadcast_to(stddev, mean.shape), MODEL.weights, np.zeros(5)
    )
    elbo = oracle.gaussian_elbo(terms, MODEL.variance, 5)
    np.testing.assert_allclose(np.mean(estimate.rate()), terms.kl.sum(), rtol=1e-5)
    assert MODEL.log_prob(X).mean() - elbo == pytest.approx(0.460279, abs=1e-6)


def test_the_weight_tempers_prior_over_posterior():
    estimate = linear_estimate(4, widening=2.0)
    objective = kv.ImportanceWeighted(num_samples=4, kl_weight=0.5)
    losses = objective.losses(estimate, kv.objectives.BatchMean(len(X)))
    log_weights = estimate.log_likelihood - 0.5 * estimate.log_ratio
    expected = scipy.special.logsumexp(log_weights, axis=1) - np.log(4)
    np.testing.assert_allclose(
        losses["importance_weighted_bound"], -expected.mean(), rtol=1e-6
    )


def test_it_stays_finite_where_all_weights_underflow():
    estimate = linear_estimate(4)
    estimate.log_likelihood -= 1e4
    shifted = bound(estimate, 4)
    assert shifted == pytest.approx(bound(linear_estimate(4), 4) - 1e4, rel=1e-6)


def test_latent_refuses_it():
    with pytest.raises(ValueError, match="`objective` must be a sum of rate and"):
        kv.layers.Latent(2, objective=kv.ImportanceWeighted(num_samples=3))

"""Linear models of data with missing elements, against EM and closed forms."""

import numpy as np
import oracle
import pytest
import scipy.stats

import keras_vae as kv
from keras_vae import linear

UNITS, SIZE = 2, 6
GENERATOR = np.random.default_rng(3)
KERNEL = GENERATOR.normal(size=(UNITS, SIZE))
SCALES = np.array([1.0, 2.0, 0.1, 10.0, 0.5, 3.0])


def incomplete(examples=400, share=0.3):
    generator = np.random.default_rng(4)
    whole = generator.normal(size=(examples, UNITS)) @ KERNEL + 1.0
    whole += generator.normal(scale=0.5, size=whole.shape)
    gaps = generator.random(whole.shape) < share
    return whole, np.where(gaps, np.nan, whole)


def marginal(row, model):
    """log p of the elements of a row that are there, by its covariance."""
    here = ~np.isnan(row)
    covariance = model.kernel @ model.kernel.T + np.diag(model.psi)
    normal = scipy.stats.multivariate_normal(
        model.mean[here], covariance[here][:, here]
    )
    return normal.logpdf(row[here])


def test_densities_and_codes_are_those_of_the_marginal_normal():
    _, x = incomplete(20)
    x[0] = np.nan
    model = linear.FactorModel(np.arange(SIZE) / 3, KERNEL.T, SCALES**2)
    found = model.log_likelihood(x)
    assert found[0] == 0
    expected = [marginal(row, model) for row in x[1:]]
    np.testing.assert_allclose(found[1:], expected, rtol=1e-10)
    mean, covariance, _ = model.posterior(x)
    np.testing.assert_allclose(mean[0], 0, atol=1e-12)
    np.testing.assert_allclose(covariance[0], np.eye(UNITS), atol=1e-12)
    here = ~np.isnan(x[1])
    # The regression of z on x: both are jointly normal.
    whole = KERNEL.T[here] @ KERNEL[:, here] + np.diag(SCALES[here] ** 2)
    gain = KERNEL[:, here] @ np.linalg.inv(whole)
    np.testing.assert_allclose(mean[1], gain @ (x[1] - model.mean)[here])
    expected = np.eye(UNITS) - gain @ KERNEL.T[here]
    np.testing.assert_allclose(covariance[1], expected, atol=1e-12)


def test_probabilistic_pca_is_that_of_another_em():
    _, x = incomplete()
    _, kernel, mean, noise = oracle.expectation_maximization(x, UNITS, 400)
    reference = linear.FactorModel(mean, kernel, np.full(SIZE, noise))
    found = linear.FactorModel.of(linear.observed_components(x, UNITS))
    gain = found.log_likelihood(x) - reference.log_likelihood(x)
    assert gain.mean() == pytest.approx(0, abs=1e-5)
    np.testing.assert_allclose(found.psi, noise, rtol=2e-3)
    np.testing.assert_allclose(found.mean, mean, atol=1e-3)
    covariance = kernel @ kernel.T
    np.testing.assert_allclose(found.kernel @ found.kernel.T, covariance, atol=0.01)


def test_nothing_near_factor_analysis_is_more_likely():
    _, x = incomplete()
    x = x * SCALES
    best = linear.FactorModel.of(linear.observed_components(x, UNITS, own_noises=True))
    assert not np.allclose(best.psi / SCALES**2, best.psi[0], rtol=0.02)
    nats = best.log_likelihood(x).mean()
    generator = np.random.default_rng(0)
    for _ in range(20):
        steps = [1 + 0.01 * generator.normal(size=SIZE) for _ in range(3)]
        near = linear.FactorModel(
            best.mean + SCALES * (steps[0] - 1),
            best.kernel * steps[1][:, None],
            best.psi * steps[2],
        )
        assert near.log_likelihood(x).mean() < nats


def test_without_gaps_all_is_as_before():
    whole, _ = incomplete()
    for own_noises in (False, True):
        moments = linear.Moments.of(whole)
        psi = linear.noise_variances(moments, UNITS) if own_noises else None
        plain = linear.components(moments, UNITS, variance=psi)
        found = linear.observed_components(whole, UNITS, own_noises=own_noises)
        assert type(found) is linear.Components
        np.testing.assert_array_equal(found.vectors, plain.vectors)
        np.testing.assert_array_equal(found.eigenvalues, plain.eigenvalues)
        # One element of 2400 is missing, and changes about as much.
        one = whole.copy()
        one[0, 0] = np.nan
        near = linear.observed_components(one, UNITS, own_noises=own_noises)
        nats = [
            linear.FactorModel.of(v, 1.0 if own_noises else None).log_likelihood(whole)
            for v in (near, plain)
        ]
        # scikit-learn's factor analysis ends a little before its maximum.
        assert nats[0].mean() == pytest.approx(nats[1].mean(), abs=5e-3)
        if not own_noises:
            np.testing.assert_allclose(near.eigenvalues, plain.eigenvalues, rtol=0.01)
            np.testing.assert_allclose(near.directions, plain.directions, atol=0.01)


@pytest.mark.parametrize("likelihood", ["bernoulli", "laplace"])
def test_variances_of_other_families_are_near_those_of_whole_data(likelihood):
    whole, x = incomplete(2000)
    if likelihood == "bernoulli":
        whole = np.float64(whole > 1)
        x = np.where(np.isnan(x), np.nan, whole)
    expected = linear.components(whole, UNITS, likelihood).eigenvalues
    found = linear.observed_components(x, UNITS, likelihood).eigenvalues
    # Of as many draws, the standard error of a variance is 3 % of it.
    np.testing.assert_allclose(found, expected, rtol=0.15)


def test_data_that_can_be_read_once():
    _, x = incomplete()
    batches = kv.checks.Batches(iter(np.split(np.float32(x), 4)), missing="nan")
    found = linear.observed_components(batches, UNITS)
    expected = linear.observed_components(np.float32(x), UNITS)
    np.testing.assert_allclose(found.eigenvalues, expected.eigenvalues, rtol=1e-6)
    np.testing.assert_allclose(found.of_seen, expected.of_seen, atol=1e-6)


@pytest.mark.parametrize(
    ("x", "message"),
    [
        (np.full((2, 2049), np.nan), "`x` must have at most 2048 elements"),
        (np.array([[1.0, np.inf], [0.0, np.nan]]), "`x` must be finite or NaN"),
    ],
)
def test_faulty_data(x, message):
    with pytest.raises(ValueError, match=message):
        linear.observed_components(x, 1)

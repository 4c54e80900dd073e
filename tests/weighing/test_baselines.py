"""Baselines against scikit-learn and closed forms."""

import numpy as np
import oracle
import pytest
import scipy.stats
import sklearn.datasets
import sklearn.decomposition

import keras_vae as kv


def wine():
    x = sklearn.datasets.load_wine().data
    x = np.random.default_rng(0).permutation((x - x.mean(0)) / x.std(0))
    return np.float32(x[:120]), np.float32(x[120:])


def test_real_data_have_those_of_scikit_learn():
    train, x = wine()
    found = kv.baselines(train, x, latent_dim=3)
    normal = scipy.stats.norm(train.mean(0), train.std(0))
    assert found["independent"] == pytest.approx(-normal.logpdf(x).sum(1).mean())
    scaled = sklearn.decomposition.PCA(3).fit(train)
    # scikit-learn divides by N - 1.
    assert found["ppca"] == pytest.approx(-scaled.score(x), abs=0.05)
    factors = sklearn.decomposition.FactorAnalysis(3).fit(train)
    assert found["factor_analysis"] == pytest.approx(-factors.score(x), abs=0.05)
    assert found["factor_analysis"] < found["ppca"] < found["independent"]


def test_binary_data():
    generator = np.random.default_rng(0)
    code = generator.normal(size=(800, 1))
    logits = code * np.array([3.0, -3.0, 3.0, 3.0, 0.0, 1.0])
    x = np.float32(generator.random((800, 6)) < 1 / (1 + np.exp(-logits)))
    found = kv.baselines(x[:400], x[400:], latent_dim=2, likelihood="bernoulli")
    shares = (x[:400].sum(0) + 1) / 402
    expected = -scipy.stats.bernoulli(shares).logpmf(x[400:]).sum(1).mean()
    assert found["independent"] == pytest.approx(expected, rel=1e-5)
    assert sorted(found) == ["independent", "linear_vae"]
    assert found["linear_vae"] < found["independent"] - 0.3


@pytest.mark.parametrize("likelihood", ["laplace", "continuous_bernoulli"])
def test_the_linear_start_uses_what_elements_share(likelihood):
    generator = np.random.default_rng(0)
    x = 2 * generator.normal(size=(600, 2)) @ generator.normal(size=(2, 8))
    x = x + 0.1 * generator.laplace(size=x.shape)
    if likelihood == "continuous_bernoulli":
        x = 1 / (1 + np.exp(-x))
    x = np.float32(x)
    found = kv.baselines(x[:400], x[400:], latent_dim=2, likelihood=likelihood)
    names = ["independent", "ppca", "factor_analysis", "linear_vae"]
    assert sorted(found) == sorted(names)
    assert found["linear_vae"] < found["independent"] - 1


def test_classes():
    train = np.array([[0, 1], [0, 2], [0, 1]])
    likelihood = kv.distributions.Categorical(3)
    found = kv.baselines(train, train, latent_dim=1, likelihood=likelihood)
    # One more example of each value.
    expected = -np.log(4 / 6) - (2 * np.log(3 / 6) + np.log(2 / 6)) / 3
    assert found == {"independent": pytest.approx(expected)}


def test_elements_that_explain_each_other_have_no_best_density():
    x = np.random.default_rng(0).normal(size=(50, 1)) * np.ones(4)
    assert list(kv.baselines(x, x, latent_dim=2)) == ["independent"]


def test_examples_that_are_all_equal_have_the_independent_baseline_alone():
    zeros = np.zeros((20, 4), "float32")
    assert set(kv.baselines(zeros, zeros, 2)) == {"independent"}


def test_other_shapes_are_refused():
    with pytest.raises(ValueError, match="`x` must have examples like"):
        kv.baselines(np.ones((4, 3)), np.ones((4, 2)), latent_dim=1)


def test_missing_elements_are_left_out():
    train, x = wine()
    whole = kv.baselines(train, x, latent_dim=3)
    one = train.copy()
    one[0, 0] = np.nan
    found = kv.baselines(one, x, latent_dim=3)
    # One element of 1560 changes about as much.
    assert found == {name: pytest.approx(whole[name], abs=0.05) for name in whole}
    generator = np.random.default_rng(1)
    train, x = (
        np.where(generator.random(v.shape) < 0.3, np.nan, v) for v in (train, x)
    )
    found = kv.baselines(train, x, latent_dim=3)
    _, kernel, mean, noise = oracle.expectation_maximization(train, 3, 1000)
    covariance = kernel @ kernel.T + noise * np.eye(13)
    nats = 0.0
    for row in x:
        here = ~np.isnan(row)
        normal = scipy.stats.multivariate_normal(mean[here], covariance[here][:, here])
        nats -= normal.logpdf(row[here]) / len(x)
    assert found["ppca"] == pytest.approx(nats, abs=0.02)
    assert found["factor_analysis"] < found["independent"]


def test_large_events_with_gaps_have_the_independent_baseline_alone():
    x = np.random.default_rng(0).normal(size=(10, 129))
    x[0, 0] = np.nan
    assert list(kv.baselines(x, x, latent_dim=2)) == ["independent"]

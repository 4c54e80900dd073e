"""The linear forecast against water-filling, scikit-learn and trained linear VAEs."""

import linear
import numpy as np
import oracle
import pytest
import scipy.stats
import sklearn.datasets
import sklearn.decomposition
import tensorflow_probability as tfp

import keras_vae as kv

X, VECTORS = oracle.data(size=500)
NOISE = 0.375


def wine():
    x = sklearn.datasets.load_wine().data
    return (x - x.mean(0)) / x.std(0)


@pytest.mark.parametrize("beta", [0.1, 1.0, 2.0, 5.0, 20.0])
def test_a_fixed_noise_gives_water_filling(beta):
    found = kv.linear_forecast(X, latent_dim=3, betas=[beta], noise=NOISE)
    best = oracle.water_filling(beta * NOISE, latents=3)
    constant = 2.5 * np.log(2 * np.pi * NOISE)
    np.testing.assert_allclose(found.rate, [best.kl.sum()], atol=1e-12)
    np.testing.assert_allclose(
        found.distortion, [best.sse / (2 * NOISE) + constant], rtol=1e-12
    )
    assert found.active_units.tolist() == [int(np.sum(best.kl > 0))]


def test_units_close_where_the_level_meets_their_eigenvalue():
    found = kv.linear_forecast(X, latent_dim=3, noise=NOISE)
    np.testing.assert_allclose(
        found.closing_weights, np.array(oracle.EIGENVALUES[:3]) / NOISE, rtol=1e-12
    )
    assert found.active_units[[0, -1]].tolist() == [3, 0]
    assert len(found.beta) == 13


@pytest.mark.parametrize("latent_dim", [1, 4, 9])
def test_the_negative_elbo_at_one_is_that_of_probabilistic_pca(latent_dim):
    x = wine()
    found = kv.linear_forecast(x, latent_dim, betas=[1.0])
    scaled = sklearn.decomposition.PCA(latent_dim).fit(x)
    # scikit-learn's covariance divides by N - 1, the maximum of likelihood by N.
    covariance = scaled.get_covariance() * (len(x) - 1) / len(x)
    _, logdet = np.linalg.slogdet(covariance)
    inverse = np.linalg.inv(covariance)
    mahalanobis = np.einsum("ni,ij,nj->n", x, inverse, x).mean()
    expected = 0.5 * (x.shape[1] * np.log(2 * np.pi) + logdet + mahalanobis)
    np.testing.assert_allclose(found.negative_elbo, [expected], rtol=1e-9)


@pytest.mark.parametrize("beta", [0.2, 1.0, 2.0])
def test_a_learned_noise_minimises_the_loss(beta):
    def loss(noise):
        found = kv.linear_forecast(X, latent_dim=3, betas=[beta], noise=noise)
        return float((found.distortion + beta * found.rate)[0])

    noise = float(kv.linear_forecast(X, latent_dim=3, betas=[beta]).noise[0])
    best = loss(noise)
    assert best <= min(loss(noise * factor) for factor in (0.9, 0.99, 1.01, 1.1))


def test_a_learned_noise_closes_units_at_the_weights_that_are_given():
    found = kv.linear_forecast(X, latent_dim=3)
    for place, beta in enumerate(found.closing_weights):
        around = kv.linear_forecast(
            X, latent_dim=3, betas=[beta * (1 - 1e-6), beta * (1 + 1e-6)]
        )
        assert around.active_units.tolist() == [place + 1, place]
        np.testing.assert_allclose(*around.noise, rtol=1e-4)


def test_a_linear_vae_at_the_optimum_measures_what_was_forecast():
    forecast = kv.linear_forecast(X, latent_dim=3, betas=[0.5, 2.0], noise=NOISE)
    scale = np.sqrt(NOISE)
    models = {
        beta: linear.optimal(beta * NOISE, VECTORS, scale=scale, kl_weight=beta)
        for beta in (0.5, 2.0)
    }
    measured = kv.rate_distortion(models, np.float32(X), num_samples=64)
    np.testing.assert_allclose(measured.rate, forecast.rate, rtol=1e-4)
    np.testing.assert_allclose(measured.distortion, forecast.distortion, atol=0.05)


@pytest.mark.parametrize("likelihood", ["bernoulli", "poisson"])
def test_working_residuals_have_the_variance_of_the_mean(likelihood):
    generator = np.random.default_rng(0)
    mean = np.linspace(0.3, 0.7, 5)
    draw = generator.poisson if likelihood == "poisson" else generator.binomial
    arguments = (mean,) if likelihood == "poisson" else (1, mean)
    x = draw(*arguments, size=(20_000, 5))
    found = kv.linear.components(x, latent_dim=4, likelihood=likelihood)
    # Independent elements leave unit variance in each direction.
    np.testing.assert_allclose(found.eigenvalues, np.ones(4), atol=0.05)
    np.testing.assert_allclose(found.total, 5.0, rtol=0.02)


def test_units_beyond_the_data_have_no_direction():
    found = kv.linear.components(X, latent_dim=7)
    few = kv.linear.components(X, latent_dim=4)
    np.testing.assert_allclose(found.eigenvalues[:4], few.eigenvalues)
    assert not found.vectors[:, 4:].any()
    assert kv.linear_forecast(X, latent_dim=7, betas=[0.1]).active_units.tolist() == [4]


def test_log_likelihood_is_that_of_the_normal_with_the_models_covariance():
    x = wine()
    found = kv.linear.components(x[:100], latent_dim=3)
    best = kv.linear.optimum(found, 1.0)
    kernel = found.vectors * np.sqrt(found.eigenvalues - best.noise)
    normal = scipy.stats.multivariate_normal(
        found.mean, kernel @ kernel.T + best.noise * np.eye(13)
    )
    np.testing.assert_allclose(
        kv.linear.log_likelihood(found, x[100:]), normal.logpdf(x[100:]), rtol=1e-9
    )


def test_the_variance_of_a_continuous_bernoulli():
    mean = np.array([0.2, 0.35, 0.5, 0.8])
    logits = kv.distributions.ContinuousBernoulli().initial_bias(mean)
    expected = tfp.distributions.ContinuousBernoulli(logits).variance().numpy()
    x = np.stack([mean - 0.1, mean + 0.1])
    found = kv.linear.components(x, 1, likelihood="continuous_bernoulli")
    np.testing.assert_allclose(found.variance, expected, rtol=1e-3)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"latent_dim": 2, "x": X[:1]}, "`x` must have two examples of two elements"),
        ({"latent_dim": 0}, "`latent_dim` must be a positive integer"),
        ({"latent_dim": 2, "noise": -1.0}, "`noise` must be a finite number that is p"),
        ({"latent_dim": 2, "betas": [0.0]}, "`betas` must be a finite number that is"),
        ({"latent_dim": 2, "x": X[:, 0]}, "`x` must have a batch axis"),
        ({"latent_dim": 2, "x": X * np.nan}, "`x` must be finite"),
        (
            {"latent_dim": 2, "x": X[:, :2] @ np.ones((2, 5)), "betas": [0.1]},
            "`latent_dim` must be smaller",
        ),
    ],
)
def test_bad_arguments(arguments, message):
    with pytest.raises(ValueError, match=message):
        kv.linear_forecast(**{"x": X, **arguments})

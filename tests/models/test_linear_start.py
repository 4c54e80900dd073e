"""After `adapt` a VAE is the best linear VAE of its data, at any weight."""

import keras
import linear
import numpy as np
import oracle
import pytest
import scipy.stats
import sklearn.datasets

import keras_vae as kv
from keras_vae.models import linear_start

X, VECTORS = oracle.data(size=500)
X = np.float32(X)
NOISE = 0.375
BETAS = [0.2, 1.0, 2.0, 5.0, 20.0]


def make(kl_weight=1.0, latent_dim=3, shape=(5,), hidden=(8,), **kwargs):
    return kv.VAE(
        kv.networks.mlp_encoder(list(hidden)),
        kv.networks.mlp_decoder(list(hidden), shape),
        latent_dim=latent_dim,
        objective=kv.ELBO(kl_weight=kl_weight),
        linear_path=True,
        seed=0,
        **{"likelihood": kv.distributions.Normal(scale=NOISE**0.5), **kwargs},
    )


def squared_error(vae, x):
    """E||x - decode(z)||^2 in closed form, for a decoder that is linear."""
    mean, stddev = (np.float64(v) for v in vae.encode(x))
    kernel = np.float64(vae.decoder.linear.kernel)
    error = np.square(x - vae.decode(mean).numpy()).sum(axis=1)
    return float(np.mean(error + np.square(stddev) @ np.square(kernel).sum(axis=1)))


@pytest.mark.parametrize("beta", BETAS)
def test_rate_and_error_are_those_of_water_filling(beta):
    vae = make(beta)
    vae.adapt(X)
    best = oracle.water_filling(beta * NOISE, latents=3)
    estimate = vae.estimate(X, X, 1, kv.random.key(0))
    rate = float(np.mean(estimate.rate()))
    # A closed unit keeps a thousandth of its direction.
    np.testing.assert_allclose(rate, best.kl.sum(), rtol=1e-3, atol=1e-5)
    np.testing.assert_allclose(squared_error(vae, X), best.sse, rtol=1e-3)


def test_one_model_for_all_weights_starts_at_all_optima():
    low, high = 0.05, 40.0
    multi = kv.MultiRateVAE(
        kv.networks.mlp_encoder([8]),
        kv.networks.mlp_decoder([8], (5,)),
        latent_dim=3,
        likelihood=kv.distributions.Normal(scale=NOISE**0.5),
        beta_range=(low, high),
        linear_path=True,
        seed=0,
    )
    multi.adapt(X)
    for beta in (0.2, 1.0, 2.0, 5.0, 20.0):
        best = oracle.water_filling(beta * NOISE, latents=3)
        vae = multi.at(beta)
        rate = float(np.mean(vae.estimate(X, X, 1, kv.random.key(0)).rate()))
        closed = np.sum(best.kl == 0)
        # The floor of a gate's openness lets a closed unit code a little.
        np.testing.assert_allclose(
            rate, best.kl.sum(), rtol=1e-3, atol=1e-5 + 5e-4 * closed
        )
        np.testing.assert_allclose(squared_error(vae, X), best.sse, rtol=2e-3)
    np.testing.assert_allclose(
        multi.reconstruct(X), multi.at(1.0).reconstruct(X), rtol=1e-4, atol=1e-5
    )


@pytest.mark.parametrize("scale", ["shared", "optimal"])
@pytest.mark.parametrize("beta", [0.2, 1.0, 2.0])
def test_a_learned_noise_starts_at_its_optimum(beta, scale):
    vae = make(beta, likelihood=kv.distributions.Normal(scale=scale))
    vae.adapt(X)
    forecast = kv.linear_forecast(X, latent_dim=3, betas=[beta])
    noise = float(vae.likelihood.current_scale()) ** 2
    np.testing.assert_allclose(noise, forecast.noise[0], rtol=1e-4)


@pytest.mark.parametrize("latent_dim", [2, 6])
def test_every_draw_gives_the_likelihood_of_probabilistic_pca(latent_dim):
    """log p(x, z) - log q(z|x) is log p(x) for each z, because q is the posterior."""
    x = sklearn.datasets.load_wine().data
    x = np.float32((x - x.mean(0)) / x.std(0))
    vae = make(1.0, latent_dim, (13,), likelihood="normal")
    vae.adapt(x)
    kernel = np.float64(vae.decoder.linear.kernel)
    noise = float(vae.likelihood.current_scale()) ** 2
    covariance = kernel.T @ kernel + noise * np.eye(13)
    expected = scipy.stats.multivariate_normal.logpdf(
        x, np.float64(vae.decoder.linear.bias), covariance
    )
    forecast = kv.linear_forecast(x, latent_dim, betas=[1.0])
    np.testing.assert_allclose(-expected.mean(), forecast.negative_elbo[0], rtol=1e-5)
    estimate = vae.estimate(x, x, 4, kv.random.key(1))
    weights = np.asarray(estimate.log_likelihood - estimate.log_ratio)
    np.testing.assert_allclose(
        weights, np.repeat(expected[:, None], 4, axis=1), atol=1e-3
    )


def test_a_bernoulli_starts_far_below_independent_pixels():
    x, _ = kv.datasets.digits()
    x = np.float32(x[:1000] > 0.5)
    vae = make(latent_dim=8, shape=x.shape[1:], likelihood="bernoulli")
    vae.adapt(x)
    mean = np.clip(x.mean(0), 0.001, 0.999)
    independent = -np.sum(mean * np.log(mean) + (1 - mean) * np.log(1 - mean))
    start = -float(np.mean(vae.elbo(x, num_samples=8)))
    assert start < independent - 3
    assert float(np.mean(vae.estimate(x, x, 1, kv.random.key(0)).rate())) > 3


def test_training_goes_on_from_there():
    vae = make(1.0, likelihood="normal")
    vae.adapt(X)
    before = -float(np.mean(vae.elbo(X, num_samples=16)))
    vae.compile(keras.optimizers.Adam(1e-3))
    history = vae.fit(X, batch_size=50, epochs=3, verbose=0).history
    assert history["negative_elbo"][0] < before + 0.2
    kernel = vae.decoder.network.layers[-2].kernel
    # The deep path, which put out 0, learns too.
    assert float(np.abs(kernel).max()) > 0


def test_an_unset_path_trains_saves_and_exports(tmp_path):
    vae = make()
    vae.compile(keras.optimizers.Adam(1e-2))
    losses = vae.fit(X, batch_size=50, epochs=5, verbose=0).history["loss"]
    assert losses[-1] < losses[0]
    vae.save(tmp_path / "vae.keras")
    loaded = keras.saving.load_model(tmp_path / "vae.keras")
    assert loaded.linear_path
    np.testing.assert_array_equal(loaded.reconstruct(X), vae.reconstruct(X))
    vae.export(tmp_path / "saved", verbose=False)


def test_a_model_without_a_path_is_as_before():
    config = make().get_config()
    config.pop("linear_path")
    vae = kv.VAE.from_config(config)
    assert not vae.linear_path
    with pytest.raises(ValueError, match="`adapt` needs a linear path"):
        vae.adapt(X)


@pytest.mark.parametrize(
    ("arguments", "x", "message"),
    [
        ({"posterior": "full_covariance_normal"}, X, "`posterior` must be a Diagonal"),
        ({"prior": "learned_normal"}, X, "`prior` must be a StandardNormal"),
        (
            {
                "likelihood": kv.distributions.Standardized(
                    "normal", kv.normalization.layer(np.zeros(5), np.ones(5))
                )
            },
            X,
            "`likelihood` must be one of Normal, Laplace,",
        ),
        ({}, X[:, :4], "`x` must have shape"),
        ({}, X[:1], "`x` must have two examples"),
    ],
)
def test_what_cannot_be_adapted_says_why(arguments, x, message):
    vae = make(**arguments)
    vae.build((None, 5))
    with pytest.raises(ValueError, match=message):
        vae.adapt(x)


def test_linear_networks_beside_a_linear_path():
    vae = make(hidden=())
    vae.adapt(X)
    other = linear.optimal(NOISE, VECTORS, scale=NOISE**0.5)
    one = np.mean(vae.elbo(X, num_samples=64))
    two = np.mean(other.elbo(X, num_samples=64))
    np.testing.assert_allclose(one, two, atol=0.02)


def test_data_without_variance_in_some_directions_give_finite_weights():
    x = np.float32(X[:, :1] * np.ones((1, 5)))
    vae = make(latent_dim=3)
    vae.adapt(x)
    assert all(np.isfinite(v).all() for v in vae.get_weights())
    assert np.isfinite(vae.elbo(x)).all()


def test_what_is_refused_leaves_the_model_as_it_was():
    networks = kv.networks.mlp_encoder([8]), kv.networks.mlp_decoder([8], (5,))
    multi = kv.MultiRateVAE(
        *networks, 3, likelihood="normal", gates="original", linear_path=True, seed=0
    )
    multi.build((None, 5))
    before = multi.get_weights()
    with pytest.raises(ValueError, match="`gates` must be 'spline'"):
        multi.adapt(X)
    for one, other in zip(multi.get_weights(), before, strict=True):
        np.testing.assert_array_equal(one, other)
    with pytest.raises(ValueError, match="`kl_weight` must be positive"):
        make(0.0).adapt(X)
    with pytest.raises(ValueError, match="`x` must vary"):
        make().adapt(np.ones_like(X))


@pytest.mark.parametrize(
    ("parts", "is_known"),
    [
        ({"likelihood": "unit_normal"}, True),
        ({"posterior": "full_covariance_normal"}, False),
        ({"prior": "learned_normal"}, False),
    ],
)
def test_parts_of_which_the_start_is_known_are_those_that_adapt_takes(parts, is_known):
    names = {"likelihood": "bernoulli", "posterior": "normal", **parts}
    names = {"prior": "standard_normal", **names}
    assert linear_start.is_known(**names) == is_known
    vae = make(**names)
    if is_known:
        vae.adapt(X)
    else:
        with pytest.raises(ValueError, match="whose start is known for no other"):
            vae.adapt(np.float32(X > 0))

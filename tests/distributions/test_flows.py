"""Posteriors and priors of flows: densities of draws and elsewhere."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from scipy import stats

import keras_vae as kv
from keras_vae import distributions
from keras_vae import priors
from keras_vae.distributions import autoregressive

POSTERIORS = {
    "inverse_autoregressive": lambda: distributions.InverseAutoregressive(
        hidden_units=8, context_units=3
    ),
    "planar": lambda: distributions.Planar(num_flows=3),
}
posterior_of = pytest.mark.parametrize("name", POSTERIORS)


def moved(layer, scale):
    """Moves the weights off their start, by noise that is always the same."""
    generator = np.random.default_rng(1)
    for variable in layer.trainable_variables:
        variable.assign_add(generator.normal(scale=scale, size=variable.shape))
    return layer


def made(name, latent_dim=2):
    keras.utils.set_random_seed(0)
    posterior = POSTERIORS[name]()
    posterior.build_for(latent_dim)
    return moved(posterior, 0.3)


def some_params(posterior, latent_dim=2, examples=3):
    size = posterior.params_size(latent_dim)
    values = np.random.default_rng(2).normal(scale=0.7, size=(examples, size))
    return tf.constant(values, tf.float32)


def grid(width=14.0, number=701):
    """Points of the plane, (number^2, 2), and the area of each."""
    line = np.linspace(-width, width, number)
    points = np.stack(np.meshgrid(line, line), axis=-1).reshape(-1, 2)
    return points.astype("float32"), (line[1] - line[0]) ** 2


def by_density(log_prob):
    """Integral, mean and standard deviation of a density in the plane."""
    points, area = grid()
    mass = np.exp(np.float64(log_prob(points))) * area
    mean = mass @ points / mass.sum()
    return mass.sum(), mean, np.sqrt(mass @ (points - mean) ** 2 / mass.sum())


# === Densities ===


@posterior_of
def test_the_density_of_draws_is_that_of_the_distribution(name):
    posterior = made(name, latent_dim=4)
    params = some_params(posterior, latent_dim=4)
    z, log_density = posterior.draw(params, 50, kv.random.key(3))
    assert log_density.shape == z.shape[:2] == (3, 50)
    found = posterior.distribution(params).log_prob(tf.transpose(z, [1, 0, 2]))
    np.testing.assert_allclose(tf.transpose(found), log_density, atol=2e-4)
    np.testing.assert_array_equal(posterior.sample(params, 50, kv.random.key(3)), z)


@posterior_of
def test_the_density_is_that_of_the_jacobian(name):
    posterior = made(name, latent_dim=3)
    params = some_params(posterior, latent_dim=3, examples=1)
    loc, scale = distributions.DiagonalNormal().mean_and_stddev(params[:, :6])
    start = loc + scale * np.float32([[0.4, -1.1, 0.7]])
    with tf.GradientTape() as tape:
        tape.watch(start)
        z, log_det = posterior.forward(start, params[:, 6:])
    jacobian = tape.jacobian(z, start)[0, :, 0].numpy()
    expected = np.linalg.slogdet(jacobian)[1]
    assert abs(expected) > 0.005
    np.testing.assert_allclose(log_det, [expected], atol=1e-5)
    back, log_det = posterior.inverse(z, params[:, 6:])
    np.testing.assert_allclose(back, start, atol=1e-5)
    np.testing.assert_allclose(log_det, [expected], atol=1e-5)


@posterior_of
def test_the_density_integrates_to_one_and_has_the_moments_of_draws(name):
    posterior = made(name)
    params = some_params(posterior, examples=1)
    total, mean, stddev = by_density(posterior.distribution(params).log_prob)
    assert total == pytest.approx(1.0, abs=1e-3)
    z = posterior.sample(params, 50_000, kv.random.key(1))[0]
    np.testing.assert_allclose(np.mean(z, axis=0), mean, atol=0.03)
    np.testing.assert_allclose(np.std(z, axis=0), stddev, rtol=0.03)
    normal = distributions.DiagonalNormal().mean_and_stddev(params[:, :4])
    assert np.abs(stddev - normal[1]).max() > 0.1
    # Of 64 fixed draws.
    found = posterior.distribution(params)
    np.testing.assert_allclose(found.mean()[0], mean, atol=0.3 * stddev.max())
    np.testing.assert_allclose(found.stddev()[0], stddev, rtol=0.3)


@posterior_of
def test_the_identity_is_the_diagonal_normal(name):
    posterior, normal = POSTERIORS[name](), distributions.DiagonalNormal()
    posterior.build_for(4)
    params = np.random.default_rng(0).normal(size=(3, posterior.params_size(4)))
    if name == "planar":
        params[:, 8:] = 0.0
    params, key = tf.constant(params, tf.float32), kv.random.key(0)
    z, log_density = posterior.draw(params, 20, key)
    expected = normal.sample(params[:, :8], 20, key)
    np.testing.assert_allclose(z, expected, rtol=1e-6, atol=1e-6)
    densities = normal.distribution(params[:, :8]).log_prob(
        tf.transpose(expected, [1, 0, 2])
    )
    np.testing.assert_allclose(
        log_density, tf.transpose(densities), rtol=1e-6, atol=1e-6
    )
    for found, own in zip(
        posterior.mean_and_stddev(params),
        normal.mean_and_stddev(params[:, :8]),
        strict=True,
    ):
        np.testing.assert_allclose(found, own, rtol=1e-5, atol=1e-6)


def test_a_diagonal_normal_knows_no_density_of_its_draws():
    normal, params = distributions.DiagonalNormal(), tf.zeros([2, 6])
    z, log_density = normal.draw(params, 3, kv.random.key(0))
    assert log_density is None
    np.testing.assert_array_equal(z, normal.sample(params, 3, kv.random.key(0)))


@pytest.mark.parametrize("reverse", [False, True])
def test_units_see_the_units_before_them(reverse):
    network = autoregressive.AutoregressiveNetwork(16, 2, reverse)
    network.build((None, 4))
    moved(network, 0.5)
    z, context = tf.constant([[0.1, -0.2, 0.3, 0.4]]), tf.constant([[0.5, 0.6]])
    with tf.GradientTape(persistent=True) as tape:
        tape.watch([z, context])
        shift, log_scale = network(z, context)
    order = np.tril(np.ones((4, 4)), -1)
    order = order[::-1, ::-1] if reverse else order
    for values in (shift, log_scale):
        slopes = tape.jacobian(values, z)[0, :, 0].numpy()
        np.testing.assert_array_equal(slopes != 0, order)
        assert np.all(tape.jacobian(values, context)[0, :, 0].numpy() != 0)


# === Priors ===


def flow_prior(latent_dim=2, scale=0.3):
    keras.utils.set_random_seed(0)
    prior = priors.Flow(num_flows=2, hidden_units=8)
    prior.build_for(latent_dim)
    return moved(prior, scale)


def test_a_flow_prior_integrates_to_one_and_draws_its_density():
    prior = flow_prior()
    total, mean, stddev = by_density(prior.distribution().log_prob)
    assert total == pytest.approx(1.0, abs=1e-3)
    z = prior.sample(50_000, kv.random.key(0))
    np.testing.assert_allclose(np.mean(z, axis=0), mean, atol=0.03)
    np.testing.assert_allclose(np.std(z, axis=0), stddev, rtol=0.03)
    np.testing.assert_allclose(prior.distribution().mean(), mean, atol=0.15)


def test_a_flow_prior_starts_as_the_standard_normal():
    prior = flow_prior(scale=0.0)
    points = np.random.default_rng(0).normal(size=(5, 2)).astype("float32")
    expected = stats.norm.logpdf(points).sum(axis=1)
    np.testing.assert_allclose(
        prior.distribution().log_prob(points), expected, rtol=1e-6
    )
    standard = priors.StandardNormal()
    standard.build_for(2)
    key = kv.random.key(4)
    np.testing.assert_allclose(prior.sample(7, key), standard.sample(7, key), rtol=1e-6)


# === In a model ===


def make_vae(**kwargs):
    return kv.VAE(
        kv.networks.mlp_encoder([4]),
        kv.networks.mlp_decoder([4], (6,)),
        latent_dim=3,
        seed=0,
        **kwargs,
    )


X = np.round(np.random.default_rng(5).random((20, 6))).astype("float32")


def test_at_the_identity_a_vae_has_the_bound_of_a_diagonal_normal():
    objective = {"objective": kv.ELBO(kl="monte_carlo", num_samples=2)}
    flow = make_vae(posterior="iaf", **objective)
    normal = make_vae(objective=kv.ELBO(kl="monte_carlo", num_samples=2))
    for vae in (flow, normal):
        vae.build((None, 6))
    kernel, bias = flow.latent.head.get_weights()
    normal.encoder.set_weights(flow.encoder.get_weights())
    normal.decoder.set_weights(flow.decoder.get_weights())
    normal.latent.head.set_weights([kernel[:, :6], bias[:6]])
    np.testing.assert_allclose(flow.elbo(X), normal.elbo(X), rtol=1e-5)
    found, expected = (
        vae.log_likelihood(X, num_samples=20, verbose=0) for vae in (flow, normal)
    )
    np.testing.assert_allclose(found, expected, rtol=1e-5)


@pytest.mark.parametrize(
    "kwargs", [{"posterior": "planar"}, {"posterior": "iaf"}, {"prior": "flow"}]
)
def test_a_closed_form_is_an_error_that_says_what_to_pass(kwargs):
    with pytest.raises(ValueError, match='closed form.*kl="monte_carlo"'):
        make_vae(**kwargs).build((None, 6))


@posterior_of
def test_a_layer_trains_with_a_flow(name):
    x = keras.Input((6,))
    latent = kv.layers.Latent(2, posterior=POSTERIORS[name](), kl="monte_carlo", seed=0)
    model = keras.Model(x, keras.layers.Dense(6)(latent(x)))
    model.compile("sgd", kv.losses.NegativeLogLikelihood("bernoulli"))
    history = model.fit(X, X, epochs=2, verbose=0).history
    assert np.isfinite(history["loss"]).all()


def test_measures_of_a_model_with_flows():
    vae = make_vae(posterior="iaf", prior="flow", objective=kv.ELBO(kl="monte_carlo"))
    vae.compile("sgd")
    vae.fit(X, verbose=0)
    curve = kv.rate_distortion({1.0: vae}, X, num_samples=4)
    rate = -vae.elbo(X, num_samples=200, seed=1).numpy().mean()
    assert curve.rate[0] + curve.distortion[0] == pytest.approx(rate, abs=0.5)


@pytest.mark.parametrize(
    ("make", "name"),
    [
        (distributions.InverseAutoregressive, "num_flows"),
        (distributions.InverseAutoregressive, "hidden_units"),
        (distributions.InverseAutoregressive, "context_units"),
        (distributions.Planar, "num_flows"),
        (priors.Flow, "num_flows"),
        (priors.Flow, "hidden_units"),
    ],
)
@pytest.mark.parametrize("value", [0, 1.5])
def test_numbers_are_checked(make, name, value):
    with pytest.raises(ValueError, match=f"`{name}` must be a positive integer"):
        make(**{name: value})

import keras
import numpy as np
import pytest
import scipy.special
import scipy.stats
import tensorflow as tf
import tensorflow_probability as tfp

from keras_vae import priors
from keras_vae import random
from keras_vae.distributions import posteriors

tfd = tfp.distributions
FAMILIES = [posteriors.DiagonalNormal, posteriors.MultivariateNormalTriL]


def random_params(family, *batch, latent_dim=3, seed=0):
    shape = (*batch, family().params_size(latent_dim))
    return np.random.default_rng(seed).normal(size=shape).astype("float32")


def in_all_modes(function, *args):
    return [
        np.asarray(mode(*args))
        for mode in (
            function,
            tf.function(function),
            tf.function(jit_compile=True)(function),
        )
    ]


@pytest.mark.parametrize("target", [1e-3, 0.05, 0.5, 1.0, 2.0, 50.0])
def test_scale_reaches_small_and_large_values(target):
    low, high = 1e-5, 1e3
    raw = posteriors.inverse_soft_clip(target, low, high)
    raw -= posteriors.inverse_soft_clip(1.0, low, high)
    scale = posteriors.bounded_scale(tf.constant(raw, tf.float32), low, high)
    np.testing.assert_allclose(scale, target, rtol=3e-6)


@pytest.mark.parametrize("max_scale", [1.5, 10.0, 1e3])
def test_raw_zero_is_scale_one(max_scale):
    scale = posteriors.bounded_scale(tf.zeros([1]), 1e-5, max_scale)
    np.testing.assert_allclose(scale, 1.0, rtol=1e-6)


@pytest.mark.parametrize("raw", [-65504.0, -1e4, -100.0, 0.0, 100.0, 1e4, 65504.0])
def test_scale_and_its_gradient_stay_within_bounds(raw):
    raw = tf.constant(raw)
    with tf.GradientTape() as tape:
        tape.watch(raw)
        scale = posteriors.bounded_scale(raw, 1e-5, 1e3)
    assert 0.99e-5 <= float(scale) <= 1000.01
    assert 0.0 <= float(tape.gradient(scale, raw)) <= 1.0


@pytest.mark.parametrize("max_scale", [1.5, 2.0, 10.0])
def test_scales_of_narrow_limits_stay_within_them(max_scale):
    raw = tf.constant([-60.0, -8.0, -4.0, 4.0, 60.0])
    scale = posteriors.bounded_scale(raw, 1e-5, max_scale).numpy()
    assert scale[0] == pytest.approx(1e-5, abs=1e-6)
    assert scale[-1] == pytest.approx(max_scale, rel=1e-6)
    assert np.all(np.diff(scale) > 0)
    # Small scales change by a factor.
    assert np.log(scale[2] / scale[1]) == pytest.approx(4.0, abs=0.3)


def test_soft_clip_is_that_of_sigma_vae():
    x = np.linspace(-20, 5, 26)
    expected = -6 + np.logaddexp(0, x + 6)
    clipped = posteriors.soft_clip(tf.constant(x, tf.float32), -6.0, 100.0)
    np.testing.assert_allclose(clipped, expected, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("jit", [False, True], ids=["graph", "xla"])
def test_soft_clip_has_the_derivatives_of_its_equation(jit):
    low, high = -6.0, 10.0
    x = np.linspace(-40.0, 40.0, 801)

    @tf.function(jit_compile=jit, autograph=False)
    def derivatives(x):
        with tf.GradientTape() as outer:
            outer.watch(x)
            with tf.GradientTape() as inner:
                inner.watch(x)
                value = posteriors.soft_clip(x, low, high)
            first = inner.gradient(value, x)
        return first, outer.gradient(first, x)

    above = low + np.logaddexp(0, x - low)
    into, out = scipy.special.expit(x - low), scipy.special.expit(high - above)
    first, second = derivatives(tf.constant(x, tf.float32))
    np.testing.assert_allclose(first, into * out, rtol=1e-5)
    exact = into * (1 - into) * out - into**2 * out * (1 - out)
    np.testing.assert_allclose(second, exact, rtol=1e-4, atol=1e-7)


def test_diagonal_normal_against_scipy():
    posterior = posteriors.DiagonalNormal()
    params = random_params(posteriors.DiagonalNormal, 4)
    z = np.random.default_rng(1).normal(size=(4, 3)).astype("float32")
    loc, scale = posterior.mean_and_stddev(tf.constant(params))
    np.testing.assert_array_equal(loc, params[:, :3])
    shift = np.log(np.expm1(1 - 1e-5))
    np.testing.assert_allclose(
        scale, 1e-5 + np.logaddexp(0, params[:, 3:] + shift), rtol=1e-6
    )
    log_prob = posterior.distribution(tf.constant(params)).log_prob(z)
    expected = scipy.stats.norm.logpdf(z, loc, scale).sum(-1)
    np.testing.assert_allclose(log_prob, expected, rtol=1e-5)


def test_full_covariance_against_scipy():
    posterior = posteriors.MultivariateNormalTriL()
    params = tf.constant(random_params(posteriors.MultivariateNormalTriL, 4))
    z = np.random.default_rng(1).normal(size=(4, 3)).astype("float32")
    q = posterior.distribution(params)
    for i in range(4):
        covariance = q.covariance()[i].numpy().astype("float64")
        assert (np.abs(covariance[np.triu_indices(3, 1)]) > 1e-3).all()
        expected = scipy.stats.multivariate_normal.logpdf(
            z[i], params[i, :3].numpy(), covariance
        )
        np.testing.assert_allclose(q.log_prob(z)[i], expected, rtol=1e-4)
    mean, stddev = posterior.mean_and_stddev(params)
    np.testing.assert_allclose(mean, q.mean())
    np.testing.assert_allclose(stddev, q.stddev(), rtol=1e-6)


def test_full_covariance_of_zeros_is_the_standard_normal():
    posterior = posteriors.MultivariateNormalTriL()
    covariance = posterior.distribution(tf.zeros([9])).covariance()
    np.testing.assert_allclose(covariance, np.eye(3), atol=1e-6)


@pytest.mark.parametrize("family", FAMILIES)
def test_samples_have_the_moments_of_the_distribution(family):
    params = tf.constant(random_params(family, 2))
    z = family().sample(params, 20000, random.key(3))
    q = family().distribution(params)
    assert z.shape == (2, 20000, 3)
    tolerance = 4 * float(tf.reduce_max(q.stddev())) / np.sqrt(20000)
    np.testing.assert_allclose(tf.reduce_mean(z, 1), q.mean(), atol=tolerance)
    full = family is posteriors.MultivariateNormalTriL
    expected = q.covariance() if full else tf.linalg.diag(q.variance())
    covariance = tfp.stats.covariance(z, sample_axis=1)
    np.testing.assert_allclose(covariance, expected, rtol=0.05, atol=0.05)


@pytest.mark.parametrize("family", FAMILIES)
def test_samples_are_reparameterized(family):
    params = tf.constant(random_params(family, 2))
    with tf.GradientTape() as tape:
        tape.watch(params)
        z = family().sample(params, 1, random.key(0))[0, 0]
    jacobian = tape.jacobian(z, params)[:, 0]
    np.testing.assert_allclose(jacobian[:, :3], np.eye(3))
    assert np.count_nonzero(jacobian[:, 3:]) == family().params_size(3) - 3


@pytest.mark.parametrize("family", FAMILIES)
def test_modes_agree(family):
    params = tf.constant(random_params(family, 2))
    prior = tfd.Independent(tfd.Normal(tf.zeros(3), tf.ones(3)), 1)

    def function(params):
        q = family().distribution(params)
        z = family().sample(params, 1, random.key(0))[:, 0]
        kl = posteriors.kl_divergence(q, prior)
        per_dimension = posteriors.kl_per_dimension(q, prior)
        return tf.concat([z, per_dimension, kl[:, None], q.log_prob(z)[:, None]], -1)

    eager, graph, xla = in_all_modes(function, params)
    np.testing.assert_allclose(graph, eager, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(xla, eager, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("extreme", [-1e4, 1e4])
def test_extreme_parameters_stay_finite(family, extreme):
    prior = tfd.Independent(tfd.Normal(tf.zeros(3), tf.ones(3)), 1)
    size = family().params_size(3)
    params = tf.concat([tf.zeros([1, 3]), tf.fill([1, size - 3], extreme)], -1)
    with tf.GradientTape() as tape:
        tape.watch(params)
        kl = posteriors.kl_divergence(family().distribution(params), prior)
    assert np.isfinite(kl).all()
    assert np.isfinite(tape.gradient(kl, params)).all()


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_half_precision_parameters_give_float32(family, dtype):
    keras.config.set_dtype_policy(f"mixed_{dtype}")
    posterior = family()
    params = tf.cast(random_params(family, 2), dtype)
    assert posterior.distribution(params).dtype == tf.float32
    assert posterior.sample(params, 2, random.key(0)).dtype == tf.float32
    np.testing.assert_array_equal(
        posterior.distribution(params).mean(),
        posterior.distribution(tf.cast(params, tf.float32)).mean(),
    )


@pytest.mark.parametrize("family", FAMILIES)
def test_sampling_follows_a_batch_size_known_only_at_run_time(family):
    size = family().params_size(3)

    @tf.function(input_signature=[tf.TensorSpec([None, size])])
    def function(params):
        return family().sample(params, 4, random.key(0))

    assert function(tf.zeros([5, size])).shape == (5, 4, 3)
    assert function(tf.zeros([2, size])).shape == (2, 4, 3)


@pytest.mark.parametrize("family", FAMILIES)
def test_kl_against_monte_carlo(family):
    params = tf.constant(random_params(family, 2, seed=4))
    q = family().distribution(params)
    p = tfd.Independent(
        tfd.Normal(tf.constant([0.5, -1.0, 0.0]), tf.constant([2.0, 0.7, 1.0])), 1
    )
    z = tf.transpose(family().sample(params, 20000, random.key(0)), [1, 0, 2])
    ratio = q.log_prob(z) - p.log_prob(z)
    error = np.std(ratio, axis=0) / np.sqrt(20000)
    difference = np.mean(ratio, axis=0) - posteriors.kl_divergence(q, p)
    assert (np.abs(difference) < 4 * error).all()


def test_kl_against_closed_form():
    params = tf.constant(random_params(posteriors.DiagonalNormal, 4))
    q = posteriors.DiagonalNormal().distribution(params)
    prior = priors.StandardNormal()
    prior.build_for(3)
    loc, scale = q.mean().numpy(), q.stddev().numpy()
    expected = 0.5 * (loc**2 + scale**2 - 1 - 2 * np.log(scale))
    p = prior.distribution()
    np.testing.assert_allclose(
        posteriors.kl_per_dimension(q, p), expected, rtol=1e-5, atol=1e-6
    )
    np.testing.assert_allclose(
        posteriors.kl_divergence(q, p), expected.sum(-1), rtol=1e-5
    )


def test_kl_of_a_full_covariance_against_matrix_algebra():
    params = tf.constant(random_params(posteriors.MultivariateNormalTriL, 2))
    q = posteriors.MultivariateNormalTriL().distribution(params)
    loc, scale = np.float32([0.3, -0.2, 0.1]), np.float32([0.5, 1.5, 2.0])
    p = tfd.Independent(tfd.Normal(loc, scale), 1)
    covariance = q.covariance().numpy().astype("float64")
    difference = q.mean().numpy() - loc
    forward = 0.5 * (
        np.trace(covariance / scale[:, None] ** 2, axis1=1, axis2=2)
        + (difference**2 / scale**2).sum(-1)
        - 3
        + 2 * np.log(scale).sum()
        - np.linalg.slogdet(covariance)[1]
    )
    np.testing.assert_allclose(posteriors.kl_divergence(q, p), forward, rtol=1e-5)
    inverse = np.linalg.inv(covariance)
    backward = 0.5 * (
        np.trace(inverse @ np.diag(scale**2), axis1=1, axis2=2)
        + np.einsum("bi,bij,bj->b", difference, inverse, difference)
        - 3
        - 2 * np.log(scale).sum()
        + np.linalg.slogdet(covariance)[1]
    )
    np.testing.assert_allclose(posteriors.kl_divergence(p, q), backward, rtol=1e-4)


def test_marginal_kl_differs_from_the_whole_by_the_total_correlation():
    params = tf.constant(random_params(posteriors.MultivariateNormalTriL, 2))
    q = posteriors.MultivariateNormalTriL().distribution(params)
    p = tfd.Independent(tfd.Normal(tf.zeros(3), tf.ones(3)), 1)
    covariance = q.covariance().numpy().astype("float64")
    variances = np.diagonal(covariance, axis1=1, axis2=2)
    total = 0.5 * (np.log(variances).sum(-1) - np.linalg.slogdet(covariance)[1])
    marginal = tf.reduce_sum(posteriors.kl_per_dimension(q, p), -1)
    whole = posteriors.kl_divergence(q, p)
    np.testing.assert_allclose(whole - marginal, total, rtol=1e-4)


@pytest.mark.parametrize("family", FAMILIES)
def test_kl_to_itself_is_zero(family):
    params = np.zeros((1, family().params_size(3)), "float32")
    params[0, :3] = [1.0, -2.0, 3.0]
    q = family().distribution(tf.constant(params))
    p = posteriors.DiagonalNormal().distribution(
        tf.constant([[1.0, -2.0, 3.0, 0.0, 0.0, 0.0]])
    )
    np.testing.assert_allclose(posteriors.kl_divergence(q, p), [0.0], atol=1e-7)
    np.testing.assert_allclose(posteriors.kl_divergence(q, q), [0.0], atol=1e-6)


def test_missing_closed_form_asks_for_monte_carlo():
    q = posteriors.DiagonalNormal().distribution(tf.zeros([2, 6]))
    mixture = priors.GaussianMixture(2)
    mixture.build_for(3)
    with pytest.raises(ValueError, match='`kl="monte_carlo"`'):
        posteriors.kl_divergence(q, mixture.distribution())
    with pytest.raises(ValueError, match="per dimension"):
        posteriors.kl_per_dimension(q, mixture.distribution())


def test_full_covariance_has_no_closed_form_with_another_family_inside():
    q = posteriors.MultivariateNormalTriL().distribution(tf.zeros([2, 9]))
    laplace = tfd.Independent(tfd.Laplace(tf.zeros(3), tf.ones(3)), 1)
    for pair in ((q, laplace), (laplace, q)):
        with pytest.raises(ValueError, match='`kl="monte_carlo"`'):
            posteriors.kl_divergence(*pair)


@pytest.mark.parametrize("family", FAMILIES)
def test_config_round_trip(family):
    posterior = family(min_scale=1e-3, max_scale=10.0, name="q")
    config = keras.saving.serialize_keras_object(posterior)
    restored = posteriors.get(config)
    assert type(restored) is family
    assert restored.get_config() == posterior.get_config()
    params = tf.constant(random_params(family, 2))
    np.testing.assert_array_equal(
        restored.mean_and_stddev(params), posterior.mean_and_stddev(params)
    )


def test_get_by_name():
    assert type(posteriors.get("normal")) is posteriors.DiagonalNormal
    assert type(posteriors.get("diagonal_normal")) is posteriors.DiagonalNormal
    full = posteriors.get("full_covariance_normal")
    assert type(full) is posteriors.MultivariateNormalTriL
    assert posteriors.get(full) is full


@pytest.mark.parametrize("identifier", ["norml", None, 3, {}, keras.layers.Dense(1)])
def test_get_names_what_is_valid(identifier):
    with pytest.raises(ValueError, match="`posterior` must be .*'normal'.*Received"):
        posteriors.get(identifier)


@pytest.mark.parametrize(
    "limits", [(0.0, 10.0), (2.0, 10.0), (0.1, 0.5), (0.1, np.inf)]
)
def test_scale_limits_are_checked(limits):
    with pytest.raises(ValueError, match="`min_scale` and `max_scale`"):
        posteriors.DiagonalNormal(*limits)


@pytest.mark.parametrize(("family", "size"), [(FAMILIES[0], 5), (FAMILIES[1], 6)])
def test_impossible_parameter_counts_are_errors(family, size):
    with pytest.raises(ValueError, match="`params` must hold"):
        family().distribution(tf.zeros([2, size]))

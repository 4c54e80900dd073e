import keras
import numpy as np
import pytest
import scipy.special
import scipy.stats
import tensorflow as tf

from keras_vae import priors
from keras_vae import random
from keras_vae.distributions import posteriors

POSTERIOR = posteriors.DiagonalNormal()
EVERY = {
    "standard_normal": priors.StandardNormal,
    "learned_normal": priors.LearnedNormal,
    "gaussian_mixture": lambda **kwargs: priors.GaussianMixture(4, seed=1, **kwargs),
    "flow": lambda **kwargs: priors.Flow(2, 8, seed=1, **kwargs),
    "vamp_prior": lambda **kwargs: priors.VampPrior(3, seed=1, **kwargs),
    "weighted_vamp_prior": lambda **kwargs: priors.VampPrior(
        3, learned_weights=True, seed=1, **kwargs
    ),
}
every = pytest.mark.parametrize("make", EVERY.values(), ids=EVERY)


def encode(x):
    """Maps (batch, 4) to parameters of two latents, with spread-out means."""
    return tf.concat([20.0 * x[:, :2], 5.0 * x[:, 2:]], axis=-1)


def built(prior, move=True):
    """Builds `prior` and moves its weights off their initial values."""
    prior.build_for(2, (None, 4), POSTERIOR)
    generator = np.random.default_rng(0)
    for variable in prior.trainable_variables if move else []:
        variable.assign_add(generator.normal(scale=0.1, size=variable.shape))
    return prior


def distribution(prior):
    return prior.distribution(prior.params(encode), POSTERIOR)


def softplus_scale(raw, min_scale=1e-5):
    return min_scale + np.logaddexp(0, raw + np.log(np.expm1(1 - min_scale)))


def points(*shape):
    return np.random.default_rng(5).normal(size=(*shape, 2)).astype("float32")


def test_standard_normal_against_scipy():
    z = points(6)
    log_prob = distribution(built(priors.StandardNormal())).log_prob(z)
    np.testing.assert_allclose(log_prob, scipy.stats.norm.logpdf(z).sum(-1), rtol=1e-5)


def test_learned_normal_starts_as_the_standard_normal():
    z = points(6)
    log_prob = distribution(built(priors.LearnedNormal(), move=False)).log_prob(z)
    np.testing.assert_allclose(log_prob, scipy.stats.norm.logpdf(z).sum(-1), rtol=1e-5)


def test_learned_normal_against_scipy_and_in_closed_form():
    prior = built(priors.LearnedNormal())
    z = points(6)
    loc, scale = prior.loc.numpy(), softplus_scale(prior.raw_scale.numpy())
    p = distribution(prior)
    expected = scipy.stats.norm.logpdf(z, loc, scale).sum(-1)
    np.testing.assert_allclose(p.log_prob(z), expected, rtol=1e-5)
    q = POSTERIOR.distribution(tf.zeros([1, 4]))
    kl = np.sum(np.log(scale) + (1 + loc**2) / (2 * scale**2) - 0.5)
    np.testing.assert_allclose(posteriors.kl_divergence(q, p), [kl], rtol=1e-4)


def test_gaussian_mixture_against_scipy():
    prior = built(priors.GaussianMixture(4, seed=1))
    z = points(6)
    scales = softplus_scale(prior.raw_scales.numpy(), 1e-3)
    components = scipy.stats.norm.logpdf(z[:, None], prior.locs.numpy(), scales).sum(-1)
    weights = scipy.special.log_softmax(prior.logits.numpy())
    expected = scipy.special.logsumexp(components + weights, axis=-1)
    np.testing.assert_allclose(distribution(prior).log_prob(z), expected, rtol=1e-5)


def test_gaussian_mixture_is_seeded():
    first, second = (built(priors.GaussianMixture(4, seed=3), False) for _ in "ab")
    other = built(priors.GaussianMixture(4, seed=4), False)
    np.testing.assert_array_equal(first.locs.numpy(), second.locs.numpy())
    assert not np.allclose(first.locs.numpy(), other.locs.numpy())
    assert 0.5 < np.std(first.locs.numpy()) < 1.5


def test_vamp_prior_of_one_component_is_its_posterior():
    prior = built(priors.VampPrior(1))
    z = points(6)
    inputs = np.clip(prior.pseudo_inputs.numpy(), 0, 1)
    q = POSTERIOR.distribution(encode(tf.constant(inputs)))
    np.testing.assert_allclose(
        distribution(prior).log_prob(z), q.log_prob(z), rtol=1e-6
    )


@pytest.mark.parametrize("learned_weights", [False, True])
def test_vamp_prior_is_the_weighted_mean_of_posteriors(learned_weights):
    prior = built(priors.VampPrior(3, learned_weights=learned_weights))
    z = points(6)
    params = encode(np.clip(prior.pseudo_inputs.numpy(), 0, 1)).numpy()
    components = scipy.stats.norm.logpdf(
        z[:, None], params[:, :2], softplus_scale(params[:, 2:])
    ).sum(-1)
    weights = np.full(3, -np.log(3))
    if learned_weights:
        weights = scipy.special.log_softmax(prior.logits.numpy())
    expected = scipy.special.logsumexp(components + weights, axis=-1)
    np.testing.assert_allclose(distribution(prior).log_prob(z), expected, rtol=1e-5)


def test_vamp_prior_of_a_full_covariance_posterior():
    posterior = posteriors.MultivariateNormalTriL()
    prior = built(priors.VampPrior(3))
    head = np.random.default_rng(0).normal(size=(4, 5)).astype("float32")
    params = prior.params(lambda x: x @ head)
    z = points(6)
    q = posterior.distribution(params)
    components = np.stack([q.log_prob(row) for row in z])
    expected = scipy.special.logsumexp(components, axis=-1) - np.log(3)
    p = prior.distribution(params, posterior)
    np.testing.assert_allclose(p.log_prob(z), expected, rtol=1e-5)
    assert prior.sample(5, random.key(0), params, posterior).shape == (5, 2)


@pytest.mark.parametrize(
    ("value_range", "expected"),
    [((0.0, 1.0), [0, 0, 0.5, 1]), ((-1, 1), [-1, -0.2, 0.5, 1]), (None, None)],
)
def test_pseudo_inputs_are_clipped(value_range, expected):
    prior = built(priors.VampPrior(1, value_range=value_range))
    values = np.float32([[-3.0, -0.2, 0.5, 2.0]])
    prior.pseudo_inputs.assign(values)
    seen = prior.params(lambda x: x)
    np.testing.assert_allclose(seen, values if expected is None else [expected])


def test_pseudo_inputs_start_where_the_paper_starts_them():
    prior = priors.VampPrior(500)
    prior.build_for(2, (None, 8, 8, 1))
    values = prior.pseudo_inputs.numpy()
    assert values.shape == (500, 8, 8, 1)
    np.testing.assert_allclose(values.mean(), 0.05, atol=5e-4)
    np.testing.assert_allclose(values.std(), 0.01, rtol=0.02)


def test_pseudo_inputs_can_start_from_data():
    prior = built(priors.VampPrior(3, seed=0))
    x = np.random.default_rng(0).random((10, 4)).astype("float32")
    prior.initialize(x)
    values = prior.pseudo_inputs.numpy()
    rows = [int(np.where((x == value).all(1))[0][0]) for value in values]
    assert len(set(rows)) == 3


def test_initialize_checks_its_data():
    prior = priors.VampPrior(3)
    with pytest.raises(ValueError, match="must be built before `initialize`"):
        prior.initialize(np.zeros((10, 4)))
    built(prior)
    for shape in ((10, 5), (2, 4)):
        with pytest.raises(ValueError, match="`x` must hold at least 3 examples"):
            prior.initialize(np.zeros(shape))


@pytest.mark.parametrize(
    "shape",
    [
        {"image": (None, 4), "label": (None,)},
        [(None, 4), (None, 2)],
        (None, None, 3),
        (None,),
        None,
    ],
)
def test_vamp_prior_needs_one_input_of_known_shape(shape):
    with pytest.raises(
        ValueError, match="`input_shape` must be the shape of one input"
    ):
        priors.VampPrior(3).build_for(2, shape)


def test_every_weight_of_a_vamp_prior_gets_a_gradient():
    prior = built(priors.VampPrior(3, value_range=None, learned_weights=True))
    with tf.GradientTape() as tape:
        value = tf.reduce_sum(distribution(prior).log_prob(points(6)))
    variables = [variable.value for variable in prior.trainable_variables]
    assert len(variables) == 2
    for gradient in tape.gradient(value, variables):
        assert np.any(gradient)


# === Every prior ===


@every
def test_log_prob_takes_an_axis_of_samples(make):
    p = distribution(built(make()))
    z = points(3, 4)
    assert (p.batch_shape, p.event_shape) == ((), (2,))
    assert p.dtype == tf.float32
    expected = np.reshape(p.log_prob(z.reshape(12, 2)), (3, 4))
    np.testing.assert_allclose(p.log_prob(z), expected, rtol=1e-6)


@every
def test_modes_agree(make):
    prior = built(make())

    def function(z):
        params = prior.params(encode)
        log_prob = prior.distribution(params, POSTERIOR).log_prob(z)
        return log_prob, prior.sample(5, random.key(2), params, POSTERIOR)

    def gradients(z):
        variables = [variable.value for variable in prior.trainable_variables]
        with tf.GradientTape() as tape:
            tape.watch(z)
            value = tf.reduce_sum(function(z)[0])
        return tape.gradient(value, [z, *variables])

    z = tf.constant(points(3, 4))
    for target in (function, gradients):
        eager = target(z)
        for jit in (False, True):
            for a, b in zip(
                tf.function(target, jit_compile=jit)(z), eager, strict=True
            ):
                np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)


@every
def test_density_stays_finite_far_out(make):
    prior = built(make())
    z = tf.constant([[1e4, -1e4]])
    with tf.GradientTape() as tape:
        tape.watch(z)
        log_prob = distribution(prior).log_prob(z)
    assert np.isfinite(log_prob).all()
    assert np.isfinite(tape.gradient(log_prob, z)).all()


@every
def test_samples_have_the_moments_of_the_distribution(make):
    prior = built(make())
    p = distribution(prior)
    z = prior.sample(20000, random.key(0), prior.params(encode), POSTERIOR).numpy()
    variance = p.variance().numpy()
    np.testing.assert_allclose(
        z.mean(0), p.mean(), atol=4.5 * np.sqrt(variance.max() / 20000)
    )
    np.testing.assert_allclose(z.var(0), variance, rtol=0.06)


@every
@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_half_precision_policies_leave_densities_in_float32(make, dtype):
    expected = distribution(built(make())).log_prob(points(3))
    keras.config.set_dtype_policy(f"mixed_{dtype}")
    prior = built(make())
    assert all(v.dtype == "float32" for v in prior.variables)
    assert (
        prior.sample(2, random.key(0), prior.params(encode), POSTERIOR).dtype
        == tf.float32
    )
    log_prob = distribution(prior).log_prob(points(3))
    np.testing.assert_array_equal(log_prob, expected)
    half = prior.params(lambda x: tf.cast(encode(x), dtype))
    assert prior.distribution(half, POSTERIOR).log_prob(points(3)).dtype == tf.float32


@every
def test_config_round_trip(make):
    prior = make(name="p")
    restored = priors.get(keras.saving.serialize_keras_object(prior))
    assert type(restored) is type(prior)
    assert restored.get_config() == prior.get_config()
    assert priors.get(prior) is prior


@every
def test_config_of_a_built_prior_restores_a_built_one(make):
    prior = built(make())
    restored = priors.get(keras.saving.serialize_keras_object(prior))
    restored.set_weights(prior.get_weights())
    z = points(3)
    expected = distribution(prior).log_prob(z)
    np.testing.assert_array_equal(distribution(restored).log_prob(z), expected)


@every
def test_building_twice_keeps_the_weights(make):
    prior = built(make())
    before = prior.get_weights()
    prior.build_for(2, (None, 4), POSTERIOR)
    for a, b in zip(prior.get_weights(), before, strict=True):
        np.testing.assert_array_equal(a, b)
    with pytest.raises(
        ValueError, match="`prior` is built for 2 latents.*latent_dim=3"
    ):
        prior.build_for(3, (None, 4), POSTERIOR)


def test_only_the_vamp_prior_calls_the_encoder():
    for name in ("standard_normal", "learned_normal", "gaussian_mixture"):
        assert built(EVERY[name]()).params(encode) is None


# === Arguments ===


def test_get_by_name():
    assert type(priors.get("standard_normal")) is priors.StandardNormal
    assert type(priors.get("learned_normal")) is priors.LearnedNormal
    assert priors.get("gaussian_mixture").num_components == 10
    assert priors.get("vamp_prior").num_components == 500


@pytest.mark.parametrize("identifier", ["vamp", None, 3])
def test_get_names_what_is_valid(identifier):
    with pytest.raises(ValueError, match="`prior` must be .*'vamp_prior'.*Received"):
        priors.get(identifier)


@pytest.mark.parametrize("num_components", [0, -1, 2.5, True, None])
@pytest.mark.parametrize("prior", [priors.GaussianMixture, priors.VampPrior])
def test_number_of_components_is_checked(prior, num_components):
    with pytest.raises(ValueError, match="`num_components` must be"):
        prior(num_components)


def test_value_range_is_checked():
    with pytest.raises(ValueError, match="`value_range` must be"):
        priors.VampPrior(3, value_range=(1.0, 0.0))

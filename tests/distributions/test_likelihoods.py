import os
import subprocess
import sys

import keras
import numpy as np
import pytest
import scipy.special
import scipy.stats
import tensorflow as tf

from keras_vae import normalization
from keras_vae import random
from keras_vae.distributions import likelihoods

EXTREMES = [-65504.0, -1e4, -90.0, -1e-3, 0.0, 1e-6, 1e-3, 90.0, 1e4, 65504.0]
MEAN, STDDEV = [[0.5, 0.1, 0.0, 3.0]], [[1.0, 0.5, 2.0, 3.0]]
EVERY = {
    "bernoulli": likelihoods.Bernoulli,
    "continuous_bernoulli": likelihoods.ContinuousBernoulli,
    "categorical": lambda **kwargs: likelihoods.Categorical(3, **kwargs),
    "laplace": lambda **kwargs: likelihoods.Laplace(0.7, **kwargs),
    "normal_fixed": lambda **kwargs: likelihoods.Normal(0.7, **kwargs),
    "normal_shared": lambda **kwargs: likelihoods.Normal("shared", **kwargs),
    "normal_per_output": lambda **kwargs: likelihoods.Normal("per_output", **kwargs),
    "normal_optimal": lambda **kwargs: likelihoods.Normal("optimal", **kwargs),
    "standardized": lambda **kwargs: likelihoods.Standardized(
        likelihoods.Laplace(0.7), normalization.layer(MEAN, STDDEV), **kwargs
    ),
}
every = pytest.mark.parametrize("make", EVERY.values(), ids=EVERY)
families = pytest.mark.parametrize(
    ("family", "oracle"),
    [
        (likelihoods.Normal, scipy.stats.norm),
        (likelihoods.Laplace, scipy.stats.laplace),
    ],
)


def example(likelihood, seed=0):
    """Parameters (2, 3, *params_shape) and data (2, 2, 4) within the support."""
    generator = np.random.default_rng(seed)
    params = generator.normal(size=(2, 3, *likelihood.params_shape((2, 4))))
    x = generator.integers(0, 2, size=(2, 2, 4))
    return tf.constant(params, tf.float32), tf.constant(x, tf.float32)


def value_and_gradient(function, x):
    x = tf.constant(x, tf.float32)
    with tf.GradientTape() as tape:
        tape.watch(x)
        value = function(x)
    return value.numpy(), tape.gradient(value, x).numpy()


def continuous_bernoulli_log_prob(logit, x):
    if abs(logit) < 0.05:
        log_partition = logit / 2 + logit**2 / 24 - logit**4 / 2880
    else:
        size = abs(logit)
        log_partition = np.log(-np.expm1(-size) / size) + max(logit, 0.0)
    return logit * x - log_partition


def continuous_bernoulli_mean(logit):
    if abs(logit) < 0.05:
        return 0.5 + logit / 12 - logit**3 / 720
    return -1 / np.expm1(-np.clip(logit, -700, 700)) - 1 / logit


# === Densities ===


def test_bernoulli_against_scipy():
    likelihood = likelihoods.Bernoulli()
    params, x = example(likelihood)
    p = scipy.special.expit(params.numpy().astype("float64"))
    expected = scipy.stats.bernoulli.logpmf(x.numpy()[:, None], p).sum((2, 3))
    np.testing.assert_allclose(likelihood.log_prob(params, x), expected, rtol=1e-5)
    np.testing.assert_allclose(likelihood.mean(params), p, rtol=1e-5)


def test_bernoulli_of_grey_values_is_the_cross_entropy():
    log_prob = likelihoods.Bernoulli().log_prob(
        tf.fill([1, 1, 1], 2.0), tf.fill([1, 1], 0.3)
    )
    p = scipy.special.expit(2.0)
    expected = 0.3 * np.log(p) + 0.7 * np.log(1 - p)
    np.testing.assert_allclose(log_prob, [[expected]], rtol=1e-6)


@pytest.mark.parametrize("x", [0.0, 0.3, 1.0])
def test_bernoulli_at_extreme_logits(x):
    likelihood = likelihoods.Bernoulli()
    logits = np.float32(EXTREMES).astype("float64")[:, None, None]
    value, gradient = value_and_gradient(
        lambda params: likelihood.log_prob(params, tf.fill([len(EXTREMES), 1], x)),
        logits,
    )
    expected = (x * logits - np.logaddexp(0, logits))[..., 0]
    np.testing.assert_allclose(value, expected, rtol=1e-5, atol=1e-30)
    expected = x - scipy.special.expit(logits)
    np.testing.assert_allclose(gradient, expected, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("logit", [-20.0, -1.0, -1e-3, 0.0, 0.04, 1.0, 20.0])
def test_continuous_bernoulli_integrates_to_one(logit):
    likelihood = likelihoods.ContinuousBernoulli()
    nodes, weights = np.polynomial.legendre.leggauss(100)
    nodes, weights = (nodes + 1) / 2, weights / 2
    x = tf.constant(nodes[:, None], tf.float32)
    density = tf.exp(likelihood.log_prob(tf.fill([100, 1, 1], logit), x))[:, 0]
    np.testing.assert_allclose(weights @ density.numpy(), 1.0, rtol=2e-6)
    mean = likelihood.mean(tf.constant([logit]))
    np.testing.assert_allclose(mean, weights @ (nodes * density.numpy()), rtol=1e-5)


@pytest.mark.parametrize("jit", [False, True])
@pytest.mark.parametrize("x", [0.0, 0.3, 1.0])
def test_continuous_bernoulli_at_extreme_and_small_logits(x, jit):
    likelihood = likelihoods.ContinuousBernoulli()
    logits = np.float32([*EXTREMES, -0.3, 0.02, 0.1, 1.0, 15.0]).astype("float64")

    @tf.function(jit_compile=jit)
    def log_prob(params):
        return likelihood.log_prob(params, tf.fill([len(logits), 1], x))

    value, gradient = value_and_gradient(log_prob, logits[:, None, None])
    expected = [continuous_bernoulli_log_prob(logit, x) for logit in logits]
    np.testing.assert_allclose(value[:, 0], expected, rtol=1e-5, atol=5e-6)
    expected = [x - continuous_bernoulli_mean(logit) for logit in logits]
    np.testing.assert_allclose(gradient[:, 0, 0], expected, atol=2e-5)


def test_continuous_bernoulli_mean_at_extreme_logits():
    likelihood = likelihoods.ContinuousBernoulli()
    value, gradient = value_and_gradient(likelihood.mean, EXTREMES)
    expected = [continuous_bernoulli_mean(np.float64(np.float32(v))) for v in EXTREMES]
    np.testing.assert_allclose(value, expected, rtol=1e-5)
    assert np.isfinite(gradient).all()


@families
def test_fixed_scale_against_scipy(family, oracle):
    likelihood = family(scale=0.7)
    params, x = example(likelihood)
    expected = oracle.logpdf(x.numpy()[:, None], params.numpy(), 0.7).sum((2, 3))
    np.testing.assert_allclose(likelihood.log_prob(params, x), expected, rtol=1e-5)
    np.testing.assert_array_equal(likelihood.mean(params), params)
    assert not likelihood.weights


@families
def test_shared_scale_against_scipy_and_its_gradient(family, oracle):
    likelihood = family(scale="shared", initial_scale=0.3)
    params, x = example(likelihood)
    with tf.GradientTape() as tape:
        value = tf.reduce_sum(likelihood.log_prob(params, x))
    gradient = tape.gradient(value, likelihood.trainable_variables[0].value)

    def total(scale):
        return oracle.logpdf(x.numpy()[:, None], params.numpy(), scale).sum()

    np.testing.assert_allclose(likelihood.current_scale(), 0.3, rtol=1e-6)
    np.testing.assert_allclose(value, total(0.3), rtol=1e-5)
    slope = (total(0.3 * np.exp(1e-4)) - total(0.3 * np.exp(-1e-4))) / 2e-4
    # The soft limit takes a little of the slope away.
    np.testing.assert_allclose(gradient, slope * (1 - 0.0025 / 0.3), rtol=1e-3)


@families
def test_scale_per_output_against_scipy(family, oracle):
    likelihood = family(scale="per_output", initial_scale=0.3)
    params, x = example(likelihood)
    loc, raw = np.split(params.numpy(), 2, axis=-1)
    scale = 0.0025 + (0.3 - 0.0025) * np.exp(raw)
    expected = oracle.logpdf(x.numpy()[:, None], loc, scale).sum((2, 3))
    np.testing.assert_allclose(
        likelihood.log_prob(params, x), expected, rtol=1e-3, atol=1e-3
    )
    np.testing.assert_array_equal(likelihood.mean(params), loc)
    assert likelihood.current_scale() is None


@families
def test_scale_per_output_at_extreme_parameters(family, oracle):
    likelihood = family(scale="per_output")
    params = [[[loc, raw]] for loc in (0.0, 1e4) for raw in EXTREMES]
    x = tf.fill([len(params), 1], 0.5)
    value, gradient = value_and_gradient(lambda p: likelihood.log_prob(p, x), params)
    assert np.isfinite(value).all()
    assert np.isfinite(gradient).all()


def test_categorical_against_scipy():
    likelihood = likelihoods.Categorical(3)
    params, _ = example(likelihood)
    x = np.random.default_rng(1).integers(0, 3, size=(2, 2, 4))
    logits = params.numpy().reshape(2, 3, 2, 4, 3)
    log_p = scipy.special.log_softmax(logits, axis=-1)
    chosen = np.take_along_axis(
        log_p, np.tile(x[:, None, ..., None], (1, 3, 1, 1, 1)), -1
    )
    expected = chosen[..., 0].sum((2, 3))
    for ids in (x, x.astype("float32"), x.astype("uint8")):
        np.testing.assert_allclose(
            likelihood.log_prob(params, tf.constant(ids)), expected, rtol=1e-5
        )
    mean = (np.exp(log_p) * np.arange(3)).sum(-1)
    np.testing.assert_allclose(likelihood.mean(params), mean, rtol=1e-5)


@pytest.mark.parametrize("logit", [-65504.0, 65504.0])
def test_categorical_at_extreme_logits(logit):
    value, gradient = value_and_gradient(
        lambda params: likelihoods.Categorical(3).log_prob(params, [[0]]),
        [[[logit, 0.0, 0.0]]],
    )
    assert np.isfinite(value).all()
    assert np.isfinite(gradient).all()


# === Optimal scale ===


@families
def test_optimal_scale_has_the_gradient_of_the_log_of_the_mean_error(family, oracle):
    likelihood = family(scale="optimal")
    params, x = example(likelihood)
    power, factor = (2, 0.5) if family is likelihoods.Normal else (1, 1.0)

    def loss(params):
        return tf.reduce_mean(likelihood.log_prob(params, x, training=True))

    def log_error(params):
        error = tf.reduce_mean(tf.abs(x[:, None] - params) ** power)
        return -8 * factor * tf.math.log(error)

    value, gradient = value_and_gradient(loss, params)
    _, expected = value_and_gradient(log_error, params)
    np.testing.assert_allclose(gradient, expected, rtol=1e-4, atol=1e-6)
    error = np.abs(x.numpy()[:, None] - params.numpy())
    scale = np.mean(error**power) ** (1 / power)
    log_prob = oracle.logpdf(x.numpy()[:, None], params.numpy(), scale).sum((2, 3))
    np.testing.assert_allclose(value, log_prob.mean(), rtol=1e-5)


def test_optimal_scale_moves_as_the_unbiased_average_of_the_past():
    likelihood = likelihoods.Normal(scale="optimal", momentum=0.9, initial_scale=0.2)
    np.testing.assert_allclose(likelihood.current_scale(), 0.2)
    x = tf.zeros([2, 3])
    total = weight = 0.0
    for error in (1.0, 3.0, 0.5):
        likelihood.log_prob(tf.fill([2, 4, 3], error), x, training=True)
        total, weight = 0.9 * total + 0.1 * error**2, 0.9 * weight + 0.1
        np.testing.assert_allclose(
            likelihood.current_scale(), np.sqrt(total / weight), rtol=1e-6
        )
    before = float(likelihood.current_scale())
    log_prob = likelihood.log_prob(tf.ones([2, 4, 3]), x)
    expected = 3 * scipy.stats.norm.logpdf(1.0, 0.0, before)
    np.testing.assert_allclose(log_prob, np.full((2, 4), expected), rtol=1e-5)
    assert float(likelihood.current_scale()) == before


def test_optimal_scale_uses_the_given_mean():
    likelihood = likelihoods.Normal(scale="optimal")
    weights = tf.constant([3.0, 0.0])

    def mean(values):
        return tf.linalg.matvec(values, weights, transpose_a=True) / 3.0

    params = tf.constant([[[2.0]], [[100.0]]])
    log_prob = likelihood.log_prob(params, tf.zeros([2, 1]), mean, training=True)
    expected = scipy.stats.norm.logpdf([2.0, 100.0], 0.0, 2.0)
    np.testing.assert_allclose(log_prob[:, 0], expected, rtol=1e-5)
    np.testing.assert_allclose(likelihood.current_scale(), 2.0, rtol=1e-6)


def test_batch_without_weight_leaves_the_moving_scale():
    likelihood = likelihoods.Normal(scale="optimal")
    likelihood.log_prob(tf.ones([1, 1, 2]), tf.zeros([1, 2]), training=True)
    log_prob = likelihood.log_prob(
        tf.ones([1, 1, 2]),
        tf.zeros([1, 2]),
        mean=lambda values: 0.0 * values[0],
        training=True,
    )
    assert np.isfinite(log_prob).all()
    np.testing.assert_allclose(likelihood.current_scale(), 1.0, rtol=1e-6)


@families
def test_perfect_reconstruction_stops_at_the_smallest_scale(family, oracle):
    likelihood = family(scale="optimal", min_scale=0.01)
    value, gradient = value_and_gradient(
        lambda params: likelihood.log_prob(params, [[0.0]], training=True), [[[0.0]]]
    )
    np.testing.assert_allclose(value, [[oracle.logpdf(0, 0, 0.01)]], rtol=1e-5)
    assert np.isfinite(gradient).all()


TWO_REPLICAS = """
import tensorflow as tf
cpu = tf.config.list_physical_devices("CPU")[0]
two = [tf.config.LogicalDeviceConfiguration()] * 2
tf.config.set_logical_device_configuration(cpu, two)
from keras_vae.distributions import likelihoods
from keras_vae.objectives import BatchMean
strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
with strategy.scope():
    likelihood = likelihoods.Normal(scale="optimal")

@tf.function
def step():
    replica = tf.distribute.get_replica_context().replica_id_in_sync_group
    # Errors of 1 with weight 3 and of 3 with weight 1.
    params = tf.fill([1, 1, 1], tf.cast(1 + 2 * replica, tf.float32))
    mean = BatchMean(1, [tf.cast(3 - 2 * replica, tf.float32)])
    return likelihood.log_prob(params, tf.zeros([1, 1]), mean, training=True)

strategy.run(step)
copies = strategy.experimental_local_results(likelihood.deviation.value)
print(*(float(copy) for copy in copies), float(likelihood.current_scale()))
"""


def test_optimal_scale_is_that_of_all_replicas():
    # Logical devices have to be made before the first operation of a process.
    environment = {**os.environ, "CUDA_VISIBLE_DEVICES": "-1"}
    result = subprocess.run(
        [sys.executable, "-c", TWO_REPLICAS],
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    first, second, scale = map(float, result.stdout.split())
    assert first == second
    np.testing.assert_allclose(scale, np.sqrt((3 * 1 + 1 * 9) / 4), rtol=1e-6)


# === Every family ===


@every
def test_modes_agree(make):
    likelihood = make()
    params, x = example(likelihood)

    def function(params, x):
        sample = likelihood.sample(params, random.key(1))
        return likelihood.log_prob(params, x), likelihood.mean(params), sample

    eager = function(params, x)
    for jit in (False, True):
        for a, b in zip(
            tf.function(function, jit_compile=jit)(params, x), eager, strict=True
        ):
            np.testing.assert_allclose(a, b, rtol=2e-5, atol=1e-5)


@every
def test_shapes_are_inverse_and_match_the_distribution(make):
    likelihood = make()
    params, x = example(likelihood)
    shape = likelihood.params_shape((2, 4))
    assert likelihood.event_shape(shape) == (2, 4)
    distribution = likelihood.distribution(params)
    assert distribution.event_shape == (2, 4)
    assert distribution.batch_shape == (2, 3)
    assert likelihood.distribution(params[0], batch_ndims=1).batch_shape == (3,)
    assert likelihood.log_prob(params, x).shape == (2, 3)
    assert likelihood.mean(params).shape == (2, 3, 2, 4)
    assert likelihood.sample(params, random.key(0)).shape == (2, 3, 2, 4)


@every
def test_samples_have_the_mean_and_lie_in_the_support(make):
    likelihood = make()
    params, _ = example(likelihood)
    draws = likelihood.sample(tf.repeat(params[:1], 4000, axis=0), random.key(0))
    likelihood.check_data(draws.numpy())
    draws = draws.numpy().astype("float64")
    error = draws.std(0) / np.sqrt(4000)
    difference = draws.mean(0) - likelihood.mean(params)[0]
    assert (np.abs(difference) < 4.5 * error).all()
    assert (draws.std(0) > 0).all()


@families
def test_samples_have_the_scale(family, oracle):
    draws = family(scale=0.7).sample(tf.fill([20000], 2.0), random.key(0))
    test = scipy.stats.kstest(draws, oracle(2.0, 0.7).cdf)
    assert test.pvalue > 0.01


@every
@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_half_precision_gives_float32(make, dtype):
    keras.config.set_dtype_policy(f"mixed_{dtype}")
    likelihood = make()
    params, x = example(likelihood)
    params = tf.cast(params, dtype)
    for training in (False, True):
        log_prob = likelihood.log_prob(params, tf.cast(x, dtype), training=training)
        assert log_prob.dtype == tf.float32
        expected = make().log_prob(tf.cast(params, tf.float32), x, training=training)
        np.testing.assert_array_equal(log_prob, expected)
    assert likelihood.mean(params).dtype == tf.float32
    assert all(v.dtype == "float32" for v in likelihood.variables)


@every
def test_config_round_trip(make):
    likelihood = make(name="p")
    restored = likelihoods.get(keras.saving.serialize_keras_object(likelihood))
    assert type(restored) is type(likelihood)
    assert restored.get_config() == likelihood.get_config()
    assert likelihoods.get(likelihood) is likelihood


@every
def test_initial_bias_has_the_mean(make):
    likelihood = make()
    x_mean = np.linspace(0.002, 0.99, 8).reshape(2, 4)
    bias = likelihood.initial_bias(x_mean)
    if isinstance(likelihood, likelihoods.Categorical):
        assert bias is None
        return
    assert bias.dtype == np.float32
    assert bias.shape == likelihood.params_shape((2, 4))
    np.testing.assert_allclose(likelihood.mean(tf.constant(bias)), x_mean, rtol=1e-4)


def test_initial_bias_of_constant_pixels_is_finite():
    for likelihood in (likelihoods.Bernoulli(), likelihoods.ContinuousBernoulli()):
        bias = tf.constant(likelihood.initial_bias(np.array([0.0, 0.5, 1.0])))
        np.testing.assert_allclose(
            likelihood.mean(bias), [0.001, 0.5, 0.999], rtol=1e-3
        )


def test_initial_scale_per_output_is_that_of_a_zero_bias():
    likelihood = likelihoods.Normal("per_output", initial_scale=0.2)
    bias = tf.constant(likelihood.initial_bias(np.array([0.5])))
    stddev = likelihood.distribution(bias, batch_ndims=0).stddev()
    np.testing.assert_allclose(stddev, [0.2], rtol=1e-5)


# === Data ===


@every
def test_data_must_be_finite_real_numbers(make):
    likelihood = make()
    for bad in (np.nan, np.inf):
        with pytest.raises(ValueError, match="`x` must be finite.*1 values of 2"):
            likelihood.check_data(np.array([0.0, bad]))
    for dtype in (object, str, complex):
        with pytest.raises(ValueError, match="`x` must be an array of real.*dtype"):
            likelihood.check_data(np.zeros(2).astype(dtype))
    with pytest.raises(ValueError, match="`x` must not be empty"):
        likelihood.check_data(np.zeros((0, 3)))


@every
def test_zeros_and_ones_are_always_data(make):
    likelihood = make()
    for dtype in (bool, "uint8", "float16", "float64"):
        likelihood.check_data(np.array([0, 1]).astype(dtype))


@pytest.mark.parametrize(
    ("x", "fix"),
    [
        (np.array([0, 255], "uint8"), r"by 255.*\[0, 255\]"),
        (np.array([-1.0, 1.0]), r"Normal.*\[-1.0, 1.0\]"),
        (np.array([0.0, 1000.0]), r"rescale.*\[0.0, 1000.0\]"),
    ],
)
@pytest.mark.parametrize("name", ["bernoulli", "continuous_bernoulli"])
def test_data_outside_the_unit_interval_is_an_error_with_a_fix(name, x, fix):
    with pytest.raises(ValueError, match=rf"`x` must be in \[0, 1\].*{fix}"):
        likelihoods.get(name).check_data(x)


@pytest.mark.parametrize("x", [[-1, 0], [0, 3], [0.5, 1.0]])
def test_class_ids_must_be_whole_numbers_below_the_number_of_classes(x):
    with pytest.raises(ValueError, match="`x` must hold the class ids.*num_classes=3"):
        likelihoods.Categorical(3).check_data(np.array(x))


# === Arguments ===


def test_get_by_name():
    assert type(likelihoods.get("bernoulli")) is likelihoods.Bernoulli
    continuous = likelihoods.get("continuous_bernoulli")
    assert type(continuous) is likelihoods.ContinuousBernoulli
    assert likelihoods.get("normal").scale == "shared"
    assert likelihoods.get("optimal_normal").scale == "optimal"
    assert likelihoods.get("unit_normal").scale == 1.0
    assert type(likelihoods.get("laplace")) is likelihoods.Laplace


@pytest.mark.parametrize("identifier", ["gaussian", None, 3])
def test_get_names_what_is_valid(identifier):
    with pytest.raises(ValueError, match="`likelihood` must be .*'normal'.*Received"):
        likelihoods.get(identifier)


def test_categorical_by_name_asks_for_the_number_of_classes():
    with pytest.raises(ValueError, match="`num_classes`"):
        likelihoods.get("categorical")


@pytest.mark.parametrize(
    ("arguments", "name"),
    [
        ({"scale": 0.0}, "scale"),
        ({"scale": -1.0}, "scale"),
        ({"scale": True}, "scale"),
        ({"scale": "learned"}, "scale"),
        ({"scale": None}, "scale"),
        ({"initial_scale": 0.0}, "initial_scale"),
        ({"min_scale": 0.5}, "min_scale"),
        ({"max_scale": 0.05}, "max_scale"),
        ({"momentum": 1.0}, "momentum"),
    ],
)
@pytest.mark.parametrize("family", [likelihoods.Normal, likelihoods.Laplace])
def test_arguments_of_scales_are_checked(family, arguments, name):
    with pytest.raises(ValueError, match=f"`{name}`.*Received"):
        family(**arguments)


@pytest.mark.parametrize("num_classes", [1, 2.0, None])
def test_number_of_classes_is_checked(num_classes):
    with pytest.raises(ValueError, match="`num_classes` must be"):
        likelihoods.Categorical(num_classes)


def test_impossible_shapes_are_errors():
    with pytest.raises(ValueError, match="`params_shape` must end in a multiple of 2"):
        likelihoods.Normal("per_output").event_shape((28, 3))
    with pytest.raises(ValueError, match="`event_shape` must have an axis"):
        likelihoods.Categorical(3).params_shape(())


def test_activations_that_leave_no_logits_are_named():
    for likelihood in (likelihoods.Bernoulli(), likelihoods.Categorical(2)):
        assert {"sigmoid", "softmax"} == set(likelihood.invalid_activations)
    assert not likelihoods.Normal().invalid_activations

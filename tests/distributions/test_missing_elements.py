"""Elements left out add nothing to a likelihood, whatever stands in their place."""

import numpy as np
import pytest
import tensorflow as tf

import keras_vae as kv
from keras_vae.distributions import likelihoods
from keras_vae.distributions import masks
from keras_vae.objectives import BatchMean

GENERATOR = np.random.default_rng(0)
SHAPE = (5, 4, 3)  # Examples, times, features.
SAMPLES = 2
MAKERS = {
    "bernoulli": likelihoods.Bernoulli,
    "continuous_bernoulli": likelihoods.ContinuousBernoulli,
    "categorical": lambda: likelihoods.Categorical(3),
    "laplace": lambda: likelihoods.Laplace(0.7),
    "normal_fixed": lambda: likelihoods.Normal(0.7),
    "normal_shared": lambda: likelihoods.Normal("shared"),
    "normal_per_output": lambda: likelihoods.Normal("per_output"),
    "normal_optimal": lambda: likelihoods.Normal("optimal"),
}
MASKS = {
    "examples": GENERATOR.random(SHAPE[:1]) < 0.6,
    "times": GENERATOR.random(SHAPE[:2]) < 0.6,
    "elements": GENERATOR.random(SHAPE) < 0.6,
    "features": GENERATOR.random((1, 1, 3)) < 0.6,
    "all": np.ones(SHAPE[:1], bool),
    "none": np.zeros(SHAPE[:2], bool),
}


def case(name):
    """A likelihood, parameters, data and how many numbers each element has."""
    likelihood = MAKERS[name]()
    params_shape = likelihood.params_shape(SHAPE[1:])
    params = GENERATOR.normal(size=(SHAPE[0], SAMPLES, *params_shape))
    x = GENERATOR.random(SHAPE).astype("float32")
    if name == "categorical":
        x = np.floor(3 * x).astype("int32")
    return likelihood, params.astype("float32"), x, params_shape[-1] // SHAPE[-1]


def whole(mask):
    """A mask in the shape of x."""
    return np.broadcast_to(mask.reshape(mask.shape + (1,) * (3 - mask.ndim)), SHAPE)


def of_params(name, mask, factor):
    """The same in the shape of the parameters."""
    if name == "categorical":
        return np.repeat(mask, factor, axis=-1)[:, None]
    return np.concatenate([mask] * factor, axis=-1)[:, None]


@pytest.mark.parametrize("kind", MASKS)
@pytest.mark.parametrize("name", MAKERS)
def test_the_sum_is_that_of_the_elements_observed(name, kind):
    likelihood, params, x, factor = case(name)
    mask = whole(MASKS[kind])
    elements = likelihood.distribution(params, 5).log_prob(x[:, None]).numpy()
    assert elements.shape == (5, SAMPLES, 4, 3)
    expected = np.where(mask[:, None], elements, 0.0).sum(axis=(2, 3))
    # Garbage that no density takes.
    x = np.where(mask, x, 99 if name == "categorical" else np.nan).astype(x.dtype)
    params = np.where(of_params(name, mask, factor), params, np.nan)
    value = likelihood.log_prob(params, x, mask=MASKS[kind])
    np.testing.assert_allclose(value, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("kind", ["times", "elements"])
@pytest.mark.parametrize("name", MAKERS)
def test_gradients_pass_by_what_is_left_out(name, kind):
    likelihood, params, x, factor = case(name)
    mask = whole(MASKS[kind])
    observed = np.broadcast_to(of_params(name, mask, factor), params.shape)

    def gradient(params, log_prob):
        params = tf.constant(params)
        with tf.GradientTape() as tape:
            tape.watch(params)
            value = log_prob(params)
        return tape.gradient(value, params).numpy()

    def of_elements(params):
        elements = likelihood.distribution(params, 5).log_prob(x[:, None])
        return tf.reduce_sum(elements * tf.cast(mask[:, None], tf.float32))

    expected = gradient(params, of_elements)
    bad = np.where(mask, x, -7 if name == "categorical" else np.inf).astype(x.dtype)
    value = gradient(
        np.where(observed, params, np.nan).astype("float32"),
        lambda params: likelihood.log_prob(params, bad, mask=MASKS[kind]),
    )
    assert np.all(value[~observed] == 0.0)
    assert np.abs(value[observed]).max() > 0.1
    np.testing.assert_allclose(value, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("dtype", [bool, "float32", "int32"])
def test_masks_of_other_types(dtype):
    likelihood, params, x, _ = case("bernoulli")
    expected = likelihood.log_prob(params, x, mask=MASKS["times"])
    value = likelihood.log_prob(params, x, mask=MASKS["times"].astype(dtype))
    np.testing.assert_array_equal(value, expected)
    assert np.abs(value - likelihood.log_prob(params, x)).max() > 0.1


def test_scalar_events():
    likelihood = likelihoods.Normal(1.0)
    mask = np.array([True, False, True])
    value = likelihood.log_prob(np.zeros((3, 2), "float32"), np.zeros(3), mask=mask)
    constant = -0.5 * np.log(2 * np.pi)
    expected = [[constant] * 2, [0.0] * 2, [constant] * 2]
    np.testing.assert_allclose(value, expected, rtol=1e-6)


@pytest.mark.parametrize("shape", [(), (4,), (5, 3), (5, 4, 2), (5, 4, 3, 1), (2, 4)])
def test_masks_that_do_not_fit(shape):
    likelihood, params, x, _ = case("bernoulli")
    message = r"`mask` must have the shape of the leading axes .*x\.shape=\(5, 4, 3\)"
    with pytest.raises(ValueError, match=message):
        likelihood.log_prob(params, x, mask=np.ones(shape, bool))


@pytest.mark.parametrize("family", [likelihoods.Normal, likelihoods.Laplace])
@pytest.mark.parametrize("weights", [None, [1.0, 0.0, 2.0, 0.5, 1.0]])
def test_the_optimal_scale_is_that_of_the_elements_observed(family, weights):
    likelihood = family("optimal", momentum=0.5, min_scale=1e-4)
    mean = BatchMean(5, None if weights is None else tf.constant(weights))
    power = 2 if family is likelihoods.Normal else 1
    weights = np.ones(5) if weights is None else np.array(weights)
    totals, numbers = [], []
    for kind in ("elements", "times"):
        params = GENERATOR.normal(size=(5, 1, 4, 3)).astype("float32")
        x = GENERATOR.normal(size=SHAPE).astype("float32")
        mask = whole(MASKS[kind])
        weight = weights[:, None, None] * mask
        deviation = np.abs(x - params[:, 0]) ** power
        totals.append(np.sum(weight * deviation) / weights.sum())
        numbers.append(np.sum(weight) / weights.sum())
        scale = (totals[-1] / numbers[-1]) ** (1 / power)
        bad = np.where(mask, x, np.nan).astype("float32")
        value = likelihood.log_prob(params, bad, mean, training=True, mask=MASKS[kind])
        fixed = family(float(scale)).log_prob(params, bad, mask=MASKS[kind])
        np.testing.assert_allclose(value, fixed, rtol=1e-4)
    # Batches count by the part of their elements that is observed.
    kept = 0.5 * (1 - 0.5 * numbers[1] / 12)
    deviation = kept * totals[0] + 0.5 * totals[1]
    number = kept * numbers[0] + 0.5 * numbers[1]
    scale = (deviation / number) ** (1 / power)
    assert float(likelihood.current_scale()) == pytest.approx(scale, rel=1e-5)


def test_a_likelihood_of_ones_own_needs_no_mask():
    class Plain(likelihoods.Normal):
        def log_prob(self, params, x, mean=None, training=False):
            return super().log_prob(params, x, mean, training)

    vae = kv.VAE(
        kv.networks.mlp_encoder([3]), kv.networks.mlp_decoder([3], (4,)), 2, Plain(1.0)
    )
    vae.compile("sgd")
    assert np.isfinite(vae.fit(np.ones((4, 4)), verbose=0).history["loss"][0])


def test_masks_of_both_kinds():
    times, elements = MASKS["times"], MASKS["elements"]
    assert masks.both(None, None) is None
    assert masks.both(None, times) is times
    for first, second in ((times, elements), (elements, times)):
        value = masks.both(tf.constant(first), tf.constant(second))
        np.testing.assert_array_equal(value, times[..., None] & elements)
    share = masks.observed_share(tf.constant(elements))
    np.testing.assert_allclose(share, elements.mean(axis=(1, 2)))

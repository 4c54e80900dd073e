"""The importance-sampled log p(x) against closed forms and against NumPy."""

import gc
import weakref

import keras
import matrix
import numpy as np
import oracle
import pytest
import recipes
import scipy.special
import tensorflow as tf

import keras_vae as kv
from keras_vae import random

LATENTS = 3
VAES = [name for name in recipes.RECIPES if "latent" not in name]


def built(name):
    recipe = recipes.make(name)
    recipe.model.build(tf.nest.map_structure(lambda v: (None, *v.shape[1:]), recipe.x))
    return recipe


def one_shot(model, x, y, num_samples, key):
    """All weights at once, summed in float64."""
    x, y = tf.nest.map_structure(tf.constant, (x, y))
    estimate = model.estimate(x, y, num_samples, key)
    weights = np.float64(estimate.log_likelihood - estimate.log_ratio)
    return scipy.special.logsumexp(weights, axis=1) - np.log(num_samples)


# === Closed forms ===


def linear_vae(variance_factor=1.0):
    """The most likely linear VAE, q's variances a multiple of the posterior's."""
    _, vectors = oracle.data()
    best = oracle.ProbabilisticPCA.fit(LATENTS, oracle.EIGENVALUES, vectors)
    vae = kv.VAE(
        encoder=kv.networks.mlp_encoder([]),
        decoder=kv.networks.mlp_decoder([], (len(vectors),)),
        latent_dim=LATENTS,
        likelihood=kv.distributions.Normal(scale=np.sqrt(best.variance)),
        seed=0,
    )
    vae.build((None, len(vectors)))
    vae.decoder.set_weights([best.weights.T, np.zeros(len(vectors))])
    mean, variance = best.posterior(np.eye(len(vectors)))
    raw = raw_scales(vae.latent.posterior, np.sqrt(variance_factor * variance))
    kernel = np.concatenate([mean, np.zeros_like(mean)], axis=1)
    vae.latent.head.set_weights([kernel, np.concatenate([np.zeros(LATENTS), raw])])
    return vae, best


def raw_scales(posterior, scales):
    raw = np.linspace(-3, 1, 100_001, dtype="float32")
    _, stddev = posterior.mean_and_stddev(np.stack([0 * raw, raw], axis=1))
    return np.interp(scales, stddev[:, 0], raw)


@pytest.mark.parametrize("num_samples", [1, 1000])
def test_the_exact_posterior_gives_the_exact_likelihood(num_samples):
    x, _ = oracle.data()
    vae, best = linear_vae()
    estimate = vae.log_likelihood(
        np.float32(x), num_samples=num_samples, jit_compile=False, verbose=0
    )
    assert estimate.dtype == np.float32
    np.testing.assert_allclose(estimate, best.log_prob(x), atol=1e-4)
    assert estimate.mean() == pytest.approx(-7.1535842, abs=1e-5)


@pytest.mark.parametrize(
    ("num_samples", "gap", "tolerance"),
    # At K = 1 it is KL(q || p) = 1.5 (2 - 1 - log 2); the others are NumPy's means.
    [(1, 0.460279, 0.08), (5, 0.0591, 0.025), (50, 0.0045, 0.007)],
)
def test_a_wrong_posterior_falls_short_by_its_gap(num_samples, gap, tolerance):
    x = np.repeat(oracle.data()[0], 256, axis=0)
    vae, best = linear_vae(variance_factor=2.0)
    estimate = vae.log_likelihood(
        np.float32(x), num_samples=num_samples, jit_compile=False, verbose=0
    )
    assert np.mean(best.log_prob(x) - estimate) == pytest.approx(gap, abs=tolerance)


# === NumPy ===


@pytest.mark.parametrize("jit_compile", [False, True])
def test_streamed_blocks_equal_numpy(jit_compile, monkeypatch):
    monkeypatch.setattr(kv.evaluation, "_MAX_SAMPLES", 13)
    recipe = built("bernoulli")
    model, x = recipe.model, recipe.x[:5]
    # Three blocks of 13 draws for two examples at a time: one draw and one example
    # too many, which must not count.
    estimate = model.log_likelihood(
        x, num_samples=38, batch_size=26, seed=4, jit_compile=jit_compile, verbose=0
    )
    mean, stddev = (np.float64(v) for v in model.encode(x))
    weights = np.empty((6, 39))
    for i in range(9):
        rows = [min(2 * (i // 3) + k, 4) for k in (0, 1)]
        noise = np.float64(random.normal((2, 13, LATENTS), random.key(4, i)))
        z = mean[rows, None] + stddev[rows, None] * noise
        logits = np.float64(model.decoder(np.float32(z.reshape(26, LATENTS))))
        logits, target = logits.reshape(2, 13, -1), x[rows].reshape(2, 1, -1)
        log_likelihood = (target * logits - np.logaddexp(0, logits)).sum(axis=2)
        log_ratio = ((z**2 - noise**2) / 2 - np.log(stddev[rows, None])).sum(axis=2)
        block = slice(13 * (i % 3), 13 * (i % 3 + 1))
        weights[2 * (i // 3) : 2 * (i // 3) + 2, block] = log_likelihood - log_ratio
    exact = scipy.special.logsumexp(weights[:5, :38], axis=1) - np.log(38)
    np.testing.assert_allclose(estimate, exact, atol=1e-5)


@pytest.mark.parametrize("name", matrix.first(8, VAES))
def test_every_model_equals_one_shot(name):
    recipe = built(name)
    target = recipe.x if recipe.y is None else recipe.y
    estimate = recipe.model.log_likelihood(
        recipe.x, recipe.y, num_samples=8, jit_compile=False, verbose=0
    )
    exact = one_shot(recipe.model, recipe.x, target, 8, random.key(0))
    np.testing.assert_allclose(estimate, exact, rtol=1e-5, atol=1e-5)


@pytest.mark.slow
def test_xla_gives_the_same():
    recipe = built("importance_weighted_vamp_prior")
    first, second = (
        recipe.model.log_likelihood(
            recipe.x, num_samples=8, jit_compile=jit_compile, verbose=0
        )
        for jit_compile in (False, True)
    )
    np.testing.assert_allclose(first, second, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
def test_mixed_precision_is_near(policy):
    recipe = built("bernoulli")
    keras.config.set_dtype_policy(policy)
    half = built("bernoulli")
    half.model.set_weights(recipe.model.get_weights())
    estimates = [
        this.model.log_likelihood(this.x, num_samples=200, jit_compile=False, verbose=0)
        for this in (recipe, half)
    ]
    assert estimates[1].dtype == np.float32
    np.testing.assert_allclose(*estimates, atol=0.1)


# === Blocks ===


def test_the_size_of_a_block_changes_the_noise_alone():
    x = np.float32(oracle.data()[0])
    vae, _ = linear_vae(variance_factor=2.0)
    estimates = [
        vae.log_likelihood(
            x, num_samples=2000, batch_size=size, jit_compile=False, verbose=0
        )
        for size in (300, 5000)
    ]
    # Between two estimates that share no draws: 1.4 times 0.016 each.
    assert not np.array_equal(*estimates)
    np.testing.assert_allclose(*estimates, atol=0.1)


def test_memory_depends_neither_on_draws_nor_on_examples(monkeypatch):
    recipe = built("bernoulli")
    estimate = kv.VAE.estimate
    traced = []

    def recorded(model, x, y, num_samples, key):
        traced.append(num_samples * x.shape[0])
        return estimate(model, x, y, num_samples, key)

    monkeypatch.setattr(kv.VAE, "estimate", recorded)
    for size, num_samples in ((32, 300), (8, 3000), (1, 3000)):
        recipe.model.log_likelihood(
            recipe.x[:size],
            num_samples=num_samples,
            batch_size=100,
            jit_compile=False,
            verbose=0,
        )
    # One trace for each shape of a block, none of which decodes more than was said.
    assert len(traced) <= 3
    assert max(traced) <= 100


def test_large_events_come_in_small_blocks(monkeypatch):
    shape = (64, 64, 3)
    model = kv.VAE(
        encoder=kv.networks.mlp_encoder([2]),
        decoder=kv.networks.mlp_decoder([2], shape),
        latent_dim=2,
    )
    rows = []
    estimate = kv.VAE.estimate

    def recorded(model, x, y, num_samples, key):
        rows.append(num_samples * x.shape[0])
        return estimate(model, x, y, num_samples, key)

    monkeypatch.setattr(kv.VAE, "estimate", recorded)
    x = np.zeros((2, *shape), "float32")
    model.log_likelihood(x, num_samples=400, jit_compile=False, verbose=0)
    assert rows == [200]


# === Use ===


def test_the_seed_determines_the_estimate():
    recipe = built("bernoulli")
    first, second, other = (
        recipe.model.log_likelihood(
            recipe.x, num_samples=20, seed=seed, jit_compile=False, verbose=0
        )
        for seed in (3, 3, 4)
    )
    np.testing.assert_array_equal(first, second)
    assert not np.array_equal(first, other)


@pytest.mark.parametrize(
    ("name", "xla"), [("bernoulli", True), ("convolutions", False)]
)
def test_xla_is_used_where_it_pays(name, xla, monkeypatch):
    chosen = []
    compiled = kv.evaluation.compiled

    def recorded(model, add, jit_compile):
        chosen.append(jit_compile)
        return compiled(model, add, jit_compile=False)

    monkeypatch.setattr(kv.evaluation, "compiled", recorded)
    recipe = built(name)
    recipe.model.log_likelihood(recipe.x, num_samples=4, verbose=0)
    assert chosen == [xla]


def test_it_leaves_the_model_as_it_was():
    recipe = built("batch_normalized_posterior")
    recipe.model.encoder.layers[-1].activity_regularizer = keras.regularizers.L2(1.0)
    before = [np.array(weight) for weight in recipe.model.weights]
    recipe.model.log_likelihood(recipe.x, num_samples=4, jit_compile=False, verbose=0)
    assert recipe.model.losses == []
    for old, weight in zip(before, recipe.model.weights, strict=True):
        np.testing.assert_array_equal(old, weight)


def test_more_draws_bring_it_above_the_elbo():
    recipe = built("bernoulli")
    elbo = np.mean(recipe.model.elbo(recipe.x, num_samples=500))
    estimate = recipe.model.log_likelihood(recipe.x, jit_compile=False, verbose=0)
    assert np.mean(estimate) > elbo + 0.1


def test_progress_is_shown_where_it_is_asked_for(capsys):
    recipe = built("bernoulli")
    for verbose, shown in ((0, False), (1, True), ("auto", True)):
        recipe.model.log_likelihood(
            recipe.x, num_samples=4, jit_compile=False, verbose=verbose
        )
        assert ("1/1" in capsys.readouterr().out) is shown


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"num_samples": 0}, "`num_samples` must be a positive integer"),
        ({"batch_size": 0}, "`batch_size` must be a positive integer"),
        ({"seed": -1}, "`seed` must be in"),
        ({"verbose": 3}, "`verbose` must be 'auto', 0, 1 or 2. Received: verbose=3"),
        ({"x": tf.data.Dataset.range(3)}, "`x` must be an array, or a structure"),
        ({"x": np.full((3, 4, 4, 1), 7.0)}, "divide pixels"),
        ({"y": np.arange(3)}, "`y` must"),
    ],
)
def test_arguments_are_checked(arguments, message):
    recipe = built("bernoulli")
    with pytest.raises(ValueError, match=message):
        recipe.model.log_likelihood(**{"x": recipe.x[:3], **arguments})


def test_a_model_that_was_evaluated_can_be_forgotten():
    recipe = built("bernoulli")
    recipe.model.log_likelihood(recipe.x, num_samples=4, jit_compile=False, verbose=0)
    reference = weakref.ref(recipe.model)
    del recipe
    gc.collect()
    assert reference() is None

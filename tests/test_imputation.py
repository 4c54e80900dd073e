"""Imputations against closed forms, and against exact EM."""

import keras
import numpy as np
import oracle
import pytest
import tensorflow as tf
from scipy import stats

import keras_vae as kv
from keras_vae import distributions

SIZE, UNITS, NOISE = 5, 2, 0.5
GENERATOR = np.random.default_rng(0)
KERNEL = GENERATOR.normal(size=(UNITS, SIZE))
BIAS = GENERATOR.normal(size=SIZE)


OFFSETS = GENERATOR.normal(size=(2, SIZE))


def ppca_vae(missing="nan", conditions=None):
    """A linear decoder with known weights, and q(z|x) = N(0, 1) for all x."""
    vae = kv.VAE(
        kv.networks.mlp_encoder([], conditions=conditions),
        kv.networks.mlp_decoder([], (SIZE,), conditions=conditions),
        UNITS,
        distributions.Normal(scale=NOISE),
        seed=0,
        missing=missing,
        conditions=conditions,
    )
    vae.build((None, SIZE))
    vae.latent.head.set_weights([0 * w for w in vae.latent.head.get_weights()])
    kernel = np.concatenate([KERNEL, OFFSETS]) if conditions else KERNEL
    vae.decoder.set_weights([kernel, BIAS])
    return vae


def conditional(row, bias=BIAS):
    """Mean and covariance of the missing elements of a row under pPCA."""
    covariance = KERNEL.T @ KERNEL + NOISE**2 * np.eye(SIZE)
    gap = np.isnan(row)
    gain = covariance[gap][:, ~gap] @ np.linalg.inv(covariance[~gap][:, ~gap])
    mean = bias[gap] + gain @ (row - bias)[~gap]
    return mean, covariance[gap][:, gap] - gain @ covariance[~gap][:, gap]


ROWS = np.array(
    [
        [0.5, np.nan, -0.3, np.nan, 1.0],
        [np.nan] * SIZE,
        [np.nan, 0.2, 0.1, -0.4, 0.6],
        [0.1, 0.2, 0.3, 0.4, 0.5],
    ]
)


def test_means_are_those_of_the_conditional_normal():
    # In blocks of 5000 draws, so that the running sum is tested too.
    filled = ppca_vae().impute(ROWS, num_samples=20_000)
    assert filled.dtype == ROWS.dtype
    here = ~np.isnan(ROWS)
    np.testing.assert_array_equal(filled[here], ROWS[here])
    for row, found in zip(ROWS[:3], filled, strict=False):
        mean, _ = conditional(row)
        np.testing.assert_allclose(found[np.isnan(row)], mean, atol=0.04)


def test_means_of_a_conditional_model_are_those_under_its_conditions():
    vae, label = ppca_vae(conditions={"label": 2}), np.array([1, 0, 1, 0])
    filled = vae.impute({"x": ROWS, "label": label}, num_samples=20_000)
    np.testing.assert_array_equal(filled[3], ROWS[3])
    for row, one, found in zip(ROWS[:3], label, filled, strict=False):
        mean, _ = conditional(row, BIAS + OFFSETS[one])
        np.testing.assert_allclose(found[np.isnan(row)], mean, atol=0.05)


def test_several_imputations_are_draws_of_the_conditional_normal():
    number = 400
    drawn = ppca_vae().impute(
        ROWS[:3], num_samples=6000, num_imputations=number, batch_size=3000
    )
    assert drawn.shape == (number, 3, SIZE)
    for index, row in enumerate(ROWS[:3]):
        mean, covariance = conditional(row)
        found = drawn[:, index, np.isnan(row)]
        here = drawn[:, index, ~np.isnan(row)]
        np.testing.assert_array_equal(here, [row[~np.isnan(row)]] * number)
        for place, (m, v) in enumerate(zip(mean, np.diag(covariance), strict=True)):
            # Of 8 such tests, with fixed draws.
            result = stats.kstest(found[:, place], stats.norm(m, np.sqrt(v)).cdf)
            assert result.pvalue > 1e-3
        if len(mean) > 1:
            correlation = np.corrcoef(found.T)[0, 1]
            deviations = np.sqrt(np.diag(covariance))
            exact = covariance[0, 1] / deviations[0] / deviations[1]
            assert correlation == pytest.approx(exact, abs=0.15)


def test_equal_seeds_give_equal_imputations():
    vae = ppca_vae()
    first, again, other = (
        vae.impute(ROWS, num_samples=50, seed=seed) for seed in (1, 1, 2)
    )
    np.testing.assert_array_equal(first, again)
    assert np.abs(first - other).max() > 1e-3
    one, two = (
        vae.impute(ROWS, num_samples=50, seed=1, num_imputations=2) for _ in range(2)
    )
    np.testing.assert_array_equal(one, two)
    np.testing.assert_array_equal(vae.impute(ROWS[3:]), ROWS[3:])


def test_blocks_of_examples_change_no_weight():
    # All draws of an example in one block, of one example or of all.
    vae, x = ppca_vae(), np.tile(ROWS, (50, 1))
    large = vae.impute(x, num_samples=4000)
    mean = np.nan_to_num(large).reshape(50, 4, SIZE)
    assert mean.std(axis=0).max() < 0.1
    assert mean.std(axis=0)[0, 1] > 0.0


@pytest.mark.parametrize(
    "likelihood", ["bernoulli", distributions.Categorical(4), "laplace"]
)
def test_other_likelihoods_stay_in_their_support(likelihood):
    likelihood = distributions.likelihoods.get(likelihood)
    number = likelihood.params_shape((SIZE,))
    x = np.float32(GENERATOR.integers(0, 2, (6, SIZE)))
    x[1:3, 1:3] = np.nan
    vae = kv.VAE(
        kv.networks.mlp_encoder([4]),
        kv.networks.mlp_decoder([4], number),
        UNITS,
        likelihood,
        seed=0,
        missing="nan_with_mask",
    )
    drawn = vae.impute(x, num_samples=40, num_imputations=3)
    likelihood.check_data(drawn.reshape(-1, SIZE))
    means = vae.impute(x, num_samples=40)
    assert np.isfinite(means).all()
    if likelihood.real_valued is False:
        assert drawn[:, 1:3, 1:3].std() > 0
        assert np.all((means[1:3, 1:3] > 0) & (means[1:3, 1:3] < 3))


# === Exact EM ===


def incomplete(examples, size=8):
    """Data of a linear model with noise, and 30 % of the elements missing."""
    generator = np.random.default_rng(1)
    z = generator.normal(size=(examples, UNITS))
    whole = z @ generator.normal(size=(UNITS, size))
    whole += generator.normal(scale=0.6, size=whole.shape) + 2.0
    gaps = generator.random(whole.shape) < 0.3
    return whole, gaps, np.where(gaps, np.nan, whole).astype("float32")


def linear_decoder(likelihood, **kwargs):
    return kv.VAE(
        kv.networks.mlp_encoder([64]),
        kv.networks.mlp_decoder([], (8,)),
        UNITS,
        likelihood,
        seed=0,
        missing="nan_with_mask",
        **kwargs,
    )


def root_mean_square(error):
    return np.sqrt(np.mean(error**2))


def test_the_decoder_of_exact_em_imputes_as_exact_em_does():
    whole, gaps, x = incomplete(300)
    exact, kernel, mean, noise = oracle.expectation_maximization(x, UNITS, 60)
    vae = linear_decoder(distributions.Normal(scale=float(noise**0.5)))
    vae.build((None, 8))
    vae.latent.head.set_weights([0 * w for w in vae.latent.head.get_weights()])
    vae.decoder.set_weights([kernel.T, mean])
    filled = vae.impute(x, num_samples=5000)
    spread = root_mean_square((exact - whole)[gaps])
    assert spread < 0.7 * root_mean_square((np.nanmean(x, axis=0) - whole)[gaps])
    assert root_mean_square((filled - exact)[gaps]) < 0.05 * spread
    error = root_mean_square((filled - whole)[gaps])
    assert error == pytest.approx(spread, rel=0.01)


@pytest.mark.slow
@pytest.mark.parametrize(("examples", "epochs"), [(500, 200), (2000, 100)])
def test_a_trained_linear_decoder_imputes_as_exact_em_does(examples, epochs):
    whole, gaps, x = incomplete(examples)
    keras.utils.set_random_seed(0)
    vae = linear_decoder(distributions.Normal(initial_scale=1.0))
    decay = keras.optimizers.schedules.CosineDecay(2e-2, epochs * examples // 50)
    vae.compile(keras.optimizers.Adam(decay))
    vae.fit(x, batch_size=50, epochs=epochs, verbose=0)
    exact = oracle.expectation_maximization(x, UNITS, 100)[0]
    filled = vae.impute(x, num_samples=200)
    error = root_mean_square((filled - whole)[gaps])
    assert error < 1.03 * root_mean_square((exact - whole)[gaps])


# === Errors ===


@pytest.mark.parametrize(
    ("make", "act", "message"),
    [
        (lambda: ppca_vae(None), lambda m: m.impute(ROWS), '`impute` needs .*="nan"'),
        (ppca_vae, lambda m: m.impute(np.inf * ROWS), "`x` must be finite or NaN"),
        (ppca_vae, lambda m: m.impute(ROWS[:, :4]), "`x`|input"),
        (ppca_vae, lambda m: m.impute(ROWS, num_samples=0), "`num_samples` must be"),
        (
            ppca_vae,
            lambda m: m.impute(ROWS, num_imputations=0),
            "`num_imputations` must be a positive integer",
        ),
        (ppca_vae, lambda m: m.impute(ROWS, seed=-1), "`seed` must be in"),
        (ppca_vae, lambda m: m.impute(ROWS, batch_size=0), "`batch_size` must be"),
        (ppca_vae, lambda m: m.impute(ROWS, verbose=7), "`verbose` must be"),
    ],
)
def test_faulty_calls(make, act, message):
    with pytest.raises(ValueError, match=message):
        act(make())


def test_a_data_set_is_an_error_that_says_what_to_pass():
    data = tf.data.Dataset.from_tensor_slices(np.float32(ROWS)).batch(2)
    with pytest.raises(ValueError, match="`x` must be an array"):
        ppca_vae().impute(data)

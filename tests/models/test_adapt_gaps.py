"""After `adapt` on data with gaps a VAE is the linear model that EM finds."""

import keras
import numpy as np
import oracle
import pytest

import keras_vae as kv
from keras_vae import linear

UNITS, SIZE, EXAMPLES = 2, 8, 300


def incomplete():
    generator = np.random.default_rng(1)
    z = generator.normal(size=(EXAMPLES, UNITS))
    whole = z @ generator.normal(size=(UNITS, SIZE))
    whole = np.float32(whole + generator.normal(scale=0.6, size=whole.shape))
    gaps = generator.random(whole.shape) < 0.3
    return whole, gaps, np.where(gaps, np.nan, whole)


WHOLE, GAPS, X = incomplete()


def make(likelihood="normal", model=kv.VAE, missing="nan", outputs=1, **kwargs):
    keras.utils.set_random_seed(0)
    return model(
        kv.networks.mlp_encoder([4]),
        kv.networks.mlp_decoder([4], (outputs * SIZE,)),
        UNITS,
        likelihood,
        linear_path=True,
        missing=missing,
        seed=0,
        **kwargs,
    )


@pytest.fixture(scope="module")
def exact():
    return oracle.expectation_maximization(X, UNITS, 300)


@pytest.fixture(scope="module")
def adapted():
    vae = make()
    vae.adapt(X)
    return vae


def test_the_decoder_is_the_model_that_is_most_likely(adapted, exact):
    _, weights, mean, noise = exact
    kernel = adapted.decoder.linear.kernel.numpy()
    np.testing.assert_allclose(kernel.T @ kernel, weights @ weights.T, atol=0.01)
    np.testing.assert_allclose(adapted.decoder.linear.bias, mean, atol=0.01)
    found = float(adapted.likelihood.current_scale()) ** 2
    assert found == pytest.approx(noise, rel=2e-3)


def test_gaps_are_filled_in_as_by_exact_em(adapted, exact):
    means = exact[0]
    filled = adapted.impute(X, num_samples=2000)
    errors = [np.sqrt(np.mean((v - WHOLE)[GAPS] ** 2)) for v in (filled, means)]
    assert errors[0] == pytest.approx(errors[1], rel=0.02)


def test_log_likelihood_is_that_of_exact_em(adapted, exact):
    _, weights, mean, noise = exact
    model = linear.FactorModel(mean, weights, np.full(SIZE, noise))
    expected = model.log_likelihood(X)
    found = adapted.log_likelihood(X, num_samples=2000, verbose=0)
    # With K draws the bias of an example is Var(w) / (2 K), w relative to their mean:
    # 0.03 on average where a wide q gives w a variance of about 100.
    assert -0.03 < np.mean(found - expected) < 0.01
    assert np.median(np.abs(found - expected)) < 0.03


def test_codes_are_as_wide_as_their_errors(adapted):
    """Means and variances are right on average over the true posteriors."""
    mean, stddev = map(np.float64, adapted.encode(X))
    kernel = np.float64(adapted.decoder.linear.kernel)
    noise = float(adapted.likelihood.current_scale()) ** 2
    bias = np.float64(adapted.decoder.linear.bias)
    model = linear.FactorModel(bias, kernel.T, np.full(SIZE, noise))
    z, covariance, _ = model.posterior(np.float64(X))
    errors = np.square(z - mean).mean(axis=0) + np.einsum("nkk->k", covariance) / len(X)
    np.testing.assert_allclose(np.square(stddev[0]), errors, rtol=0.02)
    # Least squares leave nothing that is linear in what the encoder sees.
    seen = np.nan_to_num(X)
    np.testing.assert_allclose((z - mean).T @ seen / len(X), 0, atol=2e-3)


@pytest.mark.parametrize("scale", ["shared", "per_output"])
def test_whole_data_start_the_model_as_without_the_option(scale):
    models = [
        make(
            kv.distributions.Normal(scale=scale),
            missing=missing,
            outputs=2 if scale == "per_output" else 1,
        )
        for missing in (None, "nan")
    ]
    for vae in models:
        vae.adapt(WHOLE)
    for one, other in zip(*(vae.get_weights() for vae in models), strict=True):
        np.testing.assert_array_equal(one, other)


def test_one_model_for_all_weights_starts_at_the_same_model(exact):
    _, weights, _, noise = exact
    multi = make(
        kv.distributions.Normal(scale=float(noise**0.5)),
        kv.MultiRateVAE,
        beta_range=(0.1, 10.0),
    )
    multi.adapt(X)
    kernel = multi.at(1.0).decoder.linear.kernel.numpy()
    np.testing.assert_allclose(kernel.T @ kernel, weights @ weights.T, atol=0.02)


def test_a_noise_of_each_element_is_that_of_factor_analysis():
    scales = np.float32([1, 2, 0.5, 3, 1, 0.2, 1, 10])
    vae = make(
        kv.distributions.Normal(scale="per_output"), missing="nan_with_mask", outputs=2
    )
    vae.adapt(X * scales)
    found = linear.observed_components(X * scales, UNITS, own_noises=True)
    params = vae.decode_params([np.zeros((1, UNITS), "float32")])
    variance = vae.likelihood.distribution(params, 1).variance()[0]
    np.testing.assert_allclose(variance, found.variance, rtol=1e-3)
    assert vae.elbo(X * scales, num_samples=8).numpy().mean() > -30


def test_bits_start_below_independent_ones():
    x = np.where(GAPS, np.nan, np.float32(WHOLE > 0))
    vae = make("bernoulli")
    vae.adapt(x)
    found = kv.baselines(x, x, UNITS, "bernoulli")
    assert sorted(found) == ["independent", "linear_vae"]
    z = vae.log_likelihood(x, num_samples=500, verbose=0)
    assert -z.mean() < found["independent"] - 0.2


@pytest.mark.parametrize(
    ("conditions", "likelihood", "message"),
    [
        ({"age": None}, "normal", "`x` must be whole for `adapt` with conditions"),
        (
            None,
            kv.distributions.Categorical(2),
            "`x` must be finite; remove or replace",
        ),
    ],
)
def test_what_needs_whole_data_says_so(conditions, likelihood, message):
    likelihood = kv.distributions.likelihoods.get(likelihood)
    vae = kv.VAE(
        kv.networks.mlp_encoder([4], conditions=conditions),
        kv.networks.mlp_decoder(
            [4], likelihood.params_shape((SIZE,)), conditions=conditions
        ),
        UNITS,
        likelihood,
        linear_path=True,
        missing="nan",
        conditions=conditions,
    )
    x = np.where(GAPS, np.nan, np.float32(WHOLE > 0))
    data = x if conditions is None else {"x": x, "age": np.zeros(EXAMPLES, "float32")}
    with pytest.raises(ValueError, match=message):
        vae.adapt(data)

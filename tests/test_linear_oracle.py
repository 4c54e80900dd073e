"""A linear VAE, trained by `fit`, against reverse water-filling and PPCA."""

import keras
import numpy as np
import oracle
import pytest
import sklearn.decomposition
import tensorflow as tf

import keras_vae as kv

LATENTS = 3
STEPS = 2000
DIMENSIONS = len(oracle.EIGENVALUES)


def trained(
    x,
    likelihood,
    kl_weight=1.0,
    objective=None,
    steps=STEPS,
    callbacks=(),
    posterior="diagonal_normal",
):
    vae = kv.VAE(
        encoder=kv.networks.mlp_encoder([]),
        decoder=kv.networks.mlp_decoder([], (DIMENSIONS,)),
        latent_dim=LATENTS,
        likelihood=likelihood,
        posterior=posterior,
        # The noise of z moves the weights by learning rate / samples, nearly.
        objective=objective or kv.ELBO(kl_weight=kl_weight, num_samples=256),
        seed=0,
    )
    learning_rate = keras.optimizers.schedules.CosineDecay(0.03, steps)
    vae.compile(
        keras.optimizers.Adam(learning_rate), steps_per_execution=500, jit_compile=True
    )
    batches = tf.data.Dataset.from_tensors(x.astype("float32")).repeat()
    vae.fit(
        batches, steps_per_epoch=steps, shuffle=False, verbose=0, callbacks=callbacks
    )
    return vae


def terms_of(vae, x):
    """Extracts the linear maps of `vae` and evaluates them in closed form."""
    mean, stddev = (v.numpy().astype("float64") for v in vae.encode(np.float32(x)))
    bias = vae.decode(np.zeros((1, LATENTS), "float32")).numpy().astype("float64")[0]
    columns = vae.decode(np.eye(LATENTS, dtype="float32")).numpy() - bias
    return oracle.linear_terms(x, mean, stddev, columns.T, bias)


def assert_optimal(terms, optimum):
    np.testing.assert_allclose(terms.sse, optimum.sse, rtol=1e-3)
    np.testing.assert_allclose(terms.kl.sum(), optimum.kl.sum(), atol=2e-3)
    # The latents come in any order.
    reached, best = np.sort(terms.kl), np.sort(optimum.kl)
    np.testing.assert_allclose(reached, best, atol=5e-3)
    assert_collapsed(terms, optimum)


def assert_collapsed(terms, optimum):
    """Collapses those units that the optimum does, and no other."""
    reached, best = np.sort(terms.kl), np.sort(optimum.kl)
    assert np.all(reached[best == 0] < 1e-3)
    assert np.all(reached[best > 0] > 0.5 * best[best > 0])


def test_the_oracle_gives_the_known_table():
    rows = {
        0.1: (1.05000, 4.49360, 3),
        0.375: (1.87500, 2.51096, 3),
        1.5: (4.75000, 0.63426, 2),
        3.0: (6.75000, 0.14384, 1),
        5.0: (7.75000, 0.0, 0),
    }
    for theta, (sse, kl, active) in rows.items():
        optimum = oracle.water_filling(theta, LATENTS)
        assert optimum.sse == pytest.approx(sse, abs=1e-9)
        assert optimum.kl.sum() == pytest.approx(kl, abs=5e-6)
        assert np.count_nonzero(optimum.kl) == active


def test_the_data_have_the_eigenvalues():
    x, vectors = oracle.data()
    np.testing.assert_allclose(x.mean(axis=0), 0, atol=1e-12)
    covariance = vectors @ np.diag(oracle.EIGENVALUES) @ vectors.T
    np.testing.assert_allclose(np.cov(x.T, ddof=0), covariance, atol=1e-12)


@pytest.mark.parametrize(
    ("kl_weight", "variance"),
    [
        (1.0, 0.1),
        pytest.param(2.0, 0.05, marks=pytest.mark.slow),
        pytest.param(1.0, 0.375, marks=pytest.mark.slow),
        (1.0, 1.5),
        (4.0, 0.375),
        pytest.param(1.0, 3.0, marks=pytest.mark.slow),
        (1.0, 5.0),
    ],
)
def test_fixed_weight_reaches_the_water_level(kl_weight, variance):
    x, _ = oracle.data()
    likelihood = kv.distributions.Normal(scale=np.sqrt(variance))
    terms = terms_of(trained(x, likelihood, kl_weight), x)
    assert_optimal(terms, oracle.water_filling(kl_weight * variance, LATENTS))


@pytest.mark.parametrize(
    ("scale", "initial_scale"),
    [
        ("shared", 1.0),
        ("optimal", 1.0),
        *(
            pytest.param(scale, initial, marks=pytest.mark.slow)
            for scale in ("shared", "optimal")
            for initial in (0.1, 0.5)
        ),
    ],
)
def test_learned_noise_is_that_of_probabilistic_pca(scale, initial_scale):
    x, vectors = oracle.data()
    likelihood = kv.distributions.Normal(scale=scale, initial_scale=initial_scale)
    # A small scale gives large gradients at first, which Adam's second moments forget
    # slowly.
    vae = trained(x, likelihood, steps=4 * STEPS if initial_scale < 0.3 else STEPS)
    terms = terms_of(vae, x)
    variance = float(vae.likelihood.current_scale()) ** 2

    best = oracle.ProbabilisticPCA.fit(LATENTS, oracle.EIGENVALUES, vectors)
    assert variance == pytest.approx(best.variance, rel=2e-3)
    assert_optimal(terms, oracle.water_filling(best.variance, LATENTS))
    elbo = oracle.gaussian_elbo(terms, variance, DIMENSIONS)
    assert elbo == pytest.approx(best.log_prob(x).mean(), abs=1e-3)
    assert elbo == pytest.approx(-7.1535842, abs=1e-3)
    assert elbo == pytest.approx(sklearn_score(x), abs=1e-3)
    # The estimate by sampling agrees within its standard error.
    sampled = vae.elbo(np.float32(x), num_samples=10_000, seed=1).numpy().mean()
    assert sampled == pytest.approx(elbo, abs=0.02)


def sklearn_score(x):
    """Mean log-likelihood of `x` under scikit-learn's PCA with the ddof=0 covariance.

    scikit-learn divides by the size less one, which smaller data make up for in `fit`.
    """
    shrink = np.sqrt(1 - 1 / len(x))
    pca = sklearn.decomposition.PCA(svd_solver="full", n_components=LATENTS)
    return pca.fit(x * shrink).score(x)

"""Posteriors whose rate cannot fall to 0."""

import keras
import matrix
import numpy as np
import pytest
import tensorflow as tf

import keras_vae as kv
from keras_vae import distributions

UNITS = 3


def rates(q):
    prior = kv.priors.StandardNormal()
    prior.build_for(UNITS)
    return distributions.kl_per_dimension(q, prior.distribution()).numpy()


@pytest.mark.parametrize(
    ("delta", "low", "high"), [(0.1, 0.493239, 1.772250), (0.15, 0.411113, 1.986247)]
)
def test_admissible_variances(delta, low, high):
    posterior = distributions.CommittedNormal(delta)
    np.testing.assert_allclose(posterior.variances, (low, high), atol=5e-7)
    _, neutral = posterior.mean_and_stddev(tf.zeros((1, 2)))
    assert float(neutral[0, 0]) == pytest.approx(1.0, rel=1e-6)


@pytest.mark.parametrize("delta", [0.01, 0.1, 2.0])
def test_each_unit_keeps_its_rate(delta):
    posterior = distributions.CommittedNormal(delta)
    raw = 5 * np.random.default_rng(0).normal(size=(1000, 2 * UNITS)).astype("float32")
    found = rates(posterior.distribution(tf.constant(raw)))
    assert found.min() > delta * (1 - 1e-3)
    # The bound is attained where the raw mean is 0.
    raw[:, :UNITS] = 0.0
    found = rates(posterior.distribution(tf.constant(raw)))
    np.testing.assert_allclose(found, delta, rtol=1e-3)


def test_gradients_are_finite_at_the_ends():
    posterior = distributions.CommittedNormal(0.1)
    raw = tf.constant([[0.0, -1e4, 1e4, 0.0, -1e4, 1e4]])
    with tf.GradientTape() as tape:
        tape.watch(raw)
        loc, scale = posterior.mean_and_stddev(raw)
        total = tf.reduce_sum(loc) + tf.reduce_sum(scale)
    assert np.isfinite(tape.gradient(total, raw)).all()


@pytest.mark.parametrize(("gamma", "bound"), [(0.5, 4.0), (0.6, 5.76), (0.7, 7.84)])
def test_batch_normalised_means_bound_the_rate(gamma, bound):
    layer = kv.layers.Latent(
        32, posterior=distributions.BatchNormalizedNormal(gamma), seed=0
    )
    x = np.random.default_rng(0).normal(size=(64, 8)).astype("float32")
    params = None
    original = layer.estimate

    def estimate(given, *args, **kwargs):
        nonlocal params
        params = given
        return original(given, *args, **kwargs)

    layer.estimate = estimate
    layer(x, training=True)
    loc, scale = layer.posterior.mean_and_stddev(params)
    np.testing.assert_allclose(np.std(loc, axis=0), gamma, rtol=1e-3)
    assert float(layer.losses[0]) >= bound * (1 - 1e-3)
    # Attained where the scales are 1.
    least = 0.5 * np.mean(np.sum(np.square(loc), axis=1))
    assert least == pytest.approx(bound, rel=2e-3)


@pytest.mark.parametrize(
    "name", matrix.first(1, ["committed_normal", "batch_normalized_normal"])
)
def test_training_holds_the_bound_where_an_elbo_collapses(name):
    """Noise carries no information: at kl_weight 20 a plain posterior collapses."""
    keras.utils.set_random_seed(0)
    x = np.random.default_rng(0).normal(size=(256, 6)).astype("float32")

    def kl_of(posterior):
        vae = kv.VAE(
            kv.networks.mlp_encoder([]),
            kv.networks.mlp_decoder([], (6,)),
            UNITS,
            likelihood=distributions.Normal(1.0),
            posterior=posterior,
            objective=kv.ELBO(kl_weight=20.0),
            seed=0,
        )
        vae.compile(keras.optimizers.Adam(0.02))
        history = vae.fit(x, epochs=60, batch_size=64, verbose=0)
        return history.history["kl_loss"][-1]

    least = {
        "committed_normal": UNITS * 0.1,
        "batch_normalized_normal": UNITS * 0.5**2 / 2,
    }[name]
    assert kl_of("diagonal_normal") < 0.1 * least
    assert kl_of(name) == pytest.approx(least, rel=0.1)


@pytest.mark.parametrize(
    "make",
    [
        lambda: distributions.CommittedNormal(delta=0.0),
        lambda: distributions.BatchNormalizedNormal(gamma=-1.0),
    ],
)
def test_errors(make):
    with pytest.raises(ValueError, match="positive.*Received"):
        make()

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_vae as kv
from keras_vae.distributions import posteriors


def estimate(samples=3, seed=0):
    """An estimate of two examples, in which nothing is at a special value."""
    generator = np.random.default_rng(seed)
    posterior, prior = posteriors.get("normal"), kv.priors.StandardNormal()
    prior.build_for(2)
    params = tf.constant(generator.normal(size=(2, 4)), tf.float32)
    return kv.objectives.Estimate(
        posterior.distribution(params),
        prior.distribution(),
        posterior.sample(params, samples, kv.random.key(seed)),
        tf.constant(generator.normal(-5.0, size=(2, samples)), tf.float32),
    )


MEAN = kv.objectives.BatchMean(2, tf.constant([1.0, 3.0]))


@pytest.mark.parametrize("kl", ["analytic", "monte_carlo"])
@pytest.mark.parametrize("weight", [0.0, 0.1, 1.0, 7.5])
def test_loss_is_distortion_plus_weighted_rate(kl, weight):
    this = estimate()
    losses = kv.ELBO(kl_weight=weight, kl=kl).losses(this, MEAN)
    distortion = -np.average(np.mean(this.log_likelihood, axis=1), weights=[1, 3])
    rate = np.average(this.rate(kl), weights=[1, 3])
    assert set(losses) == {"distortion", "rate"}
    np.testing.assert_allclose(losses["distortion"], distortion, rtol=1e-6)
    np.testing.assert_allclose(losses["rate"], weight * rate, rtol=1e-6)


def test_the_two_estimators_of_the_rate_differ():
    this = estimate()
    analytic, sampled = (
        float(kv.ELBO(kl=kl).losses(this, MEAN)["rate"])
        for kl in ("analytic", "monte_carlo")
    )
    assert abs(analytic - sampled) > 1e-3


def test_moving_the_weight_moves_the_loss():
    objective = kv.ELBO(kl_weight=2.0)
    before = objective.losses(estimate(), MEAN)["rate"]
    objective.kl_weight.value.assign(0.5)
    after = objective.losses(estimate(), MEAN)["rate"]
    np.testing.assert_allclose(after, before / 4, rtol=1e-6)


def test_gradient_with_respect_to_the_weight_is_the_rate():
    objective, this = kv.ELBO(kl_weight=0.3), estimate()
    weight = objective.kl_weight.value.value
    with tf.GradientTape() as tape:
        tape.watch(weight)
        loss = tf.add_n(list(objective.losses(this, MEAN).values()))
    np.testing.assert_allclose(
        tape.gradient(loss, weight), MEAN(this.rate()), rtol=1e-6
    )


@pytest.mark.parametrize(
    "objective",
    [
        kv.ELBO(kl_weight=0.5, kl="monte_carlo", num_samples=3),
        kv.ImportanceWeighted(num_samples=7, kl_weight=0.25),
    ],
)
def test_config_round_trip(objective):
    config = keras.saving.serialize_keras_object(objective)
    copy = kv.objectives.get(config)
    assert type(copy) is type(objective)
    assert copy.get_config() == objective.get_config()
    assert float(copy.kl_weight.value) == float(objective.kl_weight.value)


def test_names():
    assert type(kv.objectives.get("elbo")) is kv.ELBO
    assert type(kv.objectives.get("importance_weighted")) is kv.ImportanceWeighted
    objective = kv.ELBO()
    assert kv.objectives.get(objective) is objective
    with pytest.raises(ValueError, match="`objective` must be a ELBO.*'bound'"):
        kv.objectives.get("bound")


@pytest.mark.parametrize("weight", [-0.1, np.nan, np.inf, "much", None])
def test_weights_that_cannot_weigh(weight):
    with pytest.raises(ValueError, match="`kl_weight` must be a finite number"):
        kv.ELBO(kl_weight=weight)


def test_a_schedule_as_weight_names_the_callback():
    with pytest.raises(ValueError, match=r"KLAnnealing\(schedule\)"):
        kv.ELBO(kl_weight=kv.schedules.linear(10))


@pytest.mark.parametrize("samples", [0, -1, 1.5, True, None])
def test_numbers_of_samples_that_are_none(samples):
    with pytest.raises(ValueError, match="`num_samples` must be a positive integer"):
        kv.ELBO(num_samples=samples)


def test_an_unknown_estimator():
    with pytest.raises(ValueError, match="`kl` must be one of.*'exact'"):
        kv.ELBO(kl="exact")

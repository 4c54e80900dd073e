"""Ways to weight, target and floor the rate, against reverse water-filling."""

import numpy as np
import oracle
import pytest
import scipy.optimize
from test_linear_oracle import LATENTS
from test_linear_oracle import assert_optimal
from test_linear_oracle import terms_of
from test_linear_oracle import trained

import keras_vae as kv

SAMPLES = {"num_samples": 256}
VARIANCE = 0.375


def likelihood(variance=VARIANCE):
    return kv.distributions.Normal(scale=np.sqrt(variance))


def level_of_rate(rate):
    """Water level theta at which the optimum has this rate."""
    return scipy.optimize.brentq(
        lambda theta: oracle.water_filling(theta, LATENTS).kl.sum() - rate, 1e-6, 3.999
    )


def some(first, *others):
    """Runs the first case always and the others with the slow tests."""
    slow = pytest.mark.slow
    return [
        first,
        *(
            pytest.param(*case, marks=slow)
            if isinstance(case, tuple)
            else pytest.param(case, marks=slow)
            for case in others
        ),
    ]


@pytest.mark.parametrize("duration", some("50%", "80%"))
@pytest.mark.parametrize(
    "schedule",
    some(kv.schedules.linear, kv.schedules.sigmoid, kv.schedules.cosine),
    ids=lambda f: f.__name__,
)
def test_scheduled_weight_ends_at_the_optimum_of_its_end(schedule, duration):
    x, _ = oracle.data()
    annealing = kv.KLAnnealing(schedule(duration, end=4.0))
    vae = trained(x, likelihood(), callbacks=[annealing])
    assert_optimal(terms_of(vae, x), oracle.water_filling(4 * VARIANCE, LATENTS))


@pytest.mark.slow
def test_cyclical_weight_ends_at_the_optimum_of_its_end():
    x, _ = oracle.data()
    annealing = kv.KLAnnealing(kv.schedules.cyclical("60%", num_cycles=3))
    vae = trained(x, likelihood(), callbacks=[annealing])
    assert_optimal(terms_of(vae, x), oracle.water_filling(VARIANCE, LATENTS))


@pytest.mark.parametrize("capacity", some(1.5, 0.5, 3.0))
def test_capacity(capacity):
    x, _ = oracle.data()
    theta = level_of_rate(capacity)
    # Far above theta / s2 the kink shakes the weights, as far as the noise of z goes.
    gamma = 1.5 * theta / VARIANCE
    objective = kv.objectives.Capacity(capacity, gamma=gamma, **SAMPLES)
    terms = terms_of(trained(x, likelihood(), objective=objective, steps=4000), x)
    assert_optimal(terms, oracle.water_filling(theta, LATENTS))


def test_capacity_of_small_gamma_lets_the_rate_rise():
    """With gamma below theta(C) / s2 the rate is that of theta = gamma s2."""
    x, _ = oracle.data()
    objective = kv.objectives.Capacity(0.5, gamma=2.0, **SAMPLES)
    terms = terms_of(trained(x, likelihood(), objective=objective), x)
    assert_optimal(terms, oracle.water_filling(2 * VARIANCE, LATENTS))


@pytest.mark.parametrize("rate", some(1.5, 0.5, 3.0))
def test_rate_target(rate):
    x, _ = oracle.data()
    objective = kv.objectives.RateTarget(rate, integral=0.02, **SAMPLES)
    vae = trained(x, likelihood(), objective=objective, steps=4000)
    terms, theta = terms_of(vae, x), level_of_rate(rate)
    best = oracle.water_filling(theta, LATENTS)
    assert terms.kl.sum() == pytest.approx(rate, rel=1e-2)
    assert terms.sse == pytest.approx(best.sse, rel=1e-2)
    weight = float(vae.objective.kl_weight.value)
    assert weight == pytest.approx(theta / VARIANCE, rel=5e-2)
    assert float(vae.objective.feasible) == 1.0


# The multiplier of the second has the longest way, from 1 to 2.5.
@pytest.mark.parametrize(("sse", "steps"), some((2.5, 4000), (1.2, 8000), (5.0, 4000)))
def test_distortion_target(sse, steps):
    x, _ = oracle.data()
    constant = 0.5 * x.shape[1] * np.log(2 * np.pi * VARIANCE)
    target = sse / (2 * VARIANCE) + constant
    objective = kv.objectives.DistortionTarget(target, speed=0.02, **SAMPLES)
    vae = trained(x, likelihood(), objective=objective, steps=steps)
    terms = terms_of(vae, x)
    theta = scipy.optimize.brentq(
        lambda level: oracle.water_filling(level, LATENTS).sse - sse, 1e-6, 3.999
    )
    assert terms.sse == pytest.approx(sse, rel=1e-2)
    best = oracle.water_filling(theta, LATENTS)
    assert terms.kl.sum() == pytest.approx(best.kl.sum(), rel=1e-2)
    # lambda = 1 / (2 theta) weighs the squared error, of which the distortion in nats
    # is the 2 s2-th part.
    multiplier = float(vae.objective.multiplier)
    assert multiplier == pytest.approx(VARIANCE / theta, rel=5e-2)


@pytest.mark.parametrize(
    ("nats", "variance"), some((0.6, 1.5), (1.0, 1.5), (0.6, VARIANCE))
)
def test_free_bits_over_the_batch(nats, variance):
    x, _ = oracle.data()
    objective = kv.objectives.FreeBits(nats, **SAMPLES)
    terms = terms_of(trained(x, likelihood(variance), objective=objective), x)
    rates = 0.5 * np.log(
        np.maximum(np.array(oracle.EIGENVALUES[:LATENTS]) / variance, 1)
    )
    expected = np.sort(np.maximum(nats, rates))
    np.testing.assert_allclose(np.sort(terms.kl), expected, atol=1e-2)


@pytest.mark.parametrize("nats", some(0.6, 0.25, 1.0))
def test_free_bits_over_examples_collapse_no_unit(nats):
    x, _ = oracle.data()
    variance = 1.5
    objective = kv.objectives.FreeBits(nats, over="example", **SAMPLES)
    terms = terms_of(trained(x, likelihood(variance), objective=objective), x)
    # Free for each example, a unit is used; its mean rate lies about the floor.
    assert np.all(terms.kl > 0.8 * nats)
    best = oracle.water_filling(variance, LATENTS)
    elbo = oracle.gaussian_elbo(terms, variance, x.shape[1])
    assert elbo <= oracle.gaussian_elbo(best, variance, x.shape[1]) + 1e-6

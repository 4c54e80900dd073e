"""Objectives beside the ELBO, by closed forms and at their neutral weights."""

import keras
import numpy as np
import pytest
import tensorflow as tf
import tensorflow_probability as tfp

import keras_vae as kv
from keras_vae.objectives import BatchMean
from keras_vae.objectives import Estimate
from keras_vae.objectives.divergences import mmd
from keras_vae.objectives.total_correlation import log_aggregate_posterior

tfd = tfp.distributions
BATCH, UNITS = 6, 4


def normal(loc, scale):
    return tfd.Independent(tfd.Normal(tf.constant(loc), tf.constant(scale)), 1)


@pytest.fixture
def numbers():
    generator = np.random.default_rng(0)
    loc = generator.normal(size=(BATCH, UNITS)).astype("float32")
    scale = generator.uniform(0.2, 1.5, (BATCH, UNITS)).astype("float32")
    z = loc + scale * generator.normal(size=(BATCH, UNITS)).astype("float32")
    distortion = generator.uniform(5, 9, BATCH).astype("float32")
    return loc, scale, z, distortion


@pytest.fixture
def estimate(numbers):
    loc, scale, z, distortion = numbers
    prior = normal(np.zeros(UNITS, "float32"), np.ones(UNITS, "float32"))
    return Estimate(
        normal(loc, scale),
        prior,
        tf.constant(z)[:, None],
        log_likelihood=-tf.constant(distortion)[:, None],
        event_size=10,
        prior_z=kv.random.normal((BATCH, UNITS), kv.random.key(1)),
    )


def kl_of(numbers):
    loc, scale, _, _ = numbers
    return 0.5 * (loc**2 + scale**2 - 1) - np.log(scale)


def total(objective, estimate, weights=None):
    mean = BatchMean(BATCH, weights)
    return float(sum(objective.losses(estimate, mean).values()))


NEUTRAL = {
    "total correlation": kv.objectives.TotalCorrelation(100, tc_weight=1.0),
    "stratified": kv.objectives.TotalCorrelation(100, 1.0, sampling="stratified"),
    "DIP I": kv.objectives.DisentangledInferredPrior("i", 0.0, 0.0),
    "DIP II": kv.objectives.DisentangledInferredPrior("ii", 0.0, 0.0),
    "MMD": kv.objectives.MaximumMeanDiscrepancy(mmd_weight=0.0),
    "skew": kv.objectives.SkewJensenShannon(skew=0.0),
    "free bits": kv.objectives.FreeBits(nats=0.0),
    "free bits, example": kv.objectives.FreeBits(nats=0.0, over="example"),
    "capacity": kv.objectives.Capacity(capacity=0.0, gamma=1.0),
    "rate target": kv.objectives.RateTarget(rate=3.0),
}


@pytest.mark.parametrize("name", NEUTRAL)
def test_neutral_weight_is_the_elbo(name, estimate):
    expected = total(kv.ELBO(), estimate)
    assert total(NEUTRAL[name], estimate) == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize(
    "name", ["total correlation", "stratified", "DIP I", "DIP II", "MMD", "skew"]
)
def test_neutral_penalty_is_the_elbo_to_the_last_bit(name, estimate):
    assert total(NEUTRAL[name], estimate) == total(kv.ELBO(), estimate)


@pytest.mark.parametrize("name", [n for n in NEUTRAL if n != "rate target"])
def test_sample_weight_0_leaves_out(name, estimate, numbers):
    objective = NEUTRAL[name]
    weights = tf.constant([1.0, 0.0, 1.0, 1.0, 0.0, 1.0])
    kept = [0, 2, 3, 5]
    expected = (kl_of(numbers).sum(axis=1) + numbers[3])[kept].mean()
    assert total(objective, estimate, weights) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("sampling", ["weighted", "stratified"])
def test_total_correlation_is_that_of_the_examples_that_count(numbers, sampling):
    def tc(rows, weights=None, size=60.0):
        loc, scale, z, _ = (part[rows] for part in numbers)
        joint, marginals = log_aggregate_posterior(
            normal(loc, scale), tf.constant(z), size, sampling, weights
        )
        return (joint - tf.reduce_sum(marginals, axis=1)).numpy()

    kept = [0, 2, 3, 5]
    found = tc(np.arange(BATCH), [1.0, 0.0, 1.0, 1.0, 0.0, 1.0])[kept]
    np.testing.assert_allclose(found, tc(kept), rtol=1e-5, atol=1e-5)
    if sampling == "weighted":
        # An example of weight 2 is there twice.
        found = tc([0, 2, 3], [2.0, 1.0, 1.0])
        np.testing.assert_allclose(found, tc([0, 0, 2, 3])[1:], rtol=1e-5, atol=1e-5)
    # The last batch may have one example, and a number of examples may be too small.
    assert np.isfinite([*tc([1]), *tc(np.arange(BATCH), size=2.0)]).all()
    # A replica may have none.
    assert tc(slice(0)).shape == (0,)
    objective = kv.objectives.TotalCorrelation(60, tc_weight=6.0, sampling=sampling)
    loc, scale, z, distortion = (part[kept] for part in numbers)

    def estimate_of(loc, scale, z, distortion):
        prior = normal(np.zeros(UNITS, "float32"), np.ones(UNITS, "float32"))
        z, nats = tf.constant(z)[:, None], -tf.constant(distortion)[:, None]
        return Estimate(normal(loc, scale), prior, z, nats, event_size=10)

    mean = BatchMean(len(kept))
    few = sum(objective.losses(estimate_of(loc, scale, z, distortion), mean).values())
    weights = tf.constant([1.0, 0.0, 1.0, 1.0, 0.0, 1.0])
    whole = total(objective, estimate_of(*numbers), weights)
    assert whole == pytest.approx(float(few), rel=1e-5)


def test_capacity(estimate, numbers):
    rate = kl_of(numbers).sum(axis=1).mean()
    objective = kv.objectives.Capacity(capacity=30.0, gamma=7.0, kl_weight=2.0)
    expected = numbers[3].mean() + 2 * 7 * (30.0 - rate)
    assert total(objective, estimate) == pytest.approx(expected, rel=1e-6)
    at_rate = kv.objectives.Capacity(capacity=float(rate), gamma=7.0)
    assert total(at_rate, estimate) == pytest.approx(numbers[3].mean(), rel=1e-5)


def test_free_bits_over_batch_and_over_example(estimate, numbers):
    kl = kl_of(numbers)
    nats = float(np.median(kl.mean(axis=0)))
    batch = total(kv.objectives.FreeBits(nats), estimate) - numbers[3].mean()
    assert batch == pytest.approx(np.maximum(nats, kl.mean(axis=0)).sum(), rel=1e-5)
    example = kv.objectives.FreeBits(nats, over="example")
    example = total(example, estimate) - numbers[3].mean()
    assert example == pytest.approx(np.maximum(nats, kl).mean(axis=0).sum(), rel=1e-5)
    assert example > batch
    grouped = kv.objectives.FreeBits(4 * nats, group_size=2)
    grouped = total(grouped, estimate) - numbers[3].mean()
    pairs = kl.reshape(BATCH, 2, 2).sum(axis=2).mean(axis=0)
    assert grouped == pytest.approx(np.maximum(4 * nats, pairs).sum(), rel=1e-5)


def test_free_bits_are_a_hyperparameter(estimate, numbers):
    kl = kl_of(numbers).mean(axis=0)
    objective = kv.objectives.FreeBits(100.0)
    objective.nats = 0.0
    assert total(objective, estimate) == pytest.approx(
        numbers[3].mean() + kl.sum(), rel=1e-5
    )


def test_total_correlation_by_brute_force(numbers, estimate):
    loc, scale, z, _ = numbers
    density = np.exp(-0.5 * ((z[:, None] - loc) / scale) ** 2) / (
        scale * np.sqrt(2 * np.pi)
    )
    joint, marginals = log_aggregate_posterior(estimate.posterior, z, 100.0)
    mixture = density.prod(axis=2).sum(axis=1) / (100 * BATCH)
    np.testing.assert_allclose(joint, np.log(mixture), rtol=1e-4)
    np.testing.assert_allclose(
        marginals, np.log(density.sum(axis=1) / (100 * BATCH)), rtol=1e-4
    )
    weights = np.full((BATCH, BATCH), 1 / 5)
    for i in range(BATCH):
        weights[i, i] = 1 / 100
        weights[i, (i + 1) % BATCH] = 95 / 500
    np.testing.assert_allclose(weights.sum(axis=1), 1.0)
    joint, _ = log_aggregate_posterior(estimate.posterior, z, 100.0, "stratified")
    stratified = (weights * density.prod(axis=2)).sum(axis=1)
    np.testing.assert_allclose(joint, np.log(stratified), rtol=1e-4)


def test_stratified_total_correlation_of_a_gaussian():
    """x ~ N(0, S), z = x + noise: q(z) is N(0, S + s2), its TC in closed form."""
    generator = np.random.default_rng(0)
    correlation, size, noise = 0.9, 4096, 0.5
    covariance = np.array([[1, correlation], [correlation, 1]])
    x = generator.multivariate_normal(np.zeros(2), covariance, size).astype("float32")
    z = x + noise * generator.normal(size=x.shape).astype("float32")
    posterior = normal(x, np.full_like(x, noise))
    joint, marginals = log_aggregate_posterior(
        posterior, tf.constant(z), float(size), "stratified"
    )
    estimated = float(tf.reduce_mean(joint - tf.reduce_sum(marginals, axis=1)))
    variance = 1 + noise**2
    exact = -0.5 * np.log(1 - (correlation / variance) ** 2)
    assert estimated == pytest.approx(exact, rel=0.02)
    # Weighted sampling is off by (units - 1) log N, as far as its constant goes.
    joint, marginals = log_aggregate_posterior(posterior, tf.constant(z), float(size))
    weighted = float(tf.reduce_mean(joint - tf.reduce_sum(marginals, axis=1)))
    assert weighted - np.log(size) == pytest.approx(exact, rel=0.02)


@pytest.mark.parametrize(("kind", "diagonal"), [("i", 20.0), ("ii", 2.0)])
def test_dip_penalty(kind, diagonal, numbers, estimate):
    loc, scale, _, _ = numbers
    covariance = np.cov(loc.T, ddof=0)
    if kind == "ii":
        covariance = covariance + np.diag((scale**2).mean(axis=0))
    off = covariance - np.diag(np.diag(covariance))
    expected = 2 * (off**2).sum() + diagonal * ((np.diag(covariance) - 1) ** 2).sum()
    objective = kv.objectives.DisentangledInferredPrior(kind, off_diagonal=2.0)
    assert float(objective.penalty(estimate, BatchMean(BATCH))) == pytest.approx(
        expected, rel=1e-5
    )


@pytest.mark.parametrize("kernel", ["rbf", "imq"])
def test_mmd_by_brute_force(kernel, estimate):
    objective = kv.objectives.MaximumMeanDiscrepancy(3.0, kernel=kernel, kl_weight=0.0)
    z, p = estimate.z.numpy()[:, 0], estimate.prior_z.numpy()

    def k(a, b):
        r2, unit = ((a - b) ** 2).sum(), 2 * UNITS
        if kernel == "rbf":
            return np.exp(-r2 / unit)
        return sum(s * unit / (s * unit + r2) for s in (0.1, 0.2, 0.5, 1, 2, 5, 10))

    pairs = [(i, j) for i in range(BATCH) for j in range(BATCH)]
    within = sum(k(v[i], v[j]) for v in (z, p) for i, j in pairs if i != j)
    across = sum(k(z[i], p[j]) for i, j in pairs)
    expected = within / (BATCH * (BATCH - 1)) - 2 * across / BATCH**2
    value = objective.losses(estimate, BatchMean(BATCH))["mmd"]
    assert float(value) == pytest.approx(3 * expected, rel=1e-4)


def test_mmd_is_unbiased_and_sees_a_shift():
    kernel = kv.objectives.MaximumMeanDiscrepancy(1.0, kernel="rbf")._kernel
    draws = [kv.random.normal((64, 3), kv.random.key(i)) for i in range(400)]
    equal = [
        float(mmd(a, b, kernel)) for a, b in zip(draws[::2], draws[1::2], strict=True)
    ]
    assert abs(np.mean(equal)) < 4 * np.std(equal) / np.sqrt(len(equal))
    assert float(mmd(draws[0], draws[1] + 1.0, kernel)) > 10 * np.std(equal)


def test_skew_divergence_ends_are_the_two_kls(numbers, estimate):
    reverse = kv.objectives.SkewJensenShannon(skew=1.0).divergence(estimate)
    loc, scale, _, _ = numbers
    expected = (0.5 * ((1 + loc**2) / scale**2 - 1) + np.log(scale)).sum(axis=1)
    np.testing.assert_allclose(reverse, expected, rtol=1e-4)
    nearly = kv.objectives.SkewJensenShannon(skew=1e-6).divergence(estimate)
    np.testing.assert_allclose(nearly, kl_of(numbers).sum(axis=1), rtol=1e-4)


# === Controllers ===


def controlled(objective, rate, steps=1):
    """Runs `control` on estimates of a given rate."""
    loc = np.full((BATCH, 1), np.sqrt(2 * rate), "float32")
    prior = normal(np.zeros(1, "float32"), np.ones(1, "float32"))
    estimate = Estimate(
        normal(loc, np.ones_like(loc)),
        prior,
        tf.zeros((BATCH, 1, 1)),
        log_likelihood=-tf.fill((BATCH, 1), float(rate)),
        event_size=10,
    )
    for _ in range(steps):
        objective.control(estimate, BatchMean(BATCH))
    return float(objective.kl_weight.value)


def test_rate_target_follows_the_equation():
    objective = kv.objectives.RateTarget(
        rate=5.0, proportional=0.1, integral=0.01, kl_weight=1.0
    )
    error = 5.0 - 8.0
    expected = 0.1 / (1 + np.exp(error)) + 1.0 - 0.01 * error * 2
    assert controlled(objective, 8.0, steps=2) == pytest.approx(expected, rel=1e-5)
    assert float(objective.error) == pytest.approx(3.0, rel=1e-5)


@pytest.mark.slow
def test_anti_windup_fires():
    """After a long time at the bound, one error of the other sign leaves it."""
    objective = kv.objectives.RateTarget(
        rate=5.0, proportional=0.0, integral=0.1, max_weight=2.0
    )
    assert controlled(objective, 50.0, steps=1000) == 2.0
    assert float(objective.feasible) == 0.0
    assert controlled(objective, 4.0) == pytest.approx(2.0 - 0.1)
    assert float(objective.feasible) == 1.0
    assert controlled(objective, 0.0, steps=1000) == 0.0
    assert controlled(objective, 6.0, steps=5) > 0.0


@pytest.mark.parametrize("rate", [0.0, 1e4, 1e6])
def test_controllers_stay_finite(rate):
    rate_target = kv.objectives.RateTarget(rate=5.0)
    assert np.isfinite(controlled(rate_target, rate, steps=5))
    distortion_target = kv.objectives.DistortionTarget(distortion=5.0, speed=10.0)
    controlled(distortion_target, rate, steps=200)
    multiplier = float(distortion_target.multiplier)
    assert multiplier == pytest.approx(1e4 if rate > 5 else 1e-4)
    assert float(distortion_target.feasible) == 0.0


def test_distortion_target_follows_the_equation():
    objective = kv.objectives.DistortionTarget(distortion=5.0, decay=0.9, speed=0.2)
    controlled(objective, 8.0)
    assert float(objective.multiplier) == pytest.approx(np.exp(0.2 * 3 / 10), rel=1e-5)
    controlled(objective, 4.0)
    moving = 0.9 * 3 - 0.1 * 1
    assert float(objective.moving) == pytest.approx(moving, rel=1e-5)
    expected = np.exp(0.02 * 3) * np.exp(0.02 * moving)
    assert float(objective.multiplier) == pytest.approx(expected, rel=1e-5)


def test_controlled_weight_takes_no_schedule():
    vae = kv.VAE(
        kv.networks.mlp_encoder([]),
        kv.networks.mlp_decoder([], (3,)),
        2,
        objective=kv.objectives.RateTarget(rate=1.0),
    )
    vae.compile("adam")
    with pytest.raises(ValueError, match="`kl_weight` is set by the objective"):
        vae.fit(
            np.zeros((4, 3), "float32"),
            verbose=0,
            callbacks=[kv.KLAnnealing(kv.schedules.linear(2))],
        )


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: kv.objectives.Capacity(capacity=-1.0), "`capacity`.*-1"),
        (lambda: kv.objectives.Capacity(gamma=0.0), "`gamma`.*is positive"),
        (lambda: kv.objectives.FreeBits(over="all"), "`over`.*'all'"),
        (lambda: kv.objectives.FreeBits(kl="monte_carlo"), "`kl`.*analytic"),
        (lambda: kv.objectives.RateTarget(rate=0.0), "`rate`.*is positive"),
        (lambda: kv.objectives.RateTarget(1.0, max_weight=0.5), "`max_weight`"),
        (lambda: kv.objectives.DistortionTarget(float("nan")), "`distortion`.*nan"),
        (lambda: kv.objectives.DistortionTarget(1.0, decay=1.0), "`decay`.*1.0"),
        (lambda: kv.objectives.TotalCorrelation(0), "`dataset_size`"),
        (lambda: kv.objectives.TotalCorrelation(9, sampling="x"), "`sampling`.*'x'"),
        (lambda: kv.objectives.DisentangledInferredPrior("iii"), "`kind`.*'iii'"),
        (lambda: kv.objectives.MaximumMeanDiscrepancy(kernel="cosine"), "`kernel`"),
        (lambda: kv.objectives.SkewJensenShannon(skew=1.5), "`skew`.*1.5"),
    ],
)
def test_errors_name_the_argument(make, message):
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.parametrize("name", NEUTRAL)
def test_config_round_trip(name):
    objective = NEUTRAL[name]
    config = keras.saving.serialize_keras_object(objective)
    restored = keras.saving.deserialize_keras_object(config)
    assert restored.get_config() == objective.get_config()

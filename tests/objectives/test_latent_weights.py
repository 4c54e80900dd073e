"""Weights, schedules and targets of single latents."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_vae as kv

SIZE = 5
X = np.random.default_rng(0).normal(size=(16, SIZE)).astype("float32")


def ladder(objective):
    keras.utils.set_random_seed(1)
    networks = kv.networks.mlp_levels([6, 4], (SIZE,), "tanh")
    options = {"likelihood": "normal", "objective": objective, "seed": 2}
    return kv.HierarchicalVAE(*networks, [3, 2], **options)


@pytest.fixture(scope="module")
def estimate():
    vae = ladder(kv.ELBO(num_samples=3))
    vae.build((None, SIZE))
    return vae.estimate(X, X, 3, kv.random.key(0))


def total(objective, estimate):
    mean = kv.objectives.BatchMean(len(X))
    return float(sum(objective.losses(estimate, mean).values()))


def test_each_rate_has_its_weight(estimate):
    first, second = (float(np.mean(one.rate())) for one in estimate.latents)
    distortion = float(np.mean(estimate.distortion))
    weights = {"kl_weight": 0.5, "latent_weights": {"level_2": 3.0}}
    rate = first + 3 * second
    found = total(kv.ELBO(**weights), estimate)
    assert found == pytest.approx(distortion + 0.5 * rate, rel=1e-5)
    capacity = kv.objectives.Capacity(capacity=1.0, gamma=2.0, **weights)
    expected = distortion + 0.5 * 2 * abs(rate - 1)
    assert total(capacity, estimate) == pytest.approx(expected, rel=1e-5)
    monte_carlo = [float(np.mean(one.rate("monte_carlo"))) for one in estimate.latents]
    expected = distortion + 0.5 * (monte_carlo[0] + 3 * monte_carlo[1])
    elbo = kv.ELBO(kl="monte_carlo", **weights)
    assert total(elbo, estimate) == pytest.approx(expected, rel=1e-5)


def test_floors_and_bounds_have_the_weights_too(estimate):
    weights = {"latent_weights": {"level_1": 0.5, "level_2": 3.0}}
    distortion = float(np.mean(estimate.distortion))
    units = np.mean(estimate.rate_per_unit, axis=0)
    rates = [float(np.mean(one.rate())) for one in estimate.latents]
    for size, parts, factors in (
        ("latent", rates, [0.5, 3.0]),
        (1, units, [0.5] * 3 + [3.0] * 2),
    ):
        floor = float(np.median(parts))
        objective = kv.objectives.FreeBits(floor, group_size=size, **weights)
        expected = distortion + np.dot(factors, np.maximum(parts, floor))
        assert total(objective, estimate) == pytest.approx(expected, rel=1e-5)
    # 2 divides the units of level_2 alone.
    for size, weighted in ((5, weights), (5, {}), (2, {})):
        straddling = kv.objectives.FreeBits(0.1, group_size=size, **weighted)
        with pytest.raises(ValueError, match="`group_size` must divide the units of"):
            total(straddling, estimate)
    ratios = [np.float64(one.log_ratio) for one in estimate.latents]
    logits = np.float64(estimate.log_likelihood) - 0.5 * ratios[0] - 3 * ratios[1]
    bound = np.logaddexp.reduce(logits, axis=1) - np.log(3)
    objective = kv.ImportanceWeighted(3, **weights)
    assert total(objective, estimate) == pytest.approx(-bound.mean(), rel=1e-5)


def test_a_level_follows_a_schedule_of_its_own(tmp_path):
    vae = ladder(kv.ELBO(latent_weights={"level_2": 0.25}))
    vae.compile("adam", jit_compile=False)
    callback = kv.callbacks.HyperparameterScheduler(
        "level_2_kl_weight", kv.schedules.linear(3)
    )
    fit = {"batch_size": 8, "epochs": 2, "verbose": 0}
    logs = vae.fit(X, callbacks=[callback], **fit).history
    np.testing.assert_allclose(logs["level_2_kl_weight"], [1 / 3, 1.0], rtol=1e-6)
    assert logs["kl_weight"] == [1.0, 1.0]
    path = tmp_path / "vae.keras"
    vae.save(path)
    loaded = keras.models.load_model(path)
    weight = loaded.objective.latent_weights["level_2"]
    assert (weight.initial_value, float(weight.value)) == (0.25, 1.0)
    assert loaded.evaluate(X, verbose=0, return_dict=True) == vae.evaluate(
        X, verbose=0, return_dict=True
    )
    assert not loaded.objective.is_weighted_sum
    weights = {"latent_weights": {"level_1": 0.1}}
    assert not kv.objectives.DistortionTarget(10.0, **weights).is_weighted_sum
    assert kv.objectives.DistortionTarget(10.0).is_weighted_sum


def test_a_schedule_of_a_level_needs_a_weight_that_is_declared():
    def fit(vae, schedule):
        callback = kv.callbacks.HyperparameterScheduler("level_2_kl_weight", schedule)
        vae.compile("adam", jit_compile=False)
        vae.fit(X, verbose=0, callbacks=[callback])

    message = r"declares that of a level: `latent_weights={'level_2': 1.0}`.*kl_weight"
    with pytest.raises(ValueError, match=message):
        fit(ladder(kv.ELBO()), kv.schedules.linear(3))
    declared = ladder(kv.ELBO(latent_weights={"level_2": 1.0}))
    with pytest.raises(ValueError, match="must give finite values.*Received: -3.0"):
        fit(declared, lambda step: -3.0 + 0 * tf.cast(step, tf.float32))


def test_each_level_is_led_to_its_target(estimate):
    options = {"proportional": 0.01, "integral": 0.1, "max_weight": 5.0}
    rates = [float(np.mean(one.rate())) for one in estimate.latents]
    targets = {"level_1": rates[0] + 2.0, "level_2": rates[1] / 2}
    objective = kv.objectives.RateTarget(targets, **options)
    mean = kv.objectives.BatchMean(len(X))
    objective.control(estimate, mean)
    for (name, target), rate in zip(targets.items(), rates, strict=True):
        alone = kv.objectives.RateTarget(target, **options)
        single = kv.objectives.Estimate.of(
            [one for one in estimate.latents if one.name == name]
        )
        alone.control(single, mean)
        found = float(objective.latent_weights[name].value)
        assert found == pytest.approx(float(alone.kl_weight.value), rel=1e-6)
        assert (found < 1.0) == (rate < target)
    assert float(objective.kl_weight.value) == 1.0
    vae = ladder(objective)
    vae.compile("adam", jit_compile=False)
    logs = vae.fit(X, batch_size=8, verbose=0).history
    error = logs["level_1_kl_loss"][0] - targets["level_1"]
    assert abs(logs["level_1_rate_error"][0] - error) < abs(error)
    assert logs["level_2_kl_weight"][0] > 1.0
    copy = kv.objectives.get(keras.saving.serialize_keras_object(objective))
    assert copy.get_config() == objective.get_config()
    assert dict(copy.rate_target) == targets


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda: ladder(kv.ELBO(latent_weights={"level_3": 1.0})),
            "`objective` must name latents of the model.*level_2.*level_3",
        ),
        (
            lambda: kv.ELBO(latent_weights={"level_1": -1.0}),
            r"`latent_weights\['level_1'\]` must",
        ),
        (
            lambda: kv.objectives.TotalCorrelation(10, latent_weights={"latent": 2.0}),
            "`latent_weights` must be None",
        ),
        (
            lambda: kv.objectives.RateTarget({"level_1": 0.0}),
            r"`rate\['level_1'\]` must",
        ),
        (lambda: kv.objectives.RateTarget({}), "`rate` must name at least one latent"),
        (lambda: kv.objectives.FreeBits(group_size=2.9), "`group_size` must be"),
        (
            lambda: kv.layers.Latent(
                2, objective=kv.ELBO(latent_weights={"other": 1.0}), name="own"
            ),
            "`objective` must name latents of the model",
        ),
    ],
)
def test_weights_that_are_none(make, message):
    with pytest.raises(ValueError, match=message):
        make()

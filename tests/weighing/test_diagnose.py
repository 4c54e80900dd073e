"""Planted runs: each sickness is named first, and no healthy model is accused."""

import functools
import json
import re
import types

import keras
import linear
import matrix
import numpy as np
import oracle
import pytest
import tensorflow as tf
from absl import flags

import keras_vae as kv
from keras_vae.weighing.diagnosing import remedies
from keras_vae.weighing.diagnosing import rules
from keras_vae.weighing.diagnosing.subject import subject_of
from trainers import _flags

X, VECTORS = oracle.data(size=600)
X = np.float32(X)
PCA = 0.375
DIGITS = kv.datasets.digits()[0][:600]
BINARY = np.float32(DIGITS > 0.5)
FLAT = BINARY.reshape(len(BINARY), -1)


def linear_vae(theta, variance=PCA, beta=1.0, **kwargs):
    scale = np.sqrt(variance)
    return linear.optimal(theta, VECTORS, scale=scale, kl_weight=beta, **kwargs)


def learned(theta, **kwargs):
    """As `linear_vae`, with a noise that is learned."""
    likelihood = kv.distributions.Normal("shared", initial_scale=float(np.sqrt(PCA)))
    return linear_vae(theta, likelihood=likelihood, **kwargs)


def fit(model, x, y=None, epochs=10, callbacks=(), loss=None):
    model.compile(keras.optimizers.Adam(3e-3), loss=loss, jit_compile=False)
    model.fit(x, y, epochs=epochs, batch_size=32, verbose=0, callbacks=list(callbacks))
    return model


def mlp(latent_dim=8, **kwargs):
    keras.utils.set_random_seed(1)
    return kv.VAE(
        kv.networks.mlp_encoder([64]),
        kv.networks.mlp_decoder([64], (8, 8, 1)),
        latent_dim,
        seed=0,
        **kwargs,
    )


def conv(**kwargs):
    keras.utils.set_random_seed(1)
    settings = {"filters": [8], "hidden": [32]}
    return kv.VAE(
        kv.networks.conv_encoder((8, 8, 1), **settings),
        kv.networks.conv_decoder((8, 8, 1), **settings),
        latent_dim=6,
        seed=0,
        **kwargs,
    )


def functional(skip=False, **kwargs):
    """A model of one's own, whose decoder may see x past z."""
    keras.utils.set_random_seed(1)
    inputs = keras.Input((64,))
    hidden = keras.layers.Dense(64, "relu")(inputs)
    z = kv.layers.Latent(6, seed=0, name="z", **kwargs)(hidden)
    hidden = keras.layers.Dense(64, "relu")(z)
    logits = keras.layers.Dense(64)(hidden)
    if skip:
        copied = keras.layers.Rescaling(20.0, -10.0)(inputs)
        logits = keras.layers.Add()([logits, copied])
    return keras.Model(inputs, logits)


# === Healthy ===

HEALTHY, SICK = {}, {}


def healthy(function):
    """Registers a function that returns a model and data."""
    HEALTHY[function.__name__] = function
    return function


def sick(name):
    """Registers one whose model has the sickness `name`."""

    def register(function):
        SICK[function.__name__] = (name, function)
        return function

    return register


@healthy
def optimum_of_known_noise():
    return linear_vae(PCA), X


@healthy
def optimum_of_learned_noise():
    return learned(PCA), X


@healthy
def optimum_at_beta_4_by_intent():
    return linear_vae(4 * PCA, beta=4.0), X


@healthy
def learned_noise_at_beta_1_2():
    # s2 = sum of the discarded eigenvalues / (D - a beta), section 2.1 of the oracle.
    variance = 0.75 / (5 - 3 * 1.2)
    return linear_vae(1.2 * variance, variance, beta=1.2), X


@healthy
def surplus_latents():
    values = (4.0, 2.0, 1.0) + (PCA,) * 17
    x, vectors = oracle.data(values, size=600)
    scale = np.sqrt(PCA)
    vae = linear.optimal(PCA, vectors, latents=12, eigenvalues=values, scale=scale)
    return vae, np.float32(x)


@healthy
def nothing_to_learn():
    x, vectors = oracle.data((1.0,) * 6, size=600)
    return linear.optimal(1.0, vectors, eigenvalues=(1.0,) * 6), np.float32(x)


@healthy
def scaled_latents_under_a_learned_prior():
    # The same model in units ten times as large.
    vae = linear_vae(PCA, prior="learned_normal")
    kernel = np.array(vae.latent.head.kernel) * np.repeat([10.0, 1.0], 3)
    vae.latent.head.kernel.assign(kernel)
    stddev = 10 * vae.encode(X[:1])[1].numpy()[0]
    raw = kv.distributions.posteriors.inverse_soft_clip
    offset = raw(1.0, 1e-5, 1e3)
    shift = [raw(float(s), 1e-5, 1e3) - offset for s in stddev]
    vae.latent.head.bias.assign(np.concatenate([np.zeros(3), shift]))
    vae.latent.prior.raw_scale.assign(np.full(3, raw(10.0, 1e-5, 1e3) - offset))
    decoder = vae.decoder.trainable_variables[0]
    decoder.assign(np.array(decoder) / 10)
    return vae, X


@healthy
def mlp_bernoulli():
    return fit(mlp(), BINARY), BINARY


@healthy
def conv_bernoulli():
    return fit(conv(), BINARY, epochs=12), BINARY


@healthy
def vamp_prior():
    prior = kv.priors.VampPrior(8, seed=0)
    vae = mlp(prior=prior, objective=kv.ELBO(kl="monte_carlo"))
    return fit(vae, BINARY), BINARY


@healthy
def finished_ramp_of_a_functional_model():
    annealing = kv.KLAnnealing(kv.schedules.linear("30%"))
    loss = kv.losses.NegativeLogLikelihood("bernoulli")
    model = fit(functional(), FLAT, FLAT, callbacks=[annealing], loss=loss)
    return model, (FLAT, FLAT)


# === Sick ===


@sick("noise_too_high")
def fixed_noise_above_all_eigenvalues():
    return linear_vae(5.0, variance=5.0), X


@sick("noise_too_high")
def fixed_noise_that_leaves_one_unit():
    return linear_vae(3.0, variance=3.0), X


@sick("noise_too_high")
def unit_noise_on_grey_images():
    return fit(mlp(likelihood="unit_normal"), DIGITS, epochs=3), DIGITS


@sick("kl_weight_too_high")
def weight_at_which_nothing_pays():
    return linear_vae(16 * PCA, beta=16.0), X


@sick("posterior_collapse")
def collapse_at_the_right_noise():
    return learned(5.0), X


@sick("posterior_collapse")
def collapse_of_all_but_the_last_unit():
    vae = learned(PCA)
    kernel = np.array(vae.latent.head.kernel)
    bias = np.array(vae.latent.head.bias)
    decoder = np.array(vae.decoder.trainable_variables[0])
    kernel[:, :2], bias[3:5], decoder[:2] = 0, 0, 0
    vae.latent.head.kernel.assign(kernel)
    vae.latent.head.bias.assign(bias)
    vae.decoder.trainable_variables[0].assign(decoder)
    return vae, X


@sick("decoder_ignores_z")
def decoder_without_weights():
    vae = linear_vae(PCA)
    decoder = vae.decoder.trainable_variables[0]
    decoder.assign(np.zeros(decoder.shape))
    return vae, X


@sick("decoder_ignores_z")
def decoder_that_sees_the_input():
    # The posterior keeps a rate which nobody reads.
    posterior = kv.distributions.CommittedNormal(delta=0.3)
    model = functional(skip=True, posterior=posterior)
    model.compile("adam", loss=kv.losses.NegativeLogLikelihood("bernoulli"))
    return model, (FLAT, FLAT)


@sick("decoder_ignores_z")
def decoder_that_needs_no_code():
    model = functional(skip=True)
    model.compile("adam", loss=kv.losses.NegativeLogLikelihood("bernoulli"))
    kernel = model.get_layer("z").head.kernel
    kernel.assign(np.zeros(kernel.shape))
    return model, (FLAT, FLAT)


@sick("posterior_variance_explodes")
def variance_of_one_unit():
    vae = linear_vae(PCA)
    bias = np.array(vae.latent.head.bias)
    bias[4] = 20.0
    vae.latent.head.bias.assign(bias)
    return vae, X


@sick("prior_holes")
def codes_far_beyond_the_prior():
    vae = linear_vae(PCA)
    kernel = np.array(vae.latent.head.kernel)
    kernel[:, 1] *= 12
    vae.latent.head.kernel.assign(kernel)
    decoder = np.array(vae.decoder.trainable_variables[0])
    decoder[1] /= 12
    vae.decoder.trainable_variables[0].assign(decoder)
    return vae, X


@sick("ramp_not_finished")
def ramp_longer_than_the_run():
    vae = linear_vae(PCA)
    annealing = kv.KLAnnealing(kv.schedules.linear(1000))
    with pytest.warns(UserWarning, match="but the schedule of `kl_weight`"):
        fit(vae, X, epochs=1, callbacks=[annealing])
    return vae, X


@sick("kl_weighted_by_mistake")
def mean_over_pixels():
    model = functional()
    model.compile("adam", loss="mse")
    return model, (FLAT, FLAT)


class TwiceTheKL(kv.VAE):
    def train_step(self, data):
        import tensorflow as tf

        with tf.GradientTape() as tape:
            loss = self.compute_loss(data, None, self(data, training=True))
            loss += sum(self.losses)
        gradients = tape.gradient(loss, self.trainable_variables)
        self.optimizer.apply(gradients, self.trainable_variables)
        return {"loss": loss}


@sick("kl_weighted_by_mistake")
def losses_added_again():
    vae = TwiceTheKL(
        kv.networks.mlp_encoder([8]), kv.networks.mlp_decoder([8], (8, 8, 1)), 3, seed=0
    )
    vae.compile("adam")
    return vae, BINARY


@sick("diverged")
def weights_that_are_not_numbers():
    vae = linear_vae(PCA)
    vae.latent.head.kernel.assign(np.full(vae.latent.head.kernel.shape, np.nan))
    return vae, X


@functools.cache
def diagnosed(name):
    """The diagnosis of a sick run."""
    return kv.diagnose(*SICK[name][1]())


@pytest.mark.parametrize("name", matrix.first(4, HEALTHY))
def test_no_healthy_run_is_accused(name):
    diagnosis = kv.diagnose(*HEALTHY[name]())
    assert diagnosis.verdict == "healthy", str(diagnosis)
    assert diagnosis.healthy
    assert diagnosis.action == "nothing"


@pytest.mark.parametrize("name", matrix.first(5, SICK))
def test_every_sickness_is_named_first(name):
    sickness, diagnosis = SICK[name][0], diagnosed(name)
    assert diagnosis.verdict == sickness, str(diagnosis)
    assert diagnosis.findings[0].evidence
    assert json.loads(json.dumps(diagnosis.to_dict()))["verdict"] == sickness


def test_enough_runs_are_planted():
    assert len(HEALTHY) + len(SICK) >= 20
    assert len({sickness for sickness, _ in SICK.values()}) >= 8


# Converged models, and the same faults on them.
TRAINED = {
    "learned_noise": (lambda: (mlp(likelihood="normal"), DIGITS), "healthy"),
    "beta_4_in_32_units": (
        lambda: (
            mlp(32, likelihood="normal", objective=kv.ELBO(kl_weight=4.0)),
            DIGITS,
        ),
        "healthy",
    ),
    "optimal_noise": (lambda: (mlp(likelihood="optimal_normal"), DIGITS), "healthy"),
    "conv_grey": (lambda: (conv(likelihood="continuous_bernoulli"), DIGITS), "healthy"),
    "bernoulli_in_32_units": (lambda: (mlp(32), BINARY), "healthy"),
    "importance_weighted": (
        lambda: (mlp(objective=kv.ImportanceWeighted(5)), BINARY),
        "healthy",
    ),
    "full_covariance": (
        lambda: (mlp(posterior="full_covariance_normal"), BINARY),
        "healthy",
    ),
    "unit_noise": (
        lambda: (mlp(likelihood="unit_normal"), DIGITS),
        "noise_too_high",
    ),
    "weight_60": (
        lambda: (mlp(objective=kv.ELBO(kl_weight=60.0)), BINARY),
        "kl_weight_too_high",
    ),
    "weight_0_001": (
        lambda: (mlp(objective=kv.ELBO(kl_weight=0.001)), BINARY),
        "prior_holes",
    ),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", TRAINED)
def test_trained_models(name):
    make, verdict = TRAINED[name]
    model, x = make()
    diagnosis = kv.diagnose(fit(model, x, epochs=80), x)
    assert diagnosis.verdict == verdict, str(diagnosis)


# === The numbers ===


@pytest.fixture(scope="module")
def optimum():
    return kv.diagnose(linear_vae(PCA), X).evidence


def test_evidence_is_that_of_the_closed_form(optimum):
    best = oracle.water_filling(PCA, 3)
    np.testing.assert_allclose(optimum["kl_per_unit"], best.kl, atol=1e-4)
    assert optimum["rate"] == pytest.approx(best.kl.sum(), abs=1e-4)
    constant = 2.5 * np.log(2 * np.pi * PCA)
    expected = best.sse / (2 * PCA) + constant
    assert optimum["distortion"] == pytest.approx(expected, abs=0.2)
    # The aggregate posterior is the prior, so that the information is the rate.
    assert optimum["aggregate_gap"] == pytest.approx(0.0, abs=0.01)
    assert optimum["mutual_information"] == pytest.approx(best.kl.sum(), abs=0.15)
    assert optimum["noise_ratio"] == pytest.approx(1.0, abs=0.05)
    assert (optimum["active_units"], optimum["collapsed_units"]) == (3, 0)


def test_shuffling_costs_twice_the_variance_that_the_code_explains(optimum):
    # E|x - W z'|^2 = lambda + (lambda - theta) for each unit, in place of theta.
    expected = 2 * (np.array(oracle.EIGENVALUES[:3]) - PCA).sum() / (2 * PCA)
    assert optimum["shuffle_cost"] == pytest.approx(expected, rel=0.1)


def test_what_is_missing_is_what_water_filling_would_spend():
    evidence = kv.diagnose(learned(5.0), X).evidence
    edge = (1 + np.sqrt(5 / len(X))) ** 2
    expected = oracle.water_filling(PCA * edge, 3).kl.sum()
    assert evidence["missing_rate"] == pytest.approx(expected, rel=1e-3)
    assert (evidence["active_units"], evidence["collapsed_units"]) == (0, 3)


def test_thresholds_are_where_the_verdicts_turn():
    def verdict(**changes):
        evidence = {
            "non_finite": 0,
            "num_examples": 100,
            "latent_dim": 8,
            "active_units": 4,
            "unused_units": 4,
            "kl_weight": 1.0,
            "rate": 2.0,
            "stddev_per_unit": [1.0],
            "noise": 1.0,
            "error": 0.5,
            **changes,
        }
        findings = rules.findings_of(rules.Case(_Subject(), evidence))
        return findings[0].name if findings else "healthy"

    assert verdict() == "healthy"
    assert verdict(stddev_per_unit=[1.0, 3.01]) == "posterior_variance_explodes"
    assert verdict(missing_rate=1.99) == "healthy"
    assert verdict(missing_rate=2.01) == "posterior_collapse"
    assert verdict(rate=0.1, missing_rate=0.49) == "healthy"
    assert verdict(missing_rate_at_one=9.0, noise_ratio=1.99) == "healthy"
    # Four active units gain log(2.5) / 2 nats each.
    noisy = {"missing_rate_at_one": 0.0, "noise_ratio": 2.5}
    assert verdict(rate=1.84, **noisy) == "healthy"
    assert verdict(rate=1.82, **noisy) == "noise_too_high"
    assert verdict(missing_rate_at_one=9.0, noise_ratio=2.01) == "noise_too_high"
    assert verdict(missing_rate_at_one=9.0, kl_weight=4.0) == "healthy"
    assert (
        verdict(missing_rate_at_one=20.1, kl_weight=4.0, rate=2.0)
        == "kl_weight_too_high"
    )
    assert verdict(shuffle_cost=0.21) == "healthy"
    assert verdict(shuffle_cost=0.19) == "decoder_ignores_z"
    assert verdict(shuffle_cost=0.0, rate=0.4) == "healthy"
    assert verdict(shuffle_cost=0.0, rate=0.4, bypass=0.09) == "healthy"
    assert verdict(shuffle_cost=0.0, rate=0.4, bypass=0.11) == "decoder_ignores_z"
    gap = {"aggregate_gap_per_unit": [0.5]}
    assert verdict(aggregate_gap=3.9, **gap) == "healthy"
    assert verdict(aggregate_gap=4.1, **gap) == "prior_holes"
    assert verdict(aggregate_gap=3.5, aggregate_gap_per_unit=[3.1]) == "prior_holes"
    low = {"noise_loss": 0.51, "error_to_noise": 2.01}
    assert verdict(**low) == "noise_too_low"
    assert verdict(**{**low, "noise_loss": 0.49}) == "healthy"
    assert verdict(**{**low, "error_to_noise": 1.99}) == "healthy"
    fitted = {"negative_elbo": 9.0, "train_negative_elbo": 8.0}
    fitted |= {"overfitting_error": 0.1, "train_error_to_noise": 1.0}
    assert verdict(overfitting=0.49, **fitted) == "healthy"
    assert verdict(overfitting=0.51, **fitted) == "overfitting"
    assert verdict(overfitting=0.51, rate=2.1, **fitted) == "healthy"
    assert verdict(overfitting=0.51, **{**fitted, "overfitting_error": 0.2}) == (
        "healthy"
    )
    behind = {"linear_units": 3, "linear_negative_elbo": 8.0, "negative_elbo": 8.5}
    assert verdict(linear_gap=0.49, **behind) == "healthy"
    assert verdict(linear_gap=0.51, **behind) == "behind_linear"
    assert verdict(linear_gap=0.51, kl_weight=2.0, **behind) == "healthy"
    ramp = {"ramp_final": 1.0, "ramp_step": 5, "ramp_end": 9}
    ramp["ramp_name"] = "kl_weight"
    assert verdict(ramp_value=0.91, **ramp) == "healthy"
    assert verdict(ramp_value=0.89, **ramp) == "ramp_not_finished"


class _Subject:
    is_plain = True
    is_hierarchy = False
    reads_classes = False
    likelihoods = (kv.distributions.Normal(1.0),)
    objectives = (kv.ELBO(),)


# === Nats lost elsewhere than in the latents ===


def adapted(x, **kwargs):
    """A VAE at the optimum of its linear path for some examples."""
    vae = mlp(linear_path=True, **kwargs)
    vae.build((None, 8, 8, 1))
    vae.adapt(x)
    return vae


def lines_of(diagnosis, start):
    return [line for line in str(diagnosis).splitlines() if start in line]


def test_a_weight_that_is_the_noise_is_no_fault():
    # Four directions of variance about .32 beside a noise of .02, which the weight is.
    generator = np.random.default_rng(0)
    directions = np.linalg.qr(generator.normal(size=(10, 10)))[0]
    deviations = np.sqrt([0.32] * 4 + [0.02] * 6)
    x = generator.normal(size=(2000, 10)) * deviations @ directions.T
    vae = kv.VAE(
        kv.networks.mlp_encoder([4]),
        kv.networks.mlp_decoder([4], (10,)),
        latent_dim=4,
        likelihood="unit_normal",
        objective=kv.ELBO(kl_weight=0.02),
        linear_path=True,
        seed=0,
    )
    x = x.astype("float32")
    vae.adapt(x)
    diagnosis = kv.diagnose(vae, x)
    assert diagnosis.verdict == "healthy", str(diagnosis)


def test_a_single_example_cannot_tell_if_z_is_read():
    vae = adapted(DIGITS[:300])
    for number in (1, 2):
        diagnosis = kv.diagnose(vae, DIGITS[:number])
        assert "decoder_ignores_z" not in [f.name for f in diagnosis.findings]
        assert ("shuffle_cost" in diagnosis.evidence) == (number == 2)


def test_a_scale_below_the_default_limit_is_advised_with_a_limit():
    x = 1e-3 * np.random.default_rng(0).normal(size=(300, 6)).astype("float32")
    case = rules.Case(_Subject(), {"error": 1e-3, "kl_weight": 1.0})
    line = remedies.learned_noise(case).fix
    likelihood = eval(line.strip("`").removeprefix("likelihood="), {"kv": kv})
    assert likelihood.get_config()["min_scale"] < 1e-3 / 2
    assert likelihood.log_prob(tf.zeros([300, 1, 6]), x).shape == (300, 1)


def test_advice_stays_in_the_units_of_a_standardized_likelihood():
    x = 500 * np.random.default_rng(0).normal(size=(300, 6)).astype("float32")
    normalization = keras.layers.Normalization()
    normalization.adapt(x)
    likelihood = kv.distributions.Standardized("unit_normal", normalization)
    subject = _Subject()
    subject.likelihoods = (likelihood,)
    case = rules.Case(subject, {"error": 0.1, "kl_weight": 1.0})
    for remedy in (remedies.learned_noise(case), remedies.noise_of_the_error(case)):
        line = remedy.fix.strip("`").removeprefix("likelihood=")
        model = types.SimpleNamespace(likelihood=likelihood)
        advised = eval(line, {"kv": kv, "model": model})
        np.testing.assert_allclose(advised.standardize(x), likelihood.standardize(x))


def test_a_weight_of_a_normal_loses_what_its_own_noise_gains():
    vae, x = optimum_at_beta_4_by_intent()
    diagnosis = kv.diagnose(vae, x)
    assert str(diagnosis).startswith("Verdict: latents healthy\n")
    own = kv.diagnose(kv.weighing.with_own_noise(vae, 4.0), x).evidence
    evidence = diagnosis.evidence
    gain = evidence["negative_elbo"] - own["negative_elbo"]
    assert evidence["weight_loss"] == pytest.approx(gain, rel=1e-3)
    # A bound: the linear VAE of weight 1 is known.
    best = oracle.water_filling(PCA, 3)
    optimum = best.sse / (2 * PCA) + best.kl.sum()
    at_4 = oracle.water_filling(4 * PCA, 3)
    lost = at_4.sse / (2 * PCA) + at_4.kl.sum() - optimum
    assert 0.5 * lost < evidence["weight_loss"] < lost
    (line,) = lines_of(diagnosis, "Lost to the weight")
    assert "kl_weight=4: at least 1.27 nats of -ELBO" in line
    assert "weight_loss" not in own


@pytest.mark.parametrize("weight", matrix.first(1, [0.25, 2.0]))
@pytest.mark.slow
def test_a_weight_loses_at_least_what_posteriors_of_another_width_gain(weight):
    vae = learned(weight * PCA, beta=weight)
    diagnosis = kv.diagnose(vae, X)
    evidence = diagnosis.evidence
    raw = kv.distributions.posteriors.inverse_soft_clip
    stddev, bias = vae.encode(X[:1])[1].numpy()[0], np.array(vae.latent.head.bias)
    values = []
    for factor in weight ** np.array([-1 / 6, -1 / 3, -1 / 2]):
        scales = stddev * np.where(evidence["active"], factor, 1.0)
        bias[3:] = [raw(float(s), 1e-5, 1e3) - raw(1.0, 1e-5, 1e3) for s in scales]
        vae.latent.head.bias.assign(bias)
        values.append(kv.diagnose(vae, X).evidence["negative_elbo"])
    gain = evidence["negative_elbo"] - min(values)
    assert evidence["weight_loss"] == pytest.approx(gain, rel=1e-3)
    best, now = (oracle.water_filling(w * PCA, 3) for w in (1.0, weight))
    lost = (now.sse - best.sse) / (2 * PCA) + now.kl.sum() - best.kl.sum()
    assert 0.1 * lost < gain < lost
    assert evidence["weight_loss_by"] == "narrower"
    assert len(lines_of(diagnosis, "Lost to the weight")) == 1


def test_an_overfitted_model_is_named():
    train, others = DIGITS[:40], DIGITS[200:400]
    vae = adapted(train, likelihood="normal")
    diagnosis = kv.diagnose(vae, others, train=train)
    assert diagnosis.verdict == "overfitting", str(diagnosis)
    assert diagnosis.latents_healthy
    evidence = diagnosis.evidence
    gap = evidence["negative_elbo"] - evidence["train_negative_elbo"]
    assert evidence["overfitting"] == pytest.approx(gap)
    assert gap > 10.0
    trained = kv.diagnose(vae, train).evidence["negative_elbo"]
    assert evidence["train_negative_elbo"] == pytest.approx(trained, abs=1e-3)
    text = str(diagnosis)
    assert text.startswith("Verdict: overfitting\n  latents healthy, but -ELBO is ")
    assert f"Lost to overfitting: {gap:.3g} nats of -ELBO" in text
    # Without training data nothing is said of it.
    alone = kv.diagnose(vae, others)
    assert "overfitting" not in alone.evidence
    same = kv.diagnose(vae, train, train=(train,))
    assert same.evidence["overfitting"] == pytest.approx(0.0, abs=1e-3)
    assert same.verdict == "healthy", str(same)


@pytest.mark.parametrize("family", matrix.first(1, ["Normal", "Laplace"]))
def test_noise_that_is_too_low_loses_what_the_most_likely_one_gains(family):
    make = getattr(kv.distributions, family)
    x = np.float32(getattr(np.random.default_rng(0), family.lower())(size=(600, 5)))

    def diagnosed_at(scale):
        vae = linear_vae(PCA, likelihood=make(scale=scale))
        for variable in vae.trainable_variables:
            variable.assign(np.zeros(variable.shape))
        return kv.diagnose(vae, x)

    diagnosis = diagnosed_at(0.3)
    assert diagnosis.verdict == "noise_too_low", str(diagnosis)
    assert diagnosis.latents_healthy
    deviation = np.sqrt(np.mean(x**2)) if family == "Normal" else np.abs(x).mean()
    best = diagnosed_at(float(deviation)).evidence
    gain = diagnosis.evidence["negative_elbo"] - best["negative_elbo"]
    assert diagnosis.evidence["noise_loss"] == pytest.approx(gain, rel=1e-4)
    assert best["noise_loss"] == pytest.approx(0.0, abs=1e-4)
    assert f'{family}(scale="optimal")' in diagnosis.action


def test_a_model_behind_probabilistic_pca_says_so():
    vae = linear_vae(PCA)
    bias = np.array(vae.latent.head.bias)
    # Posteriors that are too narrow code nats for nothing.
    bias[3:] -= 1.2
    vae.latent.head.bias.assign(bias)
    train, x = X[:300], X[300:]
    diagnosis = kv.diagnose(vae, x, train=train)
    assert diagnosis.verdict == "behind_linear", str(diagnosis)
    assert diagnosis.latents_healthy
    evidence = diagnosis.evidence
    found = kv.linear.components(train, 3)
    expected = -kv.linear.log_likelihood(found, x).mean()
    assert evidence["linear_negative_elbo"] == pytest.approx(expected, rel=1e-6)
    gap = evidence["negative_elbo"] - expected
    assert evidence["linear_gap"] == pytest.approx(gap, rel=1e-5)
    assert gap > 0.5
    assert f"Against a linear model of 3 units: {gap:.3g} nats behind" in str(diagnosis)
    assert diagnosis.flag == "--linear_path=data"
    assert_flags_exist(diagnosis.flag)
    # Without training data each half is scored by the model of the other one.
    halves = kv.diagnose(vae, x).evidence["linear_negative_elbo"]
    pairs = (x[1::2], x[::2]), (x[::2], x[1::2])
    nats = [
        -kv.linear.log_likelihood(kv.linear.components(fitted, 3), scored)
        for fitted, scored in pairs
    ]
    assert halves == pytest.approx(np.mean(nats), rel=1e-6)
    # A Bernoulli is no density, and no target but x is what a linear model knows.
    other = kv.diagnose(linear_vae(PCA), X, np.float32(X + 1)).evidence
    assert "linear_gap" not in other


def test_a_linear_optimum_is_as_good_as_probabilistic_pca():
    evidence = kv.diagnose(learned(PCA), X, train=X).evidence
    assert evidence["linear_gap"] == pytest.approx(0.0, abs=0.15)
    assert evidence["overfitting"] == pytest.approx(0.0, abs=1e-6)


# === One signature with `audit`, and all outputs ===


def test_x_y_and_weights_are_those_of_fit():
    vae, y = linear_vae(PCA), np.float32(X[:, ::-1])
    with_y = kv.diagnose(vae, X[:60], y[:60]).to_dict()
    assert with_y == kv.diagnose(vae, (X[:60], y[:60])).to_dict()
    assert with_y != kv.diagnose(vae, X[:60]).to_dict()
    # Weight 0 leaves an example out, 2 has it twice.
    weights = np.zeros(600)
    weights[:10], weights[10:40] = 2.0, 1.0
    twice = np.repeat(X[:40], np.int64(weights[:40]), axis=0)
    expected = kv.diagnose(vae, twice).to_dict()
    assert kv.diagnose(vae, X, sample_weight=weights).to_dict() == expected
    assert kv.diagnose(vae, X, None, 0.5 * weights).to_dict() == expected
    half = kv.diagnose(vae, X, sample_weight=weights, max_examples=25).evidence
    assert half["num_examples"] == 25
    with pytest.raises(ValueError, match="`sample_weight` must hold one weight"):
        kv.diagnose(vae, X, sample_weight=weights[:9])
    with pytest.raises(ValueError, match="`train` cannot be used"):
        kv.diagnose(vae, X, train=X[:, :4])


@pytest.mark.parametrize("structure", matrix.first(1, ["dict", "list"]))
@pytest.mark.slow
def test_the_distortion_is_that_of_all_outputs(structure):
    inputs = keras.Input((5,))
    z = kv.layers.Latent(3, seed=0)(inputs)
    outputs = {
        name: keras.layers.Dense(5, name=name)(z) for name in ("b", "a", "other")
    }
    nll = {
        "b": kv.losses.NegativeLogLikelihood("unit_normal"),
        "a": kv.losses.NegativeLogLikelihood(kv.distributions.Normal(scale=9.0)),
    }
    losses = {**nll, "other": "mse"}
    y = {"b": X, "a": 2 * X, "other": 0 * X}
    if structure == "list":
        outputs, losses, y = ([*parts.values()] for parts in (outputs, losses, y))
    model = keras.Model(inputs, outputs)
    model.compile("adam", loss=losses)
    diagnosis = kv.diagnose(model, X, y, audit=False)
    alone = []
    for name in ("b", "a"):
        one = keras.Model(inputs, model.get_layer(name).output)
        one.compile("adam", loss=nll[name])
        target = {"b": X, "a": 2 * X}[name]
        alone.append(kv.diagnose(one, X, target, audit=False).evidence["distortion"])
    assert diagnosis.evidence["distortion"] == pytest.approx(sum(alone), rel=1e-6)
    assert diagnosis.evidence["noise"] == pytest.approx(9.0)
    assert any("leaves out the output 'other'" in note for note in diagnosis.notes)
    assert "linear_gap" not in diagnosis.evidence
    # The mean of one output is the fault that the audit finds.
    assert kv.diagnose(model, X, y).findings[0].evidence["divisor"] == 5


# === What it leaves alone ===


def test_the_model_is_left_as_it_is():
    vae = mlp(prior=kv.priors.VampPrior(4), objective=kv.ELBO(kl="monte_carlo"))
    vae.compile("adam")
    vae.build((None, 8, 8, 1))
    vae.optimizer.build(vae.trainable_variables)
    before = [np.asarray(v) for v in (*vae.variables, *vae.optimizer.variables)]
    first, second = (kv.diagnose(vae, BINARY[:100]).to_dict() for _ in range(2))
    assert first == second
    after = (*vae.variables, *vae.optimizer.variables)
    for variable, value in zip(after, before, strict=True):
        np.testing.assert_array_equal(np.asarray(variable), value)
    assert not vae.losses


def test_a_functional_model_is_left_as_it_is():
    model = functional()
    model.compile("adam", loss="mse")
    latent = model.get_layer("z")
    before = {name: value for name, value in vars(latent).items() if callable(value)}
    expected = model(FLAT[:4])
    kv.diagnose(model, FLAT[:50], audit=False)
    after = {name: value for name, value in vars(latent).items() if callable(value)}
    assert after == before
    np.testing.assert_array_equal(model(FLAT[:4]), expected)
    assert float(latent.report.result()["kl_loss"]) > 0
    latent.report.reset_state()
    kv.diagnose(model, FLAT[:50], audit=False)
    assert float(latent.report.result()["kl_loss"]) == 0


# === In words ===


@pytest.mark.slow
def test_the_rate_of_a_latent_is_that_of_all_its_calls():
    latent, single = kv.layers.Latent(2, seed=0), kv.layers.Latent(3, seed=1)
    x = keras.Input((4, 5))
    z = keras.layers.Flatten()(keras.layers.TimeDistributed(latent)(x))
    z = keras.layers.Concatenate()([single(keras.layers.Flatten()(x)), z])
    decoder = keras.layers.Dense(20)
    model = keras.Model(x, keras.layers.Reshape((4, 5))(decoder(z)))
    model.compile("sgd", kv.losses.NegativeLogLikelihood("unit_normal"))
    data = np.random.default_rng(0).normal(size=(300, 4, 5)).astype("float32")
    logs = model.evaluate(data, data, verbose=0, return_dict=True)
    evidence = kv.diagnose(model, data, audit=False).evidence
    assert logs["kl_loss"] > 2.0
    assert evidence["rate"] == pytest.approx(logs["kl_loss"], rel=1e-5)
    assert sum(evidence["kl_per_unit"]) == pytest.approx(evidence["rate"], rel=1e-5)
    assert evidence["latent_dim"] == len(evidence["active"]) == 4 * 2 + 3
    distortion = logs["loss"] - logs["kl_loss"]
    assert evidence["distortion"] == pytest.approx(distortion, rel=0.05)
    codes = np.random.default_rng(1).normal(size=(5, 300, 3)).astype("float32")
    subject = subject_of(model, data)
    widths = [variable.units for variable in subject.variables]
    assert sorted(widths) == [2, 2, 2, 2, 3]
    codes = [code[:, :width] for code, width in zip(codes, widths, strict=True)]
    z = sorted(codes, key=lambda code: -code.shape[1])
    expected = decoder(np.concatenate(z, axis=1)).numpy().reshape(data.shape)
    (decoded,) = subject.decode(data, [keras.ops.convert_to_tensor(c) for c in codes])
    np.testing.assert_allclose(decoded, expected, rtol=1e-5, atol=1e-5)


def test_text_is_a_verdict_a_few_numbers_and_an_action():
    lines = str(diagnosed("fixed_noise_above_all_eigenvalues")).splitlines()
    assert lines[0] == "Verdict: noise_too_high"
    assert "noise, 2.24, has 3.23 times the variance of its error, 1.24" in lines[1]
    assert "0 nats are coded, and some 2.2 more would pay" in lines[1]
    assert (
        'Do: in Python: `likelihood=kv.distributions.Normal(scale="shared", initial_s'
        in lines[2]
    )
    assert lines[2].endswith("; flag: `--likelihood=optimal_normal`")
    assert lines[-1].strip().startswith("Measured on 600 examples: rate 0 nats")
    several = str(diagnosed("variance_of_one_unit")).splitlines()
    assert several[3].strip().startswith("Also found, see `findings`: decoder_ignores")


def arguments(fix):
    """The arguments that a text names, the first of each name."""
    found = {}
    for code in fix.split("`")[1::2]:
        argument = re.fullmatch(r"([a-z_]+)=(.*)", code)
        if argument and "..." not in code:
            found.setdefault(argument[1], eval(argument[2], {"kv": kv, "keras": keras}))
        elif "..." not in code and "kv." in code:
            assert eval(code, {"kv": kv}) is not None
    return found


@pytest.mark.parametrize("name", SICK)
def test_actions_are_arguments_and_flags_that_exist(name):
    for finding in diagnosed(name).findings:
        assert isinstance(arguments(finding.fix), dict)
        assert_flags_exist(finding.flag)


def assert_flags_exist(text):
    values = flags.FlagValues()
    _flags.define_train(values)
    values(["program", *text.split()])
    assert all(values[f[2:].partition("=")[0]].present for f in text.split())


@pytest.mark.parametrize(
    "name",
    matrix.first(
        1,
        [
            "variance_of_one_unit",
            "fixed_noise_above_all_eigenvalues",
            "fixed_noise_that_leaves_one_unit",
            "unit_noise_on_grey_images",
            "weight_at_which_nothing_pays",
            "collapse_at_the_right_noise",
            "collapse_of_all_but_the_last_unit",
            "decoder_without_weights",
            "codes_far_beyond_the_prior",
            "ramp_longer_than_the_run",
            "weights_that_are_not_numbers",
        ],
    ),
)
def test_the_action_cures_the_run(name):
    sickness, (vae, x) = SICK[name][0], SICK[name][1]()
    chosen = arguments(kv.diagnose(vae, x).action.partition("; if")[0])
    callbacks = chosen.pop("callbacks", [])
    optimizer = chosen.pop("optimizer", keras.optimizers.Adam(3e-3))
    keras.utils.set_random_seed(0)
    cured = kv.VAE.from_config({**vae.get_config(), **chosen})
    cured.compile(optimizer, jit_compile=False)
    cured.fit(x, epochs=60, batch_size=50, verbose=0, callbacks=callbacks)
    names = [finding.name for finding in kv.diagnose(cured, x).findings]
    assert sickness not in names


@pytest.mark.slow
def test_a_sigmoid_before_logits_is_named_and_its_removal_cures():
    def model(activation, loss):
        keras.utils.set_random_seed(1)
        inputs = keras.Input((64,))
        z = kv.layers.Latent(6, seed=0)(keras.layers.Dense(32, "relu")(inputs))
        decoded = keras.layers.Dense(64, activation=activation)(z)
        model = keras.Model(inputs, decoded)
        model.compile(keras.optimizers.Adam(3e-3), loss=loss)
        return model

    first = kv.diagnose(model("sigmoid", "binary_crossentropy"), FLAT, FLAT)
    assert first.verdict == "kl_weighted_by_mistake"
    assert "`activation=None` in the last layer of the decoder" in first.action
    chosen = arguments(first.action)
    half = kv.diagnose(model("sigmoid", chosen["loss"]), FLAT, FLAT)
    assert half.verdict == "double_sigmoid", str(half)
    with pytest.raises(ValueError, match="`y_pred` must be logits"):
        model("sigmoid", chosen["loss"]).fit(FLAT, FLAT, verbose=0)
    cured = model(**chosen)
    cured.fit(FLAT, FLAT, epochs=8, verbose=0)
    assert kv.diagnose(cured, FLAT, FLAT).verdict == "healthy"
    # Without the audit the numbers tell.
    half = kv.diagnose(model("sigmoid", chosen["loss"]), FLAT, FLAT, audit=False)
    assert half.verdict == "double_sigmoid"


def test_surplus_units_are_a_remark():
    diagnosis = kv.diagnose(*surplus_latents())
    assert "surplus: 9 of 12 units; the error holds 0 nats" in diagnosis.notes[0]
    diagnosis = kv.diagnose(*optimum_at_beta_4_by_intent())
    assert "at kl_weight=4: 1 of 3 units; at 1 0.25 nats" in diagnosis.notes[0]


def test_a_model_without_likelihood_says_what_was_left_out():
    model = functional()
    model.compile("adam", loss="mse")
    diagnosis = kv.diagnose(model, FLAT[:100], audit=False)
    assert "distortion" not in diagnosis.evidence
    assert "no distortion in nats" in diagnosis.notes[0]
    assert len(diagnosis.evidence["kl_per_unit"]) == 6


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: kv.diagnose(keras.Sequential(), X),
            "`model` must be a `keras_vae.VAE`",
        ),
        (lambda: kv.diagnose(None, X), "`model` must be a `keras_vae.VAE`"),
        (lambda: kv.diagnose(linear_vae(PCA), [1.0]), "`x` must be an array"),
        (
            lambda: kv.diagnose(linear_vae(PCA), X, max_examples=1),
            "`max_examples` must",
        ),
        (lambda: kv.diagnose(linear_vae(PCA), X * np.nan), "must be finite"),
    ],
)
def test_errors(call, message):
    with pytest.raises(ValueError, match=message):
        call()

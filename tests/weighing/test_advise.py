"""The advice on planted curves, and that one rule gives all of it."""

import json
import re

import keras
import linear
import matrix
import numpy as np
import oracle
import pytest

import keras_vae as kv
from keras_vae.weighing import Meaning
from keras_vae.weighing import RateDistortionCurve

# === Planted curves ===


def linear_curve(betas, scale=1.0, resamples=5):
    """The curve of optimal linear VAEs with 3 latents, beta beside a fixed scale."""
    betas, coded = np.asarray(betas), EIGENVALUES[:3, None]
    theta = betas * scale**2
    lost = np.minimum(coded, theta).sum(axis=0) + EIGENVALUES[3:].sum()
    terms = {
        "rate": np.maximum(np.log(coded / theta), 0).sum(axis=0) / 2,
        "distortion": lost / (2 * scale**2) + 5 * np.log(2 * np.pi * scale**2),
    }
    return RateDistortionCurve(
        betas,
        terms,
        (coded > theta).sum(axis=0),
        3,
        100,
        replicates={name: np.tile(v, (resamples, 1)) for name, v in terms.items()},
        meaning=Meaning(kv.distributions.Normal(scale=scale), 10),
    )


NOISE = 0.3**2
EIGENVALUES = np.array([4.0, 2.0, 1.0] + [NOISE] * 7)
LINEAR = linear_curve(np.geomspace(0.005, 8, 13))


@pytest.mark.parametrize("scale", [1.0, 0.5])
def test_best_noise_is_that_of_the_planted_linear_model(scale):
    curve = linear_curve(np.geomspace(0.005, 8, 13) / scale**2, scale)
    likelihood = kv.advise(curve)["likelihood"]
    assert likelihood.units.sigma == pytest.approx(0.3, rel=0.01)
    assert likelihood.units.sigma**2 == pytest.approx(likelihood.beta * scale**2)
    assert likelihood.units.remark.startswith("exact")
    # 10 numbers and 3 latents.
    assert likelihood.units.beta_norm == pytest.approx(0.3 * NOISE, rel=0.02)
    assert likelihood.units.mean_weight == pytest.approx(0.2 * NOISE, rel=0.02)
    assert likelihood.interval == pytest.approx((likelihood.beta, likelihood.beta))


@pytest.mark.parametrize("scale", [1.0, 0.5])
def test_bound_of_a_noise_is_the_likelihood_of_probabilistic_pca(scale):
    # In closed form, at the noise that is most likely: there the bound is tight.
    curve = linear_curve([NOISE / scale**2], scale)
    expected = (10 * np.log(2 * np.pi) + np.log(EIGENVALUES).sum() + 10) / 2
    assert curve.reading.bound == pytest.approx([expected])
    assert curve.reading.bound_replicates == pytest.approx(np.full((5, 1), expected))
    around = linear_curve(NOISE / scale**2 * np.array([0.8, 1.25]), scale)
    assert np.all(around.reading.bound > expected)


def test_planted_collapse_lies_between_weights_around_the_eigenvalue():
    report = kv.advise(LINEAR)
    below, above = LINEAR.beta[LINEAR.beta < 1].max(), LINEAR.beta[LINEAR.beta > 1][0]
    assert report["active_units"].beta == pytest.approx(below)
    assert report["collapse"].beta == pytest.approx(np.sqrt(below * above))
    assert "3 of 3 units" in report["collapse"].reason


@pytest.mark.parametrize(
    ("betas", "place", "words"),
    [
        ([0.5, 1, 4], 0, "lies below the weights that were measured; .* smaller"),
        ([1e-3, 1e-2], -1, "lies above the weights that were measured; .* larger"),
    ],
)
def test_noise_outside_of_the_weights_says_so(betas, place, words):
    advice = kv.advise(linear_curve(betas))["likelihood"]
    assert advice.beta == betas[place]
    assert advice.interval is None
    assert re.search(words, advice.reason)


def test_data_units_of_sigma_are_those_of_one_scale():
    units = kv.advise(LINEAR, data_scale=5.0).units(4.0)
    assert (units.sigma, units.data_sigma) == (2.0, 10.0)
    assert "sigma of x is 2 (10 in the units of the data)" in str(units)


def bound_curve(bounds, likelihood, replicates=True):
    """A curve whose -ELBO at 0.1, 1 and 10 is planted."""
    rate = np.array([20.0, 10.0, 1.0])
    distortion = np.array(bounds) - rate
    noise = np.linspace(-0.5, 0.5, 9)[:, None]
    resampled = {"rate": rate + 0 * noise, "distortion": distortion + noise}
    return RateDistortionCurve(
        [0.1, 1.0, 10.0],
        {"rate": rate, "distortion": distortion},
        [3, 3, 1],
        3,
        100,
        replicates=resampled if replicates else None,
        meaning=Meaning(likelihood, 4),
    )


@pytest.mark.parametrize(
    ("bounds", "evidence"),
    [
        ([80.0, 70.0, 90.0], "70.00 nats, the least of all"),
        ([80.0, 70.0, 60.0], "10.00 to 10.00 nats less at 10: the model overfits"),
        ([60.0, 70.0, 90.0], "10.00 to 10.00 nats less at 0.1: it is not trained"),
    ],
)
@pytest.mark.parametrize("likelihood", ["bernoulli", "continuous_bernoulli"])
def test_likelihoods_without_a_scale_have_their_bound_at_one(
    likelihood, bounds, evidence
):
    advice = kv.advise(bound_curve(bounds, likelihood))[0]
    assert advice.beta == 1.0
    assert evidence in advice.reason
    assert advice.units.sigma is None
    assert advice.units.beta_norm == pytest.approx(3 / 4)
    assert advice.units.mean_weight == (1 / 4 if likelihood == "bernoulli" else None)
    assert f"a {likelihood.replace('_', ' ')} has no scale" in advice.units.remark


def test_without_replicates_the_least_is_named_and_not_judged():
    curve = bound_curve([80.0, 70.0, 60.0], "bernoulli", replicates=False)
    reason = kv.advise(curve)["likelihood"].reason
    assert reason.endswith("-ELBO there is 70.00 nats, at 10 60.00")


def test_a_learned_scale_has_its_bound_at_one():
    advice = kv.advise(bound_curve([80.0, 70.0, 90.0], "normal"))["likelihood"]
    assert advice.beta == 1.0
    assert "scale='shared'" in advice.units.remark


def test_grey_values_under_a_bernoulli_are_read_as_a_normal():
    curve = RateDistortionCurve(
        [0.1, 1.0, 10.0],
        {
            "rate": [9.0, 4.0, 1.0],
            "distortion": [1.0, 2.0, 3.0],
            "squared_error": [0.01, 0.02, 0.2],
        },
        [2, 2, 1],
        2,
        100,
        meaning=Meaning("bernoulli", 4, grey=True, unit_interval=True),
    )
    # rate + 2 log(2 pi error) + 2, of a normal whose noise is the error.
    expected = np.array([9, 4, 1]) + 2 * np.log(2 * np.pi * curve.squared_error) + 2
    np.testing.assert_allclose(curve.reading.bound, expected)
    advice = kv.advise(curve)["likelihood"]
    assert advice.beta == curve.beta[np.argmin(expected)] == 1.0
    assert "no likelihood" in advice.reason
    assert "Better train a normal likelihood" in advice.reason


def test_targets_are_met_on_the_planted_curve():
    curve = linear_curve(np.geomspace(0.005, 8, 200))
    report = kv.advise(curve, target_rate=2, target_rmse=0.5, target_distortion=10.0)
    # log(4 * 2 * 1 / beta^3) / 2 = 2, and 3 beta + 7 NOISE = 10 / 4.
    assert report["rate"].beta == pytest.approx((8 / np.exp(4)) ** (1 / 3), rel=1e-3)
    assert report["rmse"].beta == pytest.approx((2.5 - 7 * NOISE) / 3, rel=1e-2)
    lost = 2 * (10 - 5 * np.log(2 * np.pi)) - 7 * NOISE
    assert report["distortion"].beta == pytest.approx(lost / 3, rel=1e-2)
    names = ["likelihood", "samples", "rate", "distortion", "rmse"]
    assert [item.purpose for item in report][:5] == names


def test_target_out_of_reach_is_no_error_and_names_the_argument():
    advice = kv.advise(LINEAR, target_rate=99)["rate"]
    assert advice.beta is None
    assert "`target_rate`=99: `target` must be a rate in" in str(advice)


def test_a_curve_without_active_units_says_so():
    report = kv.advise(linear_curve([5.0, 50.0]))
    assert [item.purpose for item in report] == ["likelihood"]
    assert report["likelihood"].beta is None
    assert not report.has_code


# === One rule ===

GENERATOR = np.random.default_rng(0)
GREY = GENERATOR.uniform(size=(60, 6)).astype("float32")
DATA = {
    "unit_normal": GREY,
    "normal": 3 * GREY,
    "laplace": GREY,
    "bernoulli": np.round(GREY),
    "grey": GREY,
    "continuous_bernoulli": GREY,
    "categorical": GENERATOR.integers(0, 3, (60, 6)),
}


def likelihood_of(name):
    if name == "categorical":
        return kv.distributions.Categorical(3)
    return kv.distributions.likelihoods.get("bernoulli" if name == "grey" else name)


def make(name, beta, seed=0, **kwargs):
    likelihood = likelihood_of(name)
    keras.utils.set_random_seed(seed)
    vae = kv.VAE(
        kv.networks.mlp_encoder([8]),
        kv.networks.mlp_decoder([8], likelihood.params_shape((6,))),
        2,
        likelihood=likelihood,
        objective=kv.ELBO(beta),
        seed=seed,
        **kwargs,
    )
    vae.build((None, 6))
    return vae


@pytest.fixture(scope="module")
def families():
    betas = (0.05, 0.5, 1.0, 2.0)
    return {
        name: {beta: make(name, beta, seed) for seed, beta in enumerate(betas)}
        for name in DATA
    }


@pytest.mark.parametrize("name", matrix.first(2, DATA))
def test_recommend_and_advise_give_the_same_weights(name, families):
    settings = {"num_samples": 2, "num_resamples": 20, "seed": 1}
    report = kv.advise(families[name], DATA[name], target_rate=0.4, **settings)
    curve = kv.rate_distortion(
        families[name], DATA[name], num_generated=500, **settings
    )
    for one in (curve, report.curve):
        for purpose in ("likelihood", "samples", "active_units"):
            advice, found = report[purpose], one.recommend(purpose)
            assert found.beta == advice.beta
            assert found.reason in advice.reason
            assert found.interval == advice.interval or purpose == "active_units"
    low, high = sorted(curve.rate)[1:3]
    target = (low + high) / 2
    advice = kv.advise(curve, target_rate=target)["rate"]
    assert advice.beta == curve.recommend("rate", target).beta


def test_best_samples_are_those_of_least_energy_distance(families):
    models, x = families["continuous_bernoulli"], DATA["continuous_bernoulli"]
    report = kv.advise(models, x, reference=x[:30], num_resamples=5, seed=3)
    distances = {
        beta: kv.metrics.energy_distance(model.generate(500, seed=3), x)
        for beta, model in models.items()
    }
    assert report["samples"].beta == min(distances, key=distances.get)
    floor = kv.metrics.energy_distance(x[:30], x)
    assert report["samples"].reason.endswith(f"other data are at {floor:.3g}")


@pytest.mark.parametrize(("examples", "others"), [(1, 30), (30, 1)])
def test_a_single_example_has_no_distance(families, examples, others):
    models, x = families["continuous_bernoulli"], DATA["continuous_bernoulli"]
    report = kv.advise(models, x[:examples], reference=x[-others:], num_resamples=5)
    assert np.isnan(report.curve.sample_distance).all() == (examples == 1)
    assert all("other data are at" not in one.reason for one in report)


def test_a_curve_of_unknown_likelihood_says_so(families, tmp_path):
    models, x = families["unit_normal"], DATA["unit_normal"]
    kv.rate_distortion(models, x, num_resamples=5).to_csv(tmp_path / "curve.csv")
    curve = RateDistortionCurve.from_csv(tmp_path / "curve.csv")
    report = kv.advise(curve)
    assert "does not know its likelihood" in report["likelihood"].reason
    assert report["likelihood"].beta == curve.recommend("likelihood").beta
    assert report["likelihood"].units is None
    assert report.words == {}
    known = RateDistortionCurve.from_csv(
        tmp_path / "curve.csv", meaning=Meaning("unit_normal", 6)
    )
    expected = kv.advise(models, x, num_resamples=5)["likelihood"].beta
    assert kv.advise(known)["likelihood"].beta == pytest.approx(expected)


def test_models_of_unlike_likelihoods_have_no_meaning_in_common():
    models = {1.0: make("unit_normal", 1.0), 2.0: make("normal", 2.0)}
    curve = kv.rate_distortion(models, DATA["normal"], num_resamples=5)
    assert curve.meaning is None
    same = {1.0: make("unit_normal", 1.0), 2.0: make("unit_normal", 2.0)}
    assert kv.rate_distortion(same, DATA["normal"], num_resamples=5).meaning.is_noise


# === Models ===


@pytest.fixture(scope="module")
def multi():
    vae = kv.MultiRateVAE(
        kv.networks.mlp_encoder([8]),
        kv.networks.mlp_decoder([8], (6,)),
        2,
        likelihood="unit_normal",
        beta_range=(0.01, 5.0),
        seed=0,
    )
    vae.build((None, 6))
    return vae


def test_a_model_of_all_weights_is_measured_between_those_of_the_curve(multi):
    x = DATA["unit_normal"]
    report = kv.advise(multi, x, betas=[0.05, 0.8, 4.0], num_resamples=10)
    advice = report["likelihood"]
    bound = kv.rate_distortion({advice.beta: multi.at(advice.beta)}, x)
    assert f"least there, {bound.reading.bound[0]:.2f} nats" in advice.reason
    assert report.nearest(99.0) == 5.0
    assert report.at(advice.beta) is report.at(advice.beta)
    np.testing.assert_array_equal(
        report.at(0.8).reconstruct(x[:3]), multi.at(0.8).reconstruct(x[:3])
    )


@pytest.mark.parametrize("scale", [1.0, 2.0])
def test_of_separate_models_the_nearest_is_named(scale):
    x, vectors = oracle.data(size=400)
    models = {
        theta / scale**2: linear.optimal(
            theta, vectors, scale=scale, kl_weight=theta / scale**2
        )
        for theta in (0.1, 0.36, 0.4, 2.0)
    }
    report = kv.advise(models, np.float32(x), num_samples=16, num_resamples=50)
    advice = report["likelihood"]
    # The mean of the eigenvalues that 3 latents leave out.
    assert advice.units.sigma**2 == pytest.approx(0.375, rel=0.02)
    assert advice.interval[0] < advice.beta < advice.interval[1]
    assert report.curve.recommend("likelihood").beta == advice.beta
    nearest = report.nearest(advice.beta)
    assert nearest * scale**2 == pytest.approx(0.36)
    assert f"The nearest weight with a model is {nearest:.4g}" in advice.reason
    assert report.at(nearest) is models[nearest]


@pytest.mark.parametrize("scale", [1.0, 0.5])
def test_own_noise_turns_the_loss_of_a_weight_into_a_bound(scale):
    beta, x = 0.04, GREY
    vae = kv.VAE(
        kv.networks.mlp_encoder([4]),
        kv.networks.mlp_decoder([4], (6,)),
        2,
        likelihood=kv.distributions.Normal(scale=scale),
        objective=kv.ELBO(beta),
        seed=0,
    )
    vae.build((None, 6))
    plain = kv.weighing.with_own_noise(vae, beta)
    key = kv.random.key(0)
    weighted, own = vae.estimate(x, x, 1, key), plain.estimate(x, x, 1, key)
    np.testing.assert_allclose(own.z, weighted.z, rtol=1e-6)
    loss = weighted.distortion + beta * vae.objective.rate(weighted)
    constant = 3 * np.log(2 * np.pi * scale**2)
    bound = own.distortion + plain.objective.rate(own)
    expected = (loss - constant) / beta + constant + 3 * np.log(beta)
    np.testing.assert_allclose(bound, expected, rtol=1e-5)
    assert float(plain.objective.kl_weight.value) == 1.0


def test_a_likelihood_without_a_noise_stays():
    vae = make("bernoulli", 0.5)
    assert kv.weighing.with_own_noise(vae, 0.5) is vae


# === Weights ===


def test_range_of_a_normal_spans_the_variances_of_the_data():
    x = GENERATOR.normal(size=(1000, 6)) * [3.0, 2.0, 0.1, 0.1, 0.1, 0.1]
    low, high = kv.weighing.beta_range(x, 2)
    assert low == pytest.approx(0.01 / 20, rel=0.1)
    assert high == pytest.approx(1.5 * 9, rel=0.1)
    half = kv.distributions.Normal(scale=0.5)
    np.testing.assert_allclose(
        kv.weighing.beta_range(x, 2, half), [4 * low, 4 * high], rtol=0.05
    )
    assert kv.weighing.beta_range(x, 2, "laplace") == (0.01, 10.0)


def test_the_range_of_binary_data_ends_where_a_linear_model_closes():
    generator = np.random.default_rng(0)
    weak = np.float32(generator.random((1000, 6)) < 0.5)
    # Unit variance in each direction, and no more.
    low, high = kv.weighing.beta_range(weak, 2, "bernoulli")
    assert high == pytest.approx(1.5, rel=0.2)
    assert low == pytest.approx(high / 1000)
    strong = np.repeat(weak[:, :1], 20, axis=1)
    assert kv.weighing.beta_range(strong, 2, "bernoulli") == (0.01, 10.0)


def test_one_is_among_the_weights_where_it_is_asked_for():
    betas = kv.weighing.betas_between(0.5, 20.0, 5, with_one=True)
    assert betas[1] == 1.0
    without = kv.weighing.betas_between(0.5, 20.0, 5, with_one=False)
    np.testing.assert_allclose(without, np.geomspace(0.5, 20, 5))
    # The ends stay, also where one of them is nearest to 1.
    assert kv.weighing.betas_between(0.99, 20.0, 5)[:2] == [0.99, 1.0]


# === Words ===


@pytest.mark.parametrize("name", ["unit_normal", "bernoulli", "laplace"])
def test_the_line_of_code_is_the_loss_up_to_a_factor(name):
    curve = bound_curve([80.0, 70.0, 90.0], name)
    units = kv.advise(curve).units(0.25)
    assert units.loss.startswith("loss = ")
    x, x_hat = np.round(GREY[:, :4]), 0.2 + 0.6 * GREY[:, 2:]
    kl = 7.0
    squares = np.square(x - x_hat).sum(axis=1).mean()
    cross_entropy = -(x * np.log(x_hat) + (1 - x) * np.log(1 - x_hat))
    summed, factor = {
        "unit_normal": (squares / 2, 4 / 2),
        "bernoulli": (cross_entropy.sum(axis=1).mean(), 4),
        "laplace": (12.5, 1),
    }[name]
    names = {"keras": keras, "x": x, "x_hat": x_hat, "kl": kl}
    exec(units.loss, names | {"negative_log_likelihood": 12.5}, found := {})
    assert factor * float(found["loss"]) == pytest.approx(summed + 0.25 * kl, rel=1e-4)


@pytest.mark.parametrize("name", ["unit_normal", "bernoulli", "laplace"])
def test_every_word_of_the_advice_is_defined_once(name):
    report = kv.advise(bound_curve([80.0, 70.0, 90.0], name), target_rate=5.0)
    advice, words = str(report).split("\nWords\n")
    used = {
        "unit_normal": {"x, x_hat", "sigma"},
        "bernoulli": {"x, x_hat", "-ELBO", "distortion"},
        "laplace": {"negative_log_likelihood", "-ELBO", "distortion"},
    }[name] | {"beta", "kl", "rate", "active", "nats"}
    defined = re.findall(r"^  (\S[^:]*): ", words, re.M)
    assert sorted(defined) == sorted(used)
    assert used < set(report.words)
    assert "beta_norm" not in str(report)
    assert ("sigma of x is 1." in advice) == (name == "unit_normal")


def test_each_purpose_has_a_line_to_write_and_says_what_its_kl_is():
    report = kv.advise(LINEAR, target_rate=2.0)
    weights = [item for item in report if item.beta is not None]
    lines = [line.strip() for line in str(report).splitlines()]
    places = [i for i, line in enumerate(lines) if line.startswith("loss = ")]
    assert [lines[i] for i in places] == [item.units.loss for item in weights]
    assert {"likelihood", "rate", "active_units"} <= {w.purpose for w in weights}
    for place in places:
        assert "kl summed over latents, averaged over the batch:" in lines[place - 1]
    assert "Stay below" in str(report["collapse"])


def test_the_report_goes_into_json():
    content = json.loads(json.dumps(kv.advise(LINEAR).to_dict()))
    purposes = [item["purpose"] for item in content["advice"]]
    assert purposes == ["likelihood", "samples", "active_units", "collapse"]
    assert content["advice"][0]["units"]["sigma"] == pytest.approx(0.3, rel=0.01)
    assert content["words"]["sigma"].startswith("standard deviation")


# === Errors ===


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: kv.advise(["vae"], GREY), ValueError, "`models` must be a Multi-Rate"),
        (lambda: kv.advise({}, GREY), ValueError, "`models` must hold at least one"),
        (lambda: kv.advise({1.0: make("laplace", 1.0)}), ValueError, "`data` must be"),
        (lambda: kv.advise(LINEAR, target_rate=-1), ValueError, "`target_rate` must"),
        (lambda: kv.advise(LINEAR, data_scale=0), ValueError, "`data_scale` must be"),
        (
            lambda: kv.advise(bound_curve([3, 2, 1], "laplace"), target_rmse=1.0),
            ValueError,
            "`target_rmse` must be left out .* laplace",
        ),
        (lambda: kv.advise(LINEAR)["rmse"], KeyError, "must be one of .*'rmse'"),
        (lambda: kv.advise(LINEAR).at(1.0), ValueError, "`models` must have been"),
        (lambda: kv.weighing.beta_range(GREY, 0), ValueError, "`latent_dim` must"),
        (lambda: kv.weighing.beta_range([], 2), ValueError, "`x` must be an array"),
        (
            lambda: kv.weighing.beta_range(np.ones((20, 4)), 2),
            ValueError,
            "`x` must vary",
        ),
        (
            lambda: kv.advise([make("laplace", 1.0), make("laplace", 1.0)], GREY),
            ValueError,
            "`models` must have one model of each weight",
        ),
        (
            lambda: kv.weighing.with_own_noise(make("unit_normal", 1.0), 0.0),
            ValueError,
            "`beta` must be a finite number that is positive",
        ),
    ],
)
def test_errors(call, error, message):
    with pytest.raises(error, match=message):
        call()

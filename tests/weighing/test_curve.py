"""Measured curves against reverse water-filling, and what is read off a known one."""

import sys

import linear
import numpy as np
import oracle
import pytest

import keras_vae as kv
from keras_vae.weighing import RateDistortionCurve

VARIANCE = 0.375
X, VECTORS = oracle.data(size=2000)
X = np.float32(X)
BETAS = (0.25, 0.5, 1.0, 2.0, 4.0, 8.0, 16.0)


def optimal(beta):
    scale = np.sqrt(VARIANCE)
    return linear.optimal(beta * VARIANCE, VECTORS, scale=scale, kl_weight=beta)


def closed_form(betas):
    """Rates and distortions of linear VAEs, in nats."""
    optima = [oracle.water_filling(beta * VARIANCE, 3) for beta in betas]
    constant = 2.5 * np.log(2 * np.pi * VARIANCE)
    return (
        np.array([optimum.kl.sum() for optimum in optima]),
        np.array([optimum.sse / (2 * VARIANCE) + constant for optimum in optima]),
    )


def known(betas, active_units=None, **kwargs):
    rate, distortion = closed_form(betas)
    units = np.zeros(len(betas)) if active_units is None else active_units
    return RateDistortionCurve(
        kwargs.pop("beta", betas),
        {"rate": rate, "distortion": distortion},
        units,
        latent_dim=3,
        num_examples=len(X),
        **kwargs,
    )


@pytest.fixture(scope="module")
def measured():
    models = {beta: optimal(beta) for beta in BETAS}
    return kv.rate_distortion(models, X, num_samples=16, importance_samples=2)


class MultiRate(kv.VAE):
    """A VAE of which the curve asks only what it asks of a Multi-Rate VAE."""

    beta_range = (0.25, 16.0)

    def __init__(self, beta_range=beta_range):
        network = kv.networks.mlp_encoder([])
        super().__init__(network, network, latent_dim=3)
        self.asked, self.beta_range = [], beta_range

    def at(self, beta):
        self.asked.append(beta)
        return optimal(beta)


# === Measured ===


def test_rate_and_distortion_are_those_of_water_filling(measured):
    rate, distortion = closed_form(BETAS)
    np.testing.assert_allclose(measured.beta, BETAS)
    np.testing.assert_allclose(measured.rate, rate, rtol=1e-4, atol=1e-6)
    # 16 draws of z for each of 2000 examples.
    np.testing.assert_allclose(measured.distortion, distortion, atol=0.04)
    np.testing.assert_allclose(measured.negative_elbo, rate + distortion, atol=0.04)
    assert measured.active_units.tolist() == [3, 3, 3, 3, 2, 1, 0]
    assert (measured.latent_dim, measured.num_examples) == (3, 2000)


def test_likelihood_is_that_of_probabilistic_pca(measured):
    # At beta = 1 the posterior is exact, and one draw tells log p(x).
    best = oracle.ProbabilisticPCA.fit(3, oracle.EIGENVALUES, VECTORS)
    nll = measured.negative_log_likelihood
    assert nll[2] == pytest.approx(-best.log_prob(X).mean(), abs=1e-4)
    assert measured.recommend("likelihood").beta == pytest.approx(1.0, rel=0.02)
    np.testing.assert_array_less(nll, measured.negative_elbo + 0.02)


def test_intervals_are_those_of_the_standard_error(measured):
    per_example = measured_terms(optimal(1.0))
    expected = 2 * 1.96 * per_example.std() / np.sqrt(len(X))
    low, high = measured.intervals["distortion"][2]
    assert high - low == pytest.approx(expected, rel=0.1)
    assert low < measured.distortion[2] < high


def measured_terms(model):
    return model.estimate(X, X, 16, kv.random.key(0)).distortion.numpy()


def test_the_gap_is_small_at_the_optimum(measured):
    # The aggregate posterior of normal data is the prior; the rest is the estimate's.
    assert np.all(measured.gap < 0.3)
    recommended = measured.recommend("samples")
    assert recommended.beta == 0.25
    with pytest.raises(ValueError, match="`target` must be a gap of at least"):
        measured.recommend("samples", -1.0)


def test_no_gap_is_claimed_at_rates_that_the_examples_cannot_tell():
    models = {b: optimal(b) for b in (1e-4, 1e-3)}
    curve = kv.rate_distortion(models, X[:100], num_resamples=10)
    assert np.all(curve.rate > np.log(100))
    assert np.all(np.isnan(curve.gap))
    with pytest.raises(ValueError, match="'samples' here: .*, measure on more data"):
        curve.recommend("samples")


def test_multi_rate_and_separate_models_give_one_curve():
    betas, settings = [0.5, 3.0], {"num_samples": 4, "importance_samples": 2}
    multi = MultiRate()
    curve = kv.rate_distortion(multi, X[:300], betas=betas, **settings)
    assert multi.asked == betas
    models = {beta: optimal(beta) for beta in betas}
    comparison = curve.compare(kv.rate_distortion(models, X[:300], **settings))
    np.testing.assert_array_equal(comparison.excess, [0, 0])
    np.testing.assert_array_equal(comparison.error, np.zeros((2, 2)))


def test_default_weights_span_the_range_and_hold_the_elbo():
    multi = MultiRate((0.01, 10.0))
    curve = kv.rate_distortion(multi, X[:50], num_resamples=10)
    assert len(curve.beta) == 13
    assert 1.0 in curve.beta
    assert curve.beta[[0, -1]].tolist() == [0.01, 10.0]


def test_lists_take_the_weight_from_the_objective():
    target = linear.make(objective=kv.objectives.DistortionTarget(distortion=8.0))
    target.objective.multiplier.assign(0.25)
    curve = kv.rate_distortion([optimal(2.0), target], X[:50], num_resamples=10)
    assert curve.beta.tolist() == [2.0, 4.0]
    curve = kv.rate_distortion([optimal(2.0), target], X[:50], betas=[4.0])
    assert curve.beta.tolist() == [4.0]


def test_models_are_left_as_they_are():
    model = optimal(1.0)
    before = [np.asarray(v) for v in model.variables]
    kv.rate_distortion(model, X[:50], importance_samples=3)
    for variable, value in zip(model.variables, before, strict=True):
        np.testing.assert_array_equal(np.asarray(variable), value)
    assert not model.losses


def test_a_target_that_is_not_the_input():
    model = optimal(1.0)
    curve = kv.rate_distortion(model, (X[:50], X[:50] + 1.0), num_samples=32)
    plain = kv.rate_distortion(model, X[:50], num_samples=32)
    assert curve.rate == plain.rate
    assert curve.distortion > plain.distortion + 1


# === Interpolated ===


@pytest.mark.parametrize("beta", [0.3, 0.7, 1.7, 2.2])
def test_interpolation_is_exact_where_no_unit_collapses(beta):
    # The units collapse at beta = 2.67, 5.33 and 10.67.
    point = known([0.25, 0.6, 1.0, 2.6]).at(beta)
    rate, distortion = closed_form([beta])
    assert point.rate == pytest.approx(rate[0], rel=1e-12)
    assert point.distortion == pytest.approx(distortion[0], rel=1e-12)
    assert point.loss == pytest.approx(distortion[0] + beta * rate[0])


def test_interpolation_is_near_where_units_collapse():
    curve = known(np.geomspace(0.1, 20, 30))
    betas = np.geomspace(0.1, 20, 301)
    rate, distortion = closed_form(betas)
    points = [curve.at(min(b, 20.0)) for b in betas]
    np.testing.assert_allclose([p.rate for p in points], rate, atol=0.03)
    np.testing.assert_allclose([p.distortion for p in points], distortion, atol=0.25)


def test_targets_are_solved():
    curve = known([0.25, 0.6, 1.0, 2.6, 16.0])
    # theta of the table of exact targets, of rate and squared error.
    assert curve.at_rate(3.0).beta == pytest.approx(0.270671 / VARIANCE, rel=1e-5)
    constant = 2.5 * np.log(2 * np.pi * VARIANCE)
    place = curve.at_distortion(2.5 / (2 * VARIANCE) + constant)
    assert place.rate == pytest.approx(1.848216, abs=1e-6)
    assert 1 / (2 * place.beta * VARIANCE) == pytest.approx(0.857143, abs=1e-6)


def test_of_several_crossings_the_better_one_is_taken():
    curve = RateDistortionCurve(
        [1.0, 2.0, 4.0, 8.0],
        {"rate": [4.0, 1.0, 3.0, 0.0], "distortion": [1.0, 2.0, 5.0, 9.0]},
        [1, 1, 1, 0],
        latent_dim=1,
        num_examples=10,
    )
    assert 1.0 < curve.at_rate(2.0).beta < 2.0
    assert curve.collapses() == [(4.0, 8.0, 1, 0)]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda c: c.at(0.1), r"`beta` must be in \[0.25, 16\]"),
        (lambda c: c.at_rate(99.0), r"`target` must be a rate in .*target=99.0"),
        (lambda c: c.at_distortion(1.0), r"`target` must be a distortion in "),
        (lambda c: c.recommend("best"), "`purpose` must be one of .*'best'"),
        (lambda c: c.recommend("rate"), "`target` must be given for .*'rate'"),
        (lambda c: c.recommend("active_units", 4), "`target` must be a number of un"),
        (lambda c: c.recommend("code"), "`target` must be a rate of at most"),
        (lambda c: c.compare(known([50.0, 60.0])), "`other` must have weights in"),
        (
            lambda c: known(BETAS, beta=[0.0, *BETAS[1:]]),
            "`beta` must hold positive weights",
        ),
        (lambda c: known([1.0, 1.0]), "`beta` must hold positive weights, each once"),
        (lambda c: known([1.0]).knee, "`betas` must hold two weights or more"),
        (lambda c: known([20.0, 30.0]).knee, "A knee needs a rate that falls"),
        (lambda c: kv.rate_distortion([], X), "`models` must hold at least one"),
        (lambda c: kv.rate_distortion(["vae"], X), "`models` must be a Multi-Rate"),
        (
            lambda c: kv.rate_distortion(optimal(1.0), X, betas=[2.0]),
            "`betas` must be weights of `models`",
        ),
        (
            lambda c: kv.rate_distortion(
                linear.make(objective=kv.objectives.FreeBits()), X
            ),
            "`models` must be a dict, beta to model",
        ),
        (lambda c: kv.rate_distortion(optimal(1.0), [1.0]), "`data` must be an array"),
        (
            lambda c: kv.rate_distortion(optimal(1.0), X, num_samples=0),
            "`num_samples` must be",
        ),
        (
            lambda c: kv.rate_distortion(optimal(1.0), X, num_resamples=0),
            "`num_resamples` must be",
        ),
        (
            lambda c: kv.rate_distortion([optimal(1.0), optimal(1.0)], X),
            "`models` must have one model of each weight",
        ),
        (
            lambda c: kv.rate_distortion(optimal(1.0), X[:, :3]),
            r"`x` must have shape \(batch, 5\)",
        ),
    ],
)
def test_errors(call, message):
    with pytest.raises(ValueError, match=message):
        call(known(BETAS, [3, 3, 3, 3, 2, 1, 0]))


@pytest.mark.parametrize("purpose", ["likelihood", "knee", "active_units"])
def test_no_weight_is_advised_where_a_model_has_diverged(purpose):
    rate, distortion = closed_form(BETAS)
    distortion[2] = np.nan
    curve = RateDistortionCurve(
        BETAS,
        {"rate": rate, "distortion": distortion},
        np.full(len(BETAS), 3),
        latent_dim=3,
        num_examples=len(X),
    )
    with pytest.raises(ValueError, match=r"Leave out the models.* at beta=\[1.0\]"):
        curve.recommend(purpose)


# === Recommended ===


def test_an_interval_is_that_of_the_weight_that_is_taken():
    values = {"rate": [10.3, 9.7, 10.3, 5.0], "distortion": [1.0, 2.0, 3.0, 4.0]}
    noise = np.random.default_rng(0).normal(scale=0.02, size=(400, 4))
    replicates = {n: np.array(v) + noise for n, v in values.items()}
    curve = kv.weighing.RateDistortionCurve(
        [0.1, 0.2, 0.3, 0.4], values, [1] * 4, 2, 100, replicates=replicates
    )
    found = curve.recommend("rate", 10.0)
    low, high = found.interval
    assert low < found.beta < high < 0.2
    # Half of the replicates have no such rate.
    assert curve.recommend("rate", 10.3).interval is None


def test_targets_and_units_are_recommended(measured):
    rate = measured.recommend("rate", 1.5)
    assert rate.beta == pytest.approx(0.735759 / VARIANCE, rel=0.01)
    assert rate.interval[0] < rate.beta < rate.interval[1]
    assert "1.5 nats" in rate.reason
    assert str(rate).startswith("beta = 1.96")
    distortion = measured.recommend("distortion", 6.0)
    assert distortion.point.distortion == pytest.approx(6.0)
    assert distortion.interval[0] < distortion.beta < distortion.interval[1]
    # Units collapse at 2.67, 5.33 and 10.67.
    units = [measured.recommend("active_units", n) for n in (3, 2, 1)]
    assert [u.beta for u in units] == [2.0, 4.0, 8.0]
    assert measured.recommend("active_units").interval == (2.0, 4.0)
    code = measured.recommend("code", 1.5)
    assert (code.beta, code.interval) == (1.0, (1.0, 2.0))
    assert "at 2 it is" in code.reason
    assert measured.recommend("code", 1e-9).interval == (8.0, 16.0)
    assert measured.collapses() == [(2, 4, 3, 2), (4, 8, 2, 1), (8, 16, 1, 0)]


def test_the_likeliest_weight_of_a_unit_normal_is_its_noise():
    # Half the squared error + beta KL is the loss of most code; 1 means nothing there.
    betas = [0.1, 0.35, 0.4, 1.0, 2.0]
    models = {b: linear.optimal(b, VECTORS, scale=1.0, kl_weight=b) for b in betas}
    best = kv.rate_distortion(models, X, num_samples=8).recommend("likelihood")
    assert best.beta == pytest.approx(VARIANCE, rel=0.03)
    assert best.interval[0] < VARIANCE < best.interval[1]


@pytest.mark.parametrize(("spread", "beta"), [(0.0, 0.1), (9.0, 0.45)])
def test_a_weight_of_less_negative_elbo_is_advised_if_the_examples_tell(spread, beta):
    meaning = kv.weighing.Meaning("unit_normal", 4)
    betas, rate = np.array([0.1, 0.25, 1.0]), np.array([1.0, 2.0, 1.5])
    error = np.array([0.12, 0.3, 0.8])
    nats = 2 * (error + np.log(2 * np.pi))
    rates = rate + spread * np.linspace(-1, 1, 50)[:, None] * [1, 0, 0]
    curve = kv.weighing.RateDistortionCurve(
        beta=betas,
        values={"rate": rate, "distortion": nats},
        active_units=[2, 2, 1],
        latent_dim=2,
        num_examples=100,
        replicates={"rate": rates, "distortion": np.broadcast_to(nats, (50, 3))},
        meaning=meaning,
    )
    bound = rate + 2 * (np.log(betas) + error / betas + np.log(2 * np.pi))
    np.testing.assert_allclose(curve.reading.bound, bound)
    best = curve.recommend("likelihood")
    assert best.beta == pytest.approx(beta, rel=0.05)
    assert f"{bound[0]:.2f}" in best.reason
    assert ("cannot tell" in best.reason) == (spread > 0)


def test_the_knee_is_where_the_slope_is_the_mean_one():
    curve = known(np.geomspace(0.1, 20, 60))
    slope = np.ptp(curve.distortion) / np.ptp(curve.rate)
    assert curve.knee.beta == pytest.approx(slope, rel=0.05)
    assert curve.recommend("knee").point == curve.knee


def test_weights_that_the_data_cannot_tell_apart_are_named():
    models = {beta: optimal(beta) for beta in (0.97, 1.0, 1.03, 8.0)}
    curve = kv.rate_distortion(models, X[:60], num_samples=8)
    curve.meaning = None
    best = curve.recommend("likelihood")
    assert best.interval == (0.97, 1.03)
    assert "too few to tell" in best.reason
    assert "does not know its likelihood" in best.reason


# === Compared ===


def test_the_excess_of_a_worse_model_is_its_closed_form():
    # Trained at twice the weight: at 1 the other's rate and distortion cost more.
    worse = {1.0: optimal(2.0)}
    best = kv.rate_distortion({b: optimal(b) for b in (0.5, 1.0, 2.0)}, X)
    comparison = kv.rate_distortion(worse, X).compare(
        kv.rate_distortion({1.0: optimal(1.0)}, X)
    )
    (rate, twice), (distortion, more) = closed_form([1.0, 2.0])
    expected = twice + more - rate - distortion
    assert comparison.excess == pytest.approx([expected], abs=0.1)
    low, high = comparison.error[0]
    assert 0 < low < comparison.excess[0] < high
    assert "1" in comparison.table().splitlines()[1]
    # An optimal curve is nowhere better than itself in between, to first order.
    between = known(BETAS).compare(known([0.7, 1.4, 3.0]))
    assert np.all(between.excess > -1e-12)
    assert np.all(between.excess < 0.1)
    assert between.error is None
    assert best.compare(known([1.0])).error is None


# === Out and in ===


def test_csv_holds_the_same_numbers(measured, tmp_path):
    measured.to_csv(tmp_path / "curve.csv")
    read = RateDistortionCurve.from_csv(tmp_path / "curve.csv")
    for name in ("beta", "rate", "distortion", "negative_elbo", "active_units", "gap"):
        np.testing.assert_array_equal(getattr(read, name), getattr(measured, name))
    assert read.table() == measured.table()
    assert read.recommend("knee").beta == measured.recommend("knee").beta
    assert read.recommend("knee").interval is None
    measured.to_csv(tmp_path / "again.csv")
    assert (tmp_path / "again.csv").read_text() == (tmp_path / "curve.csv").read_text()


def test_another_csv_is_refused(tmp_path):
    (tmp_path / "other.csv").write_text("epoch,loss\n1,2\n")
    with pytest.raises(ValueError, match="`path` must be a file that `to_csv` wrote"):
        RateDistortionCurve.from_csv(tmp_path / "other.csv")


def test_table_shows_half_widths(measured):
    lines = str(measured).splitlines()
    assert len(lines) == 1 + len(BETAS)
    low, high = measured.intervals["rate"][2]
    assert f"{measured.rate[2]:.2f} +-{(high - low) / 2:.2f}" in lines[3]
    assert lines[3].endswith("3 of 3")


def test_picture_shows_the_numbers(measured, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.pyplot", None)
    path = tmp_path / "curve.png"
    figure = measured.plot(path, others={"known": known(BETAS)})
    plane, bound, units = figure.axes
    first, second = plane.get_lines()[0], plane.get_lines()[-1]
    np.testing.assert_array_equal(first.get_xdata(), measured.rate)
    np.testing.assert_array_equal(first.get_ydata(), measured.distortion)
    assert second.get_label() == "known"
    names = [line.get_label() for line in bound.get_lines()]
    assert [name for name in names if not name.startswith("_")] == [
        "\N{MINUS SIGN}ELBO",
        "\N{MINUS SIGN}log p(x)",
        "known, \N{MINUS SIGN}ELBO",
    ]
    np.testing.assert_array_equal(
        units.get_lines()[0].get_ydata(), measured.active_units
    )
    assert bound.get_xscale() == "log"
    assert path.stat().st_size > 10_000

"""The weighing program: on planted curves and data whose answers are known."""

import contextlib
import csv
import io
import itertools
import json
import re

import keras
import numpy as np
import programs
import pytest
import scipy.stats
import tensorflow as tf
from programs import read

import keras_vae as kv
from keras_vae import figures
from trainers import _data
from trainers import _final
from trainers import _progress
from trainers import _resolve
from trainers import _run
from trainers import _settings
from trainers import _weigh_report
from trainers import _weigh_table
from trainers import weigh

run = programs.WEIGH.run


# === Weights ===


def resolved(x, *args):
    settings = programs.WEIGH.parse(*args)
    return _resolve.weigh_on(settings, _data.Data(x, None, x))


def test_range_of_a_normal_is_that_of_its_noise():
    x = np.random.default_rng(0).normal(size=(1000, 6)) * [3, 2, 0.1, 0.1, 0.1, 0.1]
    settings = resolved(x, "--latent_dim=2")
    assert settings.model.likelihood == "normal"
    low, high = settings.weigh.beta_range
    assert (low, high) == kv.weighing.beta_range(x, 2)
    betas = settings.weigh.betas
    assert (len(betas), betas[0], betas[-1]) == (13, low, high)
    assert list(betas) == sorted(betas)


def test_one_is_among_the_weights_of_a_bernoulli():
    # One cause of ten elements, which no weight in the range makes a linear model drop.
    settings = resolved(np.repeat([[0.0], [1.0]], 10, axis=1), "--mode=sweep")
    assert settings.model.likelihood == "bernoulli"
    assert settings.weigh.betas == (0.01, 0.0316, 0.1, 0.316, 1.0, 3.16, 10.0)


# === Flags ===


IMPOSSIBLE = [
    ("--kl_weight=1", "kl_weight"),
    ("--likelihood=laplace", "likelihood.*laplace"),
    ("--beta_range=1", "`--beta_range` must be two weights.*=1$"),
    ("--beta_range=10,0.1", "`--beta_range` must be two weights"),
    ("--beta_range=a,b", "`--beta_range` must be positive numbers.*a,b"),
    ("--beta_range=1e-30,1e30", "`--beta_range` must be .* from 1e-09 to 1e"),
    ("--target_rate=nan", "target_rate=nan: it must be a finite number"),
    ("--betas=0.1", "`--betas` must be two weights or more"),
    ("--betas=0.1,-1", "`--betas` must be positive"),
    ("--betas=0.1,0.1", "each once"),
    ("--betas=0.1,1 --beta_range=0.5,1", "`--betas` must lie within .*0.5 to 1"),
    ("--betas=0.1,1 --export_beta=2", "`--export_beta` must lie .*0.1 to 1: name .*=2"),
    ("--beta_range=0.1,1 --export_beta=2", "0.1 to 1: widen --beta_range.*=2"),
    ("--export_beta=99", "`--export_beta` must lie .*: widen --beta_range.*=99"),
    ("--mode=sweep --betas=0.1,1 --export_beta=9", "one of --betas .*: name it among"),
    ("--mode=sweep --betas=0.1,1 --beta_range=0.1,1", "`--beta_range` must be left"),
    ("--mode=sweep --betas=0.1,1 --export_beta=0.5", "`--export_beta` must be one of"),
    ("--mode=sweep --check", "`--check` must be left out with --mode=sweep"),
    ("--model=ladder --levels=4,2", "`--mode` must be sweep with --model=ladder"),
    ("--num_processes=2", "`--num_processes` must be left out.*--mode=sweep"),
    ("--target_distortion=3", "`--target_distortion` .*normal.*--target_rmse"),
    ("--binarize=static --target_rmse=3", "`--target_rmse` must.*bernoulli"),
    ("--binarize=static --standardize=whole", "`--standardize` must be none with"),
    ("--likelihood=bernoulli --standardize=columns", "`--standardize` must be none"),
    ("--dataset={files}/constant.npy", "`--dataset`=.*no value varies"),
    ("--dataset={files}/text.csv", "`--dataset`=.*'b' holds text, 'red' in row 3"),
    ("--steps_per_execution=99", "at most the 13 steps"),
    ("--num_classes=3", "`--num_classes` must be left out"),
]


@pytest.mark.parametrize(("args", "message"), IMPOSSIBLE)
def test_impossible_flags_fail_before_the_run_directory_exists(
    args, message, files, tmp_path
):
    args = args.format(files=files).split()
    programs.WEIGH.check_refuses(tmp_path / "run", message, *args)


def test_layers_that_cannot_be_gated_are_blamed_on_the_network(tmp_path, monkeypatch):
    layers = [keras.layers.Flatten(), keras.layers.BatchNormalization()]
    monkeypatch.setattr(
        kv.networks, "mlp_encoder", lambda *args, **kwargs: keras.Sequential(layers)
    )
    with pytest.raises(_settings.FlagError, match="`--network`=mlp: .*BatchNorm"):
        programs.WEIGH.prepare(tmp_path)


# === A run ===

BETAS = ("--betas=0.005,0.02,0.5", "--target_rate=1")


def test_the_exported_model_is_polished_at_the_learning_rate_of_the_run(
    tmp_path, monkeypatch
):
    flags = "--learning_rate=0.0123", "--linear_path=random", "--polish=0.5"
    settings, _, data, multi = programs.WEIGH.prepare(
        tmp_path / "run", *programs.WEIGH.small, *flags
    )
    rates = []

    def fit(model, *args, callbacks, **kwargs):
        rates.append(float(model.optimizer.learning_rate))
        callbacks[-1].best, callbacks[-1].best_epoch = np.inf, 0

    monkeypatch.setattr(kv.VAE, "fit", fit)
    monkeypatch.setattr(kv.VAE, "evaluate", lambda *args, **kwargs: {"loss": 1.0})
    with _progress.Progress(1) as progress:
        _final._polished(settings, data, multi, 1.0, progress)
    assert rates == [pytest.approx(0.0123)]


@pytest.fixture(scope="module")
def printed_by_finished():
    return io.StringIO()


@pytest.fixture(scope="module")
def finished(tmp_path_factory, printed_by_finished):
    directory = tmp_path_factory.mktemp("runs") / "digits"
    with contextlib.redirect_stdout(printed_by_finished):
        return directory, run(directory, *BETAS)


@pytest.mark.slow
def test_what_training_and_validation_measure_is_said_once(
    finished, printed_by_finished
):
    printed = printed_by_finished.getvalue()
    said, lines = printed.split("epoch       mean loss", 1)
    assert said.count("draws a weight beta of the KL for each example") == 1
    # The middle of the range.
    assert "The validation rate is that at beta = 0.05 alone" in said
    assert "draws a weight" not in lines
    history = read(finished[0], "history.json")
    for i, row in enumerate(history):
        shown = [row["loss"], row["kl_loss"], row["val_curve_loss"], row["val_kl_loss"]]
        line = next(x for x in lines.splitlines() if x.startswith(f"{i + 1}/2 "))
        assert line.split()[1:5] == [f"{value:.2f}" for value in shown]


def test_run_writes_everything_and_nothing_half(finished):
    directory, text = finished
    assert {path.name for path in directory.iterdir()} == {
        "advice.json",
        "advice.txt",
        "best.keras",
        "best.keras.json",
        "config.json",
        "curve.csv",
        "curve.png",
        "history.csv",
        "history.json",
        "last.keras",
        "metrics.json",
        "model.keras",
        "pictures.png",
        "saved_model",
        "tensorboard",
    }
    for name in ("curve.png", "pictures.png"):
        assert (directory / name).read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"
    assert (directory / "advice.txt").read_text().strip() in text
    assert "Verdict: " in text
    assert f"tensorboard --logdir {directory}" in text


def test_curve_file_has_the_bound_of_each_noise(finished):
    directory, _ = finished
    curve = kv.weighing.RateDistortionCurve.from_csv(directory / "curve.csv")
    assert curve.beta.tolist() == [0.005, 0.02, 0.5]
    with open(directory / "curve.csv", newline="") as file:
        rows = [{k: float(v) for k, v in row.items()} for row in csv.DictReader(file)]
    for row in rows:
        squares = 64 * row["rmse"] ** 2
        assert row["sigma"] ** 2 == pytest.approx(row["beta"])
        assert row["distortion"] == pytest.approx(
            squares / 2 + 32 * np.log(2 * np.pi), rel=1e-6
        )
        normal = scipy.stats.norm(0.0, row["sigma"])
        distortion = -64 * normal.logpdf(row["rmse"])
        assert row["bound"] == pytest.approx(row["rate"] + distortion, rel=1e-6)


def test_exported_model_is_that_of_the_advised_weight(finished):
    directory, _ = finished
    metrics = read(directory, "metrics.json")
    beta, advice = metrics["beta"], read(directory, "advice.json")
    assert beta == pytest.approx(advice[0]["beta"])
    data = _data.load(programs.WEIGH.parse().data, None)
    vae = keras.saving.load_model(directory / "model.keras")
    loaded = tf.saved_model.load(directory / "saved_model")
    x = data.test[:5]
    np.testing.assert_allclose(loaded.serve(x), vae.reconstruct(x), atol=1e-5)
    assert vae.likelihood.scale == pytest.approx(np.sqrt(beta))
    assert type(vae) is kv.VAE
    # It is at least as good on validation data as all that it was chosen from.
    polish = metrics["polish"]
    assert sorted(polish["losses"]) == ["the linear start", "the one run"]
    assert polish["loss"] <= min(polish["losses"].values())
    plain = keras.saving.load_model(directory / "best.keras").at(beta)
    plain.compile()
    x = np.tile(data.validation, (-(-500 // len(data.validation)), 1, 1, 1))
    loss = plain.evaluate(x, batch_size=100, verbose=0, return_dict=True)["loss"]
    assert polish["losses"]["the one run"] == pytest.approx(loss, rel=1e-5)


def test_figures_stand_beside_models_without_a_network(finished):
    directory, text = finished
    found = read(directory, "metrics.json")["baselines"]
    data = _data.load(programs.WEIGH.parse().data, None)
    latent_dim = read(directory, "config.json")["latent_dim"]
    assert found == pytest.approx(kv.baselines(data.train, data.test, latent_dim))
    assert f"probabilistic PCA {found['ppca']:.2f}" in text


def test_tensorboard_shows_curve_pictures_advice_and_weights(finished):
    directory, text = finished
    tags, hparams = set(), []
    for path in directory.glob("tensorboard/weigh/**/events*"):
        for event in tf.compat.v1.train.summary_iterator(str(path)):
            for value in event.summary.value:
                tags.add(value.tag)
                if value.tag == "_hparams_/session_start_info":
                    hparams.append(value.metadata.plugin_data.content)
    assert {"weigh/curve", "weigh/pictures", "weigh/advice"} < tags
    assert {"weigh/rate", "weigh/negative_elbo", "_hparams_/experiment"} < tags
    assert len(hparams) == 3
    assert all(b"beta_norm" in content for content in hparams)
    names = sorted(path.name for path in directory.glob("tensorboard/weigh/*/"))
    assert names == ["1-beta=0.005", "2-beta=0.02", "3-beta=0.5"]
    for name in names:
        trial = name.replace("-", " ", 1).encode()
        assert sum(trial in content for content in hparams) == 1


def test_program_says_what_the_library_says(finished):
    directory, text = finished
    data = _data.load(programs.WEIGH.parse().data, None)
    multi = keras.saving.load_model(directory / "last.keras")
    report = kv.advise(
        multi,
        data.held_out,
        [0.005, 0.02, 0.5],
        target_rate=1.0,
        reference=data.test,
        num_samples=2,
        num_resamples=400,
    )
    assert str(report) in text
    for item, written in zip(report, read(directory, "advice.json"), strict=True):
        content = json.loads(json.dumps(item.to_dict()))
        content["purpose"] = content.pop("title")
        assert written == content
    beta = report["likelihood"].beta
    assert report.curve.recommend("likelihood").beta == beta


@pytest.mark.slow
def test_resume_reports_again_and_may_ask_for_more(finished):
    directory, text = finished
    before = read(directory, "history.json")
    args = (*BETAS, "--resume", "--export_beta=0.5")
    again = run(directory, *args)
    assert read(directory, "history.json") == before
    assert again.split("Exported")[0] == text.split("Exported")[0]
    assert read(directory, "metrics.json")["beta"] == 0.5
    vae = keras.saving.load_model(directory / "model.keras")
    assert vae.likelihood.scale == pytest.approx(np.sqrt(0.5))


def test_resume_with_another_range_is_an_error(finished):
    directory, _ = finished
    with pytest.raises(_settings.FlagError, match=r"--beta_range=.* became"):
        run(directory, "--beta_range=0.005,1", "--resume")
    outside = r"--betas.*are trained, .* a run of others has another --name"
    with pytest.raises(_settings.FlagError, match=outside):
        run(directory, "--betas=1e-6,1", "--resume")


def test_a_resumed_run_keeps_its_range_and_measures_other_weights(finished):
    directory, _ = finished
    low, high = begun = read(directory, "config.json")["beta_range"]
    for betas in ((), (f"--betas={low * 1.1},{high * 0.9}",)):
        args = (*programs.WEIGH.small, *betas, "--resume")
        settings, *_ = programs.WEIGH.prepare(directory, *args)
        assert list(settings.weigh.beta_range) == begun


def test_a_resumed_sweep_may_train_further_weights(tmp_path):
    args = (*programs.WEIGH.small, "--mode=sweep")
    _, begun, _, model = programs.WEIGH.prepare(tmp_path, *args, "--betas=0.1,1")
    with begun.held():
        begun.start(model)
    more = "--betas=0.01,0.1,1", "--resume"
    settings, *_ = programs.WEIGH.prepare(tmp_path, *args, *more)
    assert settings.weigh.betas == (0.01, 0.1, 1.0)


@pytest.mark.slow
def test_resumed_run_ends_as_an_uninterrupted_one(tmp_path):
    whole, resumed = programs.WEIGH.whole_and_resumed(
        tmp_path, *BETAS, "--epochs=3", epoch=2, after="state"
    )
    programs.check_same_json(
        whole, resumed, "history.json", "metrics.json", "advice.json"
    )


@pytest.mark.slow
@pytest.mark.parametrize(
    "args",
    [
        ("--network=conv", "--filters=4", "--betas=0.01,0.1"),
        ("--prior=vamp_prior", "--num_components=5", "--betas=0.01,0.1"),
        ("--prior=gaussian_mixture", "--likelihood=continuous_bernoulli"),
        ("--binarize=dynamic", "--target_distortion=25"),
        ("--posterior=full_covariance_normal", "--validation_fraction=0"),
    ],
    ids=lambda args: args[0],
)
def test_variants_run(args, tmp_path):
    text = run(tmp_path / "run", *args)
    assert "Best likelihood: beta = " in text
    assert np.isfinite(read(tmp_path / "run", "metrics.json")["negative_elbo"])


@pytest.mark.slow
def test_classes_have_their_bound_at_one(tmp_path):
    np.save(tmp_path / "c.npy", np.random.default_rng(0).integers(0, 3, (300, 6)))
    args = (f"--dataset={tmp_path / 'c.npy'}", "--likelihood=categorical")
    run(tmp_path / "run", *args, "--num_classes=3")
    advice = {item["purpose"]: item for item in read(tmp_path / "run", "advice.json")}
    assert advice["Best likelihood"]["beta"] == 1.0


@pytest.mark.slow
def test_tables_are_weighed_in_standardised_units_and_served_in_their_own(tmp_path):
    x = linear_gaussian(300) * np.arange(1, 11)
    np.savetxt(tmp_path / "t.csv", x, delimiter=",", header="a,b", comments="")
    args = (f"--dataset={tmp_path / 't.csv'}", "--export_beta=0.5")
    with pytest.raises(_settings.FlagError, match="equal length"):
        run(tmp_path / "run", *args)
    np.savetxt(tmp_path / "t.csv", x, delimiter=",")
    text = run(tmp_path / "run", *args)
    scaling = read(tmp_path / "run", "scaling.json")
    assert len(scaling["scale"]) == 10
    metrics = read(tmp_path / "run", "metrics.json")
    nats = np.log(scaling["scale"]).sum()
    assert metrics["negative_elbo"] == pytest.approx(
        metrics["standardized_negative_elbo"] + nats
    )
    assert "Densities are of the data in their own units" in text
    served = tf.saved_model.load(tmp_path / "run" / "saved_model")
    drawn = np.std(served.generate_with_noise(n=2000, seed=1), axis=0)
    np.testing.assert_allclose(drawn / x.std(axis=0), 1, atol=0.25)
    bound = np.mean([served.negative_elbo(np.float32(x), s) for s in range(5)])
    assert bound == pytest.approx(metrics["negative_elbo"], abs=2.0)
    advice = read(tmp_path / "run", "advice.json")
    assert advice[0]["units"]["data_sigma"] is None


# === Words and pictures ===


def test_columns_of_the_table_stay_apart_above_a_thousand_nats():
    curve = kv.weighing.RateDistortionCurve(
        [0.1, 1.0, 10.0],
        {
            "rate": [12345678.901, 20.0, 1.0],
            "distortion": [-1234567.891, 4.0, 123456789.123],
        },
        [2, 2, 1],
        2,
        100,
        replicates={
            "rate": np.full((5, 3), 1.0),
            "distortion": np.linspace(0, 123456, 5)[:, None] * np.ones((1, 3)),
        },
        meaning=kv.weighing.Meaning("bernoulli", 4),
    )
    x = np.zeros((3, 4))
    table = _weigh_table.text(curve, _data.Data(x, x, x))
    for text in (table.split("\n", 1)[1], str(curve), str(curve.compare(curve))):
        rows = [re.split(r" {3,}", line.strip()) for line in text.splitlines()]
        assert {len(row) for row in rows[:4]} == {len(rows[0])}
        assert len({len(line) for line in text.splitlines()[:4]}) == 1
    assert table.splitlines()[2].split() == [
        *("0.1", "12345678.90", "-1234567.89", "11111111.01", "+-58641.60"),
        *("2", "of", "2"),
    ]


def lab(color):
    """Lightness and two opposed colors of a color, in which distances are seen."""
    rgb = np.array([int(color[i : i + 2], 16) / 255 for i in (1, 3, 5)])
    rgb = np.where(rgb > 0.04045, ((rgb + 0.055) / 1.055) ** 2.4, rgb / 12.92)
    to_xyz = [
        [0.4124, 0.3576, 0.1805],
        [0.2126, 0.7152, 0.0722],
        [0.0193, 0.1192, 0.95],
    ]
    x, y, z = np.cbrt(np.array(to_xyz) @ rgb / [0.9505, 1.0, 1.089])
    return np.array([116 * y - 16, 500 * (x - y), 200 * (y - z)])


def test_lines_of_the_curve_have_colors_that_differ():
    colors = [*_weigh_report._COLORS, figures.drawing.BLUE]
    places = [lab(color) for color in colors]
    distances = [np.linalg.norm(a - b) for a, b in itertools.combinations(places, 2)]
    # Those before had a green and a teal 21 apart.
    assert min(distances) > 30
    assert len(_weigh_report._COLORS) >= 6


@pytest.mark.parametrize(
    ("betas", "marked", "expected"),
    [
        (range(1, 14), {6.5: 1, 7: 2}, [1, 4, 6.5, 7, 13]),
        (range(1, 14), {0.2: 1}, [0.2, 4, 7, 10, 13]),
        ((1, 2), {1: 1, 2: 2}, [1, 2]),
        ((1, 10), {3.0: 1, 2.9: 2}, [2.9, 3.0]),
        ((1, 2, 3), {2: 1}, [1, 2, 3]),
    ],
)
def test_pictures_have_the_weights_of_export_and_samples(betas, marked, expected):
    assert _weigh_report._pictured(tuple(betas), marked) == expected


# === Sweeps ===


@pytest.mark.slow
def test_sweep_goes_on_after_its_last_model(tmp_path, monkeypatch, capsys):
    args = ("--mode=sweep", "--betas=0.1,1", "--binarize=static")
    replaced, done = _run.replaced, []

    def killed(path):
        if path.parent.name == "models":
            if done:
                raise programs.Killed
            done.append(path.name)
        return replaced(path)

    with monkeypatch.context() as patch:
        patch.setattr(_run, "replaced", killed)
        with pytest.raises(programs.Killed):
            run(tmp_path, *args)
    models = tmp_path / "models"
    assert [path.name for path in models.iterdir()] == ["beta-0.1.keras"]
    first = (models / "beta-0.1.keras").read_bytes()

    capsys.readouterr()
    text = run(tmp_path, *args, "--resume")
    printed = capsys.readouterr().out
    assert "1 of 2 models of one weight are done\n" in printed
    assert "epochs are done" not in printed
    assert (models / "beta-0.1.keras").read_bytes() == first
    assert read(tmp_path, "metrics.json")["beta"] == 1.0
    assert "Best likelihood: beta = 1\n" in text
    loaded = keras.saving.load_model(models / "beta-1.keras")
    assert loaded.objective.kl_weight.initial_value == 1.0
    programs.check_same_weights(models / "beta-1.keras", tmp_path / "model.keras")


@pytest.mark.slow
def test_a_ladder_is_swept_and_exported_in_the_units_of_the_data(tmp_path):
    x = np.random.default_rng(0).normal(300.0, 20.0, (200, 1)) + np.zeros((1, 6))
    np.savez(tmp_path / "mine.npz", np.float32(x))
    args = f"--dataset={tmp_path / 'mine.npz'} --mode=sweep --betas=0.1,1"
    args += " --model=ladder --levels=2,2 --epochs=2 --batch_size=60"
    parts = programs.parse_weigh, weigh.prepare, weigh.weigh
    program = programs.Program(*parts, ("--hidden=8,6", "--eval_samples=2"))
    assert "nats" in program.run(tmp_path / "run", *args.split())
    model = keras.saving.load_model(tmp_path / "run" / "model.keras")
    assert [latent.shape for latent in model.latents] == [(2,), (2,)]
    assert 200 < float(np.mean(model.generate(9, seed=0))) < 400
    metrics = read(tmp_path / "run", "metrics.json")
    assert set(metrics["rate_of_levels"]) == {"level_1", "level_2"}


def test_a_model_behind_those_without_a_network_says_so_first(tmp_path):
    options = "--linear_path=none", "--epochs=1", "--polish=0"
    text = run(tmp_path, "--betas=0.01,0.1", *options)
    metrics = read(tmp_path, "metrics.json")
    best = min(metrics["baselines"].values())
    assert metrics["negative_elbo"] > best + 0.5
    first = text.lstrip().partition("\n")[0]
    assert first.startswith("A model without a network is better")
    assert f"{best:.2f} nats" in first
    assert f"{metrics['negative_elbo']:.2f}" in first


@pytest.mark.slow
def test_a_linear_model_that_wins_a_sweep_is_in_its_pictures(tmp_path, monkeypatch):
    drawn = []
    monkeypatch.setattr(
        figures, "by_weight", lambda *args, **kwargs: drawn.append((args, kwargs))
    )
    monkeypatch.setattr(_weigh_report, "_show", lambda *args: None)
    text = run(tmp_path, "--mode=sweep", "--betas=0.01,0.1,1", "--epochs=2")
    assert "The linear model wins" in text
    ((_, x, decoded, _, names), _) = drawn[0]
    exported = [i for i, name in enumerate(names) if _weigh_report._EXPORTED in name]
    vae = keras.saving.load_model(tmp_path / "model.keras")
    np.testing.assert_allclose(decoded[exported[0]], vae.reconstruct(x), atol=1e-5)


@pytest.mark.slow
def test_processes_train_the_models_that_one_process_trains(tmp_path):
    args = ("--mode=sweep", "--betas=0.1,1,2", "--binarize=static")
    run(tmp_path / "one", *args)
    run(tmp_path / "two", *args, "--num_processes=2")
    one, two = tmp_path / "one" / "models", tmp_path / "two" / "models"
    for name in ("beta-0.1.keras", "beta-1.keras", "beta-2.keras"):
        programs.check_same_weights(one / name, two / name, atol=1e-4)


# === Planted data ===


def linear_gaussian(number):
    """Three directions and a noise of 0.5, far from 0."""
    generator = np.random.default_rng(0)
    directions = generator.normal(size=(3, 10))
    z = generator.normal(size=(number, 3))
    return 2 + z @ directions + 0.5 * generator.normal(size=(number, 10))


def binary(number):
    """Bernoulli draws of a logistic factor model."""
    generator = np.random.default_rng(1)
    logits = generator.normal(size=(number, 3)) @ generator.normal(0, 2, (3, 20))
    return (generator.uniform(size=logits.shape) < 1 / (1 + np.exp(-logits))) * 1.0


def grey(number):
    """Images of two factors in [0, 1] under a noise of 0.05."""
    generator = np.random.default_rng(2)
    means = np.tanh(generator.normal(size=(number, 2)) @ generator.normal(size=(2, 64)))
    x = 0.5 + 0.2 * means + 0.05 * generator.normal(size=means.shape)
    assert 0 <= x.min() <= x.max() <= 1
    return x.reshape(-1, 8, 8, 1)


def planted(tmp_path, make, *args):
    """Runs the program as it is on planted data; returns its first advice."""
    path = tmp_path / "planted.npy"
    np.save(path, make(4000).astype("float32"))
    args = (f"--dataset={path}", "--hidden=64,64", "--latent_dim=5", *args)
    programs.WEIGH.run_as_it_is(tmp_path / "run", *args)
    return read(tmp_path / "run", "advice.json")[0]


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_planted_linear_gaussian_noise_is_found(tmp_path):
    advice = planted(tmp_path, linear_gaussian)
    assert advice["units"]["data_sigma"] == pytest.approx(0.5, rel=0.05)


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_planted_binary_data_have_their_bound_at_one(tmp_path):
    advice = planted(tmp_path, binary)
    assert advice["beta"] == 1.0
    assert "sigma" in advice["units"]["remark"]
    assert read(tmp_path / "run", "config.json")["likelihood"] == "bernoulli"


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_planted_noise_of_grey_images_is_found(tmp_path):
    advice = planted(tmp_path, grey)
    assert advice["units"]["sigma"] == pytest.approx(0.05, rel=0.05)
    assert "no likelihood" in advice["reason"]


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_cross_entropy_of_grey_images_is_called_no_likelihood(tmp_path):
    advice = planted(tmp_path, grey, "--likelihood=bernoulli")
    assert "no likelihood" in advice["reason"]
    assert "a normal likelihood" in advice["reason"]
    # What it advises makes the error of the means that of the noise.
    with open(tmp_path / "run" / "curve.csv", newline="") as file:
        rows = {float(r["beta"]): float(r["sigma"]) for r in csv.DictReader(file)}
    assert rows[advice["beta"]] == pytest.approx(0.05, rel=0.1)


@pytest.mark.slow
def test_check_compares_with_models_of_one_weight(tmp_path):
    text = run(tmp_path, "--check", "--betas=0.01,0.1,0.5", "--epochs=30")
    assert "Check: " in text
    assert len(list((tmp_path / "models").iterdir())) == 3
    table = text.split("excess (nats)\n")[1].split("\n\n")[0]
    excess = [float(line.split()[1]) for line in table.splitlines()[:3]]
    assert all(abs(one) < 2.0 for one in excess)

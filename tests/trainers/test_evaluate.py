"""Saved models on data: the figures of the training program, and the likelihood."""

import json
import shutil

import keras
import numpy as np
import pandas as pd
import programs
import pytest
import tensorflow as tf

import keras_vae as kv
from trainers import _files
from trainers import _flags
from trainers import _program
from trainers import _progress
from trainers import _resolve
from trainers import _settings
from trainers import _sources
from trainers import _units
from trainers import evaluate

SMALL = ("--batch_size=300", "--eval_samples=2")


@pytest.fixture(scope="module")
def digits(tmp_path_factory):
    """A run of the training program, and what it prints."""
    directory = tmp_path_factory.mktemp("runs") / "digits"
    return directory, programs.TRAIN.run(directory, "--epochs=2")


@pytest.mark.slow
def test_table_is_that_of_the_training_program(digits):
    directory, text = digits
    found = programs.evaluated(f"--model={directory / 'best.keras'}", *SMALL)
    table = text.split("Verdict: ")[0].strip()
    assert table.startswith("Test split, 360 examples, 2 draws")
    assert found.strip().startswith(table)
    assert "Verdict: " in found


def test_output_has_the_figures_the_likelihood_and_the_diagnosis(digits, tmp_path):
    directory, _ = digits
    path = directory / "best.keras"
    output = tmp_path / "figures.json"
    args = (*SMALL, "--importance_samples=20", "--seed=3", f"--output={output}")
    text = programs.evaluated(f"--model={path}", *args)
    content = json.loads(output.read_text())
    metrics = json.loads((directory / "metrics.json").read_text())
    assert content.pop("model") == str(path)
    assert metrics.pop("model") == "best.keras"
    # Of the data that choose, not of the test split.
    assert "verdict" in metrics.pop("diagnosis")
    # The draws of z are those of --seed.
    baselines = content.pop("baselines"), metrics.pop("baselines")
    assert baselines[0] == pytest.approx(baselines[1], rel=2e-3)
    assert {name: content[name] for name in metrics} == pytest.approx(metrics)
    model, (_, test) = keras.saving.load_model(path), kv.datasets.digits()
    expected = -model.log_likelihood(test, num_samples=20, seed=3, verbose=0).mean()
    assert content["negative_log_likelihood"] == pytest.approx(float(expected))
    assert f"-log p, k=20  {expected:10.2f}" in text
    assert content["negative_log_likelihood"] < content["negative_elbo"]
    assert content["diagnosis"] == kv.diagnose(model, test, seed=3).to_dict()
    assert list(tmp_path.iterdir()) == [output]


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    """Columns of unlike units, and a run on them."""
    directory = tmp_path_factory.mktemp("table")
    x = np.random.default_rng(0).normal(size=(200, 3)) * [1, 100, 5] + [3, -7, 0]
    np.savetxt(directory / "t.csv", x, delimiter=",")
    dataset = f"--dataset={directory / 't.csv'}"
    args = (dataset, "--epochs=2", "--warmup=1", "--batch_size=50")
    args += ("--standardize=columns",)
    text = programs.TRAIN.run(directory / "run", *args)
    (directory / "printed.txt").write_text(text)
    return directory, dataset


@pytest.mark.slow
def test_figures_and_models_are_of_the_data_in_their_own_units(table, tmp_path):
    directory, dataset = table
    run = directory / "run"
    metrics = json.loads((run / "metrics.json").read_text())
    scaling = json.loads((run / "scaling.json").read_text())
    nats = np.log(scaling["scale"]).sum()
    assert metrics["negative_elbo"] == pytest.approx(
        metrics["standardized_negative_elbo"] + nats
    )
    text = (directory / "printed.txt").read_text()
    assert f"-ELBO         {metrics['negative_elbo']:10.2f}" in text
    standardized = f"{metrics['standardized_negative_elbo']:.2f}"
    assert f"own units; -ELBO of standardised data is {standardized}\n" in text
    raw = np.loadtxt(directory / "t.csv", delimiter=",", dtype="float32")
    # Rows of which the held-out ones are among.
    own = keras.saving.load_model(run / "model.keras")
    best = keras.saving.load_model(run / "best.keras")
    x = np.float32((raw - scaling["mean"]) / scaling["scale"])
    np.testing.assert_allclose(own.encode(raw)[0], best.encode(x)[0], atol=1e-4)
    output = tmp_path / "figures.json"
    args = (dataset, "--batch_size=50", "--eval_samples=2", f"--output={output}")
    for name in ("best.keras", "model.keras"):
        said = programs.evaluated(
            f"--model={run / name}", *args, "--importance_samples=5"
        )
        content = json.loads(output.read_text())
        for key in ("negative_elbo", "standardized_negative_elbo", "distortion"):
            assert content[key] == pytest.approx(metrics[key], rel=1e-4), (name, key)
        bound = content["negative_log_likelihood"]
        assert bound == pytest.approx(content["negative_elbo"], abs=1.0)
        nats = content["diagnosis"]["evidence"]["negative_elbo"]
        assert nats == pytest.approx(content["negative_elbo"], abs=1.0)
        assert f"-log p, k=5   {content['negative_log_likelihood']:10.2f}" in said
        # An older SavedModel is replaced.
        said = programs.exported(
            f"--model={run / name}", f"--output={tmp_path / 'out'}"
        )
        assert "in the data's own units" in said
        served = tf.saved_model.load(tmp_path / "out")
        np.testing.assert_allclose(
            served.serve(raw), own.reconstruct(raw), rtol=1e-4, atol=1e-4
        )
    served = tf.saved_model.load(run / "saved_model")
    spread = np.std(served.generate_with_noise(n=500, seed=1), axis=0)
    assert (spread > 0.5 * np.array(scaling["scale"])).all()
    np.testing.assert_allclose(
        served.encode(raw)["mean"], own.encode(raw)[0], atol=1e-5
    )


def test_data_get_the_units_of_the_run_that_the_model_lies_in(table, tmp_path):
    directory, dataset = table
    output = tmp_path / "figures.json"
    args = (dataset, "--batch_size=50", "--eval_samples=2", f"--output={output}")
    programs.evaluated(f"--model={directory / 'run' / 'best.keras'}", *args)
    metrics = json.loads((directory / "run" / "metrics.json").read_text())
    content = json.loads(output.read_text())
    assert content["negative_elbo"] == pytest.approx(metrics["negative_elbo"])
    # Elsewhere the data are taken as they are.
    model = keras.saving.load_model(directory / "run" / "best.keras")
    model.save(tmp_path / "alone.keras")
    programs.evaluated(f"--model={tmp_path / 'alone.keras'}", *args)
    raw = json.loads(output.read_text())["negative_elbo"]
    assert raw > 10 * metrics["standardized_negative_elbo"]
    columns = "--standardize=columns"
    programs.evaluated(f"--model={tmp_path / 'alone.keras'}", *args, columns)
    again = json.loads(output.read_text())["negative_elbo"]
    assert again == pytest.approx(metrics["negative_elbo"])


def test_data_are_not_standardised_twice(table, digits):
    directory, dataset = table
    own = f"--model={directory / 'run' / 'model.keras'}"
    for units in ("whole", "columns", "noise"):
        with pytest.raises(
            _settings.FlagError, match="`--standardize` must be left out"
        ):
            programs.evaluated(own, dataset, f"--standardize={units}")
    with pytest.raises(_settings.FlagError, match="likelihood has units of its own"):
        programs.evaluated(f"--model={digits[0]}/best.keras", "--standardize=whole")


def test_help_says_which_units_are_chosen():
    def text(define):
        return _resolve.parsed(define, [])["standardize"].help

    assert "auto is that of the model's run" in text(_flags.define_evaluate)
    assert "auto is noise for a table" in text(_flags.define_train)


@pytest.fixture(scope="module")
def swept(table):
    """The first models of a sweep of columns of unlike units, and their data."""
    directory, dataset = table
    args = (dataset, "--mode=sweep", "--betas=0.1,1", "--standardize=columns")
    args += (*programs.WEIGH.small, "--batch_size=50")
    session = settings, run, data, _ = programs.WEIGH.prepare(
        directory / "sweep", *args
    )
    with run.held(), _progress.Progress(4) as progress:
        _program.start(*session)
        _sources.train_each(settings, run, data, settings.weigh.betas, progress)
    return run.path / "models" / "beta-0.1.keras", dataset, data


def test_a_model_of_a_sweep_has_the_units_and_the_noise_of_its_run(swept, tmp_path):
    path, dataset, data = swept
    output = tmp_path / "figures.json"
    args = (dataset, "--batch_size=50", "--eval_samples=50", f"--output={output}")
    programs.evaluated(f"--model={path}", *args)
    content = json.loads(output.read_text())
    trained = keras.saving.load_model(path)
    own = kv.weighing.with_own_noise(trained, 0.1)
    own = kv.in_original_units(own, _units.normalization(data.scaling))
    raw = data.scaling.undo(data.test).astype("float32")
    expected = -own.elbo(raw, num_samples=200).numpy().mean()
    assert content["negative_elbo"] == pytest.approx(expected, abs=0.3)
    assert content["kl_weight"] == 1.0
    said = programs.exported(f"--model={path}", f"--output={tmp_path / 'out'}")
    assert "in the data's own units" in said
    served = tf.saved_model.load(tmp_path / "out")
    bounds = [served.negative_elbo(x=raw, seed=seed).numpy() for seed in range(50)]
    assert np.mean(bounds) == pytest.approx(expected, abs=0.5)


@pytest.fixture(scope="module")
def multi(tmp_path_factory):
    """A Multi-Rate VAE in a file, of a normal of unit noise."""
    model = kv.MultiRateVAE(
        kv.networks.mlp_encoder([8]),
        kv.networks.mlp_decoder([8], (8, 8, 1)),
        2,
        likelihood="unit_normal",
        beta_range=(0.01, 2.0),
        seed=0,
    )
    model.build((None, 8, 8, 1))
    model.compile("adam")
    path = tmp_path_factory.mktemp("multi") / "multi.keras"
    model.save(path)
    return path


def test_a_weight_of_a_multi_rate_vae_has_its_own_noise(multi, tmp_path):
    output = tmp_path / "figures.json"
    args = (f"--model={multi}", "--beta=0.09", *SMALL, f"--output={output}")
    programs.evaluated(*args)
    content = json.loads(output.read_text())
    model = keras.saving.load_model(multi, compile=False)
    _, test = kv.datasets.digits()
    curve = kv.rate_distortion({0.09: model.at(0.09)}, test, num_samples=20)
    assert content["rate"] == pytest.approx(curve.rate[0], rel=1e-3)
    assert content["negative_elbo"] == pytest.approx(curve.reading.bound[0], rel=0.01)
    assert content["kl_weight"] == 1.0


@pytest.mark.parametrize(
    ("args", "message"),
    [
        ("", "`--model` must be given"),
        ("--model=absent.keras", "`--model` must be a file that exists.*absent.keras"),
        ("--model={tmp}/text.keras", "`--model` must be a complete .keras file"),
        ("--model={tmp}/dense.keras", "`--model` must hold a keras_vae.VAE.*Sequent"),
        ("--model={digits} --beta=1", "`--beta` must be left out"),
        (
            "--model={multi}",
            "`--beta` must say which .* 0.01 to 2. Received: no --beta",
        ),
        ("--model={multi} --beta=9", "`--beta` must say which .*=9"),
        ("--model={digits} --dataset=absent.npy", "`--dataset`=absent.npy: "),
        (
            "--model={digits} --dataset={tmp}/six.npy",
            r"`--dataset` must have examples of shape \(8, 8, 1\).*shape \(6,\)",
        ),
        (
            "--model={digits} --dataset={tmp}/far.npy",
            r"`--dataset` must suit the likelihood .*\[0, 1\]",
        ),
        (
            "--model={digits} --output={tmp}/none/x.json",
            "`--output` must be a file in a directory that exists",
        ),
        ("--model={digits} --output={tmp}", "`--output` must be a file in a directory"),
        (
            "--model={digits} --dataset=",
            "`--dataset`=: `name` must be .*name=''",
        ),
        ("--model={digits} --eval_samples=0", "eval_samples"),
        ("--model={digits} --importance_samples=-1", "importance_samples"),
        ("--model={digits} --likelihood=normal", "likelihood"),
        (
            "--model={digits} --binarize=static --standardize=whole",
            "`--standardize` must be none with --binarize=static",
        ),
    ],
)
def test_errors_are_one_line_that_names_the_flag(
    args, message, digits, multi, tmp_path
):
    (tmp_path / "text.keras").write_text("no archive")
    keras.Sequential([keras.layers.Input((2,)), keras.layers.Dense(1)]).save(
        tmp_path / "dense.keras"
    )
    np.save(tmp_path / "six.npy", np.random.default_rng(0).uniform(size=(30, 6)))
    np.save(
        tmp_path / "far.npy", 9 * np.random.default_rng(0).uniform(size=(30, 8, 8, 1))
    )
    places = {"tmp": tmp_path, "digits": digits[0] / "best.keras", "multi": multi}
    with pytest.raises(_settings.FlagError, match=message) as error:
        programs.evaluated(*args.format(**places).split())
    assert "\n" not in str(error.value).strip()


def test_folders_of_images_have_the_channels_of_the_model(digits, tmp_path):
    for i in range(9):
        image = np.repeat(np.eye(8)[..., None], 3, axis=-1)
        keras.utils.save_img(tmp_path / f"{i}.png", 255 * image, scale=False)
    args = f"--model={digits[0] / 'best.keras'}", f"--dataset={tmp_path}"
    parsed = _resolve.parsed(_flags.define_evaluate, args)
    data = evaluate.prepare(_resolve.evaluate(parsed))[2]
    assert data.test.shape[1:] == (8, 8, 1)
    with pytest.raises(_settings.FlagError, match=r"examples have shape \(8, 8, 3\)"):
        programs.evaluated(*args, "--nograyscale")


def test_a_scaling_of_other_columns_is_named(table, tmp_path):
    directory, _ = table
    np.save(tmp_path / "six.npy", np.random.default_rng(0).normal(size=(30, 6)))
    with pytest.raises(_settings.FlagError, match="`--dataset` must have the shape"):
        programs.evaluated(
            f"--model={directory / 'run' / 'best.keras'}",
            f"--dataset={tmp_path / 'six.npy'}",
        )


def test_the_program_ends_with_one_line(digits):
    def refuse():
        raise _settings.FlagError("`--model` must be given")

    with pytest.raises(SystemExit, match="^`--model` must be given$"):
        _program.main("evaluate", ["evaluate"], refuse, evaluate.evaluate)


# === Columns ===

NAMES = ["length", "mass", "age"]


@pytest.fixture(scope="module")
def named(tmp_path_factory):
    """A run on a table with names, of a model that is not trained, and the table."""
    directory = tmp_path_factory.mktemp("named")
    x = np.random.default_rng(0).normal(size=(60, 3)) * [1, 100, 5] + [3, -7, 0]
    frame = pd.DataFrame(x, columns=NAMES)
    frame.to_csv(directory / "t.csv", index=False)
    dataset = f"--dataset={directory / 't.csv'}"
    programs.TRAIN.begin(directory / "run", dataset, "--standardize=columns")
    return directory / "run" / "best.keras", frame


def figures(path, dataset, output, *args):
    """Evaluates; returns what is printed and the figures."""
    args = (f"--dataset={dataset}", "--eval_samples=2", *args)
    said = programs.evaluated(f"--model={path}", *args, f"--output={output}")
    return said, json.loads(output.read_text())


def test_columns_are_put_in_the_order_of_the_model(named, tmp_path):
    path, frame = named
    frame.to_csv(tmp_path / "same.csv", index=False)
    frame[["age", "length", "mass"]].to_csv(tmp_path / "moved.csv", index=False)
    output = tmp_path / "figures.json"
    said, expected = figures(path, tmp_path / "same.csv", output)
    assert "order of the model" not in said
    said, found = figures(path, tmp_path / "moved.csv", output)
    assert "put in the order of the model: 'length', 'mass', 'age'.\n" in said
    for name in ("negative_elbo", "rate", "baselines"):
        assert found[name] == pytest.approx(expected[name], rel=1e-5)
    # Columns without names stand in the order of the file.
    np.save(tmp_path / "same.npy", frame.to_numpy())
    said, found = figures(path, tmp_path / "same.npy", output)
    assert found["negative_elbo"] == pytest.approx(expected["negative_elbo"], rel=1e-5)


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        (["mass"], "'length', 'mass', 'age'. Received: .*lacks 'length', 'age'$"),
        (
            ["length", "mass", "year"],
            "lacks 'age', and has 'year'$",
        ),
        (
            [*NAMES, "id", "year"],
            "which has 'id', 'year' too: leave them out, --drop_columns=id,year$",
        ),
    ],
)
def test_other_columns_are_named(columns, message, named, tmp_path):
    path, frame = named
    others = frame.assign(id=frame["mass"] + 0.5, year=frame["age"] * 2)
    others[columns].to_csv(tmp_path / "other.csv", index=False)
    with pytest.raises(_settings.FlagError, match=message):
        figures(path, tmp_path / "other.csv", tmp_path / "figures.json")


def test_a_column_is_not_repeated(named, tmp_path):
    path, frame = named
    frame[["mass"]].to_csv(tmp_path / "one.csv", index=False, header=False)
    np.save(tmp_path / "one.npy", frame[["mass"]].to_numpy())
    for name in ("one.csv", "one.npy"):
        with pytest.raises(
            _settings.FlagError, match=r"`--dataset` must have .*\(1,\)"
        ):
            figures(path, tmp_path / name, tmp_path / "figures.json")


def test_values_without_a_finite_bound_are_named(named, tmp_path):
    path, frame = named
    (frame * 1e30).to_csv(tmp_path / "far.csv", index=False)
    with pytest.raises(_settings.FlagError, match="of these -ELBO is (inf|nan). Rece"):
        figures(path, tmp_path / "far.csv", tmp_path / "figures.json")


@pytest.mark.parametrize(
    "content",
    [
        {"mean": [0, 0, 0]},
        {"mean": [0, 0, 0], "scale": [1, 1, 0]},
        {"mean": [0, 0], "scale": [1, 1, 1]},
        {"mean": "x", "scale": [1, 1, 1]},
    ],
)
def test_units_that_are_none_name_their_file(content, named, tmp_path):
    shutil.copy(named[0], tmp_path / "best.keras")
    scaling = tmp_path / "scaling.json"
    scaling.write_text(json.dumps(content))
    dataset = f"--dataset={named[0].parents[1] / 't.csv'}"
    message = f"{scaling} must hold mean and scale of .* Remove it to take"
    with pytest.raises(_files.FileError, match=message):
        programs.evaluated(f"--model={tmp_path / 'best.keras'}", dataset)


# === Flags of the run ===


@pytest.fixture(scope="module")
def binarized(tmp_path_factory):
    """A run on one of two arrays, binarised, of a model that is not trained."""
    directory = tmp_path_factory.mktemp("binarized")
    x = np.random.default_rng(0).uniform(size=(60, 6))
    np.savez(directory / "two.npz", one=x[:, :4], two=x)
    args = (f"--dataset={directory / 'two.npz'}", "--key=two", "--binarize=dynamic")
    programs.TRAIN.begin(directory / "run", *args, "--validation_fraction=0.5")
    return directory / "run" / "best.keras", x


def test_flags_of_the_data_are_those_of_the_run(binarized, tmp_path):
    path, x = binarized
    output, dataset = tmp_path / "figures.json", path.parents[1] / "two.npz"
    given = "--key=two", "--binarize=dynamic", "--validation_fraction=0.5"
    said, expected = figures(path, dataset, output, *given)
    assert "As in the run" not in said
    args = (f"--model={path}", "--eval_samples=2", f"--output={output}")
    said = programs.evaluated(*args)
    assert json.loads(output.read_text()) == expected
    assert said.startswith(f"As in the run in {path.parent}: --dataset={dataset} --key")
    for flag in given:
        assert f" {flag}" in said.partition("\n")[0]
    assert "not the data of the run" not in said
    # Those that are given count, and those of another kind of file are left out.
    with pytest.raises(_settings.FlagError, match=r"examples of shape \(6,\)"):
        programs.evaluated(*args, "--key=one")
    np.save(tmp_path / "far.npy", 9 * x)
    message = f"`--binarize`=dynamic: .*[.] As in the run in {path.parent}: --bin"
    with pytest.raises(_settings.FlagError, match=message):
        programs.evaluated(*args, f"--dataset={tmp_path / 'far.npy'}")
    programs.evaluated(*args, "--binarize=none")
    assert json.loads(output.read_text())["binarize"] == "none"
    np.save(tmp_path / "two.npy", np.round(x[::-1]))
    said, found = figures(path, tmp_path / "two.npy", output)
    assert (found["key"], found["binarize"]) == (None, "dynamic")
    assert "These are not the data of the run: their test split" in said


def test_a_run_whose_data_are_gone_asks_for_others(tmp_path):
    np.save(tmp_path / "x.npy", np.random.default_rng(0).uniform(size=(60, 6)))
    programs.TRAIN.begin(tmp_path / "run", f"--dataset={tmp_path / 'x.npy'}")
    (tmp_path / "x.npy").unlink()
    with pytest.raises(_settings.FlagError, match="`--dataset` must be given, because"):
        programs.evaluated(f"--model={tmp_path / 'run' / 'best.keras'}")


def test_columns_that_the_run_left_out_may_be_missing(tmp_path):
    x = np.random.default_rng(0).normal(size=(60, 3))
    frame = pd.DataFrame(x, columns=NAMES).assign(name="text", place="here")
    frame.to_csv(tmp_path / "t.csv", index=False)
    dataset = f"--dataset={tmp_path / 't.csv'}"
    run, drop = tmp_path / "run", "--drop_columns=name,place"
    programs.TRAIN.begin(run, dataset, drop, "--standardize=columns")
    output, found = tmp_path / "figures.json", []
    for columns in (list(frame), NAMES, ["name", *NAMES]):
        frame[columns].to_csv(tmp_path / "new.csv", index=False)
        found.append(figures(run / "best.keras", tmp_path / "new.csv", output)[1])
    assert [one["drop_columns"] for one in found] == [["name", "place"], None, ["name"]]
    elbos = [one["negative_elbo"] for one in found]
    assert elbos[1:] == pytest.approx(elbos[:1] * 2, rel=1e-5)


def test_a_model_of_sentences_is_refused(tmp_path):
    vocabulary = kv.datasets.Vocabulary.of(kv.datasets.grammar(20, seed=1))
    vae = kv.SentenceVAE(vocabulary, latent_dim=2, units=4, embedding_dim=4, seed=0)
    vae.save(tmp_path / "vae.keras")
    with pytest.raises(_settings.FlagError, match="`--model` must be of numbers"):
        programs.evaluated(f"--model={tmp_path / 'vae.keras'}")

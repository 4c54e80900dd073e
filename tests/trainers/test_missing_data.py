"""Tables with gaps: trained on what is there, evaluated, and filled in."""

import json

import keras
import numpy as np
import pandas as pd
import programs
import pytest

import keras_vae as kv
from keras_vae import datasets
from keras_vae import normalization
from trainers import _data
from trainers import _resolve
from trainers import _settings
from trainers import evaluate

COLUMNS = ["length", "width", "mass", "age"]
SCALES, MEANS = np.array([1.0, 10.0, 100.0, 0.1]), np.array([0.0, 5.0, 300.0, 1.0])
FLAGS = ("--missing=nan_with_mask", "--standardize=columns")


def numbers():
    generator = np.random.default_rng(0)
    x = generator.normal(size=(200, 2)) @ generator.normal(size=(2, 4))
    x += generator.normal(scale=0.2, size=x.shape)
    whole = np.round(MEANS + SCALES * x, 4)
    return whole, generator.random(whole.shape) < 0.2


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    """A table with gaps, and a run on it."""
    directory = tmp_path_factory.mktemp("gaps")
    whole, gaps = numbers()
    frame = pd.DataFrame(np.where(gaps, np.nan, whole), columns=COLUMNS)
    frame.to_csv(directory / "gaps.csv", index=False, na_rep="NA")
    np.save(directory / "gaps.npy", frame.to_numpy("float32"))
    run = directory / "run"
    dataset = f"--dataset={directory / 'gaps.csv'}"
    programs.TRAIN.run(run, dataset, "--epochs=3", *FLAGS)
    return directory


@pytest.mark.slow
def test_units_are_those_of_what_is_there(table):
    settings = programs.TRAIN.parse(f"--dataset={table / 'gaps.csv'}", *FLAGS).data
    data = _data.load(settings, "normal")
    raw = datasets.load(table / "gaps.csv", missing="nan")
    assert data.columns == tuple(COLUMNS)
    assert np.isnan(data.train).any()
    np.testing.assert_allclose(np.nanmean(data.train, axis=0), 0.0, atol=1e-6)
    np.testing.assert_allclose(np.nanstd(data.train, axis=0), 1.0, atol=1e-6)
    scale = json.loads((table / "run" / "scaling.json").read_text())
    held = data.scaling.undo(data.test)
    np.testing.assert_allclose(held, raw.test, rtol=1e-5, atol=1e-4)
    np.testing.assert_allclose(data.scaling.scale, scale["scale"])


def test_the_filled_table_has_the_columns_and_units_of_the_file(table):
    output = table / "filled.csv"
    args = (f"--model={table / 'run' / 'model.keras'}", "--importance_samples=50")
    text = programs.evaluated(
        *args, f"--dataset={table / 'gaps.csv'}", f"--impute={output}"
    )
    whole, gaps = numbers()
    assert f"{gaps.sum()} missing elements of 800 are filled in" in text
    assert "independent elements" in text
    filled = pd.read_csv(output)
    assert list(filled.columns) == COLUMNS
    np.testing.assert_allclose(filled.to_numpy()[~gaps], whole[~gaps], rtol=1e-6)
    model = keras.saving.load_model(table / "run" / "model.keras")
    x = np.where(gaps, np.nan, whole).astype("float32")
    expected = model.impute(x, num_samples=50)
    np.testing.assert_allclose(filled.to_numpy(), expected, rtol=1e-6)


@pytest.mark.slow
def test_an_array_is_filled_as_the_table_is(table):
    whole, gaps = numbers()
    array, model = table / "filled.npy", table / "run" / "model.keras"
    programs.evaluated(
        f"--model={model}",
        "--importance_samples=50",
        f"--dataset={table / 'gaps.npy'}",
        f"--impute={array}",
    )
    x = np.where(gaps, np.nan, whole).astype("float32")
    expected = keras.saving.load_model(model).impute(x, num_samples=50)
    np.testing.assert_allclose(np.load(array), expected, rtol=1e-5)


def test_the_filled_table_has_the_columns_in_the_order_of_the_file(table, tmp_path):
    whole, gaps = numbers()
    frame = pd.DataFrame(np.where(gaps, np.nan, whole), columns=COLUMNS)
    moved = ["age", "length", "mass", "width"]
    frame[moved].to_csv(tmp_path / "moved.csv", index=False)
    model, output = table / "run" / "model.keras", tmp_path / "filled.csv"
    programs.evaluated(
        f"--model={model}",
        "--importance_samples=50",
        f"--dataset={tmp_path / 'moved.csv'}",
        f"--impute={output}",
    )
    filled = pd.read_csv(output)
    assert list(filled.columns) == moved
    x = np.where(gaps, np.nan, whole).astype("float32")
    expected = keras.saving.load_model(model).impute(x, num_samples=50)
    np.testing.assert_allclose(filled[COLUMNS].to_numpy(), expected, rtol=1e-5)


def test_images_without_channels_are_filled_in_as_they_are_read(tmp_path):
    generator = np.random.default_rng(0)
    x = generator.uniform(0.2, 0.8, size=(60, 8, 6)).astype("float32")
    gaps = generator.random(x.shape) < 0.2
    np.save(tmp_path / "maps.npy", np.where(gaps, np.nan, x))
    dataset, run = f"--dataset={tmp_path / 'maps.npy'}", tmp_path / "run"
    args = (dataset, "--missing=nan", "--network=conv", "--filters=4")
    programs.TRAIN.begin(run, *args)
    output = tmp_path / "filled.npy"
    args = (dataset, f"--impute={output}", "--importance_samples=3")
    text = programs.evaluated(f"--model={run / 'best.keras'}", *args)
    assert f"{gaps.sum()} missing elements of {x.size} are filled in" in text
    filled = np.load(output)
    np.testing.assert_array_equal(filled[~gaps], x[~gaps])
    assert np.isfinite(filled).all()


def test_what_cannot_be_filled_in_is_said_before_anything_is_measured(
    tmp_path, monkeypatch
):
    monkeypatch.setattr(evaluate, "evaluate", lambda *args: pytest.fail("too late"))
    x = np.random.default_rng(0).uniform(size=(60, 4))
    np.savez(tmp_path / "parts.npz", train=x[:40], test=x[40:])
    dataset, run = f"--dataset={tmp_path / 'parts.npz'}", tmp_path / "run"
    programs.TRAIN.begin(run, dataset, "--missing=nan")
    args = (f"--model={run / 'best.keras'}", f"--impute={tmp_path / 'filled.npy'}")
    with pytest.raises(_settings.FlagError, match="`--dataset`=.*`key` must name one"):
        programs.evaluated(*args, dataset)
    # A value that the likelihood does not have, outside of the test split.
    x[0] = 7.0
    np.save(tmp_path / "far.npy", x)
    with pytest.raises(_settings.FlagError, match=r"`--dataset`=.*far.npy: .*\[0, 1\]"):
        programs.evaluated(*args, f"--dataset={tmp_path / 'far.npy'}")
    for name in ("impute", "output"):
        with pytest.raises(_settings.FlagError, match=f"`--{name}` must not be the fi"):
            programs.evaluated(*args, dataset, f"--{name}={tmp_path / 'parts.npz'}")


def test_figures_of_own_units_are_those_of_what_is_there(table):
    found = json.loads((table / "run" / "metrics.json").read_text())
    names = ["independent", "ppca", "factor_analysis"]
    assert list(found["baselines"]) == names
    raw = datasets.load(table / "gaps.csv", missing="nan")
    scaling = json.loads((table / "run" / "scaling.json").read_text())
    units = np.where(np.isnan(raw.test), 0.0, np.log(scaling["scale"])).sum(axis=1)
    own = found["standardized_negative_elbo"] + units.mean()
    assert found["negative_elbo"] == pytest.approx(own, rel=1e-5)
    model = keras.saving.load_model(table / "run" / "model.keras")
    elbo = model.elbo(raw.test, num_samples=50).numpy().mean()
    assert found["negative_elbo"] == pytest.approx(-elbo, rel=0.05)


def test_the_independent_baseline_is_that_of_what_is_there(table):
    found = json.loads((table / "run" / "metrics.json").read_text())["baselines"]
    settings = programs.TRAIN.parse(f"--dataset={table / 'gaps.csv'}", *FLAGS).data
    data = _data.load(settings, "normal")
    train, test = (data.scaling.undo(part) for part in (data.train, data.test))
    mean, variance = normalization.observed_moments(train)
    each = 0.5 * (np.square(test - mean) / variance + np.log(2 * np.pi * variance))
    expected = np.nansum(each, axis=1).mean()
    assert found["independent"] == pytest.approx(expected, rel=1e-4)


def test_cells_without_the_flag_are_an_error_that_names_it(table, tmp_path):
    dataset = f"--dataset={table / 'gaps.csv'}"
    programs.TRAIN.check_refuses(tmp_path / "a", "lacks .*--missing=nan", dataset)
    with pytest.raises(ValueError, match="lacks"):
        datasets.table(table / "gaps.csv")
    assert np.isnan(datasets.table(table / "gaps.csv", missing="nan")).any()
    text = "a,b\n1,\n2,\n"
    (tmp_path / "empty.csv").write_text(text)
    with pytest.raises(ValueError, match="'b' is empty"):
        datasets.table(tmp_path / "empty.csv", missing="nan")


@pytest.mark.parametrize(
    ("args", "message"),
    [
        ("--impute={table}/f.npy", "`--impute` must be a .csv file where"),
        ("--impute={table}/f.txt", "`--impute` must be a .csv file where"),
        ("--impute={table}/absent/f.csv", "`--impute` must be a file in a directory"),
    ],
)
def test_impossible_flags_of_filling_in(args, message, table):
    model = f"--model={table / 'run' / 'model.keras'}"
    dataset = f"--dataset={table / 'gaps.csv'}"
    with pytest.raises(_settings.FlagError, match=message):
        programs.evaluated(model, dataset, args.format(table=table))


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (("--missing=nan",), "`missing` must be left out.*npy.*csv"),
        (("--missing=mean",), "missing"),
        (
            ("--dataset={table}/gaps.csv", "--missing=nan", "--standardize=noise"),
            "`--standardize`=noise.*finite",
        ),
    ],
)
def test_what_needs_whole_data(args, message, table, tmp_path):
    args = [arg.format(table=table) for arg in args]
    programs.TRAIN.check_refuses(tmp_path / "run", message, *args)


# === The range of weights ===


def test_weights_of_data_with_gaps_are_those_of_their_linear_model(table):
    dataset = f"--dataset={table / 'gaps.csv'}"
    settings = programs.WEIGH.parse(dataset, "--latent_dim=2", *FLAGS)
    data = _data.load(settings.data, None)
    resolved = _resolve.weigh_on(settings, data)
    assert resolved.model.likelihood == "normal"
    assert resolved.model.linear_path == "random"
    limits = kv.weighing.beta_range(data.train, 2)
    assert resolved.weigh.beta_range == limits
    # The noise of the columns, 0.04 of their variance, is among them.
    assert limits[0] < 0.04 < limits[1]


@pytest.mark.slow
def test_a_table_with_gaps_is_weighed_and_filled_in(table, tmp_path):
    run, dataset = tmp_path / "run", f"--dataset={table / 'gaps.csv'}"
    args = ("--betas=0.1,1", "--missing=nan_with_mask", "--epochs=20")
    text = programs.WEIGH.run(run, dataset, *args)
    assert "Best likelihood" in text
    found = programs.read(run, "metrics.json")
    assert list(found["baselines"]) == ["independent", "ppca", "factor_analysis"]
    raw = datasets.load(table / "gaps.csv", missing="nan").test
    model = keras.saving.load_model(run / "model.keras")
    elbo = model.elbo(raw, num_samples=200).numpy().mean()
    assert found["negative_elbo"] == pytest.approx(-elbo, abs=0.3)
    units = np.log(programs.read(run, "scaling.json")["scale"])
    own = np.where(np.isnan(raw), 0.0, units).sum(axis=1).mean()
    standardized = found["standardized_negative_elbo"]
    assert found["negative_elbo"] == pytest.approx(standardized + own, rel=1e-5)
    output = tmp_path / "filled.csv"
    programs.evaluated(
        f"--model={run / 'last.keras'}",
        "--beta=0.3",
        "--importance_samples=50",
        dataset,
        f"--impute={output}",
    )
    whole, gaps = numbers()
    mean, scale = (
        np.array(programs.read(run, "scaling.json")[name]) for name in ("mean", "scale")
    )
    x = np.float32((np.where(gaps, np.nan, whole) - mean) / scale)
    multi = keras.saving.load_model(run / "last.keras")
    vae = kv.weighing.with_own_noise(multi.at(0.3), 0.3)
    filled = (pd.read_csv(output).to_numpy() - mean) / scale
    np.testing.assert_allclose(filled, vae.impute(x, num_samples=50), atol=2e-3)


@pytest.mark.slow
def test_models_of_one_weight_take_gaps(table, tmp_path):
    dataset = f"--dataset={table / 'gaps.csv'}"
    args = ("--mode=sweep", "--betas=0.1,1", "--missing=nan", "--polish=0")
    text = programs.WEIGH.run(tmp_path / "run", dataset, *args)
    assert "factor analysis" in text

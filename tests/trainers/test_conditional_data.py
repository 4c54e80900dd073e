"""Data with labels: a conditional model from the data to its pictures and endpoints."""

import json

import keras
import numpy as np
import programs
import pytest
import tensorflow as tf

from keras_vae import datasets
from keras_vae.datasets import numpy_files
from trainers import _data
from trainers import _settings

LABELS = "--condition=labels"


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run on digits and their labels."""
    directory = tmp_path_factory.mktemp("labels") / "run"
    programs.TRAIN.run(directory, LABELS, "--epochs=3")
    return directory


@pytest.fixture(scope="module")
def model(run):
    return keras.saving.load_model(run / "model.keras")


def test_labels_go_along_with_their_examples():
    settings = programs.TRAIN.parse(LABELS).data
    data = _data.load(settings, "bernoulli")
    (x, labels), (x_test, test) = datasets.digits(labels=True)
    of_pixels = {row.tobytes(): one for row, one in zip(x, labels, strict=True)}
    assert data.conditions == {"label": 10}
    for part in ("train", "validation"):
        inputs = data.inputs(part)
        expected = [of_pixels[row.tobytes()] for row in inputs["x"]]
        np.testing.assert_array_equal(inputs["label"], expected)
    np.testing.assert_array_equal(data.inputs("test")["x"], x_test)
    np.testing.assert_array_equal(data.inputs("test")["label"], test)


def test_metrics_are_those_of_the_labelled_test_data(run, model):
    found = json.loads((run / "metrics.json").read_text())
    assert json.loads((run / "config.json").read_text())["condition"] == "labels"
    _, (x, labels) = datasets.digits(labels=True)
    bounds = [
        model.elbo({"x": x, "label": one}, num_samples=20).numpy().mean()
        for one in (labels, np.roll(labels, 1))
    ]
    assert found["negative_elbo"] == pytest.approx(-bounds[0], rel=0.01)
    assert bounds[1] < bounds[0]


def test_saved_model_generates_what_is_asked_for(run, model):
    loaded = tf.saved_model.load(run / "saved_model")
    drawn = loaded.generate(n=4, seed=1, label=[3, 3, 1, 1])
    expected = model.generate(4, seed=1, condition={"label": [3, 3, 1, 1]})
    np.testing.assert_allclose(drawn, expected, rtol=1e-5)


def test_evaluation_takes_the_labels_that_the_model_needs(run, tmp_path):
    text = programs.evaluated(
        f"--model={run / 'model.keras'}", f"--output={tmp_path / 'figures.json'}"
    )
    found = json.loads((tmp_path / "figures.json").read_text())
    trained = json.loads((run / "metrics.json").read_text())
    assert found["condition"] == "labels"
    assert "Test split, 360 examples" in text
    assert found["negative_elbo"] == pytest.approx(trained["negative_elbo"], rel=0.01)


def test_resumed_run_ends_in_the_same_weights(tmp_path):
    args = LABELS, "--epochs=2", "--binarize=dynamic"
    whole, resumed = programs.TRAIN.whole_and_resumed(
        tmp_path, *args, epoch=2, after="training"
    )
    programs.check_same_weights(whole / "last.keras", resumed / "last.keras")


@pytest.mark.slow
@pytest.mark.parametrize("linear_path", ["data", "random"])
def test_all_weights_of_a_conditional_model(tmp_path, linear_path):
    flags = LABELS, "--likelihood=normal", f"--linear_path={linear_path}", "--polish=.5"
    text = programs.WEIGH.run(tmp_path / "run", *flags)
    assert "Exported: beta" in text
    model = keras.saving.load_model(tmp_path / "run" / "model.keras")
    assert model.generate(3, seed=0, condition={"label": [0, 1, 2]}).shape == (
        3,
        8,
        8,
        1,
    )
    programs.exported(
        f"--model={tmp_path / 'run' / 'last.keras'}",
        "--beta=0.1",
        f"--output={tmp_path / 'vae'}",
    )
    loaded = tf.saved_model.load(tmp_path / "vae")
    assert loaded.generate(n=2, seed=0, label=[4, 5]).shape == (2, 8, 8, 1)


def archive(path, labels, **names):
    generator = np.random.default_rng(0)
    x = generator.normal(size=(60, 4)) + np.arange(60)[:, None] % 3
    np.savez(path, x=x, y=labels, **names)
    return f"--dataset={path}"


def test_labels_of_a_file_without_splits_are_split_too(tmp_path):
    labels = np.arange(60) % 3
    dataset = archive(tmp_path / "one.npz", labels)
    settings = programs.TRAIN.parse(dataset, LABELS, "--standardize=none").data
    data = _data.load(settings, "normal")
    whole = np.load(tmp_path / "one.npz")["x"].astype("float32")
    of_x = {row.tobytes(): one for row, one in zip(whole, labels, strict=True)}
    for part in ("train", "validation", "test"):
        inputs = data.inputs(part)
        expected = [of_x[row.tobytes()] for row in inputs["x"]]
        np.testing.assert_array_equal(inputs["label"], expected)
    # The split is that of a file without labels.
    np.save(tmp_path / "one.npy", whole)
    plain = datasets.load(tmp_path / "one.npy")
    np.testing.assert_array_equal(plain.test, data.test)


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (np.arange(60) % 3 - 1, "must have whole numbers from 0 on as labels"),
        (np.array(["a", "b"] * 30), "labels of train are .*'a', 'b'"),
        (None, "must have labels where the.*none for train and validation"),
    ],
)
def test_data_without_usable_labels_are_an_error(labels, message, tmp_path):
    dataset = archive(tmp_path / "file.npz", labels)
    if labels is None:
        np.save(tmp_path / "file.npy", np.random.default_rng(0).normal(size=(60, 4)))
        dataset = f"--dataset={tmp_path / 'file.npy'}"
    programs.TRAIN.check_refuses(tmp_path / "run", message, dataset, LABELS)


def test_evaluation_refuses_what_the_model_does_not_know(run, tmp_path):
    x = np.random.default_rng(0).random((60, 8, 8, 1))
    np.savez(tmp_path / "more.npz", x=x, y=np.arange(60) % 12)
    np.save(tmp_path / "none.npy", x)
    model = f"--model={run / 'model.keras'}"
    for name, message in (
        ("more.npz", "labels of the 10 classes of .*with the label 11"),
        ("none.npy", "`--dataset` must have labels where the model takes them"),
    ):
        with pytest.raises(_settings.FlagError, match=message):
            programs.evaluated(model, f"--dataset={tmp_path / name}")
    np.savez(tmp_path / "ten.npz", x=x, y=np.arange(60) % 10)
    with pytest.raises(_settings.FlagError, match="`--impute` needs a model that was"):
        programs.evaluated(
            model, f"--dataset={tmp_path / 'ten.npz'}", f"--impute={tmp_path}/a.npy"
        )


@pytest.mark.parametrize("key", [None, "rows"])
def test_labels_of_an_array_stand_beside_it(tmp_path, key):
    x, labels = np.arange(12.0).reshape(6, 2), np.arange(6)[:, None]
    others = {} if key is None else {"scaled": 2 * x}
    np.savez(tmp_path / "file.npz", rows=x, y=labels, **others)
    read = numpy_files.arrays_and_labels
    found, of_found = read(tmp_path / "file.npz", key)
    np.testing.assert_array_equal(found, x)
    np.testing.assert_array_equal(of_found, np.arange(6))
    np.savez(tmp_path / "fewer.npz", x=x, y=labels[:3])
    np.save(tmp_path / "none.npy", x)
    for name in ("fewer.npz", "none.npy"):
        assert read(tmp_path / name)[1] is None


@pytest.mark.slow
def test_gaps_are_filled_in_given_the_labels(tmp_path):
    labels = np.arange(90) % 3
    generator = np.random.default_rng(0)
    whole = 3.0 * np.eye(3)[labels] + generator.normal(scale=0.1, size=(90, 3))
    gaps = generator.random(whole.shape) < 0.2
    x = np.where(gaps, np.nan, whole).astype("float32")
    np.savez(tmp_path / "file.npz", x=x, y=labels)
    dataset, run = f"--dataset={tmp_path / 'file.npz'}", tmp_path / "run"
    programs.TRAIN.run(run, dataset, LABELS, "--missing=nan", "--epochs=2")
    output, model = tmp_path / "filled.npy", run / "model.keras"
    text = programs.evaluated(
        f"--model={model}", dataset, f"--impute={output}", "--importance_samples=20"
    )
    assert f"{gaps.sum()} missing elements of 270 are filled in" in text
    filled = np.load(output)
    vae = keras.saving.load_model(model)
    expected, others = (
        vae.impute({"x": x, "label": one}, num_samples=20)
        for one in (labels, np.roll(labels, 1))
    )
    np.testing.assert_allclose(filled, expected, rtol=1e-5, atol=1e-6)
    assert np.abs(others - expected)[gaps].mean() > 0.01

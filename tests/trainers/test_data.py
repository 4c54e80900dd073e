"""Units of the data of a run."""

import numpy as np
import programs
import pytest

import keras_vae as kv
from trainers import _data
from trainers import _program
from trainers import _settings

GENERATOR = np.random.default_rng(0)
TABLE = GENERATOR.normal(size=(60, 3)) * [1.0, 100.0, 0.0] + [5.0, -3.0, 2.0]


def load(path, *args):
    settings = programs.TRAIN.parse(f"--dataset={path}", *args)
    model = settings.model
    return _data.load(settings.data, model.likelihood, latent_dim=model.latent_dim)


@pytest.fixture
def table(tmp_path):
    np.savetxt(tmp_path / "table.csv", TABLE, delimiter=",")
    return tmp_path / "table.csv"


def test_columns_of_a_table_are_standardised_each_by_itself(table):
    data = load(table, "--standardize=columns")
    train = data.train.astype(np.float64)
    np.testing.assert_allclose(train.mean(axis=0), 0, atol=1e-5)
    np.testing.assert_allclose(train.std(axis=0), [1, 1, 0], atol=1e-5)
    assert data.scaling.constant == 1
    assert "1 that do not vary" in str(data.scaling)
    raw = load(table, "--standardize=none")
    assert raw.scaling is None
    for name in ("train", "validation", "test"):
        back = data.scaling.mean + data.scaling.scale * getattr(data, name)
        np.testing.assert_allclose(back, getattr(raw, name), rtol=1e-4, atol=1e-4)


def test_columns_with_noises_of_their_own_are_scaled_by_them(tmp_path):
    generator = np.random.default_rng(0)
    noise = np.array([1.0, 1.0, 2.0, 3.0, 10.0])
    x = 5 * generator.normal(size=(400, 1)) + noise * generator.normal(size=(400, 5))
    np.savetxt(tmp_path / "t.csv", x, delimiter=",")
    data = load(tmp_path / "t.csv", "--latent_dim=1")
    np.testing.assert_allclose(data.scaling.scale, noise, rtol=0.3)
    assert "its own mean and noise" in str(data.scaling)
    alike = x[:, :1] + generator.normal(size=(400, 5))
    np.savetxt(tmp_path / "alike.csv", alike, delimiter=",")
    data = load(tmp_path / "alike.csv", "--latent_dim=1")
    assert "mean and deviation" in str(data.scaling)


def test_values_of_an_array_are_scaled_alike(tmp_path):
    np.save(tmp_path / "mine.npy", TABLE)
    data = load(tmp_path / "mine.npy")
    assert data.scaling.scale.shape == ()
    assert data.train.std(dtype=np.float64) == pytest.approx(1.0, abs=1e-5)
    assert float(data.scaling.scale) == pytest.approx(
        load(tmp_path / "mine.npy", "--standardize=none").train.std(), rel=1e-3
    )


@pytest.mark.parametrize(
    "args",
    [(), ("--likelihood=normal",), ("--binarize=static",)],
    ids=lambda args: args[0] if args else "none",
)
def test_values_between_0_and_1_stay(args):
    data = load("digits", *args)
    assert data.scaling is None
    assert data.train.min() == 0
    assert data.train.max() == 1


def test_binary_tables_stay(tmp_path):
    np.savetxt(tmp_path / "b.csv", GENERATOR.integers(0, 2, (50, 4)), "%d", ",")
    data = load(tmp_path / "b.csv")
    assert data.scaling is None
    assert _data.is_binary(data)


def test_values_of_a_likelihood_with_units_of_its_own_stay(table):
    assert load(table, "--likelihood=unit_normal").scaling is None


def test_tables_are_known_by_their_columns(tmp_path):
    text = "a;b\n" + "\n".join(f"{x:.3f};{y:.3f}" for x, y, _ in TABLE)
    (tmp_path / "table.tsv").write_text(text.replace(".", ","))
    with pytest.raises(_settings.FlagError, match="`decimal` must .*--decimal=comma"):
        load(tmp_path / "table.tsv")
    data = load(tmp_path / "table.tsv", "--drop_columns=a", "--decimal=comma")
    assert data.columns == ("b",)
    assert data.scaling.scale.shape == (1,)
    np.testing.assert_allclose(data.scaling.scale, 100, rtol=0.3)
    assert "'a' is left out" in data.description


@pytest.mark.parametrize("network", ["conv", "resnet", "mlp"])
def test_images_get_channels_where_a_network_convolves(network, files, tmp_path):
    dataset = f"--dataset={files / 'maps.npy'}"
    _, _, data, model = (
        programs.TRAIN.prepare(
            tmp_path / "run", dataset, f"--network={network}", "--filters=4"
        )
        if network != "mlp"
        else programs.TRAIN.prepare(tmp_path / "run", dataset)
    )
    shape = (8, 6) if network == "mlp" else (8, 6, 1)
    assert model.event_shape == data.train.shape[1:] == shape
    assert ("(8, 6, 1)" in data.description) == (network != "mlp")
    whole = np.load(files / "maps.npy").astype("float32")
    np.testing.assert_array_equal(
        np.sort(np.concatenate([*data]).reshape(50, -1), axis=0),
        np.sort(whole.reshape(50, -1), axis=0),
    )


def test_programs_say_what_they_read(tmp_path, capsys):
    wide = np.arange(6000.0).reshape(60, 100) % 7
    names = ",".join(f"name{j}" for j in range(100))
    np.savetxt(tmp_path / "t.csv", wide, "%g", ",", header=names, comments="")
    session = programs.TRAIN.prepare(
        tmp_path / "run", f"--dataset={tmp_path}/t.csv", "--hidden=4"
    )
    run = session[1]
    with run.held():
        _program.start(*session)
    printed = capsys.readouterr().out
    assert "60 rows, 100 columns, separated by commas, names in the" in printed
    assert "  name0   whole numbers, 0 to 6\n" in printed
    assert "  name99  whole numbers, 0 to 6\n" in printed
    assert "6 of 60 examples, drawn at random, are the test split." in printed
    # All in all 60 lines and the one about those left out.
    assert "  ... 42 lines more ...\n" in printed
    assert printed.count("whole numbers") == 58


def parts_of(directory, **arrays):
    np.savez(directory / "parts.npz", **arrays)
    return directory / "parts.npz"


def test_labels_stay_beside_their_examples(tmp_path):
    x = np.linspace(0, 1, 60).reshape(20, 3)
    names = np.array([f"row{i}" for i in range(20)])
    path = parts_of(tmp_path, x_train=x[:15], y_train=names[:15], x_test=x[15:])
    data = load(path, "--validation_fraction=0.2")
    rows = [np.argmin(np.abs(x - held).sum(axis=1)) for held in data.held_out]
    assert len(rows) == 3
    assert data.held_out_labels.tolist() == [f"row{i}" for i in rows]
    assert set(data.labels) == {"train", "validation"}
    assert load(path, "--validation_fraction=0").held_out_labels is None
    # One label for each example, or none at all.
    path = parts_of(tmp_path, x_train=x[:15], y_train=x[:9, 0], x_test=x[15:])
    assert load(path).labels == {}


def test_labels_of_named_data_are_their_own():
    data = load("digits")
    x, y = kv.datasets.digits(labels=True)[0]
    for image, label in zip(data.validation[:9], data.held_out_labels, strict=False):
        assert y[(x == image).all(axis=(1, 2, 3))] == label


def test_held_out_data_are_those_that_choose(table):
    data = load(table)
    assert data.held_out is data.validation
    data = load(table, "--validation_fraction=0")
    assert data.held_out is data.test

"""The program that checks the answer of `trainers.weigh` on many data sets."""

import json

import numpy as np
import pytest
from absl import flags

from benchmarks import panel
from benchmarks import panel_data
from trainers import _flags
from trainers import _resolve


def parse(*args):
    return _resolve.weigh(_resolve.parsed(_flags.define_weigh, args))


def test_the_loss_is_half_the_squared_error_and_beta_times_the_rate():
    normal = parse("--likelihood=normal")
    beta, rate, squares, size = 0.3, 5.0, 7.0, 10
    distortion = size / 2 * np.log(2 * np.pi * beta) + squares / (2 * beta)
    metrics = {"negative_elbo": distortion + rate}
    found = panel.loss(metrics, normal, beta, size)
    assert found == pytest.approx(squares / 2 + beta * rate)
    bernoulli = parse("--likelihood=bernoulli")
    metrics = {"distortion": 80.0, "rate": rate}
    assert panel.loss(metrics, bernoulli, beta, size) == 80.0 + beta * rate


@pytest.mark.parametrize("name", ["wine", "seasonal", "counts", "low_noise"])
def test_tables_are_written_as_the_programs_read_them(name, tmp_path):
    path = panel_data.write(name, tmp_path, None)
    header, *rows = path.read_text().splitlines()
    assert header.startswith("x0,x1,")
    x = np.loadtxt(path, delimiter=",", skiprows=1)
    assert x.shape == (len(rows), header.count(",") + 1)
    assert np.isfinite(x).all()


@pytest.mark.parametrize(
    ("name", "shape"),
    [("mnist_grey", (12_000, 28, 28, 1)), ("dsprites", (5000, 64, 64, 1))],
)
def test_images_are_written_whole(name, shape, data_dir, tmp_path):
    x = np.load(panel_data.write(name, tmp_path, data_dir))
    assert x.shape == shape
    assert 0 <= x.min() < x.max() <= 1


def test_another_split_is_another_order_of_the_rows(tmp_path):
    one, other = (
        np.loadtxt(
            panel_data.write("iris", tmp_path, None, split), delimiter=",", skiprows=1
        )
        for split in (0, 1)
    )
    assert (one != other).any()
    np.testing.assert_array_equal(*(x[np.lexsort(x.T)] for x in (one, other)))


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_goes_on_with_what_is_missing(tmp_path):
    values = flags.FlagValues()
    panel.define(values)
    args = ("--sets=iris", "--nine=iris", "--seeds=1", "--epochs=2", "--splits=2")
    values(["panel", *args, f"--results={tmp_path}"])
    text = panel.benchmark(values)
    assert (tmp_path / "table.md").read_text() == text
    results = tmp_path / "results.json"
    found = json.loads(results.read_text())
    kept = found["iris"].pop("weight 3")
    results.write_text(json.dumps(found))
    assert panel.benchmark(values) == text
    assert json.loads(results.read_text())["iris"]["weight 3"] == pytest.approx(kept)

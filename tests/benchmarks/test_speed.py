"""What the benchmark computes from its measurements; nothing here asserts a time."""

import json

import numpy as np
import pytest

from benchmarks import contest
from benchmarks import speed
from benchmarks import speed_data
from benchmarks.contenders import shared
from benchmarks.contest import Contender


def contender(name="ours", seconds=(), values=(), **kwargs):
    fields = {"module": "ours", "function": "mlp", "options": {}, "items": 100}
    fields.update(kwargs)
    return Contender(name, seconds=list(seconds), values=list(values), **fields)


def test_ratios_are_taken_within_a_round():
    ours, other = contender(seconds=[1.0, 10.0]), contender(seconds=[2.0, 30.0])
    assert contest.ratios(ours, other) == [2.0, 3.0]
    assert contest.spread(contest.ratios(ours, other)) == "2.50 [2.00, 3.00]"
    assert ours.rates == [100.0, 10.0]


def test_the_table_shows_rates_ratios_targets_and_losses():
    rows = [
        contender("keras_vae", [1.0, 2.0, 4.0], [9.0, 8.0, 7.5], peak_mib=512.3),
        contender("Pythae", [4.0, 8.0, 8.0], [9.1, 8.1, 7.6]),
        contender("JAX, scan", problem="missing: jax"),
    ]
    table = speed.Workload("mlp", "Title", "images", rows).table().splitlines()
    cells = [[cell.strip() for cell in line.split("|")[1:-1]] for line in table[4:]]
    assert table[0] == "### Title"
    assert cells[0][:6] == ["keras_vae", "50 [25, 100]", "", "", "7.50", "512"]
    assert cells[1][:5] == [
        "Pythae",
        "12 [12, 25]",
        "4.00 [2.00, 4.00]",
        "3.5",
        "7.60",
    ]
    assert cells[2][:2] == ["JAX, scan", "missing: jax"]


def test_seconds_are_shown_beside_the_first():
    rows = [contender("a", [1.0, 2.0]), contender("b", [16.0, 30.0])]
    table = speed.Seconds("scaling", "Title", "", rows).table()
    assert "15.50 [15.00, 16.00]" in table


def test_what_is_not_installed_is_missing_and_the_others_go_on(tmp_path):
    path = speed_data.save(tmp_path / "x.npy", speed_data.binary_images(2))
    missing = contender(module="not_there", function="mlp", options={})
    failing = contender(module="shared", function="load", options={"path": path})
    contest.run([missing, failing], repeats=1, report=lambda line: None)
    assert missing.problem == "missing: benchmarks.contenders.not_there"
    assert failing.problem.startswith("failed: TypeError")


def test_the_data_are_what_they_are_said_to_be():
    x = speed_data.binary_images(50)
    assert x.shape == (50, 784)
    assert x.dtype == np.float32
    assert set(np.unique(x)) == {0, 1}
    images = speed_data.shapes(5)
    assert images.shape == (5, 64, 64)
    # Squares: every row that is not empty is as long as there are such rows.
    for image in images:
        filled = image.sum(axis=1)
        assert set(filled) == {0, np.count_nonzero(filled)}
    words = speed_data.sentences(40)
    assert words.shape == (40, 30)
    assert 0 <= words.min() <= words.max() < 10_000
    assert np.mean(words == 0) > np.mean(words == 1) > np.mean(words == 9)


def test_an_epoch_sees_each_example_once():
    order = shared.batches(np.random.default_rng(0), 64, 8)
    assert order.shape == (8, 8)
    assert sorted(order.ravel()) == list(range(64))


def test_unknown_workloads_are_refused(capsys):
    with pytest.raises(SystemExit):
        speed.main(["--workloads=mlp,gru"])
    assert "Received: gru" in capsys.readouterr().err


@pytest.mark.slow
def test_the_program_writes_its_report(tmp_path, monkeypatch, capsys):
    def small(flags, directory):
        data = speed_data.save(directory / "x.npy", speed_data.binary_images(200))
        rows = [contender("keras_vae", options={"data": data}, items=200)]
        rows += [contender("TF/XLA, epoch by hand", module="tensorflow_loop")]
        rows[1].options["data"] = data
        return speed.Workload("mlp", "Small", "images", rows)

    monkeypatch.setitem(speed.WORKLOADS, "mlp", small)
    speed.main(["--workloads=mlp", "--repeats=2", f"--output={tmp_path / 'speed'}"])
    assert "### Small" in capsys.readouterr().out
    assert "### Small" in (tmp_path / "speed.md").read_text()
    results = json.loads((tmp_path / "speed.json").read_text())
    ours, other = results["workloads"]["mlp"]
    assert len(ours["seconds"]) == len(other["seconds"]) == 2
    # The same work from the same weights.
    assert ours["values"][0] == pytest.approx(other["values"][0], rel=0.02)

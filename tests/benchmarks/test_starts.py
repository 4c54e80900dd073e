"""The program that compares starts of a linear path."""

import pytest
from absl import flags

from benchmarks import linear_start


def test_epochs_are_counted_to_the_best_value_without_a_path():
    found = {
        "a, none, seed 0, 3 epochs": [9.0, 5.0, 6.0],
        "a, random, seed 0, 3 epochs": [6.0, 6.0, 4.0],
        "a, data, seed 0, 3 epochs": [5.0, 4.0, 4.5],
        "b, none, seed 0, 3 epochs": [3.0, 2.0, 1.0],
        "b, random, seed 0, 3 epochs": [3.0, 2.0, 2.0],
        "b, data, seed 0, 3 epochs": [1.0, 1.0, 1.0],
    }
    rows = linear_start.table(found, ["a", "b"], 1, 3).splitlines()[2:]
    assert [[cell.strip() for cell in row.split("|")[2:-1]] for row in rows] == [
        ["none", "2", "6.00", "5.00"],
        ["random", "3", "4.00", "4.00"],
        ["data", "1", "4.50", "4.00"],
        ["none", "3", "1.00", "1.00"],
        ["random", "never", "2.00", "2.00"],
        ["data", "1", "1.00", "1.00"],
    ]


@pytest.mark.slow
def test_a_finished_model_is_not_trained_again(tmp_path):
    values = flags.FlagValues()
    linear_start.define(values)
    args = ("--sets=wine", "--seeds=1", "--epochs=2", f"--results={tmp_path}")
    values(["linear_start", *args])
    text = linear_start.benchmark(values)
    assert text.count("| wine |") == 3
    (tmp_path / "results.json").touch()
    assert linear_start.benchmark(values) == text

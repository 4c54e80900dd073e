"""The program that holds hierarchies against each other."""

import types

import pytest

from benchmarks import hierarchies


def chosen(tmp_path, **changes):
    options = {
        "data_dir": None,
        "rows": list(hierarchies.ROWS),
        "seeds": 1,
        "epochs": 1,
        "importance_samples": 4,
        "results": str(tmp_path),
        "quick": True,
    }
    return types.SimpleNamespace(**{**options, **changes})


def test_rows_differ_in_the_ladder_and_in_what_helps_it(tmp_path):
    found = {}
    for name in hierarchies.ROWS:
        settings = hierarchies.settings_of(name, 0, chosen(tmp_path, quick=False))
        model, train = settings.model, settings.train
        assert (model.levels, model.latent_dim) == ((64, 32, 16, 8, 4), 124)
        warmed = train.schedule == "linear" and train.warmup == "50%"
        found[name] = (model.model, model.batch_normalization, warmed)
    assert sorted(found.values()) == [
        ("bottom_up", False, False),
        ("bottom_up", True, True),
        ("ladder", False, False),
        ("ladder", True, True),
    ]


def test_table_has_the_means_of_the_seeds(tmp_path):
    options = chosen(tmp_path, rows=["ladder"], seeds=2)
    level = {"rate": 2.0, "active_units": 3, "units": 4}
    row = {"negative_elbo": 90.0, "negative_bound": 88.0, "levels": {"level_1": level}}
    other = {"negative_elbo": 92.0, "negative_bound": 89.0}
    other["levels"] = {"level_1": {**level, "rate": 3.0}}
    found = dict(
        zip(
            ("ladder, seed 0, 1 epochs", "ladder, seed 1, 1 epochs"),
            (row, other),
            strict=True,
        )
    )
    assert "| ladder | 91.00 | 88.50 | 2.50 | 3 |" in hierarchies.table(found, options)


@pytest.mark.slow
def test_a_call_goes_on_where_another_ended(tmp_path, capsys):
    options = chosen(tmp_path, rows=["ladder, normalized and warmed up"])
    first = hierarchies.benchmark(options)
    assert "about" in capsys.readouterr().out
    assert first.count("|") == 3 * 6
    assert hierarchies.benchmark(options) == first
    assert "about" not in capsys.readouterr().out

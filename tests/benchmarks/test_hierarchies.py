"""The program that holds hierarchies against each other."""

import types

import pytest

from benchmarks import hierarchies


def chosen(tmp_path, **changes):
    options = {
        "data_dir": None,
        "minutes": 0.01,
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
        options = chosen(tmp_path, quick=False)
        settings = hierarchies.settings_of(name, 0, options, options.epochs)
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
    # What an epoch takes is found out beside the runs.
    assert 0 < hierarchies.seconds_of_epoch(options.rows[0], options) < 60
    assert not list(tmp_path.iterdir())
    first = hierarchies.benchmark(options)
    assert "about" in capsys.readouterr().out
    assert first.count("|") == 3 * 6
    assert hierarchies.benchmark(options) == first
    assert "about" not in capsys.readouterr().out


def test_rows_of_equal_time_keep_their_epochs(tmp_path, monkeypatch):
    options = chosen(tmp_path, quick=False, minutes=45.0)
    seconds = {"top-down": 120.0, "MLP VAE": 4.0}
    monkeypatch.setattr(
        hierarchies, "seconds_of_epoch", lambda name, _: seconds.pop(name)
    )
    epochs = {name: hierarchies.epochs_of(name, options) for name in hierarchies.TIMED}
    assert epochs == {"top-down": 22, "MLP VAE": 675}
    # Another call does not time them anew.
    assert hierarchies.epochs_of("MLP VAE", options) == 675
    settings = hierarchies.settings_of("top-down", 0, options, 22)
    model, fit = settings.model, settings.fit
    assert (model.model, model.network, model.levels) == (
        "top_down",
        "resnet",
        (4,) * 6,
    )
    assert (fit.clip_norm, fit.skip_norm, fit.epochs) == (200.0, 1000.0, 22)
    assert settings.data.dataset == "binarized_mnist"
    row = {"negative_elbo": 90.0, "negative_bound": 88.0}
    row["levels"] = {"level_1": {"rate": 20.0, "active_units": 18}}
    options.rows = ["MLP VAE"]
    text = hierarchies.table({"MLP VAE, seed 0, 675 epochs": row}, options)
    assert "| MLP VAE, 675 epochs | 90.00 | 88.00 | 20.00 | 18 |" in text

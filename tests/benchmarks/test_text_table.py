"""The program that holds remedies of sentence VAEs against each other."""

import json
import types

import numpy as np
import pytest

import keras_vae as kv
from benchmarks import text


def chosen(tmp_path, **changes):
    options = {
        "data_dir": None,
        "dataset": "ptb",
        "rows": list(text.ROWS),
        "epochs": 8,
        "importance_samples": 2,
        "results": str(tmp_path),
        "quick": False,
    }
    return types.SimpleNamespace(**{**options, **changes})


def test_rows_are_of_one_model_and_differ_in_the_remedy(tmp_path):
    options = chosen(tmp_path)
    settings = {name: text.settings_of(name, options) for name in text.ROWS}
    models = [dict(vars(one.model)) for one in settings.values()]
    for model in models:
        del model["language_model"], model["word_dropout"]
    assert all(model == models[0] for model in models[:-1])
    assert settings["fixed"].train.schedule == "none"
    assert settings["pre-training"].remedies.pretraining == 2
    assert settings["pre-training"].fit.epochs == 6
    assert settings["aggressive"].fit.epochs == 12
    assert settings["Sentence-VAE"].model.cell == "gru"
    assert not settings["Sentence-VAE"].model.latent_at_words
    directories = {one.run_dir for one in settings.values()}
    assert len(directories) == len(text.ROWS)
    for changes in ({"quick": True}, {"dataset": "mine.txt"}):
        other = chosen(tmp_path, **changes)
        assert text.settings_of("fixed", other).run_dir not in directories
        assert text._key("fixed", other) != text._key("fixed", options)


def test_table_has_the_figures_of_the_runs(tmp_path):
    options = chosen(tmp_path, rows=["pre-training"])
    numbers = [90.0, 6.0, 96.0, 95.0, 2, np.exp(95 / 21.917), 5.0, 30, 61.0]
    row = dict(zip(text._COLUMNS, numbers, strict=True))
    row |= {"test_words": 82430, "test_sentences": 3761}
    row["baselines"] = {"bigram": 116.11, "independent": 141.61}
    shown = text.table({"pre-training, 8 epochs": row}, options, options.rows)
    cells = "90.00 | 6.00 | 96.00 | 95.00 | 2 | 76.29 | 5.00 | 30 | 61 |"
    assert f"| pre-training | 2 + 6 | {cells}" in shown
    assert "a sentence of 21.917 words" in shown
    assert "-log p of counted words: pairs 116.11, single 141.61." in shown
    heads = shown.splitlines()[:2]
    assert heads[0].count("|") == heads[1].count("|")


@pytest.mark.slow
def test_a_call_goes_on_where_another_ended(tmp_path, capsys):
    lines = tmp_path / "lines.txt"
    lines.write_text("\n".join(kv.datasets.grammar(80, seed=1)))
    rows = ["fixed", "pre-training"]
    results = tmp_path / "results"
    options = chosen(results, dataset=str(lines), rows=rows, epochs=2, quick=True)
    first = text.benchmark(options)
    printed = capsys.readouterr().out
    assert "fixed: 2 epochs of about" in printed
    assert text.benchmark(options) == first
    assert "about" not in capsys.readouterr().out
    metrics = json.loads((results / "fixed-2-lines-quick" / "metrics.json").read_text())
    assert f"{metrics['negative_log_likelihood']:.2f}" in first

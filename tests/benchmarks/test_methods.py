"""The program that compares all methods, on digits and tiny budgets."""

import json

import pytest
from absl import flags

from benchmarks import methods
from benchmarks.balancing import measuring
from benchmarks.balancing import registry

TINY = ("--epochs=1", "--importance_samples=5", "--nll_images=20", "--hidden=8")


@pytest.fixture
def run(tmp_path, monkeypatch):
    def run(*args):
        values = flags.FlagValues()
        methods.define(values)
        paths = (f"--results={tmp_path}/rows.json", f"--output={tmp_path}/table.md")
        values(["methods", "--quick", *TINY, *paths, *args])
        text = methods.benchmark(values, args)
        assert (tmp_path / "table.md").read_text() == text
        return text, json.loads((tmp_path / "rows.json").read_text())

    return run


def test_names_are_keys():
    names = [method.name for method in registry.METHODS]
    assert len(set(names)) == len(names)
    assert registry.chosen([]) == registry.METHODS
    assert [m.name for m in registry.chosen(["DIP", "BN"])] == [
        "BN-VAE",
        "DIP-VAE I",
        "DIP-VAE II",
    ]
    with pytest.raises(ValueError, match="`--methods`.*'unheard of'"):
        registry.chosen(["unheard of"])


@pytest.mark.slow
def test_rows_are_written_once_and_kept(run, monkeypatch):
    text, stored = run("--methods=ControlVAE")
    (row,) = stored["rows"].values()
    assert row["negative_elbo"] == pytest.approx(row["rate"] + row["distortion"])
    assert row["nll"] < row["negative_elbo"]
    assert row["target"] == 4.0
    assert f"| {row['rate']:.2f} | {row['distortion']:.2f} |" in text
    assert f"| 4 | {row['reached']:.2f} | {25 * row['reached'] - 100:+.2f} % |" in text

    ran = []

    def instead(method, problem, progress):
        ran.append(method.name)
        return {**row, "rate": 7.125}

    monkeypatch.setattr(measuring, "run", instead)
    text, stored = run("--methods=ControlVAE,sigma-VAE")
    assert ran == [m.name for m in registry.METHODS if m.name.startswith("sigma")]
    assert stored["rows"]["ControlVAE"] == row
    # In the order of the registry, densities marked.
    lines = [line for line in text.splitlines() if "sigma-VAE, shared |" in line]
    assert lines[0].count("(d)") == 3
    assert text.index("| ControlVAE |") < text.index("| sigma-VAE, shared |")
    with pytest.raises(ValueError, match="`--results` must be a new file"):
        run("--methods=GECO", "--seed=1")


def test_an_interrupted_row_leaves_the_finished_ones(run, monkeypatch, tmp_path):
    def instead(method, problem, progress):
        if "stratified" in method.name:
            raise KeyboardInterrupt
        numbers = ("rate", "distortion", "negative_elbo", "nll", "active_units")
        return dict.fromkeys((*numbers, "seconds", "processor_seconds"), 1.0)

    monkeypatch.setattr(measuring, "run", instead)
    with pytest.raises(KeyboardInterrupt):
        run("--methods=TCVAE")
    stored = json.loads((tmp_path / "rows.json").read_text())
    assert list(stored["rows"]) == ["beta-TCVAE, weighted"]
    assert "| beta-TCVAE, weighted |" in (tmp_path / "table.md").read_text()


@pytest.mark.slow
def test_every_method_runs(run):
    _, stored = run()
    assert set(stored["rows"]) == {method.name for method in registry.METHODS}

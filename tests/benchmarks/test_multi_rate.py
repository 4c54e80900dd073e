"""The program that compares one multi-rate run with a VAE for each beta."""

import json

import pytest
from absl import flags

from benchmarks import multi_rate


@pytest.fixture
def run(tmp_path):
    def run(*args):
        values = flags.FlagValues()
        multi_rate.define(values)
        paths = (f"--results={tmp_path}/models.json", f"--output={tmp_path}/table.md")
        values(["multi_rate", "--quick", "--epochs=1", *paths, *args])
        text = multi_rate.benchmark(values)
        assert (tmp_path / "table.md").read_text() == text
        return text, tmp_path / "models.json"

    return run


def test_published_excess_is_that_of_the_authors_table():
    excess = [multi_rate._published_excess(beta) for beta in (0.01, 0.1, 1.0, 10.0)]
    assert excess == ["+11.8%", "+5.9%", "+1.3%", "+2.8%"]


@pytest.mark.slow
@pytest.mark.parametrize("protocol", ["mlp", "resnet"])
def test_goes_on_with_what_is_missing(run, protocol):
    flag = f"--protocol={protocol}"
    text, results = run(flag, "--beta=0.1")
    state = json.loads(results.read_text())
    assert sorted(state["models"]) == ["beta=0.1/0", "multi/0"]
    kept = state["models"].pop("multi/0")
    results.write_text(json.dumps(state))
    again, _ = run(flag, "--beta=0.1")
    models = json.loads(results.read_text())["models"]
    assert models["beta=0.1/0"] == state["models"]["beta=0.1/0"]
    assert models["multi/0"]["rows"] == kept["rows"]
    assert again.splitlines()[2] == text.splitlines()[2]
    with pytest.raises(ValueError, match="`--results` must hold models of these"):
        run(flag, "--beta=0.2")

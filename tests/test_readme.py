"""The Python examples of the README run as they stand, but for fewer epochs."""

import pathlib
import re

import pytest
import tensorflow as tf

README = pathlib.Path(__file__).parent.parent / "README.md"
TEXT = README.read_text()
BLOCKS = re.findall(r"^```python\n(.*?)^```", TEXT, re.DOTALL | re.MULTILINE)


@pytest.mark.parametrize("number", range(len(BLOCKS)))
def test_example_runs(number, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code = re.sub(r"\bepochs=\d+", "epochs=2", BLOCKS[number])
    names = {}
    exec(compile(code, f"README, example {number + 1}", "exec"), names)
    if "vae" in names:
        loaded = tf.saved_model.load("digits_vae")
        assert loaded.generate(n=2, seed=0).shape == (2, 8, 8, 1)
        assert pathlib.Path("runs/example/best.keras").is_file()
    elif "conditional" in names:
        assert names["sevens"].shape == (16, 8, 8, 1)
    else:
        assert "val_kl_loss" in names["model"].history.history


def test_there_are_examples():
    assert len(BLOCKS) >= 2


def test_local_links_and_pictures_exist():
    for target in re.findall(r"\]\(([^)#]+)\)", TEXT):
        if not target.startswith("http"):
            assert (README.parent / target).exists(), target


@pytest.mark.parametrize("name", ["train", "test"])
def test_commands_are_where_the_checks_look_for_them(name):
    assert re.search(rf"^<!-- run: {name} -->\n```bash\n.+\n```$", TEXT, re.MULTILINE)

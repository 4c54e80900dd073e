"""The programs as commands: their help, and the packages that bring them."""

import configparser
import contextlib
import importlib
import os
import pathlib
import re
import subprocess
import sys
import zipfile

import matrix
import pytest

import keras_vae as kv
from trainers import _quiet

ROOT = pathlib.Path(kv.__file__).parent.parent
PROGRAMS = ("evaluate", "export", "sentence", "train", "weigh")
FLAGS = {
    "evaluate": "importance_samples",
    "export": "output",
    "train": "kl_weight",
    "sentence": "word_dropout",
    "weigh": "beta_range",
}


def entry_points():
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg")
    lines = config["options.entry_points"]["console_scripts"].split("\n")
    return dict(re.split(r"\s*=\s*", line) for line in lines if line)


def run(command, directory, path, **kwargs):
    environment = {**os.environ, "PYTHONPATH": str(path), "CUDA_VISIBLE_DEVICES": ""}
    # As of a user, and not as this process has set it.
    environment.pop("TF_CPP_MIN_LOG_LEVEL", None)
    return subprocess.run(
        command,
        cwd=directory,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        **kwargs,
    )


def test_every_program_is_a_command():
    expected = {f"keras-vae-{name}": f"trainers.{name}:run" for name in PROGRAMS}
    assert entry_points() == expected
    for name in PROGRAMS:
        module = importlib.import_module(f"trainers.{name}")
        assert callable(module.run)


# What pip writes for an entry point.
SCRIPT = "import sys; from trainers.{} import run; sys.exit(run())"


@pytest.mark.parametrize("name", matrix.first(1, PROGRAMS))
def test_help_of_a_command_has_its_text_and_its_flags(name, tmp_path):
    script = tmp_path / f"keras-vae-{name}"
    script.write_text(SCRIPT.format(name))
    shown = run([sys.executable, str(script), "--help"], tmp_path, ROOT).stdout
    assert shown.strip().startswith(importlib.import_module(f"trainers.{name}").__doc__)
    assert f"--{FLAGS[name]}:" in shown or f"--[no]{FLAGS[name]}:" in shown
    others = {flag for other, flag in FLAGS.items() if other != name}
    if name not in ("evaluate", "sentence"):
        assert not any(f"--{flag}:" in shown for flag in others - {"output"})


def test_errors_of_a_command_are_one_line_without_greetings_of_tensorflow(tmp_path):
    command = [sys.executable, "-m", "trainers.export", "--output=out"]
    ended = run(command, tmp_path, ROOT)
    assert ended.returncode == 1
    (line,) = ended.stderr.splitlines()
    assert line.startswith("`--model` must be given")
    assert not list(tmp_path.iterdir())


GREETING = "I0000 00:00:1796026910.094 22345 port.cc:153] oneDNN custom operations"
OTHERS = "F0000 00:00:1796026910.094 no AVX\nuser: I0000 00:00:1.0\n"


@pytest.mark.parametrize("fails", [False, True])
def test_only_greetings_are_left_out_and_nothing_of_a_failed_import(fails, capfd):
    with contextlib.suppress(KeyError), _quiet.without_greetings():
        os.write(2, f"{GREETING}\n{OTHERS}".encode())
        if fails:
            raise KeyError
    assert capfd.readouterr().err == (f"{GREETING}\n{OTHERS}" if fails else OTHERS)
    os.write(2, b"I0000 00:00:1.0 later\n")
    assert "later" in capfd.readouterr().err


# === Packages ===


@pytest.fixture(scope="module")
def sources(tmp_path_factory):
    """A copy of what is packed, so that nothing is left in the tree."""
    directory = tmp_path_factory.mktemp("sources")
    names = ("keras_vae", "trainers", "tests", "benchmarks")
    files = ["setup.cfg", "pyproject.toml", "README.md", "LICENSE"]
    files += [p.relative_to(ROOT) for n in names for p in (ROOT / n).rglob("*.py")]
    for name in files:
        (directory / name).parent.mkdir(parents=True, exist_ok=True)
        (directory / name).write_bytes((ROOT / name).read_bytes())
    return directory


def pip(*args):
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check", *args]
    return subprocess.run(command, capture_output=True, text=True, check=True)


@pytest.mark.slow
def test_a_wheel_brings_the_commands_and_they_run(sources, tmp_path):
    offline = ("--no-deps", "--no-build-isolation", "--no-index")
    pip("wheel", *offline, "--wheel-dir", str(tmp_path), str(sources))
    (wheel,) = tmp_path.glob("keras_vae-*.whl")
    target = tmp_path / "target"
    pip("install", "--no-deps", "--no-index", "--target", str(target), str(wheel))
    packages = {path.name for path in target.iterdir() if path.is_dir()}
    assert {"keras_vae", "trainers"} < packages
    assert packages.isdisjoint({"tests", "benchmarks"})
    assert {path.name for path in (target / "bin").iterdir()} == set(entry_points())

    def command(name, *args):
        program = [sys.executable, str(target / "bin" / f"keras-vae-{name}"), *args]
        ended = run(program, tmp_path, target, timeout=250)
        assert ended.returncode == 0 or "--help" in args, ended.stderr
        return ended.stdout

    assert "--importance_samples:" in command("evaluate", "--help")
    small = ("--epochs=2", "--hidden=8", "--latent_dim=2", "--batch_size=300")
    command("train", "--name=small", *small, "--eval_samples=1")
    model = "--model=runs/small/best.keras"
    assert "Verdict: " in command("evaluate", model, "--eval_samples=1")
    command("export", model, "--output=out")
    assert (tmp_path / "out" / "saved_model.pb").is_file()


@pytest.mark.slow
def test_a_source_distribution_holds_what_a_wheel_is_made_of(sources, tmp_path):
    build = "from setuptools.build_meta import build_sdist; import sys; "
    build += "print(build_sdist(sys.argv[1]))"
    ended = run([sys.executable, "-c", build, str(tmp_path)], sources, "")
    assert ended.returncode == 0, ended.stderr
    (archive,) = tmp_path.glob("keras_vae-*.tar.gz")
    offline = ("--no-deps", "--no-build-isolation", "--no-index")
    pip("wheel", *offline, "--wheel-dir", str(tmp_path), str(archive))
    (wheel,) = tmp_path.glob("keras_vae-*.whl")
    from_sources = tmp_path / "other"
    pip("wheel", *offline, "--wheel-dir", str(from_sources), str(sources))
    (other,) = from_sources.glob("keras_vae-*.whl")
    assert names_in(wheel) == names_in(other)


def names_in(wheel):
    return sorted(zipfile.ZipFile(wheel).namelist())

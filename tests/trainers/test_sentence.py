"""The program of sentences, on a text of a few lines."""

import json
import pathlib
import shutil
import subprocess
import sys
import time

import keras
import numpy as np
import pytest
import tensorflow as tf
from programs import Program
from programs import check_same_weights
from programs import killed

import keras_vae as kv
from trainers import _progress
from trainers import _resolve
from trainers import _sentence_settings
from trainers import _settings
from trainers import sentence

SMALL = (
    "--units=6",
    "--embedding_dim=4",
    "--latent_dim=2",
    "--batch_size=16",
    "--eval_samples=2",
    "--importance_samples=3",
    "--schedule=none",
)


def parse(*args):
    define = _sentence_settings.define
    return _sentence_settings.resolve(_resolve.parsed(define, args))


PROGRAM = Program(parse, sentence.prepare, sentence.train, SMALL)


@pytest.fixture(scope="module")
def text(tmp_path_factory):
    path = tmp_path_factory.mktemp("text") / "lines.txt"
    path.write_text("\n".join(["", *kv.datasets.grammar(60, seed=1)]))
    return f"--dataset={path}"


@pytest.fixture(scope="module")
def run(text, tmp_path_factory):
    path = tmp_path_factory.mktemp("run") / "a"
    return path, PROGRAM.run(path, text, "--epochs=2", "--max_length=12")


def test_a_run_ends_with_its_figures_and_files(run):
    path, printed = run
    metrics = json.loads((path / "metrics.json").read_text())
    total = metrics["reconstruction"] + metrics["rate"]
    assert abs(metrics["negative_elbo"] - total) < 1e-3
    words, sentences = metrics["test_words"], metrics["test_sentences"]
    nll = metrics["negative_log_likelihood"]
    np.testing.assert_allclose(metrics["perplexity"], np.exp(nll * sentences / words))
    assert f"{metrics['perplexity']:.2f}" in printed
    # One draw of each: that of next to nothing may come out below 0.
    assert -0.1 < metrics["mutual_information"] < np.log(sentences)
    assert "Verdict: " in printed
    assert metrics["diagnosis"]["evidence"]["latent_dim"] == 2
    names = {item.name for item in path.iterdir()}
    assert {"annealing.png", "sentences.txt", "best.keras", "saved_model"} <= names
    rates = [row["kl_loss"] for row in json.loads((path / "history.json").read_text())]
    spans = kv.callbacks.StepHistory.read(path / "steps.csv")
    assert len(spans["step"]) == spans["step"][-1]  # So few steps are spans each.
    np.testing.assert_allclose(np.mean(spans["kl_loss"]), np.mean(rates), rtol=0.1)
    assert f"pairs {metrics['baselines']['bigram']:.2f}" in printed
    assert "Reconstructed" in (path / "sentences.txt").read_text()
    loaded = tf.saved_model.load(path / "saved_model")
    model = keras.saving.load_model(path / "best.keras")
    some = ["the old farmer sings", "a child waits"]
    np.testing.assert_array_equal(loaded.serve(some), model.reconstruct(some))


def test_what_is_left_out_is_said(text, tmp_path):
    flags = *SMALL, text, "--max_length=6"
    _, _, read, _ = PROGRAM.prepare(tmp_path / "a", *flags)
    assert "1 lines without a word" in read.description
    assert "of more than 6 words" in read.description
    assert kv.datasets.count_words(read.test[:1]) <= 7


@pytest.mark.slow
def test_a_resumed_run_ends_in_the_same_weights(run, text, tmp_path):
    path, flags = tmp_path / "b", (text, "--max_length=12")
    PROGRAM.run(path, *flags, "--epochs=1")
    PROGRAM.run(path, *flags, "--epochs=2", "--resume")
    whole, resumed = (
        keras.saving.load_model(p / "last.keras").get_weights() for p in (run[0], path)
    )
    for one, other in zip(whole, resumed, strict=True):
        np.testing.assert_array_equal(one, other)


def trained(directory, *flags):
    """Trains without figures and files; returns the path of the chosen model."""
    settings, run, read, model = PROGRAM.prepare(directory, *SMALL, *flags)
    with run.held(), _progress.Progress(9) as progress:
        run.start(model)
        return sentence.trained(settings, run, read, model, progress)


def logs(directory):
    return json.loads((directory / "history.json").read_text())


def test_training_begins_with_the_encoder_of_an_autoencoder(text, tmp_path):
    flags = text, "--pretraining=1", "--epochs=1", "--learning_rate=1e-9"
    path = tmp_path / "a"
    trained(path, *flags, "--delta=0.2")
    assert logs(path / "autoencoder")[0]["kl_weight"] == 0
    assert logs(path)[0]["kl_weight"] == 1
    old, new = (
        keras.saving.load_model(p / "last.keras") for p in (path / "autoencoder", path)
    )
    for one, other in zip(
        old.encoder.get_weights(), new.encoder.get_weights(), strict=True
    ):
        np.testing.assert_allclose(one, other, atol=1e-6)
    assert new.latent.posterior.delta == 0.2
    assert logs(path)[0]["kl_loss"] > 2 * 0.2 - 1e-4


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_pretraining_resumes_in_both_phases(text, tmp_path):
    flags = text, "--pretraining=2", "--epochs=2", "--free_bits=0.3", "--max_length=9"
    flags += "--schedule=linear", "--warmup=1 epochs", "--free_bits_group=2", "--resume"
    whole, resumed = tmp_path / "whole", tmp_path / "resumed"
    trained(whole, *flags)
    first, last = (row["kl_weight"] for row in logs(whole))
    assert first < last == 1
    model = keras.saving.load_model(whole / "last.keras")
    assert model.objective.nats.initial_value == 0.3
    assert model.objective.group_size == 2
    # Killed after the first epoch of the autoencoder, then after that of the model.
    for _ in range(2):
        with killed(1, "state"):
            trained(resumed, *flags)
    assert not (resumed / "last.keras").exists()
    trained(resumed, *flags)
    check_same_weights(whole / "last.keras", resumed / "last.keras")


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_run_ended_by_a_signal_goes_on_to_the_same_weights(text, tmp_path):
    flags = text, "--epochs=30", "--word_dropout=0.3", "--resume"
    whole, path = tmp_path / "whole", tmp_path / "killed"
    trained(whole, *flags)
    command = [sys.executable, "-m", "trainers.sentence", f"--run_dir={path}"]
    process = subprocess.Popen([*command, *SMALL, *flags], stdout=subprocess.DEVNULL)
    while process.poll() is None and not list(path.glob("state-000003.bin")):
        time.sleep(0.05)
    process.kill()
    process.wait()
    assert list(path.glob("state-*.bin"))
    assert not (path / "last.keras").exists()
    trained(path, *flags)
    assert len(logs(path)) == 30
    check_same_weights(whole / "last.keras", path / "last.keras")


def test_remedies_are_what_the_flags_say(text, tmp_path):
    def model(*flags):
        path = tmp_path / str(len(list(tmp_path.iterdir())))
        return PROGRAM.prepare(path, *SMALL, text, *flags)[-1]

    assert model("--target_rate=3").objective.rate_target == 3
    assert model("--mean_spread=0.6").latent.posterior.gamma == 0.6
    over = model("--free_bits=2", "--free_bits_over=example").objective.over
    assert over == "example"


def test_an_aggressive_run_measures_the_information(text, tmp_path):
    path = tmp_path / "a"
    trained(path, text, "--aggressive_steps=2", "--epochs=1")
    (row,) = logs(path)
    assert row["aggressive"] == 1
    assert -0.1 < row["mutual_information"] < np.log(256)


def test_a_run_goes_on_with_its_own_words(run, text, tmp_path):
    path, _ = run
    words = (path / "words.txt").read_text().split()
    assert keras.saving.load_model(path / "best.keras").vocabulary.words == words
    other = tmp_path / "other.txt"
    # As many words, which stand at other places.
    lines = pathlib.Path(text.removeprefix("--dataset=")).read_text()
    other.write_text(lines.replace(words[0], "?").replace(words[1], words[0]))
    shutil.copytree(path, tmp_path / "run")
    config = json.loads((path / "config.json").read_text())
    config["dataset"] = str(other)
    (tmp_path / "run" / "config.json").write_text(json.dumps(config))
    flags = "--epochs=3", "--max_length=12", "--resume", f"--dataset={other}"
    with pytest.raises(_settings.FlagError, match="where train has other values"):
        PROGRAM.prepare(tmp_path / "run", *SMALL, *flags)
    # Of an earlier version, which had no sums of the data.
    del config["contents"]
    (tmp_path / "run" / "config.json").write_text(json.dumps(config))
    with pytest.raises(_settings.FlagError, match="must have the words of the run in"):
        PROGRAM.prepare(tmp_path / "run", *SMALL, *flags)


def test_a_run_whose_learning_rate_has_fallen_gets_no_longer(text, tmp_path):
    flags = "--learning_rate_decay=cosine", text, "--validation_fraction=0"
    PROGRAM.run(tmp_path / "a", *flags, "--epochs=1")
    with pytest.raises(_settings.FlagError, match="`--epochs` must stay 1"):
        PROGRAM.prepare(tmp_path / "a", *SMALL, *flags, "--epochs=2", "--resume")


def test_words_that_are_all_unknown_are_measured(tmp_path):
    names = tmp_path / "names.txt"
    names.write_text("\n".join(f"name{i}" for i in range(40)))
    PROGRAM.run(tmp_path / "a", f"--dataset={names}", "--epochs=1")
    metrics = json.loads((tmp_path / "a" / "metrics.json").read_text())
    assert np.isfinite(metrics["negative_log_likelihood"])
    names.write_text("<unk>\n" * 9)
    message = "--dataset.*`sentences` must hold a word"
    with pytest.raises(_settings.FlagError, match=message):
        PROGRAM.prepare(tmp_path / "b", *SMALL, f"--dataset={names}")


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (("--target_rate=3", "--schedule=linear"), "`--target_rate` must be left out"),
        (("--target_rate=3", "--free_bits=1"), "`--free_bits` must be left out"),
        (("--language_model", "--pretraining=1"), "--language_model, which has no"),
        (("--free_bits_group=3",), "must divide --latent_dim=2"),
        (("--aggressive_steps=9", "--validation_fraction=0"), "must be positive"),
        (("--dataset=none.txt",), "`path` must be an existing file"),
        (("--dataset=digits",), "must hold sentences"),
        (("--warmup=3", "--schedule=none"), "warmup"),
        (
            ("--schedule=linear", "--warmup=100000"),
            "`--warmup` must end before the run does",
        ),
        (("--name=../x",), "`--name` must be left out where `--run_dir`"),
    ],
)
def test_flags_that_cannot_be_followed(flags, message, text, tmp_path):
    with pytest.raises(_settings.FlagError, match=message):
        PROGRAM.prepare(tmp_path / "a", *SMALL, text, *flags)

"""The program of sentences, on a text of a few lines."""

import json

import keras
import numpy as np
import pytest
import tensorflow as tf
from programs import Program

import keras_vae as kv
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
    names = {item.name for item in path.iterdir()}
    assert {"annealing.png", "sentences.txt", "best.keras", "saved_model"} <= names
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


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (("--dataset=none.txt",), "`path` must be an existing file"),
        (("--dataset=digits",), "must hold sentences"),
        (("--warmup=3", "--schedule=none"), "warmup"),
    ],
)
def test_flags_that_cannot_be_followed(flags, message, tmp_path):
    with pytest.raises(_settings.FlagError, match=message):
        PROGRAM.prepare(tmp_path / "a", *flags)

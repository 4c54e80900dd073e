"""Saved models as SavedModels."""

import keras
import numpy as np
import programs
import pytest
import tensorflow as tf

import keras_vae as kv
from trainers import _settings


def save(directory, kind, **kwargs):
    model = kind(
        kv.networks.mlp_encoder([8]),
        kv.networks.mlp_decoder([8], (6,)),
        2,
        seed=0,
        **kwargs,
    )
    model.build((None, 6))
    model.compile("adam")
    path = directory / f"{kind.__name__}.keras"
    model.save(path)
    return path


def load(path):
    # The optimiser of a model that was not trained has no state to load.
    return keras.saving.load_model(path, compile=False)


X = np.random.default_rng(0).uniform(size=(5, 6)).astype("float32")


def test_the_saved_model_is_that_of_the_file(tmp_path):
    path = save(tmp_path, kv.VAE)
    text = programs.exported(f"--model={path}", f"--output={tmp_path / 'out'}")
    assert "events of shape (None, 6), 2 latent units" in text
    loaded = tf.saved_model.load(tmp_path / "out")
    expected = load(path).reconstruct(X)
    np.testing.assert_allclose(loaded.serve(X), expected, atol=1e-6)


def test_a_weight_of_a_multi_rate_vae_is_a_plain_one_of_its_own_noise(tmp_path):
    options = {"likelihood": "unit_normal", "beta_range": (0.01, 2.0)}
    path = save(tmp_path, kv.MultiRateVAE, **options)
    output = tmp_path / "out"
    programs.exported(f"--model={path}", "--beta=0.04", f"--output={output}")
    loaded = tf.saved_model.load(output)
    plain = kv.weighing.with_own_noise(load(path).at(0.04), 0.04)
    assert plain.likelihood.scale == pytest.approx(0.2)
    np.testing.assert_allclose(loaded.serve(X), plain.reconstruct(X), atol=1e-6)
    bounds = [loaded.negative_elbo(x=X, seed=seed).numpy() for seed in range(300)]
    expected = -plain.elbo(X, num_samples=300, seed=1).numpy()
    np.testing.assert_allclose(np.mean(bounds, axis=0), expected, rtol=0.05)


@pytest.mark.slow
def test_a_model_of_sentences_takes_strings(tmp_path):
    sentences = kv.datasets.grammar(20, seed=1)
    vocabulary = kv.datasets.Vocabulary.of(sentences)
    vae = kv.SentenceVAE(vocabulary, latent_dim=2, units=4, embedding_dim=4, seed=0)
    vae.save(tmp_path / "vae.keras")
    text = programs.exported(
        f"--model={tmp_path / 'vae.keras'}", f"--output={tmp_path / 'out'}"
    )
    assert "a SavedModel of sentences, strings, 2 latent units" in text
    loaded = tf.saved_model.load(tmp_path / "out")
    served = loaded.serve(tf.constant(sentences[:2]))
    expected = vae.reconstruct(sentences[:2])
    assert served.numpy().tolist() == expected.numpy().tolist()


@pytest.mark.parametrize(
    ("args", "message"),
    [
        ("--output=out", "`--model` must be given"),
        ("--model={vae}", "`--output` must be given"),
        ("--model={vae} --output={tmp}/taken", "`--output`=.*taken: "),
        ("--model={vae} --output={tmp}/out --beta=1", "`--beta` must be left out"),
        ("--model={vae} --output={tmp}/out --dataset=digits", "dataset"),
    ],
)
def test_errors_name_the_flag_and_nothing_is_written(args, message, tmp_path):
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken" / "thesis.txt").write_text("done")
    path = save(tmp_path, kv.VAE)
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(_settings.FlagError, match=message):
        programs.exported(*args.format(vae=path, tmp=tmp_path).split())
    assert sorted(tmp_path.rglob("*")) == before

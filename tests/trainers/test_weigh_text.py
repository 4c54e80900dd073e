"""The sweep over the weights of sentences."""

import json

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_vae as kv
from trainers import _flags
from trainers import _resolve
from trainers import _settings
from trainers import _weigh_text

SWEEP = "--dataset=some.txt", "--mode=sweep"


def resolve(*args):
    return _weigh_text.resolve(_resolve.parsed(_flags.define_weigh, args))


def test_flags_are_those_of_a_sentence_run_for_each_weight():
    small = "--hidden=8", "--latent_dim=3", "--epochs=2", "--seed=4"
    asked = resolve(*SWEEP, *small, "--betas=0.5,0.1", "--target_rate=2")
    assert (asked.betas, asked.code) == ((0.1, 0.5), 2.0)
    settings = asked.of(0.5)
    model = settings.model
    assert (model.units, model.embedding_dim, model.latent_dim) == (8, 8, 3)
    assert (settings.train.kl_weight, settings.train.schedule) == (0.5, "sigmoid")
    assert (settings.fit.epochs, settings.fit.batch_size, settings.fit.seed) == (
        2,
        32,
        4,
    )
    assert settings.run_dir == "runs/some-weigh/models/beta-0.5"
    assert resolve(*SWEEP, "--run_dir=x").of(1.0).run_dir == "x/models/beta-1"


def test_weights_lie_between_a_tenth_and_one_by_default():
    betas = resolve(*SWEEP).betas
    assert (len(betas), betas[0], betas[-1]) == (5, 0.1, 1.0)
    assert resolve(*SWEEP, "--beta_range=0.5,2").betas[-1] == 2.0
    assert resolve(*SWEEP).code == 5


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (("--dataset=ptb",), "`--mode` must be sweep for sentences"),
        ((*SWEEP, "--network=conv"), "`--network` must be left out with sentences"),
        ((*SWEEP, "--hidden=8,4"), "`--hidden` must be one number"),
        (
            (*SWEEP, "--betas=0.1,1", "--export_beta=0.5"),
            "`--export_beta` must be one of --betas",
        ),
        ((*SWEEP, "--beta_range=0.5"), "`--beta_range` must be two weights"),
        ((*SWEEP, "--beta_range=1,0.1"), "`--beta_range` must be two weights"),
        (
            (*SWEEP, "--betas=0.5,1", "--beta_range=0.1,1"),
            "`--beta_range` must be left",
        ),
        ((*SWEEP, "--name=a", "--run_dir=b"), "`--name` must be left out where"),
    ],
)
def test_flags_of_numbers_are_refused(args, message):
    with pytest.raises(_settings.FlagError, match=message):
        resolve(*args)


def test_advice_is_the_largest_weight_that_keeps_a_code():
    row = {"test_sentences": 9, "active_units": 2, "mutual_information": 1.0}
    numbers = [(9.0, 20.0, 26.0), (6.0, 22.0, 25.0), (0.1, 27.0, 26.5)]
    keys = "rate", "reconstruction", "negative_log_likelihood"
    found = {
        beta: {**row, **dict(zip(keys, nats, strict=True))}
        for beta, nats in zip((0.1, 0.5, 1.0), numbers, strict=True)
    }
    curve = _weigh_text._curve(found, latent_dim=3)
    assert np.isnan(curve.gap).all()
    measured = {b: {**r, "mutual_information_limit": 3.0} for b, r in found.items()}
    measured[0.5]["mutual_information"] = 2.1  # Within a nat of the limit.
    gap = _weigh_text._curve(measured, latent_dim=3).gap
    np.testing.assert_allclose(gap, [8.0, np.nan, 0.0])
    counted = {"baselines": {"bigram": 27.0, "independent": 30.0}}
    advice = _weigh_text._advice(curve, resolve(*SWEEP), counted)
    assert "beta = 0.5 for code: the largest measured weight" in advice
    assert "beta = 0.5 for likelihood" in advice
    assert "-log p of counted words: pairs 27.00, single 30.00" in advice
    assert _weigh_text._advised(curve, resolve(*SWEEP)) == 0.5
    hopeless = resolve(*SWEEP, "--target_rate=12")
    counted = {"baselines": {"bigram": 24.0, "independent": 30.0}}
    nothing = _weigh_text._advice(curve, hopeless, counted)
    assert "At no weight does z carry 12 nats; most is 9.00, at beta = 0.1" in nothing
    assert "pairs of words are better by 1.00 nats" in nothing.splitlines()[1]
    assert _weigh_text._advised(curve, hopeless) == 0.5


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_sweep_trains_each_weight_and_goes_on(tmp_path):
    lines = tmp_path / "some.txt"
    lines.write_text("\n".join(kv.datasets.grammar(60, seed=1)))
    args = f"--dataset={lines}", "--mode=sweep", "--betas=0.2,1", "--epochs=1"
    args += "--hidden=6", "--latent_dim=2", "--eval_samples=1", "--target_rate=0.01"
    values = _resolve.parsed(
        _flags.define_weigh, [*args, f"--run_dir={tmp_path / 'run'}", "--resume"]
    )
    first = _weigh_text.weigh(*_weigh_text.prepare(values))
    assert "for code" in first or "At no weight" in first
    metrics = json.loads((tmp_path / "run" / "metrics.json").read_text())
    assert metrics["betas"] == [0.2, 1.0]
    curve = kv.weighing.RateDistortionCurve.from_csv(tmp_path / "run" / "curve.csv")
    np.testing.assert_allclose(curve.rate, [row["rate"] for row in metrics["metrics"]])
    assert (tmp_path / "run" / "models" / "beta-0.2" / "best.keras").is_file()
    model = keras.saving.load_model(tmp_path / "run" / "model.keras")
    chosen = tmp_path / "run" / "models" / f"beta-{metrics['exported_beta']:g}"
    other = keras.saving.load_model(chosen / "best.keras")
    for one, two in zip(model.weights, other.weights, strict=True):
        np.testing.assert_array_equal(one, two)
    served = tf.saved_model.load(tmp_path / "run" / "saved_model")
    assert served.serve(tf.constant(["a cat"])).dtype == tf.string
    assert _weigh_text.weigh(*_weigh_text.prepare(values)) == first
    longer = [*args, f"--run_dir={tmp_path / 'run'}", "--resume", "--epochs=2"]
    with pytest.raises(_settings.FlagError, match="`--epochs` must stay 1 where"):
        _weigh_text.prepare(_resolve.parsed(_flags.define_weigh, longer))

"""The training program, run in this process on small settings."""

import csv

import keras
import matrix
import numpy as np
import programs
import pytest
import tensorflow as tf
from programs import read
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.hparams import plugin_data_pb2
from tensorboard.util import tensor_util

import keras_vae as kv
from trainers import _flags
from trainers import _resolve
from trainers import _settings
from trainers import train

run = programs.TRAIN.run


# === What a run leaves ===


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    directory = tmp_path_factory.mktemp("runs") / "digits"
    return directory, run(directory, "--epochs=4", "--seed=3", "--schedule=sigmoid")


def test_run_writes_everything_and_nothing_half(finished):
    directory, _ = finished
    assert {path.name for path in directory.iterdir()} == {
        "best.keras",
        "best.keras.json",
        "config.json",
        "history.csv",
        "history.json",
        "last.keras",
        "metrics.json",
        "model.keras",
        "report.png",
        "saved_model",
        "tensorboard",
    }
    assert (directory / "report.png").read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"
    assert list(directory.glob("tensorboard/train/events*"))


def test_table_shows_what_the_saved_model_scores(finished):
    directory, table = finished
    metrics = read(directory, "metrics.json")
    assert metrics["negative_elbo"] == pytest.approx(
        metrics["rate"] + metrics["distortion"], rel=1e-5
    )
    assert f"-ELBO         {metrics['negative_elbo']:10.2f}" in table
    assert f"rate (KL)     {metrics['rate']:10.2f}" in table
    assert "360 examples, 2 draws" in table
    assert f"tensorboard --logdir {directory}" in table

    test = programs.TRAIN.prepare("elsewhere", *programs.SMALL)[2].test
    loaded = tf.saved_model.load(directory / "saved_model")
    draws = [loaded.negative_elbo(x=test, seed=seed).numpy() for seed in range(20)]
    per_run = np.mean(draws, axis=1)
    error = per_run.std() * np.sqrt(1 / 2 + 1 / 20)
    assert abs(metrics["negative_elbo"] - per_run.mean()) < 5 * error


def test_tensorboard_has_flags_command_table_verdict_and_labels(finished):
    directory, table = finished
    logs = EventAccumulator(
        str(directory / "tensorboard" / "run"), size_guidance={"tensors": 0}
    )
    logs.Reload()
    metrics = read(directory, "metrics.json")
    for name in ("negative_elbo", "distortion", "rate", "active_units"):
        (event,) = logs.Tensors(f"test/{name}")
        value = tensor_util.make_ndarray(event.tensor_proto)
        assert value == pytest.approx(metrics[name], rel=1e-6)
    (results,) = logs.Tensors("run/results")
    shown = tensor_util.make_ndarray(results.tensor_proto).item().decode()
    for paragraph in shown.replace("```", "").split("\n\n"):
        assert paragraph.strip() in table
    assert "-ELBO" in shown
    assert "Verdict: " in shown
    (command,) = logs.Tensors("run/command")
    command = tensor_util.make_ndarray(command.tensor_proto)
    assert b"python -m trainers.train" in command.item()
    tag = "_hparams_/session_start_info"
    content = logs.SummaryMetadata(tag).plugin_data.content
    start = plugin_data_pb2.HParamsPluginData.FromString(content).session_start_info
    flags = {name: value for name, value in start.hparams.items()}
    assert flags["seed"].number_value == 3
    assert flags["hidden"].string_value == "16"
    assert flags["likelihood"].string_value == "continuous_bernoulli"
    assert flags["binarize"].string_value == "none"
    assert start.group_name == "digits"
    labels = (directory / "tensorboard" / "latent" / "labels.tsv").read_text().split()
    assert labels[:3] == [str(y) for y in held_out_labels()[:3]]


def held_out_labels():
    return programs.TRAIN.prepare("elsewhere", *programs.SMALL)[2].held_out_labels


def test_history_is_that_of_fit(finished):
    directory, _ = finished
    rows = read(directory, "history.json")
    assert [row["epoch"] for row in rows] == [1, 2, 3, 4]
    with open(directory / "history.csv", newline="") as file:
        table = [{k: float(v) for k, v in row.items()} for row in csv.DictReader(file)]
    assert table == rows
    # 5 steps per epoch: the ramp of 10 steps ends with the second epoch.
    assert [row["kl_weight"] == 1 for row in rows] == [False, False, True, True]
    best = read(directory, "best.keras.json")
    later = [row["val_negative_elbo"] for row in rows[2:]]
    assert best["best"] == pytest.approx(min(later))
    assert best["epoch"] == 3 + int(np.argmin(later))


def test_config_holds_what_was_chosen(finished):
    directory, _ = finished
    config = read(directory, "config.json")
    assert config["likelihood"] == "continuous_bernoulli"
    assert config["num_samples"] == 1
    assert config["seed"] == 3
    assert config["hidden"] == [16]


# === Resuming ===


@pytest.mark.parametrize(
    ("binarize", "epoch", "after"),
    matrix.first(1, [("dynamic", 3, "state"), ("none", 2, "training")]),
)
def test_resumed_run_ends_as_an_uninterrupted_one(binarize, epoch, after, tmp_path):
    args = ("--epochs=3", f"--binarize={binarize}", "--learning_rate_decay=cosine")
    whole, resumed = programs.TRAIN.whole_and_resumed(
        tmp_path, *args, epoch=epoch, after=after
    )
    programs.check_same_json(
        whole, resumed, "history.json", "metrics.json", "best.keras.json"
    )
    for name in ("best.keras", "last.keras"):
        programs.check_same_weights(whole / name, resumed / name)


def test_resume_of_a_finished_run_reports_again(finished):
    directory, table = finished
    metrics = read(directory, "metrics.json")
    args = ("--epochs=4", "--seed=3", "--schedule=sigmoid", "--resume")
    assert run(directory, *args) == table
    assert read(directory, "metrics.json") == metrics
    assert len(read(directory, "history.json")) == 4


def test_resume_with_other_flags_is_an_error(finished):
    directory, _ = finished
    with pytest.raises(
        _settings.FlagError, match=r"--epochs=4 became 3; --seed=3 became"
    ):
        run(directory, "--epochs=3", "--seed=4", "--schedule=sigmoid", "--resume")


def test_existing_run_is_not_overwritten(finished):
    directory, _ = finished
    before = (directory / "metrics.json").read_text()
    with pytest.raises(_settings.FlagError, match=r"--resume.*--name"):
        run(directory, "--epochs=4", "--seed=3")
    assert (directory / "metrics.json").read_text() == before


def test_directory_of_other_things_is_left_alone(tmp_path):
    (tmp_path / "thesis.txt").write_text("done")
    with pytest.raises(_settings.FlagError, match="holds other files"):
        run(tmp_path, "--resume")
    with pytest.raises(_settings.FlagError, match="must be a directory"):
        run(tmp_path / "thesis.txt")


# === Variants ===


@pytest.mark.parametrize(
    "args",
    matrix.first(
        1,
        [
            "--objective=importance_weighted --validation_fraction=0 --resume",
            "--network=conv --filters=4 --schedule=none",
            "--prior=vamp_prior --num_components=5 --schedule=cosine",
            "--prior=gaussian_mixture --precision=mixed_bfloat16",
            "--posterior=planar --prior=flow --kl_weight=0.5",
        ],
    ),
)
@pytest.mark.slow
def test_variants_run(args, tmp_path):
    table = run(tmp_path / "run", "--epochs=2", *args.split())
    assert "-ELBO" in table
    assert np.isfinite(read(tmp_path / "run", "metrics.json")["negative_elbo"])


@pytest.mark.slow
def test_a_ladder_is_resumed_and_reports_its_levels(tmp_path):
    levels = "--model=ladder --levels=4,2 --hidden=16,8 --batch_normalization".split()
    whole, resumed = programs.TRAIN.whole_and_resumed(
        tmp_path, "--epochs=3", *levels, epoch=2, after="training"
    )
    programs.check_same_json(whole, resumed, "history.json", "metrics.json")
    programs.check_same_weights(whole / "last.keras", resumed / "last.keras")
    metrics = read(whole, "metrics.json")
    rates = metrics["rate_of_levels"]
    assert set(rates) == {"level_1", "level_2"}
    assert sum(rates.values()) == pytest.approx(metrics["rate"], rel=1e-4)
    assert metrics["latent_dim"] == 6


def test_levels_of_maps_are_made_of_flags(tmp_path):
    args = "--model=top_down --network=resnet --filters=4,6 --levels=2,2"
    args += " --free_bits=0.5 --clip_norm=50 --skip_norm=200"
    *_, model = programs.TRAIN.prepare(tmp_path / "run", *args.split())
    assert [latent.shape for latent in model.latents] == [(8, 8, 2), (4, 4, 2)]
    objective, adam = model.objective, model.optimizer
    assert (objective.nats.initial_value, objective.group_size) == (0.5, "latent")
    assert (adam.skip_norm, adam.global_clipnorm) == (200.0, 50.0)


@pytest.mark.slow
def test_free_bits_end_where_they_shall(tmp_path):
    flags = "--hidden=8", "--free_bits=0.5", "--free_bits_until=1 epoch", "--epochs=2"
    run(tmp_path / "run", *flags)
    with open(tmp_path / "run" / "history.csv") as file:
        nats = [float(row["nats"]) for row in csv.DictReader(file)]
    assert nats == [0.5, 0.0]


@pytest.mark.slow
def test_vectors_of_ones_own(tmp_path):
    x = np.random.default_rng(0).normal(3.0, 2.0, size=(200, 6)).astype("float32")
    np.savez(tmp_path / "mine.npz", x)
    args = (f"--dataset={tmp_path / 'mine.npz'}", "--epochs=2", "--warmup=1 epoch")
    run(tmp_path / "run", *args, "--prior=vamp_prior", "--num_components=9")
    assert read(tmp_path / "run", "config.json")["likelihood"] == "normal"
    assert read(tmp_path / "run", "config.json")["kl"] == "monte_carlo"


def test_classes_of_ones_own(tmp_path):
    x = np.random.default_rng(0).integers(0, 3, size=(200, 6))
    np.save(tmp_path / "mine.npy", x)
    args = (f"--dataset={tmp_path / 'mine.npy'}", "--epochs=2", "--warmup=1")
    run(tmp_path / "run", *args, "--likelihood=categorical", "--num_classes=3")
    # Three classes that nothing predicts.
    metrics = read(tmp_path / "run", "metrics.json")
    assert metrics["distortion"] > 5 * np.log(3)


def test_a_seed_draws_the_weights_of_the_decoder_first(tmp_path):
    args = ["--hidden=5", "--latent_dim=2", "--linear_path=none", "--seed=3"]
    args.append(f"--run_dir={tmp_path / 'run'}")
    settings = _resolve.train(_resolve.parsed(_flags.define_train, args))
    *_, model = train.prepare(settings)
    keras.utils.set_random_seed(3)
    decoder = kv.networks.mlp_decoder([5], (8, 8, 1))
    encoder = kv.networks.mlp_encoder([5], (8, 8, 1))
    expected = kv.VAE(encoder, decoder, latent_dim=2)
    expected.build((None, 8, 8, 1))
    for own, part in ((model.encoder, encoder), (model.decoder, decoder)):
        for one, other in zip(own.get_weights(), part.get_weights(), strict=True):
            if one.ndim == 2:
                np.testing.assert_array_equal(one, other)

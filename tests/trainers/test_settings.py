"""Settings are frozen, made in one place, and read what runs have written."""

import dataclasses
import json

import numpy as np
import programs
import pytest

from trainers import _data
from trainers import _resolve
from trainers import _run
from trainers import _settings

PROGRAMS = {"train": programs.TRAIN, "weigh": programs.WEIGH}


@pytest.mark.parametrize("name", PROGRAMS)
def test_settings_are_frozen_whole_and_in_part(name):
    settings = PROGRAMS[name].parse()
    for part in ("data", "model", "fit", "run", name):
        for target, field in ((settings, part), *_fields(getattr(settings, part))):
            with pytest.raises(dataclasses.FrozenInstanceError):
                setattr(target, field, None)
    assert hash(settings) == hash(PROGRAMS[name].parse())


def _fields(part):
    return [(part, field.name) for field in dataclasses.fields(part)]


@pytest.mark.parametrize("name", PROGRAMS)
def test_every_flag_is_in_one_part_and_goes_into_json(name):
    settings = PROGRAMS[name].parse("--hidden=7,5", "--latent_dim=3")
    flat = settings.flat
    assert flat["hidden"] == [7, 5]
    assert json.loads(json.dumps(flat)) == flat
    parts = [settings.data, settings.model, settings.fit, settings.run]
    parts.append(getattr(settings, name))
    assert len(flat) == 1 + sum(len(dataclasses.fields(part)) for part in parts)
    other = settings.with_values(latent_dim=4, epochs=7)
    assert (other.model.latent_dim, other.fit.epochs) == (4, 7)
    assert (settings.model.latent_dim, other.model.hidden) == (3, (7, 5))
    with pytest.raises(TypeError, match="latents"):
        settings.with_values(latents=4)


@pytest.mark.parametrize(
    ("program", "x", "likelihood"),
    [
        ("train", np.eye(4), "bernoulli"),
        ("train", np.eye(4) / 2, "continuous_bernoulli"),
        ("train", np.eye(4) * 2, "normal"),
        ("weigh", np.eye(4), "bernoulli"),
        ("weigh", np.eye(4) / 2, "normal"),
    ],
)
def test_data_decide_the_likelihood_that_is_not_given(program, x, likelihood):
    resolve = {"train": _resolve.train_on, "weigh": _resolve.weigh_on}[program]
    data = _data.Data(x, None, x)
    settings = PROGRAMS[program].parse()
    assert settings.model.likelihood is None
    assert resolve(settings, data).model.likelihood == likelihood
    given = PROGRAMS[program].parse("--likelihood=normal")
    assert resolve(given, data).model.likelihood == "normal"


@pytest.mark.parametrize(
    ("args", "start", "schedule"),
    [
        ((), "data", "none"),
        (("--warmup=2",), "data", "sigmoid"),
        # Without a weight on the rate there is no linear optimum.
        (("--kl_weight=0",), "random", "sigmoid"),
        (("--prior=learned_normal",), "random", "sigmoid"),
        (("--network=linear", "--prior=learned_normal"), "none", "sigmoid"),
        (("--linear_path=none",), "none", "sigmoid"),
        (("--linear_path=none", "--epochs=2"), "none", "sigmoid"),
        # No ramp fits into a single step.
        (("--linear_path=none", "--epochs=1"), "none", "none"),
    ],
)
def test_training_starts_at_the_linear_optimum_where_that_is_known(
    args, start, schedule
):
    x = 5 * np.random.default_rng(0).normal(size=(50, 12))
    settings = programs.TRAIN.parse("--latent_dim=3", *args)
    settings = _resolve.train_on(settings, _data.Data(x, None, x))
    assert (settings.model.linear_path, settings.train.schedule) == (start, schedule)


# What a run of an earlier version has written.
CONFIG = {
    "config": None,
    "dataset": "digits",
    "data_dir": None,
    "binarize": "none",
    "standardize": "auto",
    "validation_fraction": 0.1,
    "network": "mlp",
    "hidden": [32, 16],
    "filters": None,
    "activation": None,
    "latent_dim": 8,
    "likelihood": "continuous_bernoulli",
    "num_classes": None,
    "prior": "standard_normal",
    "num_components": None,
    "posterior": "diagonal_normal",
    "num_samples": 1,
    "kl": "analytic",
    "objective": "elbo",
    "kl_weight": 1.0,
    "schedule": "sigmoid",
    "warmup": None,
    "epochs": 3,
    "batch_size": 100,
    "learning_rate": 0.001,
    "learning_rate_decay": "none",
    "on_divergence": "stop",
    "seed": 1,
    "precision": "float32",
    "jit_compile": "auto",
    "steps_per_execution": None,
    "name": "mine",
    "run_dir": "runs/mine",
    "resume": False,
    "eval_samples": 10,
    "planned_epochs": 3,
}
# Flags that there were not yet.
NEW = (
    "condition",
    "missing",
    "key",
    "header",
    "drop_columns",
    "decimal",
    "image_size",
    "grayscale",
    "max_bytes",
    "linear_path",
    "model",
    "levels",
    "layers",
    "batch_normalization",
    "free_bits",
    "free_bits_until",
    "clip_norm",
    "skip_norm",
)


def resumed(tmp_path, *args):
    (tmp_path / "config.json").write_text(json.dumps(CONFIG))
    args = ("--hidden=32,16", "--epochs=3", "--seed=1", "--linear_path=none", *args)
    settings = programs.TRAIN.parse(f"--run_dir={tmp_path}", "--resume", *args)
    x = np.eye(4) / 2
    return _resolve.train_on(settings, _data.Data(x, None, x))


def test_a_run_of_an_earlier_version_can_be_resumed(tmp_path):
    settings = resumed(tmp_path)
    old = [name for name in settings.flat if name not in NEW]
    assert [*old, "planned_epochs"] == [*CONFIG]
    assert _run.Run(settings).planned_epochs == 3


def test_a_run_of_an_earlier_version_has_no_linear_path(tmp_path):
    settings = resumed(tmp_path, "--linear_path=random")
    with pytest.raises(_settings.FlagError, match="--linear_path=none became random"):
        _run.Run(settings)


def test_it_is_not_resumed_with_other_settings(tmp_path):
    settings = resumed(tmp_path, "--hidden=32,8")
    with pytest.raises(_settings.FlagError, match="--hidden=32,16 became 32,8"):
        _run.Run(settings)

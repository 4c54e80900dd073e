"""Settings of flags: read, checked and filled in here, and changed nowhere else.

In two steps, since some follow from the data: `train` and `weigh` take the flags,
`train_on` and `weigh_on` the data that these name.
"""

import dataclasses
import math
import os
import pathlib

from absl import flags

import keras_vae as kv
from keras_vae.models import linear_start
from trainers import _data
from trainers import _files
from trainers import _flag_checks
from trainers import _flags
from trainers import _recipes
from trainers import _settings
from trainers import _weigh_checks

_NUM_BETAS = {"multi": 13, "sweep": 7}
# Of `trainers.weigh`: epochs, and the steps at which larger data stop earlier.
_EPOCHS, _STEPS = 200, 20_000
_LEVELS = {"mlp": (64, 32, 16), "resnet": (4,) * 6}
# For how many examples the linear optimum is the default: on more, compared on grey
# drawings alone, a random start ended ahead.
_STARTED_EXAMPLES = 10_000
_FARTHEST = 1e9


def parsed(define, args):
    """Returns the flags of a command line, whatever the flags of this process.

    Args:
        define: Function that defines the flags of a program.
        args: Sequence of strings, such as "--epochs=3".

    Returns:
        `absl.flags.FlagValues`.

    Raises:
        _settings.FlagError: If a flag is unknown or illegal.
    """
    values = flags.FlagValues()
    define(values)
    try:
        values(["program", *args])
    except flags.Error as error:
        raise _settings.FlagError(str(error)) from error
    return values


# === trainers.train ===


def train(values):
    """Returns what the flags of `trainers.train` ask for.

    Args:
        values: Parsed `absl.flags.FlagValues` on which `_flags.define_train` was
            called.

    Returns:
        `_settings.Settings`, defaults filled in but for a likelihood that the data
        decide.

    Raises:
        _settings.FlagError: If the flags cannot be followed together.
    """
    settings, recipe = _read(values, _flags.define_train)
    settings = _with_levels(settings)
    schedules = (None, *_flag_checks.SCHEDULES)
    _flag_checks.check_only_with("warmup", settings, "schedule", schedules)
    _flag_checks.check_together(settings)
    _flag_checks.kl_schedule(settings)
    _flag_checks.free_bits_schedule(settings)
    several = settings.train.objective == "importance_weighted"
    settings = _filled(settings, recipe, 5 if several else 1)
    _flag_checks.check_free_bits(settings)
    return settings


def _with_levels(settings):
    """Returns settings whose levels, if the model has some, are known."""
    model = settings.model
    if model.model in _flag_checks.HIERARCHIES:
        _flag_checks.check_no_latent_dim(model)
        levels = model.levels or _LEVELS.get(model.network, _LEVELS["mlp"])
        settings = settings.with_values(levels=levels, latent_dim=sum(levels))
    _flag_checks.check_levels(settings)
    return settings


def train_on(settings, data):
    """Returns the settings with what the data decide.

    Args:
        settings: `_settings.Settings` from `train`.
        data: `_data.Data`.
    """
    likelihood = settings.model.likelihood or "normal"
    if settings.model.likelihood is None:
        if _is_binary(settings, data):
            likelihood = "bernoulli"
        elif _data.is_unit_interval(data):
            likelihood = "continuous_bernoulli"
    settings = settings.with_values(likelihood=likelihood)
    settings = settings.with_values(linear_path=_linear_path(settings, data))
    if settings.train.schedule is None:
        # A smaller weight would spoil a start that is right for the last one.
        starts_right = settings.model.linear_path == "data"
        steps = data.steps_per_epoch(settings.fit.batch_size) * settings.fit.epochs
        # The only step of a run is at the last weight.
        ramp = settings.train.warmup is not None or not (starts_right or steps == 1)
        settings = settings.with_values(schedule="sigmoid" if ramp else "none")
    return settings


# === trainers.weigh ===


def weigh(values):
    """Returns what the flags of `trainers.weigh` ask for; see `train`."""
    settings, recipe = _read(values, _flags.define_weigh)
    settings = _with_levels(settings)
    _weigh_checks.check_levels(settings)
    _flag_checks.check_together(settings)
    weigh = settings.weigh
    _weigh_checks.check_range(weigh.beta_range, weigh.mode, weigh.betas)
    if settings.weigh.check:
        _flag_checks.check_only_with("check", settings, "mode", ("multi",))
    _weigh_checks.check_processes(settings)
    return _filled(settings, recipe, 1, suffix="-weigh")


def weigh_on(settings, data):
    """Returns the settings with what the data decide: likelihood and weights.

    Args:
        settings: `_settings.Settings` from `weigh`.
        data: `_data.Data`.

    Raises:
        _settings.FlagError: If the flags do not suit them.
    """
    if settings.model.likelihood is None:
        binary = _is_binary(settings, data)
        settings = settings.with_values(likelihood="bernoulli" if binary else "normal")
    settings = settings.with_values(linear_path=_linear_path(settings, data))
    beta_range, remedy = _beta_range(settings, data)
    settings = settings.with_values(beta_range=beta_range)
    settings = settings.with_values(betas=_betas(settings))
    _weigh_checks.check_report(settings, remedy)
    if settings.fit.epochs is None:
        steps = data.steps_per_epoch(settings.fit.batch_size)
        epochs = min(_EPOCHS, math.ceil(_STEPS / steps))
        settings = settings.with_values(epochs=epochs)
    return settings


def _linear_path(settings, data):
    """Returns "data", "random" or "none"."""
    model = settings.model
    # The program of all weights starts at each of them.
    weight = 1.0 if settings.train is None else settings.train.kl_weight
    if model.linear_path != "auto":
        return model.linear_path
    if model.levels is not None:
        return "none"  # The linear optimum is known for one latent.
    other = "none" if model.network == "linear" else "random"
    # The forecast below, which says if there is an optimum, is none of classes.
    known = model.likelihood != "categorical" and linear_start.is_known(
        model.likelihood, model.posterior, model.prior
    )
    if not known or len(data.train) > _STARTED_EXAMPLES or weight <= 0:
        return other
    # A linear encoder of what is there is far from the posterior if the noise is small.
    if _data.has_gaps(data):
        return other
    try:
        kv.linear_forecast(data.train, model.latent_dim, betas=[weight])
    except ValueError:
        # So many units explain all, for example.
        return other
    return "data"


def _beta_range(settings, data):
    """Returns the smallest and the largest weight, and how a run gets others."""
    weigh, remedy = settings.weigh, "widen --beta_range"
    if weigh.beta_range is not None:
        return weigh.beta_range, remedy
    if settings.run.resume and weigh.mode == "multi":
        begun = _files.read_flags(pathlib.Path(settings.run_dir)) or {}
        if begun.get("beta_range"):
            return tuple(begun["beta_range"]), "a run of others has another --name"
    if weigh.betas is not None:
        return (weigh.betas[0], weigh.betas[-1]), "name it among --betas"
    known = {"normal": "unit_normal", "continuous_bernoulli": "continuous_bernoulli"}
    likelihood = known.get(settings.model.likelihood, "bernoulli")
    x = _data.as_seen(data.train, settings.data.binarize)
    with _flag_checks.blamed("latent_dim", settings.model.latent_dim):
        found = kv.weighing.beta_range(x, settings.model.latent_dim, likelihood)
    return found, remedy


def _betas(settings):
    """The weights that are measured, and in a sweep trained, rising."""
    if settings.weigh.betas is not None:
        return settings.weigh.betas
    # Of a normal 1 is a noise like any other.
    with_one = settings.model.likelihood != "normal"
    number = _NUM_BETAS[settings.weigh.mode]
    return tuple(
        kv.weighing.betas_between(
            *settings.weigh.beta_range, number, with_one, digits=3
        )
    )


# === Saved models ===


def evaluate(values):
    """Returns what the flags of `trainers.evaluate` ask for; see `train`.

    Returns:
        `_settings.EvaluateSettings`.
    """
    found = parsed_lists(_given(values, _flags.define_evaluate))
    names = [field.name for field in dataclasses.fields(_settings.DataSettings)]
    own = {name: found.pop(name) for name in names if name in found}
    data = _settings.DataSettings(**own)
    given = tuple(name for name in own if values[name].present)
    if data.binarize != "none" and data.standardize in ("whole", "columns", "noise"):
        raise _settings.FlagError(
            f"`--standardize` must be none with --binarize={data.binarize}, whose "
            f"values have units of their own. Received: "
            f"--standardize={data.standardize}"
        )
    for name in ("output", "impute"):
        path = None if found[name] is None else pathlib.Path(found[name]).absolute()
        if path is not None and (path.is_dir() or not path.parent.is_dir()):
            raise _settings.FlagError(
                f"`--{name}` must be a file in a directory that exists. Received: "
                f"--{name}={found[name]}"
            )
    return _settings.EvaluateSettings(data=data, given=given, **found)


def export(values):
    """Returns what the flags of `trainers.export` ask for; see `train`.

    Returns:
        `_settings.ExportSettings`.
    """
    found = _given(values, _flags.define_export)
    if not found["output"]:
        raise _settings.FlagError(
            "`--output` must be given, the directory of the SavedModel. Received: none"
        )
    return _settings.ExportSettings(**found)


# === What all do alike ===


def _given(values, define):
    """Returns the values of all flags of a program, by name."""
    defined = flags.FlagValues()
    define(defined)
    return {name: values[name].value for name in defined}


def _is_binary(settings, data):
    return settings.data.binarize != "none" or _data.is_binary(data)


def _read(values, define):
    """Returns settings as the flags are, and the recipe that set some, or None."""
    recipe = _recipes.apply(values, list(_given(values, define)))
    found = parsed_lists(_given(values, define))
    return _settings.Settings.of(found), recipe


def parsed_lists(found):
    """Returns the values of flags, a dict, with those of lists as tuples."""
    for name, parse in (
        ("drop_columns", lambda _, texts: tuple(texts)),
        ("image_size", _height_and_width),
        ("hidden", _sizes),
        ("levels", _sizes),
        ("filters", _sizes),
        ("betas", _weights),
        ("beta_range", _weights),
    ):
        if found.get(name) is not None:
            found[name] = parse(name, found[name])
    return found


def _filled(settings, recipe, num_samples, suffix=""):
    """Returns settings with name, directory, draws of z and the kind of the KL."""
    name, run_dir, kl = settings.run.name, settings.run.run_dir, settings.model.kl
    if name is None:
        # Of `.` and `..` too, by which the run would lie elsewhere.
        path = pathlib.Path(os.path.abspath(settings.data.dataset))
        name = (recipe or path.stem) + suffix
    if kl is None:
        parts = {settings.model.prior, settings.model.posterior}
        closed = parts.isdisjoint(_flag_checks.WITHOUT_CLOSED_FORM)
        kl = "analytic" if closed else "monte_carlo"
    return settings.with_values(
        name=name,
        run_dir=str(pathlib.Path("runs", name)) if run_dir is None else run_dir,
        kl=kl,
        num_samples=settings.model.num_samples or num_samples,
    )


def _sizes(name, texts):
    try:
        numbers = [int(text) for text in texts]
    except ValueError:
        numbers = [0]
    if min(numbers, default=1) < 1:
        raise _settings.FlagError(
            f"`--{name}` must be positive integers with commas, such as "
            f"--{name}=256,128. Received: --{name}={','.join(texts)}"
        )
    return tuple(numbers)


def _height_and_width(name, texts):
    sizes = _sizes(name, texts)
    if len(sizes) != 2:
        raise _settings.FlagError(
            f"`--{name}` must be two positive integers, height and width, such as "
            f"--{name}=64,64. Received: --{name}={','.join(texts)}"
        )
    return sizes


def _weights(name, texts):
    """Returns the weights of a flag, sorted where their order means nothing."""
    try:
        betas = [float(text) for text in texts]
    except ValueError:
        betas = []
    # Beyond that float32 loses one of the two terms of the loss in the other.
    legal = all(1 / _FARTHEST <= beta <= _FARTHEST for beta in betas)
    if not betas or not legal or len(set(betas)) < len(betas):
        raise _settings.FlagError(
            f"`--{name}` must be positive numbers with commas, each once and from "
            f"{1 / _FARTHEST:g} to {_FARTHEST:g}, such as --{name}=0.01,10. Received: "
            f"--{name}={','.join(texts)}"
        )
    if name == "betas" and len(betas) < 2:
        raise _settings.FlagError(
            "`--betas` must be two weights or more, between which there is something "
            f"to choose. Received: --betas={','.join(texts)}"
        )
    return tuple(sorted(betas) if name == "betas" else betas)

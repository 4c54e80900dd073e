"""Which flags do not go together, with each other or with the data."""

import contextlib
import pathlib

import keras

from keras_vae import schedules
from trainers import _settings

FlagError = _settings.FlagError

SCHEDULES = ("linear", "sigmoid", "cosine", "exponential", "cyclical")
MIXTURES = ("gaussian_mixture", "vamp_prior")
# Priors and posteriors from which, or of which, the KL has no closed form.
FLOWS = ("inverse_autoregressive", "planar")
WITHOUT_CLOSED_FORM = (*MIXTURES, "flow", *FLOWS)
CONVOLUTIONAL = ("conv", "resnet")
# Default of --latent_dim.
LATENT_DIM = 8
# Models with several levels of latents, by their inference.
HIERARCHIES = ("bottom_up", "ladder", "top_down")
# Data sets of sentences, beside .txt files.
TEXTS = ("ptb", "grammar")
# Likelihoods of real numbers, whose units are free.
REAL = ("normal", "optimal_normal", "laplace")


def holds_sentences(dataset):
    """Returns whether the name of a data set is that of sentences.

    Args:
        dataset: String, what --dataset says.
    """
    return dataset in TEXTS or pathlib.Path(dataset).suffix.lower() == ".txt"


def check_numbers(dataset):
    """Checks that a data set is not one of sentences.

    Args:
        dataset: String, what --dataset says.

    Raises:
        FlagError: If it is, with the programs that take it.
    """
    if holds_sentences(dataset):
        table = "; a table of numbers has to end in .csv or .tsv"
        raise FlagError(
            "`--dataset` must hold numbers here. Received: "
            f"{_settings.written('dataset', dataset)}, which holds sentences: train on "
            f"them with python -m trainers.sentence --dataset={dataset}, or weigh with "
            f"python -m trainers.weigh --mode=sweep --dataset={dataset}"
            f"{'' if dataset in TEXTS else table}"
        )


def check_together(settings):
    """Checks the flags of data, model and run that programs share.

    Args:
        settings: `_settings.Settings`.

    Raises:
        FlagError: If flags do not go together.
    """
    check_only_with("hidden", settings, "network", ("mlp", "conv", "resnet"))
    check_only_with("activation", settings, "network", ("mlp", "conv", "resnet"))
    check_only_with("filters", settings, "network", CONVOLUTIONAL)
    check_only_with("num_classes", settings, "likelihood", ("categorical",))
    check_only_with("num_components", settings, "prior", MIXTURES)
    model, run = settings.model, settings.run
    if model.likelihood == "categorical" and model.num_classes is None:
        raise FlagError(
            "`--num_classes` must be given with --likelihood=categorical: the number "
            "of values that an element of x takes. Received: none"
        )
    if settings.data.binarize != "none":
        _require_binary_likelihood(settings)
    if settings.data.standardize in ("whole", "columns", "noise"):
        _require_free_units(settings)
    for flag, value in (("prior", model.prior), ("posterior", model.posterior)):
        if value in WITHOUT_CLOSED_FORM and model.kl == "analytic":
            raise FlagError(
                f"`--kl` must be monte_carlo with --{flag}={value}, whose KL has no "
                "closed form; leave it out to have that chosen. Received: --kl=analytic"
            )
    check_name(run)
    with blamed("activation", model.activation):
        keras.activations.get(model.activation)


def check_name(run):
    """Checks where a run is to be written.

    Args:
        run: `_settings.RunSettings`, as the flags give them.

    Raises:
        FlagError: If it has two places, or one out of bounds.
    """
    if run.run_dir is not None and run.name is not None:
        raise FlagError(
            "`--name` must be left out where `--run_dir` is given, or the other way "
            f"round. Received: --name={run.name} --run_dir={run.run_dir}"
        )
    if run.name is not None:
        parts = pathlib.Path(run.name).parts
        if not parts or ".." in parts or pathlib.Path(run.name).is_absolute():
            raise FlagError(
                "`--name` must be that of a directory within runs/; --run_dir takes "
                f"any path. Received: --name={run.name}"
            )


def check_no_latent_dim(model):
    """Checks that no units were asked for beside those of the levels.

    Args:
        model: `_settings.ModelSettings`, as the flags give them.

    Raises:
        FlagError: If there are some.
    """
    cause = f"--model={model.model}, whose units are those of --levels"
    _check_left_out({"latent_dim": LATENT_DIM}, model, cause)


def check_levels(settings):
    """Checks the flags of a model with several levels.

    Args:
        settings: `_settings.Settings` of `trainers.train`.

    Raises:
        FlagError: If they do not go together, or with a model of one latent.
    """
    model = settings.model
    check_only_with("levels", settings, "model", HIERARCHIES)
    if model.model not in HIERARCHIES:
        _check_left_out(
            {"layers": 1, "batch_normalization": False},
            model,
            "--model=vae; it needs --model=ladder or another one with levels",
        )
        return
    simple = {"network": ("mlp",), "linear_path": ("auto", "none")}
    if model.model != "bottom_up":
        simple["network"] += ("resnet",)
        simple["posterior"] = ("diagonal_normal",)
    for name, allowed in simple.items():
        value = settings.flat[name]
        if value not in allowed:
            raise FlagError(
                f"`--{name}` must be left out with --model={model.model}. Received: "
                f"--{name}={value}"
            )
    if model.prior == "vamp_prior":
        raise FlagError(
            "`--prior` must not encode inputs of its own with --model="
            f"{model.model}. Received: --prior=vamp_prior"
        )
    if model.network == "resnet":
        _check_maps(model)
    elif model.hidden is not None and len(model.hidden) != len(model.levels):
        raise FlagError(
            "`--hidden` must have one number for each of --levels="
            f"{','.join(map(str, model.levels))}. Received: --hidden="
            f"{','.join(map(str, model.hidden))}"
        )


def _check_maps(model):
    """Checks the flags of levels that are maps."""
    _check_left_out(
        {"hidden": None, "layers": 1, "batch_normalization": False},
        model,
        "--network=resnet and levels, which have convolutions alone",
    )


def _check_left_out(defaults, model, cause):
    """Checks that some flags of the model have their defaults."""
    for name, default in defaults.items():
        value = getattr(model, name)
        if value != default:
            raise FlagError(
                f"`--{name}` must be left out with {cause}. Received: "
                f"{_settings.written(name, value)}"
            )


def check_free_bits(settings):
    """Checks that the objective can have rates that are free.

    Args:
        settings: `_settings.Settings` of `trainers.train`.

    Raises:
        FlagError: If it cannot.
    """
    train, kl = settings.train, settings.model.kl
    needed = {"objective": (train.objective, "elbo"), "kl": (kl, "analytic")}
    for name, (value, allowed) in needed.items():
        if train.free_bits and value != allowed:
            raise FlagError(
                f"`--free_bits` must be 0 with --{name}={value}; floors need "
                f"--{name}={allowed}. Received: --free_bits={train.free_bits:g}"
            )


def check_only_with(name, settings, other, allowed):
    """Checks that a flag is given only where another one has some values.

    Args:
        name: String, the flag.
        settings: `_settings.Settings`.
        other: String, the other flag.
        allowed: Tuple of the values with which the first one goes.

    Raises:
        FlagError: If it does not.
    """
    value, setting = settings.flat[name], settings.flat[other]
    if value is not None and setting not in allowed:
        choices = " or ".join(f"--{other}={choice}" for choice in allowed if choice)
        raise FlagError(
            f"`--{name}` must be left out with {_settings.written(other, setting)}; it "
            f"needs {choices}. Received: {_settings.written(name, value)}"
        )


def _require_binary_likelihood(settings):
    likelihood, binarize = settings.model.likelihood, settings.data.binarize
    if likelihood not in (None, "bernoulli", "categorical"):
        raise FlagError(
            f"`--binarize` must be none with --likelihood={likelihood}, a "
            "density, which zeros and ones make grow without bound; binary data go "
            f"with --likelihood=bernoulli. Received: --binarize={binarize}"
        )


def _require_free_units(settings):
    binarize, likelihood = settings.data.binarize, settings.model.likelihood
    if binarize != "none" or likelihood not in (None, *REAL):
        binary = binarize != "none"
        other = f"--binarize={binarize}" if binary else f"--likelihood={likelihood}"
        raise FlagError(
            f"`--standardize` must be none with {other}, whose values have units of "
            f"their own. Received: --standardize={settings.data.standardize}"
        )


def kl_schedule(settings):
    """Returns the schedule of the KL weight, or None.

    Args:
        settings: `_settings.Settings`.

    Raises:
        FlagError: If the warm-up is no duration or the weight does not suit.
    """
    if settings.train.schedule == "none":
        return None
    name = settings.train.schedule or "sigmoid"
    arguments = {"end": settings.train.kl_weight}
    if settings.train.warmup is not None:
        arguments["duration"] = _duration("warmup", settings.train.warmup)
    with blamed("kl_weight", settings.train.kl_weight):
        return getattr(schedules, name)(**arguments)


def free_bits_schedule(settings):
    """Returns the schedule of the nats that are free, or None.

    Args:
        settings: `_settings.Settings`.

    Raises:
        FlagError: If their end is no duration, or if there are none.
    """
    nats, until = settings.train.free_bits, settings.train.free_bits_until
    if until is None:
        return None
    if not nats:
        raise FlagError(
            "`--free_bits_until` must be left out without --free_bits. Received: "
            f"--free_bits_until={until}"
        )
    return schedules.piecewise([_duration("free_bits_until", until)], [nats, 0.0])


def _duration(name, value):
    text = value.strip()
    duration = int(text) if text.isdigit() else text
    with blamed(name, value):
        schedules.linear(duration)
    return duration


def check_length(settings, steps_per_epoch):
    """Checks that an epoch has the steps of a call of the training function.

    Args:
        settings: `_settings.Settings`.
        steps_per_epoch: Integer.

    Raises:
        FlagError: If it has not.
    """
    steps = settings.fit.steps_per_execution or 1
    if steps > steps_per_epoch:
        raise FlagError(
            f"`--steps_per_execution` must be at most the {steps_per_epoch} steps of "
            f"an epoch. Received: --steps_per_execution={steps}"
        )


def check_longer(settings, planned_epochs):
    """Checks that a run can get more epochs than it was begun with.

    Args:
        settings: `_settings.Settings`.
        planned_epochs: Integer, the epochs of the command that began it.

    Raises:
        FlagError: If its learning rate was to have fallen by then.
    """
    decay = settings.fit.learning_rate_decay
    if decay != "none":
        raise FlagError(
            f"`--epochs` must stay {planned_epochs} in a run with --learning_rate_decay"
            f"={decay}, which falls to its end over them: the "
            "epochs that are done were trained on that curve. Choose another --name to "
            f"train longer. Received: --epochs={settings.fit.epochs}"
        )


def check_warmup(settings, steps_per_epoch):
    """Checks that the run outlasts the warm-up of the weight.

    Args:
        settings: `_settings.Settings`.
        steps_per_epoch: Integer.

    Raises:
        FlagError: If it does not.
    """
    schedule = kl_schedule(settings)
    total = settings.fit.epochs * steps_per_epoch
    if schedule is not None:
        end = schedule.resolve(total, steps_per_epoch).end_step
        # Step `end`, counted from 0, is the first at the final weight.
        if end and end >= total:
            epochs = end // steps_per_epoch + 1
            # A fraction grows with the run.
            train = settings.train
            scales = train.warmup is None or "%" in train.warmup
            longer = "" if scales else f" or raise --epochs to {epochs}"
            flags = [_settings.written("schedule", train.schedule)]
            if train.warmup is not None:
                flags.append(_settings.written("warmup", train.warmup))
            raise FlagError(
                f"`--warmup` must end before the run does, which has {total} steps in "
                f"{settings.fit.epochs} epochs; shorten it{longer}. Received: "
                f"{' '.join(flags)}, {end} steps"
            )


@contextlib.contextmanager
def blamed(name, value):
    """Names the flag that caused an error of the library.

    Args:
        name: String, the flag.
        value: Its value.

    Raises:
        FlagError: In place of a ValueError or missing file.
    """
    try:
        yield
    except FlagError:
        raise
    except (OSError, ValueError) as error:
        text = _settings.written(name, value, quote="`")
        raise FlagError(f"{text}: {error}") from error

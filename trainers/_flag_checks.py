"""Which flags do not go together, with each other or with the data."""

import contextlib

import keras

from keras_vae import schedules
from trainers import _recipes

FlagError = _recipes.FlagError

MIXTURES = ("gaussian_mixture", "vamp_prior")
# Likelihoods of real numbers, whose units are free.
REAL = ("normal", "optimal_normal", "laplace")


def check_together(chosen):
    """Checks the flags of data, model and run that programs share.

    Args:
        chosen: Namespace from `_flags.read`.

    Raises:
        FlagError: If flags do not go together.
    """
    check_only_with("hidden", chosen, "network", ("mlp", "conv", "resnet"))
    check_only_with("activation", chosen, "network", ("mlp", "conv", "resnet"))
    check_only_with("filters", chosen, "network", ("conv", "resnet"))
    check_only_with("num_classes", chosen, "likelihood", ("categorical",))
    check_only_with("num_components", chosen, "prior", MIXTURES)
    if chosen.likelihood == "categorical" and chosen.num_classes is None:
        raise FlagError(
            "`--num_classes` must be given with --likelihood=categorical: the number "
            "of values that an element of x takes. Received: none"
        )
    if chosen.binarize != "none":
        _require_binary_likelihood(chosen)
    if chosen.standardize in ("whole", "columns"):
        _require_free_units(chosen)
    if chosen.prior in MIXTURES and chosen.kl == "analytic":
        raise FlagError(
            f"`--kl` must be monte_carlo with --prior={chosen.prior}, whose KL has no "
            "closed form; leave it out to have that chosen. Received: --kl=analytic"
        )
    if chosen.run_dir is not None and chosen.name is not None:
        raise FlagError(
            "`--name` must be left out where `--run_dir` is given, or the other way "
            f"round. Received: --name={chosen.name} --run_dir={chosen.run_dir}"
        )
    with blamed("activation", chosen):
        keras.activations.get(chosen.activation)


def check_only_with(name, chosen, other, allowed):
    """Checks that a flag is given only where another one has some values.

    Args:
        name: String, the flag.
        chosen: Namespace from `_flags.read`.
        other: String, the other flag.
        allowed: Tuple of the values with which the first one goes.

    Raises:
        FlagError: If it does not.
    """
    value, setting = getattr(chosen, name), getattr(chosen, other)
    if value is not None and setting not in allowed:
        choices = " or ".join(f"--{other}={choice}" for choice in allowed)
        raise FlagError(
            f"`--{name}` must be left out with --{other}={setting}; it needs "
            f"{choices}. Received: --{name}={value}"
        )


def _require_binary_likelihood(chosen):
    if chosen.likelihood not in (None, "bernoulli", "categorical"):
        raise FlagError(
            f"`--binarize` must be none with --likelihood={chosen.likelihood}, a "
            "density, which zeros and ones make grow without bound; binary data go "
            f"with --likelihood=bernoulli. Received: --binarize={chosen.binarize}"
        )


def _require_free_units(chosen):
    if chosen.binarize != "none" or chosen.likelihood not in (None, *REAL):
        other = (
            f"--likelihood={chosen.likelihood}"
            if chosen.binarize == "none"
            else f"--binarize={chosen.binarize}"
        )
        raise FlagError(
            f"`--standardize` must be none with {other}, whose values have units of "
            f"their own. Received: --standardize={chosen.standardize}"
        )


def kl_schedule(chosen):
    """Returns the schedule of the KL weight, or None.

    Args:
        chosen: Namespace from `_flags.settings`.

    Raises:
        FlagError: If the warm-up is no duration or the weight does not suit.
    """
    if chosen.schedule == "none":
        return None
    arguments = {"end": chosen.kl_weight}
    if chosen.warmup is not None:
        text = chosen.warmup.strip()
        arguments["duration"] = int(text) if text.isdigit() else text
        with blamed("warmup", chosen):
            schedules.linear(arguments["duration"])
    with blamed("kl_weight", chosen):
        return getattr(schedules, chosen.schedule)(**arguments)


def check_length(chosen, steps_per_epoch):
    """Checks that an epoch has the steps of a call of the training function.

    Args:
        chosen: Namespace from `_flags.read`.
        steps_per_epoch: Integer.

    Raises:
        FlagError: If it has not.
    """
    if (chosen.steps_per_execution or 1) > steps_per_epoch:
        raise FlagError(
            f"`--steps_per_execution` must be at most the {steps_per_epoch} steps of "
            f"an epoch. Received: --steps_per_execution={chosen.steps_per_execution}"
        )


def check_longer(chosen, planned_epochs):
    """Checks that a run can get more epochs than it was begun with.

    Args:
        chosen: Namespace from `_flags.read`.
        planned_epochs: Integer, the epochs of the command that began it.

    Raises:
        FlagError: If its learning rate was to have fallen by then.
    """
    if chosen.learning_rate_decay != "none":
        raise FlagError(
            f"`--epochs` must stay {planned_epochs} in a run with --learning_rate_decay"
            f"={chosen.learning_rate_decay}, which falls to its end over them: the "
            "epochs that are done were trained on that curve. Choose another --name to "
            f"train longer. Received: --epochs={chosen.epochs}"
        )


def check_warmup(chosen, steps_per_epoch):
    """Checks that the run outlasts the warm-up of the weight.

    Args:
        chosen: Namespace from `_flags.settings`.
        steps_per_epoch: Integer.

    Raises:
        FlagError: If it does not.
    """
    schedule = kl_schedule(chosen)
    total = chosen.epochs * steps_per_epoch
    if schedule is not None:
        end = schedule.resolve(total, steps_per_epoch).end_step
        # Step `end`, counted from 0, is the first at the final weight.
        if end and end >= total:
            epochs = end // steps_per_epoch + 1
            # A fraction grows with the run.
            scales = chosen.warmup is None or "%" in chosen.warmup
            longer = "" if scales else f" or raise --epochs to {epochs}"
            raise FlagError(
                f"`--warmup` must end before the run does, which has {total} steps in "
                f"{chosen.epochs} epochs; shorten it{longer}. Received: "
                f"--schedule={chosen.schedule} --warmup={chosen.warmup}, {end} steps"
            )


@contextlib.contextmanager
def blamed(name, chosen):
    """Names the flag that caused an error of the library.

    Args:
        name: String, the flag.
        chosen: Namespace from `_flags.settings`.

    Raises:
        FlagError: In place of a ValueError or missing file.
    """
    try:
        yield
    except FlagError:
        raise
    except (OSError, ValueError) as error:
        raise FlagError(f"`--{name}`={getattr(chosen, name)}: {error}") from error

"""Flags of the programs, the recipes that set them, and what they rule out."""

import contextlib
import difflib
import pathlib
import runpy
import types

import keras
from absl import flags

from keras_vae import schedules

# The flags belong to the program that defines them with `define`.
flags.disclaim_key_flags()

RECIPES = pathlib.Path(__file__).parent / "recipes"
SCHEDULES = ("linear", "sigmoid", "cosine", "exponential", "cyclical")
MIXTURES = ("gaussian_mixture", "vamp_prior")
# They say where a run is or how to treat it, and not what is trained.
NOT_IN_RECIPES = ("config", "resume")


class FlagError(ValueError):
    """Flags that cannot be followed, found out before anything is written."""


def define(values):
    """Defines the flags of training.

    Args:
        values: `absl.flags.FlagValues` that takes them up.
    """

    def string(name, default, text):
        flags.DEFINE_string(name, default, text, flag_values=values)

    def boolean(name, default, text):
        flags.DEFINE_boolean(name, default, text, flag_values=values)

    def enum(name, default, choices, text):
        flags.DEFINE_enum(name, default, choices, text, flag_values=values)

    def sizes(name, text):
        flags.DEFINE_list(name, None, text, flag_values=values)

    def integer(name, default, text, low=1):
        flags.DEFINE_integer(name, default, text, lower_bound=low, flag_values=values)

    def number(name, default, text, low=0.0, high=None):
        flags.DEFINE_float(
            name, default, text, lower_bound=low, upper_bound=high, flag_values=values
        )

    string("config", None, "Recipe: a name in trainers/recipes, or a path to a .py.")

    # === Data ===
    string(
        "dataset",
        "digits",
        "digits, mnist, fashion_mnist, binarized_mnist, dsprites, an .npy or .npz "
        "file, or a folder of images.",
    )
    string("data_dir", None, "Directory of the data sets; default $KERAS_VAE_DATA.")
    enum(
        "binarize",
        "none",
        ("none", "static", "dynamic"),
        "Draw each value from a Bernoulli: not, once, or anew in each epoch.",
    )
    number(
        "validation_fraction",
        0.1,
        "Part of the training data that chooses the best epoch, where the data set has "
        "no validation split; 0 for none, which keeps the last epoch.",
        high=0.9,
    )

    # === Model ===
    enum("network", "mlp", ("mlp", "conv", "resnet", "linear"), "Networks.")
    sizes("hidden", "Units of the encoder's dense layers; the decoder mirrors them.")
    sizes("filters", "Channels of the halvings of conv and resnet.")
    string("activation", None, "Name of a Keras activation; default relu.")
    integer("latent_dim", 8, "Dimensions of z.")
    enum(
        "likelihood",
        None,
        (
            "bernoulli",
            "continuous_bernoulli",
            "normal",
            "optimal_normal",
            "unit_normal",
            "laplace",
            "categorical",
        ),
        "p(x|z); default bernoulli for zeros and ones, continuous_bernoulli for other "
        "data in [0, 1], normal for all else.",
    )
    integer("num_classes", None, "Classes of a categorical likelihood.", low=2)
    enum(
        "prior",
        "standard_normal",
        ("standard_normal", "learned_normal", *MIXTURES),
        "p(z).",
    )
    integer("num_components", None, "Components of a mixture prior.")
    enum(
        "posterior",
        "diagonal_normal",
        ("diagonal_normal", "full_covariance_normal"),
        "q(z|x).",
    )

    # === Objective ===
    enum("objective", "elbo", ("elbo", "importance_weighted"), "What is optimised.")
    integer("num_samples", None, "Draws of z; default 1, importance-weighted 5.")
    enum(
        "kl",
        None,
        ("analytic", "monte_carlo"),
        "How the KL is computed; default analytic where it has a closed form.",
    )
    number("kl_weight", 1.0, "Weight of the KL, at the end of the schedule.")
    enum("schedule", "sigmoid", ("none", *SCHEDULES), "How the weight gets there.")
    string("warmup", None, "'50%', '5 epochs' or '1000' steps; default: schedule's.")

    # === Training ===
    integer("epochs", 100, "Passes over the training data.")
    integer("batch_size", 100, "Examples in a step.")
    number("learning_rate", 1e-3, "Adam's learning rate.", low=1e-12)
    enum("learning_rate_decay", "none", ("none", "cosine"), "Its decay over the run.")
    integer("seed", 0, "Seed of weights, order and noise.", low=0)
    enum(
        "precision",
        "float32",
        ("float32", "mixed_bfloat16", "mixed_float16"),
        "Keras's dtype policy.",
    )
    enum("jit_compile", "auto", ("auto", "true", "false"), "XLA; default by model.")
    integer("steps_per_execution", None, "Steps in one call; default by model.")

    # === Results ===
    string("name", None, "Name of the run; default that of the recipe or data set.")
    string("run_dir", None, "Directory of the run; default runs/<name>.")
    boolean("resume", False, "Continue the run in this directory, if there is one.")
    integer("eval_samples", 10, "Draws of z for each test example of the table.")


def parse(*args):
    """Returns the settings of a command line, whatever the flags of this process.

    Args:
        *args: Strings, such as "--epochs=3".

    Returns:
        See `settings`.

    Raises:
        FlagError: If a flag is unknown, illegal or does not suit the others.
    """
    values = flags.FlagValues()
    define(values)
    try:
        values(["train", *args])
    except flags.Error as error:
        raise FlagError(str(error)) from error
    return settings(values)


def settings(values):
    """Returns the checked values of all flags.

    Args:
        values: Parsed `absl.flags.FlagValues` on which `define` was called.

    Returns:
        A namespace with one attribute per flag, defaults filled in.

    Raises:
        FlagError: If the flags cannot be followed together.
    """
    own = define_alone()
    recipe = apply_recipe(values, own)
    chosen = types.SimpleNamespace(**{name: values[name].value for name in own})
    for name in ("hidden", "filters"):
        setattr(chosen, name, _sizes(name, getattr(chosen, name)))
    _check_together(chosen)
    if chosen.name is None:
        chosen.name = recipe or pathlib.Path(chosen.dataset).stem
    if chosen.run_dir is None:
        chosen.run_dir = str(pathlib.Path("runs", chosen.name))
    if chosen.kl is None:
        chosen.kl = "monte_carlo" if chosen.prior in MIXTURES else "analytic"
    if chosen.num_samples is None:
        chosen.num_samples = 1 if chosen.objective == "elbo" else 5
    return chosen


def define_alone():
    """Returns the names of the flags of `define`."""
    values = flags.FlagValues()
    define(values)
    return list(values)


def apply_recipe(values, names):
    """Sets the flags that a recipe names and the command line does not.

    Args:
        values: Parsed `absl.flags.FlagValues`.
        names: List of the flags that a recipe may set.

    Returns:
        The recipe's name, or None if there is none.

    Raises:
        FlagError: If the recipe cannot be read or has an unknown or illegal entry.
    """
    if values.config is None:
        return None
    path = _recipe_path(values.config)
    allowed = sorted(set(names) - set(NOT_IN_RECIPES))
    for name, value in _read_recipe(path).items():
        if name not in allowed:
            close = difflib.get_close_matches(str(name), allowed) or allowed
            raise FlagError(
                f"`--config` must set known flags only. Received: {name!r} in {path}. "
                f"Did you mean {' or '.join(map(repr, close))}?"
            )
        if values[name].using_default_value:
            text = ",".join(map(str, value)) if _is_list(value) else str(value)
            try:
                values[name].value = values[name].parser.parse(text)
            except ValueError as error:
                raise FlagError(
                    f"`--{name}` has an illegal value in {path}: {error}. "
                    f"Received: {value!r}"
                ) from error
    return path.stem


def _recipe_path(config):
    path = pathlib.Path(config)
    if path.suffix != ".py":
        path = RECIPES / f"{config}.py"
    if not path.is_file():
        known = sorted(p.stem for p in RECIPES.glob("[!_]*.py"))
        raise FlagError(
            f"`--config` must be one of {known} or the path of a .py file. "
            f"Received: --config={config}"
        )
    return path


def _read_recipe(path):
    try:
        recipe = runpy.run_path(str(path)).get("FLAGS")
    except Exception as error:
        raise FlagError(
            f"`--config` must be a Python file that runs. Received: {path}, which "
            f"raises {type(error).__name__}: {error}"
        ) from error
    if not isinstance(recipe, dict):
        raise FlagError(
            "`--config` must define a dict FLAGS of flags and their values. "
            f"Received: {path}, where it is {recipe!r}"
        )
    return recipe


def _is_list(value):
    return isinstance(value, list | tuple)


def _sizes(name, texts):
    if texts is None:
        return None
    try:
        numbers = [int(text) for text in texts]
    except ValueError:
        numbers = [0]
    if min(numbers, default=1) < 1:
        raise FlagError(
            f"`--{name}` must be positive integers with commas, such as "
            f"--{name}=256,128. Received: --{name}={','.join(texts)}"
        )
    return numbers


# === What does not go together ===


def _check_together(chosen):
    _check_only_with("warmup", chosen, "schedule", SCHEDULES)
    _check_only_with("hidden", chosen, "network", ("mlp", "conv", "resnet"))
    _check_only_with("activation", chosen, "network", ("mlp", "conv", "resnet"))
    _check_only_with("filters", chosen, "network", ("conv", "resnet"))
    _check_only_with("num_classes", chosen, "likelihood", ("categorical",))
    _check_only_with("num_components", chosen, "prior", MIXTURES)
    if chosen.likelihood == "categorical" and chosen.num_classes is None:
        raise FlagError(
            "`--num_classes` must be given with --likelihood=categorical: the number "
            "of values that an element of x takes. Received: none"
        )
    if chosen.binarize != "none":
        _require_binary_likelihood(chosen)
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
    kl_schedule(chosen)


def _check_only_with(name, chosen, other, allowed):
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


def kl_schedule(chosen):
    """Returns the schedule of the KL weight, or None.

    Args:
        chosen: Namespace from `settings`.

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
    """Checks that the run has the steps that its flags ask for.

    Args:
        chosen: Namespace from `settings`.
        steps_per_epoch: Integer.

    Raises:
        FlagError: If the warm-up outlasts the run, or a call of the training function
            an epoch.
    """
    if (chosen.steps_per_execution or 1) > steps_per_epoch:
        raise FlagError(
            f"`--steps_per_execution` must be at most the {steps_per_epoch} steps of "
            f"an epoch. Received: --steps_per_execution={chosen.steps_per_execution}"
        )
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
        chosen: Namespace from `settings`.

    Raises:
        FlagError: In place of a ValueError or missing file.
    """
    try:
        yield
    except FlagError:
        raise
    except (OSError, ValueError) as error:
        raise FlagError(f"`--{name}`={getattr(chosen, name)}: {error}") from error

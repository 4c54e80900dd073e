"""Flags of the programs and the recipes that set them."""

import pathlib
import types

from absl import flags

from trainers import _flag_checks
from trainers import _recipes

FlagError = _recipes.FlagError

# The flags belong to the program that defines them with `define`.
flags.disclaim_key_flags()

SCHEDULES = ("linear", "sigmoid", "cosine", "exponential", "cyclical")
LIKELIHOODS = (
    "bernoulli",
    "continuous_bernoulli",
    "normal",
    "optimal_normal",
    "unit_normal",
    "laplace",
    "categorical",
)
STANDARDIZATIONS = ("none", "whole", "columns")


class Definer:
    """Defines flags on `absl.flags.FlagValues`, by their kind.

    Args:
        values: `absl.flags.FlagValues` that takes them up.
    """

    def __init__(self, values):
        self._values = {"flag_values": values}

    def string(self, name, default, text):
        """Defines a flag of any text."""
        flags.DEFINE_string(name, default, text, **self._values)

    def boolean(self, name, default, text):
        """Defines a flag that is on or off."""
        flags.DEFINE_boolean(name, default, text, **self._values)

    def enum(self, name, default, choices, text):
        """Defines a flag that is one of some names."""
        flags.DEFINE_enum(name, default, choices, text, **self._values)

    def several(self, name, text):
        """Defines a flag of values with commas between them, None by default."""
        flags.DEFINE_list(name, None, text, **self._values)

    def integer(self, name, default, text, low=1):
        """Defines a flag of a whole number."""
        flags.DEFINE_integer(name, default, text, lower_bound=low, **self._values)

    def number(self, name, default, text, low=0.0, high=None):
        """Defines a flag of a number."""
        bounds = {"lower_bound": low, "upper_bound": high}
        flags.DEFINE_float(name, default, text, **bounds, **self._values)


def define(values):
    """Defines the flags of training.

    Args:
        values: `absl.flags.FlagValues` that takes them up.
    """
    add = Definer(values)
    define_data(add)
    define_model(
        add,
        LIKELIHOODS,
        "p(x|z); default bernoulli for zeros and ones, continuous_bernoulli for other "
        "data in [0, 1], normal for all else.",
    )
    add.enum("objective", "elbo", ("elbo", "importance_weighted"), "What is optimised.")
    add.number("kl_weight", 1.0, "Weight of the KL, at the end of the schedule.")
    add.enum("schedule", "sigmoid", ("none", *SCHEDULES), "How the weight gets there.")
    add.string(
        "warmup", None, "'50%', '5 epochs' or '1000' steps; default: schedule's."
    )
    define_training(add, epochs=100)
    define_run(add)


def define_data(add):
    """Defines the flags that choose the data, by a `Definer`."""
    add.string(
        "config", None, "Recipe: a name in trainers/recipes, or a path to a .py."
    )
    add.string(
        "dataset",
        "digits",
        "digits, mnist, fashion_mnist, binarized_mnist, dsprites, an .npy or .npz "
        "file, a table as a .csv file, or a folder of images.",
    )
    add.string("data_dir", None, "Directory of the data sets; default $KERAS_VAE_DATA.")
    add.enum(
        "binarize",
        "none",
        ("none", "static", "dynamic"),
        "Draw each value from a Bernoulli: not, once, or anew in each epoch.",
    )
    add.enum(
        "standardize",
        "auto",
        ("auto", *STANDARDIZATIONS),
        "Shift and scale the values: not, all alike, or each column by itself; auto is "
        "columns for a .csv, whole for other values outside [0, 1].",
    )
    add.number(
        "validation_fraction",
        0.1,
        "Part of the training data by which is chosen (an epoch, a weight), where the "
        "data set has no validation split; 0 for none.",
        high=0.9,
    )


def define_model(add, likelihoods, text):
    """Defines the flags that describe the model, by a `Definer`.

    Args:
        add: `Definer`.
        likelihoods: Tuple of strings, those there are.
        text: String, the help of --likelihood.
    """
    add.enum("network", "mlp", ("mlp", "conv", "resnet", "linear"), "Networks.")
    add.several("hidden", "Units of the encoder's dense layers; the decoder mirrors.")
    add.several("filters", "Channels of the halvings of conv and resnet.")
    add.string("activation", None, "Name of a Keras activation; default relu.")
    add.integer("latent_dim", 8, "Dimensions of z.")
    add.enum("likelihood", None, likelihoods, text)
    add.integer("num_classes", None, "Classes of a categorical likelihood.", low=2)
    add.enum(
        "prior",
        "standard_normal",
        ("standard_normal", "learned_normal", *_flag_checks.MIXTURES),
        "p(z).",
    )
    add.integer("num_components", None, "Components of a mixture prior.")
    add.enum(
        "posterior",
        "diagonal_normal",
        ("diagonal_normal", "full_covariance_normal"),
        "q(z|x).",
    )
    add.integer("num_samples", None, "Draws of z; default 1, importance-weighted 5.")
    add.enum(
        "kl",
        None,
        ("analytic", "monte_carlo"),
        "How the KL is computed; default analytic where it has a closed form.",
    )


def define_training(add, epochs, learning_rate=1e-3, learning_rate_decay="none"):
    """Defines the flags of `fit`, by a `Definer`; three of their defaults are given."""
    add.integer(
        "epochs",
        epochs,
        "Passes over the training data. With --resume a run takes more than before, "
        "also a finished one: schedules keep the steps that they had, the KL weight "
        "stays where it ended; not with --learning_rate_decay, which has ended near 0.",
    )
    add.integer("batch_size", 100, "Examples in a step.")
    add.number("learning_rate", learning_rate, "Adam's, where highest.", low=1e-12)
    add.enum(
        "learning_rate_decay",
        learning_rate_decay,
        ("none", "cosine", "warmup_cosine"),
        "Its decay over the run, with warmup_cosine after a rise over the first tenth.",
    )
    add.enum(
        "on_divergence",
        "stop",
        ("stop", "halve", "ignore"),
        "Where the loss is NaN or infinite: stop; go back, halve the learning rate and "
        "go on, three times; or nothing.",
    )
    add.integer("seed", 0, "Seed of weights, order and noise.", low=0)
    add.enum(
        "precision",
        "float32",
        ("float32", "mixed_bfloat16", "mixed_float16"),
        "Keras's dtype policy.",
    )
    add.enum("jit_compile", "auto", ("auto", "true", "false"), "XLA; default by model.")
    add.integer("steps_per_execution", None, "Steps in one call; default by model.")


def define_run(add):
    """Defines the flags of the run's directory, by a `Definer`."""
    add.string("name", None, "Name of the run; default that of the recipe or data set.")
    add.string("run_dir", None, "Directory of the run; default runs/<name>.")
    add.boolean("resume", False, "Continue the run in this directory, if there is one.")
    add.integer("eval_samples", 10, "Draws of z for each example of the table.")


def parse(*args):
    """Returns the settings of a command line, whatever the flags of this process.

    Args:
        *args: Strings, such as "--epochs=3".

    Returns:
        See `settings`.

    Raises:
        FlagError: If a flag is unknown, illegal or does not suit the others.
    """
    return settings(parsed(define, args))


def parsed(define, args):
    """Returns the flags of a command line, whatever the flags of this process.

    Args:
        define: Function that defines the flags of a program.
        args: Sequence of strings, such as "--epochs=3".

    Returns:
        `absl.flags.FlagValues`.

    Raises:
        FlagError: If a flag is unknown or illegal.
    """
    values = flags.FlagValues()
    define(values)
    try:
        values(["program", *args])
    except flags.Error as error:
        raise FlagError(str(error)) from error
    return values


def settings(values):
    """Returns the checked values of all flags of training.

    Args:
        values: Parsed `absl.flags.FlagValues` on which `define` was called.

    Returns:
        A namespace with one attribute per flag, defaults filled in.

    Raises:
        FlagError: If the flags cannot be followed together.
    """
    chosen, recipe = read(values, define)
    _flag_checks.check_only_with("warmup", chosen, "schedule", SCHEDULES)
    _flag_checks.check_together(chosen)
    _flag_checks.kl_schedule(chosen)
    fill_in(chosen, recipe)
    if chosen.num_samples is None:
        chosen.num_samples = 1 if chosen.objective == "elbo" else 5
    return chosen


def read(values, define):
    """Returns the values of all flags, and the name of the recipe that set some.

    Args:
        values: Parsed `absl.flags.FlagValues` on which `define` was called.
        define: Function that defines flags.

    Returns:
        A namespace with one attribute per flag, and a string or None.

    Raises:
        FlagError: If the recipe cannot be followed, or a flag is no list of sizes.
    """
    defined = flags.FlagValues()
    define(defined)
    recipe = _recipes.apply(values, list(defined))
    chosen = types.SimpleNamespace(**{name: values[name].value for name in defined})
    for name in ("hidden", "filters"):
        setattr(chosen, name, _sizes(name, getattr(chosen, name)))
    return chosen, recipe


def fill_in(chosen, recipe, suffix=""):
    """Sets the name and directory of the run and the kind of the KL.

    Args:
        chosen: Namespace from `read`.
        recipe: String or None, the name of the run where none is given.
        suffix: String, what follows on a name that was not given.
    """
    if chosen.name is None:
        chosen.name = (recipe or pathlib.Path(chosen.dataset).stem) + suffix
    if chosen.run_dir is None:
        chosen.run_dir = str(pathlib.Path("runs", chosen.name))
    if chosen.kl is None:
        chosen.kl = (
            "monte_carlo" if chosen.prior in _flag_checks.MIXTURES else "analytic"
        )


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

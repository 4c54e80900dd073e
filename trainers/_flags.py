"""Flags of the programs, each defined once."""

from absl import flags

from trainers import _flag_checks
from trainers._definer import Definer

# The flags belong to the program that defines them.
flags.disclaim_key_flags()

LIKELIHOODS = (
    "bernoulli",
    "continuous_bernoulli",
    "normal",
    "optimal_normal",
    "unit_normal",
    "laplace",
    "categorical",
)
WEIGHED_LIKELIHOODS = ("bernoulli", "continuous_bernoulli", "normal", "categorical")
STANDARDIZATIONS = ("none", "whole", "columns", "noise")


def define_train(values):
    """Defines the flags of `trainers.train`.

    Args:
        values: `absl.flags.FlagValues` that takes them up.
    """
    add = Definer(values)
    define_data(add)
    define_levels(add)
    define_model(
        add,
        LIKELIHOODS,
        "p(x|z); default bernoulli for zeros and ones, continuous_bernoulli for other "
        "data in [0, 1], normal for all else.",
    )
    define_objective(add)
    define_training(add, epochs=100)
    add.number(
        "clip_norm", None, "Norm to which longer gradients are shortened.", low=1e-12
    )
    add.number("skip_norm", None, "Norm above which an update is skipped.", low=1e-12)
    define_run(add)


def define_weigh(values):
    """Defines the flags of `trainers.weigh`.

    Args:
        values: `absl.flags.FlagValues` that takes them up.
    """
    add = Definer(values)
    define_data(add)
    define_levels(add)
    define_model(
        add,
        WEIGHED_LIKELIHOODS,
        "p(x|z); default bernoulli for zeros and ones, else normal, whose variance is "
        "what beta weighs.",
    )
    define_weights(add)
    add.number(
        "polish",
        0.3,
        "Epochs of the exported model at its own weight, over --epochs, from "
        "--learning_rate; kept where validation data gain by it. 0 leaves it out.",
        high=0.5,
    )
    # At this rate from the first step on, latents can close before they are of use.
    define_training(
        add,
        epochs=None,
        learning_rate=3e-3,
        learning_rate_decay="warmup_cosine",
    )
    define_run(add)


def define_evaluate(values):
    """Defines the flags of `trainers.evaluate`.

    Args:
        values: `absl.flags.FlagValues` that takes them up.
    """
    add = Definer(values)
    define_saved(add)
    define_splits(add, "that of the model's run, and none for its model.keras")
    define_batch_size(add)
    define_seed(add)
    define_eval_samples(add)
    add.integer(
        "importance_samples",
        0,
        "Draws of z for each example by which -log p(x) is estimated, such as 5000; 0 "
        "leaves it out.",
        low=0,
    )
    add.string("impute", None, "A .csv or .npy for all of --dataset, gaps filled in.")
    add.string("output", None, "JSON file to write the figures and the diagnosis to.")


def define_export(values):
    """Defines the flags of `trainers.export`.

    Args:
        values: `absl.flags.FlagValues` that takes them up.
    """
    add = Definer(values)
    define_saved(add)
    add.string("output", None, "Directory of the SavedModel.")


def define_saved(add):
    """Defines the flags that choose a trained model, by a `Definer`."""
    add.string("model", None, "A .keras file with a VAE, such as runs/a/best.keras.")
    add.number(
        "beta",
        None,
        "Of a Multi-Rate VAE, the weight of the KL whose model is meant.",
        low=1e-30,
    )


def define_data(add):
    """Defines the flags that choose the data, by a `Definer`."""
    add.string(
        "config", None, "Recipe: a name in trainers/recipes, or a path to a .py."
    )
    define_splits(
        add,
        "noise for a table where that predicts better and else columns, whole for "
        "other values outside [0, 1]",
    )
    add.enum(
        "missing",
        "none",
        ("none", "nan", "nan_with_mask"),
        "What empty cells of a table and NaN of an array are: an error, or missing; "
        "with nan_with_mask the encoder sees which are there.",
    )
    add.enum(
        "condition",
        "none",
        ("none", "labels"),
        "What encoder and decoder take beside x and z: nothing, or the labels of the "
        "data set or file, of which the model then generates each.",
    )


def define_splits(add, automatic):
    """Defines flags that choose examples, and says what --standardize=auto is."""
    add.string(
        "dataset",
        "digits",
        "digits, mnist, fashion_mnist, binarized_mnist, dsprites, an .npy or .npz "
        "file, a table as a .csv or .tsv file, or a folder of images.",
    )
    add.string("data_dir", None, "Directory of the data sets; default $KERAS_VAE_DATA.")
    define_reading(add)
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
        "Shift and scale the values: not, all alike, each column by its deviation, or "
        f"by its noise in a factor analysis; auto is {automatic}.",
    )
    define_validation_fraction(add)


def define_validation_fraction(add):
    """Defines the flag of what is held out of the training data, by a `Definer`."""
    add.number(
        "validation_fraction",
        0.1,
        "Part of the training data by which is chosen (an epoch, a weight), where the "
        "data set has no validation split; 0 for none.",
        high=0.9,
    )


def define_reading(add):
    """Defines the flags of how files of data are read, by a `Definer`."""
    add.string("key", None, "Name of the array of an .npz file; default by its names.")
    add.enum(
        "header",
        None,
        ("true", "false"),
        "Whether the first row of a table has names; default by its cells.",
    )
    add.several("drop_columns", "Names of columns of a table to leave out.")
    add.enum(
        "decimal",
        None,
        ("point", "comma"),
        "Decimal sign of a table; default by its cells.",
    )
    add.several(
        "image_size",
        "Height and width, such as 64,64, to which images of a folder are cropped and "
        "resized; default theirs.",
    )
    add.boolean(
        "grayscale", None, "Whether a folder's images are read grey; default as saved."
    )
    add.integer(
        "max_bytes",
        None,
        "Most bytes that a compressed array or a folder of images may take as float32; "
        "default 4 GiB.",
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
    add.integer("latent_dim", _flag_checks.LATENT_DIM, "Dimensions of z.")
    add.enum(
        "linear_path",
        "auto",
        ("auto", "data", "random", "none"),
        "Linear maps beside encoder and decoder: set to the best linear VAE of the "
        "training data, or drawn at random, or none; auto is data for up to 10,000 "
        "training examples without gaps where the linear optimum is known, else "
        "random.",
    )
    add.enum("likelihood", None, likelihoods, text)
    add.integer("num_classes", None, "Classes of a categorical likelihood.", low=2)
    add.enum(
        "prior",
        "standard_normal",
        ("standard_normal", "learned_normal", *_flag_checks.MIXTURES, "flow"),
        "p(z).",
    )
    add.integer("num_components", None, "Components of a mixture prior.")
    add.enum(
        "posterior",
        "diagonal_normal",
        ("diagonal_normal", "full_covariance_normal", *_flag_checks.FLOWS),
        "q(z|x).",
    )
    add.integer("num_samples", None, "Draws of z; default 1, importance-weighted 5.")
    add.enum(
        "kl",
        None,
        ("analytic", "monte_carlo"),
        "How the KL is computed; default analytic where it has a closed form.",
    )


def define_objective(add):
    """Defines the flags of what is optimised, by a `Definer`."""
    add.enum("objective", "elbo", ("elbo", "importance_weighted"), "What is optimised.")
    add.number("kl_weight", 1.0, "Weight of the KL, at the end of the schedule.")
    add.enum(
        "schedule",
        None,
        ("none", *_flag_checks.SCHEDULES),
        "How the weight gets there; default sigmoid, and none with --linear_path=data, "
        "whose start is right for the weight.",
    )
    add.string(
        "warmup", None, "'50%', '5 epochs' or '1000' steps; default: schedule's."
    )
    add.number(
        "free_bits", 0.0, "Nats that each level, or each unit of a VAE, has for free."
    )
    add.string("free_bits_until", None, "Where they end, such as '10%'; default never.")


def define_levels(add):
    """Defines the flags of several levels of latents, by a `Definer`."""
    add.enum(
        "model",
        "vae",
        ("vae", *_flag_checks.HIERARCHIES),
        "One latent, or several levels, with this inference.",
    )
    add.several(
        "levels",
        "Dimensions of z of each level, that next to x first, in place of "
        "--latent_dim; default 64,32,16. --hidden has the units of their layers, a "
        "number each; default 512, halved from level to level. With --network=resnet "
        "the channels of maps, as many levels at each resolution of --filters; default "
        "4,4,4,4,4,4 and 16,24,32.",
    )
    add.integer("layers", 1, "Dense layers of the encoder and decoder of each level.")
    add.boolean(
        "batch_normalization", False, "Normalize over the batch in the levels' layers."
    )


def define_weights(add):
    """Defines the flags of the weights that are measured, by a `Definer`."""
    add.enum(
        "mode",
        "multi",
        ("multi", "sweep"),
        "One Multi-Rate VAE for all weights, or a VAE for each of --betas.",
    )
    add.several("betas", "Weights to measure, in a sweep to train; default by range.")
    add.several(
        "beta_range",
        "Smallest and largest weight; default 0.01,10, with a normal likelihood from "
        "the principal components of the data.",
    )
    add.boolean("check", False, "Train VAEs at three weights too, and compare.")
    add.integer("num_processes", 1, "Processes that train VAEs at the same time.")
    add.number("export_beta", None, "Weight to export; default the advised one.")
    add.number("target_rate", None, "Rate in nats for which to advise a weight.")
    add.number(
        "target_distortion",
        None,
        "Distortion in nats for which to advise; see --target_rmse for a normal.",
        low=None,
    )
    add.number(
        "target_rmse",
        None,
        "Root mean squared error, with a normal likelihood, for which to advise a "
        "weight.",
        low=1e-12,
    )


def define_training(add, epochs, learning_rate=1e-3, learning_rate_decay="none"):
    """Defines the flags of `fit`, by a `Definer`; three of their defaults are given."""
    add.integer(
        "epochs",
        epochs,
        "Passes over the training data; where there is no default, 200 but at most "
        "20,000 steps. With --resume a run takes more than before, "
        "also a finished one: schedules keep the steps that they had, the KL weight "
        "stays where it ended; not with --learning_rate_decay, which has ended near 0.",
    )
    define_batch_size(add)
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
    define_seed(add)
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
    define_eval_samples(add)


def define_batch_size(add):
    """Defines the flag of the size of batches, by a `Definer`."""
    add.integer("batch_size", 100, "Examples in a step.")


def define_seed(add):
    """Defines the flag of all that is random, by a `Definer`."""
    add.integer("seed", 0, "Seed of weights, order and noise.", low=0, high=2**31 - 1)


def define_eval_samples(add):
    """Defines the flag of the draws in evaluation, by a `Definer`."""
    add.integer("eval_samples", 10, "Draws of z for each example of the table.")

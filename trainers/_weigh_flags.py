"""Flags of `python -m trainers.weigh`, and what they rule out."""

import math

from absl import flags

from trainers import _flag_checks
from trainers import _flags

# As in `_flags`.
flags.disclaim_key_flags()

LIKELIHOODS = ("bernoulli", "continuous_bernoulli", "normal", "categorical")
# What is done with a trained model; a resumed run may ask for something else.
REPORT = (
    "betas",
    "check",
    "export_beta",
    "num_processes",
    "target_distortion",
    "target_rate",
    "target_rmse",
)
_LISTS = ("betas", "beta_range")


def define(values):
    """Defines the flags of the program.

    Args:
        values: `absl.flags.FlagValues` that takes them up.
    """
    add = _flags.Definer(values)
    _flags.define_data(add)
    _flags.define_model(
        add,
        LIKELIHOODS,
        "p(x|z); default bernoulli for zeros and ones, else normal, whose variance is "
        "what beta weighs.",
    )
    _define_weights(add)
    # At this rate from the first step on, latents can close before they are of use.
    _flags.define_training(
        add, epochs=200, learning_rate=3e-3, learning_rate_decay="warmup_cosine"
    )
    _flags.define_run(add)


def _define_weights(add):
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


def parse(*args):
    """Returns the settings of a command line; see `_flags.parse`."""
    return settings(_flags.parsed(define, args))


def settings(values):
    """Returns the checked values of all flags.

    Args:
        values: Parsed `absl.flags.FlagValues` on which `define` was called.

    Returns:
        A namespace with one attribute per flag, defaults filled in.

    Raises:
        _flags.FlagError: If the flags cannot be followed together.
    """
    chosen, recipe = _flags.read(values, define)
    for name in _LISTS:
        setattr(chosen, name, _weights(name, getattr(chosen, name)))
    _flag_checks.check_together(chosen)
    _check_range(chosen)
    if chosen.check:
        _flag_checks.check_only_with("check", chosen, "mode", ("multi",))
    if chosen.num_processes > 1 and not (chosen.check or chosen.mode == "sweep"):
        raise _flags.FlagError(
            "`--num_processes` must be left out where one model is trained; it needs "
            f"--mode=sweep or --check. Received: --num_processes={chosen.num_processes}"
        )
    _flags.fill_in(chosen, recipe, suffix="-weigh")
    if chosen.num_samples is None:
        chosen.num_samples = 1
    return chosen


def check_report(chosen):
    """Checks what is asked of the trained models, once likelihood and range are known.

    Args:
        chosen: Namespace from `settings`, with `betas` and `beta_range`.

    Raises:
        _flags.FlagError: If a weight lies outside or cannot be exported, or a target
            does not suit the likelihood.
    """
    unsuitable = (
        ("target_distortion", "target_rmse")
        if chosen.likelihood == "normal"
        else ("target_rmse", "target_distortion")
    )
    if getattr(chosen, unsuitable[0]) is not None:
        raise _flags.FlagError(
            f"`--{unsuitable[0]}` must be left out with --likelihood="
            f"{chosen.likelihood}, which has --{unsuitable[1]}. Received: "
            f"--{unsuitable[0]}={getattr(chosen, unsuitable[0]):g}"
        )
    low, high = chosen.beta_range
    for name in ("betas", "export_beta"):
        value = getattr(chosen, name)
        listed = value if name == "betas" else [] if value is None else [value]
        if any(not low <= beta <= high for beta in listed):
            raise _flags.FlagError(
                f"`--{name}` must lie within the weights that are trained, "
                f"{low:.4g} to {high:.4g}; set --beta_range to train others. "
                f"Received: --{name}={_text(listed)}"
            )
    if chosen.mode == "sweep" and chosen.export_beta not in (None, *chosen.betas):
        raise _flags.FlagError(
            "`--export_beta` must be one of --betas with --mode=sweep, which trains "
            f"no other. Received: --export_beta={chosen.export_beta:g} and "
            f"--betas={_text(chosen.betas)}"
        )


def _check_range(chosen):
    if chosen.beta_range is None:
        return
    if chosen.mode == "sweep" and chosen.betas is not None:
        raise _flags.FlagError(
            "`--beta_range` must be left out where --mode=sweep has --betas, which "
            f"are what is trained. Received: --beta_range={_text(chosen.beta_range)}"
        )
    if len(chosen.beta_range) != 2 or chosen.beta_range[0] >= chosen.beta_range[1]:
        raise _flags.FlagError(
            "`--beta_range` must be two weights, the smaller one first, such as "
            f"--beta_range=0.01,10. Received: --beta_range={_text(chosen.beta_range)}"
        )


def _weights(name, texts):
    """Returns the weights of a flag, sorted where their order means nothing."""
    if texts is None:
        return None
    try:
        betas = [float(text) for text in texts]
    except ValueError:
        betas = []
    legal = all(math.isfinite(beta) and beta > 0 for beta in betas)
    if not betas or not legal or len(set(betas)) < len(betas):
        raise _flags.FlagError(
            f"`--{name}` must be positive numbers with commas, each once, such as "
            f"--{name}=0.01,10. Received: --{name}={','.join(texts)}"
        )
    if name == "betas" and len(betas) < 2:
        raise _flags.FlagError(
            "`--betas` must be two weights or more, between which there is something "
            f"to choose. Received: --betas={','.join(texts)}"
        )
    return sorted(betas) if name == "betas" else betas


def _text(betas):
    return ",".join(f"{beta:g}" for beta in betas)

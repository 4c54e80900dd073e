"""What to do about a fault: arguments in Python, and flags of `trainers.train`.

Of a decoder of sentences the flags are those of `trainers.sentence`.
"""

import typing

from keras_vae.distributions.likelihoods import Normal
from keras_vae.objectives import FreeBits

# Default of the least scale that a likelihood learns.
_LEAST_SCALE = 0.0025
# Nats to which the KL of a text model is held.
_CODE = 6.0


class Remedy(typing.NamedTuple):
    """What to write.

    Args:
        fix: String, in Python.
        flag: String, the same as flags of `trainers.train`, "" where it has none.
    """

    fix: str
    flag: str = ""


SLOWER = Remedy(
    "train anew with `optimizer=keras.optimizers.Adam(1e-4, clipnorm=1.0)`",
    "--learning_rate=1e-4 --on_divergence=halve",
)
NARROWER = Remedy(
    "train anew with `posterior=kv.distributions.DiagonalNormal(max_scale=2.0)` and "
    "`optimizer=keras.optimizers.Adam(1e-3, clipnorm=1.0)`"
)
WEIGHT_ONE = Remedy("`objective=kv.ELBO(kl_weight=1.0)`", "--kl_weight=1.0")
MIXTURE = Remedy(
    "`prior=kv.priors.VampPrior(num_components=100)` with "
    '`objective=kv.ELBO(kl="monte_carlo")`',
    "--prior=vamp_prior --num_components=100 --kl=monte_carlo",
)
# Pseudo-inputs need real numbers, and a single latent.
MIXTURE_OF_NORMALS = Remedy(
    "`prior=kv.priors.GaussianMixture(num_components=100)` with "
    '`objective=kv.ELBO(kl="monte_carlo")`',
    "--prior=gaussian_mixture --num_components=100 --kl=monte_carlo",
)
_STOPPING = (
    "`callbacks=[kv.callbacks.EarlyStopping(patience=10, restore_best_weights=True)]` "
    "with `validation_data`"
)
STOPPED_EARLIER = Remedy(
    f"{_STOPPING}, fewer epochs, or smaller networks",
    "--validation_fraction=0.1",
)


def mixture(case):
    """Returns the remedy for a prior that q(z) does not fill."""
    if case.subject.reads_classes:
        return MIXTURE_OF_NORMALS._replace(flag="")
    return MIXTURE_OF_NORMALS if case.subject.is_hierarchy else MIXTURE


def finished_ramp(steps):
    """Returns the remedy for a schedule that lacks so many steps."""
    return Remedy(
        f"train at least {steps} steps more with the same schedule, or shorten it: "
        '`callbacks=[kv.KLAnnealing(kv.schedules.linear("50%"))]`',
        "--schedule=linear --warmup=50%",
    )


def learned_noise(case):
    """Returns the remedy for noise that is too high."""
    name = _family(case)
    # Lucas et al.: learned noise that starts large may collapse the posterior too.
    start = case["error"] / 2
    arguments = f'scale="shared", initial_scale={start:.2g}'
    if start <= _LEAST_SCALE:
        arguments += f", min_scale={start / 100:.1g}"
    fix = _likelihood(case, f"kv.distributions.{name}({arguments})")
    if case.weight_is_noise and case["kl_weight"] != 1:
        # Beside a noise of its own another weight would count twice.
        fix += " with `objective=kv.ELBO()`"
    flag = "--likelihood=optimal_normal" if name == "Normal" else "--likelihood=laplace"
    return Remedy(fix, flag)


def noise_of_the_error(case):
    """Returns the remedy for noise that is too low."""
    name = _family(case)
    cores = [likelihood.core() for likelihood in case.subject.likelihoods]
    if any(getattr(core, "scale", None) == "optimal" for core in cores):
        # It is that of the training data already.
        return STOPPED_EARLIER
    return Remedy(
        _likelihood(case, f'kv.distributions.{name}(scale="optimal")'),
        "--likelihood=optimal_normal" if name == "Normal" else "",
    )


def _likelihood(case, core):
    """Returns the argument of a likelihood, in the units of the model's own."""
    if all(one.core() is one for one in case.subject.likelihoods):
        return f"`likelihood={core}`"
    return f"`likelihood=model.likelihood.with_core({core})`"


def _family(case):
    likelihoods = case.subject.likelihoods
    is_normal = any(isinstance(one.core(), Normal) for one in likelihoods)
    return "Normal" if is_normal else "Laplace"


def later_weight(case):
    """Returns the remedy for a posterior that has collapsed."""
    fix = 'train anew with `callbacks=[kv.KLAnnealing(kv.schedules.linear("50%"))]`'
    if _may_have_floors(case):
        nats = max(case["missing_rate"] / case["unused_units"] / 2, 0.05)
        bits = f"`objective=kv.objectives.FreeBits(nats={nats:.1g})`"
        fix += f"; if that relapses, {bits}"
    return Remedy(fix, "--schedule=linear --warmup=50%")


def _may_have_floors(case):
    """Whether free bits are possible, and not what has failed."""
    relapsed = any(isinstance(o, FreeBits) for o in case.subject.objectives)
    return case.analytic and not relapsed


def code_alone(case):
    """Returns the remedy for a decoder that has another way to the data than z."""
    if case.subject.reads_classes:
        return Remedy(
            "hide words from the decoder, so that it needs z: `word_dropout=0.4`",
            "--word_dropout=0.4",
        )
    return Remedy(
        "let z be all that the decoder gets, `decoder=kv.networks.mlp_decoder(...)`, "
        "without connections past z, and check that its first layer trains",
        "--network=mlp",
    )


def controlled_rate(case):
    """Returns the remedy for a decoder that reads the target and ignores z."""
    return Remedy(
        f"train anew with `objective=kv.objectives.RateTarget({_CODE:g}, "
        "kl_weight=0.1)`, which holds the KL there",
        f"--schedule=none --kl_weight=0.1 --target_rate={_CODE:g}",
    )


def living_levels(case):
    """Returns the remedy for a level of a hierarchy that is dead."""
    model = getattr(case.subject.model, "inference", None)
    kind = "ladder" if model in (None, "bottom_up") else model
    ladder = '`inference="ladder"`, ' if model == "bottom_up" else ""
    fix = (
        f"{ladder}batch normalization in the networks and "
        '`callbacks=[kv.KLAnnealing(kv.schedules.linear("50%"))]`'
    )
    if _may_have_floors(case):
        bits = '`objective=kv.objectives.FreeBits(nats=0.5, group_size="latent")`'
        fix += f"; if that is not enough, {bits}"
    are_maps = any(len(variable.shape) > 1 for variable in case.subject.variables)
    # The networks of maps that flags make have no batch normalization.
    normalized = "" if are_maps else "--batch_normalization "
    return Remedy(fix, f"--model={kind} {normalized}--schedule=linear --warmup=50%")


def linear_start(case):
    """Returns the remedy for a model behind the linear one."""
    if not case.subject.is_plain or case.subject.is_hierarchy:
        # Only a single latent has a linear start that is known.
        return Remedy(f"more epochs, and {_STOPPING}", STOPPED_EARLIER.flag)
    start = "`linear_path=True` and, once it is built, `vae.adapt(x)`"
    return Remedy(f"{start}, then {STOPPED_EARLIER.fix}", "--linear_path=data")

"""Turns evidence into findings, worst first: causes before their consequences."""

import numpy as np

from keras_vae.weighing.auditing import Finding
from keras_vae.weighing.curve.betas import is_noise
from keras_vae.weighing.diagnosing import remedies
from keras_vae.weighing.diagnosing.evidence import READ
from keras_vae.weighing.diagnosing.evidence import name_of_unit
from keras_vae.weighing.diagnosing.lost import EQUAL

# A weight is on its ramp below this part of its final value, or above the inverse part.
RAMP = 0.9
# A variance has exploded if the posterior's standard deviation exceeds this many times
# the prior's. Such a unit costs at least 2.9 nats and carries no information for them.
EXPLODED = 3.0
# The decoder's noise is too high if its variance exceeds this many times the mean
# squared error, and too low if that exceeds this many times its variance. Learned noise
# has a ratio of 1.
NOISE = 2.0
# A model is overfitted if -ELBO is higher on examples it was not trained on by more
# than this fraction of the rate, `MISSING` and three standard errors.
OVERFITTED = 0.25
# These faults are none of the latents.
LOST = "noise_too_low", "overfitting", "behind_linear"
# Report a fault only if the missing rate, in nats, exceeds both this and the coded
# rate. The optimiser, or the noise in the data, leaves smaller rates missing.
MISSING = 0.5
# Report a weight above 1 only if the coded rate is below this fraction of the rate that
# would pay at a weight of 1. Who chose such a weight may accept the loss of the rest.
NOTHING = 0.1
# Ask if the decoder reads z only from this rate on, in nats; see `READ`.
USED = 0.5
# There is another way to the data if this part of their variance is decoded without z.
BYPASS = 0.1
# A level of a hierarchy is dead if its rate is below this, in nats.
DEAD = 0.1
# Draws from the prior are foreign to the decoder if KL(q(z) || p(z)) of all units, in
# nats, exceeds both `GAP` and `GAP_PER_UNIT` for each active unit, or if that of one
# unit exceeds `GAP`. exp(-3) is a twentieth. A unit loses one nat if its codes spread
# twice as wide as the prior. Sound models lose up to 0.6 nats.
GAP, GAP_PER_UNIT = 3.0, 1.0


class Case:
    """A model's evidence, as the rules look at it.

    Args:
        subject: `Subject`.
        evidence: Dict, see `gather`.
        audit: `AuditReport`, or None.
    """

    def __init__(self, subject, evidence, audit=None):
        self.subject = subject
        self.evidence = evidence
        self.audit = audit
        self.analytic = all(o.kl == "analytic" for o in subject.objectives)

    def __getitem__(self, name):
        return self.evidence[name]

    def __contains__(self, name):
        return self.evidence.get(name) is not None

    def pick(self, *names):
        """Returns the evidence of these names."""
        return {name: self.evidence[name] for name in names if name in self.evidence}

    @property
    def noise_ratio(self):
        """Variance of the noise, which a small weight may be, per squared error."""
        ratio = self.evidence.get("noise_ratio", 0.0)
        return ratio * min(self["kl_weight"], 1.0) if self.weight_is_noise else ratio

    @property
    def weight_is_noise(self):
        """Whether all likelihoods are normals of fixed scale."""
        likelihoods = self.subject.likelihoods
        return bool(likelihoods) and all(map(is_noise, likelihoods))

    @property
    def missed(self):
        """Missing rate in nats at weight 1, or 0 if below `MISSING` or the coded rate.

        A normal or Laplace is measured with the noise that it would learn.
        """
        missing = self.evidence.get("missing_rate_at_one", 0.0)
        return missing if missing > max(self["rate"], MISSING) else 0.0


def findings_of(case):
    """Applies all rules.

    Args:
        case: `Case`.

    Returns:
        Tuple of `Finding`s.
    """
    if case["non_finite"]:
        return tuple(_diverged(case))
    return tuple(finding for rule in _RULES for finding in rule(case))


# === Faults that make all other numbers meaningless ===


def _finding(name, message, remedy, evidence):
    return Finding(name, message, remedy.fix, evidence, remedy.flag)


def _diverged(case):
    yield _finding(
        "diverged",
        f"{case['non_finite']} of {case['num_examples']} examples are coded as NaN or "
        "infinity",
        remedies.SLOWER,
        case.pick("non_finite"),
    )


def _activated(case):
    found = () if case.audit is None else case.audit.findings
    known = [finding for finding in found if finding.name in _ACTIVATED]
    yield from known[:1]
    if known or "activation" not in case:
        return
    yield Finding(
        f"double_{case['activation']}",
        f"the output that the likelihood takes for logits has passed a "
        f"{case['activation']}",
        f"remove the {case['activation']}, for example by `activation=None` in the "
        "last layer of the decoder",
        case.pick("activation", "distortion"),
    )


_ACTIVATED = "double_sigmoid", "double_softmax"


def _weighted_by_mistake(case):
    found = () if case.audit is None else case.audit.findings
    weighted = [finding for finding in found if finding.name not in _ACTIVATED]
    if not weighted:
        return
    fault = weighted[0]
    yield Finding(
        "kl_weighted_by_mistake",
        f"{fault.name}: {fault.message}",
        fault.fix,
        {"fault": fault.name, **fault.evidence},
    )


def _ramp_not_finished(case):
    if "ramp_value" not in case:
        return
    value, final = case["ramp_value"], case["ramp_final"]
    if RAMP * final <= value <= final / RAMP:
        return
    step, end = case["ramp_step"], case["ramp_end"]
    yield _finding(
        "ramp_not_finished",
        f"`{case['ramp_name']}` is {value:.3g} on its way to {final:.3g}: {step} steps "
        f"of its {end} are done. Judge the latents after that",
        remedies.finished_ramp(end - step),
        case.pick("ramp_step", "ramp_end", "ramp_value", "ramp_final"),
    )


# === Faults of the encoder and of the noise ===


def _variance_explodes(case):
    widths = np.asarray(case["stddev_per_unit"])
    unit = int(widths.argmax())
    if widths[unit] <= EXPLODED:
        return
    many = int(np.count_nonzero(widths > EXPLODED))
    yield _finding(
        "posterior_variance_explodes",
        f"the posterior of {name_of_unit(unit, case.evidence)} is {widths[unit]:.3g} "
        "times as wide as its prior: noise that the decoder cannot read, in "
        f"{many} of {case['latent_dim']} units",
        remedies.NARROWER,
        {"unit": unit, "stddev": float(widths[unit]), "rate": case["rate"]},
    )


def _noise_too_high(case):
    ratio = case.noise_ratio
    if ratio <= NOISE:
        return
    noise = case["noise"] * np.sqrt(ratio / case["noise_ratio"])
    # A used unit gains log(theta / theta') / 2 nats if theta falls to theta'.
    lost = case["missing_rate_at_one"] + case["active_units"] * np.log(ratio) / 2
    if lost <= max(case["rate"], MISSING):
        return
    yield _finding(
        "noise_too_high",
        f"the decoder's noise, {noise:.3g}, has {ratio:.3g} times the variance "
        f"of its error, {case['error']:.3g}: {case['rate']:.2g} nats are coded, and "
        f"some {lost:.2g} more would pay",
        remedies.learned_noise(case),
        {**case.pick("noise", "error", "noise_ratio", "rate"), "lost": float(lost)},
    )


def _weight_too_high(case):
    weight, missed = case["kl_weight"], case.missed
    weights = [
        (o.kl_weight, *o.latent_weights.values()) for o in case.subject.objectives
    ]
    controlled = any(item.controlled for several in weights for item in several)
    if weight <= 1 or controlled or not missed or case["rate"] >= NOTHING * missed:
        return
    # Too much noise, which has a finding of its own, explains the collapse.
    if case.noise_ratio > NOISE:
        return
    yield _finding(
        "kl_weight_too_high",
        f"the KL has the weight {weight:.3g}, at which {case['rate']:.2g} nats are "
        f"coded; at 1 some {missed:.3g} nats would pay",
        remedies.WEIGHT_ONE,
        case.pick("kl_weight", "rate", "missing_rate_at_one", "active_units"),
    )


# === Faults of encoder and decoder together ===


def _decoder_ignores_z(case):
    if "shuffle_cost" not in case:
        return
    cost, rate = case["shuffle_cost"], case["rate"]
    bypass = case.evidence.get("bypass", 0.0)
    if rate < USED and bypass > BYPASS:
        message = (
            f"{100 * bypass:.0f}% of the variance of the data is decoded with z held "
            f"fixed, past z, which carries {rate:.2g} nats"
        )
    elif rate >= USED and cost < READ * rate:
        message = (
            f"latents of other examples decode as well: shuffling costs {cost:.2g} "
            f"nats, the code itself {rate:.3g}"
        )
    else:
        return
    yield _finding(
        "decoder_ignores_z",
        message,
        remedies.code_alone(case),
        case.pick("shuffle_cost", "rate", "mutual_information", "bypass"),
    )


def _posterior_collapse(case):
    if "missing_rate" not in case:
        yield from _writing_collapse(case)
        return
    missing = case["missing_rate"]
    if missing <= max(case["rate"], MISSING):
        return
    # Below a noise that is too low even white errors would pay.
    if any(_noise_too_low(case)) and not case.missed:
        return
    yield _finding(
        "posterior_collapse",
        f"{case['unused_units']} of {case['latent_dim']} units are unused, and the "
        f"error still holds {missing:.3g} nats that would pay at this weight and "
        f"noise, more than the {case['rate']:.2g} that are coded",
        remedies.later_weight(case),
        case.pick(
            "active_units", "collapsed_units", "rate", "missing_rate", "kl_per_unit"
        ),
    )


def _writing_collapse(case):
    """Of words no error is measured: a decoder that writes without z is the fault."""
    subject = case.subject
    if not (subject.reads_classes and subject.uses_latent) or case["rate"] >= USED:
        return
    yield _finding(
        "posterior_collapse",
        f"z carries {case['rate']:.2g} nats in {case['latent_dim']} units: the decoder "
        "writes from what it has read alone, as a model of language",
        remedies.controlled_rate(case),
        case.pick("active_units", "collapsed_units", "rate", "kl_per_unit"),
    )


def _dead_level(case):
    """A level of a hierarchy that codes next to nothing beside one that does."""
    levels = case.evidence.get("levels", {})
    dead = [name for name, level in levels.items() if level["rate"] < DEAD]
    if not dead or len(dead) == len(levels):
        return
    rates = ", ".join(f"{name} {one['rate']:.2g}" for name, one in levels.items())
    yield _finding(
        "dead_level",
        f"{' and '.join(dead)} of {len(levels)} levels code next to nothing, so that "
        f"the model is one of {len(levels) - len(dead)}; rates in nats: {rates}",
        remedies.living_levels(case),
        {"dead": dead, "levels": levels},
    )


def _prior_holes(case):
    if "aggregate_gap" not in case:
        return
    gap, per_unit = case["aggregate_gap"], case["aggregate_gap_per_unit"]
    enough = max(GAP, GAP_PER_UNIT * case["active_units"])
    if gap <= enough and max(per_unit) <= GAP:
        return
    yield _finding(
        "prior_holes",
        f"the encoder does not fill the prior: KL(q(z) || p(z)) is at least {gap:.3g} "
        f"of the rate of {case['rate']:.3g} nats, so that draws from the prior are not "
        "what the decoder was trained on",
        _fill_the_prior(case),
        case.pick("aggregate_gap", "aggregate_gap_per_unit", "rate", "kl_weight"),
    )


def _fill_the_prior(case):
    if case["kl_weight"] < 1 and not case.weight_is_noise:
        return remedies.WEIGHT_ONE
    if 0 < case.noise_ratio < 1 / NOISE:
        return remedies.learned_noise(case)
    return remedies.mixture(case)


# === Nats that are lost though the latents are healthy ===


def _overfitting(case):
    if "overfitting" not in case:
        return
    gap, error = case["overfitting"], case["overfitting_error"]
    if gap <= max(OVERFITTED * case["rate"], MISSING, 3 * error):
        return
    yield _finding(
        "overfitting",
        f"-ELBO is {case['negative_elbo']:.4g} nats on these examples and "
        f"{case['train_negative_elbo']:.4g} on those of training: {gap:.3g} more, with "
        f"a standard error of {error:.2g}",
        remedies.STOPPED_EARLIER,
        case.pick("overfitting", "overfitting_error", "train_negative_elbo"),
    )


def _noise_too_low(case):
    ratio, nats = case.evidence.get("error_to_noise", 0.0), case.evidence
    if ratio <= NOISE or nats["noise_loss"] <= MISSING:
        return
    # In training the noise fits: what is too large is the error of other examples.
    if any(_overfitting(case)) and case["train_error_to_noise"] <= NOISE:
        return
    yield _finding(
        "noise_too_low",
        f"the decoder's error, {case['error']:.3g}, has {ratio:.3g} times the variance "
        f"of its noise: noise of the size of the error saves {nats['noise_loss']:.3g} "
        "nats of -ELBO",
        remedies.noise_of_the_error(case),
        case.pick("noise", "error", "error_to_noise", "noise_loss"),
    )


def _behind_linear(case):
    gap = case.evidence.get("linear_gap", 0.0)
    # What another weight loses has a line of its own.
    if gap <= MISSING or abs(case["kl_weight"] - 1) >= EQUAL:
        return
    yield _finding(
        "behind_linear",
        f"-ELBO is {case['negative_elbo']:.4g} nats, and -log p of a linear model of "
        f"{case['linear_units']} units, probabilistic PCA, is "
        f"{case['linear_negative_elbo']:.4g}: {gap:.3g} nats fewer",
        remedies.linear_start(case),
        case.pick("negative_elbo", "linear_negative_elbo", "linear_gap"),
    )


_RULES = (
    _activated,
    _weighted_by_mistake,
    _ramp_not_finished,
    _variance_explodes,
    _noise_too_high,
    _weight_too_high,
    _decoder_ignores_z,
    _posterior_collapse,
    _dead_level,
    _overfitting,
    _noise_too_low,
    _prior_holes,
    _behind_linear,
)

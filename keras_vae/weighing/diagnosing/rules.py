"""Turns evidence into findings, worst first: causes before their consequences."""

import numpy as np

from keras_vae.objectives import FreeBits
from keras_vae.weighing.auditing import Finding
from keras_vae.weighing.diagnosing.evidence import READ

# A weight is on its ramp if it is below this fraction of its final value, or above the
# final value divided by it.
RAMP = 0.9
# A variance has exploded if the posterior's standard deviation exceeds this many times
# the prior's. Such a unit costs at least 2.9 nats and carries no information for them.
EXPLODED = 3.0
# The decoder's noise is too high if its variance exceeds this many times the mean
# squared error. Learned noise has a ratio of 1.
NOISE = 2.0
# Report a fault only if the missing rate, in nats, exceeds both this and the coded
# rate. The optimiser, or the noise in the data, leaves smaller rates missing.
MISSING = 0.5
# Report a weight above 1 only if the coded rate is below this fraction of the rate that
# would pay at a weight of 1. Who chose such a weight may accept the loss of the rest.
NOTHING = 0.1
# Ask if the decoder reads z only from this rate on, in nats; see `READ`.
USED = 0.5
# The decoder has another way to the data if, with z held fixed, it still decodes more
# than this fraction of their variance.
BYPASS = 0.1
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
    found = [finding for rule in _RULES for finding in rule(case)]
    return tuple(found)


# === Faults that make all other numbers meaningless ===


def _diverged(case):
    yield Finding(
        "diverged",
        f"{case['non_finite']} of {case['num_examples']} examples are coded as NaN or "
        "infinity",
        "train anew with `keras.optimizers.Adam(1e-4, clipnorm=1.0)`",
        case.pick("non_finite"),
    )


def _weighted_by_mistake(case):
    if case.audit is None or case.audit.sound:
        return
    fault = case.audit.findings[0]
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
    yield Finding(
        "ramp_not_finished",
        f"`kl_weight` is {value:.3g} on its way to {final:.3g}: {step} steps of its "
        f"{end} are done. Judge the latents after that",
        f"train at least {end - step} steps more with the same schedule, or shorten "
        'it: `kv.KLAnnealing(kv.schedules.linear("50%"))`',
        case.pick("ramp_step", "ramp_end", "ramp_value", "ramp_final"),
    )


# === Faults of the encoder and of the noise ===


def _variance_explodes(case):
    widths = np.asarray(case["stddev_per_unit"])
    unit = int(widths.argmax())
    if widths[unit] <= EXPLODED:
        return
    many = int(np.count_nonzero(widths > EXPLODED))
    yield Finding(
        "posterior_variance_explodes",
        f"the posterior of z{unit} is {widths[unit]:.3g} times as wide as its prior: "
        f"noise that the decoder cannot read, in {many} of {case['latent_dim']} units",
        "train anew with `posterior=kv.distributions.DiagonalNormal(max_scale=2.0)` "
        "and `keras.optimizers.Adam(1e-3, clipnorm=1.0)`",
        {"unit": unit, "stddev": float(widths[unit]), "rate": case["rate"]},
    )


def _noise_too_high(case):
    ratio = case.evidence.get("noise_ratio", 0.0)
    if ratio <= NOISE:
        return
    # A used unit gains log(theta / theta') / 2 nats if theta falls to theta'.
    lost = case["missing_rate_at_one"] + case["active_units"] * np.log(ratio) / 2
    if lost <= max(case["rate"], MISSING):
        return
    yield Finding(
        "noise_too_high",
        f"the decoder's noise, {case['noise']:.3g}, has {ratio:.3g} times the variance "
        f"of its error, {case['error']:.3g}: {case['rate']:.2g} nats are coded, and "
        f"some {lost:.2g} more would pay",
        _learned_noise(case),
        {**case.pick("noise", "error", "noise_ratio", "rate"), "lost": float(lost)},
    )


def _learned_noise(case):
    name = type(case.subject.likelihood.core()).__name__
    # Lucas et al.: learned noise that starts large may collapse the posterior too.
    start = case["error"] / 2
    return (
        f'`likelihood=kv.distributions.{name}(scale="shared", '
        f"initial_scale={start:.2g})`"
    )


def _weight_too_high(case):
    weight, missed = case["kl_weight"], case.missed
    controlled = any(o.kl_weight.controlled for o in case.subject.objectives)
    if weight <= 1 or controlled or not missed or case["rate"] >= NOTHING * missed:
        return
    # Too much noise, which has a finding of its own, explains the collapse.
    if case.evidence.get("noise_ratio", 0.0) > NOISE:
        return
    yield Finding(
        "kl_weight_too_high",
        f"`kl_weight` is {weight:.3g}, at which {case['rate']:.2g} nats are coded; at "
        f"1 some {missed:.3g} nats would pay",
        "`objective=kv.ELBO(kl_weight=1.0)`; for a weight in between see "
        "`kv.rate_distortion`",
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
    yield Finding(
        "decoder_ignores_z",
        message,
        "let z be all that the decoder gets, `decoder=kv.networks.mlp_decoder(...)`, "
        "without connections past z, and check that its first layer trains",
        case.pick("shuffle_cost", "rate", "mutual_information", "bypass"),
    )


def _posterior_collapse(case):
    missing = case.evidence.get("missing_rate", 0.0)
    if missing <= max(case["rate"], MISSING):
        return
    action = 'train anew with `callbacks=[kv.KLAnnealing(kv.schedules.linear("50%"))]`'
    relapsed = any(isinstance(o, FreeBits) for o in case.subject.objectives)
    if case.analytic and not relapsed:
        nats = max(missing / case["unused_units"] / 2, 0.05)
        action += (
            f"; if that relapses, `objective=kv.objectives.FreeBits(nats={nats:.1g})`"
        )
    yield Finding(
        "posterior_collapse",
        f"{case['unused_units']} of {case['latent_dim']} units are unused, and the "
        f"error still holds {missing:.3g} nats that would pay at this weight and "
        f"noise, more than the {case['rate']:.2g} that are coded",
        action,
        case.pick(
            "active_units", "collapsed_units", "rate", "missing_rate", "kl_per_unit"
        ),
    )


def _prior_holes(case):
    if "aggregate_gap" not in case:
        return
    gap, per_unit = case["aggregate_gap"], case["aggregate_gap_per_unit"]
    enough = max(GAP, GAP_PER_UNIT * case["active_units"])
    if gap <= enough and max(per_unit) <= GAP:
        return
    yield Finding(
        "prior_holes",
        f"the encoder does not fill the prior: KL(q(z) || p(z)) is at least {gap:.3g} "
        f"of the rate of {case['rate']:.3g} nats, so that draws from the prior are not "
        "what the decoder was trained on",
        _fill_the_prior(case),
        case.pick("aggregate_gap", "aggregate_gap_per_unit", "rate", "kl_weight"),
    )


def _fill_the_prior(case):
    if case["kl_weight"] < 1:
        return "`objective=kv.ELBO(kl_weight=1.0)`"
    if case.evidence.get("noise_ratio", 1.0) < 1 / NOISE:
        return _learned_noise(case)
    return (
        "`prior=kv.priors.VampPrior(num_components=100)` with "
        '`objective=kv.ELBO(kl="monte_carlo")`'
    )


_RULES = (
    _weighted_by_mistake,
    _ramp_not_finished,
    _variance_explodes,
    _noise_too_high,
    _weight_too_high,
    _decoder_ignores_z,
    _posterior_collapse,
    _prior_holes,
)

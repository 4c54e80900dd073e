"""Turns evidence into findings, worst first: a cause before what follows from it."""

import numpy as np

from keras_vae.objectives import FreeBits
from keras_vae.weighing.auditing import Finding
from keras_vae.weighing.diagnosing.evidence import READ

# Below this part of its final value, or above its inverse, a weight is on its ramp.
RAMP = 0.9
# Posterior over prior standard deviation beyond which a variance has exploded: such a
# unit costs 2.9 nats and more, and carries nothing that those could buy.
EXPLODED = 3.0
# Variance of the decoder's noise over its squared error beyond which the noise is not
# that of the data. Learned noise has 1.
NOISE = 2.0
# Nats that a code must miss, and more of them than it has, to be ill: less is what the
# optimiser leaves, or the data.
MISSING = 0.5
# Part of the nats that pay at a weight of 1 below which nothing is coded. A weight
# chosen above 1 may cost the rest of them.
NOTHING = 0.1
# Rate in nats from which on it matters whether the decoder reads z, see `READ`.
USED = 0.5
# Part of the variance of the data that is decoded although z is held fixed, from which
# on the decoder has another way to the data.
BYPASS = 0.1
# KL(q(z) || p(z)) in nats, of all units and of each active one, beyond which draws from
# the prior are strangers to the decoder. exp(-3) is a twentieth; a nat is what a unit
# loses whose codes spread twice as wide as the prior. Sound models lose up to 0.6.
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
        """Nats that a rate of nothing else would still pay for, 0 for less than it has.

        With noise that is learned, where it can be, and the weight of the ELBO.
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


# === What makes all other numbers meaningless ===


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


# === What lies in the encoder and in the noise ===


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
    # A unit that pays gains log(theta / theta') / 2 where theta falls to theta'.
    lost = case["missing_rate_at_one"] + case["active_units"] * np.log(ratio) / 2
    if lost <= max(case["rate"], MISSING):
        return
    yield Finding(
        "noise_too_high",
        f"the decoder's noise, {case['noise']:.3g}, has {ratio:.3g} times the variance "
        f"of its error, {case['error']:.3g}: {case['rate']:.2g} nats are coded where "
        f"some {lost:.2g} more would pay",
        _learned_noise(case),
        {**case.pick("noise", "error", "noise_ratio", "rate"), "lost": float(lost)},
    )


def _learned_noise(case):
    name = type(case.subject.likelihood).__name__
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
    # That noise is too high explains it already.
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


# === What lies in how both go together ===


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
            f"nats, where the code costs {rate:.3g}"
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
            "; where that relapses, "
            f"`objective=kv.objectives.FreeBits(nats={nats:.1g})`"
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

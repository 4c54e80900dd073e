"""Turns a measurement into findings; each rule takes a `Case` and yields `Finding`s."""

import collections
import math

from keras_vae.weighing.auditing.case import Case
from keras_vae.weighing.auditing.case import close
from keras_vae.weighing.auditing.report import Finding
from keras_vae.weighing.auditing.report import shape_words


def judge(measured, kl_weight=None):
    """Applies all rules, gravest first.

    Args:
        measured: `Measurement`.
        kl_weight: See `audit`.

    Returns:
        An `AuditReport`.
    """
    case = Case(measured, kl_weight)
    for rule in _RULES:
        case.findings += list(rule(case))
    return case.report()


# === What is lost or counts twice ===


def _ignored(case):
    for item in case.measured.added:
        if item.weight == 0:
            name = item.added.layer.name
            yield Finding(
                "added_loss_ignored",
                f"a loss that {name!r} gives to `add_loss` does not "
                "reach the loss which is differentiated: its coefficient is 0",
                "add `sum(self.losses)` in `train_step`, or return "
                "`self.compute_loss(...)` from it",
                {"coefficient": 0.0, "layer": name},
            )
            return


def _vectors(case):
    for item in case.measured.added:
        shape = tuple(item.added.tensor.shape)
        if item.weight and math.prod(shape) > 1:
            yield Finding(
                "vector_added_loss",
                f"{item.added.layer.name!r} gives a vector of shape {shape} to "
                "`add_loss`, which Keras sums: its weight grows with the batch",
                "average it over the batch: `add_loss(ops.mean(values))`",
                {"shape": shape, "coefficients": case.first_coefficients},
            )
            return
    shape = case.measured.small.loss_shape
    if math.prod(shape) > 1:
        yield Finding(
            "vector_loss",
            f"the training step differentiates a tensor of shape {shape}, of which "
            "`tape.gradient` takes the sum",
            "average the loss over the batch to a scalar, each term for itself",
            {"shape": shape, "coefficients": case.first_coefficients},
        )


def _doubled(case):
    for rule in (_added_again, _added_by_several, _encoded_again):
        for finding in rule(case):
            yield finding
            return


def _added_again(case):
    for item in case.measured.added:
        if item.computed and item.weight > 1.5 * item.computed:
            name = item.added.layer.name
            yield Finding(
                "doubled_kl",
                f"the loss added by {name!r} counts "
                f"{item.weight / item.computed:.3g} times: `compute_loss` holds it "
                "already, and `train_step` adds it again",
                "leave `self.losses` out of `train_step`: `compute_loss` adds them",
                {"coefficient": item.weight, "layer": name},
            )


def _added_by_several(case):
    for kl, terms in case.weighed:
        same = [added for added, c in terms if close(c, terms[0][1])]
        if len(same) < 2:
            continue
        layers = dict.fromkeys(repr(added.layer.name) for added in same)
        by = ""
        if all(added.by_regularizer for added in same):
            by = "Its `activity_regularizer` is applied to each output of the layer. "
        yield Finding(
            "doubled_kl",
            f"the KL of {kl.source} is added {len(same)} times, by "
            f"{', '.join(layers)}, each with coefficient {terms[0][1]:.4g}. "
            f"{by}Together {kl.coefficients[0]:.4g}",
            "add the KL once, with `add_loss` in `call`, for example by "
            "`keras_vae.layers.Latent`",
            {"terms": kl.terms, "coefficients": kl.coefficients},
        )


def _encoded_again(case):
    groups = collections.defaultdict(list)
    for kl in case.kls:
        groups[kl.source].append(kl.coefficients[0])
    times = _times(case.measured.small.posteriors)
    for source, coefficients in groups.items():
        if len(coefficients) > 1 and times.get(source, 0) > 1:
            yield Finding(
                "doubled_kl",
                f"the layers {source} run {times[source]} times in one step on the "
                "same input, and the KL of each run reaches the loss: together "
                f"{sum(coefficients):.4g}",
                "call the encoder once in `train_step` and use its outputs",
                {"coefficients": tuple(coefficients)},
            )


def _times(posteriors):
    """How often the same posterior occurs, by its source."""
    groups = collections.defaultdict(list)
    for posterior in posteriors:
        groups[posterior.source].append(posterior)
    return {
        source: max(sum(a.equals(b) for b in group) for a in group)
        for source, group in groups.items()
    }


def _absent(case):
    measured = case.measured
    named = measured.probe.posterior or measured.probe.kl
    known = measured.small.known
    zero = any(one.latent is None and one.coefficient == 0 for one in known)
    # A known KL whose gradient is no clean multiple reaches the posterior all the same.
    silent = not (case.kls or known or measured.small.reached)
    if named and (zero or silent) and not case.named("added_loss_ignored"):
        yield Finding(
            "kl_absent",
            "no gradient of a KL reaches the posterior that was named",
            "add the KL to the loss: `self.add_loss(kl_weight * kl)`",
            {"coefficient": 0.0},
        )


# === What has the wrong sign or depends on the batch ===


def _signs(case):
    for kl in case.kls:
        if kl.coefficients[0] < 0 and kl.form != "objective":
            yield Finding(
                "negative_kl",
                f"the KL of {kl.source} has coefficient {kl.coefficients[0]:.4g}: "
                "training raises it",
                "KL = -1/2 sum(1 + log_var - mean^2 - exp(log_var)) is not "
                "negative; add it, do not subtract it",
                {"coefficients": kl.coefficients},
            )
    r = case.reconstruction
    if r is not None and r.coefficients[0] < 0:
        yield Finding(
            "negative_reconstruction",
            f"the reconstruction has coefficient {r.coefficients[0]:.4g}: training "
            "raises the error",
            "add the error, or the negative log-likelihood, to the loss",
            {"coefficients": r.coefficients},
        )


def _batches(case):
    r = case.reconstruction
    power = 0 if r is None else case.exponent(r.coefficients)
    powers = [case.exponent(kl.coefficients) for kl in case.kls]
    if power == 1 and powers and all(p == 1 for p in powers):
        case.notes.append(
            "both terms are summed over the batch: their balance is right, and "
            "the gradient grows with the batch"
        )
        return
    if power is None:
        case.notes.append("the reconstruction's coefficient depends on the batch")
    elif power != 0:
        yield _reconstruction_by_batch(case, power)
    for kl, p in zip(case.kls, powers, strict=True):
        if kl.form == "objective":
            continue
        if p is None:
            case.notes.append(f"the coefficient of {kl.source} depends on the batch")
        elif p not in (0, power) and not case.named("vector_added_loss"):
            yield _kl_by_batch(case, kl, p)


def _reconstruction_by_batch(case, power):
    first, second = case.reconstruction.coefficients
    return Finding(
        f"reconstruction_{_verb(power)}_by_batch",
        f"the reconstruction's coefficient goes from {first:.4g} to {second:.4g} as "
        f"the batch goes from {case.sizes[0]} to {case.sizes[1]}, but the KL's does "
        "not: the weight of the KL depends on the batch size",
        "average the reconstruction over the batch, once, as the KL is",
        {"coefficients": (first, second), "kl": case.first_coefficients},
    )


def _kl_by_batch(case, kl, power):
    first, second = kl.coefficients
    return Finding(
        f"kl_{_verb(power)}_by_batch",
        f"the coefficient of the KL of {kl.source} goes from {first:.4g} to "
        f"{second:.4g} as the batch goes from {case.sizes[0]} to {case.sizes[1]}",
        "sum the KL over the latents and average it over the batch: "
        "`ops.mean(ops.sum(kl, axis=-1))`"
        if power > 0
        else "average the KL over the batch once, not twice",
        {"coefficients": kl.coefficients},
    )


def _verb(power):
    return "multiplied" if power > 0 else "divided"


def _regularizers(case):
    for kl, terms in case.weighed:
        for added, _ in terms:
            if added.by_regularizer:
                yield Finding(
                    "kl_in_activity_regularizer",
                    f"the KL of {kl.source} is the `activity_regularizer` of "
                    f"{added.layer.name!r}, which Keras 3 divides by the batch "
                    "size since 3.14 and did not before",
                    "add it with `self.add_loss(...)` in `call`, averaged over the "
                    "batch",
                    {"coefficients": kl.coefficients},
                )
                return


# === What depends on the number of pixels or latents ===


def _double_sigmoid(case):
    r = case.reconstruction
    if r is None or r.form != "bernoulli_logits":
        return
    seen = case.measured.reconstruction[0].seen
    if seen.is_logits:
        return
    if getattr(_last_activation(seen.layer), "__name__", "") == "sigmoid":
        yield Finding(
            "double_sigmoid",
            f"{r.source!r} ends in a sigmoid, and the cross-entropy takes its "
            "output for logits: no probability outside [0.5, 0.73] can be reached",
            "remove the activation, or pass `from_logits=False`",
            {"coefficients": r.coefficients},
        )


def _last_activation(layer):
    """The activation through which a layer's or model's output went last."""
    shaping = ("Reshape", "Flatten", "InputLayer")
    while steps := [
        step
        for step in getattr(layer, "layers", None) or []
        if type(step).__name__ not in shaping
    ]:
        layer = steps[-1]
    return getattr(layer, "activation", None)


def _event_means(case):
    r = case.reconstruction
    if r is None or r.form == "likelihood":
        return
    if not case.kls and not case.measured.added:
        # An autoencoder: nothing is weighed against its error.
        return
    a = abs(case.per_example(r.coefficients))
    for kl in case.kls:
        b = abs(case.per_example(kl.coefficients))
        # A KL divided by the same number leaves the balance as it was.
        if any(close(b / a * base, 1.0) for base in (1.0, *case.natural)):
            return
    if any(close(a, base) for base in case.natural):
        return
    for base in case.natural:
        for divisor in dict.fromkeys((math.prod(r.event_shape), r.event_shape[-1])):
            whole = divisor == math.prod(r.event_shape)
            if divisor > 1 and close(a * divisor, base) and (whole or base == 1.0):
                yield _event_mean(case, base, divisor, whole)
                return


def _event_mean(case, base, divisor, whole):
    r = case.reconstruction
    axes = f"the last axis of {divisor} and summed over the others"
    if whole:
        axes = f"all {divisor} numbers"
    return Finding(
        "reconstruction_averaged_over_" + ("event" if whole else "channels"),
        f"the {r.form} of {shape_words(r.event_shape)} is averaged over {axes}: its "
        f"coefficient is {r.coefficients[0]:.4g}, not {base:.4g}, which weighs the KL "
        f"{divisor} times as much{_implied(case)}",
        "sum over the event: `keras_vae.losses.NegativeLogLikelihood`, or "
        f"multiply the reconstruction by {divisor}",
        {"coefficients": r.coefficients, "divisor": divisor},
    )


def _implied(case):
    """What the measured weight amounts to, in words."""
    if case.beta is None:
        return ""
    if case.reconstruction.form == "squared_error":
        return (
            f"; beta = {case.beta:.4g} under a unit-variance Gaussian, or sigma = "
            f"{math.sqrt(case.beta):.3g} at beta = 1"
        )
    return f"; beta = {case.beta:.4g}"


def _latent_means(case):
    whole = [size for size, undone in case.measured.mean_axes if not undone]
    for kl in case.kls:
        size = kl.latent_dim
        if size > 1 and size in whole:
            yield Finding(
                "kl_averaged_over_latents",
                f"the KL of {kl.source} is averaged over its {size} latents: "
                f"its coefficient is {kl.coefficients[0]:.4g}",
                "sum over the latents before averaging over the batch: "
                "`ops.mean(ops.sum(kl, axis=-1))`; to keep this weight "
                f"multiply it by {1 / size:.4g}",
                {"coefficients": kl.coefficients, "latent_dim": size},
            )
            return


# === What is not the weight that was meant ===


def _layer_weights(case):
    if case.named("doubled_kl"):
        return
    for kl in case.kls:
        c = kl.coefficients[0]
        if kl.asked is None or close(c, kl.asked, 1e-2):
            continue
        if kl.asked == 0 and abs(c) < 1e-6:
            continue
        yield Finding(
            "kl_weight_differs",
            f"{kl.source} was given kl_weight={kl.asked:.4g}, and its KL has "
            f"coefficient {c:.4g}",
            "look for what multiplies `losses` in `train_step` or `compute_loss`",
            {"coefficients": kl.coefficients, "asked": kl.asked},
        )


def _meant_weight(case):
    if case.kl_weight is None:
        return
    if case.beta is None:
        case.notes.append("`kl_weight` could not be compared with anything")
    elif not close(case.beta, case.kl_weight, 1e-2):
        yield Finding(
            "kl_weight_differs",
            f"beta is {case.beta:.4g}, not {case.kl_weight:.4g}",
            f"multiply the KL by {case.kl_weight / case.beta:.4g}",
            {"beta": case.beta, "asked": case.kl_weight},
        )


_RULES = (
    _ignored,
    _vectors,
    _doubled,
    _signs,
    _batches,
    _double_sigmoid,
    _event_means,
    _latent_means,
    _layer_weights,
    _meant_weight,
    _absent,
    _regularizers,
)

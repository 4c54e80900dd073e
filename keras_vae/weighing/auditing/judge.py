"""Turns a measurement into findings.

Each rule takes a `Pair`, and yields `Finding`s, or strings for remarks.
"""

import collections
import math

from keras_vae.weighing.auditing.pairing import close
from keras_vae.weighing.auditing.posterior_search import same_mean
from keras_vae.weighing.auditing.report import Finding
from keras_vae.weighing.auditing.report import shape_words


def judge(measured):
    """Applies all rules to a `Pair`, gravest first.

    Returns:
        Tuple of `Finding`s, and tuple of strings: remarks that are no fault.
    """
    results = [result for rule in _RULES for result in rule(measured)]
    findings = tuple(result for result in results if isinstance(result, Finding))
    return findings, tuple(result for result in results if isinstance(result, str))


# === Terms that are lost or count twice ===


def _ignored(measured):
    for item in measured.small.added:
        if item.weight == 0:
            name = item.added.layer.name
            yield Finding(
                "added_loss_ignored",
                f"{name!r} adds a loss with `add_loss` that has coefficient 0 in the "
                "loss that the training step differentiates",
                "add `sum(self.losses)`, or return `self.compute_loss(...)`, in "
                "`train_step`",
                {"coefficient": 0.0, "layer": name},
            )
            return


def _vectors(measured):
    losses = [
        ("vector_added_loss", f"that {added.layer.name!r} adds ", added.tensor.shape)
        for added in measured.added_vectors
    ]
    for name, by, shape in [*losses, ("vector_loss", "", measured.small.loss_shape)]:
        if math.prod(shape) > 1:
            yield Finding(
                name,
                f"the loss {by}is a tensor of shape {tuple(shape)}. Its sum is "
                "differentiated, so that its weight grows with the batch",
                "average each term of the loss over the batch: `ops.mean(values)`",
                {"shape": tuple(shape), "coefficients": measured.first_coefficients},
            )
            return


def _doubled(measured):
    for rule in (_added_again, _added_by_several, _encoded_again):
        for finding in rule(measured):
            yield Finding("doubled_kl", *finding)
            return


def _added_again(measured):
    for item in measured.small.added:
        if item.computed and item.weight > 1.5 * item.computed:
            name, times = item.added.layer.name, item.weight / item.computed
            yield (
                f"the loss added by {name!r} counts {times:.3g} times: `compute_loss` "
                "holds it already, and `train_step` adds it again",
                "leave `self.losses` out of `train_step`: `compute_loss` adds them",
                {"coefficient": item.weight, "layer": name},
            )


def _added_by_several(measured):
    for kl, source in measured.weighed:
        same = [added for added, c in source.terms if close(c, source.terms[0][1])]
        if len(same) > 1:
            layers = ", ".join(dict.fromkeys(repr(added.layer.name) for added in same))
            by = ""
            if all(added.by_regularizer for added in same):
                by = ". Keras applies `activity_regularizer` to each output of a layer"
            yield (
                f"{layers} adds the KL of {kl.source} {len(same)} times, each time "
                f"with coefficient {source.terms[0][1]:.4g}: together "
                f"{kl.coefficients[0]:.4g}{by}",
                "add the KL once, for example by `keras_vae.layers.Latent`",
                {"terms": kl.terms, "coefficients": kl.coefficients},
            )


def _encoded_again(measured):
    runs = collections.defaultdict(list)
    for kl in measured.small.kls:
        if kl.mean is not None:
            runs[kl.source].append(kl)
    for name, kls in runs.items():
        times = max(sum(same_mean(a, b) for b in kls) for a in kls)
        weights = tuple(k.coefficients[0] for k in measured.kls if k.source == name)
        if times > 1 and len(weights) > 1:
            yield (
                f"the layers {name} run {times} times in one step on the same input, "
                f"and each run adds its KL: together {sum(weights):.4g}",
                "call the encoder once in `train_step` and use its outputs",
                {"coefficients": weights},
            )


def _absent(measured):
    kls = measured.small.kls
    zero = any(kl.form == "callable" and kl.coefficient == 0 for kl in kls)
    # A KL whose gradient is no clean multiple reaches the posterior too.
    absent = zero or not (kls or measured.small.reached)
    if measured.named and absent and not any(_ignored(measured)):
        yield Finding(
            "kl_absent",
            "no gradient of a KL reaches the posterior that was named",
            "add the KL to the loss: `self.add_loss(kl_weight * kl)`",
            {"coefficient": 0.0},
        )


# === Terms with the wrong sign, or with a weight that depends on the batch ===


def _terms(measured):
    """Yields kind, words and result of each term with a coefficient of its own."""
    for kl in measured.kls:
        if kl.form != "objective":
            yield "kl", f"the KL of {kl.source}", kl
    if measured.reconstruction is not None:
        yield "reconstruction", "the reconstruction", measured.reconstruction


def _signs(measured):
    fixes = {
        "kl": "add the KL, do not subtract it: "
        "-1/2 sum(1 + log_var - mean^2 - exp(log_var)) is not negative",
        "reconstruction": "add the error, or the negative log-likelihood, to the loss",
    }
    for kind, words, term in _terms(measured):
        if term.coefficients[0] < 0:
            yield Finding(
                f"negative_{kind}",
                f"{words} has coefficient {term.coefficients[0]:.4g}: training raises "
                "it",
                fixes[kind],
                {"coefficients": term.coefficients},
            )


def _batches(measured):
    r = measured.reconstruction
    power = 0 if r is None else measured.exponent(r)
    if power == 1 and {measured.exponent(kl) for kl in measured.kls} == {1}:
        yield (
            "both terms are summed over the batch: their balance is right, and the "
            "gradient grows with the batch"
        )
        return
    for kind, words, term in _terms(measured):
        first, second = term.coefficients
        p = measured.exponent(term)
        # A vector that a layer adds has a finding of its own.
        explained = p in (0, power) or measured.added_vectors
        if p is None:
            yield f"the coefficient of {words} depends on the batch"
        elif p if term is r else not explained:
            verb = "multiplied" if p > 0 else "divided"
            beside = {"kl": measured.first_coefficients} if term is r else {}
            yield Finding(
                f"{kind}_{verb}_by_batch",
                f"the coefficient of {words} goes from {first:.4g} to {second:.4g} as "
                f"the batch goes from {measured.sizes[0]} to {measured.sizes[1]}",
                "sum the term over the event or the latents, and average it over the "
                "batch once: `ops.mean(ops.sum(kl, axis=-1))`",
                {"coefficients": (first, second), **beside},
            )


def _regularizers(measured):
    for kl, source in measured.weighed:
        for added in [added for added, _ in source.terms if added.by_regularizer]:
            yield Finding(
                "kl_in_activity_regularizer",
                f"the KL of {kl.source} is the `activity_regularizer` of "
                f"{added.layer.name!r}. Keras divides it by the batch size since 3.14 "
                "and did not before",
                "call `self.add_loss(...)` in `call` with its mean over the batch",
                {"coefficients": kl.coefficients},
            )
            return


# === Terms with a weight that depends on the number of pixels or latents ===


def _double_sigmoid(measured):
    r = measured.reconstruction
    if r is None or r.form != "bernoulli_logits":
        return
    seen = measured.small.reconstruction.seen
    activation = _last_activation(seen.layer)
    if not seen.is_logits and getattr(activation, "__name__", "") == "sigmoid":
        yield Finding(
            "double_sigmoid",
            f"{r.source!r} ends in a sigmoid, and the cross-entropy takes its output "
            "for logits: it reaches no probability outside [0.5, 0.73]",
            "remove the activation, or pass `from_logits=False`",
            {"coefficients": r.coefficients},
        )


def _last_activation(layer):
    """Returns the last activation of a layer or model, or None."""
    shaping = ("Reshape", "Flatten", "InputLayer")
    while steps := [
        step
        for step in getattr(layer, "layers", None) or []
        if type(step).__name__ not in shaping
    ]:
        layer = steps[-1]
    return getattr(layer, "activation", None)


def _event_means(measured):
    r, natural = measured.reconstruction, measured.natural
    # In an autoencoder nothing is weighed against the error.
    alone = not measured.kls and not measured.small.added
    if r is None or r.form == "likelihood" or alone:
        return
    a = abs(measured.per_example(r))
    ratios = [abs(measured.per_example(kl)) / a for kl in measured.kls]
    # A KL divided by the same number leaves the balance as it was.
    balanced = any(close(b * base, 1.0) for b in ratios for base in (1.0, *natural))
    if balanced or any(close(a, base) for base in natural):
        return
    whole, channels = math.prod(r.event_shape), r.event_shape[-1]
    means = [(1.0, whole), (1.0, channels), *[(base, whole) for base in natural]]
    for base, divisor in means:
        if divisor > 1 and close(a * divisor, base):
            yield _event_mean(measured, base, divisor)
            return


def _event_mean(measured, base, divisor):
    r, beta = measured.reconstruction, measured.beta
    name, axes = "channels", f"the last axis of {divisor} and summed over the others"
    if divisor == math.prod(r.event_shape):
        name, axes = "event", f"all {divisor} numbers"
    implied = "" if beta is None else f"; beta = {beta:.4g}"
    if implied and r.form == "squared_error":
        sigma = f"sigma = {math.sqrt(beta):.3g} at beta = 1"
        implied += f" under a unit-variance Gaussian, or {sigma}"
    return Finding(
        f"reconstruction_averaged_over_{name}",
        f"the {r.form} of {shape_words(r.event_shape)} is averaged over {axes}. Its "
        f"coefficient is {r.coefficients[0]:.4g} instead of {base:.4g}, so that the KL "
        f"weighs {divisor} times as much{implied}",
        "sum over the event: `keras_vae.losses.NegativeLogLikelihood`, or multiply the "
        f"reconstruction by {divisor}",
        {"coefficients": r.coefficients, "divisor": divisor},
    )


def _latent_means(measured):
    for kl in measured.kls:
        size = kl.latent_dim
        if size > 1 and size in measured.averaged:
            yield Finding(
                "kl_averaged_over_latents",
                f"the KL of {kl.source} is averaged over its {size} latents: its "
                f"coefficient is {kl.coefficients[0]:.4g}",
                "sum over the latents, then average over the batch: "
                "`ops.mean(ops.sum(kl, axis=-1))`; to keep this weight multiply it by "
                f"{1 / size:.4g}",
                {"coefficients": kl.coefficients, "latent_dim": size},
            )
            return


# === Weights other than those that were meant ===


def _layer_weights(measured):
    for kl in measured.kls if not any(_doubled(measured)) else ():
        c, asked = kl.coefficients[0], kl.asked
        if asked is not None and abs(c - asked) > max(1e-2 * asked, 1e-6):
            yield Finding(
                "kl_weight_differs",
                f"{kl.source} has kl_weight={asked:.4g}, but its KL has coefficient "
                f"{c:.4g}",
                "search `train_step` and `compute_loss` for a factor of `losses`",
                {"coefficients": kl.coefficients, "asked": asked},
            )


def _meant_weight(measured):
    beta, meant = measured.beta, measured.kl_weight
    if meant is not None and beta is None:
        yield "`kl_weight` could not be compared with anything"
    elif meant is not None and not close(beta, meant, 1e-2):
        yield Finding(
            "kl_weight_differs",
            f"beta is {beta:.4g}, not {meant:.4g}",
            f"multiply the KL by {meant / beta:.4g}",
            {"beta": beta, "asked": meant},
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

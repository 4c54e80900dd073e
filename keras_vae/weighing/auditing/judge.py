"""Turns a measurement into findings.

Each rule takes a `Pair`, and yields `Finding`s, or strings for remarks.
"""

import math

from keras_vae.weighing.auditing.pairing import close
from keras_vae.weighing.auditing.pairing import natural
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
    for item in [item for item in measured.small.added if item.weight == 0][:1]:
        name = item.added.layer.name
        yield Finding(
            "added_loss_ignored",
            f"the loss that {name!r} adds has coefficient 0 in the training step",
            "add `sum(self.losses)`, or take `self.compute_loss(...)`, in `train_step`",
            {"coefficient": 0.0, "layer": name},
        )


def _vectors(measured):
    losses = [
        ("vector_added_loss", f"that {added.layer.name!r} adds ", added.tensor.shape)
        for added in measured.added_vectors
    ]
    if math.prod(measured.small.loss_shape) > 1:
        losses.append(("vector_loss", "", measured.small.loss_shape))
    for name, by, shape in losses[:1]:
        yield Finding(
            name,
            f"the loss {by}is a tensor of shape {tuple(shape)}. Its sum is "
            "differentiated, so that its weight grows with the batch",
            "average each term of the loss over the batch: `ops.mean(values)`",
            {"shape": tuple(shape), "coefficients": measured.first_coefficients},
        )


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
            regular = all(added.by_regularizer for added in same)
            by = ", as `activity_regularizer` of several outputs" if regular else ""
            yield (
                f"the KL of {kl.source} is added {len(same)} times by {layers}{by}, "
                f"each time with coefficient {source.terms[0][1]:.4g}: together "
                f"{kl.coefficients[0]:.4g}",
                "add the KL once, for example by `keras_vae.layers.Latent`",
                {"terms": kl.terms, "coefficients": kl.coefficients},
            )


def _encoded_again(measured):
    found = [kl for kl in measured.small.kls if kl.mean is not None]
    for one in found:
        name = one.source
        times = sum(kl.source == name and same_mean(kl, one) for kl in found)
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
    for r in measured.reconstructions:
        of = f" of {r.source!r}" if len(measured.reconstructions) > 1 else ""
        yield "reconstruction", f"the reconstruction{of}", r


def _signs(measured):
    positive = {
        "kl": "-1/2 sum(1 + log_var - mean^2 - exp(log_var))",
        "reconstruction": "the error, or the negative log-likelihood",
    }
    for kind, words, term in _terms(measured):
        c = term.coefficients[0]
        if c < 0:
            yield Finding(
                f"negative_{kind}",
                f"{words} has coefficient {c:.4g}: training raises it",
                f"add {positive[kind]} to the loss, do not subtract it",
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
        elif p if kind == "reconstruction" else not explained:
            verb = "multiplied" if p > 0 else "divided"
            beside = {}
            if kind == "reconstruction":
                beside = {"kl": measured.first_coefficients}
            yield Finding(
                f"{kind}_{verb}_by_batch",
                f"the coefficient of {words} goes from {first:.4g} to {second:.4g} as "
                f"the batch goes from {measured.sizes[0]} to {measured.sizes[1]}",
                "sum the term over the event or the latents, and average it over the "
                "batch once: `ops.mean(ops.sum(kl, axis=-1))`",
                {"coefficients": (first, second), **beside},
            )


def _regularizers(measured):
    pairs = [
        (kl, added) for kl, source in measured.weighed for added, _ in source.terms
    ]
    for kl, added in [pair for pair in pairs if pair[1].by_regularizer][:1]:
        yield Finding(
            "kl_in_activity_regularizer",
            f"the KL of {kl.source} is the `activity_regularizer` of "
            f"{added.layer.name!r}. Keras divides it by the batch size since 3.14 and "
            "did not before",
            "call `self.add_loss(...)` in `call` with its mean over the batch",
            {"coefficients": kl.coefficients},
        )


# === Terms with a weight that depends on the number of pixels or latents ===


def _activated(measured):
    for r, seen in measured.recognised:
        if not seen.activation or not seen.takes_logits:
            continue
        limits = ""
        if seen.activation == "sigmoid":
            limits = ": it reaches no probability outside [0.5, 0.73]"
        taken, advice = "likelihood", ""
        if r.form == "bernoulli_logits":
            taken, advice = "cross-entropy", ", or pass `from_logits=False`"
        yield Finding(
            f"double_{seen.activation}",
            f"{r.source!r} ends in a {seen.activation}, and the {taken} takes its "
            f"output for logits{limits}",
            f"remove the {seen.activation}, for example by `activation=None` in the "
            f"last layer of the decoder{advice}",
            {"coefficients": r.coefficients},
        )


def _event_means(measured):
    for pair in measured.recognised:
        yield from _means_of_event(measured, *pair)


def _means_of_event(measured, r, seen):
    # In an autoencoder nothing is weighed against the error.
    alone = not measured.kls and not measured.small.added
    if r.form == "likelihood" or alone:
        return
    bases, a = natural(r), abs(measured.per_example(r))
    ratios = [abs(measured.per_example(kl)) / a for kl in measured.kls]
    # A KL divided by the same number leaves the balance as it was.
    balanced = any(close(b * base, 1.0) for b in ratios for base in (1.0, *bases))
    if balanced or any(close(a, base) for base in bases):
        return
    whole, channels = math.prod(r.event_shape), (1, *r.event_shape)[-1]
    means = [(1.0, whole), (1.0, channels), *[(base, whole) for base in bases]]
    fits = [(c, n) for c, n in means if n > 1 and close(a * n, c)]
    for base, divisor in fits[:1]:
        yield _event_mean(measured, r, seen, base, divisor)


def _event_mean(measured, r, seen, base, divisor):
    beta = measured.beta if r is measured.reconstruction else None
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
        f"sum over the event: {_summed(r, seen)}, or multiply the reconstruction by "
        f"{divisor}",
        {"coefficients": r.coefficients, "divisor": divisor},
    )


def _summed(r, seen):
    """Returns the compiled loss that sums a form, and what it asks of the decoder."""
    loss = f"`loss=kv.losses.NegativeLogLikelihood({_LIKELIHOODS[r.form]})`"
    if r.form not in ("bernoulli", "bernoulli_logits") or not seen.activation:
        return loss
    return (
        f"{loss}, which takes logits, so that the {seen.activation} at the end of "
        f"{r.source!r} has to go, for example by `activation=None` in the last layer "
        "of the decoder"
    )


_LIKELIHOODS = {
    "squared_error": '"unit_normal"',
    "absolute_error": "kv.distributions.Laplace(scale=1.0)",
    "bernoulli": '"bernoulli"',
    "bernoulli_logits": '"bernoulli"',
}


def _latent_means(measured):
    sizes = set(measured.averaged) - {1}
    for kl in [kl for kl in measured.kls if kl.latent_dim in sizes][:1]:
        yield Finding(
            "kl_averaged_over_latents",
            f"the KL of {kl.source} is averaged over its {kl.latent_dim} latents: its "
            f"coefficient is {kl.coefficients[0]:.4g}",
            "sum over the latents, then average over the batch: "
            "`ops.mean(ops.sum(kl, axis=-1))`; to keep this weight multiply it by "
            f"{1 / kl.latent_dim:.4g}",
            {"coefficients": kl.coefficients, "latent_dim": kl.latent_dim},
        )


# === Weights other than those that were meant ===


def _layer_weights(measured):
    for kl in measured.kls if not any(_doubled(measured)) else ():
        c, asked = kl.coefficients[0], kl.asked
        if asked is not None and abs(c - asked) > max(1e-2 * asked, 1e-6):
            yield Finding(
                "kl_weight_differs",
                f"{kl.source} has kl_weight={asked:.4g}, but its KL has weight {c:.4g}",
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
    _activated,
    _event_means,
    _latent_means,
    _layer_weights,
    _meant_weight,
    _absent,
    _regularizers,
)

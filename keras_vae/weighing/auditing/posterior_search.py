"""Finds the layers that put out a posterior, by b dKL/d(mean, scale)."""

import dataclasses
import itertools
import math

import numpy as np

from keras_vae.weighing.auditing import solve
from keras_vae.weighing.auditing.probe import Seen
from keras_vae.weighing.auditing.terms import MeasuredKL

# For each way to write a scale: sigma of the raw number, and its derivative.
_SCALES = {
    "log_var": lambda s: (np.exp(s / 2), np.exp(s / 2) / 2),
    "log_std": lambda s: (np.exp(s), np.exp(s)),
    "std": lambda s: (s, np.ones_like(s)),
    "var": lambda s: (np.sqrt(s), 0.5 / np.sqrt(s)),
    "softplus": lambda s: (np.logaddexp(0, s), 1 / (1 + np.exp(-s))),
}
_POSITIVE = ("std", "var")


@dataclasses.dataclass(frozen=True)
class _Part:
    """A tensor, or half of one, that may be a mean or a scale."""

    seen: Seen
    half: str
    where: slice
    value: np.ndarray
    gradient: np.ndarray


def find(step, loss, names=None):
    """Finds the posteriors of a step.

    Args:
        step: `Step`, in which no gradient passes the decoder's output.
        loss: The loss, a tensor.
        names: Names of the layers that may put them out, or None for all.

    Returns:
        List of `MeasuredKL`s, and whether any gradient reached any tensor.
    """
    candidates = {}
    for seen in step.seen:
        named = names is None or (seen.is_output and seen.layer.name in names)
        shape = seen.tensor.shape
        if named and len(shape) > 1 and shape[0] == step.batch.size:
            candidates.setdefault(id(seen.tensor), seen)
    found, reached = _match(step, loss, candidates.values())
    # Other terms of the loss may hide the KL that an added loss holds.
    alone = {}
    for added in step.added:
        weight = step.weigh(loss, added.tensor)
        for kl in _match(step, added.tensor, candidates.values())[0].values():
            before = alone[kl.key].coefficient if kl.key in alone else 0.0
            coefficient = before + weight * kl.coefficient
            alone[kl.key] = dataclasses.replace(kl, coefficient=coefficient)
    found |= {key: kl for key, kl in alone.items() if key not in found}
    return list(found.values()), reached


def _match(step, loss, candidates):
    """Returns KLs by key, of pairs of tensors with their gradients; see `find`."""
    parts, samples = _parts(step, loss, list(candidates))
    found = {}
    for part in parts:
        mean = _as_mean(part, samples)
        kl = mean and _with_scale(step, part, *mean, parts)
        if kl and not any(_repeats(kl, other) for other in found.values()):
            found.setdefault(kl.key, kl)
    return found, bool(parts)


def _parts(step, loss, candidates):
    """Returns parts with a gradient, and the values that may be a sample z."""
    gradients = step.gradient(loss, [seen.tensor for seen in candidates])
    parts, samples = [], []
    for seen, gradient in zip(candidates, gradients, strict=True):
        gradient = gradient.numpy().astype("float64")
        value = seen.tensor.numpy().astype("float64")
        samples.append(value)
        halves, middle = {"": slice(None)}, value.shape[-1] // 2
        if value.shape[-1] % 2 == 0:
            halves["[first half]"] = slice(None, middle)
            halves["[second half]"] = slice(middle, None)
        for half, where in halves.items() if gradient.any() else ():
            part = _Part(seen, half, where, value[..., where], gradient[..., where])
            parts.append(part)
    return parts, samples


def _as_mean(part, samples):
    """Returns z or None, coefficient and gradient of a KL by a mean, or None."""
    # The closed form has the gradient mean; log q(z|x) - log p(z) has the gradient z.
    for z in (None, *samples):
        reference = part.value if z is None else z
        if reference.shape != part.value.shape:
            continue
        few = slice(0, 512)
        if solve.project(part.gradient.flat[few], reference.flat[few])[1] > 0.1:
            continue
        reference = reference / len(reference)
        c, residual = solve.project(part.gradient, reference)
        if residual < solve.tolerance(part.seen.tensor) and c != 0:
            return z, c, reference
    return None


def _with_scale(step, mean, z, coefficient, reference, parts):
    """Returns the KL of a mean and the scale that fits best, or None."""
    best, lowest = None, np.inf
    for scale, form in itertools.product(parts, _SCALES):
        positive = form not in _POSITIVE or (scale.value > 0).all()
        if not positive or not _belongs(scale, mean):
            continue
        by_scale = _scale_reference(mean, z, scale, form)
        c, residual = solve.project(scale.gradient, by_scale)
        off = residual + abs(c - coefficient) / abs(coefficient)
        if off < min(lowest, 5 * solve.tolerance(scale.seen.tensor)):
            best, lowest = (scale, form, by_scale), off
    if best is None:
        return None
    scale, form, by_scale = best
    pair = mean, scale
    seen = [part.seen for part in pair]
    sides = [
        (mean.seen.tensor, reference, mean.where),
        (scale.seen.tensor, by_scale, scale.where),
    ]
    return MeasuredKL(
        key=tuple((p.seen.layer.name, p.seen.call, p.half) for p in pair),
        source=", ".join(dict.fromkeys(s.layer.name for s in seen)),
        form=form,
        latent_dim=math.prod(mean.value.shape[1:]),
        coefficient=coefficient,
        places=tuple((s.place, s.is_output) for s in seen),
        mean=mean.value,
        terms=solve.weigh_in_added(step, sides),
    )


def _belongs(scale, mean):
    if scale.value.shape != mean.value.shape or scale is mean:
        return False
    # Halves of one tensor are a pair, halves of two tensors are none.
    return bool(mean.half) == (scale.seen.tensor is mean.seen.tensor)


def _scale_reference(mean, z, scale, form):
    """Returns the gradient of the KL by a scale that is written in a form."""
    with np.errstate(over="ignore"):
        sigma, slope = _SCALES[form](scale.value)
        outer = sigma if z is None else z * (z - mean.value) / sigma
        return (outer - 1 / sigma) * slope / len(sigma)


def _repeats(kl, other):
    """Whether a KL is another one, cast or passed on by another layer."""
    return kl.source != other.source and same_mean(kl, other)


def same_mean(kl, other):
    """Whether the posteriors of two KLs have the same mean."""
    a, b = kl.mean, other.mean
    return a.shape == b.shape and np.allclose(a, b, rtol=1e-2, atol=1e-4)

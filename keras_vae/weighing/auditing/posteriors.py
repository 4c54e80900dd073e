"""Finds the layers that put out a posterior, by b dKL/d(mean, scale)."""

import dataclasses

import numpy as np

from keras_vae.weighing.auditing.probe import Seen
from keras_vae.weighing.auditing.solve import project
from keras_vae.weighing.auditing.solve import terms
from keras_vae.weighing.auditing.solve import tolerance

# Scales: sigma of the raw number, and its derivative.
_SCALES = {
    "log_var": lambda s: (np.exp(s / 2), np.exp(s / 2) / 2),
    "log_std": lambda s: (np.exp(s), np.exp(s)),
    "std": lambda s: (s, np.ones_like(s)),
    "var": lambda s: (np.sqrt(s), 0.5 / np.sqrt(s)),
    "softplus": lambda s: (np.logaddexp(0, s), 1 / (1 + np.exp(-s))),
}
_POSITIVE = ("std", "var")


@dataclasses.dataclass
class _Part:
    """A tensor, or half of one, that may be a mean or a scale."""

    seen: Seen
    half: str
    where: slice
    value: np.ndarray
    gradient: np.ndarray
    tolerance: float


@dataclasses.dataclass
class _Mean:
    """A part with the gradient of a mean, at the sample z or in closed form."""

    part: _Part
    z: np.ndarray | None
    coefficient: float
    reference: np.ndarray


@dataclasses.dataclass
class Posterior:
    """Mean and scale of q(z|x), as two parts, and the coefficient of the KL.

    Args:
        mean: Part of a tensor.
        scale: Part of a tensor.
        form: How the scale is written.
        coefficient: Float b.
        references: Gradients of the KL by mean and scale.
        terms: List of (`Added`, coefficient in it).
    """

    mean: _Part
    scale: _Part
    form: str
    coefficient: float
    references: tuple
    terms: tuple = ()

    @property
    def key(self):
        """What identifies it in another step."""
        parts = self.mean, self.scale
        return tuple((p.seen.layer.name, p.seen.call, p.half) for p in parts)

    @property
    def source(self):
        """Names of the layers."""
        names = dict.fromkeys((self.mean.seen.layer.name, self.scale.seen.layer.name))
        return ", ".join(names)

    @property
    def sides(self):
        """List of (tensor, gradient of the KL by it, where in its last axis)."""
        parts = zip((self.mean, self.scale), self.references, strict=True)
        return [(part.seen.tensor, r, part.where) for part, r in parts]

    def equals(self, other):
        """Whether both have the same mean."""
        a, b = self.mean.value, other.mean.value
        return a.shape == b.shape and np.allclose(a, b, rtol=1e-2, atol=1e-4)

    def repeats(self, other):
        """Whether it is the other one, cast or passed on by another layer."""
        return self.source != other.source and self.equals(other)


def find(step, loss, names=None):
    """Finds the posteriors of a step.

    Args:
        step: `Step`, in which no gradient passes the decoder's output.
        loss: The loss, a tensor.
        names: Names of the layers that may put them out, or None for all.

    Returns:
        List of `Posterior`s, and whether any gradient reached any part.
    """
    candidates = [seen for seen in step.trace.seen if _allowed(seen, names)]
    parts, samples = _parts(step, loss, candidates)
    found = _match(parts, samples, step.batch.size)
    keys = [posterior.key for posterior in found]
    alone = _match_added(step, loss, candidates)
    found += [posterior for posterior in alone if posterior.key not in keys]
    for posterior in found:
        posterior.terms = terms(step, posterior.sides)
    return found, bool(parts)


def _allowed(seen, names):
    return names is None or (seen.is_output and seen.layer.name in names)


def _match_added(step, loss, candidates):
    """Finds KLs in the added losses by themselves, where other terms disturb."""
    found = {}
    for added in step.trace.added:
        weight = step.weigh(loss, added.tensor)
        parts, samples = _parts(step, added.tensor, candidates)
        for posterior in _match(parts, samples, step.batch.size):
            first = found.setdefault(posterior.key, posterior)
            previous = 0.0 if first is posterior else first.coefficient
            first.coefficient = previous + weight * posterior.coefficient
    return list(found.values())


def _parts(step, loss, candidates):
    """Parts with a gradient, and all values that may be the sample z of one."""
    chosen = {}
    for seen in candidates:
        shape = seen.tensor.shape
        if len(shape) > 1 and shape[0] == step.batch.size:
            chosen.setdefault(id(seen.tensor), seen)
    chosen = list(chosen.values())
    gradients = step.gradient(loss, [seen.tensor for seen in chosen])
    parts, samples = [], []
    for seen, gradient in zip(chosen, gradients, strict=True):
        gradient = gradient.numpy().astype("float64")
        value = seen.tensor.numpy().astype("float64")
        samples.append(value)
        if gradient.any():
            parts += _split(seen, value, gradient)
    shapes = {part.value.shape for part in parts}
    return parts, [value for value in samples if value.shape in shapes]


def _split(seen, value, gradient):
    """The tensor as a whole, and as mean beside scale."""
    halves = [("", slice(None))]
    if value.shape[-1] % 2 == 0:
        half = value.shape[-1] // 2
        halves.append(("[first half]", slice(None, half)))
        halves.append(("[second half]", slice(half, None)))
    limit = tolerance(seen.tensor)
    return [
        _Part(seen, half, where, value[..., where], gradient[..., where], limit)
        for half, where in halves
    ]


def _match(parts, samples, size):
    """Finds the pairs of parts whose gradients are those of a KL, with one c.

    Args:
        parts: List of `_Part`s, gradients at fixed decoder output.
        samples: List of arrays that may be the sample z.
        size: Batch size.

    Returns:
        List of `Posterior`s.
    """
    found = {}
    for mean in _means(parts, samples, size):
        posterior = _with_scale(mean, parts, size)
        if posterior is None:
            continue
        if not any(posterior.repeats(other) for other in found.values()):
            found.setdefault(posterior.key, posterior)
    return list(found.values())


def _means(parts, samples, size):
    means = []
    for part in parts:
        # The closed form; else log q(z|x) - log p(z), whose gradient by the mean is z.
        tried = (_as_mean(part, z, size) for z in [None, *samples])
        means.append(next((mean for mean in tried if mean is not None), None))
    return [mean for mean in means if mean is not None]


def _as_mean(part, z, size):
    reference = part.value if z is None else z
    if reference.shape != part.value.shape:
        return None
    few = slice(0, 512)
    _, residual = project(part.gradient.flat[few], reference.flat[few])
    if residual > 0.1:
        return None
    reference = reference / size
    c, residual = project(part.gradient, reference)
    if residual < part.tolerance and c != 0:
        return _Mean(part, z, float(c), reference)
    return None


def _with_scale(mean, parts, size):
    """The posterior with the scale that fits best, or None."""
    best, lowest = None, np.inf
    for part in parts:
        if not _belongs(part, mean.part):
            continue
        for form in _SCALES:
            if form in _POSITIVE and not (part.value > 0).all():
                continue
            reference = _scale_reference(mean, part, form, size)
            c, residual = project(part.gradient, reference)
            off = residual + abs(c - mean.coefficient) / abs(mean.coefficient)
            if off < min(lowest, 5 * part.tolerance):
                references = mean.reference, reference
                best = Posterior(mean.part, part, form, mean.coefficient, references)
                lowest = off
    return best


def _belongs(scale, mean):
    if scale.value.shape != mean.value.shape or scale is mean:
        return False
    # Halves belong together; those of two tensors are no pair of their own.
    return bool(mean.half) == (scale.seen.tensor is mean.seen.tensor)


def _scale_reference(mean, part, form, size):
    """The gradient of the KL by a scale that is written in a form."""
    z = mean.z
    with np.errstate(over="ignore"):
        sigma, slope = _SCALES[form](part.value)
        outer = sigma if z is None else z * (z - mean.part.value) / sigma
        return (outer - 1 / sigma) * slope / size

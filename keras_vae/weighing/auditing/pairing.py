"""Compares the terms of two batches of different sizes."""

import dataclasses
import functools
import math

from keras_vae.weighing import units
from keras_vae.weighing.auditing.report import KL
from keras_vae.weighing.auditing.report import Reconstruction
from keras_vae.weighing.auditing.solve import JOINT_TOLERANCE
from keras_vae.weighing.auditing.terms import BatchMeasurement


def close(a, b, tolerance=3e-3):
    """Whether a is b up to a relative distance."""
    return abs(a - b) <= tolerance * abs(b)


def natural(reconstruction):
    """Returns the coefficients that a `Reconstruction` has if it is a likelihood."""
    squared = reconstruction and reconstruction.form == "squared_error"
    return (1.0, 0.5) if squared else (1.0,)


@dataclasses.dataclass(frozen=True)
class Pair:
    """The terms of one model's loss at two batch sizes.

    Args:
        small: `BatchMeasurement`.
        large: `BatchMeasurement` of more examples.
        averaged: Sizes of averaged axes, see `averaged_sizes`.
        kl_weight: See `audit`.
        named: Whether the user named the posterior or passed its KL.
    """

    small: BatchMeasurement
    large: BatchMeasurement
    averaged: list
    kl_weight: float | None = None
    named: bool = False

    @property
    def sizes(self):
        """The two batch sizes."""
        return self.small.size, self.large.size

    @functools.cached_property
    def recognised(self):
        """Tuple of (`Reconstruction`, `MeasuredReconstruction` on the small batch)."""
        pairs = []
        both = self.small.reconstructions, self.large.reconstructions
        for small, large in zip(*both, strict=True):
            if small is not None and large is not None:
                names = small.source, small.form, small.event_shape
                coefficients = small.coefficient, large.coefficient
                pairs.append((Reconstruction(*names, coefficients), small))
        return tuple(pairs)

    @property
    def reconstructions(self):
        """Tuple of the `Reconstruction`s, one a head."""
        return tuple(r for r, _ in self.recognised)

    @property
    def reconstruction(self):
        """That of most numbers, against which the KL is weighed, or None."""
        return self._largest[0]

    @functools.cached_property
    def _largest(self):
        def size(pair):
            return math.prod(pair[0].event_shape)

        return max(self.recognised, key=size, default=(None, None))

    @functools.cached_property
    def weighed(self):
        """Tuple of (`KL`, its `MeasuredKL` on the small batch)."""
        pairs = []
        for small, large in self._twins:
            if _unclear(small, large) is None:
                coefficients = small.coefficient, large.coefficient
                terms = tuple((added.layer.name, c) for added, c in small.terms)
                names = small.source, small.form, small.latent_dim
                pairs.append((KL(*names, coefficients, terms, small.asked), small))
        return tuple(pairs)

    @property
    def _twins(self):
        large = {kl.key: kl for kl in self.large.kls}
        return [(kl, large[kl.key]) for kl in self.small.kls if kl.key in large]

    @property
    def kls(self):
        """Tuple of the `KL`s."""
        return tuple(kl for kl, _ in self.weighed)

    @property
    def added_vectors(self):
        """List of the `Added` that reach the loss and hold several numbers."""
        added = [item.added for item in self.small.added if item.weight]
        return [item for item in added if math.prod(item.tensor.shape) > 1]

    @property
    def notes(self):
        """Tuple of strings: quantities that could not be measured."""
        notes = []
        heads = zip(self.small.heads, self.small.reconstructions, strict=True)
        for name in [name for name, found in heads if found is None]:
            notes.append(
                f"the {f'loss of {name!r}' if name else 'reconstruction'} was not "
                "recognised as squared error, absolute error or cross-entropy of a "
                "layer's output and the target"
            )
        for small, large in self._twins:
            if small.form == "objective":
                notes.append(
                    f"the objective of {small.source} is no plain ELBO and sets the "
                    "coefficient of the KL by itself"
                )
            notes.append(_unclear(small, large))
        if not self.kls and all(kl.mean is not None for kl in self.small.kls):
            notes.append(
                "no KL to a standard normal was found; if there is one, name its "
                "layers in `posterior` or pass `kl`"
            )
        return tuple(filter(None, notes))

    # === Derived ===

    @property
    def first_coefficients(self):
        """Coefficients of the first KL, or () without one."""
        return self.kls[0].coefficients if self.kls else ()

    @property
    def ratio(self):
        """Ratio of the coefficients of first KL and reconstruction, or None."""
        if self.reconstruction is None or not self.kls:
            return None
        ratio = self.first_coefficients[0] / self.reconstruction.coefficients[0]
        return ratio if ratio > 0 else None

    @property
    def beta(self):
        """Weight of the first KL against a log-likelihood, or None."""
        if self.ratio is not None and self.reconstruction.form == "squared_error":
            return self.ratio / 2
        return self.ratio

    @property
    def weight(self):
        """The `Weight` of the first KL against the reconstruction, or None.

        Its latents are those of all KLs with that weight, which are one code together.
        """
        if self.ratio is None:
            return None
        first = self.first_coefficients
        alike = [kl for kl in self.kls if all(map(close, kl.coefficients, first))]
        latents = sum(kl.latent_dim for kl in alike)
        sizes = self.reconstruction.event_shape, latents
        likelihood = self._largest[1].likelihood
        known = units.of_likelihood(likelihood, self.ratio, *sizes)
        form = self.reconstruction.form.removesuffix("_logits")
        if known is None and form in ("squared_error", "bernoulli"):
            return units.Weight(self.ratio, *sizes, form)
        return known

    def exponent(self, term):
        """Returns the power of the batch size in a term's weight, None if unclear."""
        small, large = term.coefficients
        if small == 0 or large == 0 or small * large < 0:
            return 0 if small == large else None
        power = math.log(large / small) / math.log(self.sizes[1] / self.sizes[0])
        return round(power) if abs(power - round(power)) < 0.02 else None

    def per_example(self, term):
        """Returns a term's coefficient without its power of the batch size."""
        return term.coefficients[0] / self.sizes[0] ** (self.exponent(term) or 0)


def _unclear(small, large):
    """Returns why the coefficient of a KL cannot be measured, or None."""
    residual = max(small.residual, large.residual)
    if residual == math.inf:
        return (
            f"the posterior of {small.source} is the prior for every example, so that "
            "its KL has no gradient: its coefficient cannot be measured"
        )
    if residual > JOINT_TOLERANCE:
        return (
            f"the gradient that reaches {small.source} is not a multiple of its KL "
            f"(relative residual {residual:.2g}): other terms act on it, or its "
            "objective is not a weighted sum"
        )
    return None

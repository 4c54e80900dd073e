"""The measurement of a model, as the rules look at it."""

import functools
import math

from keras_vae.weighing.auditing.reconstruction import likelihood_of
from keras_vae.weighing.auditing.report import KL
from keras_vae.weighing.auditing.report import AuditReport
from keras_vae.weighing.auditing.report import Reconstruction
from keras_vae.weighing.auditing.solve import JOINT_TOLERANCE
from keras_vae.weighing.units import Weight
from keras_vae.weighing.units import of_likelihood

# Coefficients of a reconstruction that is a likelihood.
_NATURAL = {"squared_error": (1.0, 0.5)}
_WEIGHT_FORMS = {
    "squared_error": "squared_error",
    "bernoulli": "bernoulli",
    "bernoulli_logits": "bernoulli",
}


def close(a, b, tolerance=3e-3):
    """Whether a is b up to a relative distance."""
    return abs(a - b) <= tolerance * abs(b)


class Case:
    """A measurement, with the findings and notes so far.

    Args:
        measured: `Measurement`.
        kl_weight: See `audit`.
    """

    def __init__(self, measured, kl_weight):
        self.measured = measured
        self.kl_weight = kl_weight
        self.sizes = measured.sizes
        self.findings = []
        self.notes = list(measured.notes)
        self.reconstruction = self._reconstruction()
        # Pairs of a `KL` and its terms, which are (`Added`, coefficient in it).
        self.weighed = self._known() + self._posteriors()
        self.kls = [kl for kl, _ in self.weighed]
        if not self.kls and not measured.small.known:
            self.notes.append(
                "no KL to a standard normal was found; if there is one, name its "
                "layers in `posterior` or pass `kl`"
            )

    def report(self):
        """Returns the `AuditReport` of all findings."""
        return AuditReport(
            tuple(self.findings),
            tuple(self.notes),
            self.sizes,
            self.reconstruction,
            tuple(self.kls),
            self.weight,
        )

    def named(self, name):
        """Whether a fault was found already."""
        return any(finding.name == name for finding in self.findings)

    # === Measured ===

    def _reconstruction(self):
        if self.measured.reconstruction is None:
            self.notes.append(
                "the reconstruction was not recognised as squared error, absolute "
                "error or cross-entropy of a layer's output and the target"
            )
            return None
        small, large = self.measured.reconstruction
        return Reconstruction(
            small.seen.layer.name,
            small.form,
            small.event_shape,
            (small.coefficient, large.coefficient),
        )

    def _known(self):
        pairs = zip(self.measured.small.known, self.measured.large.known, strict=False)
        kls = []
        for small, large in pairs:
            name, form, size = self._identity(small)
            residual = max(small.residual, large.residual)
            if residual == math.inf:
                self.notes.append(
                    f"the posterior of {name} is the prior for every example, so that "
                    "its KL has no gradient: its coefficient cannot be measured"
                )
                continue
            if residual > JOINT_TOLERANCE:
                self.notes.append(
                    f"the gradient that reaches {name} is not a multiple of its KL "
                    f"(relative residual {residual:.2g}): other terms act on it, or "
                    "its objective is not a weighted sum"
                )
                continue
            coefficients = small.coefficient, large.coefficient
            terms = _named_terms(small)
            kl = KL(name, form, size, coefficients, terms, small.asked)
            kls.append((kl, small.terms))
        return kls

    def _identity(self, solved):
        """Name, form and number of latents."""
        latent = solved.latent
        if latent is None:
            return "`kl`", "callable", 1
        if solved.asked is not None:
            return latent.name, "layer", latent.units
        self.notes.append(
            f"the objective of {latent.name} is no plain ELBO and sets the "
            "coefficient of the KL by itself"
        )
        return latent.name, "objective", latent.units

    def _posteriors(self):
        twins = {}
        for posterior in self.measured.large.posteriors:
            twins.setdefault(posterior.key, posterior)
        kls = []
        for small in self.measured.small.posteriors:
            if small.key in twins:
                size = math.prod(small.mean.value.shape[1:])
                coefficients = small.coefficient, twins[small.key].coefficient
                terms = _named_terms(small)
                kl = KL(small.source, small.form, size, coefficients, terms)
                kls.append((kl, small.terms))
        return kls

    # === Derived ===

    @property
    def first_coefficients(self):
        """Coefficients of the first KL, or () without one."""
        return self.kls[0].coefficients if self.kls else ()

    @property
    def natural(self):
        """Coefficients that the reconstruction has if it is a likelihood."""
        return _NATURAL.get(self.reconstruction.form, (1.0,))

    @functools.cached_property
    def ratio(self):
        """Weight of the first KL against the reconstruction, or None."""
        if self.reconstruction is None or not self.kls:
            return None
        ratio = self.first_coefficients[0] / self.reconstruction.coefficients[0]
        return ratio if ratio > 0 else None

    @property
    def beta(self):
        """The same against a likelihood, or None."""
        if self.ratio is not None and self.reconstruction.form == "squared_error":
            return self.ratio / 2
        return self.ratio

    @functools.cached_property
    def weight(self):
        """The same as a `Weight`, or None."""
        if self.ratio is None:
            return None
        sizes = self.reconstruction.event_shape, self.kls[0].latent_dim
        known = of_likelihood(likelihood_of(self.measured.model), self.ratio, *sizes)
        form = _WEIGHT_FORMS.get(self.reconstruction.form)
        return known or (form and Weight(self.ratio, *sizes, form))

    def exponent(self, coefficients):
        """Power of the batch size to which coefficients grow, None for no clear one."""
        small, large = coefficients
        if small == 0 or large == 0 or small * large < 0:
            return 0 if small == large else None
        power = math.log(large / small) / math.log(self.sizes[1] / self.sizes[0])
        return round(power) if abs(power - round(power)) < 0.02 else None

    def per_example(self, coefficients):
        """The coefficient without the batch's power, that has its own finding."""
        power = self.exponent(coefficients) or 0
        return coefficients[0] / self.sizes[0] ** power


def _named_terms(measured):
    return tuple((added.layer.name, c) for added, c in measured.terms)

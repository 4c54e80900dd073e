"""What an audit finds, as dataclasses and in words."""

import dataclasses

from keras_vae.weighing.units import Weight


@dataclasses.dataclass(frozen=True)
class Finding:
    """One thing that is wrong with a loss.

    Args:
        name: String that names the kind of fault.
        message: What was measured, in words.
        fix: What to write instead.
        evidence: Dict, names to the measured numbers.
        flag: The same as flags of `trainers.train`, "" where it has none.
    """

    name: str
    message: str
    fix: str
    evidence: dict
    flag: str = ""

    def __str__(self):
        """Message and fix."""
        return f"{self.name}: {self.message}\n    Fix: {self.fix}"


@dataclasses.dataclass(frozen=True)
class KL:
    """The KL of one latent variable as it reaches the gradient.

    Args:
        source: Names of the layers that put out the posterior.
        form: How the scale is written, for example "log_var"; "layer" for one of this
            library, "objective" if its objective sets the coefficient by itself,
            "callable" for the argument `kl`.
        latent_dim: Integer, dimensions of the latent.
        coefficients: Weights of the KL (summed over latents, averaged over the batch)
            at each batch size.
        terms: Tuple of (layer name, coefficient) of the added losses that make it up.
        asked: The weight that a layer of this library was given, or None.
    """

    source: str
    form: str
    latent_dim: int
    coefficients: tuple
    terms: tuple = ()
    asked: float | None = None


@dataclasses.dataclass(frozen=True)
class Reconstruction:
    """The reconstruction as it reaches the gradient.

    Args:
        source: Name of the layer that puts out the reconstruction.
        form: "squared_error", "bernoulli", "bernoulli_logits", "absolute_error" or
            "likelihood".
        event_shape: Shape of one reconstruction.
        coefficients: Weights of the term (summed over the event, averaged over the
            batch) at each batch size.
    """

    source: str
    form: str
    event_shape: tuple
    coefficients: tuple


@dataclasses.dataclass(frozen=True)
class AuditReport:
    """What `audit` measured; `str()` says it in words.

    Args:
        findings: Tuple of `Finding`s, gravest first.
        notes: Tuple of strings: remarks that are no fault, and quantities that could
            not be measured.
        batch_sizes: The batch sizes of the two measurements.
        reconstruction: `Reconstruction`, or None if it was not recognised; of several
            outputs the one of most numbers.
        kl: Tuple of `KL`s, one a latent variable.
        weight: `Weight` of the KL against the reconstruction, or None.
        reconstructions: Tuple of the `Reconstruction`s of all outputs.
    """

    findings: tuple
    notes: tuple
    batch_sizes: tuple
    reconstruction: Reconstruction | None
    kl: tuple
    weight: Weight | None
    reconstructions: tuple = ()

    @property
    def sound(self):
        """Whether no fault was found in the quantities that could be measured."""
        return not self.findings

    def __str__(self):
        """The report in words."""
        sizes = " and ".join(map(str, self.batch_sizes))
        lines = [f"Coefficients in the gradient at batch sizes {sizes}"]
        for r in self.reconstructions:
            of = f" of {r.source}" if len(self.reconstructions) > 1 else ""
            lines.append(
                f"  reconstruction{of}, {r.form} summed over "
                f"{shape_words(r.event_shape)}: {_join(r.coefficients)}"
            )
        for kl in self.kl:
            asked = "" if kl.asked is None else f" (asked: {kl.asked:.4g})"
            lines.append(
                f"  KL of {kl.source}, summed over {kl.latent_dim} latents: "
                f"{_join(kl.coefficients)}{asked}"
            )
        if self.weight is not None:
            lines.append("  " + str(self.weight).splitlines()[0])
        lines += [f"  note: {note}" for note in self.notes]
        lines.append(
            "Sound: no fault in the quantities that could be measured."
            if self.sound
            else f"{len(self.findings)} finding(s):"
        )
        lines += [f"{i}. {finding}" for i, finding in enumerate(self.findings, 1)]
        return "\n".join(lines)


def shape_words(shape):
    """A shape as "28x28x1"."""
    return "x".join(map(str, shape))


def _join(values):
    return " and ".join(f"{value:.4g}" for value in values)

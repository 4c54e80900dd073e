"""The result of a diagnosis, as a dataclass, in words and as a dict."""

import dataclasses

import numpy as np

HEALTHY = "healthy"


@dataclasses.dataclass(frozen=True)
class Diagnosis:
    """What `diagnose` found; `print` says it in words.

    Args:
        findings: Tuple of `Finding`s, worst first: causes before their
            consequences.
        evidence: Dict, names to numbers, information in nats.
        notes: Tuple of strings: remarks that are no fault, and quantities that could
            not be measured.
    """

    findings: tuple
    evidence: dict
    notes: tuple = ()

    @property
    def verdict(self):
        """Name of the worst finding, "healthy" if there is none."""
        return self.findings[0].name if self.findings else HEALTHY

    @property
    def action(self):
        """Its remedy, with the argument to pass."""
        return self.findings[0].fix if self.findings else "nothing"

    @property
    def healthy(self):
        """Whether no fault was found in the quantities that could be measured."""
        return not self.findings

    def to_dict(self):
        """Returns verdict, action, evidence, findings and notes as JSON takes them."""
        return {
            "verdict": self.verdict,
            "action": self.action,
            "evidence": _plain(self.evidence),
            "findings": [_plain(dataclasses.asdict(item)) for item in self.findings],
            "notes": list(self.notes),
        }

    def __str__(self):
        """Verdict, the numbers that tell it, and one action."""
        lines = [f"Verdict: {self.verdict}"]
        if self.findings:
            lines += [f"  {self.findings[0].message}.", f"  Do: {self.action}"]
        if others := ", ".join(item.name for item in self.findings[1:]):
            lines.append(f"  Also found, see `findings`: {others}.")
        lines += [f"  {text}." for text in (_summary(self.evidence), *self.notes)]
        return "\n".join(lines)

    def markdown(self):
        """The same for TensorBoard, which shows Markdown."""
        head, *lines = str(self).splitlines()
        return f"**{head}**\n\n" + "\n".join(f"* {line.strip()}" for line in lines)


def _summary(evidence):
    words = [f"Measured on {evidence['num_examples']} examples"]
    if "rate" in evidence:
        words.append(f"rate {evidence['rate']:.3g} nats")
    if "distortion" in evidence:
        words.append(f"distortion {evidence['distortion']:.4g} nats")
    if "active_units" in evidence:
        words.append(
            f"{evidence['active_units']} of {evidence['latent_dim']} units active"
        )
    return words[0] + ": " + ", ".join(words[1:]) if words[1:] else words[0]


def _plain(value):
    if isinstance(value, dict):
        return {str(name): _plain(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, np.ndarray | np.generic):
        return _plain(value.tolist())
    if isinstance(value, float) and not np.isfinite(value):
        return None  # JSON has no such number.
    return value

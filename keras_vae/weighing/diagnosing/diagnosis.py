"""The diagnosis of a model: how it is made, and its result."""

import dataclasses

import numpy as np
import tensorflow as tf

from keras_vae import checks
from keras_vae.weighing import auditing
from keras_vae.weighing import measuring
from keras_vae.weighing.diagnosing.evidence import gather
from keras_vae.weighing.diagnosing.lost import EQUAL
from keras_vae.weighing.diagnosing.lost import lost_lines
from keras_vae.weighing.diagnosing.rules import LOST
from keras_vae.weighing.diagnosing.rules import Case
from keras_vae.weighing.diagnosing.rules import findings_of
from keras_vae.weighing.diagnosing.subject import subject_of

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
    def flag(self):
        """The same as flags of `trainers.train`, "" where it has none."""
        return self.findings[0].flag if self.findings else ""

    @property
    def healthy(self):
        """Whether no fault was found in the quantities that could be measured."""
        return not self.findings

    @property
    def latents_healthy(self):
        """Whether no fault concerns the latents; nats may be lost elsewhere."""
        return all(finding.name in LOST for finding in self.findings)

    def to_dict(self):
        """Returns verdict, action, flag, evidence, findings and notes for JSON."""
        return {
            "verdict": self.verdict,
            "action": self.action,
            "flag": self.flag,
            "evidence": _plain(self.evidence),
            "findings": [_plain(dataclasses.asdict(item)) for item in self.findings],
            "notes": list(self.notes),
        }

    def __str__(self):
        """Verdict, its numbers, an action, and what is lost in nats."""
        lines = [f"Verdict: {self.verdict if self.findings else 'latents healthy'}"]
        if self.findings:
            latents = "latents healthy, but " if self.latents_healthy else ""
            flag = f"; flag: `{self.flag}`" if self.flag else ""
            lines.append(f"  {latents}{self.findings[0].message}.")
            lines.append(f"  Do: in Python: {self.action}{flag}")
        if others := ", ".join(item.name for item in self.findings[1:]):
            lines.append(f"  Also found, see `findings`: {others}.")
        texts = *lost_lines(self.evidence), _summary(self.evidence), *self.notes
        return "\n".join([*lines, *(f"  {text}." for text in texts)])

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


def diagnose(
    model,
    x,
    y=None,
    sample_weight=None,
    kl_weight=None,
    audit=None,
    train=None,
    max_examples=1000,
    seed=0,
):
    """Names the fault of a trained model, the numbers that tell it, and a remedy.

    | verdict | measured |
    |---|---|
    | "diverged" | NaN or infinity |
    | "kl_weighted_by_mistake" | a coefficient that `kv.audit` finds wrong |
    | "ramp_not_finished" | `kl_weight` is not at the end of its schedule |
    | "posterior_variance_explodes" | posteriors 3 times as wide as the prior |
    | "noise_too_high" | noise of 2 times the squared error, and nats lost to it |
    | "kl_weight_too_high" | next to nothing is coded at a weight above 1 |
    | "decoder_ignores_z" | shuffled latents decode as well |
    | "posterior_collapse" | unused units that would pay |
    | "dead_level" | a level of a hierarchy with a rate below .1 nats |
    | "overfitting" | -ELBO far above that of the training data `train` |
    | "noise_too_low" | a squared error of 2 times the noise, and nats lost to it |
    | "prior_holes" | an aggregate posterior that is not the prior |
    | "behind_linear" | -ELBO .5 nats above -log p of probabilistic PCA |
    | "double_sigmoid", "double_softmax" | an activation before logits |
    | "healthy" | none of these |

    The text says of healthy latents how many nats of -ELBO, at weight 1, are lost where
    it can be measured: to another weight, at least, as the gain of a model that the
    same networks reach without training (see the evidence "weight_loss"); to
    overfitting, with `train`; to the size of the noise, as the gain of the most likely
    one; and against probabilistic PCA of as many units, for real data under a `Normal`
    or `Laplace` that a model reconstructs. It is fitted to `train`, or without that to
    one half of the examples to score the other one.

    Unused units are no fault by themselves. A unit pays if it explains more variance
    than the noise of the decoder times the weight of the KL, as in Lucas et al. So the
    error of the reconstructions is searched for directions with more variance; if there
    are none, unused units are surplus. A weight chosen above 1 may cost units; it is a
    fault if it costs nearly all nats. Under mixtures as priors neither the KL of a unit
    nor holes are measured, and for class ids no error: of decoders that read such a
    target, as those of sentences do, a rate below .5 nats is the fault.

    Keras models with `layers.Latent` are measured likewise if their loss is
    `losses.NegativeLogLikelihood`, of several outputs all that have it; with other
    losses only their encoders are, and `kv.audit` measures the weight of the KL. The
    model stays as it is, and no training
    noise is drawn.

    Args:
        model: A `keras_vae.VAE`, or another Keras model with `Latent`s.
        x: Array (examples, ...), as for `fit`, of a `SentenceVAE` also strings; best
            examples that were not trained on,
            a few hundred of them. Also a tuple (x, y).
        y: Target, as for `fit`; a list or dict of arrays for several outputs.
        sample_weight: Array (examples,), as for `fit`: examples count in proportion.
        kl_weight: Float, the weight that was meant, for `kv.audit`, or None.
        audit: Boolean, whether to run `kv.audit`. Defaults to None: if the model is
            no plain `VAE`, whose weight is known, or if `kl_weight` is given.
        train: Training data, an array x or tuple (x, y), or None.
        max_examples: Integer, how many examples are looked at: the first ones, and as
            many of `train`, spread over all.
        seed: Integer, of the noise of z and of the shuffling.

    Returns:
        A `Diagnosis`: `.verdict`, `.action`, `.flag`, `.evidence`, `.findings`; `print`
        it.

    Raises:
        ValueError: If the model has no latent variable, or the data do not fit.

    Example:
    >>> x, _ = kv.datasets.digits()
    >>> vae = kv.VAE(
    ...     encoder=kv.networks.mlp_encoder([16]),
    ...     decoder=kv.networks.mlp_decoder([16], (8, 8, 1)),
    ...     latent_dim=2,
    ...     seed=0,
    ... )
    >>> diagnosis = kv.diagnose(vae, x[:200])
    >>> diagnosis.evidence["latent_dim"], diagnosis.evidence["num_examples"]
    (2, 200)

    References:
        [Don't Blame the ELBO!](https://arxiv.org/abs/1911.02469);
        [Importance Weighted Autoencoders](https://arxiv.org/abs/1509.00519);
        [ELBO surgery: yet another way to carve up the variational evidence lower
        bound](http://approximateinference.org/accepted/HoffmanJohnson2016.pdf)
    """
    checks.check_count("max_examples", max_examples, 2)
    data = x if y is None else (x, y)
    if sample_weight is not None:
        pair = measuring.unpack(data, "x")
        pair = measuring.take_weighted(*pair, sample_weight, max_examples)
        data = tuple(part for part in pair if part is not None)
    subject = subject_of(model, data, "x")
    training = None if train is None else _training(model, train)
    notes = list(subject.notes)
    report = None
    if audit is None:
        audit = not subject.is_plain or kl_weight is not None
    if audit:
        report = _audited(subject, kl_weight, notes)
    linear = None if training is None else _spread(training.x, 10 * max_examples)
    evidence = gather(subject, max_examples, seed, training, linear)
    findings = findings_of(Case(subject, evidence, report))
    notes += _remarks(evidence, findings)
    return Diagnosis(findings, evidence, tuple(notes))


def _training(model, train):
    try:
        return subject_of(model, train, "train")
    except ValueError as error:
        raise ValueError(f"`train` cannot be used: {error}") from error


def _spread(x, number):
    """Returns at most so many examples, spread over all."""
    step = -(-len(tf.nest.flatten(x)[0]) // number)
    return measuring.rows_of(x, slice(None, None, step))


def _audited(subject, kl_weight, notes):
    if not getattr(subject.model, "optimizer", None):
        notes.append("The model is not compiled, so that its weights were not audited")
        return None
    data = subject.x, subject.compiled_target
    return auditing.audit(subject.model, *data, kl_weight=kl_weight)


def _remarks(evidence, findings):
    """Yields remarks on unused units that are no fault."""
    names = {finding.name for finding in findings}
    if not {"diverged", "ramp_not_finished"}.isdisjoint(names):
        return
    unused = evidence["unused_units"]
    explained = names & {
        "decoder_ignores_z",
        "kl_weight_too_high",
        "noise_too_high",
        "posterior_collapse",
    }
    if unused and not explained and "missing_rate" in evidence:
        weight, missing = evidence["kl_weight"], evidence["missing_rate_at_one"]
        if weight > 1 + EQUAL and missing > evidence["missing_rate"]:
            yield (
                f"Unused at kl_weight={weight:.3g}: {unused} of "
                f"{evidence['latent_dim']} units; at 1 {missing:.2g} nats more would "
                "pay"
            )
        else:
            yield (
                f"Unused, and surplus: {unused} of {evidence['latent_dim']} units; "
                f"the error holds {evidence['missing_rate']:.2g} nats that would pay"
            )

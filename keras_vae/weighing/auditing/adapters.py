"""Answers that the audit needs from each kind of model."""

import dataclasses
import math

import tensorflow as tf

from keras_vae import _keras
from keras_vae.distributions.likelihoods import Likelihood
from keras_vae.layers import Latent
from keras_vae.losses import NegativeLogLikelihood
from keras_vae.models import VAE
from keras_vae.models import SemiSupervisedVAE
from keras_vae.models import observed
from keras_vae.objectives import BatchMean
from keras_vae.weighing import heads


@dataclasses.dataclass(frozen=True)
class AuditedHead:
    """One output of a model as the audit looks for it.

    Args:
        name: String, the output's name, "" for the only one.
        seen: List of `Seen`s that may be the reconstruction, the last one first.
        targets: List of tensors (size, ...) that it may be compared with.
        likelihood: `Likelihood` that it trains with, or None.
    """

    name: str
    seen: list
    targets: list
    likelihood: Likelihood | None


class AuditedModel:
    """A Keras model with a loss of its own, with or without `Latent` layers.

    Args:
        model: The compiled model.
    """

    def __init__(self, model):
        self.model = model

    def draws(self, step):
        """Yields each draw of a `LatentVariable` in a step.

        Args:
            step: `Step`.

        Yields:
            Tuples of the latent variable, its objective, the posterior's parameters, a
            tensor, and the `LatentEstimate`.
        """
        outputs = step.outputs
        for latent in _keras.sublayers(self.model, Latent):
            heads = [seen.tensor for seen in outputs if seen.layer is latent.head]
            # The prior may call the head on pseudo-inputs.
            heads = [params for params in heads if params.shape[0] == step.batch.size]
            zs = [seen.tensor for seen in outputs if seen.layer is latent]
            # What is above decides on the prior of each call.
            own = latent.prior.head
            priors = [o.tensor for o in outputs if own is not None and o.layer is own]
            for place, (params, z) in enumerate(zip(heads, zs, strict=False)):
                whole, z = params, tf.reshape(z, [-1, 1, latent.units])
                if priors:
                    whole = latent.posterior.with_prior(params, priors[place])
                    prior = priors[place]
                else:
                    prior = latent.prior.params(latent.infer)
                estimate = latent.estimate(whole, prior, z)
                yield latent, latent.objective, params, estimate

    def heads(self, step):
        """Returns the list of the `AuditedHead`s of a step.

        Only a compiled loss says which target belongs to which output.
        """
        compiled = getattr(self.model, "loss", None) is not None
        found = heads.heads_of(self.model, step.batch.y) if compiled else []
        if len(found) > 1:
            return [
                AuditedHead(
                    head.name, self._own(step, head), [head.target], head.likelihood
                )
                for head in found
                if head.loss is not None
            ]
        likelihood = found[0].likelihood if found else None
        targets = step.batch.targets
        return [AuditedHead("", _of_size(step, likelihood), targets, likelihood)]

    def _own(self, step, head):
        """Returns the records of one of the model's own outputs."""
        of_model = [seen for seen in step.outputs if seen.layer is self.model]
        outputs = step.results.get((id(self.model), 0))
        index = sorted(outputs).index(head.name) if outputs else head.index
        return [seen for seen in reversed(of_model) if seen.index == index]

    def mean(self, step):
        """Returns the `BatchMean` by which the loss averages over a batch."""
        return BatchMean(step.batch.size)

    def losses(self):
        """Returns the list of the compiled `NegativeLogLikelihood`s."""
        compiled = tf.nest.flatten(getattr(self.model, "loss", None))
        return [loss for loss in compiled if isinstance(loss, NegativeLogLikelihood)]

    def mask(self, step, seen, target):
        """Returns the mask with which the loss scores a target, or None."""
        return _keras.mask_of(seen.tensor)


class AuditedVAE(AuditedModel):
    """A `VAE`, which may have `Latent`s in its networks besides its own latents."""

    def draws(self, step):
        """See `AuditedModel.draws`."""
        draws = self.model.draws(self._outputs(step))
        params = [draw["posterior"] for draw in draws]
        estimates = self.model.latent_estimates(draws)
        for latent, *own in zip(self.model.latents, params, estimates, strict=True):
            yield latent, self.model.objective, *own
        yield from super().draws(step)

    def heads(self, step):
        """See `AuditedModel.heads`."""
        outputs = reversed(step.outputs)
        seen = [one for one in outputs if one.layer is self.model.decoder]
        return [AuditedHead("", seen, step.batch.targets, self.model.likelihood)]

    def mask(self, step, seen, target):
        """See `AuditedModel.mask`."""
        target = observed.marked(target, self.model.missing)
        return observed.mask_of_outputs(self._outputs(step), target)

    def _outputs(self, step):
        return step.results[id(self.model), 0]


class AuditedSemiSupervisedVAE(AuditedVAE):
    """A `SemiSupervisedVAE`, which scores each example for each class."""

    def heads(self, step):
        """See `AuditedModel.heads`."""
        x, y, _ = self._rows(step)
        target = self.model.conditions.main(x) if y is None else y
        heads = super().heads(step)
        return [dataclasses.replace(head, targets=[target]) for head in heads]

    def mean(self, step):
        """See `AuditedModel.mean`."""
        weights = self._rows(step)[2]
        return BatchMean(len(weights), weights)

    def _rows(self, step):
        return self.model.rows(step.batch.x, step.batch.y, self._outputs(step))


def _of_size(step, likelihood):
    """Returns the outputs of a size of the targets, the last one first."""
    sizes = {math.prod(target.shape) for target in step.batch.targets}
    if likelihood is not None:
        size, *event_shape = step.batch.targets[0].shape
        sizes.add(size * math.prod(likelihood.params_shape(event_shape)))
    outputs = reversed(step.outputs)
    return [seen for seen in outputs if math.prod(seen.tensor.shape) in sizes]


def adapt(model):
    """Returns the `AuditedModel` of a compiled model."""
    if isinstance(model, SemiSupervisedVAE):
        return AuditedSemiSupervisedVAE(model)
    return AuditedVAE(model) if isinstance(model, VAE) else AuditedModel(model)

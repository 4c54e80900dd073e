"""Answers that the audit needs from each kind of model."""

import math

from keras_vae import _keras
from keras_vae.layers import Latent
from keras_vae.losses import NegativeLogLikelihood
from keras_vae.models import VAE
from keras_vae.models import observed


class AuditedModel:
    """A Keras model with a loss of its own, with or without `Latent` layers.

    Args:
        model: The compiled model.
    """

    def __init__(self, model):
        self.model = model

    @property
    def likelihood(self):
        """The `Likelihood` that the model trains with, or None."""
        loss = getattr(self.model, "loss", None)
        return loss.likelihood if isinstance(loss, NegativeLogLikelihood) else None

    def draws(self, step):
        """Yields each draw of a `LatentVariable` in a step.

        Args:
            step: `Step`.

        Yields:
            Tuples of the latent variable, its objective, and tensors: the posterior's
            parameters, z (batch, samples, units), the prior's parameters or None.
        """
        outputs = step.outputs
        for latent in _keras.sublayers(self.model, Latent):
            heads = [seen.tensor for seen in outputs if seen.layer is latent.head]
            # The prior may call the head on pseudo-inputs.
            heads = [params for params in heads if params.shape[0] == step.batch.size]
            zs = [seen.tensor for seen in outputs if seen.layer is latent]
            for params, z in zip(heads, zs, strict=False):
                prior = latent.prior.params(latent.infer)
                yield latent, latent.objective, params, z[:, None], prior

    def decoded(self, step):
        """Returns the outputs that may be the reconstruction, the last one first."""
        sizes = {math.prod(target.shape) for target in step.batch.targets}
        if self.likelihood is not None:
            size, *event_shape = step.batch.targets[0].shape
            sizes.add(size * math.prod(self.likelihood.params_shape(event_shape)))
        outputs = reversed(step.outputs)
        return [seen for seen in outputs if math.prod(seen.tensor.shape) in sizes]

    def mask(self, step, seen, target):
        """Returns the mask with which the loss scores a target, or None."""
        return _keras.mask_of(seen.tensor)


class AuditedVAE(AuditedModel):
    """A `VAE`, which may have `Latent`s in its networks besides its own latents."""

    @property
    def likelihood(self):
        """See `AuditedModel.likelihood`."""
        return self.model.likelihood

    def draws(self, step):
        """See `AuditedModel.draws`."""
        outputs = self._outputs(step)
        tensors = outputs["posterior"], outputs["z"], outputs.get("prior")
        for latent in self.model.latents:
            yield latent, self.model.objective, *tensors
        yield from super().draws(step)

    def decoded(self, step):
        """See `AuditedModel.decoded`."""
        outputs = reversed(step.outputs)
        return [seen for seen in outputs if seen.layer is self.model.decoder]

    def mask(self, step, seen, target):
        """See `AuditedModel.mask`."""
        return observed.mask_of_outputs(self._outputs(step), target)

    def _outputs(self, step):
        return step.results[id(self.model), 0]


def adapt(model):
    """Returns the `AuditedModel` of a compiled model."""
    return AuditedVAE(model) if isinstance(model, VAE) else AuditedModel(model)

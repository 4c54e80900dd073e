"""Models opened for a look: what they encode, and what they make of other latents."""

import contextlib

import keras
import tensorflow as tf

from keras_vae import _keras
from keras_vae.layers import Latent
from keras_vae.losses import NegativeLogLikelihood
from keras_vae.models import VAE
from keras_vae.models import checks
from keras_vae.weighing import measuring
from keras_vae.weighing.auditing.probe import replace_method


class Subject:
    """A model as a diagnosis sees it. Its methods are called in a `StatelessScope`.

    Attributes:
        model: The Keras model.
        x: Structure of arrays (examples, ...).
        y: Array of targets (examples, ...).
        variables: List of the `LatentVariable`s.
        objectives: List of their objectives.
        likelihood: `Likelihood` of the model's output, or None where it has none.
        notes: List of strings: what cannot be measured, and why.
        may_bypass: Boolean, whether the decoder may see the input past z.
    """

    notes = ()
    may_bypass = False

    def encode(self, x):
        """Returns the posterior parameters (batch, params_size) of each variable."""
        raise NotImplementedError

    def prior(self, index):
        """Returns the `tfd.Distribution` p(z) of a variable."""
        raise NotImplementedError

    def decode(self, x, latents):
        """Returns the likelihood's parameters (batch, ...), float32, at other latents.

        Args:
            x: Batch of inputs, of use where the decoder sees more than z.
            latents: List of tensors (batch, latent), one a variable.
        """
        raise NotImplementedError


class VAESubject(Subject):
    """A `VAE`."""

    def __init__(self, model, data):
        self.model = model
        self.x, y = measuring.split(model, data)
        self.y = self.x if y is None else y
        self.variables = [model.latent]
        self.objectives = [model.objective]
        self.likelihood = model.likelihood

    def encode(self, x):
        """See `Subject.encode`."""
        return [self.model.latent.infer(self.model.encoder(x))]

    def prior(self, index):
        """See `Subject.prior`."""
        variable = self.variables[index]
        params = variable.prior.params(lambda x: self.encode(x)[0])
        return variable.prior.distribution(params, variable.posterior)

    def decode(self, x, latents):
        """See `Subject.decode`."""
        return tf.cast(self.model.decoder(latents[0]), tf.float32)


class LatentSubject(Subject):
    """Any Keras model with `Latent`s: its layers' methods are replaced for a look."""

    may_bypass = True

    def __init__(self, model, data):
        self.model = model
        self.x, y = measuring.unpack(data)
        self.y = self.x if y is None else y
        for value in (*tf.nest.flatten(self.x), self.y):
            checks.check_array(value, "data")
        self.variables = _keras.sublayers(model, Latent)
        self.objectives = [variable.objective for variable in self.variables]
        loss = getattr(model, "loss", None)
        self.likelihood = None
        if isinstance(loss, NegativeLogLikelihood):
            self.likelihood = loss.likelihood
        else:
            self.notes = (
                "Without `keras_vae.losses.NegativeLogLikelihood` as its loss the "
                "model has no distortion in nats, so that neither its noise, nor what "
                "is left in its error, nor shuffled latents were looked at",
            )

    def encode(self, x):
        """See `Subject.encode`."""
        seen = {}
        with contextlib.ExitStack() as stack:
            for i, variable in enumerate(self.variables):
                replace_method(stack, variable, "infer", _noting(seen, i))
            self.model(x, training=False)
        return [seen[i] for i in range(len(self.variables))]

    def prior(self, index):
        """See `Subject.prior`."""
        variable = self.variables[index]
        params = variable.prior.params(variable.infer)
        return variable.prior.distribution(params, variable.posterior)

    def decode(self, x, latents):
        """See `Subject.decode`."""
        with contextlib.ExitStack() as stack:
            for variable, z in zip(self.variables, latents, strict=True):
                z = tf.cast(z, variable.compute_dtype)
                replace_method(stack, variable, "call", _returning(z))
            return tf.cast(self.model(x, training=False), tf.float32)


def _noting(seen, index):
    """Notes what a method returns when it is called first, which is with the data."""

    def around(original):
        def infer(features):
            params = original(features)
            seen.setdefault(index, params)
            return params

        return infer

    return around


def _returning(value):
    return lambda original: lambda *args, **kwargs: value


def subject_of(model, data):
    """Returns the `Subject` of a model.

    Args:
        model: A `keras_vae.VAE`, or another Keras model with `Latent`s.
        data: See `diagnose`.

    Raises:
        ValueError: If there is no latent variable to look at.
    """
    if hasattr(model, "beta_range"):
        raise ValueError(
            "`model` must be a model of one weight: pass `model.at(beta)`, or measure "
            f"all of them by `keras_vae.rate_distortion`. Received: {model!r}"
        )
    if isinstance(model, VAE):
        return VAESubject(model, data)
    if not isinstance(model, keras.Model) or not _keras.sublayers(model, Latent):
        raise ValueError(
            "`model` must be a `keras_vae.VAE`, or a Keras model with a "
            "`keras_vae.layers.Latent`. Of others `keras_vae.audit` measures the "
            f"weight of the KL. Received: {model!r}"
        )
    return LatentSubject(model, data)

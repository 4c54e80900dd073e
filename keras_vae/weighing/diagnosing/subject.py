"""Models opened for a look: their codes, and their outputs at other latents."""

import contextlib
import functools

import keras
import numpy as np
import tensorflow as tf

from keras_vae import _keras
from keras_vae import checks
from keras_vae import conditions
from keras_vae.layers import Latent
from keras_vae.layers.latent import example_mask
from keras_vae.models import VAE
from keras_vae.models import observed
from keras_vae.weighing import heads
from keras_vae.weighing import measuring
from keras_vae.weighing.auditing.probe import replace_method


class Subject:
    """A model as a diagnosis sees it. Its methods are called in a `StatelessScope`.

    Attributes:
        model: The Keras model.
        x: Structure of arrays (examples, ...).
        targets: List of arrays (examples, ...), one for each output with a likelihood.
        variables: List of the `LatentVariable`s, a layer as often as it is called.
        objectives: List of their objectives.
        likelihoods: List of `Likelihood`s, one for each of the targets.
        notes: List of strings: quantities that cannot be measured, and why.
        may_bypass: Boolean, whether the decoder may see the input past z.
        is_plain: Boolean, whether the loss weighs the KL as the objective says.
        compiled_target: What `fit` takes as y, or None.
        has_conditional_prior: Boolean, whether p(z) is another for each example.
        reconstructs_itself: Boolean, whether the only target is the only input.
    """

    notes = ()
    may_bypass = False
    is_plain = False
    compiled_target = None
    has_conditional_prior = False

    @property
    def reconstructs_itself(self):
        """See the class."""
        if len(self.targets) != 1 or not hasattr(self.x, "shape"):
            return False
        x, y = map(checks.as_array, (self.x, self.targets[0]))
        return x is y or (x.shape == y.shape and bool(np.all(x == y)))

    def encode(self, x):
        """Returns the posterior parameters (batch, params_size) of each variable.

        They carry the mask (batch,) of the examples that have a KL, if there is one.
        """
        raise NotImplementedError

    def prior(self, index, x):
        """Returns the `tfd.Distribution` p(z) of a variable.

        Args:
            index: Integer.
            x: Batch of inputs, used if the prior takes conditions.
        """
        raise NotImplementedError

    def decode(self, x, latents):
        """Returns the likelihoods' parameters (batch, ...), float32, at other latents.

        Args:
            x: Batch of inputs, used if the decoder sees more than z.
            latents: List of tensors (batch, latent), one a variable.
        """
        raise NotImplementedError

    def mask(self, x, y, params):
        """Returns which elements of a target are observed, see `observed.mask_of`.

        Args:
            x: Batch of inputs.
            y: Batch of one of the targets.
            params: What `decode` returned for it.
        """
        raise NotImplementedError


class VAESubject(Subject):
    """A `VAE`."""

    def __init__(self, model, data, name):
        self.model = model
        self.x, y = measuring.split(model, data, name)
        self.targets = [self.x if y is None else y]
        # `VAE.fit` passes x as the target where there is no other.
        self.compiled_target = y
        self.variables = model.latents
        self.objectives = [model.objective]
        self.likelihoods = [model.likelihood]
        # A subclass may have another loss.
        self.is_plain = type(model) is VAE
        with keras.StatelessScope():
            params = model.infer(_first(self.x))
        names = model.conditions
        self.has_conditional_prior = any(model.takes(n, "prior") for n in names)
        self._encodes_masks = _keras.mask_of(params[0]) is not None

    def encode(self, x):
        """See `Subject.encode`."""
        # The mask of features, unlike that of examples, says nothing of the KL.
        return [tf.identity(params) for params in self.model.infer(x)]

    def prior(self, index, x):
        """See `Subject.prior`."""
        variable = self.variables[index]
        _, condition = self.model.split(x)
        params = variable.prior_params(lambda x: self.encode(x)[0], condition)
        return variable.prior.distribution(params, variable.posterior)

    def decode(self, x, latents):
        """See `Subject.decode`."""
        given = self.model.readable(*self.model.split(x))
        params = conditions.call(self.model.decoder, latents[0], given)
        return [_as_float32(params)]

    def mask(self, x, y, params):
        """See `Subject.mask`."""
        encoded = None
        if self._encodes_masks:
            encoded = _keras.mask_of(self.model.infer(x)[0])
        y = observed.marked(y, self.model.missing)
        return observed.mask_of(_keras.mask_of(params), encoded, y)


class LatentSubject(Subject):
    """Any Keras model with `Latent`s: its layers' methods are replaced for a look."""

    may_bypass = True

    def __init__(self, model, data, name):
        self.model = model
        self.x, y = measuring.unpack(data, name)
        self.compiled_target = self.x if y is None else y
        for value in tf.nest.flatten(self.x):
            checks.check_array(value, name)
        self.layers = _keras.sublayers(model, Latent)
        with keras.StatelessScope():
            calls = self._encode(_first(self.x))
        self.variables = [layer for layer, _ in calls]
        self.objectives = [variable.objective for variable in self.variables]
        found = heads.heads_of(model, self.compiled_target)
        self.heads = [head for head in found if head.likelihood is not None]
        self.targets = [checks.check_array(h.target, "y") for h in self.heads]
        self.likelihoods = [head.likelihood for head in self.heads]
        others = [repr(h.name) for h in found if h.likelihood is None and h.loss]
        if not self.heads:
            self.notes = (
                "Without `keras_vae.losses.NegativeLogLikelihood` as its loss the "
                "model has no distortion in nats, so that neither its noise, nor the "
                "rate missing in its error, nor shuffled latents were looked at",
            )
        elif others:
            self.notes = (
                f"The distortion leaves out the output {', '.join(others)}, whose loss "
                "is no `keras_vae.losses.NegativeLogLikelihood`",
            )

    def encode(self, x):
        """See `Subject.encode`."""
        return [params for _, params in self._encode(x)]

    def _encode(self, x):
        """Returns a pair of the layer and its parameters for each call of a layer."""
        calls = []
        with contextlib.ExitStack() as stack:
            for layer in self.layers:
                note = functools.partial(_note_call, calls, layer)
                replace_method(stack, layer, "call", note)
                note = functools.partial(_note_params, calls)
                replace_method(stack, layer, "infer", note)
            self.model(x, training=False)
        pairs = [
            (layer, _keras.with_mask(params, example_mask(mask)))
            for layer, mask, params in calls
        ]
        return sorted(pairs, key=lambda pair: self.layers.index(pair[0]))

    def prior(self, index, x):
        """See `Subject.prior`."""
        variable = self.variables[index]
        params = variable.prior.params(variable.infer)
        return variable.prior.distribution(params, variable.posterior)

    def decode(self, x, latents):
        """See `Subject.decode`."""
        with contextlib.ExitStack() as stack:
            for layer in self.layers:
                drawn = [
                    tf.cast(z, layer.compute_dtype)
                    for variable, z in zip(self.variables, latents, strict=True)
                    if variable is layer
                ]
                take_next = functools.partial(_next, iter(drawn))
                replace_method(stack, layer, "call", take_next)
            outputs = self.model(x, training=False)
        return [_as_float32(head.of(outputs)) for head in self.heads]

    def mask(self, x, y, params):
        """See `Subject.mask`."""
        return _keras.mask_of(params)


def _first(x):
    return measuring.rows_of(x, slice(1))


def _as_float32(params):
    return _keras.with_mask(tf.cast(params, tf.float32), _keras.mask_of(params))


def _note_call(calls, layer, original, *args, **kwargs):
    """Calls a layer and records the call."""
    calls.append((layer, kwargs.get("mask"), None))
    return original(*args, **kwargs)


def _note_params(calls, original, features):
    """Infers the parameters and records the first ones of a call, those of the data."""
    params = original(features)
    if calls and calls[-1][-1] is None:
        layer, mask, _ = calls[-1]
        calls[-1] = layer, mask, params
    return params


def _next(values, *args, **kwargs):
    """Returns the next of some values instead of a call's result."""
    return next(values)


def subject_of(model, data, name="data"):
    """Returns the `Subject` of a model.

    Args:
        model: A `keras_vae.VAE`, or another Keras model with `Latent`s.
        data: Array x (examples, ...) or tuple (x, y), as for `fit`.
        name: Name of `data` in errors.

    Raises:
        ValueError: If there is no latent variable to look at.
    """
    if isinstance(model, VAE):
        if model.beta_range is not None:
            raise ValueError(
                "`model` must be a model of one weight: pass `model.at(beta)`, or "
                "measure all of them by `keras_vae.rate_distortion`. Received: "
                f"{model!r}"
            )
        return VAESubject(model, data, name)
    if not isinstance(model, keras.Model) or not _keras.sublayers(model, Latent):
        raise ValueError(
            "`model` must be a `keras_vae.VAE`, or a Keras model with a "
            "`keras_vae.layers.Latent`. Of others `keras_vae.audit` measures the "
            f"weight of the KL. Received: {model!r}"
        )
    return LatentSubject(model, data, name)

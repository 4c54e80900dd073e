"""Models opened for a look: their codes, and their outputs at other latents."""

import contextlib
import functools

import keras
import numpy as np
import tensorflow as tf

from keras_vae import _keras
from keras_vae import checks
from keras_vae.distributions.likelihoods import Categorical
from keras_vae.layers import Latent
from keras_vae.layers.latent import example_mask
from keras_vae.models import VAE
from keras_vae.models import HierarchicalVAE
from keras_vae.models import SentenceVAE
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
        objectives: List of their objectives, one for each of the variables.
        likelihoods: List of `Likelihood`s, one for each of the targets.
        notes: List of strings: quantities that cannot be measured, and why.
        may_bypass: Boolean, whether the decoder may see the input past z.
        is_plain: Boolean, whether the loss weighs the KL as the objective says.
        compiled_target: What `fit` takes as y, or None.
        has_conditional_prior: Boolean, whether p(z) is another for each example.
        is_hierarchy: Boolean, whether a variable depends on the draws of another.
        reads_classes: Boolean, whether the decoder reads the target, of class ids such
            as those of words, which have no error.
        uses_latent: Boolean, whether the decoder takes z.
        reconstructs_itself: Boolean, whether the only target is the only input.
    """

    notes = ()
    may_bypass = False
    is_plain = False
    compiled_target = None
    has_conditional_prior = False
    is_hierarchy = False
    reads_classes = False
    uses_latent = True

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

    def draw(self, x, keys):
        """Draws each variable once.

        Args:
            x: Batch of inputs.
            keys: List of int64 tensors (2,), one a variable, see `keras_vae.random`.

        Returns:
            A list of pairs: the parameters, as `encode` returns them, and z (batch, 1,
            units).
        """
        triples = zip(self.variables, self.encode(x), keys, strict=True)
        return [(params, v.sample(params, 1, key)) for v, params, key in triples]

    def prior(self, index, x):
        """Returns the `tfd.Distribution` p(z) of a variable.

        Args:
            index: Integer.
            x: Batch of inputs, used if the prior takes conditions; those of the last
                `draw`, if it depends on the draws of another variable.
        """
        raise NotImplementedError

    def is_free(self, index):
        """Whether q(z) of a variable depends on x alone, not on other variables."""
        return True

    def prior_sees_z(self, index):
        """See `LatentEstimate`."""
        return False

    def signal(self, index, mean, prior):
        """Returns what a variable says about each example, a tensor (batch, units).

        A unit is active if this varies.

        Args:
            index: Integer.
            mean: Tensor (batch, units), the means of q(z|x).
            prior: `tfd.Distribution` p(z).
        """
        return mean

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
        self.objectives = [model.objective] * len(self.variables)
        self.likelihoods = [model.likelihood]
        # A subclass may have another loss.
        self.is_plain = type(model) in (VAE, HierarchicalVAE, SentenceVAE)
        of_classes = isinstance(model.likelihood, Categorical)
        self.reads_classes = model.reads_target and of_classes
        self.uses_latent = model.uses_latent
        self.is_hierarchy = len(model.latents) > 1
        with keras.StatelessScope():
            params = model.infer(_first(self.x))
        names = model.conditions
        of_conditions = any(model.takes(n, "prior") for n in names)
        self.has_conditional_prior = self.is_hierarchy or of_conditions
        self._encodes_masks = _keras.mask_of(params[0]) is not None

    def encode(self, x):
        """See `Subject.encode`."""
        # The mask of features, unlike that of examples, says nothing of the KL.
        return [tf.identity(params) for params in self.model.infer(x)]

    def draw(self, x, keys):
        """See `Subject.draw`."""
        if not self.is_hierarchy:
            return super().draw(x, keys)
        given, (x, condition) = x, self.model.split(x)
        outputs = self.model.draw(x, 1, keys[0], condition)
        self._draws = self.model.draws(outputs)
        self._estimates = self.model.latent_estimates(self._draws)
        signals = self.model.signals(self._estimates, given)
        self._signals = tf.split(signals, [v.units for v in self.variables], axis=1)
        return [(_of_one(draw["posterior"]), draw["z"]) for draw in self._draws]

    def prior(self, index, x):
        """See `Subject.prior`."""
        variable = self.variables[index]
        if self.is_hierarchy:
            params = self._draws[index].get("prior")
            params = None if params is None else _of_one(params)
        else:
            _, condition = self.model.split(x)
            params = self.model.prior_params(variable, condition)
        return variable.prior.distribution(params, variable.posterior)

    def is_free(self, index):
        """See `Subject.is_free`."""
        return not self.is_hierarchy or self._draws[index]["posterior"].shape.rank == 2

    def prior_sees_z(self, index):
        """See `Subject.prior_sees_z`."""
        return self.is_hierarchy and self._estimates[index].prior_sees_z

    def signal(self, index, mean, prior):
        """See `Subject.signal`."""
        return self._signals[index] if self.is_hierarchy else mean

    def decode(self, x, latents):
        """See `Subject.decode`."""
        given = self.model.readable(*self.model.split(x))
        return [self.model.decode_params(latents, given)]

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
        self.variables = [layer for layer, *_ in calls]
        self.is_hierarchy = any(v.prior.head is not None for v in self.variables)
        self.has_conditional_prior = self.is_hierarchy
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
        return [params for _, params, _ in self._encode(x)]

    def draw(self, x, keys):
        """See `Subject.draw`; in a hierarchy the draws are the layers' own."""
        if not self.is_hierarchy:
            return super().draw(x, keys)
        self._calls = self._encode(x)
        return [(params, z) for _, params, (_, z) in self._calls]

    def signal(self, index, mean, prior):
        """See `Subject.signal`."""
        if self.variables[index].prior.head is None:
            return mean
        return (mean - prior.mean()) / prior.stddev()

    def is_free(self, index):
        """See `Subject.is_free`."""
        return self.variables[index].prior.head is None

    def _encode(self, x):
        """Returns layer, parameters, and (prior, z), for each call of a layer."""
        calls = []
        with contextlib.ExitStack() as stack:
            for layer in self.layers:
                note = functools.partial(_note_call, calls, layer)
                replace_method(stack, layer, "call", note)
                note = functools.partial(_note_estimate, calls)
                replace_method(stack, layer, "estimate", note)
            self.model(x, training=False)
        triples = [
            (layer, _keras.with_mask(params, example_mask(mask)), rest)
            for layer, mask, (params, *rest) in calls
        ]
        return sorted(triples, key=lambda triple: self.layers.index(triple[0]))

    def prior(self, index, x):
        """See `Subject.prior`."""
        variable = self.variables[index]
        if self.is_hierarchy:
            _, _, (params, _) = self._calls[index]
        else:
            params = variable.prior.params(variable.infer)
        return variable.prior.distribution(params, variable.posterior)

    def decode(self, x, latents):
        """See `Subject.decode`."""
        with contextlib.ExitStack() as stack:
            for layer in self.layers:
                drawn = [
                    tf.cast(_of_shape(layer, z), layer.compute_dtype)
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


def _of_one(params):
    """Returns the parameters of a single draw, (batch, 1, n) or (batch, n), flat."""
    return tf.reshape(params, [-1, params.shape[-1]])


def _first(x):
    return measuring.rows_of(x, slice(1))


def _as_float32(params):
    return _keras.with_mask(tf.cast(params, tf.float32), _keras.mask_of(params))


def _note_call(calls, layer, original, *args, **kwargs):
    """Calls a layer and records the call."""
    calls.append((layer, kwargs.get("mask"), None))
    return original(*args, **kwargs)


def _note_estimate(calls, original, params, prior_params, z, **kwargs):
    """Records posterior, prior and draw of a call."""
    layer, mask, _ = calls[-1]
    calls[-1] = layer, mask, (params, prior_params, z)
    return original(params, prior_params, z, **kwargs)


def _of_shape(layer, z):
    """Returns z as the layer puts it out."""
    return z if len(layer.shape) == 1 else layer.shaped(z)


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

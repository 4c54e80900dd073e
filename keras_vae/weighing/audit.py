"""Measures the coefficients which the optimiser really sees, on any Keras model."""

import contextlib
import dataclasses
import functools
import math

import keras
import numpy as np
import tensorflow as tf

from keras_vae import _keras
from keras_vae.distributions import likelihoods
from keras_vae.layers.latent_variable import LatentVariable
from keras_vae.losses import NegativeLogLikelihood
from keras_vae.models.vae import VAE
from keras_vae.objectives import ELBO
from keras_vae.objectives import BatchMean
from keras_vae.objectives import Estimate
from keras_vae.weighing.units import Weight

BATCH_SIZES = (7, 13)
# Relative distance within which a gradient is that of a known term. Half precision
# rounds each gradient by some 1e-3.
TOLERANCE = {"float16": 3e-2, "bfloat16": 1e-1}
FLOAT32_TOLERANCE = 2e-3


@dataclasses.dataclass(frozen=True)
class Finding:
    """One thing that is wrong with a loss.

    Args:
        name: String that names the kind of fault.
        message: What was measured, in words.
        fix: What to write instead.
        evidence: Dict, names to the measured numbers.
    """

    name: str
    message: str
    fix: str
    evidence: dict

    def __str__(self):
        """Message and fix."""
        return f"{self.name}: {self.message}\n    Fix: {self.fix}"


@dataclasses.dataclass(frozen=True)
class KL:
    """The KL of one latent variable as it reaches the gradient.

    Args:
        source: Names of the layers that put out the posterior.
        form: How the scale is written, for example "log_var"; "layer" for one of this
            library, "objective" where its objective sets the coefficient by itself,
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
        notes: Tuple of strings: what is no fault, and what could not be measured.
        batch_sizes: The batch sizes of the two measurements.
        reconstruction: `Reconstruction`, or None where it was not recognised.
        kl: Tuple of `KL`s, one a latent variable.
        weight: `Weight` of the KL against the reconstruction, or None.
    """

    findings: tuple
    notes: tuple
    batch_sizes: tuple
    reconstruction: Reconstruction | None
    kl: tuple
    weight: Weight | None

    @property
    def sound(self):
        """Whether nothing was found wrong in what could be measured."""
        return not self.findings

    def __str__(self):
        """The report in words."""
        sizes = " and ".join(map(str, self.batch_sizes))
        lines = [f"Coefficients in the gradient at batch sizes {sizes}"]
        if self.reconstruction is not None:
            lines.append(
                f"  reconstruction, {self.reconstruction.form} summed over "
                f"{_shape_words(self.reconstruction.event_shape)}: "
                f"{_numbers(self.reconstruction.coefficients)}"
            )
        for kl in self.kl:
            asked = "" if kl.asked is None else f" (asked: {kl.asked:.4g})"
            lines.append(
                f"  KL of {kl.source}, summed over {kl.latent_dim} latents: "
                f"{_numbers(kl.coefficients)}{asked}"
            )
        if self.weight is not None:
            lines.append("  " + str(self.weight).splitlines()[0])
        lines += [f"  note: {note}" for note in self.notes]
        lines.append(
            "Sound: nothing found in what could be measured."
            if self.sound
            else f"{len(self.findings)} finding(s):"
        )
        lines += [f"{i}. {finding}" for i, finding in enumerate(self.findings, 1)]
        return "\n".join(lines)


def audit(model, x, y=None, kl_weight=None, posterior=None, kl=None):
    """Measures with which coefficient KL and reconstruction reach the gradient.

    The model's own `train_step` runs on two batch sizes, without the optimiser; the
    loss which it differentiates is taken and differentiated by the outputs of the
    layers. With R the reconstruction summed over the event, KL summed over the latents,
    both averaged over the batch, and p the decoder's output

        dL/dp = a dR/dp,        dL/d(mean, scale) at fixed p = b dKL/d(mean, scale)

    are solved for a and b. That needs no knowledge of how the loss is written, and no
    agreement of noise. The layers that put out mean and scale are found by the second
    equation, for a standard normal prior. Weights, metrics and optimiser are restored.

    A weight is no fault in itself: `audit` finds what depends on the batch size or on
    the number of pixels or latents, what counts twice, what is lost and what has the
    wrong sign. Say with `kl_weight` which weight you meant, and another is found too.

    Args:
        model: Compiled Keras model: functional, subclassed or with a `train_step` of
            its own. Models of `tf_keras`, which TFP's layers need, work as well.
        x: Array or structure of arrays (examples, ...), as for `fit`. Some 13 differing
            examples are enough.
        y: Target, as for `fit`.
        kl_weight: Float, the beta that was meant, relative to the summed
            reconstruction in nats (half the squared error, or the cross-entropy), or
            None.
        posterior: Names of the layers that put out mean and scale of q(z|x), for
            example `("z_mean", "z_log_var")`, or of the one that puts out both; None
            to find them.
        kl: Callable, x -> KL(q(z|x) || p(z)), a tensor (batch,) in nats, without noise,
            for posteriors and priors that cannot be found. It is compared on the
            trainable weights.

    Returns:
        An `AuditReport`.

    Raises:
        ValueError: If the model is not compiled or arguments do not fit.
        RuntimeError: If the training step takes no gradient with `tf.GradientTape`.

    Example:
    >>> inputs = keras.Input((64,))
    >>> z = kv.layers.Latent(8, seed=0)(inputs)
    >>> model = keras.Model(inputs, keras.layers.Dense(64)(z))
    >>> model.compile("adam", loss="mse")
    >>> x = np.random.default_rng(0).uniform(size=(13, 64)).astype("float32")
    >>> report = kv.weighing.audit(model, x, x)
    >>> report.findings[0].name
    'reconstruction_averaged_over_event'
    >>> round(report.weight.to("normal").beta, 3)
    32.0
    """
    _check_arguments(model, x, y, kl_weight, posterior, kl)
    if not model.built:
        # In inference no statistics move. A model without `call` has parts that are.
        with contextlib.suppress(NotImplementedError):
            model(_batch(x, y, 1).x)
    with _Restored(model):
        probe = _Probe(model, posterior, kl)
        small, large = [_batch(x, y, size) for size in BATCH_SIZES]
        measured = _Measurement(probe, small, large)
    return _judge(model, measured, kl_weight)


# === Running the training step ===


class _Restored:
    """Context in which a model may train, after which all is as it was."""

    def __init__(self, model):
        self._model = model

    def __enter__(self):
        self._values = [(v, v.numpy()) for v in self._variables()]
        self._known = {id(v) for v, _ in self._values}

    def __exit__(self, *_):
        for variable, value in self._values:
            variable.assign(value)
        for metric in self._model.metrics:
            # Made by the probe's first step: their state before is that of a reset.
            if any(id(v) not in self._known for v in metric.variables):
                metric.reset_state()

    def _variables(self):
        variables = list(self._model.variables)
        for metric in self._model.metrics:
            variables += metric.variables
        optimizer_variables = self._model.optimizer.variables
        if callable(optimizer_variables):
            optimizer_variables = optimizer_variables()
        variables += optimizer_variables
        return list({id(v): v for v in variables}.values())


@dataclasses.dataclass
class _Seen:
    """A tensor that went into or out of a layer."""

    layer: object
    tensor: object
    is_output: bool
    call: int
    index: int
    # Keras gives its cross-entropy what went into a sigmoid, past what came out.
    is_logits: bool = False


@dataclasses.dataclass
class _Added:
    """A loss given to `add_loss`."""

    layer: object
    tensor: object
    by_regularizer: bool


class _Trace:
    """What happened in one training step."""

    def __init__(self):
        self.seen = []
        self.added = []
        self.results = {}
        self.targets = []
        self.computed = []
        self.calls = {}


class _Probe:
    """Runs a model's training step and notes what passes through.

    Args:
        model: The compiled model.
        posterior: See `audit`.
        kl: See `audit`.
    """

    def __init__(self, model, posterior=None, kl=None):
        self.model = model
        self.posterior = (posterior,) if isinstance(posterior, str) else posterior
        self.kl = kl

    def run(self, data, detach=None):
        """Runs one step.

        Args:
            data: What `train_step` takes.
            detach: Triple (layer, number of its call, index of its output) of the
                tensor through which no gradient shall flow, or None.

        Returns:
            A `_Trace`.
        """
        trace = _Trace()
        with contextlib.ExitStack() as stack:
            for layer in _layers(self.model):
                self._watch(stack, layer, trace, detach)
            _replace(stack, self.model, "compute_loss", _noting(trace.computed))
            optimizer = self.model.optimizer
            for name in ("apply", "apply_gradients"):
                if hasattr(optimizer, name):
                    _replace(stack, optimizer, name, lambda _: lambda *a, **k: None)
            for name in ("scale_loss", "get_scaled_loss"):
                if hasattr(optimizer, name):
                    _replace(stack, optimizer, name, lambda _: lambda loss: loss)
            _note_targets(stack, trace.targets)
            self.model.train_step(data)
        if not trace.targets:
            raise RuntimeError(
                "`model.train_step` must take its gradient with `tf.GradientTape`, "
                "because the audit measures the loss that it differentiates."
            )
        return trace

    def _watch(self, stack, layer, trace, detach):
        active = []

        def around_call(original):
            @functools.wraps(original)
            def call(*args, **kwargs):
                number = trace.calls.get(id(layer), 0)
                trace.calls[id(layer)] = number + 1
                for index, tensor in enumerate(tf.nest.flatten((args, kwargs))):
                    if _is_tensor(tensor):
                        trace.seen.append(_Seen(layer, tensor, False, number, index))
                active.append(True)
                outputs = original(*args, **kwargs)
                active.pop()
                if detach is not None and detach[:2] == (layer, number):
                    flat = tf.nest.flatten(outputs)
                    flat[detach[2]] = tf.stop_gradient(flat[detach[2]])
                    outputs = tf.nest.pack_sequence_as(outputs, flat)
                if isinstance(outputs, dict):
                    trace.results[id(layer), number] = outputs
                for index, tensor in enumerate(tf.nest.flatten(outputs)):
                    logits = getattr(tensor, "_keras_logits", None)
                    if _is_tensor(logits):
                        trace.seen.append(
                            _Seen(layer, logits, True, number, index, is_logits=True)
                        )
                    if _is_tensor(tensor):
                        trace.seen.append(_Seen(layer, tensor, True, number, index))
                return outputs

            return call

        def around_add_loss(original):
            @functools.wraps(original)
            def add_loss(losses, *args, **kwargs):
                for loss in tf.nest.flatten(losses):
                    if _is_tensor(loss):
                        regularizer = getattr(layer, "activity_regularizer", None)
                        outside = regularizer is not None and not active
                        trace.added.append(_Added(layer, loss, outside))
                return original(losses, *args, **kwargs)

            return add_loss

        _replace(stack, layer, "call", around_call)
        _replace(stack, layer, "add_loss", around_add_loss)


def _likelihood(model):
    """The likelihood of this library that a model is trained with, or None."""
    loss = getattr(model, "loss", None)
    if isinstance(loss, NegativeLogLikelihood):
        return loss.likelihood
    return model.likelihood if isinstance(model, VAE) else None


def _trainable(model):
    """The TensorFlow variables that the optimiser moves."""
    variables = model.trainable_variables
    return [v.value if isinstance(v, keras.Variable) else v for v in variables]


def _layers(model):
    return _keras.sublayers(model, object)


def _is_tensor(value):
    return isinstance(value, tf.Tensor) and value.dtype.is_floating


def _replace(stack, item, name, around):
    """Replaces a method of one object until the stack unwinds."""
    # Past `__setattr__`, which tracks state and refuses much.
    original = getattr(item, name)
    previous = item.__dict__.get(name)
    item.__dict__[name] = around(original)

    def restore():
        if previous is None:
            item.__dict__.pop(name)
        else:
            item.__dict__[name] = previous

    stack.callback(restore)


def _noting(results):
    def around(original):
        @functools.wraps(original)
        def compute(*args, **kwargs):
            result = original(*args, **kwargs)
            results.append(result)
            return result

        return compute

    return around


def _note_targets(stack, targets):
    """Notes what is differentiated; gradients that do not exist become zeros."""
    original = tf.GradientTape.gradient

    def gradient(tape, target, sources, *args, **kwargs):
        targets.append(target)
        gradients = original(tape, target, sources, *args, **kwargs)
        return tf.nest.map_structure(
            lambda source, value: tf.zeros_like(source) if value is None else value,
            sources,
            gradients,
        )

    tf.GradientTape.gradient = gradient
    stack.callback(setattr, tf.GradientTape, "gradient", original)


def _gradient(tape, target, sources):
    zeros = tf.UnconnectedGradients.ZERO
    return tape.gradient(target, sources, unconnected_gradients=zeros)


def _batch(x, y, size):
    """Takes the first examples, from the start again where there are too few."""

    def take(values):
        values = np.asarray(values)
        rows = values[np.arange(size) % len(values)]
        return tf.convert_to_tensor(
            rows.astype("float32") if rows.dtype == np.float64 else rows
        )

    x = tf.nest.map_structure(take, x)
    y = None if y is None else tf.nest.map_structure(take, y)
    targets = [t for t in tf.nest.flatten(x if y is None else y)]
    return _Batch(keras.utils.pack_x_y_sample_weight(x, y), x, targets, size)


@dataclasses.dataclass
class _Batch:
    data: object
    x: object
    targets: list
    size: int


# === Solving for the coefficients ===


def _project(gradient, reference):
    """Returns c and the relative residual of gradient = c reference."""
    gradient = np.ravel(gradient).astype("float64")
    reference = np.ravel(reference).astype("float64")
    square = reference @ reference
    norm = np.linalg.norm(gradient)
    if not (np.isfinite(square) and np.isfinite(norm)) or square == 0:
        return 0.0, np.inf
    c = gradient @ reference / square
    residual = np.linalg.norm(gradient - c * reference)
    return c, residual / norm if norm > 0 else 0.0


def _tolerance(tensor):
    return TOLERANCE.get(tensor.dtype.name, FLOAT32_TOLERANCE)


def _reconstruction_forms(p, target):
    """Gradients by p of what is summed over the event and averaged over the batch."""
    batch = len(target)
    p, target = p.astype("float64"), target.reshape(p.shape).astype("float64")
    error = (p - target) / batch
    forms = {
        "squared_error": 2 * error,
        "bernoulli_logits": (1 / (1 + np.exp(-p)) - target) / batch,
        "absolute_error": np.sign(p - target) / batch,
    }
    inside = (p > 0) & (p < 1)
    if inside.all():
        forms["bernoulli"] = error / (p * (1 - p))
    return forms


# Scales: sigma of the raw number, and its derivative.
_SCALES = {
    "log_var": lambda s: (np.exp(s / 2), np.exp(s / 2) / 2),
    "log_std": lambda s: (np.exp(s), np.exp(s)),
    "std": lambda s: (s, np.ones_like(s)),
    "var": lambda s: (np.sqrt(s), 0.5 / np.sqrt(s)),
    "softplus": lambda s: (np.logaddexp(0, s), 1 / (1 + np.exp(-s))),
}
_POSITIVE = ("std", "var")


def _halves(tensor):
    """The tensor as a whole, and as mean beside scale."""
    yield "", slice(None)
    if tensor.shape[-1] % 2 == 0:
        half = tensor.shape[-1] // 2
        yield "[first half]", slice(None, half)
        yield "[second half]", slice(half, None)


@dataclasses.dataclass
class _Part:
    """A tensor, or half of one, that may be a mean or a scale."""

    seen: _Seen
    half: str
    where: slice
    value: np.ndarray
    gradient: np.ndarray
    tolerance: float

    @property
    def name(self):
        return self.seen.layer.name + self.half


@dataclasses.dataclass
class _Posterior:
    """Mean and scale of q(z|x), as two parts, and the coefficient of the KL."""

    mean: _Part
    scale: _Part
    form: str
    coefficient: float
    references: tuple
    terms: tuple = ()

    @property
    def key(self):
        """What identifies it in another step."""
        return tuple(
            (part.seen.layer.name, part.seen.call, part.half)
            for part in (self.mean, self.scale)
        )

    def repeats(self, other):
        """Whether it is the other one, cast or passed on by another layer."""
        return self.source != other.source and _equal(self.mean.value, other.mean.value)

    @property
    def source(self):
        """Names of the layers."""
        names = dict.fromkeys((self.mean.seen.layer.name, self.scale.seen.layer.name))
        return ", ".join(names)


def _find_posteriors(parts, z_values, size):
    """Finds the pairs of parts whose gradients are those of a KL, with one c.

    Args:
        parts: List of `_Part`s, gradients at fixed decoder output.
        z_values: List of arrays that may be the sample z.
        size: Batch size.

    Returns:
        List of `_Posterior`s.
    """
    means = []
    for part in parts:
        # The closed form; else log q(z|x) - log p(z), whose gradient by the mean is z.
        for z in [None, *z_values]:
            reference = part.value if z is None else z
            if reference.shape != part.value.shape:
                continue
            few = slice(0, 512)
            _, residual = _project(part.gradient.flat[few], reference.flat[few])
            if residual > 0.1:
                continue
            c, residual = _project(part.gradient, reference / size)
            if residual < part.tolerance and c != 0:
                means.append((part, z, c, reference / size))
                break
    found = {}
    for mean, z, c_mean, mean_reference in means:
        best = None
        for scale in parts:
            if scale.value.shape != mean.value.shape or scale is mean:
                continue
            # Halves belong together; those of two tensors are no pair of their own.
            if bool(mean.half) != (scale.seen.tensor is mean.seen.tensor):
                continue
            for form, transform in _SCALES.items():
                if form in _POSITIVE and not (scale.value > 0).all():
                    continue
                with np.errstate(over="ignore"):
                    sigma, slope = transform(scale.value)
                    outer = sigma if z is None else z * (z - mean.value) / sigma
                    reference = (outer - 1 / sigma) * slope / size
                c, residual = _project(scale.gradient, reference)
                score = residual + abs(c - c_mean) / abs(c_mean)
                if score < 5 * scale.tolerance and (best is None or score < best[0]):
                    best = score, scale, form, reference
        if best is None:
            continue
        _, scale, form, reference = best
        references = mean_reference, reference
        posterior = _Posterior(mean, scale, form, float(c_mean), references)
        if not any(posterior.repeats(other) for other in found.values()):
            found.setdefault(posterior.key, posterior)
    return list(found.values())


def _equal(a, b):
    return a.shape == b.shape and np.allclose(a, b, rtol=1e-2, atol=1e-4)


class _Measurement:
    """The coefficients of one model at two batch sizes.

    Args:
        probe: `_Probe`.
        small: `_Batch`.
        large: `_Batch` of another size.
    """

    def __init__(self, probe, small, large):
        self.probe = probe
        self.model = probe.model
        self.sizes = small.size, large.size
        self.notes = []
        self.loss_index = 0
        # Builds what is not built, outside of all tapes.
        probe.run(small.data)
        first, self.place = self._reconstruction(small, None)
        second = first and self._reconstruction(large, self.place)[0]
        self.reconstruction = first and (first, second)
        detach = self.place and self.place[:3]
        self.small = self._rate(small, detach)
        self.large = self._rate(large, detach)
        self.mean_axes = self._means(small, detach)

    # === Reconstruction ===

    def _reconstruction(self, batch, place):
        with tf.GradientTape(persistent=True) as tape:
            trace = self.probe.run(batch.data)
        outputs = [seen for seen in trace.seen if seen.is_output]
        if place is not None:
            outputs = [s for s in outputs if (s.layer, s.call, s.index) == place[:3]]
        if place is None:
            self.added = self._weigh_added(tape, trace)
        best = None, None
        # The last that fits is the nearest to the loss.
        for seen in reversed(outputs):
            result = self._fit(tape, trace, seen, batch, place and place[3])
            if result is not None:
                best = result, (seen.layer, seen.call, seen.index, result[0])
                break
        if best[0] is None and place is None:
            # Past an unknown reconstruction the rate can be measured all the same.
            best = None, self._last_output(tape, trace, outputs, batch)
        return best

    def _last_output(self, tape, trace, outputs, batch):
        """The place of the last output as large as a target that reaches the loss."""
        sizes = {math.prod(target.shape) for target in batch.targets}
        for seen in reversed(outputs):
            if math.prod(seen.tensor.shape) in sizes or (
                isinstance(self.model, VAE) and seen.layer is self.model.decoder
            ):
                for loss in trace.targets:
                    if np.any(_gradient(tape, loss, seen.tensor).numpy()):
                        return seen.layer, seen.call, seen.index, None
        return None

    def _weigh_added(self, tape, trace):
        """With which weight each added loss reaches the loss and `compute_loss`.

        Returns:
            List of (`_Added`, weight, weight or None).
        """
        weights = _trainable(self.model)
        added = []
        for item in trace.added:
            gradients = tape.gradient(item.tensor, weights)
            if all(gradient is None for gradient in gradients):
                # A constant, which needs no gradient.
                continue

            def weigh(loss, tensor=item.tensor):
                return float(np.mean(_gradient(tape, loss, tensor).numpy()))

            # Of several losses, as an adversary has, the one that it reaches most.
            reached = max(map(weigh, trace.targets), key=abs)
            computed = [weigh(c) for c in trace.computed if _is_tensor(c)]
            added.append((item, reached, max(computed, default=None)))
        return added

    def _fit(self, tape, trace, seen, batch, form):
        if isinstance(self.model, VAE) and seen.layer is not self.model.decoder:
            return None
        references = {}
        p = seen.tensor
        for target in batch.targets:
            size = math.prod(target.shape)
            if math.prod(p.shape) == size and p.shape[0] == target.shape[0]:
                references.update(_reconstruction_forms(p.numpy(), target.numpy()))
        references.update(self._likelihood_forms(seen, batch))
        for loss in trace.targets if references else ():
            gradient = _gradient(tape, loss, p).numpy()
            if not gradient.any():
                continue
            fits = []
            for name, reference in references.items():
                c, residual = _project(gradient, reference)
                if residual < _tolerance(p) and name in (form or name,):
                    fits.append((residual, name, c))
            if fits:
                self.loss_index = _index(loss, trace.targets)
                # A likelihood of this library knows more than the shape of a gradient.
                known = [fit for fit in fits if fit[1] == "likelihood"]
                _, name, c = (known or sorted(fits))[0]
                shape = tuple(p.shape[1:])
                if name == "likelihood":
                    shape = tuple(_likelihood(self.model).event_shape(shape))
                return name, float(c), shape, seen
        return None

    def _likelihood_forms(self, seen, batch):
        """The gradient of -log p(x|z) of a likelihood of this library."""
        likelihood = _likelihood(self.model)
        if likelihood is None:
            return {}
        target = batch.targets[0]
        try:
            shape = tuple(likelihood.event_shape(tuple(seen.tensor.shape[1:])))
        except ValueError:
            return {}
        if shape != tuple(target.shape[1:]):
            return {}
        p = tf.cast(seen.tensor, tf.float32)
        with tf.GradientTape() as tape:
            tape.watch(p)
            params = tf.reshape(p, [batch.size, -1, *p.shape[1:]])
            mean = BatchMean(batch.size)
            value = mean(-likelihood.log_prob(params, target, mean=mean, training=True))
            value = tf.reduce_mean(value)
        return {"likelihood": tape.gradient(value, p).numpy()}

    # === Rate ===

    def _rate(self, batch, detach):
        """Measures all that reaches the loss past the decoder's output."""
        trace_of = functools.partial(self.probe.run, batch.data, detach=detach)
        with tf.GradientTape(persistent=True) as tape:
            trace = trace_of()
            references = self._known_rates(trace, batch)
        loss = trace.targets[min(self.loss_index, len(trace.targets) - 1)]
        rate = _Rate()
        rate.vector = tuple(loss.shape) if isinstance(loss, tf.Tensor) else ()
        if references:
            self._solve_known(tape, trace, loss, references, rate)
            return rate
        if self.probe.kl is not None:
            self._compare_callable(tape, trace, loss, batch, rate)
            return rate
        rate.parts, samples = self._parts(tape, trace, loss, batch.size)
        found = _find_posteriors(rate.parts, samples, batch.size)
        keys = [posterior.key for posterior in found]
        alone = self._find_in_added(tape, trace, loss, batch.size)
        rate.posteriors = found + [p for p in alone if p.key not in keys]
        for posterior in rate.posteriors:
            sides = zip(
                (posterior.mean, posterior.scale), posterior.references, strict=True
            )
            posterior.terms = self._terms(
                tape, trace, [(p.seen.tensor, r, p.where) for p, r in sides]
            )
        return rate

    def _find_in_added(self, tape, trace, loss, size):
        """Finds KLs in the added losses by themselves, where other terms disturb."""
        found = {}
        for added in trace.added:
            weight = float(np.mean(_gradient(tape, loss, added.tensor).numpy()))
            parts, samples = self._parts(tape, trace, added.tensor, size)
            for posterior in _find_posteriors(parts, samples, size):
                first = found.setdefault(posterior.key, posterior)
                previous = 0.0 if first is posterior else first.coefficient
                first.coefficient = previous + weight * posterior.coefficient
        return list(found.values())

    def _known_rates(self, trace, batch):
        """The rates of this library's layers: (layer, params, KL, weight or None)."""
        rates = []
        for latent in _keras.sublayers(self.model, LatentVariable):
            heads = [
                seen.tensor
                for seen in trace.seen
                if seen.layer is latent.head
                and seen.is_output
                and seen.tensor.shape[0] == batch.size
            ]
            if isinstance(self.model, VAE) and latent is self.model.latent:
                outputs = trace.results[id(self.model), 0]
                params, z = outputs["posterior"], outputs["z"]
                groups = [(params, z, outputs.get("prior"), self.model.objective)]
            else:
                zs = [
                    seen.tensor
                    for seen in trace.seen
                    if seen.layer is latent and seen.is_output
                ]
                groups = [
                    (params, z[:, None], latent.prior.params(latent.infer), None)
                    for params, z in zip(heads, zs, strict=False)
                ]
            for params, z, prior, objective in groups:
                objective = objective or latent.objective
                estimate = Estimate(
                    latent.posterior.distribution(params),
                    latent.prior.distribution(prior, latent.posterior),
                    z,
                )
                mean = BatchMean(batch.size)
                value = mean(objective.rate(estimate))
                plain = type(objective) is ELBO
                # After the step, which moves a scheduled weight before it applies it.
                asked = float(objective.kl_weight.value) if plain else None
                rates.append((latent, params, value, asked))
        return rates

    def _solve_known(self, tape, trace, loss, references, rate):
        """Solves for the coefficients of all rates at once.

        In a hierarchy the rate of one latent depends on the parameters of another.
        """
        params = [item[1] for item in references]

        def flat(target):
            gradients = _gradient(tape, target, params)
            return np.concatenate([np.ravel(g).astype("float64") for g in gradients])

        matrix = np.stack([flat(item[2]) for item in references], axis=1)
        gradient = flat(loss)
        coefficients = np.linalg.lstsq(matrix, gradient, rcond=None)[0]
        norm = np.linalg.norm(gradient)
        rest = np.linalg.norm(gradient - matrix @ coefficients)
        residual = rest / norm if norm > 0 else 0.0
        for (latent, tensor, value, asked), c in zip(
            references, coefficients, strict=True
        ):
            reference = _gradient(tape, value, tensor).numpy()
            terms = self._terms(tape, trace, [(tensor, reference, slice(None))])
            rate.known.append((latent, float(c), residual, terms, asked))

    def _terms(self, tape, trace, sides):
        """Coefficients of a KL in each added loss, those without it left out."""
        terms = []
        for added in trace.added:
            gradients = [
                _gradient(tape, added.tensor, tensor).numpy()[..., where]
                for tensor, _, where in sides
            ]
            c, residual = _project(
                np.concatenate([g.ravel() for g in gradients]),
                np.concatenate([r.ravel() for _, r, _ in sides]),
            )
            if c and residual < 5 * FLOAT32_TOLERANCE:
                terms.append((added, float(c)))
        return terms

    def _parts(self, tape, trace, loss, size):
        chosen = {}
        for seen in trace.seen:
            shape = seen.tensor.shape
            if len(shape) > 1 and shape[0] == size and self._allowed(seen):
                chosen.setdefault(id(seen.tensor), seen)
        chosen = list(chosen.values())
        gradients = _gradient(tape, loss, [seen.tensor for seen in chosen])
        parts, samples = [], []
        for seen, gradient in zip(chosen, gradients, strict=True):
            gradient = gradient.numpy().astype("float64")
            value = seen.tensor.numpy().astype("float64")
            samples.append(value)
            if not gradient.any():
                continue
            for half, where in _halves(value):
                parts.append(
                    _Part(
                        seen,
                        half,
                        where,
                        value[..., where],
                        gradient[..., where],
                        _tolerance(seen.tensor),
                    )
                )
        shapes = {part.value.shape for part in parts}
        return parts, [value for value in samples if value.shape in shapes]

    def _allowed(self, seen):
        names = self.probe.posterior
        return names is None or (seen.is_output and seen.layer.name in names)

    def _compare_callable(self, tape, trace, loss, batch, rate):
        weights = _trainable(self.model)
        with tf.GradientTape() as kl_tape:
            values = self.probe.kl(batch.x)
            if tuple(values.shape) != (batch.size,):
                raise ValueError(
                    "`kl` must return one number per example, shape (batch,). "
                    f"Received: shape={tuple(values.shape)}"
                )
            value = tf.reduce_mean(values)
        references = _gradient(kl_tape, value, weights)
        gradients = _gradient(tape, loss, weights)
        # Where the KL has no say, other terms may.
        pairs = [
            (np.ravel(g), np.ravel(r))
            for g, r in zip(gradients, references, strict=True)
            if np.any(r)
        ]
        if not pairs:
            raise ValueError("`kl` must depend on the trainable weights of `model`.")
        gradient, reference = (
            np.concatenate(side) for side in zip(*pairs, strict=True)
        )
        c, residual = _project(gradient, reference)
        rate.known.append((None, float(c), residual, [], None))

    # === How the loss is written ===

    def _means(self, batch, detach):
        """Sizes of the axes, batch apart, over which the KL is averaged in the graph.

        Returns:
            List of (sizes, whether a product with such a size undoes it).
        """
        found = []
        if not self.small.posteriors:
            return found
        places = [
            (part.seen.layer, part.seen.call, part.seen.index, part.seen.is_output)
            for posterior in self.small.posteriors
            for part in (posterior.mean, posterior.scale)
        ]

        def step():
            trace = self.probe.run(batch.data, detach=detach)
            loss = trace.targets[self.loss_index]
            starts = [
                seen.tensor
                for seen in trace.seen
                if (seen.layer, seen.call, seen.index, seen.is_output) in places
            ]
            found.extend(_mean_axes(loss, starts, batch.size))
            return tf.zeros(())

        try:
            tf.function(step, autograph=False).get_concrete_function()
        except Exception as error:
            self.notes.append(
                "the training step could not be traced, so that a mean over latents "
                f"would look like a weight: {type(error).__name__}: {error}"
            )
        return found


class _Rate:
    """The rate's side of one step."""

    def __init__(self):
        self.known = []
        self.posteriors = []
        self.parts = []
        self.vector = ()


def _index(item, items):
    return next(i for i, other in enumerate(items) if other is item)


def _mean_axes(loss, starts, batch_size):
    """Axes that are averaged between tensors of a graph and its loss."""
    ancestors, stack = {}, [loss.op]
    while stack:
        op = stack.pop()
        if op.name in ancestors:
            continue
        ancestors[op.name] = op
        if op.type != "StopGradient":
            stack.extend(tensor.op for tensor in op.inputs)
    reached, stack = set(), [op for start in starts for op in start.consumers()]
    while stack:
        op = stack.pop()
        if op.name in reached or op.name not in ancestors:
            continue
        reached.add(op.name)
        if op.type != "StopGradient":
            stack.extend(o for tensor in op.outputs for o in tensor.consumers())
    sizes, factors = [], []
    for name in reached:
        op = ancestors[name]
        if op.type == "Mean":
            shape = op.inputs[0].shape
            axes = np.ravel(tf.get_static_value(op.inputs[1])) % max(len(shape), 1)
            reduced = [shape[int(axis)] for axis in axes]
            if axes.size and 0 in axes and shape[0] == batch_size:
                reduced.remove(batch_size)
            sizes.append(math.prod(n for n in reduced if n))
        if op.type == "Mul":
            values = [tf.get_static_value(tensor) for tensor in op.inputs]
            factors += [float(v) for v in values if v is not None and np.size(v) == 1]
    return [(size, size in factors) for size in sizes]


# === Judging ===


def _judge(model, measured, kl_weight):
    judge = _Judge(model, measured, kl_weight)
    return judge.report()


def _exponent(values, sizes):
    """Power of the batch size to which a coefficient grows, None for no clear one."""
    small, large = values
    if small == 0 or large == 0 or small * large < 0:
        return 0 if small == large else None
    power = math.log(large / small) / math.log(sizes[1] / sizes[0])
    return round(power) if abs(power - round(power)) < 0.02 else None


def _close(a, b, tolerance=3e-3):
    return abs(a - b) <= tolerance * abs(b)


class _Judge:
    """Turns a measurement into findings."""

    def __init__(self, model, measured, kl_weight):
        self.model = model
        self.measured = measured
        self.kl_weight = kl_weight
        self.sizes = measured.sizes
        self.findings = []
        self.notes = list(measured.notes)
        self.weight = None
        self.reconstruction = self._reconstruction()
        self.kls = self._kls()

    def report(self):
        """Runs all rules, gravest first."""
        self._ignored()
        self._vectors()
        self._doubled()
        self._signs()
        self._batches()
        self._double_sigmoid()
        self._event_means()
        self._latent_means()
        self._weights()
        self._absent()
        self._regularizers()
        return AuditReport(
            tuple(self.findings),
            tuple(self.notes),
            self.sizes,
            self.reconstruction,
            tuple(kl for kl, _ in self.kls),
            self.weight,
        )

    def _add(self, name, message, fix, **evidence):
        self.findings.append(Finding(name, message, fix, evidence))

    def _named(self, *names):
        return any(finding.name in names for finding in self.findings)

    # === What was measured ===

    def _reconstruction(self):
        pair = self.measured.reconstruction
        if pair is None or pair[1] is None:
            self.notes.append(
                "the reconstruction was not recognised as squared error, absolute "
                "error or cross-entropy of a layer's output and the target"
            )
            return None
        (form, first, shape, seen), (_, second, _, _) = pair
        self._fitted = seen
        return Reconstruction(seen.layer.name, form, shape, (first, second))

    def _kls(self):
        small, large = self.measured.small, self.measured.large
        kls = []
        for one, two in zip(small.known, large.known, strict=False):
            latent, c, residual, terms, asked = one
            if latent is None:
                name, size, form = "`kl`", 1, "callable"
            else:
                name, size, form = latent.name, latent.units, "layer"
                if asked is None:
                    form = "objective"
                    self.notes.append(
                        f"the objective of {name} is no plain ELBO and sets the "
                        "coefficient of the KL by itself"
                    )
            residual = max(residual, two[2])
            if residual > 5 * FLOAT32_TOLERANCE:
                self.notes.append(
                    f"what reaches the gradient of {name} is not a multiple of its KL "
                    f"(relative residual {residual:.2g}): other terms act on it, or "
                    "its objective is not a weighted sum"
                )
                continue
            names = tuple((added.layer.name, c) for added, c in terms)
            kl = KL(name, form, size, (c, two[1]), names, asked)
            kls.append((kl, terms))
        for posterior in small.posteriors:
            twins = (o for o in large.posteriors if o.key == posterior.key)
            twin = next(twins, None)
            names = tuple((added.layer.name, c) for added, c in posterior.terms)
            kl = KL(
                posterior.source,
                posterior.form,
                math.prod(posterior.mean.value.shape[1:]),
                (posterior.coefficient, twin.coefficient if twin else math.nan),
                names,
            )
            if twin is not None:
                kls.append((kl, posterior.terms))
        if not kls and not small.known:
            self.notes.append(
                "no KL to a standard normal was found; where there is one, name its "
                "layers in `posterior` or pass `kl`"
            )
        return kls

    # === Rules ===

    def _ignored(self):
        for added, weight, _ in self.measured.added:
            if weight == 0:
                self._add(
                    "added_loss_ignored",
                    f"a loss that {added.layer.name!r} gives to `add_loss` does not "
                    "reach the loss which is differentiated: its coefficient is 0",
                    "add `sum(self.losses)` in `train_step`, or return "
                    "`self.compute_loss(...)` from it",
                    coefficient=0.0,
                    layer=added.layer.name,
                )
                return

    def _vectors(self):
        for added, weight, _ in self.measured.added:
            if weight and math.prod(added.tensor.shape) > 1:
                self._add(
                    "vector_added_loss",
                    f"{added.layer.name!r} gives a vector of shape "
                    f"{tuple(added.tensor.shape)} to `add_loss`, which Keras sums: "
                    "its weight grows with the batch",
                    "average it over the batch: `add_loss(ops.mean(values))`",
                    shape=tuple(added.tensor.shape),
                    coefficients=self._first_coefficients(),
                )
                return
        shape = self.measured.small.vector
        if math.prod(shape) > 1:
            self._add(
                "vector_loss",
                f"the training step differentiates a tensor of shape {shape}, of which "
                "`tape.gradient` takes the sum",
                "average the loss over the batch to a scalar, each term for itself",
                shape=shape,
                coefficients=self._first_coefficients(),
            )

    def _first_coefficients(self):
        return self.kls[0][0].coefficients if self.kls else ()

    def _doubled(self):
        for added, weight, in_compute_loss in self.measured.added:
            if in_compute_loss and weight > 1.5 * in_compute_loss:
                self._add(
                    "doubled_kl",
                    f"the loss added by {added.layer.name!r} counts "
                    f"{weight / in_compute_loss:.3g} times: `compute_loss` holds it "
                    "already, and `train_step` adds it again",
                    "leave `self.losses` out of `train_step`: `compute_loss` adds them",
                    coefficient=weight,
                    layer=added.layer.name,
                )
                return
        for kl, terms in self.kls:
            if len(terms) > 1:
                first = terms[0]
                same = [t for t in terms if _close(t[1], first[1])]
                if len(same) > 1:
                    layers = dict.fromkeys(repr(t[0].layer.name) for t in same)
                    by = (
                        "Its `activity_regularizer` is applied to each output of the "
                        "layer. "
                        if all(t[0].by_regularizer for t in same)
                        else ""
                    )
                    self._add(
                        "doubled_kl",
                        f"the KL of {kl.source} is added {len(same)} times, by "
                        f"{', '.join(layers)}, each with coefficient {first[1]:.4g}. "
                        f"{by}Together {kl.coefficients[0]:.4g}",
                        "add the KL once, with `add_loss` in `call`, for example by "
                        "`keras_vae.layers.Latent`",
                        terms=kl.terms,
                        coefficients=kl.coefficients,
                    )
                    return
        groups = {}
        for kl, _ in self.kls:
            groups.setdefault(kl.source, []).append(kl)
        values = self._values()
        for source, kls in groups.items():
            same = values.get(source, 0)
            if len(kls) > 1 and same > 1:
                self._add(
                    "doubled_kl",
                    f"the layers {source} run {same} times in one step on the same "
                    "input, and the KL of each run reaches the loss: together "
                    f"{sum(kl.coefficients[0] for kl in kls):.4g}",
                    "call the encoder once in `train_step` and use its outputs",
                    coefficients=tuple(kl.coefficients[0] for kl in kls),
                )
                return

    def _values(self):
        """How often the same posterior occurs, by its source."""
        counts = {}
        for posterior in self.measured.small.posteriors:
            counts.setdefault(posterior.source, []).append(posterior.mean.value)
        return {
            source: max(sum(_equal(a, b) for b in values) for a in values)
            for source, values in counts.items()
        }

    def _signs(self):
        for kl, _ in self.kls:
            if kl.coefficients[0] < 0 and kl.form != "objective":
                self._add(
                    "negative_kl",
                    f"the KL of {kl.source} has coefficient {kl.coefficients[0]:.4g}: "
                    "training raises it",
                    "KL = -1/2 sum(1 + log_var - mean^2 - exp(log_var)) is not "
                    "negative; add it, do not subtract it",
                    coefficients=kl.coefficients,
                )
        r = self.reconstruction
        if r is not None and r.coefficients[0] < 0:
            self._add(
                "negative_reconstruction",
                f"the reconstruction has coefficient {r.coefficients[0]:.4g}: training "
                "raises the error",
                "add the error, or the negative log-likelihood, to the loss",
                coefficients=r.coefficients,
            )

    def _batches(self):
        r = self.reconstruction
        power = 0 if r is None else _exponent(r.coefficients, self.sizes)
        powers = [_exponent(kl.coefficients, self.sizes) for kl, _ in self.kls]
        if power == 1 and powers and all(p == 1 for p in powers):
            self.notes.append(
                "both terms are summed over the batch: their balance is right, and "
                "the gradient grows with the batch"
            )
            return
        if power is None:
            self.notes.append("the reconstruction's coefficient depends on the batch")
        elif power != 0:
            self._add(
                "reconstruction_multiplied_by_batch"
                if power > 0
                else "reconstruction_divided_by_batch",
                f"the reconstruction's coefficient goes from {r.coefficients[0]:.4g} "
                f"to {r.coefficients[1]:.4g} as the batch goes from {self.sizes[0]} to "
                f"{self.sizes[1]}, but the KL's does not: the weight of the KL depends "
                "on the batch size",
                "average the reconstruction over the batch, once, as the KL is",
                coefficients=r.coefficients,
                kl=self._first_coefficients(),
            )
        for (kl, _), p in zip(self.kls, powers, strict=True):
            if kl.form == "objective":
                continue
            if p is None:
                self.notes.append(
                    f"the coefficient of {kl.source} depends on the batch"
                )
            elif p != 0 and p != power and not self._named("vector_added_loss"):
                self._add(
                    "kl_multiplied_by_batch" if p > 0 else "kl_divided_by_batch",
                    f"the coefficient of the KL of {kl.source} goes from "
                    f"{kl.coefficients[0]:.4g} to {kl.coefficients[1]:.4g} as the "
                    f"batch goes from {self.sizes[0]} to {self.sizes[1]}",
                    "sum the KL over the latents and average it over the batch: "
                    "`ops.mean(ops.sum(kl, axis=-1))`"
                    if p > 0
                    else "average the KL over the batch once, not twice",
                    coefficients=kl.coefficients,
                )

    def _per_example(self, coefficients):
        """The coefficient without the batch's power, that has its own finding."""
        power = _exponent(coefficients, self.sizes) or 0
        return coefficients[0] / self.sizes[0] ** power

    def _double_sigmoid(self):
        r = self.reconstruction
        if r is None or r.form != "bernoulli_logits" or self._fitted.is_logits:
            return
        layer = self.measured.place[0]
        last = _last_activation(layer)
        if getattr(last, "__name__", "") == "sigmoid":
            self._add(
                "double_sigmoid",
                f"{r.source!r} ends in a sigmoid, and the cross-entropy takes its "
                "output for logits: no probability outside [0.5, 0.73] can be reached",
                "remove the activation, or pass `from_logits=False`",
                coefficients=r.coefficients,
            )

    def _natural(self):
        """Coefficients that the reconstruction has where it is a likelihood's."""
        return {"squared_error": (1.0, 0.5)}.get(self.reconstruction.form, (1.0,))

    def _event_means(self):
        r = self.reconstruction
        if r is None or r.form == "likelihood":
            return
        if not self.kls and not self.measured.added:
            # An autoencoder: nothing is weighed against its error.
            return
        a = abs(self._per_example(r.coefficients))
        n, channels = math.prod(r.event_shape), r.event_shape[-1]
        for kl, _ in self.kls:
            b = abs(self._per_example(kl.coefficients))
            # A KL divided by the same number leaves the balance as it was.
            if any(_close(b / a * base, 1.0) for base in (1.0, *self._natural())):
                return
        if any(_close(a, base) for base in self._natural()):
            return
        for base in self._natural():
            for divisor in dict.fromkeys((n, channels)):
                whole = divisor == n
                if divisor == 1 or not _close(a * divisor, base):
                    continue
                if not whole and base != 1.0:
                    continue
                self._add(
                    "reconstruction_averaged_over_event"
                    if whole
                    else "reconstruction_averaged_over_channels",
                    f"the {r.form} of {_shape_words(r.event_shape)} is averaged over "
                    + (
                        f"all {n} numbers"
                        if whole
                        else f"the last axis of {channels} and summed over the others"
                    )
                    + f": its coefficient is {r.coefficients[0]:.4g}, not "
                    f"{base:.4g}, which weighs the KL {divisor} times as much"
                    + self._implied(),
                    "sum over the event: `keras_vae.losses.NegativeLogLikelihood`, or "
                    f"multiply the reconstruction by {divisor}",
                    coefficients=r.coefficients,
                    divisor=divisor,
                )
                return

    def _implied(self):
        ratio = self._ratio()
        if ratio is None:
            return ""
        if self.reconstruction.form == "squared_error":
            return (
                f"; beta = {ratio / 2:.4g} under a unit-variance Gaussian, or sigma = "
                f"{math.sqrt(ratio / 2):.3g} at beta = 1"
            )
        return f"; beta = {ratio:.4g}"

    def _ratio(self):
        """Weight of the first KL against the reconstruction, or None."""
        if self.reconstruction is None or not self.kls:
            return None
        a = self.reconstruction.coefficients[0]
        b = self.kls[0][0].coefficients[0]
        return b / a if b / a > 0 else None

    def _latent_means(self):
        for kl, _ in self.kls:
            size = kl.latent_dim
            for averaged, undone in self.measured.mean_axes:
                if averaged == size and size > 1 and not undone:
                    self._add(
                        "kl_averaged_over_latents",
                        f"the KL of {kl.source} is averaged over its {size} latents: "
                        f"its coefficient is {kl.coefficients[0]:.4g}",
                        "sum over the latents before averaging over the batch: "
                        "`ops.mean(ops.sum(kl, axis=-1))`; to keep this weight "
                        f"multiply it by {1 / size:.4g}",
                        coefficients=kl.coefficients,
                        latent_dim=size,
                    )
                    return

    def _weights(self):
        ratio = self._ratio()
        r = self.reconstruction
        if ratio is not None:
            self.weight = self._weight(ratio)
        for kl, _ in self.kls:
            if kl.asked is not None and not _close(kl.coefficients[0], kl.asked, 1e-2):
                if kl.asked == 0 and abs(kl.coefficients[0]) < 1e-6:
                    continue
                if self._named("doubled_kl"):
                    continue
                self._add(
                    "kl_weight_differs",
                    f"{kl.source} was given kl_weight={kl.asked:.4g}, and its KL has "
                    f"coefficient {kl.coefficients[0]:.4g}",
                    "look for what multiplies `losses` in `train_step` or "
                    "`compute_loss`",
                    coefficients=kl.coefficients,
                    asked=kl.asked,
                )
        if self.kl_weight is not None and ratio is None:
            self.notes.append("`kl_weight` could not be compared with anything")
        elif self.kl_weight is not None:
            beta = ratio / 2 if r.form == "squared_error" else ratio
            if not _close(beta, self.kl_weight, 1e-2):
                self._add(
                    "kl_weight_differs",
                    f"beta is {beta:.4g}, not {self.kl_weight:.4g}",
                    f"multiply the KL by {self.kl_weight / beta:.4g}",
                    beta=beta,
                    asked=self.kl_weight,
                )

    def _weight(self, ratio):
        sizes = self.reconstruction.event_shape, self.kls[0][0].latent_dim
        form = _WEIGHT_FORMS.get(self.reconstruction.form)
        likelihood = _likelihood(self.model)
        if isinstance(likelihood, likelihoods.Normal):
            if isinstance(likelihood.scale, float):
                return Weight.from_sigma(likelihood.scale, *sizes, beta=ratio)
            form = "learned"
        if isinstance(likelihood, likelihoods.Bernoulli):
            form = "bernoulli"
        return form and Weight(ratio, *sizes, form)

    def _absent(self):
        named = self.measured.probe.posterior or self.measured.probe.kl
        known = self.measured.small.known
        zero = [one for one in known if one[1] == 0 and one[0] is None]
        if named and (zero or not self.kls) and not self._named("added_loss_ignored"):
            silent = not any(p.gradient.any() for p in self.measured.small.parts)
            if zero or silent:
                self._add(
                    "kl_absent",
                    "no gradient of a KL reaches the posterior that was named",
                    "add the KL to the loss: `self.add_loss(kl_weight * kl)`",
                    coefficient=0.0,
                )

    def _regularizers(self):
        for kl, terms in self.kls:
            for added, _ in terms:
                if added.by_regularizer:
                    self._add(
                        "kl_in_activity_regularizer",
                        f"the KL of {kl.source} is the `activity_regularizer` of "
                        f"{added.layer.name!r}, which Keras 3 divides by the batch "
                        "size since 3.14 and did not before",
                        "add it with `self.add_loss(...)` in `call`, averaged over the "
                        "batch",
                        coefficients=kl.coefficients,
                    )
                    return


_WEIGHT_FORMS = {
    "squared_error": "squared_error",
    "bernoulli": "bernoulli",
    "bernoulli_logits": "bernoulli",
}


def _last_activation(layer):
    """The activation through which a layer's or model's output went last."""
    shaping = ("Reshape", "Flatten", "InputLayer")
    while steps := [
        step
        for step in getattr(layer, "layers", None) or []
        if type(step).__name__ not in shaping
    ]:
        layer = steps[-1]
    return getattr(layer, "activation", None)


def _shape_words(shape):
    return "x".join(map(str, shape))


def _numbers(values):
    return " and ".join(f"{value:.4g}" for value in values)


def _check_arguments(model, x, y, kl_weight, posterior, kl):
    if not hasattr(model, "train_step") or not getattr(model, "optimizer", None):
        raise ValueError(
            "`model` must be a compiled Keras model: call `model.compile(...)` first. "
            f"Received: model={model!r}"
        )
    if y is None and getattr(model, "loss", None) is not None:
        raise ValueError(
            "`y` must be given where the model was compiled with a loss: for an "
            f"autoencoder `audit(model, x, x)`. Received: loss={model.loss!r}, y=None"
        )
    sizes = {len(values) for values in tf.nest.flatten((x, y)) if values is not None}
    if len(sizes) != 1 or 0 in sizes:
        raise ValueError(
            "`x` and `y` must hold the same number of examples, at least one. "
            f"Received: {sorted(sizes)}"
        )
    if kl_weight is not None and not kl_weight > 0:
        raise ValueError(
            f"`kl_weight` must be positive or None. Received: kl_weight={kl_weight}"
        )
    if kl is not None and (not callable(kl) or posterior is not None):
        raise ValueError(
            "`kl` must be a callable, and given instead of `posterior`. "
            f"Received: kl={kl!r}, posterior={posterior!r}"
        )
    names = (posterior,) if isinstance(posterior, str) else posterior or ()
    have = {layer.name for layer in _layers(model)}
    if missing := [name for name in names if name not in have]:
        raise ValueError(
            "`posterior` must name layers of the model. "
            f"Received: {missing}; layers: {sorted(have)}"
        )

"""Runs the training step of a model and notes what passes through its layers."""

import collections
import contextlib
import dataclasses
import functools

import keras
import numpy as np
import tensorflow as tf

from keras_vae import _keras


class Restored:
    """Context in which a model may train, after which all is as it was.

    Args:
        model: The compiled model.
    """

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
class Batch:
    """What one step takes.

    Args:
        data: Argument of `train_step`.
        x: Tensor or structure of tensors (size, ...).
        targets: List of tensors (size, ...).
        size: Integer.
    """

    data: object
    x: object
    targets: list
    size: int


def take_batch(x, y, size):
    """Takes the first examples, from the start again where there are too few."""

    def take(values):
        values = np.asarray(values)
        rows = values[np.arange(size) % len(values)]
        return tf.convert_to_tensor(
            rows.astype("float32") if rows.dtype == np.float64 else rows
        )

    x = tf.nest.map_structure(take, x)
    y = None if y is None else tf.nest.map_structure(take, y)
    targets = tf.nest.flatten(x if y is None else y)
    return Batch(keras.utils.pack_x_y_sample_weight(x, y), x, targets, size)


@dataclasses.dataclass
class Seen:
    """A tensor that went into or out of a layer."""

    layer: object
    tensor: object
    is_output: bool
    call: int
    index: int
    # Keras gives its cross-entropy what went into a sigmoid, past what came out.
    is_logits: bool = False

    @property
    def place(self):
        """Triple (layer, number of its call, index of the tensor)."""
        return self.layer, self.call, self.index


@dataclasses.dataclass
class Added:
    """A loss given to `add_loss`."""

    layer: object
    tensor: object
    by_regularizer: bool


class Trace:
    """What happened in one training step."""

    def __init__(self):
        self.seen = []
        self.added = []
        self.results = {}
        self.targets = []
        self.computed = []
        self.calls = collections.Counter()

    @property
    def outputs(self):
        """List of what was `Seen` coming out of layers, in the order of the calls."""
        return [seen for seen in self.seen if seen.is_output]


@dataclasses.dataclass
class Step:
    """A training step, differentiable by all that passed through it."""

    tape: tf.GradientTape
    trace: Trace
    batch: Batch

    def gradient(self, target, sources):
        """The gradient, zeros where there is none."""
        zeros = tf.UnconnectedGradients.ZERO
        return self.tape.gradient(target, sources, unconnected_gradients=zeros)

    def weigh(self, loss, tensor):
        """The coefficient with which an added loss reaches the loss, a float."""
        return float(np.mean(self.gradient(loss, tensor).numpy()))


class Probe:
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

    def step(self, batch, detach=None):
        """Runs one step under a tape; see `run`.

        Returns:
            A `Step`. In the context of its tape more can be recorded.
        """
        with tf.GradientTape(persistent=True) as tape:
            trace = self.run(batch, detach)
        return Step(tape, trace, batch)

    def run(self, batch, detach=None):
        """Runs one step.

        Args:
            batch: `Batch`.
            detach: Place of the output through which no gradient shall flow, see
                `Seen`, or None.

        Returns:
            A `Trace`.
        """
        trace = Trace()
        with contextlib.ExitStack() as stack:
            for layer in layers(self.model):
                watch = _Watch(layer, trace, detach)
                replace_method(stack, layer, "call", watch.around_call)
                replace_method(stack, layer, "add_loss", watch.around_add_loss)
            replace_method(stack, self.model, "compute_loss", _noting(trace.computed))
            _silence(stack, self.model.optimizer)
            _note_targets(stack, trace.targets)
            self.model.train_step(batch.data)
        if not trace.targets:
            raise RuntimeError(
                "`model.train_step` must take its gradient with `tf.GradientTape`, "
                "because the audit measures the loss that it differentiates."
            )
        return trace


class _Watch:
    """Notes what passes through one layer in one step."""

    def __init__(self, layer, trace, detach):
        self.layer = layer
        self.trace = trace
        self.detach = detach
        self.depth = 0

    def around_call(self, original):
        """Notes inputs and outputs, and detaches the output that shall be."""

        @functools.wraps(original)
        def call(*args, **kwargs):
            number = self.trace.calls[id(self.layer)]
            self.trace.calls[id(self.layer)] += 1
            self._note((args, kwargs), number, is_output=False)
            self.depth += 1
            outputs = original(*args, **kwargs)
            self.depth -= 1
            outputs = self._detached(outputs, number)
            if isinstance(outputs, dict):
                self.trace.results[id(self.layer), number] = outputs
            self._note(outputs, number, is_output=True)
            return outputs

        return call

    def around_add_loss(self, original):
        """Notes the losses, and whether a regulariser adds them."""

        @functools.wraps(original)
        def add_loss(losses, *args, **kwargs):
            regularizer = getattr(self.layer, "activity_regularizer", None)
            outside = regularizer is not None and not self.depth
            self.trace.added += [
                Added(self.layer, loss, outside)
                for loss in tf.nest.flatten(losses)
                if is_tensor(loss)
            ]
            return original(losses, *args, **kwargs)

        return add_loss

    def _note(self, structure, number, is_output):
        for index, tensor in enumerate(tf.nest.flatten(structure)):
            place = is_output, number, index
            logits = _keras.logits_behind(tensor) if is_output else None
            if is_tensor(logits):
                self.trace.seen.append(Seen(self.layer, logits, *place, is_logits=True))
            if is_tensor(tensor):
                self.trace.seen.append(Seen(self.layer, tensor, *place))

    def _detached(self, outputs, number):
        if self.detach is None or self.detach[:2] != (self.layer, number):
            return outputs
        flat = tf.nest.flatten(outputs)
        flat[self.detach[2]] = tf.stop_gradient(flat[self.detach[2]])
        return tf.nest.pack_sequence_as(outputs, flat)


def layers(model):
    """All layers of a model, itself included."""
    return _keras.sublayers(model, object)


def trainable(model):
    """The TensorFlow variables that the optimiser moves."""
    variables = model.trainable_variables
    return [v.value if isinstance(v, keras.Variable) else v for v in variables]


def is_tensor(value):
    """Whether a gradient by the value may exist."""
    return isinstance(value, tf.Tensor) and value.dtype.is_floating


# === Methods, replaced until a stack unwinds ===


def replace_method(stack, item, name, around):
    """Replaces a method of one object.

    Args:
        stack: `contextlib.ExitStack`, at whose end the method is itself again.
        item: Object.
        name: String, name of the method.
        around: Callable, method -> replacement.
    """
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


def _silence(stack, optimizer):
    """Takes the optimiser's updates and its scaling of the loss away."""
    replacements = {
        "apply": lambda *args, **kwargs: None,
        "apply_gradients": lambda *args, **kwargs: None,
        "scale_loss": lambda loss: loss,
        "get_scaled_loss": lambda loss: loss,
    }
    for name, replacement in replacements.items():
        if hasattr(optimizer, name):
            replace_method(stack, optimizer, name, lambda _, new=replacement: new)


def _noting(results):
    """Makes a method note its results."""

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

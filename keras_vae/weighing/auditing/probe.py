"""Runs the training step of a model and records the tensors of its layers."""

import collections
import contextlib
import dataclasses
import functools

import keras
import numpy as np
import tensorflow as tf

from keras_vae import _keras


@contextlib.contextmanager
def restored(model):
    """Returns a context after which a model has the state that it has now.

    Args:
        model: The compiled model.
    """
    values = {id(v): (v, v.numpy()) for v in _variables(model)}
    try:
        yield
    finally:
        for variable, value in values.values():
            variable.assign(value)
        for metric in model.metrics:
            # The first step made these metrics. A reset restores their state.
            if any(id(v) not in values for v in metric.variables):
                metric.reset_state()


def _variables(model):
    """Returns the variables of a model, its metrics and its optimiser."""
    variables = model.optimizer.variables
    variables = list(variables() if callable(variables) else variables)
    for item in (model, *model.metrics):
        variables += item.variables
    return variables


@dataclasses.dataclass
class Batch:
    """The data of one training step.

    Args:
        data: Argument of `train_step`.
        x: Tensor or structure of tensors (size, ...).
        y: The same for targets, or None.
        targets: List of tensors (size, ...).
        size: Integer.
    """

    data: object
    x: object
    y: object
    targets: list
    size: int


def take_batch(x, y, size):
    """Returns a `Batch` of the first examples, repeated if they are too few.

    Args:
        x: See `audit`.
        y: See `audit`.
        size: Integer, the number of examples.
    """

    def take(values):
        values = np.asarray(values)
        rows = values[np.arange(size) % len(values)]
        return tf.convert_to_tensor(
            rows.astype("float32") if rows.dtype == np.float64 else rows
        )

    x = tf.nest.map_structure(take, x)
    y = None if y is None else tf.nest.map_structure(take, y)
    targets = tf.nest.flatten(x if y is None else y)
    return Batch(keras.utils.pack_x_y_sample_weight(x, y), x, y, targets, size)


@dataclasses.dataclass
class Seen:
    """An input or output of a layer, a tensor."""

    layer: object
    tensor: object
    is_output: bool
    call: int
    index: int
    # Whether it is the input of a final sigmoid, which Keras's cross-entropy takes.
    is_logits: bool = False

    @property
    def place(self):
        """Triple (layer, number of its call, index of the tensor)."""
        return self.layer, self.call, self.index


@dataclasses.dataclass
class Added:
    """A loss that a layer gave to `add_loss`."""

    layer: object
    tensor: object
    by_regularizer: bool


@dataclasses.dataclass
class Step:
    """Record of one training step.

    Attributes:
        batch: `Batch`.
        tape: `tf.GradientTape` that recorded the step. More can be recorded in its
            context.
        seen: List of `Seen`, in the order of the calls.
        added: List of `Added`.
        results: Dict, (id of a layer, number of its call) to an output that is a dict.
        targets: List of the tensors that the step differentiates.
        computed: List of the results of `compute_loss`.
        calls: Counter of the calls of each layer, by id.
    """

    batch: Batch
    tape: tf.GradientTape
    seen: list = dataclasses.field(default_factory=list)
    added: list = dataclasses.field(default_factory=list)
    results: dict = dataclasses.field(default_factory=dict)
    targets: list = dataclasses.field(default_factory=list)
    computed: list = dataclasses.field(default_factory=list)
    calls: collections.Counter = dataclasses.field(default_factory=collections.Counter)

    @property
    def outputs(self):
        """List of the outputs among `seen`."""
        return [seen for seen in self.seen if seen.is_output]

    def gradient(self, target, sources):
        """Returns the gradient, with zeros if there is none."""
        zeros = tf.UnconnectedGradients.ZERO
        return self.tape.gradient(target, sources, unconnected_gradients=zeros)

    def weigh(self, loss, tensor):
        """Returns the coefficient of an added loss in the loss, a float."""
        return float(np.mean(self.gradient(loss, tensor).numpy()))


def run_step(model, batch, detached=()):
    """Runs one training step of a model, without its optimiser.

    Args:
        model: The compiled model.
        batch: `Batch`.
        detached: Tuple of `Seen.place`s of outputs that pass no gradient on.

    Returns:
        A `Step`.
    """
    step = Step(batch, tf.GradientTape(persistent=True))
    with contextlib.ExitStack() as stack:
        for layer in layers(model):
            watch = _Watch(layer, step, detached)
            replace_method(stack, layer, "call", watch.call)
            replace_method(stack, layer, "add_loss", watch.add_loss)
        note = functools.partial(_note_result, step.computed)
        replace_method(stack, model, "compute_loss", note)
        # No update, and no scaling of the loss in half precision.
        for name in ("apply", "apply_gradients", "scale_loss", "get_scaled_loss"):
            if hasattr(model.optimizer, name):
                replace_method(stack, model.optimizer, name, _pass_on)
        _note_targets(stack, step.targets)
        with step.tape:
            model.train_step(batch.data)
    if not step.targets:
        raise RuntimeError(
            "`model.train_step` must take its gradient with `tf.GradientTape`, "
            "because the audit measures the loss that it differentiates."
        )
    return step


class _Watch:
    """Records the tensors and losses of one layer in one step."""

    def __init__(self, layer, step, detached):
        self.layer = layer
        self.step = step
        self.detached = detached
        self.depth = 0

    def call(self, original, *args, **kwargs):
        """Records inputs and outputs, and stops the gradient of some outputs."""
        number = self.step.calls[id(self.layer)]
        self.step.calls[id(self.layer)] += 1
        self._note((args, kwargs), number, is_output=False)
        self.depth += 1
        outputs = original(*args, **kwargs)
        self.depth -= 1
        stopped = [i for *call, i in self.detached if call == [self.layer, number]]
        if stopped:
            flat = tf.nest.flatten(outputs)
            for index in stopped:
                flat[index] = tf.stop_gradient(flat[index])
            outputs = tf.nest.pack_sequence_as(outputs, flat)
        if isinstance(outputs, dict):
            self.step.results[id(self.layer), number] = outputs
        self._note(outputs, number, is_output=True)
        return outputs

    def add_loss(self, original, losses, *args, **kwargs):
        """Records the losses, and whether a regulariser adds them."""
        regularizer = getattr(self.layer, "activity_regularizer", None)
        outside = regularizer is not None and not self.depth
        tensors = filter(is_tensor, tf.nest.flatten(losses))
        self.step.added += [Added(self.layer, loss, outside) for loss in tensors]
        return original(losses, *args, **kwargs)

    def _note(self, structure, number, is_output):
        for index, tensor in enumerate(tf.nest.flatten(structure)):
            place = is_output, number, index
            logits = _keras.logits_behind(tensor) if is_output else None
            self.step.seen += [
                Seen(self.layer, value, *place, is_logits=value is not tensor)
                for value in filter(is_tensor, (logits, tensor))
            ]


def layers(model):
    """Returns all layers of a model, itself included."""
    return _keras.sublayers(model, object)


def trainable(model):
    """Returns the TensorFlow variables that the optimiser moves."""
    variables = model.trainable_variables
    return [v.value if isinstance(v, keras.Variable) else v for v in variables]


def is_tensor(value):
    """Whether a value can have a gradient."""
    return isinstance(value, tf.Tensor) and value.dtype.is_floating


# === Methods, replaced until a stack closes ===


def replace_method(stack, item, name, replacement):
    """Replaces a method of one object.

    Args:
        stack: `contextlib.ExitStack`, which puts the method back as it closes.
        item: Object.
        name: String, name of the method.
        replacement: Callable, of the original method and its arguments.
    """
    original, previous = getattr(item, name), item.__dict__.get(name)

    @functools.wraps(original)
    def method(*args, **kwargs):
        return replacement(original, *args, **kwargs)

    def restore():
        item.__dict__.pop(name)
        if previous is not None:
            item.__dict__[name] = previous

    # Keras's `__setattr__` tracks state and refuses some assignments.
    item.__dict__[name] = method
    stack.callback(restore)


def _pass_on(_, first, *args, **kwargs):
    """Returns the first argument and does nothing."""
    return first


def _note_result(results, original, *args, **kwargs):
    """Calls a method and appends its result to a list."""
    results.append(original(*args, **kwargs))
    return results[-1]


def _note_targets(stack, targets):
    """Records the differentiated tensors; gradients that do not exist become zeros."""
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

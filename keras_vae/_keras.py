"""All use of private APIs of Keras and TensorFlow; `tests/test_keras.py` watches it."""

import contextlib
import functools

import keras
import tensorflow as tf
from keras.src.backend.common import global_state
from tensorflow.python.framework import ops


def sublayers(layer, kind):
    """Returns `layer` and all layers below it that are instances of `kind`.

    Args:
        layer: A `keras.layers.Layer`.
        kind: A class.

    Returns:
        A list of layers, each once, outermost first.
    """
    return [item for item in layer._flatten_layers() if isinstance(item, kind)]


def logits_behind(tensor):
    """Returns the logits that Keras's cross-entropy uses instead of `tensor`.

    Args:
        tensor: Tensor, probabilities from a sigmoid or softmax.

    Returns:
        A tensor, or None if there are no logits.
    """
    return getattr(tensor, "_keras_logits", None)


def mask_of(tensor):
    """Returns the mask that Keras carries along with `tensor`.

    Args:
        tensor: Tensor, output of a layer.

    Returns:
        A boolean tensor with some of the leading axes of `tensor`, or None.
    """
    return getattr(tensor, "_keras_mask", None)


def with_mask(tensor, mask):
    """Attaches a mask to `tensor`, as a layer does to its output.

    Args:
        tensor: Tensor.
        mask: Boolean tensor, or None for no mask.

    Returns:
        `tensor` itself.
    """
    if mask is not None:
        tensor._keras_mask = mask
    return tensor


def outermost_call(layer):
    """Returns the context of the outermost call that led to this call of `layer`.

    Args:
        layer: A `keras.layers.Layer` whose `call` is running.

    Returns:
        An object that all layers reached by the outermost call share, and that no other
        call has. It supports weak references. Its `entry_layer` is the layer or model
        that was called, or `layer` itself if nothing calls it.
    """
    return layer._get_call_context()


def batches_until_save(callback):
    """Returns the number of batches until a callback saves the model.

    Args:
        callback: A `keras.callbacks.ModelCheckpoint` or `BackupAndRestore`.

    Returns:
        A positive integer, or None if it saves after epochs.
    """
    if callback.save_freq == "epoch":
        return None
    return max(callback.save_freq - callback._batches_seen_since_last_saving, 1)


def traces_batches(callback):
    """Whether a `keras.callbacks.TensorBoard` traces some batch for its profile."""
    return bool(callback._should_trace)


@contextlib.contextmanager
def weights_read_once(layers):
    """Makes each call of `layers` read its weights once, before any loop in the call.

    Keras's cells read their weights at each step of the `tf.while_loop` around them.
    The gradient keeps every read: under XLA this is one copy of a kernel per step.

    Args:
        layers: List of `keras.layers.Layer`. Calls traced in this context read once.
    """
    # An existing `call` attribute belongs to the user or to an enclosing `fit`.
    before = [vars(layer).get("call") for layer in layers]
    for layer in layers:
        layer.call = _reading_once(layer, layer.call)
    try:
        yield
    finally:
        _put_back(layers, before)


def _put_back(layers, calls):
    for layer, call in zip(layers, calls, strict=True):
        if call is None:
            del layer.call
        else:
            layer.call = call


def _reading_once(layer, call):
    @functools.wraps(call)
    def wrapped(*args, **kwargs):
        variables = [variable._value for variable in layer.trainable_variables]
        try:
            for variable in variables:
                variable._cached_value = variable.value()
            return call(*args, **kwargs)
        finally:
            for variable in variables:
                variable._cached_value = None

    return wrapped


def is_saving_legacy_file():
    """Whether the running `get_config` is called to write a model as HDF5."""
    return bool(global_state.get_global_attribute("use_legacy_config", False))


def holds_weights(store, path):
    """Whether a file holds weights below the layer whose variables are being loaded.

    Args:
        store: Argument of the layer's `load_own_variables`.
        path: String, attributes that lead to a sublayer, as in "latent/head".
    """
    file = getattr(store, "h5_file", None)
    path = file and "/".join(filter(None, (store._h5_entry_path, path)))
    if not file or path not in file:
        return False
    # A layer that is not built may have a group without arrays.
    return bool(file[path].visititems(lambda _, part: hasattr(part, "shape") or None))


@contextlib.contextmanager
def calls_watched(layers, watch):
    """Passes the output of each call of `layers` to `watch`, in the order of the calls.

    Args:
        layers: List of `keras.layers.Layer`.
        watch: Callable of a layer and its output.
    """
    before = [vars(layer).get("call") for layer in layers]
    for layer in layers:
        layer.call = _watched(layer, layer.call, watch)
    try:
        yield
    finally:
        _put_back(layers, before)


def _watched(layer, call, watch):
    @functools.wraps(call)
    def wrapped(*args, **kwargs):
        outputs = call(*args, **kwargs)
        watch(layer, outputs)
        return outputs

    return wrapped


def learning_rate_schedule(optimizer):
    """Returns the schedule of an optimizer's learning rate, or None.

    Args:
        optimizer: A `keras.optimizers.Optimizer`.
    """
    rate = optimizer._learning_rate
    is_schedule = isinstance(rate, keras.optimizers.schedules.LearningRateSchedule)
    return rate if is_schedule else None


def forget_gradients():
    """Lets the graph of the function being traced be freed together with its model.

    `tf.custom_gradient`, which each Keras optimizer uses, registers a function for each
    call in a graph. The registered function lives as long as the process and holds the
    graph. This function marks it as not differentiable, which releases the graph. Call
    it at the end of a traced function that nothing differentiates from outside.
    Functions called by the traced function are not changed, because others may call
    them too.
    """
    if not tf.inside_function():
        return
    for op in tf.compat.v1.get_default_graph().get_operations():
        if op.type != "IdentityN" or "_gradient_op_type" not in op.node_def.attr:
            continue
        name = op.get_attr("_gradient_op_type").decode()
        if name.startswith("CustomGradient-"):
            ops.gradient_registry._registry[name]["type"] = None

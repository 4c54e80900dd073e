"""The only place that touches Keras's private API; `tests/test_keras.py` watches it."""

import contextlib
import functools

import keras


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
    """Returns the logits which Keras's cross-entropy reads instead of `tensor`.

    Args:
        tensor: Tensor, probabilities that a sigmoid or softmax has put out.

    Returns:
        A tensor, or None where there are none.
    """
    return getattr(tensor, "_keras_logits", None)


def outermost(layer):
    """Returns the layer or model whose call led to the running call of `layer`.

    Args:
        layer: A `keras.layers.Layer` whose `call` is running.

    Returns:
        A `keras.layers.Layer`, `layer` itself where nothing calls it.
    """
    return layer._get_call_context().entry_layer


@contextlib.contextmanager
def weights_read_once(layers):
    """Lets each call of `layers` read its weights once, ahead of any loop within.

    Keras's cells read theirs at each step of the `tf.while_loop` that they are called
    in. Its gradient keeps all that was read, under XLA one copy of a kernel for each
    step.

    Args:
        layers: List of `keras.layers.Layer`, whose calls are traced meanwhile.
    """
    # What stands there already, if anything, is of the user or of a `fit` around this.
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


@contextlib.contextmanager
def calls_watched(layers, watch):
    """Shows `watch` what each call of `layers` returns, in the order of the calls.

    Args:
        layers: List of `keras.layers.Layer`.
        watch: Callable of a layer and what its call returned.
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
    """Returns the schedule that an optimiser's learning rate follows, or None.

    Args:
        optimizer: A `keras.optimizers.Optimizer`.
    """
    rate = optimizer._learning_rate
    is_schedule = isinstance(rate, keras.optimizers.schedules.LearningRateSchedule)
    return rate if is_schedule else None

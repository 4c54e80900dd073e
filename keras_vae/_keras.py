"""The only place that touches Keras's private API; `tests/test_keras.py` watches it."""


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

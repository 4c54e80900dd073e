"""Named tensors beside x and z: which network takes them, and how it is called."""

import inspect
import types

# No condition at all.
NONE = types.MappingProxyType({})


def takes(network, name):
    """Whether a network takes a condition beside its main input.

    A layer that passes conditions on says so by its method `takes_condition`. A
    functional model of several inputs takes what these name, any other layer what the
    parameters of its `call` name.

    Args:
        network: `keras.Model` or layer.
        name: String.
    """
    if hasattr(network, "takes_condition"):
        return network.takes_condition(name)
    if names := input_names(network):
        return name in names
    return name in list(inspect.signature(network.call).parameters)[1:]


def input_names(network):
    """Returns the names of several inputs of a functional model, () of one input."""
    if len(getattr(network, "inputs", None) or ()) < 2:
        return ()
    inputs = network.input
    return tuple(inputs) if isinstance(inputs, dict) else [part.name for part in inputs]


def arguments(network, inputs, condition):
    """Returns what a network is called with.

    Args:
        network: `keras.Model` or layer.
        inputs: Its main input, x or z.
        condition: Dict of names to tensors, all that there are.

    Returns:
        Positional and keyword arguments, a tuple and a dict.
    """
    taken = {name: v for name, v in condition.items() if takes(network, name)}
    names = input_names(network) if taken else ()
    if not names:
        return (inputs,), taken
    (main,) = set(names) - set(taken)
    return ({main: inputs, **taken},), {}


def call(network, inputs, condition):
    """Calls a network on its main input and the conditions that it takes.

    Args:
        network: See `arguments`.
        inputs: See `arguments`.
        condition: See `arguments`.
    """
    args, kwargs = arguments(network, inputs, condition)
    return network(*args, **kwargs)

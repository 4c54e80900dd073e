"""Named tensors beside x and z: how they are declared, and which network takes them."""

import inspect
import math
import types
from collections.abc import Mapping

import numpy as np
import tensorflow as tf

from keras_vae.arguments import is_integer

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


def is_conditional(network):
    """Whether a network can take conditions, whatever they are called."""
    return hasattr(network, "takes_condition") or bool(input_names(network))


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


# === What a user declares ===

# What a dict of inputs calls the data, what a decoder calls the target that it reads,
# and names that `call` or a library's network already uses.
MAIN = "x"
PREVIOUS = "previous"
# What a network of a hierarchy calls the features from the level above.
ABOVE = "above"
_RESERVED = (MAIN, PREVIOUS, ABOVE, "z", "u", "inputs", "training", "mask")
# The label of an example whose class nobody told.
UNKNOWN = -1


class Conditions:
    """The conditions that a model declares, by name.

    Args:
        declared: Dict of names to kinds, or None for no condition. A kind is an
            integer, the number of classes of integer labels (N,), which the networks
            get as one-hot vectors; a tuple, the shape of real values (N, *shape); or
            None for one real number (N,), which they get with the shape (N, 1).
        unknown: Name of a condition of classes whose labels may be `UNKNOWN`, or None.

    Raises:
        ValueError: If a name or a kind is invalid.
    """

    def __init__(self, declared=None, unknown=None):
        if isinstance(declared, Conditions):
            unknown = unknown or declared._unknown
            declared = declared.get_config()
        self._unknown = unknown
        if not isinstance(declared, Mapping | None):
            raise ValueError(
                "`conditions` must be a dict of names to numbers of classes, or to "
                f"shapes of real values. Received: conditions={declared!r}"
            )
        self._kinds = {n: _checked(n, kind) for n, kind in (declared or {}).items()}

    def __iter__(self):
        """Yields the names."""
        return iter(self._kinds)

    def __len__(self):
        """Returns the number of conditions."""
        return len(self._kinds)

    def num_classes(self, name):
        """Returns the number of classes of a condition, None of real values."""
        kind = self._kinds[name]
        return kind if isinstance(kind, int) else None

    def lowest_label(self, name):
        """Returns the smallest label of a condition of classes."""
        return UNKNOWN if name == self._unknown else 0

    def shape(self, name):
        """Returns the shape of one value as the networks get it."""
        kind = self._kinds[name]
        return (1,) if kind is None else (kind,) if isinstance(kind, int) else kind

    def raw_shape(self, name):
        """Returns the shape of one value as a user passes it."""
        kind = self._kinds[name]
        return kind if isinstance(kind, tuple) else ()

    @property
    def shapes(self):
        """Dict of names to shapes as the networks get them, batch axis first."""
        return {name: (None, *self.shape(name)) for name in self}

    @property
    def size(self):
        """How many numbers the networks get for an example."""
        return sum(math.prod(self.shape(name)) for name in self)

    def main(self, inputs):
        """Returns the data alone, or their shape, of a model's inputs."""
        return inputs[MAIN] if self and isinstance(inputs, Mapping) else inputs

    def given(self, inputs):
        """Returns a dict of the conditions among a model's inputs, as they are."""
        return {name: inputs[name] for name in self}

    def split(self, inputs):
        """Returns the data, and a dict of the conditions as the networks take them.

        Args:
            inputs: Tensor, or dict of "x" and each condition if there are some.
        """
        if not self:
            return inputs, {}
        given = {name: self.encode(name, inputs[name]) for name in self}
        return inputs[MAIN], given

    def for_each(self, name, value, size):
        """Returns values (N, *raw shape) of a condition, of which one may be for all.

        Args:
            name: String.
            value: Array or tensor (N, *raw shape), or one value for all.
            size: N.
        """
        value = tf.convert_to_tensor(value)
        if value.shape.rank == len(self.raw_shape(name)):
            value = tf.repeat(value[None], size, axis=0)
        return value

    def encode(self, name, value, size=None):
        """Returns values of a condition as the networks take them.

        Args:
            name: String.
            value: Array or tensor (N, *raw shape), or one value for all.
            size: N, which one value for all needs.

        Returns:
            A float32 tensor (N, *shape), NaN for labels that are no class.
        """
        value = self.for_each(name, value, size)
        if number := self.num_classes(name):
            labels = tf.cast(tf.reshape(value, [-1]), tf.int32)
            is_class = (labels >= 0) & (labels < number)
            return tf.where(is_class[:, None], tf.one_hot(labels, number), np.nan)
        return tf.reshape(tf.cast(value, tf.float32), [-1, *self.shape(name)])

    def zeros(self):
        """Returns conditions of one example, all zero, as the networks take them."""
        return {name: tf.zeros((1, *self.shape(name))) for name in self}

    def get_config(self):
        """Returns what `Conditions` made from it equals, or None for no condition."""
        return {
            name: list(kind) if isinstance(kind, tuple) else kind
            for name, kind in self._kinds.items()
        } or None


def _checked(name, kind):
    """Returns the kind of a condition; raises ValueError if it or its name is none."""
    if not isinstance(name, str) or not name.isidentifier() or name in _RESERVED:
        raise ValueError(
            "`conditions` must have names that are identifiers and none of "
            f"{_RESERVED}. Received: the name {name!r}"
        )
    if is_integer(kind) and kind > 1:
        return int(kind)
    if kind is None:
        return None
    sizes = kind if isinstance(kind, tuple | list) else (0,)
    if not sizes or not all(is_integer(size) and size > 0 for size in sizes):
        raise ValueError(
            f"`conditions` must give {name!r} a number of classes, at least 2, the "
            "shape of real values as a tuple, or None for one number. Received: "
            f"{name!r}: {kind!r}"
        )
    return tuple(int(size) for size in sizes)

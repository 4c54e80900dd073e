"""Data as batches of x, for what is computed from data without a gradient."""

import functools
import itertools
import math

import keras
import numpy as np
import tensorflow as tf

from keras_vae.arguments import check_count
from keras_vae.checks import kinds
from keras_vae.checks.arrays import check_array
from keras_vae.checks.data import peek
from keras_vae.checks.data import peek_generator
from keras_vae.checks.data import unpack
from keras_vae.checks.shapes import shape_text

# Numbers in a batch of an array.
_BLOCK = 2**22


class Batches:
    """The batches of x in data, each a dense array that is checked.

    `iter` reads the data anew, unless they are an iterator, which can be read once. Of
    batches (x, y) and (x, y, sample_weight) only x counts.

    Args:
        data: Array, tensor or list of examples, `tf.data.Dataset`,
            `keras.utils.PyDataset`, or any iterable of batches.
        steps: Integer, batches to read at most, or None to read all.
        name: Name of `data` in errors.
        missing: See `VAE`.

    Raises:
        ValueError: If `data` hold no batch, or have no end and `steps` is None.
    """

    def __init__(self, data, steps=None, name="x", missing=None):
        self._name, self.missing = name, missing
        self._steps = None if steps is None else check_count("steps", steps)
        self._data = self._checked(data)
        self._iterator = None
        self.is_array = hasattr(self._data, "shape")
        if self.is_array:
            return
        if hasattr(self._data, "__next__"):
            first, self._iterator = peek_generator(iter(self._data), name)
        else:
            first = peek(self._data, name)
        self._shape = self._array(first).shape[1:]

    @classmethod
    def of(cls, data, steps=None):
        """Returns `data` if they are `Batches` already, or makes them."""
        return data if isinstance(data, cls) else cls(data, steps)

    @functools.cached_property
    def example_shape(self):
        """Shape of one example."""
        return tuple(self._data.shape[1:] if self.is_array else self._shape)

    @property
    def can_be_read_again(self):
        """Whether a further `iter` yields batches."""
        return not hasattr(self._data, "__next__")

    def __iter__(self):
        """Yields arrays (batch, *example_shape)."""
        batches = itertools.islice(self._batches(), self._steps)
        for x in map(self._array, batches):
            if x.shape[1:] != self.example_shape:
                raise ValueError(
                    f"`{self._name}` must yield batches of one shape, (batch, "
                    f"{shape_text(self.example_shape)}). Received: a batch of shape "
                    f"{x.shape}"
                )
            yield x

    def _batches(self):
        data = self._data
        if self.is_array:
            size = max(1, _BLOCK // max(1, math.prod(self.example_shape)))
            starts = range(0, data.shape[0], size)
            return (data[start : start + size] for start in starts)
        if isinstance(data, keras.utils.PyDataset):
            number = self._steps if data.num_batches is None else data.num_batches
            return (data[place] for place in range(number))
        if self._iterator is not None:
            batches, self._iterator = self._iterator, iter(())
            return batches
        return iter(data)

    def _array(self, batch):
        x = batch if self.is_array else unpack(batch)[0]
        if not self.is_array and len(getattr(x, "shape", ())) == 1:
            raise ValueError(
                f"`{self._name}` must yield batches, (batch, ...), and not single "
                "examples: batch it, as by `dataset.batch(256)`. Received: an example "
                f"of shape {tuple(x.shape)}"
            )
        return np.asarray(kinds.as_array(check_array(x, self._name, self.missing)))

    def _checked(self, data):
        """Returns an array that can be sliced, or an iterable of known length."""
        name = self._name
        if isinstance(data, list | tuple):
            data = np.asarray(data)
        if hasattr(data, "shape"):
            return self._checked_array(data)
        if not hasattr(data, "__iter__") and not hasattr(data, "__getitem__"):
            raise ValueError(
                f"`{name}` must be an array or yield batches of arrays. Received: "
                f"{name}={data!r}"
            )
        check_has_end(data, self._steps, name)
        return data

    def _checked_array(self, data):
        if self._steps is not None:
            raise ValueError(
                "`steps` must be None for an array, which is read whole. Received: "
                f"steps={self._steps}"
            )
        data = kinds.in_order(kinds.dense(data))
        data = data if kinds.is_sparse(data) else kinds.as_array(data)
        # Rank and type alone: batches are checked as they are read.
        first = data[:1] if len(data.shape) > 1 else data
        check_array(first, self._name, self.missing)
        if not math.prod(data.shape):
            raise ValueError(
                f"`{self._name}` must hold at least one example. Received: "
                f"{self._name}.shape={tuple(data.shape)}"
            )
        return data


def check_has_end(data, steps, name):
    """Raises ValueError if neither data nor `steps` say where they end."""
    if steps is None and _is_endless(data):
        raise ValueError(
            f"`steps` must be given for data without an end. Received: {name}="
            f"{data!r}, steps=None"
        )


def _is_endless(data):
    if isinstance(data, keras.utils.PyDataset):
        return data.num_batches is None
    if isinstance(data, tf.data.Dataset):
        return int(data.cardinality()) == tf.data.INFINITE_CARDINALITY
    return False

"""Arrays that stay on the device while `fit` trains on them."""

import math

import keras
import numpy as np
import tensorflow as tf

from keras_vae.training.program import Batches


class ResidentData:
    """Arrays on the device, and the order in which an epoch takes their examples.

    Keras counts `steps`, which has one element for each batch, and passes its iterator
    to each block. A new iterator begins an epoch, and the order of the examples is
    drawn anew. The order equals that of Keras's own adapter for arrays. That adapter
    tunes its threads, which takes as much as a third of a short epoch.

    Args:
        data: Dict with the arguments `x`, `y` and `sample_weight` of `fit`.
        batch_size: Integer.
        shuffle: Boolean.
    """

    def __init__(self, data, batch_size, shuffle):
        self.tensors = _to_device(data)
        self._spec = tf.nest.map_structure(
            lambda v: tf.TensorSpec([None, *v.shape[1:]], v.dtype), self.tensors
        )
        self.batch_size = batch_size
        size = len(tf.nest.flatten(data["x"])[0])

        def permutation(_):
            indices = tf.range(size, dtype=tf.int64)
            return tf.random.shuffle(indices) if shuffle else indices

        self._orders = tf.data.Dataset.range(1).map(permutation)
        self._iterator = None
        self._left = np.zeros(0, np.int64)
        self.steps = tf.data.Dataset.range(math.ceil(size / batch_size))

    def take(self, iterator, steps):
        """Takes the next block of an epoch.

        Args:
            iterator: The iterator over `steps` of this epoch.
            steps: Integer, the most batches.

        Returns:
            `Batches` of one size that hold indices of examples, or None at the end of
            the epoch.
        """
        if iterator is not self._iterator:
            self._iterator = iterator
            self._left = next(iter(self._orders)).numpy()
        full = min(len(self._left) // self.batch_size, steps)
        taken = full * self.batch_size or len(self._left)
        block, self._left = np.split(self._left, [taken])
        if not taken:
            return None
        stack = tf.constant(block.reshape(max(full, 1), -1))
        return Batches(stack, self._spec, self.tensors)


def can_be_resident(
    data,
    limit,
    validation_split=0.0,
    class_weight=None,
    steps_per_epoch=None,
    shuffle=True,
    **kwargs,
):
    """Whether Keras would use the data as unchanged arrays, and they fit `limit`.

    Args:
        data: Dict with the arguments `x`, `y` and `sample_weight` of `fit`.
        limit: Integer, the most bytes.
        validation_split: As in `keras.Model.fit`, like the arguments below.
        class_weight: Likewise.
        steps_per_epoch: Likewise.
        shuffle: Likewise.
        **kwargs: Likewise; they have no influence.
    """
    parts = [part for part in tf.nest.flatten(data) if part is not None]
    return (
        not validation_split
        and class_weight is None
        and steps_per_epoch is None
        and isinstance(shuffle, bool)
        and all(isinstance(part, np.ndarray | tf.Tensor) for part in parts)
        and all(part.shape and _is_number(part.dtype) for part in parts)
        and len({len(part) for part in parts}) == 1
        and sum(_size(part) for part in parts) <= limit
    )


def _is_number(dtype):
    dtype = tf.as_dtype(dtype)
    return dtype.is_floating or dtype.is_integer or dtype.is_bool


def _size(array):
    return math.prod(array.shape) * tf.as_dtype(array.dtype).size


def _to_device(data):
    """Returns the arrays as tensors, structured as Keras structures a batch."""
    tensors = {}

    def convert(array):
        # The same array given twice is kept once.
        if id(array) not in tensors:
            tensor = tf.convert_to_tensor(array)
            if tensor.dtype.is_floating:
                tensor = tf.cast(tensor, keras.config.floatx())
            tensors[id(array)] = tensor
        return tensors[id(array)]

    data = {
        k: None if v is None else tf.nest.map_structure(convert, v)
        for k, v in data.items()
    }
    return keras.utils.pack_x_y_sample_weight(**data)

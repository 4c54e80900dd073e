"""Batches of data, which a resumed run finds again."""

import keras
import numpy as np
import tensorflow as tf

from keras_vae import datasets


def batches(x, settings, initial_epoch=0):
    """Makes the training batches of the epochs from `initial_epoch` on.

    Args:
        x: Array of shape (n, *event_shape), or a dict with conditions.
        settings: `_settings.Settings`.
        initial_epoch: Integer, epochs that a resumed run has finished.

    Returns:
        What `fit(..., shuffle=False)` takes. The batches of an epoch are a function of
        the seed and the number of the epoch.
    """
    if settings.data.binarize == "dynamic":
        return datasets.dynamic_binarization(
            x,
            settings.fit.batch_size,
            seed=settings.fit.seed,
            initial_epoch=initial_epoch,
        )
    return Batches(x, settings.fit.batch_size, settings.fit.seed, initial_epoch)


class Batches(keras.utils.PyDataset):
    """Batches in an order that is a function of the seed and the epoch.

    Keras's own order depends on how many epochs this process has seen.

    Args:
        x: Array of shape (n, *event_shape), or a dict with conditions.
        batch_size: Integer.
        seed: Integer.
        epoch: Integer, the number of the first epoch.
    """

    def __init__(self, x, batch_size, seed, epoch=0):
        super().__init__()
        self.x, self.batch_size, self.seed = x, batch_size, seed
        self.epoch, self._size = epoch, size(x)
        self._shuffle()

    def __len__(self):
        return -(-self._size // self.batch_size)

    def __getitem__(self, index):
        start = index * self.batch_size
        return (rows(self.x, self._order[start : start + self.batch_size]),)

    def on_epoch_end(self):
        """Goes on to the next epoch."""
        self.epoch += 1
        self._shuffle()

    def _shuffle(self):
        generator = np.random.default_rng([self.seed, self.epoch])
        self._order = generator.permutation(self._size)


def size(x):
    """Returns the number of examples of an array, or of a dict of arrays."""
    return len(tf.nest.flatten(x)[0])


def rows(x, which):
    """Returns some examples of an array, or of a dict of arrays."""
    return tf.nest.map_structure(lambda v: v[which], x)


def repeated(x, batch_size, times):
    """Returns batches of every example `times` times over.

    The noise of an evaluation is numbered by batches, so that each time is a new draw.
    """
    return tf.data.Dataset.from_tensor_slices(x).batch(batch_size).repeat(times)

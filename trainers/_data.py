"""Data of a run: splits, binarisation, and batches that a resumed run finds again."""

import typing

import keras
import numpy as np
import tensorflow as tf

from keras_vae import datasets
from trainers import _flags

# Binarisations of test and validation data, and the split, are the same for all seeds,
# so that runs compare.
_TEST, _VALIDATION, _TRAIN = range(3)


class Data(typing.NamedTuple):
    """Arrays of shape (n, *event_shape); `validation` may be None."""

    train: np.ndarray
    validation: np.ndarray | None
    test: np.ndarray


def load(chosen):
    """Loads and splits the data that the flags name.

    Args:
        chosen: Namespace from `_flags.settings`.

    Returns:
        `Data`; with dynamic binarisation `train` is still grey.

    Raises:
        _flags.FlagError: If there are no such data or the flags do not suit them.
    """
    with _flags.blamed("dataset", chosen):
        data = Data(*datasets.load(chosen.dataset, data_dir=chosen.data_dir))
    if data.validation is None and chosen.validation_fraction:
        data = _hold_out(data, chosen)
    if chosen.binarize == "none":
        return data
    with _flags.blamed("binarize", chosen):
        data = data._replace(test=datasets.binarize(data.test, _TEST))
        if data.validation is not None:
            validation = datasets.binarize(data.validation, _VALIDATION)
            data = data._replace(validation=validation)
        train = datasets.binarize(data.train, _TRAIN)
    return data if chosen.binarize == "dynamic" else data._replace(train=train)


def _hold_out(data, chosen):
    number = round(chosen.validation_fraction * len(data.train))
    if not 0 < number < len(data.train):
        raise _flags.FlagError(
            "`--validation_fraction` must leave an example on both sides of the split "
            f"of {len(data.train)}; pass 0 to hold out none. Received: "
            f"--validation_fraction={chosen.validation_fraction}"
        )
    order = np.random.default_rng(0).permutation(len(data.train))
    held_out, kept = np.sort(order[:number]), np.sort(order[number:])
    return data._replace(train=data.train[kept], validation=data.train[held_out])


def batches(x, chosen, initial_epoch=0):
    """Makes the training batches of the epochs from `initial_epoch` on.

    Args:
        x: Array of shape (n, *event_shape).
        chosen: Namespace from `_flags.settings`.
        initial_epoch: Integer, epochs that a resumed run has finished.

    Returns:
        What `fit(..., shuffle=False)` takes. The batches of an epoch are a function of
        the seed and the number of the epoch.
    """
    if chosen.binarize == "dynamic":
        return datasets.dynamic_binarization(
            x, chosen.batch_size, seed=chosen.seed, initial_epoch=initial_epoch
        )
    return Batches(x, chosen.batch_size, chosen.seed, initial_epoch)


class Batches(keras.utils.PyDataset):
    """Batches in an order that is a function of the seed and the epoch.

    Keras's own order depends on how many epochs this process has seen.

    Args:
        x: Array of shape (n, *event_shape).
        batch_size: Integer.
        seed: Integer.
        epoch: Integer, the number of the first epoch.
    """

    def __init__(self, x, batch_size, seed, epoch=0):
        super().__init__()
        self.x, self.batch_size, self.seed = x, batch_size, seed
        self.epoch = epoch
        self._shuffle()

    def __len__(self):
        return -(-len(self.x) // self.batch_size)

    def __getitem__(self, index):
        start = index * self.batch_size
        return (self.x[self._order[start : start + self.batch_size]],)

    def on_epoch_end(self):
        """Goes on to the next epoch."""
        self.epoch += 1
        self._shuffle()

    def _shuffle(self):
        generator = np.random.default_rng([self.seed, self.epoch])
        self._order = generator.permutation(len(self.x))


def repeated(x, batch_size, times):
    """Returns batches of every example `times` times over.

    The noise of an evaluation is numbered by batches, so that each time is a new draw.
    """
    return tf.data.Dataset.from_tensor_slices(x).batch(batch_size).repeat(times)

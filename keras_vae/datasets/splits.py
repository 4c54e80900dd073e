"""Splits of a data set, and held-out examples for data without splits."""

import typing

import numpy as np


class Dataset(typing.NamedTuple):
    """Splits of a data set, each an array of shape (n, *event_shape) or None.

    Args:
        train: Array for training.
        validation: Array for model selection, or None if the data set has no such
            split.
        test: Array for the final evaluation.

    Example:
    >>> kv.datasets.load("digits").event_shape
    (8, 8, 1)
    """

    train: np.ndarray
    validation: np.ndarray | None
    test: np.ndarray

    @property
    def event_shape(self):
        """Shape of one example."""
        return self.train.shape[1:]


def hold_out(read, test_fraction=0.1, seed=0, **kwargs):
    """Reads data and holds out a random part for testing.

    Args:
        read: Function that returns an array.
        test_fraction: Float in (0, 1), the share held out. Defaults to 0.1.
        seed: Integer, the seed of the split. Defaults to 0.
        **kwargs: Passed to `read`.

    Returns:
        A `Dataset` without a validation split.

    Raises:
        ValueError: If `test_fraction` is not in (0, 1).
    """
    check_fraction(test_fraction)
    train, test = split(read(**kwargs), test_fraction=test_fraction, seed=seed)
    return Dataset(train, None, test)


def split(*arrays, test_fraction, seed, stratify=None):
    """Returns two parts of each array in turn, with shuffled examples."""
    # Imported here, because scikit-learn imports slowly and most programs do not use
    # it.
    from sklearn.model_selection import train_test_split

    return train_test_split(
        *arrays, test_size=test_fraction, random_state=seed, stratify=stratify
    )


def check_fraction(test_fraction):
    """Raises ValueError if a fraction is not in (0, 1)."""
    if not 0 < test_fraction < 1:
        raise ValueError(
            f"`test_fraction` must be in (0, 1). Received: test_fraction="
            f"{test_fraction!r}"
        )

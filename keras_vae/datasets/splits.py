"""Parts of a data set, and the examples that are held out where it has none."""

import typing

import numpy as np


class Dataset(typing.NamedTuple):
    """Splits of a data set, each an array of shape (n, *event_shape) or None.

    Args:
        train: Array to fit.
        validation: Array to choose by, None where the data set has no such split.
        test: Array to report on.

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
    """Returns the data that a function reads, of which some are drawn for testing.

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
    """Returns the two parts of each array, one after the other, examples shuffled."""
    # Most programs never split data with scikit-learn, which takes long to import.
    from sklearn.model_selection import train_test_split

    return train_test_split(
        *arrays, test_size=test_fraction, random_state=seed, stratify=stratify
    )


def check_fraction(test_fraction):
    """Raises ValueError where a share is not in (0, 1)."""
    if not 0 < test_fraction < 1:
        raise ValueError(
            f"`test_fraction` must be in (0, 1). Received: test_fraction="
            f"{test_fraction!r}"
        )

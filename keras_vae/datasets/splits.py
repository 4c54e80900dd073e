"""Splits of a data set, and held-out examples for data without splits."""

import typing

import numpy as np

# Names of splits in files and folders.
_NAMES = {
    "train": "train",
    "training": "train",
    "valid": "validation",
    "validation": "validation",
    "val": "validation",
    "dev": "validation",
    "test": "test",
    "testing": "test",
}
PARTS = ("train", "validation", "test")


class _Splits(typing.NamedTuple):
    train: np.ndarray
    validation: np.ndarray | None
    test: np.ndarray


class Dataset(_Splits):
    """Splits of a data set, each an array of shape (n, *event_shape) or None.

    It unpacks into the three arrays.

    Args:
        train: Array for training.
        validation: Array for model selection, or None if the data set has no such
            split.
        test: Array for the final evaluation.
        columns: Tuple of strings, the names of the columns of a table. Defaults to
            None, for data that are no table.
        description: String, lines that say what was read, and what was inferred of
            each column of a table. Defaults to "".
        labels: Dict, names of splits to arrays (n,) of their labels. Defaults to None,
            for data without labels.

    Raises:
        ValueError: If the splits differ in the shape of an example.

    Example:
    >>> kv.datasets.load("digits").event_shape
    (8, 8, 1)
    """

    columns = None
    description = ""
    labels = None

    def __new__(
        cls, train, validation, test, columns=None, description="", labels=None
    ):
        """Makes a tuple of the splits, which knows more."""
        made = super().__new__(cls, train, validation, test)
        made.columns, made.description, made.labels = columns, description, labels
        shapes = {
            name: x.shape[1:]
            for name, x in zip(cls._fields, made, strict=True)
            if x is not None
        }
        if len(set(shapes.values())) > 1:
            text = ", ".join(f"{name} {shape}" for name, shape in shapes.items())
            raise ValueError(
                "The splits of a data set must have examples of one shape. Received: "
                f"{text}"
            )
        return made

    @property
    def event_shape(self):
        """Shape of one example."""
        return self.train.shape[1:]


def role(name):
    """Returns which of the fields of a `Dataset` a name stands for, or None."""
    return _NAMES.get(name.lower())


def hold_out(
    x,
    test_fraction=0.1,
    seed=0,
    validation=None,
    columns=None,
    description="",
    labels=None,
):
    """Holds out a random part for testing.

    Args:
        x: Array of shape (n, *event_shape).
        test_fraction: Float in (0, 1), the share held out. Defaults to 0.1.
        seed: Integer, the seed of the split. Defaults to 0.
        validation: Array that is such a split already, or None.
        columns: See `Dataset`.
        description: See `Dataset`; a line about the split is added.
        labels: See `Dataset`; those of x are named "train".

    Returns:
        A `Dataset`.

    Raises:
        ValueError: If `test_fraction` is not in (0, 1), or there is one example alone.
    """
    check_fraction(test_fraction)
    if len(x) < 2:
        raise ValueError(
            "Data without a test split must hold two examples or more, of which some "
            f"are held out. Received: {len(x)} of shape {x.shape[1:]}"
        )
    labels = dict(labels or {})
    arrays = [x, *([labels["train"]] if "train" in labels else [])]
    train, test, *halves = split(*arrays, test_fraction=test_fraction, seed=seed)
    if halves:
        labels["train"], labels["test"] = halves
    if description:
        description += f"\n{len(test)} of {len(x)} examples, drawn at random, are the "
        description += "test split."
    return Dataset(train, validation, test, columns, description, labels)


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

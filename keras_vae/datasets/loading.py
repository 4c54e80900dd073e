"""Data sets by name or path."""

import pathlib

from keras_vae.datasets import images
from keras_vae.datasets import named
from keras_vae.datasets import numpy_files
from keras_vae.datasets import tables

# Readers of `load` by the suffix of a path. To add a format, write a module with a
# `load` function and add a line here.
_READERS = {
    ".npy": numpy_files.load,
    ".npz": numpy_files.load,
    ".csv": tables.load,
}


def load(name, data_dir=None, **kwargs):
    """Loads a data set by name or path.

    Args:
        name: One of "digits", "mnist", "fashion_mnist", "binarized_mnist" and
            "dsprites", or the path of an `.npy` or `.npz` file (see `arrays`), of a
            `.csv` file (see `table`) or of a folder of images (see `image_folder`).
        data_dir: Directory with the files of a named data set. Defaults to the
            environment variable `KERAS_VAE_DATA`.
        **kwargs: Passed to the function that reads the data set. If the data have no
            split, `test_fraction` (0.1) and `seed` (0) choose the held-out examples.

    Returns:
        A `Dataset`. The arrays `train`, `test` and, if present, `valid` of an `.npz`
        file are its splits.

    Raises:
        ValueError: If `name` is unknown or the data cannot be used.
        FileNotFoundError: If a file is missing.

    Example:
    >>> train, validation, test = kv.datasets.load("digits", test_fraction=0.5)
    >>> train.shape, validation, test.shape
    ((898, 8, 8, 1), None, (899, 8, 8, 1))
    """
    path = pathlib.Path(name)
    if name in named.LOADERS:
        return named.LOADERS[name](data_dir=data_dir, **kwargs)
    if path.suffix in _READERS:
        return _READERS[path.suffix](path, **kwargs)
    if path.is_dir():
        return images.load(path, **kwargs)
    *others, last = _READERS
    raise ValueError(
        f"`name` must be one of {sorted(named.LOADERS)}, the path of an "
        f"{', '.join(others)} or {last} file or an existing folder of images. "
        f"Received: name={str(name)!r}"
    )

"""Data sets by name or path."""

import pathlib

from keras_vae.datasets import image_files
from keras_vae.datasets import images
from keras_vae.datasets import named
from keras_vae.datasets import numpy_files
from keras_vae.datasets import tables
from keras_vae.datasets import text

# Readers of `load` by the suffix of a path, and their arguments beside those of the
# split. To add a format, write a module with a `load` function and add a line here.
_TABLE = tables.load, ("header", "drop_columns", "decimal", "missing")
_READERS = {
    ".npy": (numpy_files.load, ("max_bytes", "missing")),
    ".npz": (numpy_files.load, ("key", "max_bytes", "missing")),
    ".csv": _TABLE,
    ".tsv": _TABLE,
    ".txt": (text.load, ("max_length",)),
    "": (images.load, ("image_size", "grayscale", "max_bytes")),
}


# The same of named data sets.
_NAMED = {"ptb": ("max_length",)}


def load(name, data_dir=None, **kwargs):
    """Loads a data set by name or path.

    Args:
        name: One of "digits", "mnist", "fashion_mnist", "binarized_mnist", "dsprites",
            "ptb" and "grammar", or the path of an `.npy` or `.npz` file (see `arrays`),
            of a `.csv` or `.tsv` file (see `table`), of a `.txt` file (see `sentences`)
            or of a folder of images (see `image_folder`).
        data_dir: Directory with the files of a named data set. Defaults to the
            environment variable `KERAS_VAE_DATA`.
        **kwargs: Passed to the function that reads the data set. If the data have no
            split, `test_fraction` (0.1) and `seed` (0) choose the held-out examples.

    Returns:
        A `Dataset`, whose `description` says what was read. Arrays of an `.npz` file
        named `train`, `test` and perhaps `valid`, `validation` or `val`, also with `x_`
        before it, are its splits, and so are folders of such names in a folder. Where
        none is named `train`, what stands beside the others is for training.

    Raises:
        ValueError: If `name` is unknown, the data cannot be used, or an argument is for
            another kind of data.
        FileNotFoundError: If a file is missing.

    Example:
    >>> train, validation, test = kv.datasets.load("digits", test_fraction=0.5)
    >>> train.shape, validation, test.shape
    ((898, 8, 8, 1), None, (899, 8, 8, 1))
    """
    path = pathlib.Path(name)
    suffix = path.suffix.lower()
    if name in named.LOADERS:
        _check_options(name, _NAMED.get(name, ()), kwargs)
        return named.LOADERS[name](data_dir=data_dir, **kwargs)
    # The path of no name would be the directory one is in.
    if str(name) and path.is_dir():
        suffix = ""
    elif suffix not in _READERS or not suffix:
        *others, last = filter(None, _READERS)
        raise ValueError(
            f"`name` must be one of {sorted(named.LOADERS)}, the path of an "
            f"{', '.join(others)} or {last} file or an existing folder of images. "
            f"Received: name={str(name)!r}{_remedy(path)}"
        )
    read, options = _READERS[suffix]
    _check_options(name, options, kwargs)
    return read(path, **kwargs)


def _remedy(path):
    if path.suffix.lower() in image_files.SUFFIXES:
        return ", an image. Pass the folder that holds it"
    if path.is_file():
        return (
            ", a file of another kind. Save a table with pandas, to_csv(index=False), "
            "and an array with np.save"
        )
    return ""


def _check_options(name, options, given):
    """Raises ValueError at the argument of a reader of other files."""
    for option in given.keys() - set(options):
        suffixes = [
            suffix or "a folder of images"
            for suffix, (_, others) in _READERS.items()
            if option in others
        ]
        if suffixes:
            raise ValueError(
                f"`{option}` must be left out of {str(name)!r}; it is for "
                f"{', '.join(suffixes)}. Received: {option}={given[option]!r}"
            )

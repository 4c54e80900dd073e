"""NumPy files, `.npy` and `.npz`, read without unpickling."""

import contextlib
import functools
import pathlib
import zipfile

import numpy as np

from keras_vae.datasets import splits


def arrays(path, key=None):
    """Returns the array of a user's `.npy` or `.npz` file.

    Values are not rescaled.

    Args:
        path: Path of the file.
        key: String, the name of an array in an `.npz` file. Optional for a file with
            one array.

    Returns:
        A float32 array of shape (n, *event_shape).

    Raises:
        FileNotFoundError: If the file does not exist.
        ValueError: If an `.npz` file has no array `key`, or the array is unusable:
            pickled objects, text, complex or non-finite values, no examples, or no
            event axes.

    Example:
    >>> np.save("blobs.npy", np.eye(4))
    >>> kv.datasets.arrays("blobs.npy").shape
    (4, 4)
    """
    path = pathlib.Path(path)
    if path.suffix not in (".npy", ".npz"):
        raise ValueError(
            f"`path` must end in .npy or .npz. Received: path={str(path)!r}"
        )
    if not path.is_file():
        raise FileNotFoundError(
            f"`path` must be an existing file. Received: path={str(path)!r}"
        )
    x = read_array(path, key)
    if x.dtype.kind not in "biuf":
        raise ValueError(
            f"`path` must hold real numbers. Received: an array of {x.dtype} in "
            f"{str(path)!r}. Convert it, for example with x.astype('float32')."
        )
    if x.ndim < 2 or x.size == 0:
        raise ValueError(
            f"`path` must hold a non-empty array of shape (examples, ...). "
            f"Received: shape {x.shape} in {str(path)!r}"
        )
    x = x.astype("float32")
    if not np.isfinite(x).all():
        raise ValueError(
            f"`path` must hold finite numbers that float32 can represent. Received: "
            f"{np.count_nonzero(~np.isfinite(x))} other values in {str(path)!r}. "
            "Remove or fill in these values."
        )
    return x


def load(path, key=None, **kwargs):
    """Returns the `Dataset` of a file; an archive with splits keeps them."""
    if key is None and path.suffix == ".npz" and path.is_file():
        names = _keys(path)
        if {"train", "test"} <= names:
            valid = arrays(path, "valid") if "valid" in names else None
            return splits.Dataset(arrays(path, "train"), valid, arrays(path, "test"))
    return splits.hold_out(functools.partial(arrays, path, key), **kwargs)


def read_array(path, key=None):
    """Returns one array of an `.npy` or `.npz` file without unpickling."""
    with open(path, "rb") as stream:
        with _explained(path):
            content = np.load(stream, allow_pickle=False)
        if isinstance(content, np.ndarray):
            return content
        if key is None and len(content.files) == 1:
            key = content.files[0]
        if key not in content.files:
            raise ValueError(
                f"`key` must name one of the arrays {sorted(content.files)} of "
                f"{str(path)!r}. Received: key={key!r}"
            )
        with _explained(path):
            return content[key]


def _keys(path):
    with open(path, "rb") as stream, _explained(path):
        return set(np.load(stream, allow_pickle=False).files)


@contextlib.contextmanager
def _explained(path):
    try:
        yield
    except (EOFError, ValueError, zipfile.BadZipFile) as error:
        raise ValueError(
            f"`path` must be a NumPy file of plain arrays; pickled objects are not "
            f"read, because they can run code. Received: {str(path)!r}, and NumPy "
            f"failed: {error}. Save the numbers with np.save or np.savez."
        ) from error

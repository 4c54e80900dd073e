"""NumPy files, `.npy` and `.npz`, read without unpickling."""

import contextlib
import math
import pathlib
import zipfile
import zlib

import numpy as np

from keras_vae.datasets import limits
from keras_vae.datasets import splits

_READ_HEADER = {
    (1, 0): np.lib.format.read_array_header_1_0,
    (2, 0): np.lib.format.read_array_header_2_0,
}
# Parts of names of arrays that say nothing of the split, and names of arrays of labels.
_DATA = ("", "x", "data", "images", "imgs", "features", "inputs", "arr_0")
_LABEL_BYTES = 400
_LABELS = ("y", "labels", "label", "targets", "target", "classes", "class")
_UNREADABLE = (
    EOFError,
    ValueError,
    MemoryError,
    NotImplementedError,  # An unknown compression.
    OverflowError,
    RuntimeError,  # An encrypted archive.
    zipfile.BadZipFile,
    zlib.error,
)


def arrays(path, key=None, max_bytes=limits.MAX_BYTES, missing=None):
    """Returns the array of a user's `.npy` or `.npz` file.

    Values are not rescaled.

    Args:
        path: Path of the file.
        key: String, the name of an array in an `.npz` file. Optional for a file with
            one array beside arrays of labels, which are known by their names or by
            having one axis.
        max_bytes: Integer, the most bytes that a compressed array may take as float32.
            Defaults to 2**32, 4 GiB.
        missing: "nan" if NaN stands for a missing element. Defaults to None: NaN is an
            error.

    Returns:
        A float32 array of shape (n, *event_shape).

    Raises:
        FileNotFoundError: If the file does not exist.
        ValueError: If an `.npz` file has no array `key`, the file is damaged, encrypted
            or larger than `max_bytes`, or the array is unusable: pickled objects, text,
            complex or non-finite values, no examples, or no event axes.

    Example:
    >>> np.save("blobs.npy", np.eye(4))
    >>> kv.datasets.arrays("blobs.npy").shape
    (4, 4)
    """
    path = _checked(path)
    if _is_archive(path):
        key = _Names(_headers(path)).array(path, key)
    return _numbers(path, key, max_bytes, missing)


def arrays_and_labels(path, key=None, max_bytes=limits.MAX_BYTES, missing=None):
    """Returns the array of a file, see `arrays`, and its labels (n,), None without."""
    path = _checked(path)
    x = arrays(path, key, max_bytes, missing)
    if not _is_archive(path):
        return x, None
    names = _Names(_headers(path))
    name = names.labels(names.array(path, key), x)
    return x, None if name is None else np.ravel(read_array(path, name))


def load(path, key=None, max_bytes=limits.MAX_BYTES, missing=None, **kwargs):
    """Returns the `Dataset` of a file; an archive with splits keeps them."""
    path = _checked(path)
    if not _is_archive(path):
        x = _numbers(path, None, max_bytes, missing)
        return splits.hold_out(x, description=f"{path} has no splits.", **kwargs)
    names = _Names(_headers(path))
    parts = names.splits(path, key)
    limits_and_gaps = max_bytes, missing
    read = {part: _numbers(path, key, *limits_and_gaps) for part, key in parts.items()}
    train, validation = read["train"], read.get("validation")
    beside = {part: names.labels(key, read[part]) for part, key in parts.items()}
    beside = {part: key for part, key in beside.items() if key is not None}
    labels = {part: read_array(path, key) for part, key in beside.items()}
    text = _described(path, names.all, parts, beside)
    more = {"description": text, "labels": labels}
    if "test" in read:
        return splits.Dataset(train, validation, read["test"], **more)
    return splits.hold_out(train, validation=validation, **more, **kwargs)


def _described(path, names, parts, labels):
    used = [f"{key!r} for {part}" for part, key in parts.items()]
    used += [f"{key!r} for the labels of {part}" for part, key in labels.items()]
    known = {*parts.values(), *labels.values()}
    others = ", ".join(repr(name) for name in names if name not in known)
    return f"{path}: {', '.join(used)}{'; left out: ' + others if others else ''}."


class _Names:
    """What the arrays of an archive are for, by their names.

    Args:
        headers: Dict, names to (shape, dtype), or None for what is no array.
    """

    def __init__(self, headers):
        self.all = list(headers)
        self._headers = headers

    def splits(self, path, key):
        """Returns a dict of splits to names, "train" among them.

        Args:
            path: Path of the archive, for errors.
            key: String, the name of the one array to read, or None.
        """
        if key is not None:
            return {"train": self.array(path, key)}
        found = self._named_splits()
        if "train" in found:
            return found
        # An array with one axis, such as a mask of examples, holds none.
        found = {part: name for part, name in found.items() if self._axes(name) > 1}
        rest = [name for name in self.all if _part(name) is None]
        if all(map(_is_label, rest)):
            return {"train": self.array(path, None)}
        return {"train": self.array(path, None, rest), **found}

    def _named_splits(self):
        found = {}
        for name in self.all:
            part = _part(name)
            if part is not None and self._headers[name] is not None:
                # An exact name goes before one with `x_`.
                if part not in found or splits.role(name):
                    found[part] = name
        return {part: found[part] for part in splits.PARTS if part in found}

    def labels(self, name, x):
        """Returns the name of the labels of an array, such as `y_test`, or None.

        Args:
            name: String, that of the array.
            x: The array, each example of which has a label.
        """
        found = {}
        for other in self.all:
            if _is_label(other) and other != name:
                found.setdefault(_split(other), []).append(other)
        if len(found.get(None, ())) > 1:
            del found[None]
        kinds = [_split(name)]
        if kinds == ["train"]:
            # Labels that name no split, such as `y`, are those of the training data.
            kinds.append(None)
        elif kinds == [None] and "train" not in self._named_splits():
            kinds.append("train")
        candidate = next((found[kind][0] for kind in kinds if kind in found), None)
        return candidate if self._is_one_for_each(candidate, x) else None

    def _is_one_for_each(self, name, x):
        """Whether an array is (n,) numbers, texts or booleans beside x of n."""
        header = self._headers.get(name)
        return (
            header is not None
            and header[0] in ((len(x),), (len(x), 1))
            and header[1].kind in "biufSU"
            and header[1].itemsize <= _LABEL_BYTES
        )

    def array(self, path, key, among=None):
        """Returns the name of the one array of data, or of `key`."""
        if key is None:
            among = self.all if among is None else among
            usable = [name for name in among if self._is_data(name)]
            named = [name for name in usable if name.lower() in _DATA]
            others = [name for name in among if not _is_label(name)]
            for candidates in (among, named, usable, others):
                if len(candidates) == 1:
                    return candidates[0]
        if key not in self.all:
            described = [f"{name!r}{self._shape(name)}" for name in self.all]
            raise ValueError(
                f"`key` must name one of the arrays {sorted(self.all)} of "
                f"{str(path)!r}. Received: key={key!r}, and {', '.join(described)}. In "
                "the programs: --key"
            )
        return key

    def _is_data(self, name):
        header = self._headers[name]
        return (
            header is not None
            and self._axes(name) > 1
            and header[1].kind in "biuf"
            and not _is_label(name)
        )

    def _axes(self, name):
        return len(self._headers[name][0])

    def _shape(self, name):
        header = self._headers[name]
        return ", no array" if header is None else f" {header[0]}"


def _part(name):
    """Returns the split that a name means: `train`, `x_train`, `test_images`."""
    return _split(name) if "_".join(_others(name)) in _DATA else None


def _split(name):
    """Returns the split that one word of a name stands for, or None."""
    parts = [splits.role(word) for word in name.split("_") if splits.role(word)]
    return parts[0] if len(parts) == 1 else None


def _others(name):
    """Returns the words of a name that stand for no split."""
    return [word for word in name.lower().split("_") if not splits.role(word)]


def _is_label(name):
    return any(word in _LABELS for word in _others(name))


# === Reading ===


def read_array(path, key=None):
    """Returns an array of a file, of an archive the one named `key`."""
    with _opened(path, key) as (stream, *_):
        return np.lib.format.read_array(stream, allow_pickle=False)


def _checked(path):
    path = pathlib.Path(path)
    if path.suffix.lower() not in (".npy", ".npz"):
        raise ValueError(
            f"`path` must end in .npy or .npz. Received: path={str(path)!r}"
        )
    if not path.is_file():
        raise FileNotFoundError(
            f"`path` must be an existing file. Received: path={str(path)!r}"
        )
    return path


def _numbers(path, key, max_bytes, missing):
    """Returns a checked array of a file as float32."""
    with _opened(path, key) as (stream, held, stored):
        shape, dtype = _header(stream)
        held -= stream.tell()
        claimed = math.prod(shape) * dtype.itemsize
        if dtype.hasobject:
            raise ValueError("it holds Python objects")
        if min(shape, default=0) < 0 or claimed > held:
            raise ValueError(
                f"its header claims shape {shape}, {claimed} bytes, in {held} bytes"
            )
    where = repr(str(path)) if key is None else f"{str(path)!r}, array {key!r}"
    _check_header(shape, dtype, where)
    # What a file holds in full is its own limit.
    grown = math.prod(shape) if claimed > stored else 0
    limits.check_size(grown, where, max_bytes)
    with np.errstate(over="ignore"):
        x = read_array(path, key).astype("float32")
    bad = ~np.isfinite(x) if missing is None else np.isinf(x)
    if bad.any():
        raise ValueError(
            f"`path` must hold finite numbers that float32 can represent. Received: "
            f"{np.count_nonzero(bad)} other values in {where}. "
            "Remove or fill in these values."
        )
    return x


def _check_header(shape, dtype, where):
    if dtype.kind not in "biuf":
        raise ValueError(
            f"`path` must hold real numbers. Received: an array of {dtype} in "
            f"{where}. Convert it, for example with x.astype('float32')."
        )
    if len(shape) < 2 or 0 in shape:
        raise ValueError(
            f"`path` must hold a non-empty array of shape (examples, ...). "
            f"Received: shape {shape} in {where}"
        )


def _header(stream):
    """Returns shape and dtype, and leaves the stream behind the header."""
    version = np.lib.format.read_magic(stream)
    if version not in _READ_HEADER:
        raise ValueError(f"it is of version {version} of the format")
    shape, _, dtype = _READ_HEADER[version](stream)
    return shape, dtype


def _headers(path):
    """Returns a dict of all members of an archive, see `_Names`."""
    with _explained(path), zipfile.ZipFile(path) as archive:
        headers = {
            name.removesuffix(".npy"): _member_header(archive, name)
            for name in archive.namelist()
        }
        if not headers:
            raise ValueError("it holds no array")
        return headers


def _member_header(archive, name):
    with archive.open(name) as stream:
        try:
            return _header(stream)
        except ValueError:
            return None


def _is_archive(path):
    with open(path, "rb") as stream:
        return stream.read(2) == b"PK"


@contextlib.contextmanager
def _opened(path, key):
    """Opens an array, and explains what goes wrong while it is read.

    Yields:
        Stream, the bytes that it claims to hold, and those that it takes in the file.
    """
    size = path.stat().st_size
    with _explained(path):
        if not _is_archive(path):
            with open(path, "rb") as stream:
                yield stream, size, size
            return
        with zipfile.ZipFile(path) as archive:
            name = f"{key}.npy" if f"{key}.npy" in archive.namelist() else key
            member = archive.getinfo(name)
            with archive.open(member) as stream:
                yield stream, member.file_size, min(member.compress_size, size)


@contextlib.contextmanager
def _explained(path):
    try:
        yield
    except _UNREADABLE as error:
        raise ValueError(
            f"`path` must be a NumPy file of plain arrays; pickled objects are not "
            f"read, because they can run code. Received: {str(path)!r}, and reading "
            f"failed: {error}. Save the numbers with np.save or np.savez."
        ) from error

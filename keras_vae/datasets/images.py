"""Folders of images."""

import collections
import os
import pathlib

import numpy as np

from keras_vae.arguments import is_integer
from keras_vae.datasets import image_files
from keras_vae.datasets import limits
from keras_vae.datasets import splits

_SHOWN = 4


def image_folder(
    path, image_size=None, grayscale=None, batch_size=None, max_bytes=limits.MAX_BYTES
):
    """Returns the BMP, GIF, JPEG, PNG, TIFF and WebP images under a folder.

    They come in the order of folders and names, with values divided by 255; of 16 bits
    PNG keeps 8. Transparency and the rotations of cameras are ignored. With an
    `image_size` they are cropped around their centre to its aspect ratio and resized
    bilinearly, by `keras.preprocessing.image.smart_resize`.

    Args:
        path: Path of the folder; subfolders are searched too.
        image_size: Tuple (height, width). Defaults to None: that of the images, which
            must be the same for all.
        grayscale: Boolean, whether to return one channel instead of three. Defaults
            to None: one if all files hold one channel or a palette of greys.
        batch_size: Integer, for images that do not fit into memory; they are then read
            during training. Defaults to None.
        max_bytes: Integer, the most bytes that the array may take. Defaults to 2**32,
            4 GiB.

    Returns:
        A float32 array of shape (n, height, width, channels) in [0, 1], or, with a
        `batch_size`, a `tf.data.Dataset` of such batches.

    Raises:
        ValueError: If the folder does not exist, has no images, broken ones or images
            of several sizes, or they take more than `max_bytes`.

    Example:
    >>> import os
    >>> os.makedirs("faces")
    >>> keras.utils.save_img("faces/one.png", np.zeros((48, 64, 3)))
    >>> kv.datasets.image_folder("faces").shape
    (1, 48, 64, 3)
    >>> kv.datasets.image_folder("faces", image_size=(32, 32)).shape
    (1, 32, 32, 3)
    """
    paths = _found(path).images
    headers = image_files.headers(paths)
    size = _size(path, paths, headers, image_size)
    channels = _channels(headers, grayscale)
    if batch_size is not None:
        return image_files.batches(paths, headers, size, channels, batch_size)
    _check_memory(path, len(paths), size, channels, max_bytes)
    return image_files.read(paths, headers, size, channels)


def load(path, image_size=None, grayscale=None, max_bytes=limits.MAX_BYTES, **kwargs):
    """Returns the `Dataset` of a folder; `train/` and `test/` in it are its splits.

    Without `train/` all images beside `test/` are those for training.
    """
    path = pathlib.Path(path)
    found, skipped = _splits(path)
    paths = [image for images in found.values() for image in images]
    headers = image_files.headers(paths)
    size = _size(path, paths, headers, image_size)
    channels = _channels(headers, grayscale)
    _check_memory(path, len(paths), size, channels, max_bytes)
    read = {}
    for part, images in found.items():
        number = len(images)
        read[part] = image_files.read(images, headers[:number], size, channels)
        headers = headers[number:]
    kind = f"{'grey images' if channels == 1 else 'images'} of {size[0]} x {size[1]}"
    kind += "" if image_size is None else ", cropped and resized"
    text = _described(path, found, skipped, kind)
    train, validation = read["train"], read.get("validation")
    if "test" in read:
        return splits.Dataset(train, validation, read["test"], description=text)
    return splits.hold_out(train, validation=validation, description=text, **kwargs)


def _splits(path):
    """Returns a dict of splits to their images, and a `Counter` of what is left out."""
    of_splits = sorted(x for x in path.iterdir() if x.is_dir() and splits.role(x.name))
    folders = {}
    for folder in of_splits:
        folders.setdefault(splits.role(folder.name), folder)
    if not folders:
        found = _found(path)
        return {"train": found.images}, found.skipped
    found = {part: _found(folders[part]) for part in splits.PARTS if part in folders}
    others = image_files.find(path, [folder.name for folder in folders.values()])
    skipped = sum((files.skipped for files in found.values()), others.skipped)
    images = {part: files.images for part, files in found.items()}
    outside = len(others.images)
    if "train" not in images:
        images = {"train": _beside(path, others.images, of_splits), **images}
        outside -= len(images["train"])
    skipped["images outside of the folders of the splits"] = outside
    return images, +skipped


def _beside(path, images, of_splits):
    """Returns the images for training of a folder without one for them."""
    # A second folder of a split, such as `dev` beside `val`, is not for training.
    found = [x for x in images if not any(map(x.is_relative_to, of_splits))]
    if not found:
        shown = " and ".join(repr(folder.name) for folder in of_splits)
        raise ValueError(
            "`path` must hold images for training, in a folder 'train' or beside the "
            f"folders of other splits. Received: {str(path)!r}, which holds {shown} "
            f"alone. Pass {str(of_splits[0])!r} to split the images in it."
        )
    return found


def _found(path):
    if not os.path.isdir(path):
        raise ValueError(
            f"`path` must be an existing folder. Received: path={str(path)!r}"
        )
    found = image_files.find(path)
    if not found.images:
        raise ValueError(
            f"`path` must hold images ({', '.join(image_files.SUFFIXES)}). Received: "
            f"{str(path)!r}, which holds {str(found) or 'no files'}"
        )
    return found


def _size(path, paths, headers, image_size):
    """Returns the size of the array, (height, width)."""
    if image_size is not None:
        sides = tuple(image_size) if np.ndim(image_size) == 1 else ()
        if len(sides) != 2 or not all(is_integer(side) and side > 0 for side in sides):
            raise ValueError(
                "`image_size` must be two positive integers, height and width. "
                f"Received: image_size={image_size!r}"
            )
        return sides
    numbers = collections.Counter(header.size for header in headers)
    if len(numbers) == 1:
        return headers[0].size
    first = {}
    for file, header in zip(paths, headers, strict=True):
        first.setdefault(header.size, file)
    shown = [
        f"{size[0]} x {size[1]} ({number}, such as {first[size].name!r})"
        for size, number in numbers.most_common(_SHOWN)
    ]
    shown += ["and others"] if len(numbers) > _SHOWN else []
    raise ValueError(
        "`image_size` must be given, height and width, for images of several sizes. "
        f"Received: {len(numbers)} sizes in {str(path)!r}, {', '.join(shown)}. In the "
        "programs: --image_size=64,64"
    )


def _channels(headers, grayscale):
    if grayscale not in (None, True, False):
        raise ValueError(
            "`grayscale` must be True, False or None, for as saved. Received: "
            f"grayscale={grayscale!r}"
        )
    if grayscale is None:
        grayscale = all(header.is_grey for header in headers)
    return 1 if grayscale else 3


def _check_memory(path, number, size, channels, max_bytes):
    limits.check_size(
        number * size[0] * size[1] * channels,
        f"{number} images of {size[0]} x {size[1]} in {str(path)!r}",
        max_bytes,
        ", or pass a smaller `image_size` (--image_size=64,64)",
    )


def _described(path, found, skipped, kind):
    """Returns what was read and what was left out."""
    numbers = [f"{len(images)} for {part}" for part, images in found.items()]
    lines = [f"{path}: {kind}, {', '.join(numbers)}."]
    if skipped:
        lines.append(f"Left out: {image_files.counted(skipped)}.")
    nested = {folder for image in found["train"] for folder in _nested(path, image)}
    if nested:
        shown = ", ".join(repr(str(folder)) for folder in sorted(nested)[:_SHOWN])
        lines.append(f"No splits, since only folders at the top are: {shown}.")
    return "\n".join(lines)


def _nested(path, image):
    """Yields the folders of an image that have the name of a split, below the top."""
    for folder in image.relative_to(path).parents:
        if len(folder.parts) > 1 and splits.role(folder.name) not in (None, "train"):
            yield folder

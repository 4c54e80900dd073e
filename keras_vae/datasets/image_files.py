"""Files of images under a folder: which there are, how large, and what they show."""

import collections
import dataclasses
import os
import pathlib
import stat
import warnings

import keras
import numpy as np
import tensorflow as tf

from keras_vae.datasets.pipelines import steady

SUFFIXES = (".bmp", ".gif", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp")
# Formats that TensorFlow decodes, by the names of Pillow, which decodes all others.
# TensorFlow makes no grey images of BMP and GIF, and ignores the palettes of BMP.
_TENSORFLOW = ("JPEG", "MPO", "PNG")
# Modes of Pillow whose values are grey, and those whose values are bytes.
_GREY = ("1", "L", "LA", "La", "I", "I;16", "I;16B", "F")
_BYTES = ("1", "L", "LA", "P", "PA", "RGB", "RGBA", "RGBX", "CMYK", "YCbCr")


@dataclasses.dataclass(frozen=True)
class Found:
    """Files under a folder.

    Args:
        images: List of `pathlib.Path`, in the order of folders and names.
        skipped: `collections.Counter` of strings, why other entries are left out.
    """

    images: list
    skipped: collections.Counter

    def __str__(self):
        """What is left out, or ""."""
        return counted(self.skipped)


def counted(skipped):
    """Returns a `Counter` of strings as one string."""
    return ", ".join(f"{why} ({number})" for why, number in skipped.items())


def find(folder, without=()):
    """Returns what is `Found` under a folder; links to folders are not followed.

    Args:
        folder: Path.
        without: Sequence of strings, the names of folders in it to leave out.
    """
    images, skipped = [], collections.Counter()
    for root, folders, names in sorted(_walk(folder, without, skipped)):
        links = [name for name in folders if os.path.islink(os.path.join(root, name))]
        skipped["links to folders"] += len(links)
        for name in sorted(names):
            path = pathlib.Path(root, name)
            why = _why_not(path)
            if why is None:
                images.append(path)
            else:
                skipped[why] += 1
    return Found(images, +skipped)


def _walk(folder, without, skipped):
    """Yields what `os.walk` does, without hidden folders, which are counted."""
    for i, (root, folders, names) in enumerate(os.walk(folder)):
        if i == 0:
            folders[:] = [name for name in folders if name not in without]
        shown = [name for name in folders if not name.startswith(".")]
        skipped["hidden folders"] += len(folders) - len(shown)
        folders[:] = shown
        yield root, shown, names


def _why_not(path):
    """Returns why a file is no image to read, or None."""
    if path.name.startswith("."):
        return "hidden files"
    if path.suffix.lower() not in SUFFIXES:
        return f"{path.suffix.lower()} files" if path.suffix else "files without suffix"
    try:
        mode = path.stat().st_mode
    except OSError:
        return "links to nothing"
    # To open a pipe would wait for another program.
    return None if stat.S_ISREG(mode) else "pipes or devices"


@dataclasses.dataclass(frozen=True)
class Header:
    """What a file says of its image.

    Args:
        size: Tuple (height, width).
        by_pillow: Boolean, whether TensorFlow cannot decode it.
        is_grey: Boolean, whether it has one channel, or a palette of greys.
    """

    size: tuple
    by_pillow: bool
    is_grey: bool


def headers(paths):
    """Returns the `Header` of each image.

    Raises:
        ValueError: With the names of files that are no images.
    """
    found, broken = [], []
    for path in paths:
        try:
            found.append(_header(path))
        except Exception as error:  # Pillow's decoders raise what they like.
            broken.append((path, error))
    _check_readable(broken)
    return found


def _header(path):
    from PIL import Image

    with warnings.catch_warnings():
        # Of many pixels; `image_folder` counts them.
        warnings.simplefilter("ignore")
        with Image.open(path) as image:
            by_pillow = image.format not in _TENSORFLOW
            if by_pillow and image.mode not in _BYTES:
                raise ValueError(
                    f"values of mode {image.mode}, which are no bytes; save 8 bits"
                )
            size = image.height, image.width
            return Header(size, by_pillow, image.mode in _GREY or _has_greys(image))


def _has_greys(image):
    if image.mode != "P":
        return False
    palette = np.reshape(image.getpalette(), (-1, 3))
    return bool(np.all(palette == palette[:, :1]))


def _check_readable(broken):
    if broken:
        shown = [f"{str(path)!r} ({_short(error)})" for path, error in broken[:3]]
        more = f" and {len(broken) - 3} more" if len(broken) > 3 else ""
        raise ValueError(
            f"`path` must hold readable images only. Received: {', '.join(shown)}{more}"
            ". Replace or remove them."
        )


def _short(error):
    text = " ".join(str(error).split()) or type(error).__name__
    return text if len(text) < 100 else f"{text[:97]}..."


# === Pixels ===


def batches(paths, found, size, channels, batch_size):
    """Returns a `tf.data.Dataset` of images as float32 in [0, 1].

    Args:
        paths: List of paths.
        found: List with the `Header` of each.
        size: Tuple (height, width).
        channels: 1 or 3.
        batch_size: Integer.
    """
    files = [str(path) for path in paths], [header.by_pillow for header in found]
    pixels = tf.data.Dataset.from_tensor_slices(files).map(
        lambda path, by_pillow: _pixels(path, by_pillow, size, channels),
        tf.data.AUTOTUNE,
    )
    return steady(pixels.batch(batch_size).map(lambda batch: batch / 255).prefetch(1))


def read(paths, found, size, channels):
    """Returns the array of what `batches` yields.

    Raises:
        ValueError: With the names of files that cannot be decoded.
    """
    streamed = batches(paths, found, size, channels, 256)
    x = np.empty((len(paths), *size, channels), np.float32)
    try:
        for i, batch in enumerate(streamed.as_numpy_iterator()):
            x[256 * i : 256 * i + len(batch)] = batch
    except tf.errors.OpError:
        _check_readable(_undecodable(paths, found, channels))
        raise
    return x


def _undecodable(paths, found, channels):
    """Returns the files that cannot be decoded, with what was raised."""
    broken = []
    for path, header in zip(paths, found, strict=True):
        try:
            if header.by_pillow:
                _open(str(path), channels)
            else:
                tf.io.decode_image(tf.io.read_file(str(path)), channels)
        except Exception as error:
            # TensorFlow begins with the node of the graph.
            broken.append((path, str(error).rpartition("}} ")[2]))
    return broken


def _pixels(path, by_pillow, size, channels):
    """Returns an image as float32 of shape (*size, channels) from 0 to 255."""

    def decoded():
        content = tf.io.read_file(path)
        return tf.io.decode_image(content, channels, expand_animations=False)

    def opened():
        return tf.numpy_function(_open_or_empty, [path, channels], tf.uint8)

    image = tf.ensure_shape(tf.cond(by_pillow, opened, decoded), (None, None, channels))
    image = keras.preprocessing.image.smart_resize(image, size)
    return tf.ensure_shape(image, (*size, channels))


def _open(path, channels):
    from PIL import Image

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with Image.open(path) as image:
            values = np.asarray(image.convert("L" if channels == 1 else "RGB"))
    return values.reshape(*values.shape[:2], channels)


def _open_or_empty(path, channels):
    # TensorFlow prints what a function of Python raises; an empty image it refuses.
    try:
        return _open(path.decode(), channels)
    except Exception:
        return np.zeros((0, 0, channels), np.uint8)

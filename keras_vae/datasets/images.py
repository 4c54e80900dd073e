"""Folders of images."""

import functools
import os

import keras
import numpy as np
import tensorflow as tf

from keras_vae.datasets import splits


def image_folder(path, image_size=(64, 64), grayscale=False, batch_size=None):
    """Returns the PNG, JPEG, BMP and GIF images under a folder.

    `keras.utils.image_dataset_from_directory` reads the images in the order of their
    names. They are cropped around their centre to the aspect ratio of `image_size`,
    resized bilinearly and divided by 255.

    Args:
        path: Path of the folder; subfolders are searched too.
        image_size: Tuple (height, width). Defaults to (64, 64).
        grayscale: Boolean, whether to return one channel instead of three. Defaults
            to False.
        batch_size: Integer, for images that do not fit into memory; they are then read
            during training. Defaults to None.

    Returns:
        A float32 array of shape (n, height, width, channels) in [0, 1], or, with a
        `batch_size`, a `tf.data.Dataset` of such batches.

    Raises:
        ValueError: If the folder does not exist, has no images or a broken image.

    Example:
    >>> import os
    >>> os.makedirs("faces")
    >>> keras.utils.save_img("faces/one.png", np.zeros((48, 64, 3)))
    >>> kv.datasets.image_folder("faces", image_size=(32, 32)).shape
    (1, 32, 32, 3)
    """
    if not os.path.isdir(path):
        raise ValueError(
            f"`path` must be an existing folder. Received: path={str(path)!r}"
        )
    images = keras.utils.image_dataset_from_directory(
        str(path),
        labels=None,
        color_mode="grayscale" if grayscale else "rgb",
        batch_size=batch_size or 256,
        image_size=image_size,
        shuffle=False,
        crop_to_aspect_ratio=True,
        verbose=False,
    ).map(lambda batch: batch / 255)
    if batch_size is not None:
        return images
    try:
        return np.concatenate(list(images.as_numpy_iterator()))
    except tf.errors.InvalidArgumentError as error:
        raise ValueError(
            f"`path` must hold readable images only. Received: path={str(path)!r}, "
            f"and decoding failed: {error.message}"
        ) from error


def load(path, **kwargs):
    """Returns the `Dataset` of a folder."""
    return splits.hold_out(functools.partial(image_folder, path), **kwargs)

"""Images tiled into one image."""

import math

import numpy as np


def is_image(event_shape) -> bool:
    """Whether an event is drawn as an image.

    Args:
        event_shape: Tuple of integers, the shape of one example.

    Returns:
        True for (height, width), (height, width, 1) and (height, width, 3).

    Example:
        >>> kv.figures.is_image((28, 28, 1)), kv.figures.is_image((16,))
        (True, False)
    """
    if None in event_shape:
        return False
    return len(event_shape) == 2 or (len(event_shape) == 3 and event_shape[2] in (1, 3))


def image_grid(images, columns: int | None = None, padding: int = 1):
    """Tiles images row by row into one.

    Args:
        images: (N, height, width[, 1 or 3]) array in [0, 1]; values outside are
            clipped, and NaN is black.
        columns: Integer, images per row. Defaults to None: about the number of rows.
        padding: Integer, white pixels between images. Defaults to 1.

    Returns:
        (H, W, 1 or 3) uint8 array. Empty places of the last row are white.

    Raises:
        ValueError: If `images` is not a non-empty array of images.

    Example:
        >>> kv.figures.image_grid(np.zeros((6, 8, 8, 1)), columns=3).shape
        (17, 26, 1)
    """
    images = np.asarray(images)
    if not is_image(images.shape[1:]) or not images.size:
        raise ValueError(
            "`images` must be a non-empty array of shape (N, height, width[, 1 or 3]). "
            f"Received: images.shape={images.shape}"
        )
    if images.ndim == 3:
        images = images[..., None]
    number, height, width, channels = images.shape
    columns = min(columns or math.ceil(math.sqrt(number)), number)
    rows = math.ceil(number / columns)
    unit = np.clip(np.nan_to_num(images.astype(np.float32)), 0, 1)
    cells = np.full(
        (rows * columns, height + padding, width + padding, channels), 255, np.uint8
    )
    cells[:number, :height, :width] = np.rint(255 * unit)
    cells = cells.reshape(rows, columns, *cells.shape[1:]).swapaxes(1, 2)
    grid = cells.reshape(rows * (height + padding), -1, channels)
    return grid[: grid.shape[0] - padding, : grid.shape[1] - padding]

"""Colors, sizes and axes of all pictures, and their PNG files."""

import numpy as np

from keras_vae.files import replaced

BLUE, ORANGE, GREEN, PURPLE = "#2a6fbb", "#d9742b", "#3a8f5c", "#7a5ba8"
GREY = "#6b7280"
TITLE = {"loc": "left", "fontsize": 12, "fontweight": "bold", "pad": 8}
LABEL = {"fontsize": 10, "color": GREY}
LEGEND = {"frameon": False, "fontsize": 10}
# The width in inches, 1400 pixels at 100 per inch; margins as fractions of it.
WIDTH, LEFT, RIGHT = 14, 0.062, 0.98


def figure(height, width=WIDTH):
    """Returns an empty `matplotlib.figure.Figure` of a size in inches."""
    # Matplotlib takes a second to import, and most programs do not draw.
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    empty = Figure(figsize=(width, height), dpi=100, facecolor="white")
    FigureCanvasAgg(empty)
    return empty


def axes(figure, cell):
    """Adds axes without a frame in a cell of a grid."""
    added = figure.add_subplot(cell)
    added.spines[["top", "right"]].set_visible(False)
    added.tick_params(labelsize=9, color=GREY)
    return added


def titled(figure, cell, title):
    """Adds axes without a frame and with a title in a cell of a grid."""
    added = axes(figure, cell)
    added.set_title(title, **TITLE)
    return added


def save(figure, path):
    """Writes a PNG; the file appears complete or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with replaced(path) as partial:
        figure.savefig(partial, format="png")


def pixels(figure):
    """Returns a figure as an image.

    Args:
        figure: `matplotlib.figure.Figure`, such as of `rate_distortion`.

    Returns:
        (height, width, 3) uint8 array.

    Example:
        >>> figure = kv.figures.rate_distortion_path({})
        >>> kv.figures.pixels(figure).shape
        (460, 620, 3)
    """
    figure.canvas.draw()
    return np.array(figure.canvas.buffer_rgba())[..., :3]

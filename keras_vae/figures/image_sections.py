"""Sections of a page that draw events as images."""

import math

import numpy as np

from keras_vae.figures import drawing
from keras_vae.figures import pages
from keras_vae.figures import tiles


def reconstructions(originals, decoded):
    """Returns the section with data above their reconstructions."""
    number = min(len(originals), 16)
    pairs = np.concatenate([originals[:number], decoded[:number]])
    return _mosaic(
        "Data and its reconstructions",
        pairs,
        number,
        12.9,
        1.7,
        ["data", "decoded"],
    )


def samples(samples, across=None):
    """Returns the section with samples, in a square or so many in a row."""
    columns = across or math.ceil(math.sqrt(len(samples)))
    return _mosaic("Samples from the prior", samples, columns, 6.1, 5.4)


def traversals(traversals, names, limit):
    """Returns the section with one row for each traversed latent."""
    title = f"Traversals: one latent from \N{MINUS SIGN}{limit:g} to {limit:g}"
    events = traversals.reshape(-1, *traversals.shape[2:])
    return _mosaic(title, events, traversals.shape[1], 6.1, 5.4, names)


def by_weight(originals, reconstructions, samples, names):
    """Returns the sections with one row for each weight."""
    left = np.concatenate([originals[None], reconstructions])[:, :8]
    # The last data differ from the data on the left, if there are enough.
    others = originals[-samples.shape[1] :][:8]
    right = np.concatenate([others[None], samples[:, : len(others)]])
    halves = [
        _mosaic(title, rows.reshape(-1, *rows.shape[2:]), rows.shape[1], 6.1, 8, n)
        for title, rows, n in (
            ("Reconstructions of held-out data", left, ["data", *names]),
            ("Samples from the prior, below other data", right, ()),
        )
    ]
    return [pages.side_by_side(halves)]


def _mosaic(title, images, columns, width, max_height, row_names=()):
    def draw(figure, cell):
        _show(drawing.titled(figure, cell, title), images, columns, row_names)

    rows = math.ceil(len(images) / columns)
    height = width * rows * images.shape[1] / (columns * images.shape[2])
    return min(height, max_height), draw


def _show(axes, images, columns, row_names=()):
    grid = tiles.image_grid(images, columns)
    axes.imshow(grid.squeeze(-1) if grid.shape[-1] == 1 else grid, cmap="gray")
    axes.set_anchor("NW")
    axes.spines[:].set_visible(False)
    height = images.shape[1] + 1
    centres = height * np.arange(len(row_names)) + height / 2 - 1
    axes.set_xticks([])
    axes.set_yticks(centres, row_names, fontsize=11)
    axes.tick_params(length=0)

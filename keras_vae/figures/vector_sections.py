"""Sections of a page that draw events as lines over their index."""

import math

import numpy as np

from keras_vae.figures import drawing


def reconstructions(originals, decoded):
    """Returns the section with data and their reconstructions."""

    def draw(figure, cell):
        grid = cell.subgridspec(1, number, wspace=0.08)
        axes = [drawing.axes(figure, grid[i]) for i in range(number)]
        for axis, data, mean in zip(axes, originals, decoded, strict=False):
            axis.plot(data.ravel(), color=drawing.GREY, lw=1.2, label="data")
            axis.plot(mean.ravel(), color=drawing.ORANGE, lw=1.4, label="decoded")
        _share_y(axes, columns=number)
        axes[0].set_title("Data and its reconstructions, by index", **drawing.TITLE)
        corner = {"loc": "lower right", "bbox_to_anchor": (1.03, 1)}
        axes[-1].legend(**drawing.LEGEND, **corner, ncols=2)

    number = min(len(originals), 8)
    return 1.7, draw


def samples(samples):
    """Returns the section with all samples and their mean."""

    def draw(figure, cell):
        axes = drawing.titled(figure, cell, "Samples from the prior, by index")
        lines = samples.reshape(len(samples), -1).T
        axes.plot(lines, color=drawing.BLUE, lw=0.8, alpha=0.35)
        axes.plot(lines.mean(axis=1), color="black", lw=1.6, label="their mean")
        axes.legend(**drawing.LEGEND)

    return 2.7, draw


def traversals(traversals, names, limit):
    """Returns the section with axes for each traversed latent."""

    def draw(figure, cell):
        from matplotlib import colormaps

        grid = cell.subgridspec(rows, columns, wspace=0.06, hspace=0.12)
        colors = colormaps["coolwarm"](np.linspace(0, 1, traversals.shape[1]))
        axes = []
        for i, (unit, name) in enumerate(zip(traversals, names, strict=True)):
            axes.append(drawing.axes(figure, grid[i // columns, i % columns]))
            for event, color in zip(unit, colors, strict=True):
                axes[i].plot(event.ravel(), color=color, lw=1.1)
            corner = {"xy": (0.02, 0.96), "xycoords": "axes fraction", "va": "top"}
            axes[i].annotate(name, **corner, fontsize=12)
            axes[i].tick_params(labelbottom=i + columns >= len(names))
        _share_y(axes, columns)
        axes[0].set_title(
            f"Traversals: one latent from \N{MINUS SIGN}{limit:g} (blue) to "
            f"{limit:g} (red)",
            **drawing.TITLE,
        )

    columns = min(len(names), 2)
    rows = math.ceil(len(names) / columns)
    return 1.35 * rows, draw


def by_weight(originals, reconstructions, samples, names):
    """Returns one section for each weight."""
    return [
        _weight(originals, decoded, drawn, name)
        for decoded, drawn, name in zip(reconstructions, samples, names, strict=True)
    ]


def _weight(originals, decoded, drawn, name):
    def draw(figure, cell):
        grid = cell.subgridspec(1, 2, wspace=0.13)
        axes = [drawing.axes(figure, grid[i]) for i in range(2)]
        data = originals.reshape(len(originals), -1).T
        means = decoded.reshape(len(decoded), -1).T
        axes[0].plot(data[:, :3], color=drawing.GREY, lw=1.2)
        axes[0].plot(means[:, :3], color=drawing.ORANGE, lw=1.4)
        axes[0].set_title(f"{name}: data (grey), decoded (orange)", **drawing.TITLE)
        axes[1].plot(data, color=drawing.GREY, lw=0.6, alpha=0.3)
        lines = drawn.reshape(len(drawn), -1).T
        axes[1].plot(lines, color=drawing.BLUE, lw=0.6, alpha=0.5)
        axes[1].set_title(f"{name}: data (grey), samples (blue)", **drawing.TITLE)
        _share_y(axes, columns=2)

    return 1.5, draw


def _share_y(axes, columns):
    low = min(axis.get_ylim()[0] for axis in axes)
    high = max(axis.get_ylim()[1] for axis in axes)
    for i, axis in enumerate(axes):
        axis.set_ylim(low, high)
        axis.tick_params(labelleft=i % columns == 0)

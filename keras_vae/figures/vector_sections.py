"""Sections of a page that draw events as lines over their index or their columns."""

import math

import numpy as np

from keras_vae.figures import drawing

# Letters of a name, and inches that it takes beside the next one.
_LETTERS, _PITCH = 10, 0.13
# Inches below the axes for names.
_ROOM = 0.45


def reconstructions(originals, decoded, columns=None):
    """Returns the section with data and their reconstructions."""

    def draw(figure, cell):
        grid = cell.subgridspec(1, number, wspace=0.08)
        axes = [drawing.axes(figure, grid[i]) for i in range(number)]
        for axis, data, mean in zip(axes, originals, decoded, strict=False):
            axis.plot(data.ravel(), color=drawing.GREY, lw=1.2, label="data")
            axis.plot(mean.ravel(), color=drawing.ORANGE, lw=1.4, label="decoded")
        _share_y(axes, number)
        _name(axes, columns)
        title = f"Data and its reconstructions, by {_axis(columns)}"
        axes[0].set_title(title, **drawing.TITLE)
        corner = {"loc": "lower right", "bbox_to_anchor": (1.03, 1)}
        axes[-1].legend(**drawing.LEGEND, **corner, ncols=2)

    number = min(len(originals), 8)
    return _section(1.7, draw, columns)


def samples(samples, columns=None):
    """Returns the section with all samples and their mean."""

    def draw(figure, cell):
        title = f"Samples from the prior, by {_axis(columns)}"
        axes = drawing.titled(figure, cell, title)
        lines = samples.reshape(len(samples), -1).T
        axes.plot(lines, color=drawing.BLUE, lw=0.8, alpha=0.35)
        axes.plot(lines.mean(axis=1), color="black", lw=1.6, label="their mean")
        axes.legend(**drawing.LEGEND)
        _name([axes], columns)

    return _section(2.7, draw, columns)


def traversals(traversals, names, limit, columns=None):
    """Returns the section with axes for each traversed latent."""

    def draw(figure, cell):
        from matplotlib import colormaps

        grid = cell.subgridspec(rows, across, wspace=0.06, hspace=0.12)
        colors = colormaps["coolwarm"](np.linspace(0, 1, traversals.shape[1]))
        axes = []
        for i, (unit, name) in enumerate(zip(traversals, names, strict=True)):
            axes.append(drawing.axes(figure, grid[i // across, i % across]))
            for event, color in zip(unit, colors, strict=True):
                axes[i].plot(event.ravel(), color=color, lw=1.1)
            corner = {"xy": (0.02, 0.96), "xycoords": "axes fraction", "va": "top"}
            axes[i].annotate(name, **corner, fontsize=12)
            axes[i].tick_params(labelbottom=i + across >= len(names))
        _share_y(axes, across)
        _name(axes, columns)
        axes[0].set_title(
            f"Traversals: one latent from \N{MINUS SIGN}{limit:g} (blue) to "
            f"{limit:g} (red)",
            **drawing.TITLE,
        )

    across = min(len(names), 2)
    rows = math.ceil(len(names) / across)
    return _section(1.35 * rows, draw, columns)


def by_weight(originals, reconstructions, samples, names, columns=None):
    """Returns one section for each weight."""
    return [
        _weight(originals, decoded, drawn, name, columns)
        for decoded, drawn, name in zip(reconstructions, samples, names, strict=True)
    ]


def _weight(originals, decoded, drawn, name, columns):
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
        _share_y(axes, 2)
        _name(axes, columns)

    return _section(1.5, draw, columns)


def _section(height, draw, columns):
    """Returns a section, with room for names below axes of a height in inches."""
    if columns is None:
        return height, draw

    def draw_above_names(figure, cell):
        ratios = {"height_ratios": (height, _ROOM), "hspace": 0}
        draw(figure, cell.subgridspec(2, 1, **ratios)[0])

    return height + _ROOM, draw_above_names


def _axis(columns):
    return "index" if columns is None else "column"


def _name(axes, columns):
    """Names the columns on axes of one size, all or evenly many of them."""
    if columns is None:
        return
    inches = axes[0].get_window_extent().width / axes[0].figure.dpi
    step = math.ceil(len(columns) * _PITCH / inches)
    places = range(0, len(columns), step)
    texts = [
        name
        if len(name) <= _LETTERS
        else f"{name[: _LETTERS - 1]}\N{HORIZONTAL ELLIPSIS}"
        for name in (columns[i] for i in places)
    ]
    for axis in axes:
        # A dollar sign would begin a formula.
        axis.set_xticks(places, texts, rotation=90, fontsize=7, parse_math=False)


def _share_y(axes, across):
    low = min(axis.get_ylim()[0] for axis in axes)
    high = max(axis.get_ylim()[1] for axis in axes)
    for i, axis in enumerate(axes):
        axis.set_ylim(low, high)
        axis.tick_params(labelleft=i % across == 0)

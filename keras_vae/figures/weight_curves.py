"""Curves of a model's rate, distortion, ELBO and active units over the KL weight."""

import pathlib

import numpy as np

from keras_vae.figures import drawing

_COLORS = (drawing.BLUE, drawing.ORANGE, drawing.GREEN, drawing.PURPLE)
_TITLES = (
    "Distortion over rate; numbers are beta",
    "What the data cost",
    "Active units",
)
_FORECAST = "Linear VAE, forecast"


def rate_distortion(curves: dict, path=None, forecast=None):
    """Draws rate-distortion curves: the plane, -ELBO and active units over beta.

    Args:
        curves: Dict, names to dicts of (points,) arrays: `beta`, `rate`, `distortion`,
            `negative_elbo`, `active_units` and optionally `negative_log_likelihood`.
            Optional arrays `<name>_low` and `<name>_high` of each are drawn as error
            bars. A name may be empty.
        path: String or path, a PNG to write, or None. Defaults to None.
        forecast: Dict of such arrays, as of `linear_forecast`, drawn dashed below all
            others, or None. Defaults to None.

    Returns:
        A `matplotlib.figure.Figure` of three panels.

    Example:
        >>> points = {name: np.array([1.0, 2.0]) for name in ("beta", "rate")}
        >>> points |= {"distortion": np.array([9.0, 5.0]), "active_units": [2, 1]}
        >>> points["negative_elbo"] = points["rate"] + points["distortion"]
        >>> len(kv.figures.rate_distortion({"": points}).axes)
        3
    """
    figure = drawing.figure(4.6)
    sides = {"left": drawing.LEFT, "right": drawing.RIGHT, "bottom": 0.14}
    grid = figure.add_gridspec(1, 3, wspace=0.22, **sides)
    panels = [drawing.titled(figure, grid[i], text) for i, text in enumerate(_TITLES)]
    for i, (name, columns) in enumerate(curves.items()):
        _draw_curve(*panels, name, columns, _COLORS[i % len(_COLORS)])
    if forecast is not None:
        _draw_forecast(*panels, forecast)
    _finish(*panels)
    if path is not None:
        drawing.save(figure, pathlib.Path(path))
    return figure


def _draw_curve(plane, bound, units, name, columns, color):
    _draw_points(plane, columns, "rate", "distortion", color, "-", name)
    for j in np.unique(np.linspace(0, len(columns["beta"]) - 1, 5, dtype=int)):
        place = columns["rate"][j], columns["distortion"][j]
        offset = {"xytext": (5, 5), "textcoords": "offset points"}
        text = f"{columns['beta'][j]:.3g}"
        plane.annotate(text, place, **offset, fontsize=9, color=color)
    label = f"{name}, " if name else ""
    elbo = f"{label}\N{MINUS SIGN}ELBO"
    _draw_points(bound, columns, "beta", "negative_elbo", color, "-", elbo)
    if "negative_log_likelihood" in columns:
        nll = f"{label}\N{MINUS SIGN}log p(x)"
        likelihood = "negative_log_likelihood"
        _draw_points(bound, columns, "beta", likelihood, color, "--", nll)
    _draw_points(units, columns, "beta", "active_units", color, "-", name)


def _draw_forecast(plane, bound, units, columns):
    look = {"color": drawing.GREY, "lw": 1.2, "ls": (0, (5, 3)), "zorder": 1}
    low, high = bound.get_ylim()
    for axes, across, up in (
        (plane, "rate", "distortion"),
        (bound, "beta", "negative_elbo"),
        (units, "beta", "active_units"),
    ):
        axes.plot(columns[across], columns[up], label=_FORECAST, **look)
    # At small weights it may be so high that nothing else could be read.
    bound.set_ylim(min(low, np.min(columns["negative_elbo"])), high)


def _draw_points(axes, columns, across, up, color, style, name):
    look = {"color": color, "lw": 1.5, "marker": "o", "markersize": 4}
    # Matplotlib omits labels with a leading underscore from the legend.
    axes.plot(columns[across], columns[up], style, label=name or "_curve", **look)
    for key, size in ((up, "yerr"), (across, "xerr")):
        if f"{key}_low" in columns:
            low, high = columns[f"{key}_low"], columns[f"{key}_high"]
            # With few examples a mean may lie outside its percentiles.
            errors = np.maximum([columns[key] - low, high - columns[key]], 0)
            place = columns[across], columns[up]
            axes.errorbar(*place, **{size: errors}, fmt="none", ecolor=color, alpha=0.5)


def _finish(plane, bound, units):
    from matplotlib.ticker import MaxNLocator

    plane.set_xlabel("rate, nats", **drawing.LABEL)
    plane.set_ylabel("distortion, nats", **drawing.LABEL)
    bound.set_ylabel("nats", **drawing.LABEL)
    for axes in (bound, units):
        axes.set_xscale("log")
        axes.set_xlabel("beta", **drawing.LABEL)
    units.set_ylim(bottom=0)
    units.yaxis.set_major_locator(MaxNLocator(integer=True))
    for axes in (plane, bound, units):
        axes.grid(alpha=0.25)
        if any(not line.get_label().startswith("_") for line in axes.get_lines()):
            axes.legend(**drawing.LEGEND)

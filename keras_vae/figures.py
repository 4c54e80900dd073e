"""Pictures of what a model has learnt, drawn without a display or global state."""

import math
import os
import pathlib

import numpy as np

_BLUE, _ORANGE, _GREEN, _PURPLE = "#2a6fbb", "#d9742b", "#3a8f5c", "#7a5ba8"
_GREY = "#6b7280"
_TITLE = {"loc": "left", "fontsize": 12, "fontweight": "bold", "pad": 8}
_LABEL = {"fontsize": 10, "color": _GREY}
_LEGEND = {"frameon": False, "fontsize": 10}
# Inches, and fractions of the width: 1400 pixels at 100 per inch.
_WIDTH, _HEADER, _GAP = 14, 1.2, 0.62
_LEFT, _RIGHT = 0.062, 0.98


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
    return len(event_shape) == 2 or (len(event_shape) == 3 and event_shape[2] in (1, 3))


def image_grid(images, columns: int | None = None, padding: int = 1):
    """Tiles images row by row into one.

    Args:
        images: (N, height, width[, 1 or 3]) array in [0, 1]; what lies outside is
            clipped, and NaN is black.
        columns: Integer, images in a row. Defaults to None: about as many as rows.
        padding: Integer, white pixels between images. Defaults to 1.

    Returns:
        (H, W, 1 or 3) uint8 array; where images are missing in the last row it is
        white.

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


def traversal(latent_dim: int, num_steps: int = 9, limit: float = 2.5, dims=None):
    """Latents that move along one axis of a standard normal prior at a time.

    Args:
        latent_dim: Integer, the number of latent units.
        num_steps: Integer, latents per unit. Defaults to 9.
        limit: Float, each unit moves from -limit to limit while the others are 0.
            Defaults to 2.5.
        dims: List of integers, the units that move. Defaults to None: all.

    Returns:
        (len(dims) * num_steps, latent_dim) float32 array, one unit after the other.

    Raises:
        ValueError: If a number in `dims` is not a unit.

    Example:
        >>> kv.figures.traversal(2, num_steps=3, limit=1.0, dims=[1]).tolist()
        [[0.0, -1.0], [0.0, 0.0], [0.0, 1.0]]
    """
    dims = np.arange(latent_dim) if dims is None else np.asarray(dims, int)
    if ((dims < 0) | (dims >= latent_dim)).any():
        raise ValueError(
            f"`dims` must be units of the {latent_dim} latent ones. Received: "
            f"dims={dims.tolist()}"
        )
    latents = np.zeros((len(dims), num_steps, latent_dim), np.float32)
    latents[np.arange(len(dims)), :, dims] = np.linspace(-limit, limit, num_steps)
    return latents.reshape(-1, latent_dim)


def training_report(
    path,
    originals,
    reconstructions,
    samples,
    traversals,
    history: dict,
    *,
    title: str = "Training report",
    dims=None,
    limit: float = 2.5,
):
    """Writes one PNG that shows what a model learnt and how its training went.

    Data over its reconstructions, samples from the prior and latent traversals; below
    them distortion, rate and KL weight over the epochs. Events that are no images are
    drawn as lines over the index of the flattened event. The file appears complete or
    not at all.

    Args:
        path: String or path, the PNG to write; its directory is made if need be.
        originals: (N, *event) array, images in [0, 1]. The first 16 images or 8 vectors
            are drawn.
        reconstructions: (N, *event) array, the decoded `originals`.
        samples: (M, *event) array, decoded draws from the prior, of which the first 64
            are drawn; or None.
        traversals: (units, steps, *event) array, the decoded `traversal`, of which the
            first 8 units are drawn; or None.
        history: Dict of lists, one number per epoch, as `fit(...).history`: any of
            `reconstruction_loss`, `kl_loss`, `negative_elbo` in nats, `kl_weight`, and
            the same with `val_` in front. Other keys are ignored.
        title: String, the heading. Defaults to "Training report".
        dims: List of integers, the units of `traversals`. Defaults to None: the first.
        limit: Float, the `limit` of the traversal. Defaults to 2.5.

    Raises:
        ValueError: If `originals` and `reconstructions` differ in shape.

    Example:
        >>> x = np.random.default_rng(0).uniform(size=(8, 8, 8, 1))
        >>> history = {"kl_loss": [1.0, 3.0], "val_kl_loss": [1.5, 3.5]}
        >>> kv.figures.training_report("report.png", x, x, x, x[None], history)
    """
    # Matplotlib takes a second to import, and a program may never draw.
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    originals, reconstructions = np.asarray(originals), np.asarray(reconstructions)
    if originals.shape != reconstructions.shape:
        raise ValueError(
            "`reconstructions` must have the shape of `originals`. Received: "
            f"reconstructions.shape={reconstructions.shape}, "
            f"originals.shape={originals.shape}"
        )
    history = {key: list(values) for key, values in history.items()}
    draw = _Images if is_image(originals.shape[1:]) else _Vectors
    sections = [draw.reconstructions(originals, reconstructions)]
    examples = []
    if samples is not None:
        examples.append(draw.samples(np.asarray(samples)[:64]))
    if traversals is not None:
        traversals = np.asarray(traversals)[:8]
        dims = range(len(traversals)) if dims is None else dims
        names = [f"$z_{{{dim}}}$" for dim in dims][:8]
        examples.append(draw.traversals(traversals, names, limit))
    if examples:
        sections.append(_side_by_side(examples))
    panels = [panel for panel in _PANELS if any(history.get(c[0]) for c in panel[2])]
    if panels:
        sections.append(
            (3.1, lambda figure, cell: _curves(figure, cell, panels, history))
        )

    heights = [height for height, _ in sections]
    inches = _HEADER + sum(heights) + _GAP * len(heights)
    figure = Figure(figsize=(_WIDTH, inches), dpi=100, facecolor="white")
    FigureCanvasAgg(figure)
    figure.text(_LEFT, 1 - 0.42 / inches, title, fontsize=18, weight="bold")
    figure.text(_LEFT, 1 - 0.68 / inches, _summary(history), fontsize=11.5, color=_GREY)
    cells = figure.add_gridspec(
        nrows=len(sections),
        ncols=1,
        height_ratios=heights,
        hspace=_GAP * len(heights) / sum(heights),
        left=_LEFT,
        right=_RIGHT,
        top=1 - _HEADER / inches,
        bottom=_GAP / inches,
    )
    for i, (_, section) in enumerate(sections):
        section(figure, cells[i])
    _save(figure, pathlib.Path(path))


def rate_distortion(curves: dict, path=None):
    """Draws rate-distortion curves: the plane, -ELBO and active units over beta.

    Args:
        curves: Dict, names to dicts of (points,) arrays: `beta`, `rate`, `distortion`,
            `negative_elbo`, `active_units`, and perhaps `negative_log_likelihood`; of
            each of these perhaps also `<name>_low` and `<name>_high`, drawn as bars.
            A name may be empty.
        path: String or path, a PNG to write, or None. Defaults to None.

    Returns:
        A `matplotlib.figure.Figure` of three panels.

    Example:
        >>> points = {name: np.array([1.0, 2.0]) for name in ("beta", "rate")}
        >>> points |= {"distortion": np.array([9.0, 5.0]), "active_units": [2, 1]}
        >>> points["negative_elbo"] = points["rate"] + points["distortion"]
        >>> len(kv.figures.rate_distortion({"": points}).axes)
        3
    """
    # As above.
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    figure = Figure(figsize=(_WIDTH, 4.6), dpi=100, facecolor="white")
    FigureCanvasAgg(figure)
    grid = figure.add_gridspec(1, 3, wspace=0.22, left=_LEFT, right=_RIGHT, bottom=0.14)
    plane = _titled(figure, grid[0], "Distortion over rate; numbers are beta")
    bound = _titled(figure, grid[1], "What the data cost")
    units = _titled(figure, grid[2], "Active units")
    colors = (_BLUE, _ORANGE, _GREEN, _PURPLE)
    for i, (name, columns) in enumerate(curves.items()):
        color = colors[i % len(colors)]
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
    plane.set_xlabel("rate, nats", **_LABEL)
    plane.set_ylabel("distortion, nats", **_LABEL)
    bound.set_ylabel("nats", **_LABEL)
    for axes in (bound, units):
        axes.set_xscale("log")
        axes.set_xlabel("beta", **_LABEL)
    units.set_ylim(bottom=0)
    units.yaxis.set_major_locator(MaxNLocator(integer=True))
    for axes in (plane, bound, units):
        axes.grid(alpha=0.25)
        if any(not line.get_label().startswith("_") for line in axes.get_lines()):
            axes.legend(**_LEGEND)
    if path is not None:
        _save(figure, pathlib.Path(path))
    return figure


def _draw_points(axes, columns, across, up, color, style, name):
    look = {"color": color, "lw": 1.5, "marker": "o", "markersize": 4}
    # Matplotlib leaves labels that begin so out of the legend.
    axes.plot(columns[across], columns[up], style, label=name or "_curve", **look)
    for key, size in ((up, "yerr"), (across, "xerr")):
        if f"{key}_low" in columns:
            low, high = columns[f"{key}_low"], columns[f"{key}_high"]
            # A mean may lie outside of its percentiles where examples are few.
            errors = np.maximum([columns[key] - low, high - columns[key]], 0)
            place = columns[across], columns[up]
            axes.errorbar(*place, **{size: errors}, fmt="none", ecolor=color, alpha=0.5)


def _side_by_side(examples):
    def draw(figure, cell):
        # Two columns even for one, so that examples have one size in all reports.
        columns = cell.subgridspec(1, 2, wspace=0.13)
        for i, (_, section) in enumerate(examples):
            section(figure, columns[i])

    return max(height for height, _ in examples), draw


# === Events ===


# Each method returns a height in inches and a function that draws into a grid cell.


class _Images:
    """Events drawn as images."""

    @staticmethod
    def reconstructions(originals, decoded):
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

    @staticmethod
    def samples(samples):
        columns = math.ceil(math.sqrt(len(samples)))
        return _mosaic("Samples from the prior", samples, columns, 6.1, 5.4)

    @staticmethod
    def traversals(traversals, names, limit):
        title = f"Traversals: one latent from \N{MINUS SIGN}{limit:g} to {limit:g}"
        events = traversals.reshape(-1, *traversals.shape[2:])
        return _mosaic(title, events, traversals.shape[1], 6.1, 5.4, names)


class _Vectors:
    """Events drawn as lines over their index."""

    @staticmethod
    def reconstructions(originals, decoded):
        def draw(figure, cell):
            grid = cell.subgridspec(1, number, wspace=0.08)
            axes = [_axes(figure, grid[i]) for i in range(number)]
            for axis, data, mean in zip(axes, originals, decoded, strict=False):
                axis.plot(data.ravel(), color=_GREY, lw=1.2, label="data")
                axis.plot(mean.ravel(), color=_ORANGE, lw=1.4, label="decoded")
            _share_y(axes, columns=number)
            axes[0].set_title("Data and its reconstructions, by index", **_TITLE)
            corner = {"loc": "lower right", "bbox_to_anchor": (1.03, 1)}
            axes[-1].legend(**_LEGEND, **corner, ncols=2)

        number = min(len(originals), 8)
        return 1.7, draw

    @staticmethod
    def samples(samples):
        def draw(figure, cell):
            axes = _titled(figure, cell, "Samples from the prior, by index")
            lines = samples.reshape(len(samples), -1).T
            axes.plot(lines, color=_BLUE, lw=0.8, alpha=0.35)
            axes.plot(lines.mean(axis=1), color="black", lw=1.6, label="their mean")
            axes.legend(**_LEGEND)

        return 2.7, draw

    @staticmethod
    def traversals(traversals, names, limit):
        def draw(figure, cell):
            from matplotlib import colormaps

            grid = cell.subgridspec(rows, columns, wspace=0.06, hspace=0.12)
            colors = colormaps["coolwarm"](np.linspace(0, 1, traversals.shape[1]))
            axes = []
            for i, (unit, name) in enumerate(zip(traversals, names, strict=True)):
                axes.append(_axes(figure, grid[i // columns, i % columns]))
                for event, color in zip(unit, colors, strict=True):
                    axes[i].plot(event.ravel(), color=color, lw=1.1)
                corner = {"xy": (0.02, 0.96), "xycoords": "axes fraction", "va": "top"}
                axes[i].annotate(name, **corner, fontsize=12)
                axes[i].tick_params(labelbottom=i + columns >= len(names))
            _share_y(axes, columns)
            axes[0].set_title(
                f"Traversals: one latent from \N{MINUS SIGN}{limit:g} (blue) to "
                f"{limit:g} (red)",
                **_TITLE,
            )

        columns = min(len(names), 2)
        rows = math.ceil(len(names) / columns)
        return 1.35 * rows, draw


def _mosaic(title, images, columns, width, max_height, row_names=()):
    def draw(figure, cell):
        _show(_titled(figure, cell, title), images, columns, row_names)

    rows = math.ceil(len(images) / columns)
    height = width * rows * images.shape[1] / (columns * images.shape[2])
    return min(height, max_height), draw


def _show(axes, images, columns, row_names=()):
    grid = image_grid(images, columns)
    axes.imshow(grid.squeeze(-1) if grid.shape[-1] == 1 else grid, cmap="gray")
    axes.set_anchor("NW")
    axes.spines[:].set_visible(False)
    height = images.shape[1] + 1
    centres = height * np.arange(len(row_names)) + height / 2 - 1
    axes.set_xticks([])
    axes.set_yticks(centres, row_names, fontsize=11)
    axes.tick_params(length=0)


def _share_y(axes, columns):
    low = min(axis.get_ylim()[0] for axis in axes)
    high = max(axis.get_ylim()[1] for axis in axes)
    for i, axis in enumerate(axes):
        axis.set_ylim(low, high)
        axis.tick_params(labelleft=i % columns == 0)


# === Curves ===

# (title, unit, [(key, name, colour)])
_PANELS = (
    (
        "Negative ELBO and distortion",
        "nats",
        (
            ("negative_elbo", "\N{MINUS SIGN}ELBO", _BLUE),
            ("reconstruction_loss", "distortion", _ORANGE),
        ),
    ),
    ("Rate (KL)", "nats", (("kl_loss", "rate", _GREEN),)),
    ("KL weight", "", (("kl_weight", "KL weight", _PURPLE),)),
)


def _curves(figure, cell, panels, history):
    grid = cell.subgridspec(1, len(_PANELS), wspace=0.2)
    for i, (title, unit, curves) in enumerate(panels):
        axes = _titled(figure, grid[i], title)
        for key, name, color in curves:
            _draw_curve(axes, history.get(key, ()), name, color, "-")
            # A schedule is no measurement: validation uses the same weight.
            if unit:
                validation = history.get(f"val_{key}", ())
                _draw_curve(axes, validation, f"{name}, validation", color, "--")
        _finish_curves(axes, unit)


def _draw_curve(axes, values, name, color, style):
    if len(values):
        epochs = np.arange(1, len(values) + 1)
        # A line needs two points to be seen.
        marker = "o" if len(values) < 10 else None
        axes.plot(epochs, values, style, color=color, label=name, lw=1.7, marker=marker)


def _finish_curves(axes, unit):
    from matplotlib.ticker import MaxNLocator

    curves = [np.asarray(line.get_ydata(), float) for line in axes.get_lines()]
    epochs = max(map(len, curves))
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_xlim(max(0.5, 1 - 0.03 * epochs), 1.03 * epochs + 0.01)
    axes.set_ylim(*_limits(curves))
    if not unit:
        axes.set_ylim(bottom=0)
    axes.set_xlabel("epoch", **_LABEL)
    axes.set_ylabel(unit, **_LABEL)
    axes.grid(alpha=0.25)
    if len(curves) > 1:
        axes.legend(**_LEGEND)


def _limits(curves):
    """Returns limits that the first epochs, if far above the others, do not stretch."""
    everything = np.concatenate(curves)
    later = np.concatenate([curve[len(curve) // 20 :] for curve in curves])
    low, high = _range(everything)
    usual = _range(later)[1]
    if high - low > 3 * (usual - low) > 0:
        high = usual
    margin = 0.06 * (high - low) or 0.06 * abs(high) or 0.06
    return low - margin, high + margin


def _range(values):
    values = values[np.isfinite(values)]
    return (values.min(), values.max()) if values.size else (0.0, 0.0)


def _summary(history):
    prefix = "val_" if history.get("val_negative_elbo") else ""
    parts = [
        f"{name} {history[prefix + key][-1]:.4g} nats"
        for key, name in (
            ("negative_elbo", "\N{MINUS SIGN}ELBO"),
            ("reconstruction_loss", "distortion"),
            ("kl_loss", "rate"),
        )
        if history.get(prefix + key)
    ]
    epochs = max(map(len, history.values()), default=0)
    where = "validation" if prefix else "training"
    number = "1 epoch" if epochs == 1 else f"{epochs} epochs"
    return number + (f"; last {where}: {', '.join(parts)}" if parts else "")


# === Drawing ===


def _axes(figure, cell):
    axes = figure.add_subplot(cell)
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(labelsize=9, color=_GREY)
    return axes


def _titled(figure, cell, title):
    axes = _axes(figure, cell)
    axes.set_title(title, **_TITLE)
    return axes


def _save(figure, path):
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        figure.savefig(unfinished, format="png")
        os.replace(unfinished, path)
    finally:
        unfinished.unlink(missing_ok=True)

"""The way of a training run through the plane of rate and distortion."""

import numpy as np

from keras_vae.figures import drawing

_SIDES = {"left": 0.13, "right": 0.9, "bottom": 0.12, "top": 0.9}
_COLUMNS = {"width_ratios": (30, 1), "wspace": 0.05}
_STYLES = (("", "-", "o"), ("val_", "--", "s"))
# Early epochs may lie so far away that the others cannot be told apart.
_TAIL = 0.05


def rate_distortion_path(history: dict):
    """Draws distortion over rate, a point for each epoch, later ones brighter.

    Args:
        history: Dict of lists, one number per epoch, as `fit(...).history`: `kl_loss`
            and `reconstruction_loss` in nats, and the same with the prefix `val_`.
            Other keys are ignored.

    Returns:
        A `matplotlib.figure.Figure`; `pixels` makes an array of it.

    Example:
        >>> rates, distortions = [1.0, 4.0, 6.0], [90.0, 80.0, 75.0]
        >>> history = {"kl_loss": rates, "reconstruction_loss": distortions}
        >>> axes = kv.figures.rate_distortion_path(history).axes[0]
        >>> axes.get_lines()[0].get_xdata().tolist()
        [1.0, 4.0, 6.0]
    """
    from matplotlib.ticker import MaxNLocator

    figure = drawing.figure(4.6, 6.2)
    grid = figure.add_gridspec(1, 2, **_SIDES, **_COLUMNS)
    axes = drawing.titled(figure, grid[0], "Distortion over rate, by epoch")
    points = None
    for prefix, style, marker in _STYLES:
        rate = np.asarray(history.get(f"{prefix}kl_loss", ()), float)
        distortion = np.asarray(history.get(f"{prefix}reconstruction_loss", ()), float)
        if not len(rate) or len(rate) != len(distortion):
            continue
        name = "validation" if prefix else "training"
        look = {"color": drawing.GREY, "lw": 0.9, "marker": marker, "markersize": 4}
        axes.plot(rate, distortion, style, **look, label=name)
        epochs = np.arange(1, len(rate) + 1)
        look = {"c": epochs, "cmap": "viridis", "marker": marker, "s": 22, "zorder": 3}
        points = axes.scatter(rate, distortion, **look)
    axes.set_xlabel("rate, nats", **drawing.LABEL)
    axes.set_ylabel("distortion, nats", **drawing.LABEL)
    axes.grid(alpha=0.25)
    if points is not None:
        _limit(axes)
        bar = figure.colorbar(points, cax=figure.add_subplot(grid[1]))
        bar.set_label("epoch", **drawing.LABEL)
        bar.locator = MaxNLocator(integer=True)
        axes.legend(**drawing.LEGEND)
    return figure


def _limit(axes):
    """Leaves first epochs outside that lie far from all others."""
    lines = axes.get_lines()
    for values, set_limits in (
        ([line.get_xdata() for line in lines], axes.set_xlim),
        ([line.get_ydata() for line in lines], axes.set_ylim),
    ):
        later = np.concatenate([v[round(_TAIL * len(v)) :] for v in values])
        later = later[np.isfinite(later)]
        if later.size:
            low, high = later.min(), later.max()
            margin = 0.08 * (high - low) or 0.08 * abs(high) or 0.08
            set_limits(low - margin, high + margin)

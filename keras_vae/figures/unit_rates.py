"""The KL of each unit in the course of training."""

import math

import numpy as np

from keras_vae.figures import drawing

# Most epochs that are written below the axis.
_TICKS = 8
_SIDES = {"left": 0.16, "right": 0.88, "bottom": 0.13, "top": 0.9}


def unit_rates(rates, sizes: dict, epochs=None):
    """Draws a heat map of the KL of each unit over time, the latents apart.

    Args:
        rates: (times, units) array, the KL of each unit in nats.
        sizes: Dict, names of the latents to their numbers of units, in the order of
            `rates`; the first one is drawn at the bottom.
        epochs: List of integers, the epochs at which the rates were measured, or None
            for 1, 2 and so on. They are equally wide, whatever lies between them.

    Returns:
        A `matplotlib.figure.Figure`; `pixels` makes an array of it.

    Raises:
        ValueError: If the sizes do not add up to the units, or a time has no epoch.

    Example:
        >>> figure = kv.figures.unit_rates([[0.1, 2.0, 0.0]], {"level_1": 2, "top": 1})
        >>> [label.get_text() for label in figure.axes[0].get_yticklabels()]
        ['level_1', 'top']
    """
    rates = np.asarray(rates, float)
    if rates.ndim != 2 or sum(sizes.values()) != rates.shape[1]:
        raise ValueError(
            "`sizes` must add up to the units of `rates`, (times, units). Received: "
            f"sizes={sizes}, rates.shape={rates.shape}"
        )
    epochs = range(1, len(rates) + 1) if epochs is None else epochs
    if len(epochs) != len(rates):
        raise ValueError(
            "`epochs` must have one number for each row of `rates`. Received: "
            f"{len(epochs)} epochs, rates.shape={rates.shape}"
        )
    figure = drawing.figure(4.6, 7.2)
    grid = figure.add_gridspec(1, 1, **_SIDES)
    axes = drawing.titled(figure, grid[0], "KL of each unit")
    extent = (0.5, len(rates) + 0.5, 0, rates.shape[1])
    look = {"origin": "lower", "aspect": "auto", "interpolation": "nearest"}
    image = axes.imshow(rates.T, extent=extent, cmap="viridis", vmin=0, **look)
    ends = np.cumsum(list(sizes.values()))
    axes.set_yticks(ends - np.array(list(sizes.values())) / 2, list(sizes))
    axes.tick_params(labelsize=9)
    for end in ends[:-1]:
        axes.axhline(end, color="white", lw=1.2)
    # From the last one, so that it has a number.
    places = range(len(rates), 0, -math.ceil(len(rates) / _TICKS))
    axes.set_xticks(places, [str(epochs[place - 1]) for place in places])
    axes.set_xlabel("epoch", **drawing.LABEL)
    bar = figure.colorbar(image, ax=axes)
    bar.set_label("nats", fontsize=10)
    return figure

"""The KL of each unit in the course of training."""

import numpy as np

from keras_vae.figures import drawing

_SIDES = {"left": 0.16, "right": 0.88, "bottom": 0.13, "top": 0.9}


def unit_rates(rates, sizes: dict):
    """Draws a heat map of the KL of each unit over time, the latents apart.

    Args:
        rates: (times, units) array, the KL of each unit in nats.
        sizes: Dict, names of the latents to their numbers of units, in the order of
            `rates`; the first one is drawn at the bottom.

    Returns:
        A `matplotlib.figure.Figure`; `pixels` makes an array of it.

    Raises:
        ValueError: If the sizes do not add up to the units.

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
    axes.set_xlabel("time", **drawing.LABEL)
    bar = figure.colorbar(image, ax=axes)
    bar.set_label("nats", fontsize=10)
    return figure

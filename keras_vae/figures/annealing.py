"""The KL and its weight in the course of training."""

import pathlib

import numpy as np

from keras_vae.figures import drawing

_SIDES = {"left": 0.1, "right": 0.89, "bottom": 0.13, "top": 0.84}


def annealing(history: dict, steps_per_epoch: int | None = None, path=None, steps=None):
    """Draws the KL and its weight over training, as figure 2 of Bowman et al.

    Under an annealed weight the KL rises first, falls as the weight arrives, and may
    rise again slowly. A KL near 0 at the end is a collapse.

    Args:
        history: Dict of lists, one number per epoch, as `fit(...).history`: `kl_loss`
            in nats, also with the prefix `val_`, and `kl_weight`.
        steps_per_epoch: Integer, to count training steps and not epochs.
        path: Path of a PNG to write, or None.
        steps: Dict of lists, `callbacks.StepHistory.history` of the same `fit`, which
            draws training within the epochs; with `steps_per_epoch`. Or None.

    Returns:
        A `matplotlib.figure.Figure`; `pixels` makes an array of it.

    Example:
        >>> history = {"kl_loss": [9.0, 2.0, 3.0], "kl_weight": [0.1, 0.9, 1.0]}
        >>> figure = kv.figures.annealing(history, steps_per_epoch=100)
        >>> [axes.get_lines()[0].get_ydata().tolist() for axes in figure.axes]
        [[9.0, 2.0, 3.0], [0.1, 0.9, 1.0]]

    Raises:
        ValueError: If there are `steps` without `steps_per_epoch`.

    Reference:
        [Generating Sentences from a Continuous Space](
        https://arxiv.org/abs/1511.06349)
    """
    if steps is not None and steps_per_epoch is None:
        raise ValueError(
            "`steps_per_epoch` must be given with `steps`, which count them. Received: "
            "steps_per_epoch=None"
        )
    figure = drawing.figure(4.6, 7.2)
    grid = figure.add_gridspec(1, 1, **_SIDES)
    left = drawing.axes(figure, grid[0])
    # The legend stands between the title and the axes.
    left.set_title("The KL and its weight", **{**drawing.TITLE, "pad": 28})
    right = left.twinx()
    right.spines[["top", "left"]].set_visible(False)
    within, unit = steps or {}, steps_per_epoch or 1
    for axes, name, label, color, style in (
        (left, "kl_loss", "KL, training", drawing.BLUE, "-"),
        (left, "val_kl_loss", "KL, validation", drawing.BLUE, "--"),
        (right, "kl_weight", "weight", drawing.ORANGE, "-"),
    ):
        values = np.asarray(within.get(name, history.get(name, ())), float)
        if len(values):
            places = unit * np.arange(1, len(values) + 1)
            places = within["step"] if name in within else places
            # A single point would be no line.
            marker = "o" if len(values) < 20 else None
            look = {"color": color, "lw": 1.6, "marker": marker, "markersize": 3}
            axes.plot(places, values, style, label=label, **look)
    for axes, label, color in (
        (left, "KL, nats", drawing.BLUE),
        (right, "weight of the KL", drawing.ORANGE),
    ):
        axes.set_ylabel(label, fontsize=10, color=color)
        axes.tick_params(axis="y", labelsize=9, colors=color)
        axes.set_ylim(0, 1.08 * max(axes.get_ylim()[1], 1e-3))
    left.set_xlabel("step" if steps_per_epoch else "epoch", **drawing.LABEL)
    left.grid(alpha=0.25)
    lines = [*left.get_lines(), *right.get_lines()]
    # Above the axes, because lines may lie anywhere within them.
    place = {"loc": "lower right", "bbox_to_anchor": (1.02, 1), "ncols": len(lines)}
    left.legend(lines, [line.get_label() for line in lines], **place, **drawing.LEGEND)
    if path is not None:
        drawing.save(figure, pathlib.Path(path))
    return figure

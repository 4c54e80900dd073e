"""Curves of a training run over its epochs, and a text of its last values."""

import numpy as np

from keras_vae.figures import drawing

# (title, unit, [(key, name, color)])
_PANELS = (
    (
        "Negative ELBO and distortion",
        "nats",
        (
            ("negative_elbo", "\N{MINUS SIGN}ELBO", drawing.BLUE),
            ("reconstruction_loss", "distortion", drawing.ORANGE),
        ),
    ),
    ("Rate (KL)", "nats", (("kl_loss", "rate", drawing.GREEN),)),
    ("KL weight", "", (("kl_weight", "KL weight", drawing.PURPLE),)),
)


def sections(history):
    """Returns a list with the section of a history's curves, empty without curves."""
    panels = [panel for panel in _PANELS if any(history.get(c[0]) for c in panel[2])]
    if not panels:
        return []
    return [(3.1, lambda figure, cell: _curves(figure, cell, panels, history))]


def _curves(figure, cell, panels, history):
    grid = cell.subgridspec(1, len(_PANELS), wspace=0.2)
    for i, (title, unit, curves) in enumerate(panels):
        axes = drawing.titled(figure, grid[i], title)
        for key, name, color in curves:
            _draw_curve(axes, history.get(key, ()), name, color, "-")
            # The weight is not measured: validation uses the same weight.
            if unit:
                validation = history.get(f"val_{key}", ())
                _draw_curve(axes, validation, f"{name}, validation", color, "--")
        _finish_curves(axes, unit)


def _draw_curve(axes, values, name, color, style):
    if len(values):
        epochs = np.arange(1, len(values) + 1)
        # A line through a single point is invisible.
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
    axes.set_xlabel("epoch", **drawing.LABEL)
    axes.set_ylabel(unit, **drawing.LABEL)
    axes.grid(alpha=0.25)
    if len(curves) > 1:
        axes.legend(**drawing.LEGEND)


def _limits(curves):
    """Returns axis limits that ignore first epochs far above the others."""
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


def summary(history):
    """Returns a text with the number of epochs and the values of the last one."""
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

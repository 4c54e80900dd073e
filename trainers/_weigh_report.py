"""The files of `python -m trainers.weigh`, and its pages in TensorBoard."""

import csv
import shutil

import keras
import numpy as np
import tensorflow as tf

import keras_vae as kv
from keras_vae import figures
from trainers import _batches
from trainers import _data
from trainers import _model
from trainers import _pages
from trainers import _run
from trainers import _units
from trainers import _weigh_table

_SHOWN, _WEIGHTS = 8, 5
_EXPORTED = "\N{BLACK RIGHT-POINTING SMALL TRIANGLE}"
_SAMPLES = "\N{BLACK DIAMOND}"
_TITLE = {"loc": "left", "fontsize": 12, "fontweight": "bold", "pad": 8}
# Okabe and Ito's, which differ for colour-blind people too, beside the blue curve. Of
# two neighbours one is drawn in the gaps of the other, should they coincide.
_COLORS = ("#d55e00", "#009e73", "#000000", "#e69f00", "#cc79a7", "#56b4e9")
_DASH = 4
_METRICS = ("rate", "distortion", "negative_elbo", "active_units")


def write(settings, run, data, report, final, paragraphs):
    """Writes curve, pictures and advice, and shows them in TensorBoard.

    Args:
        settings: `_settings.Settings`.
        run: `_run.Run`.
        data: `_data.Data`.
        report: `keras_vae.weighing.AdviceReport` of models.
        final: `_final.Final`, what is exported.
        paragraphs: List of strings, what is printed.
    """
    _write_csv(run.path / "curve.csv", report.curve)
    with _run.replaced(run.path / "curve.png") as path:
        _draw_curve(path, report, _forecast(data, report.curve))
    _draw_pictures(run.path / "pictures.png", settings, data, report, final)
    with _run.replaced(run.path / "advice.txt") as path:
        path.write_text("\n\n".join(paragraphs) + "\n", encoding="utf-8")
    run.write_json("advice.json", [_as_json(item) for item in report])
    _show(run.path, settings, report, paragraphs)


def _as_json(item):
    """An advice by its title, under which it stands in the text."""
    content = item.to_dict()
    content["purpose"] = content.pop("title")
    return content


def contents(run):
    """Returns the lines that say what is where."""
    return "\n".join(
        [
            f"In {run.path}:",
            "  curve.png  pictures.png  advice.txt  advice.json  curve.csv",
            "  saved_model/  model.keras  metrics.json  config.json  tensorboard/",
            f"Watch it with: tensorboard --logdir {run.path}",
        ]
    )


def _write_csv(path, curve):
    """Writes the curve as its `from_csv` reads it, with more columns at the end."""
    with _run.replaced(path) as partial:
        curve.to_csv(partial)
        with open(partial, newline="", encoding="utf-8") as file:
            header, *rows = csv.reader(file)
        columns = _weigh_table.columns(curve)
        with open(partial, "w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            writer.writerow([*header, *columns])
            for row, *more in zip(rows, *columns.values(), strict=True):
                writer.writerow([*row, *map(float, more)])


def _forecast(data, curve):
    """Returns the curve of the best linear VAE of the training data, or None."""
    is_known = curve.reading.is_noise and not data.conditions
    if not is_known or _data.has_gaps(data):
        return None
    try:
        found = kv.linear_forecast(data.train, curve.latent_dim, curve.beta, noise=1.0)
    except ValueError:
        # So many units explain all, for example.
        return None
    distortion = found.distortion + curve.meaning.log_units
    return kv.weighing.RateDistortionCurve(
        found.beta,
        {"rate": found.rate, "distortion": distortion},
        found.active_units,
        curve.latent_dim,
        len(data.train),
        meaning=curve.meaning,
    )


def _columns(curve):
    return {
        "beta": curve.beta,
        "rate": curve.rate,
        "distortion": curve.reading.without_constant(curve.distortion),
        "negative_elbo": curve.reading.bound,
        "active_units": curve.active_units,
    }


def _draw_curve(path, report, forecast):
    curve, reading = report.curve, report.curve.reading
    interval = reading.without_constant(curve.intervals["distortion"])
    columns = _columns(curve)
    columns["rate_low"], columns["rate_high"] = curve.intervals["rate"].T
    columns["distortion_low"], columns["distortion_high"] = interval.T
    figure = figures.rate_distortion(
        {"": columns}, forecast=None if forecast is None else _columns(forecast)
    )
    plane, bound, units = figure.axes
    plane.margins(x=0.12)
    for axes in figure.axes:
        if axes.get_legend() is not None:
            axes.get_legend().remove()
    if reading.is_noise:
        plane.set_ylabel("half the squared error of an event")
    bound.set_title("\N{MINUS SIGN}ELBO of held-out data", **_TITLE)
    for i, (item, color) in enumerate(zip(report, _COLORS, strict=False)):
        for axes in (bound, units):
            if item.beta is not None:
                dashes = (i % 2 * _DASH, (_DASH, _DASH))
                look = {"color": color, "ls": dashes, "lw": 1.8}
                axes.axvline(item.beta, **look, label=item.title)
    # Below the panels, where no line is.
    figure.set_figheight(figure.get_figheight() + 0.7)
    figure.subplots_adjust(bottom=0.27)
    lines = units.get_lines()[1:]
    figure.legend(handles=lines, loc="lower center", ncols=len(lines), frameon=False)
    figure.savefig(path, format="png")


def _draw_pictures(path, settings, data, report, final):
    marks = _marks(report, final)
    betas = _pictured(settings.weigh.betas, marks)
    inputs = _batches.rows(data.inputs("held_out"), slice(2 * _SHOWN))
    x = data.held_out[: 2 * _SHOWN]
    models = [
        final.model
        if beta == final.beta
        else kv.weighing.with_own_noise(report.at(beta), beta)
        for beta in betas
    ]
    decoded = np.stack([model.reconstruct(inputs).numpy() for model in models])
    drawn = np.stack(
        [_units.pictured(model, _SHOWN, settings.fit.seed) for model in models]
    )
    what = "draws of x" if _units.shows_noise(models[0]) else "means of p(x|z)"
    low, high = _model.picture_range(data)
    if not figures.is_image(x.shape[1:]):
        low, high = 0.0, 1.0  # Drawn as lines, on their own axis.
    figures.by_weight(
        path,
        *((events - low) / (high - low) for events in (x, decoded, drawn)),
        [f"{''.join(marks.get(beta, ()))} {beta:.2g}".strip() for beta in betas],
        title=f"{settings.run.name}: what the weight of the KL does",
        subtitle=f"Numbers are beta; {_EXPORTED} is exported, {_SAMPLES} has the best "
        f"samples. Samples are {what}, of the same z in all rows.",
        columns=data.columns,
    )


def _marks(report, final):
    """Returns what stands beside a weight: that of the export, and of the samples."""
    marks = {final.beta: [_EXPORTED]}
    if report.has_code and report["samples"].beta is not None:
        nearest = report.nearest(report["samples"].beta)
        marks.setdefault(nearest, []).append(_SAMPLES)
    return marks


def _pictured(betas, marked):
    """Returns evenly many weights, with those that are marked among them."""
    places = np.linspace(0, len(betas) - 1, min(_WEIGHTS, len(betas))).round()
    chosen = [betas[place] for place in places.astype(int)]
    for beta in marked:
        free = [other for other in chosen if other not in marked]
        if beta in chosen or not free:
            continue
        nearest = min(free, key=lambda other: abs(np.log(other / beta)))
        chosen[chosen.index(nearest)] = beta
    return sorted(chosen)


# === TensorBoard ===


def _show(path, settings, report, paragraphs):
    directory = path / "tensorboard" / "weigh"
    # Of an earlier report on the same run.
    shutil.rmtree(directory, ignore_errors=True)
    betas, curve = settings.weigh.betas, report.curve
    with _pages.writing(directory):
        for name in ("curve", "pictures"):
            image = keras.utils.img_to_array(keras.utils.load_img(path / f"{name}.png"))
            tf.summary.image(f"weigh/{name}", image[None].astype("uint8"), step=0)
        _pages.text("weigh/command", [_pages.command("weigh")])
        _pages.text("weigh/advice", paragraphs)
        _pages.declare(
            _hparams(report, betas[0]), [f"weigh/{name}" for name in _METRICS]
        )
    columns = curve.rate, curve.distortion, curve.reading.bound, curve.active_units
    for i, beta in enumerate(betas):
        # The number first, by which TensorBoard sorts.
        name = f"{i + 1:0{len(str(len(betas)))}d} beta={beta:.4g}"
        pairs = zip(_METRICS, columns, strict=True)
        figures = {f"weigh/{metric}": column[i] for metric, column in pairs}
        with _pages.writing(directory / name.replace(" ", "-")):
            _pages.trial(name, _hparams(report, beta), figures)


def _hparams(report, beta):
    units = report.units(beta)
    values = {"beta": beta, "beta_norm": units.beta_norm, "sigma": units.sigma}
    return {name: float(v) for name, v in values.items() if v is not None}

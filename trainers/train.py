"""Trains a VAE and reports what became of it.

    python -m trainers.train
    python -m trainers.train --config=mnist_mlp --seed=1
    python -m trainers.train --dataset=mine.npz --likelihood=normal --name=mine

A run writes to `runs/<name>/` the flags (`config.json`), the logs of all epochs
(`history.csv`, `history.json`), TensorBoard events (`tensorboard/`), the models
(`best.keras`, chosen by the unweighted bound on the validation data once the weight
has arrived, and `last.keras`), a picture (`report.png`), the chosen model as
`model.keras` and SavedModel (`saved_model/`), and the figures of the table that it ends
with (`metrics.json`). Where data are standardised, `best.keras` and `last.keras` take
them so (`scaling.json`); `model.keras`, the SavedModel and the figures are of the data
in their own units, and `standardized_negative_elbo` is beside them.

A run that was stopped continues with the same command and `--resume`, to the weights
that it would have had. With more `--epochs` than before a finished one goes on too.
"""

import functools
import math
import shutil

import keras
import numpy as np
from absl import flags

import keras_vae as kv
from keras_vae import figures
from trainers import _batches
from trainers import _data
from trainers import _flag_checks
from trainers import _flags
from trainers import _model
from trainers import _pages
from trainers import _program
from trainers import _progress
from trainers import _resolve
from trainers import _run
from trainers import _units

_PICTURES, _UNITS, _LIMIT = 64, 8, 2.5
_METRICS = ("negative_elbo", "distortion", "rate", "active_units")
# About as many epochs take the figures and files at the end.
_MEASURED = 0.1


def main(argv):
    """Runs the program."""
    _program.main("train", argv, lambda: prepare(_resolve.train(flags.FLAGS)), train)


def prepare(settings):
    """Returns the arguments of `train`; see `_program.prepare`.

    Args:
        settings: `_settings.Settings`.
    """
    return _program.prepare(settings, _resolve.train_on, _build)


def _build(settings, data):
    _flag_checks.check_warmup(settings, data.steps_per_epoch(settings.fit.batch_size))
    kind = _model.kind(settings)
    return _model.build(
        settings, data, lambda **parts: kind(objective=objective(settings), **parts)
    )


def train(settings, run, data, model):
    """Trains the model and writes the run.

    Args:
        settings: `_settings.Settings`.
        run: `_run.Run`.
        data: `_data.Data`.
        model: Compiled `keras_vae.VAE` that is built.

    Returns:
        The table, a string.
    """
    with run.held():
        return _train(settings, run, data, model)


def _train(settings, run, data, model):
    _start(settings, run, data, model)
    epochs = settings.fit.epochs
    measured = math.ceil(_MEASURED * epochs)
    with _progress.Progress(epochs + measured, run.finished_epochs) as progress:
        _fit(settings, run, data, model, progress)
        with progress.stage("Measuring", measured):
            return _finished(settings, run, data)


def _fit(settings, run, data, model, progress):
    last = run.path / "last.keras"
    if last.is_file():
        return
    run.restore(model)
    if run.finished_epochs < settings.fit.epochs:
        chain = callbacks(settings, run, data)
        _program.fit(model, settings, run, data, chain, progress.training())
    with _run.replaced(last) as path:
        model.save(path)


def _finished(settings, run, data):
    """Measures and writes the chosen model; returns the table."""
    which = "best" if (run.path / "best.keras").is_file() else "last"
    model = keras.saving.load_model(run.path / f"{which}.keras")
    metrics = _program.evaluate(
        model,
        data.inputs("test"),
        settings.fit.batch_size,
        settings.run.eval_samples,
    )
    metrics = _program.with_baselines(
        metrics, model, data, settings.data.binarize, settings.fit.seed
    )
    _units.write(model, data.scaling, run.path)
    report(settings, run, data, model)
    diagnosis = _units.diagnose(
        model,
        data.inputs("held_out"),
        data.scaling,
        train=_data.as_seen(data.inputs("train"), settings.data.binarize),
    )
    measured = _program.table(metrics, _bounds(settings, metrics))
    _show(settings, run, metrics, [measured, str(diagnosis)])
    run.finish({"model": f"{which}.keras", **metrics, "diagnosis": diagnosis.to_dict()})
    return "\n".join(["", measured, "", str(diagnosis), "", contents(run, which)])


# === Training ===


def callbacks(settings, run, data):
    """Returns the callbacks of a run."""
    chain = [_program.tensorboard(settings, run, data)]
    schedule = _flag_checks.kl_schedule(settings)
    chain[:0] = [
        *_program.annealing(settings, run.planned_epochs, data, schedule),
        *_program.free_bits(settings, run.planned_epochs, data),
    ]
    if data.validation is not None:
        chain.append(kv.callbacks.ModelCheckpoint(run.path / "best.keras"))
    return chain


def objective(settings):
    """Returns the objective that the flags ask for."""
    make = {"elbo": kv.ELBO, "importance_weighted": kv.ImportanceWeighted}
    model, train = settings.model, settings.train
    options = {"kl": model.kl, "num_samples": model.num_samples}
    if train.free_bits:
        groups = 1 if model.levels is None else "latent"
        free = functools.partial(kv.objectives.FreeBits, train.free_bits)
        return free(group_size=groups, kl_weight=train.kl_weight, **options)
    return make[train.objective](kl_weight=train.kl_weight, **options)


def _start(settings, run, data, model):
    _program.start(settings, run, data, model)
    grey = settings.data.binarize == "none" and settings.model.likelihood == "bernoulli"
    if grey and not _data.is_binary(data):
        print(
            "The data are grey, so that under a Bernoulli the distortion is a "
            "cross-entropy and\n-ELBO bounds no log p(x). For a likelihood pass "
            "--binarize=dynamic or\n--likelihood=continuous_bernoulli."
        )


# === Results ===


def report(settings, run, data, model):
    """Draws `report.png`: test data, samples, the liveliest units, the curves."""
    inputs = data.inputs("test")
    originals = data.test[:_PICTURES]
    units, traversals = _traversals(model, inputs)
    across = data.num_classes
    number = _PICTURES if across is None else max(_PICTURES // across, 1) * across
    low, high = _model.picture_range(data)
    if not figures.is_image(model.event_shape):
        low, high = 0.0, 1.0  # Drawn as lines, on their own axis.
    pictures = [
        (events - low) / (high - low)
        for events in (
            originals,
            model.reconstruct(_batches.rows(inputs, slice(_PICTURES))).numpy(),
            _units.pictured(model, number, settings.fit.seed),
            traversals,
        )
        if events is not None
    ]
    pictures += [None] * (4 - len(pictures))
    figures.training_report(
        run.path / "report.png",
        *pictures,
        run.history,
        title=f"{settings.run.name}: {model.latent_dim} latent units",
        dims=units,
        limit=_LIMIT,
        columns=data.columns,
        across=across,
    )


def _traversals(model, inputs):
    """Returns the liveliest units, and what they change; None of several levels."""
    if len(model.latents) > 1:
        return None, None
    spread = _program.encode(model, inputs).var(axis=0)
    units = np.argsort(-spread, kind="stable")[:_UNITS].tolist()
    latents = figures.traversal(model.latent_dim, limit=_LIMIT, dims=units)
    # Of a conditional model those of its first class.
    condition = dict.fromkeys(model.conditions, 0)
    traversals = model.decode(latents, condition).numpy()
    return units, traversals.reshape(len(units), -1, *model.event_shape)


def _bounds(settings, metrics):
    if settings.train.objective != "importance_weighted":
        return {}
    return {f"-bound, k={settings.model.num_samples}": metrics["loss"]}


def _show(settings, run, metrics, paragraphs):
    """Writes the flags and what came of them for TensorBoard."""
    values = _pages.as_values(settings)
    found = {f"test/{name}": metrics[name] for name in _METRICS}
    directory = run.path / "tensorboard" / "run"
    # Of an earlier report on the same run.
    shutil.rmtree(directory, ignore_errors=True)
    with _pages.writing(directory):
        _pages.text("run/command", [_pages.command("train")])
        _pages.text("run/results", paragraphs)
        _pages.declare(values, found)
        _pages.trial(settings.run.name, values, found)


def contents(run, which):
    """Returns the lines that say what is where."""
    lines = [
        f"Model: {which} epoch. In {run.path}:",
        "  best.keras, last.keras" if which == "best" else "  last.keras",
        "  model.keras  saved_model/  report.png  metrics.json",
        "  history.csv  history.json  config.json  tensorboard/",
        f"Watch it with: tensorboard --logdir {run.path}",
    ]
    return "\n".join(lines)


def run():
    """Runs the program from the command line."""
    _program.run(_flags.define_train, main, __doc__)


if __name__ == "__main__":
    run()

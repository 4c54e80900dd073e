"""Evaluates a saved VAE on data.

    python -m trainers.evaluate --model=runs/digits/best.keras
    python -m trainers.evaluate --model=vae.keras --dataset=mine.npz --output=vae.json
    python -m trainers.evaluate --model=vae.keras --dataset=mnist --binarize=static \
        --importance_samples=5000
    python -m trainers.evaluate --model=runs/a-weigh/last.keras --beta=0.1
    python -m trainers.evaluate --model=runs/a/model.keras --dataset=gaps.csv \
        --impute=filled.csv

Prints the table of test figures with which `trainers.train` ends, with
`--importance_samples` -log p(x) too, and a diagnosis; `--output` has the same as JSON.
Flags of the data that are not given are those of the run that the model lies in, such
as `--dataset` and `--binarize`; columns of a table are known by their names. The data
get the units of the run (its `scaling.json`); without one they are taken as they are,
unless `--standardize` says otherwise. A `model.keras` takes them in their own units. A
model of a sweep (`models/`) has the noise of its weight. The figures are those of the
data in their own units in any case. A model that was trained with `--missing` takes
data with gaps, and `--impute` writes all of a file with the gaps filled in.
"""

import dataclasses
import json
import math
import pathlib

import numpy as np
from absl import flags

import keras_vae as kv
from trainers import _data
from trainers import _files
from trainers import _flags
from trainers import _imputed
from trainers import _origin
from trainers import _program
from trainers import _resolve
from trainers import _saved
from trainers import _settings
from trainers import _units


def main(argv):
    """Runs the program."""
    _program.main(
        "evaluate", argv, lambda: prepare(_resolve.evaluate(flags.FLAGS)), evaluate
    )


def prepare(settings):
    """Loads model and data; returns the arguments of `evaluate`.

    Args:
        settings: `_settings.EvaluateSettings`.

    Raises:
        _settings.FlagError: If there are none, or they do not fit.
    """
    model = _saved.load(settings)
    if isinstance(model, kv.SentenceVAE):
        raise _settings.FlagError(
            "`--model` must be of numbers; the figures of a model of sentences are in "
            "metrics.json of its run, and python -m trainers.sentence --resume prints "
            f"them. Received: --model={settings.model}"
        )
    settings, words = _origin.with_flags(settings)
    _check_files(settings)
    data = _test_data(settings, model, words)
    _check_data(settings, model, data)
    settings = dataclasses.replace(settings, data=_read_for(model, settings))
    incomplete = None
    if settings.impute is not None:
        columns = _origin.columns(settings.model)
        incomplete = _imputed.read(settings, model, columns)
    return settings, model, data, incomplete


def _check_data(settings, model, data):
    """Checks that a model takes such data."""
    x = data.test
    received = f"Received: --dataset={settings.data.dataset}"
    if data.num_classes is not None and data.num_classes > _num_classes(model):
        raise _settings.FlagError(
            f"`--dataset` must have labels of the {_num_classes(model)} classes of "
            f"--model={settings.model}. {received}, with the label "
            f"{data.num_classes - 1}"
        )
    if x.shape[1:] != tuple(model.event_shape):
        raise _settings.FlagError(
            f"`--dataset` must have examples of shape {tuple(model.event_shape)}, as "
            f"--model={settings.model} has. {received}, whose examples have shape "
            f"{x.shape[1:]}"
        )
    try:
        model.likelihood.check_data(x, model.missing)
    except ValueError as error:
        raise _settings.FlagError(
            f"`--dataset` must suit the likelihood of --model={settings.model}. "
            f"{received}: {error}"
        ) from error


def _check_files(settings):
    """Checks that no file is written over another one that is named."""
    taken = {"model": settings.model, "dataset": settings.data.dataset}
    for name in ("output", "impute"):
        path = getattr(settings, name)
        for other, used in taken.items():
            if path and used and _is_same(path, used):
                raise _settings.FlagError(
                    f"`--{name}` must not be the file of --{other}, which it would "
                    f"replace. Received: --{name}={path}"
                )
        taken[name] = path


def _is_same(path, other):
    return pathlib.Path(path).resolve() == pathlib.Path(other).resolve()


def _num_classes(model):
    return model.conditions.num_classes("label")


def _read_for(model, settings):
    """Returns what is read of the data, which the model says."""
    names = list(model.conditions)
    if names and (names != ["label"] or _num_classes(model) is None):
        raise _settings.FlagError(
            "`--model` must take no conditions, or the label alone, as with "
            f"--condition=labels. Received: --model={settings.model}, which takes "
            f"{names}"
        )
    condition = "labels" if names else "none"
    missing, grayscale = model.missing or "none", settings.data.grayscale
    if grayscale is None and _data.is_folder(settings.data.dataset):
        grayscale = model.event_shape[-1] == 1
    return dataclasses.replace(
        settings.data, missing=missing, condition=condition, grayscale=grayscale
    )


def _test_data(settings, model, words):
    """Returns the data, described; `words` say which flags are those of the run."""
    scaling, read = None, _read_for(model, settings)
    if read.standardize == "auto":
        scaling = _saved.scaling(settings, model)
        read = dataclasses.replace(read, standardize="none")
    _check_units(read, model, settings)
    try:
        data = _data.load(
            read,
            None,
            scaling,
            model.latent_dim,
            with_channels=len(model.event_shape) == 3,
            columns=_origin.columns(settings.model),
        )
    except _settings.FlagError as error:
        # It may name a flag that was not given.
        text = f"{error}. {words}" if words else f"{error}"
        raise _settings.FlagError(text) from error
    except ValueError as error:
        raise _settings.FlagError(
            f"`--dataset` must have the shape of the scaling.json of "
            f"--model={settings.model}. Received: --dataset={read.dataset}: {error}"
        ) from error
    lines = words, data.description, _origin.remark(settings.model, data.contents)
    return dataclasses.replace(data, description="\n".join(filter(None, lines)))


def _check_units(data, model, settings):
    """Checks that a model takes data that are standardised, if they shall be."""
    if data.standardize == "none":
        return
    reason = None
    if _units.takes_own(model):
        reason = "which takes the data in their own units and standardises them itself"
    elif not model.likelihood.real_valued:
        reason = "whose likelihood has units of its own"
    if reason is not None:
        raise _settings.FlagError(
            f"`--standardize` must be left out of --model={settings.model}, {reason}. "
            f"Received: --standardize={data.standardize}"
        )


def evaluate(settings, model, data, incomplete=None):
    """Measures, and writes the figures.

    Args:
        settings: `_settings.EvaluateSettings`.
        model: Compiled `keras_vae.VAE`.
        data: `_data.Data`, of which the test split counts.
        incomplete: `_imputed.Incomplete`, the file that is filled in, or None.

    Returns:
        What was read, table and diagnosis, a string.
    """
    x = data.inputs("test")
    metrics = _program.evaluate(model, x, settings.batch_size, settings.eval_samples)
    if not math.isfinite(metrics["negative_elbo"]):
        low, high = np.nanmin(data.test), np.nanmax(data.test)
        raise _settings.FlagError(
            "`--dataset` must hold values near those that the model was trained on; of "
            f"these -ELBO is {metrics['negative_elbo']}. Received: --dataset="
            f"{settings.data.dataset}, of which the model takes {low:.3g} to {high:.3g}"
        )
    bounds, number = {}, settings.importance_samples
    if number:
        values = model.log_likelihood(
            x, num_samples=number, seed=settings.seed, verbose=0
        )
        metrics["negative_log_likelihood"] = -float(values.mean(dtype="float64"))
        metrics["importance_samples"] = number
    metrics = _program.with_baselines(
        metrics, model, data, settings.data.binarize, settings.seed
    )
    if number:
        bounds = {f"-log p, k={number}": metrics["negative_log_likelihood"]}
    diagnosis = _units.diagnose(model, x, data.scaling, seed=settings.seed)
    read = _program.shortened(data.description)
    text = f"{read}\n\n{_program.table(metrics, bounds)}\n\n{diagnosis}"
    if settings.output is not None:
        content = {
            "model": settings.model,
            "beta": settings.beta,
            **dataclasses.asdict(settings.data),
            **metrics,
            "diagnosis": diagnosis.to_dict(),
        }
        path = pathlib.Path(settings.output)
        with _files.replaced(path) as partial:
            partial.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
        text += f"\n\nIn {path}"
    if incomplete is not None:
        text += f"\n\n{_imputed.write(settings, model, data.scaling, incomplete)}"
    return text


def run():
    """Runs the program from the command line."""
    _program.run(_flags.define_evaluate, main, __doc__)


if __name__ == "__main__":
    run()

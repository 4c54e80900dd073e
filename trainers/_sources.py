"""Models of all weights: one that has them all, or one for each."""

import concurrent.futures
import math
import multiprocessing
import os

import keras

import keras_vae as kv
from trainers import _batches
from trainers import _files
from trainers import _flag_checks
from trainers import _model
from trainers import _program
from trainers import _progress
from trainers import _run

# The part of a run in which the weight of the KL rises.
_WARMUP = 0.1
# Lines of all models, where the output is a file.
_LINES = 20

# === Models ===


def build_multi(settings, data):
    """Builds and compiles the Multi-Rate VAE; see `_model.build`."""

    def make(**parts):
        # Layers that cannot be gated are those of the network.
        with _flag_checks.blamed("network", settings.model.network):
            return kv.MultiRateVAE(
                beta_range=settings.weigh.beta_range,
                beta=_watched(settings, parts["likelihood"]),
                kl=settings.model.kl,
                num_samples=settings.model.num_samples,
                **_with_unit_noise(parts),
            )

    return _model.build(settings, data, make)


def build_one(settings, data, beta):
    """Builds and compiles the VAE of one weight; see `_model.build`."""

    def make(**parts):
        objective = kv.ELBO(
            beta, kl=settings.model.kl, num_samples=settings.model.num_samples
        )
        kind = _model.kind(settings)
        return kind(objective=objective, **_with_unit_noise(parts))

    return _model.build(settings, data, make)


def warmup(settings, data, epochs):
    """Returns the callbacks by which the weight of a model of this module rises.

    With its full weight from the first step the KL can close all units before they are
    of use. A start from the data needs no rise, which would lead away from it.

    Args:
        settings: `_settings.Settings`.
        data: `_data.Data`.
        epochs: Integer, those of the run.
    """
    schedule = None
    steps = epochs * data.steps_per_epoch(settings.fit.batch_size)
    if settings.model.linear_path != "data" and steps >= 1 / _WARMUP:
        schedule = kv.schedules.linear(round(_WARMUP * steps))
    return _program.annealing(settings, epochs, data, schedule)


def _watched(settings, likelihood):
    """Returns the weight of what training shows, or None for the ELBO's.

    A normal's noise is known when all is measured, so the middle of the range stands
    in for it: at beta = 1, the variance of the data, most data leave nothing to code.
    """
    if isinstance(likelihood, kv.distributions.Normal):
        return math.sqrt(math.prod(settings.weigh.beta_range))
    return None


def _with_unit_noise(parts):
    """Fixes the noise of a normal, so that the weight of the KL is its variance."""
    if isinstance(parts["likelihood"], kv.distributions.Normal):
        return {**parts, "likelihood": kv.distributions.Normal(scale=1.0)}
    return parts


# === Models trained one by one ===


def train_each(settings, run, data, weights, progress):
    """Trains the models that are missing.

    Args:
        settings: `_settings.Settings`.
        run: `_run.Run`.
        data: `_data.Data`.
        weights: List of floats.
        progress: `_progress.Progress`.

    Returns:
        Dict, weights to `keras_vae.VAE`s.
    """
    paths = {beta: run.path / "models" / f"beta-{beta:g}.keras" for beta in weights}
    missing = [beta for beta in weights if not _files.is_model(paths[beta])]
    paths[weights[0]].parent.mkdir(exist_ok=True)
    for beta in missing:
        if paths[beta].exists():
            progress.say(f"{paths[beta]} cannot be read, and is trained anew")
    done = len(weights) - len(missing)
    if done:
        progress.say(f"{done} of {len(weights)} models of one weight are done")
        progress.skip(done * settings.fit.epochs)
    if settings.weigh.num_processes > 1 and len(missing) > 1:
        _train_in_processes(settings, data, missing, paths, progress)
    else:
        for beta in missing:
            lines = max(1, _LINES // len(missing))
            shown = progress.training(f"beta = {beta:g}", _progress.LOSS, lines)
            train_one(settings, data, beta, paths[beta], [shown])
    return {beta: keras.saving.load_model(path) for beta, path in paths.items()}


def train_one(settings, data, beta, path, callbacks=()):
    """Trains the VAE of one weight and writes it, complete or not at all.

    Args:
        settings: `_settings.Settings`.
        data: `_data.Data`.
        beta: Float.
        path: `pathlib.Path` of the model.
        callbacks: Iterable of callbacks beside those that all models have.
    """
    model = build_one(settings, data, beta)
    model.fit(
        _batches.batches(data.inputs("train"), settings),
        shuffle=False,
        epochs=settings.fit.epochs,
        callbacks=[
            *_program.guards(settings),
            *warmup(settings, data, settings.fit.epochs),
            *callbacks,
        ],
        verbose=0,
    )
    with _run.replaced(path) as partial:
        model.save(partial)


def _train_in_processes(settings, data, missing, paths, progress):
    number = min(settings.weigh.num_processes, len(missing))
    threads = str(max(1, (os.cpu_count() or 1) // number))
    names = ("TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS")
    before = {name: os.environ.get(name) for name in names}
    # TensorFlow reads them when a process begins to compute.
    os.environ.update(dict.fromkeys(names, threads))
    # A process that runs TensorFlow must not be forked.
    context = multiprocessing.get_context("spawn")
    try:
        with concurrent.futures.ProcessPoolExecutor(number, context) as pool:
            jobs = {
                pool.submit(train_one, settings, data, beta, paths[beta]): beta
                for beta in missing
            }
            progress.say(f"{len(jobs)} VAEs in {number} processes")
            try:
                for job in concurrent.futures.as_completed(jobs):
                    job.result()
                    progress.say(f"beta = {jobs[job]:g} is done")
                    progress.move_to(progress.done + settings.fit.epochs)
            except BaseException:
                pool.shutdown(wait=False, cancel_futures=True)
                raise
    finally:
        for name, value in before.items():
            os.environ.pop(name)
            if value is not None:
                os.environ[name] = value

"""Models of all weights: one that has them all, or one for each."""

import concurrent.futures
import multiprocessing
import os

import keras

import keras_vae as kv
from trainers import _data
from trainers import _files
from trainers import _flag_checks
from trainers import _model
from trainers import _program
from trainers import _run

_NUM_BETAS = {"multi": 13, "sweep": 7}


# === Weights ===


def beta_range(chosen, data):
    """Returns the smallest and the largest weight of a run, a list of two floats.

    Args:
        chosen: Namespace from `_weigh_flags.settings`, with its likelihood.
        data: `_data.Data`.
    """
    if chosen.beta_range is not None:
        return chosen.beta_range
    if chosen.betas is not None:
        return [chosen.betas[0], chosen.betas[-1]]
    normal = chosen.likelihood == "normal"
    likelihood = "unit_normal" if normal else "bernoulli"
    return list(kv.weighing.beta_range(data.train, chosen.latent_dim, likelihood))


def betas(chosen):
    """Returns the weights that are measured, and in a sweep trained.

    Args:
        chosen: Namespace with `beta_range`.

    Returns:
        List of floats, rising.
    """
    if chosen.betas is not None:
        return chosen.betas
    # Of a normal 1 is a noise like any other.
    with_one = chosen.likelihood != "normal"
    return kv.weighing.betas_between(
        *chosen.beta_range, _NUM_BETAS[chosen.mode], with_one, digits=3
    )


# === Models ===


def build_multi(chosen, data):
    """Builds and compiles the Multi-Rate VAE; see `_model.build`."""

    def make(**parts):
        # Layers that cannot be gated are those of the network.
        with _flag_checks.blamed("network", chosen):
            return kv.MultiRateVAE(
                beta_range=chosen.beta_range,
                kl=chosen.kl,
                num_samples=chosen.num_samples,
                **_with_unit_noise(parts),
            )

    return _model.build(chosen, data, make)


def build_one(chosen, data, beta):
    """Builds and compiles the VAE of one weight; see `_model.build`."""

    def make(**parts):
        objective = kv.ELBO(beta, kl=chosen.kl, num_samples=chosen.num_samples)
        return kv.VAE(objective=objective, **_with_unit_noise(parts))

    return _model.build(chosen, data, make)


def _with_unit_noise(parts):
    """Fixes the noise of a normal, so that the weight of the KL is its variance."""
    if isinstance(parts["likelihood"], kv.distributions.Normal):
        return {**parts, "likelihood": kv.distributions.Normal(scale=1.0)}
    return parts


# === Models trained one by one ===


def train_each(chosen, run, data, weights):
    """Trains the models that are missing.

    Args:
        chosen: Namespace from `_weigh_flags.settings`.
        run: `_run.Run`.
        data: `_data.Data`.
        weights: List of floats.

    Returns:
        Dict, weights to `keras_vae.VAE`s.
    """
    paths = {beta: run.path / "models" / f"beta-{beta:g}.keras" for beta in weights}
    missing = [beta for beta in weights if not _files.is_model(paths[beta])]
    paths[weights[0]].parent.mkdir(exist_ok=True)
    for beta in missing:
        if paths[beta].exists():
            print(f"{paths[beta]} cannot be read, and is trained anew")
    if len(missing) < len(weights):
        print(f"{len(weights) - len(missing)} of {len(weights)} models are done")
    if chosen.num_processes > 1 and len(missing) > 1:
        _train_in_processes(chosen, data, missing, paths)
    else:
        for beta in missing:
            print(f"A VAE at beta = {beta:g}")
            train_one(chosen, data, beta, paths[beta], _program.verbosity())
    return {beta: keras.saving.load_model(path) for beta, path in paths.items()}


def train_one(chosen, data, beta, path, verbose=0):
    """Trains the VAE of one weight and writes it, complete or not at all.

    Args:
        chosen: Namespace from `_weigh_flags.settings`.
        data: `_data.Data`.
        beta: Float.
        path: `pathlib.Path` of the model.
        verbose: As of `fit`.
    """
    model = build_one(chosen, data, beta)
    model.fit(
        _data.batches(data.train, chosen),
        shuffle=False,
        epochs=chosen.epochs,
        callbacks=_program.guards(chosen),
        verbose=verbose,
    )
    with _run.replaced(path) as partial:
        model.save(partial)


def _train_in_processes(chosen, data, missing, paths):
    number = min(chosen.num_processes, len(missing))
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
                pool.submit(train_one, chosen, data, beta, paths[beta]): beta
                for beta in missing
            }
            print(f"{len(jobs)} VAEs in {number} processes", flush=True)
            try:
                for job in concurrent.futures.as_completed(jobs):
                    job.result()
                    print(f"beta = {jobs[job]:g} is done", flush=True)
            except BaseException:
                pool.shutdown(wait=False, cancel_futures=True)
                raise
    finally:
        for name, value in before.items():
            os.environ.pop(name)
            if value is not None:
                os.environ[name] = value

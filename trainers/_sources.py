"""Where the models of all weights come from: one that has them all, or one for each."""

import concurrent.futures
import multiprocessing
import os

import keras
import numpy as np

import keras_vae as kv
from trainers import _data
from trainers import _files
from trainers import _flag_checks
from trainers import _model
from trainers import _program
from trainers import _run

_NUM_BETAS = {"multi": 13, "sweep": 7}
_BETA_RANGE = (0.01, 10.0)
_EXAMPLES = 1000


# === Weights ===


def beta_range(chosen, data):
    """Returns the smallest and the largest weight of a run.

    With a normal likelihood the weight is the variance of its noise. A linear model
    keeps no unit at the variance of the first principal component, and none with a
    smaller variance than what latents of their number leave over is noise; other
    networks may leave less.

    Args:
        chosen: Namespace from `_weigh_flags.settings`, with its likelihood.
        data: `_data.Data`.

    Returns:
        List of two floats.
    """
    if chosen.beta_range is not None:
        return chosen.beta_range
    if chosen.betas is not None:
        return [chosen.betas[0], chosen.betas[-1]]
    if chosen.likelihood != "normal":
        return list(_BETA_RANGE)
    x = data.train[:_EXAMPLES].reshape(min(len(data.train), _EXAMPLES), -1)
    x = np.asarray(x, np.float64) - x.mean(axis=0)
    variances = np.linalg.svd(x, compute_uv=False) ** 2 / len(x)
    mean = variances.sum() / x.shape[1]
    rest = variances[chosen.latent_dim :].sum()
    left = rest / max(1, x.shape[1] - chosen.latent_dim)
    low, high = max(left, 1e-3 * mean) / 20, 1.5 * variances[0]
    return [float(f"{limit:.2g}") for limit in (low, high)]


def betas(chosen):
    """Returns the weights that are measured, and in a sweep trained.

    Args:
        chosen: Namespace with `beta_range`.

    Returns:
        List of floats, rising.
    """
    if chosen.betas is not None:
        return chosen.betas
    low, high = chosen.beta_range
    found = np.geomspace(low, high, _NUM_BETAS[chosen.mode])
    found = [float(f"{beta:.3g}") for beta in found[1:-1]]
    # Of other likelihoods 1 is the weight of the bound.
    if chosen.likelihood != "normal" and low < 1 < high:
        found[int(np.argmin(np.abs(np.log(found))))] = 1.0
    return [low, *found, high]


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


def with_own_noise(vae, beta):
    """Returns the VAE whose ELBO is what `vae` minimised at the weight `beta`.

    Args:
        vae: `keras_vae.VAE`.
        beta: Float, its weight.

    Returns:
        With a normal likelihood a VAE of the same networks whose noise has the variance
        beta and whose weight is 1; else `vae`.
    """
    if not isinstance(vae.likelihood, kv.distributions.Normal):
        return vae
    objective = kv.ELBO(kl=vae.objective.kl, num_samples=vae.objective.num_samples)
    calibrated = kv.VAE.from_config(
        {
            **vae.get_config(),
            "likelihood": kv.distributions.Normal(scale=float(np.sqrt(beta))),
            "objective": objective,
        }
    )
    calibrated.build(vae.get_build_config()["input_shape"])
    for name in ("encoder", "decoder", "latent"):
        getattr(calibrated, name).set_weights(getattr(vae, name).get_weights())
    calibrated.compile(keras.optimizers.Adam())
    return calibrated


class OneForAll:
    """The models of a Multi-Rate VAE.

    Args:
        multi: `keras_vae.MultiRateVAE`.
    """

    is_continuous = True

    def __init__(self, multi):
        self._multi = multi
        self._made = {}

    def nearest(self, beta):
        """Returns the weight next to `beta` of which there is a model."""
        return min(max(beta, self._multi.beta_range[0]), self._multi.beta_range[1])

    def at(self, beta):
        """Returns the VAE of a weight."""
        if beta not in self._made:
            self._made[beta] = self._multi.at(beta)
        return self._made[beta]


class OneForEach:
    """Models that were trained one by one.

    Args:
        paths: Dict, weights to the files of their models.
    """

    is_continuous = False

    def __init__(self, paths):
        self._paths = paths
        self._loaded = {}

    def nearest(self, beta):
        """Returns the weight next to `beta` of which there is a model."""
        return min(self._paths, key=lambda other: abs(np.log(other / beta)))

    def at(self, beta):
        """Returns the VAE of a weight."""
        if beta not in self._loaded:
            self._loaded[beta] = keras.saving.load_model(self._paths[beta])
        return self._loaded[beta]


# === Models trained one by one ===


def train_each(chosen, run, data, weights):
    """Trains the models that are missing.

    Args:
        chosen: Namespace from `_weigh_flags.settings`.
        run: `_run.Run`.
        data: `_data.Data`.
        weights: List of floats.

    Returns:
        `OneForEach`.
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
    return OneForEach(paths)


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

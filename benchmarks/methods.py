"""Trains one network with every way of balancing KL and reconstruction.

    python -m benchmarks.methods --data_dir=DATA
    python -m benchmarks.methods --quick

The data are MNIST in Larochelle's static binarisation; `--quick` takes small scans of
digits and tiny budgets, to try the program. Each finished row is written to `--results`
at once, and a second call goes on with the rows that are missing; `--output` is the
table in Markdown. A further method is one more entry of `METHODS`.
"""

import functools
import json
import os
import pathlib
import platform
import sys
import time
import typing
from collections.abc import Callable

import keras
import numpy as np
import tensorflow as tf
import tqdm
from absl import app
from absl import flags

import keras_vae as kv
from trainers import _run

_QUICK = {
    "hidden": ["32"],
    "latent_dim": 8,
    "epochs": 3,
    "importance_samples": 10,
    "rate_target": 4.0,
    "distortion_target": 25.0,
    "results": "runs/methods_quick.json",
    "output": "runs/methods_quick.md",
}
# Examples trained and images decoded per second of one core, for the first guess.
_TRAINED, _DECODED = 40_000, 100_000
_EVALUATED_AT_ONCE = 500


class Problem(typing.NamedTuple):
    """What all methods are trained on, and with which budget."""

    train: np.ndarray
    validation: np.ndarray
    test: np.ndarray
    hidden: list
    latent_dim: int
    epochs: int
    batch_size: int
    learning_rate: float
    importance_samples: int
    nll_images: int
    rate_target: float
    distortion_target: float
    seed: int


class Method(typing.NamedTuple):
    """A row of the table.

    Args:
        name: String, the key of the row.
        parts: Callable, `Problem` -> the arguments of `kv.VAE` that make the method.
        callbacks: Callable, `Problem` -> callbacks of `fit`.
        target: "rate" or "distortion" where the method is led to one, or None.
        note: String, what theory says of the row, or "".
        likelihood: Callable that returns p(x|z).
        model: Class of the model.
        decoder: Callable that takes the arguments of `kv.networks.mlp_decoder`.
    """

    name: str
    parts: Callable
    callbacks: Callable = lambda problem: []
    target: str | None = None
    note: str = ""
    likelihood: Callable = kv.distributions.Bernoulli
    model: type = kv.VAE
    decoder: Callable = kv.networks.mlp_decoder

    @property
    def comparable(self):
        """Whether its nats are probabilities of binary images, as those of most."""
        return self.likelihood is kv.distributions.Bernoulli


def _nothing(problem):
    return {}


def _objective(make):
    return lambda problem: {"objective": make(problem)}


def _weight(make):
    """The weight of summed losses which a weight in other units stands for."""

    def parts(problem):
        weight = make(problem.train.shape[1:], problem.latent_dim)
        return {"objective": kv.ELBO(kl_weight=weight.beta)}

    return parts


def _annealed(name, schedule, note=""):
    return Method(
        name, _nothing, lambda problem: [kv.KLAnnealing(schedule())], note=note
    )


def _sigma(name, scale, note):
    return Method(
        name,
        _nothing,
        note=note,
        likelihood=lambda: kv.distributions.Normal(scale=scale),
    )


def _posterior(make):
    return lambda problem: {"posterior": make()}


def _vamp_prior(problem):
    return {
        "prior": kv.priors.VampPrior(100, seed=problem.seed),
        "objective": kv.ELBO(kl="monte_carlo"),
    }


def _raised_capacity(problem):
    schedule = kv.schedules.linear("50%", end=problem.rate_target)
    return [kv.callbacks.HyperparameterScheduler("capacity", schedule)]


def _factor(problem):
    hidden = [4 * units for units in problem.hidden]
    return {
        "gamma": 6.4,
        "discriminator": kv.networks.mlp_decoder(hidden, (2,), "leaky_relu"),
    }


def _dropping_decoder(*args, **kwargs):
    decoder = kv.networks.mlp_decoder(*args, **kwargs)
    return keras.Sequential([kv.layers.InputDropout(0.2, seed=0), decoder])


METHODS = [
    # === Weights ===
    Method(
        "ELBO, beta = 1",
        _objective(lambda problem: kv.ELBO()),
        note="the bound itself: the least -ELBO of all fixed weights, up to "
        "overfitting",
    ),
    Method(
        "beta = 0.5",
        _objective(lambda problem: kv.ELBO(kl_weight=0.5)),
        note="more rate, less distortion than beta = 1",
    ),
    Method(
        "beta = 4",
        _objective(lambda problem: kv.ELBO(kl_weight=4.0)),
        note="less rate, more distortion, fewer units, and a looser bound: q(z|x) is "
        "too broad for its own decoder, so that NLL rises less than -ELBO",
    ),
    Method(
        "beta_norm = 0.1",
        _weight(lambda *sizes: kv.weighing.Weight.from_beta_norm(0.1, *sizes)),
        note="0.1 N / M, the same loss as mean BCE + 0.1 mean KL",
    ),
    Method(
        "mean BCE + mean KL",
        _weight(
            lambda *sizes: kv.weighing.Weight.from_mean_losses(
                1.0, *sizes, reconstruction="bce", kl="mean"
            )
        ),
        note="both averaged: beta = N / M, far above 1",
    ),
    Method(
        "mean BCE + KL",
        _weight(
            lambda *sizes: kv.weighing.Weight.from_mean_losses(
                1.0, *sizes, reconstruction="bce"
            )
        ),
        note="the reconstruction alone averaged: beta = N, full collapse",
    ),
    # === Schedules ===
    _annealed("linear annealing", lambda: kv.schedules.linear("50%")),
    _annealed("sigmoid annealing", lambda: kv.schedules.sigmoid("50%")),
    _annealed("cosine annealing", lambda: kv.schedules.cosine("50%")),
    _annealed("cyclical annealing", lambda: kv.schedules.cyclical("100%")),
    _annealed(
        "monotone annealing",
        lambda: kv.schedules.cyclical("100%", num_cycles=1, ratio=0.25),
        note="the cyclical one with a single cycle, as its authors compare",
    ),
    # === Floors and capacities ===
    Method(
        "capacity, gamma = 10",
        _objective(lambda p: kv.objectives.Capacity(p.rate_target, gamma=10.0)),
        target="rate",
        note="at the distortion of ControlVAE, were it not for the kink, whose sign "
        "changes shake the weights by gamma",
    ),
    Method(
        "capacity, gamma = 100",
        _objective(lambda p: kv.objectives.Capacity(p.rate_target, gamma=100.0)),
        target="rate",
        note="the gamma of most repositories: the same rate, shaken more",
    ),
    Method(
        "capacity, raised, gamma = 10",
        _objective(lambda problem: kv.objectives.Capacity(0.0, gamma=10.0)),
        _raised_capacity,
        target="rate",
        note="from 0 over the first half",
    ),
    Method(
        "free bits, units over the batch",
        _objective(lambda problem: kv.objectives.FreeBits(0.25)),
        note="0.25 nats a unit; no unit collapses",
    ),
    Method(
        "free bits, groups over the batch",
        _objective(lambda problem: kv.objectives.FreeBits(1.0, group_size=4)),
        note="1 nat per group of 4 units",
    ),
    Method(
        "free bits, units of each example",
        _objective(lambda problem: kv.objectives.FreeBits(0.25, over="example")),
        note="0.25 nats a unit; holds the rate higher than over the batch",
    ),
    Method(
        "delta-VAE",
        _posterior(lambda: kv.distributions.CommittedNormal(0.1)),
        note="at least 0.1 nats a unit; its variances lie between 0.49 and 1.77, so "
        "that no posterior is sharp",
    ),
    Method(
        "BN-VAE",
        _posterior(lambda: kv.distributions.BatchNormalizedNormal(0.5)),
        note="at least gamma^2 / 2 = 0.125 nats a unit, and all are active; with means "
        "of spread 0.5 the aggregate posterior is narrower than the prior, which costs "
        "rate",
    ),
    # === Targets ===
    Method(
        "ControlVAE",
        _objective(lambda p: kv.objectives.RateTarget(p.rate_target)),
        target="rate",
        note="the least distortion at its rate",
    ),
    Method(
        "GECO",
        _objective(
            lambda p: kv.objectives.DistortionTarget(p.distortion_target, speed=0.1)
        ),
        target="distortion",
        note="the target, but not the least rate: while the first distortions are "
        "large the multiplier overshoots, all units are taken up, and these steps do "
        "not suffice to give them back. `speed` 0.1, since the default of 0.02 is too "
        "slow for so few",
    ),
    Method(
        "GECO, multiplier at most 3",
        _objective(
            lambda p: kv.objectives.DistortionTarget(
                p.distortion_target, speed=0.1, max_multiplier=3.0
            )
        ),
        target="distortion",
        note="less rate at the same distortion",
    ),
    # === Learned noise ===
    _sigma("sigma-VAE, shared", "shared", "one learned scale"),
    _sigma("sigma-VAE, optimal", "optimal", "one scale, in closed form"),
    _sigma(
        "sigma-VAE, per pixel",
        "per_output",
        "pixels that never vary drive their scale to its minimum",
    ),
    # === Other divergences and priors ===
    Method(
        "InfoVAE, RBF",
        _objective(
            lambda problem: kv.objectives.MaximumMeanDiscrepancy(
                4.5, kernel="rbf", kl_weight=0.5
            )
        ),
        note="alpha = 0.5, lambda = 5: hardly more than beta = 0.5, for so small a "
        "multiple of an MMD weighs little beside nats",
    ),
    Method(
        "InfoVAE, IMQ",
        _objective(
            lambda problem: kv.objectives.MaximumMeanDiscrepancy(4.5, kl_weight=0.5)
        ),
        note="alpha = 0.5, lambda = 5: hardly more than beta = 0.5, for so small a "
        "multiple of an MMD weighs little beside nats",
    ),
    Method(
        "WAE-MMD, IMQ",
        _objective(
            lambda problem: kv.objectives.MaximumMeanDiscrepancy(100.0, kl_weight=0.0)
        ),
        note="no KL in the loss: an autoencoder, whose rate is not bounded",
    ),
    Method(
        "beta-TCVAE, weighted",
        _objective(
            lambda problem: kv.objectives.TotalCorrelation(len(problem.train), 6.0)
        ),
        note="a small batch sees little of q(z) but the example itself, which makes "
        "the penalty one on all of the KL, nearly beta = 6",
    ),
    Method(
        "beta-TCVAE, stratified",
        _objective(
            lambda problem: kv.objectives.TotalCorrelation(
                len(problem.train), 6.0, sampling="stratified"
            )
        ),
        note="likewise, but less so",
    ),
    Method(
        "DIP-VAE I",
        _objective(lambda problem: kv.objectives.DisentangledInferredPrior("i", 1.0)),
        note="pulls the variances of the means to 1: all units are active",
    ),
    Method(
        "DIP-VAE II",
        _objective(lambda problem: kv.objectives.DisentangledInferredPrior("ii", 1.0)),
        note="pulls the variances of z to 1, which collapsed units have already",
    ),
    Method(
        "FactorVAE, gamma = 6.4",
        _factor,
        note="the total correlation by a discriminator instead of the batch",
        model=kv.FactorVAE,
    ),
    Method(
        "skew Jensen-Shannon, 0.5",
        _objective(lambda problem: kv.objectives.SkewJensenShannon(0.5)),
        note="means cost a fourth of their KL and sharp posteriors more than theirs, "
        "so that information comes by large means: much rate for its distortion",
    ),
    Method(
        "IWAE, k = 5",
        _objective(lambda problem: kv.ImportanceWeighted(5)),
        note="a tighter bound on log p(x): NLL falls while the ELBO need not",
    ),
    Method("VampPrior, K = 100", _vamp_prior, note="a prior that follows q(z)"),
    # === Other steps and networks ===
    Method(
        "aggressive encoder",
        lambda problem: {"max_steps": 10},
        lambda problem: [kv.callbacks.AggressiveStopping(problem.validation)],
        note="at most 10 steps of the encoder for each of the decoder, until the "
        "mutual information of validation data falls; fewer steps of the decoder "
        "within the budget",
        model=kv.AggressiveVAE,
    ),
    Method(
        "skip connections",
        _nothing,
        note="every layer of the decoder sees z",
        decoder=functools.partial(kv.networks.mlp_decoder, skip_connections=True),
    ),
    Method(
        "input dropout 0.2",
        _nothing,
        note="drops units of z in training, which a decoder without other inputs "
        "only loses by",
        decoder=_dropping_decoder,
    ),
]


# === Training and measuring ===


def build(method, problem):
    """Makes and compiles the network that all rows share, with one method."""
    keras.utils.set_random_seed(problem.seed)
    event_shape = problem.train.shape[1:]
    likelihood = method.likelihood()
    model = method.model(
        kv.networks.mlp_encoder(problem.hidden, event_shape, activation="tanh"),
        method.decoder(
            problem.hidden[::-1],
            likelihood.params_shape(event_shape),
            activation="tanh",
            output_bias=likelihood.initial_bias(problem.train.mean(axis=0)),
        ),
        problem.latent_dim,
        likelihood=likelihood,
        seed=problem.seed,
        **method.parts(problem),
    )
    steps = problem.epochs * -(-len(problem.train) // problem.batch_size)
    rate = keras.optimizers.schedules.CosineDecay(problem.learning_rate, steps)
    model.compile(keras.optimizers.Adam(rate))
    return model


def run(method, problem, progress):
    """Trains and measures one method.

    Args:
        method: `Method`.
        problem: `Problem`.
        progress: `tqdm.tqdm` that counts epochs.

    Returns:
        A dict of numbers, nats per example.
    """
    start = time.perf_counter(), time.process_time()
    progress.set_postfix_str(method.name)
    model = build(method, problem)
    model.fit(
        problem.train,
        batch_size=problem.batch_size,
        epochs=problem.epochs,
        verbose=0,
        callbacks=[*method.callbacks(problem), _Progress(progress)],
    )
    row = _terms(model, problem.test)
    parts = range(0, len(problem.test), _EVALUATED_AT_ONCE)
    means = [model.encode(problem.test[i : i + _EVALUATED_AT_ONCE])[0] for i in parts]
    row["active_units"] = kv.metrics.active_units(np.concatenate(means)).number
    if method.target is not None:
        row["target"] = getattr(problem, f"{method.target}_target")
        # The target is one of the training data.
        row["reached"] = _terms(model, problem.train)[method.target]
    row["nll"] = row["negative_elbo"] - bound_gap(model, problem)
    row["seconds"] = time.perf_counter() - start[0]
    row["processor_seconds"] = time.process_time() - start[1]
    return row


def _terms(model, x):
    logs = model.evaluate(x, batch_size=_EVALUATED_AT_ONCE, verbose=0, return_dict=True)
    return {
        "rate": logs["kl_loss"],
        "distortion": logs["reconstruction_loss"],
        "negative_elbo": logs["negative_elbo"],
    }


def bound_gap(model, problem):
    """Returns how far -ELBO lies above -log p(x), the mean over `nll_images`."""
    objective = kv.ImportanceWeighted(problem.importance_samples, kl=model.objective.kl)
    config = keras.saving.serialize_keras_object(objective)
    # Subclasses have further terms in their loss.
    parts = kv.VAE.get_config(model)
    evaluator = kv.VAE.from_config({**parts, "objective": config})
    evaluator.build((None, *problem.test.shape[1:]))
    for part in ("encoder", "decoder", "latent", "likelihood"):
        getattr(evaluator, part).set_weights(getattr(model, part).get_weights())
    evaluator.compile(jit_compile=True)
    logs = evaluator.evaluate(
        problem.test[: problem.nll_images],
        # A few thousand decoded images at a time are as fast as more.
        batch_size=max(1, 5000 // problem.importance_samples),
        verbose=0,
        return_dict=True,
    )
    return logs["negative_elbo"] - logs["loss"]


class _Progress(keras.callbacks.Callback):
    def __init__(self, progress):
        super().__init__()
        self._progress = progress

    def on_epoch_end(self, epoch, logs=None):
        self._progress.update()


# === Tables ===


def markdown(rows, settings, problem):
    """Returns the table of all finished rows.

    Args:
        rows: Dict, name of a method -> what `run` returned.
        settings: Dict of what the rows were measured with.
        problem: `Problem`.
    """
    done = [method for method in METHODS if method.name in rows]
    table = [_line(method, rows[method.name]) for method in done]
    targets = [
        _target_line(method, rows[method.name]) for method in done if method.target
    ]
    minutes = sum(row["processor_seconds"] for row in rows.values()) / 60
    images = f"{len(problem.train):,} training and {len(problem.test):,} test images"
    sizes = "-".join(map(str, [*problem.hidden, problem.latent_dim]))
    return "\n".join(
        [
            "# Every method on one network",
            "",
            f"{settings['dataset']}, {images}; MLP {sizes} of tanh units, "
            f"{problem.epochs} epochs in batches of {problem.batch_size}, Adam "
            f"{problem.learning_rate:g} with "
            f"cosine decay, seed {problem.seed}, one run per row. Written by",
            "",
            f"    {settings['command']}",
            "",
            f"on {settings['machine']}, in {minutes:.0f} minutes of processor time.",
            "",
            "Test data, nats per example, summed over pixels and units. Rate, "
            "distortion and -ELBO have no weight, whatever the method's loss is. NLL "
            "is -ELBO less its gap to -log p(x), which was measured with "
            f"{problem.importance_samples} importance samples from q(z|x) on the first "
            f"{problem.nll_images:,} test images. A unit is active if the variance of "
            "its posterior mean exceeds "
            "0.01.",
            "",
            "| method | rate | distortion | -ELBO | NLL | active units |",
            "|---|---|---|---|---|---|",
            *table,
            "",
            "(d): a Gaussian is a density over real numbers. Its nats do not compare "
            "with the probabilities of binary images in the other rows, and at a small "
            "scale they fall below 0; rate and active units do compare.",
            "",
            "## Targets",
            "",
            "Reached on the training data, on which the target is defined.",
            "",
            "| method | target of | target | reached | relative error |",
            "|---|---|---|---|---|",
            *targets,
            "",
            "## What theory says of the rows",
            "",
            *(f"* {method.name}: {method.note}." for method in done if method.note),
            "",
        ]
    )


def _line(method, row):
    mark = "" if method.comparable else " (d)"
    nats = [f"{row[key]:.2f}{mark}" for key in ("distortion", "negative_elbo", "nll")]
    cells = [method.name, f"{row['rate']:.2f}", *nats, str(row["active_units"])]
    return f"| {' | '.join(cells)} |"


def _target_line(method, row):
    error = row["reached"] / row["target"] - 1
    cells = [method.target, f"{row['target']:g}", f"{row['reached']:.2f}"]
    return f"| {method.name} | {' | '.join(cells)} | {100 * error:+.2f} % |"


# === Program ===


def define(flag_values=flags.FLAGS):
    """Defines the flags."""
    common = {"flag_values": flag_values}
    flags.DEFINE_string(
        "data_dir", None, "Directory of the data; or KERAS_VAE_DATA.", **common
    )
    flags.DEFINE_boolean("quick", False, "Digits, tiny budgets.", **common)
    flags.DEFINE_list("methods", [], "Rows to run; all by default.", **common)
    flags.DEFINE_list("hidden", ["200", "200"], "Units of the encoder.", **common)
    flags.DEFINE_integer("latent_dim", 32, "Latent units.", lower_bound=1, **common)
    flags.DEFINE_integer("epochs", 10, "Epochs of each row.", lower_bound=1, **common)
    flags.DEFINE_integer("batch_size", 100, "Batch size.", lower_bound=1, **common)
    flags.DEFINE_float("learning_rate", 2e-3, "First learning rate.", **common)
    flags.DEFINE_integer(
        "importance_samples", 500, "K of the NLL.", lower_bound=1, **common
    )
    flags.DEFINE_integer(
        "nll_images",
        1000,
        "So many test images for the gap between -ELBO and NLL.",
        lower_bound=1,
        **common,
    )
    flags.DEFINE_float("rate_target", 15.0, "Nats.", **common)
    flags.DEFINE_float("distortion_target", 90.0, "Nats.", **common)
    flags.DEFINE_integer("seed", 0, "Seed of weights and noise.", **common)
    flags.DEFINE_string(
        "results", "runs/methods.json", "Finished rows, to go on from.", **common
    )
    flags.DEFINE_string("output", "docs/methods.md", "The table.", **common)


def load(chosen):
    """Returns the `Problem` that the flags describe, and the name of its data."""
    if chosen.quick:
        for name, value in _QUICK.items():
            if not chosen[name].present:
                chosen[name].value = value
        train, test = (kv.datasets.binarize(x) for x in kv.datasets.digits())
        train, validation = train[:-200], train[-200:]
        dataset = "Digits 8x8, binarised"
    else:
        train, validation, test = kv.datasets.binarized_mnist(chosen.data_dir)
        dataset = "Static binarised MNIST"
    problem = Problem(
        train,
        validation[:1000],
        test,
        [int(units) for units in chosen.hidden],
        chosen.latent_dim,
        chosen.epochs,
        chosen.batch_size,
        chosen.learning_rate,
        chosen.importance_samples,
        min(chosen.nll_images, len(test)),
        chosen.rate_target,
        chosen.distortion_target,
        chosen.seed,
    )
    return problem, dataset


def chosen_methods(names):
    """Returns the methods of these names, all where there are none.

    Raises:
        ValueError: If there is no such method.
    """
    known = {method.name: method for method in METHODS}
    # Names may hold commas, at which a list flag is split.
    unknown = [name for name in names if not any(name in key for key in known)]
    if unknown:
        raise ValueError(
            f"`--methods` must be parts of {sorted(known)}. Received: {unknown}"
        )
    return [m for m in METHODS if not names or any(name in m.name for name in names)]


def read(path, measured_with):
    """Returns the finished rows of a results file.

    Raises:
        ValueError: If the file holds rows of other settings.
    """
    if not path.is_file():
        return {}
    stored = json.loads(path.read_text())
    if stored["measured_with"] != measured_with:
        raise ValueError(
            "`--results` must be a new file, or one of the same settings. Received: "
            f"{path} with {stored['measured_with']}, not {measured_with}"
        )
    return stored["rows"]


def _write(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    with _run.replaced(path) as partial:
        partial.write_text(text)


def _machine():
    model = platform.processor() or platform.machine()
    cpuinfo = pathlib.Path("/proc/cpuinfo")
    if cpuinfo.is_file():
        names = [x for x in cpuinfo.read_text().splitlines() if "model name" in x]
        model = names[0].split(":")[1].strip() if names else model
    cores = os.environ.get("TF_NUM_INTRAOP_THREADS", os.cpu_count())
    return (
        f"{cores} cores of an {model}, TensorFlow {tf.__version__} and "
        f"Keras {keras.__version__}"
    )


def benchmark(chosen, argv):
    """Runs the rows that are missing and returns the table."""
    problem, dataset = load(chosen)
    measured_with = {
        "dataset": dataset,
        **{
            name: value
            for name, value in problem._asdict().items()
            if name not in ("train", "validation", "test")
        },
    }
    results = pathlib.Path(chosen.results)
    rows = read(results, measured_with)
    methods = chosen_methods(chosen.methods)
    missing = [method for method in methods if method.name not in rows]
    trained = problem.epochs * len(problem.train) / _TRAINED
    decoded = problem.importance_samples * problem.nll_images / _DECODED
    print(
        f"{dataset}: {len(missing)} of {len(methods)} rows to run, about "
        f"{len(missing) * (trained + decoded + 15) / 60:.0f} minutes of processor time"
    )
    settings = {
        "dataset": dataset,
        "machine": _machine(),
        "command": " ".join(["python -m benchmarks.methods", *argv]),
    }
    text = markdown(rows, settings, problem)
    with tqdm.tqdm(total=len(missing) * problem.epochs, unit="epoch") as progress:
        for method in missing:
            rows[method.name] = run(method, problem, progress)
            stored = {"measured_with": measured_with, "rows": rows}
            _write(results, json.dumps(stored, indent=1))
            keras.backend.clear_session()
            text = markdown(rows, settings, problem)
            _write(pathlib.Path(chosen.output), text)
    return text


def main(argv):
    """Runs the program."""
    if len(argv) > 1:
        sys.exit(f"Arguments must be flags, --name=value. Received: {argv[1:]}")
    try:
        print(benchmark(flags.FLAGS, sys.argv[1:]))
    except (ValueError, FileNotFoundError) as error:
        sys.exit(f"{error}")


if __name__ == "__main__":
    define()
    app.run(main)

"""Trains one Multi-Rate VAE beside a VAE for each beta, with equal budgets.

    python -m benchmarks.multi_rate --data_dir=DATA
    python -m benchmarks.multi_rate --data_dir=DATA --protocol=resnet
    python -m benchmarks.multi_rate --quick

The data are MNIST in Larochelle's static binarisation. Protocol "mlp" takes the network
784-200-200-50, nine betas and three seeds; "resnet" is that of the authors, 8 epochs
with 32 latents, four betas and one seed, and takes an hour. `--quick` takes small scans
of digits and tiny budgets, to try either. All models are trained alike: Adam's learning
rate rises over the first tenth to `--learning_rate` and falls by a cosine, as in the
authors' experiments, and so rises the weight of the KL. With `--constant_rate` it is
the same from the first step to the last, as in the demonstration that their table is
of, and the KL has its weight at once.

The expected time is printed first. Each finished model is written to `--results` at
once, and a second call goes on with the models that are missing; `--output` is the
table in Markdown.
"""

import json
import pathlib
import sys
import time
import typing
from collections.abc import Callable

import keras
import numpy as np
import tqdm
from absl import app
from absl import flags

import keras_vae as kv
from trainers import _run

# Rate and distortion of the authors' Multi-Rate VAE, and of their beta-VAEs.
_PUBLISHED = {
    0.01: ((112.2, 47.5), (129.1, 42.2)),
    0.1: ((76.1, 48.9), (81.7, 45.2)),
    1.0: ((30.2, 65.3), (25.6, 68.7)),
    10.0: ((4.7, 141.6), (3.5, 148.4)),
}
_SOURCE = "github.com/pomonam/mr-vae, static MNIST, ResNet, 8 epochs"
_EVALUATED_AT_ONCE = 500


class Protocol(typing.NamedTuple):
    """What is trained, and for how long.

    Args:
        encoder: Callable, event shape -> encoder.
        decoder: Callable, (event shape, bias) -> decoder.
        latent_dim: Integer.
        betas: List of floats.
        seeds: Integer, number of seeds.
        epochs: Integer.
        batch_size: Integer.
        trial: Integer, steps of each of the two epochs by which its time is estimated.
        learning_rate: Float, the highest.
        constant_rate: Boolean, whether it is that throughout.
        multi_rate: Dict of further arguments of the Multi-Rate VAE.
    """

    encoder: Callable
    decoder: Callable
    latent_dim: int
    betas: list
    seeds: int
    epochs: int
    batch_size: int
    trial: int
    learning_rate: float = 2e-3
    constant_rate: bool = False
    multi_rate: dict = {}


def _mlp(hidden):
    def encoder(shape):
        return kv.networks.mlp_encoder([hidden, hidden], shape)

    def decoder(shape, bias):
        return kv.networks.mlp_decoder([hidden, hidden], shape, output_bias=bias)

    return encoder, decoder


def _resnet(filters, blocks):
    def encoder(shape):
        return kv.networks.resnet_encoder(shape, filters, blocks)

    def decoder(shape, bias):
        bias = float(np.mean(bias))
        return kv.networks.resnet_decoder(shape, filters, blocks, output_bias=bias)

    return encoder, decoder


_NINE = [float(f"{beta:.3g}") for beta in np.geomspace(0.01, 10.0, 9)]
PROTOCOLS = {
    "mlp": Protocol(*_mlp(200), 50, _NINE, 3, 50, 64, 256),
    "resnet": Protocol(*_resnet(None, 2), 32, list(_PUBLISHED), 1, 8, 64, 20),
}
_QUICK = {
    "mlp": Protocol(*_mlp(32), 8, [0.01, 0.1, 1.0, 10.0], 1, 2, 64, 256),
    "resnet": Protocol(*_resnet([8], 1), 8, [0.01, 1.0, 10.0], 1, 1, 64, 20),
}


class Task(typing.NamedTuple):
    """One model: of one beta, or of all where that is None."""

    beta: float | None
    seed: int

    @property
    def name(self):
        return f"{'multi' if self.beta is None else f'beta={self.beta:g}'}/{self.seed}"


def define(flag_values=flags.FLAGS):
    """Defines the flags."""
    common = {"flag_values": flag_values}
    flags.DEFINE_enum("protocol", "mlp", list(PROTOCOLS), "What is trained.", **common)
    flags.DEFINE_boolean("quick", False, "Digits, tiny budgets.", **common)
    flags.DEFINE_string(
        "data_dir", None, "Directory of the data; or KERAS_VAE_DATA.", **common
    )
    flags.DEFINE_enum(
        "gates", "spline", ["spline", "original"], "Of the Multi-Rate VAE.", **common
    )
    flags.DEFINE_float("tilt", 1.5, "Likewise.", lower_bound=1.0, **common)
    flags.DEFINE_integer("rank", 32, "Likewise.", lower_bound=0, **common)
    flags.DEFINE_float("learning_rate", 2e-3, "Of all.", lower_bound=1e-12, **common)
    flags.DEFINE_boolean("constant_rate", False, "Whether it stays that.", **common)
    flags.DEFINE_integer(
        "epochs", None, "Instead of the protocol's.", lower_bound=1, **common
    )
    flags.DEFINE_integer("seeds", None, "Likewise.", lower_bound=1, **common)
    flags.DEFINE_multi_float("beta", None, "Likewise, repeatedly.", **common)
    flags.DEFINE_string("results", None, "Finished models, to go on from.", **common)
    flags.DEFINE_string("output", None, "The table.", **common)


def protocol_of(chosen):
    """Returns the protocol that the flags ask for."""
    protocol = (_QUICK if chosen.quick else PROTOCOLS)[chosen.protocol]
    changes = {
        "epochs": chosen.epochs,
        "seeds": chosen.seeds,
        "betas": chosen.beta,
        "multi_rate": {
            "gates": chosen.gates,
            "tilt": chosen.tilt,
            "rank": chosen.rank,
        },
        "learning_rate": chosen.learning_rate,
        "constant_rate": chosen.constant_rate,
    }
    return protocol._replace(**{k: v for k, v in changes.items() if v is not None})


def load(chosen):
    """Returns training and test images."""
    if chosen.quick:
        train, test = kv.datasets.digits()
        return np.round(train), np.round(test)
    train, _, test = kv.datasets.binarized_mnist(chosen.data_dir)
    return train, test


def make(protocol, train, task):
    """Returns a compiled model."""
    keras.utils.set_random_seed(task.seed)
    shape = train.shape[1:]
    bias = kv.distributions.Bernoulli().initial_bias(train.mean(axis=0))
    networks = (
        protocol.encoder(shape),
        protocol.decoder(shape, bias),
        protocol.latent_dim,
    )
    if task.beta is None:
        model = kv.MultiRateVAE(*networks, seed=task.seed, **protocol.multi_rate)
    else:
        objective = kv.ELBO(kl_weight=task.beta)
        model = kv.VAE(*networks, objective=objective, seed=task.seed)
    rate = protocol.learning_rate
    if not protocol.constant_rate:
        steps = protocol.epochs * -(-len(train) // protocol.batch_size)
        rise = max(steps // 10, 1)
        rate = keras.optimizers.schedules.CosineDecay(
            0.0, steps - rise, warmup_target=rate, warmup_steps=rise
        )
    model.compile(keras.optimizers.Adam(rate))
    return model


def train_and_evaluate(protocol, train, test, task):
    """Returns what is written of one model."""
    model = make(protocol, train, task)
    callbacks = []
    if not protocol.constant_rate:
        end = 1.0 if task.beta is None else task.beta
        callbacks = [kv.KLAnnealing(kv.schedules.linear("10%", end=end))]
    begin = time.perf_counter()
    model.fit(
        train,
        epochs=protocol.epochs,
        batch_size=protocol.batch_size,
        callbacks=callbacks,
        verbose=0,
    )
    seconds = time.perf_counter() - begin
    rows = []
    for beta in protocol.betas if task.beta is None else [task.beta]:
        plain = model if task.beta is not None else model.at(beta)
        logs = plain.evaluate(
            test, batch_size=_EVALUATED_AT_ONCE, verbose=0, return_dict=True
        )
        rows.append([beta, logs["kl_loss"], logs["reconstruction_loss"]])
    return {"seconds": seconds, "rows": rows}


def expected_seconds(protocol, train, num_models):
    """Measures some steps of a model, and returns the time that all models take."""
    model = make(protocol, train, Task(None, 0))
    # Two epochs long enough for what `fit` compiles in blocks; the second is measured.
    part = train[: protocol.batch_size * protocol.trial]
    ends = []
    clock = keras.callbacks.LambdaCallback(
        on_epoch_end=lambda epoch, logs: ends.append(time.perf_counter())
    )
    model.fit(
        part, epochs=2, batch_size=protocol.batch_size, callbacks=[clock], verbose=0
    )
    each = (ends[1] - ends[0]) * len(train) / len(part) * protocol.epochs
    return each * num_models


def table(protocol, models):
    """Returns the comparison of finished models in Markdown."""
    lines = [
        "| beta | separate: rate, distortion | J | multi-rate: rate, distortion | J "
        "| excess of J | authors' excess |",
        "|---|---|---|---|---|---|---|",
    ]
    for beta in protocol.betas:
        separate = _terms(models, beta, f"beta={beta:g}/")
        multi = _terms(models, beta, "multi/")
        lines.append(
            f"| {beta:g} | {_cells(separate, beta)} | {_cells(multi, beta)} "
            f"| {_excess(multi, separate, beta)} | {_published_excess(beta)} |"
        )
    multi, separate = (
        np.mean([m["seconds"] for name, m in models.items() if (name[:5] == kind)])
        for kind in ("multi", "beta=")
    )
    lines += [
        "",
        f"J = distortion + beta rate, in nats on the test images, means over seeds. "
        f"{protocol.epochs} epochs each; one multi-rate run took {multi:.0f} s, "
        f"{multi / separate:.2f} times a separate one of {separate:.0f} s.",
        "",
        "Published:",
        "",
        "| beta | beta-VAE: rate, distortion | J | MR-VAE: rate, distortion | J "
        "| excess of J |",
        "|---|---|---|---|---|---|",
    ]
    for beta, (multi, separate) in _PUBLISHED.items():
        lines.append(
            f"| {beta:g} | {_cells(separate, beta)} | {_cells(multi, beta)} "
            f"| {_excess(multi, separate, beta)} |"
        )
    return "\n".join([*lines, "", f"Source: {_SOURCE}.", ""])


def _terms(models, beta, prefix):
    """Returns rate and distortion at `beta`, means over the finished seeds."""
    found = [
        row[1:]
        for name, model in models.items()
        for row in model["rows"]
        if name.startswith(prefix) and row[0] == beta
    ]
    return tuple(np.mean(found, axis=0))


def _total(terms, beta):
    rate, distortion = terms
    return distortion + beta * rate


def _cells(terms, beta):
    return f"{terms[0]:.2f}, {terms[1]:.2f} | {_total(terms, beta):.2f}"


def _excess(multi, separate, beta):
    return f"{100 * (_total(multi, beta) / _total(separate, beta) - 1):+.1f}%"


def _published_excess(beta):
    return _excess(*_PUBLISHED[beta], beta) if beta in _PUBLISHED else ""


def benchmark(chosen):
    """Trains what is missing and returns the table."""
    protocol = protocol_of(chosen)
    kind = f"{chosen.protocol}{'_quick' if chosen.quick else ''}"
    results = pathlib.Path(chosen.results or f"runs/multi_rate_{kind}.json")
    output = pathlib.Path(chosen.output or f"runs/multi_rate_{kind}.md")
    settings = {
        "protocol": kind,
        **protocol.multi_rate,
        "learning_rate": protocol.learning_rate,
        "constant_rate": protocol.constant_rate,
        "epochs": protocol.epochs,
        "betas": protocol.betas,
    }
    state = {"settings": settings, "models": {}}
    if results.is_file():
        state = json.loads(results.read_text())
    if state["settings"] != settings:
        raise ValueError(
            f"`--results` must hold models of these settings, {settings}. Received: "
            f"{results} with {state['settings']}. Choose another --results."
        )
    train, test = load(chosen)
    models = state["models"]
    betas = (None, *protocol.betas)
    tasks = [Task(beta, seed) for seed in range(protocol.seeds) for beta in betas]
    missing = [task for task in tasks if task.name not in models]
    if missing:
        hours = expected_seconds(protocol, train, len(missing)) / 3600
        print(f"{len(missing)} models to train, some {hours:.2f} hours.", flush=True)
    results.parent.mkdir(parents=True, exist_ok=True)
    output.parent.mkdir(parents=True, exist_ok=True)
    for task in tqdm.tqdm(missing, disable=not sys.stderr.isatty()):
        models[task.name] = train_and_evaluate(protocol, train, test, task)
        with _run.replaced(results) as path:
            path.write_text(json.dumps(state, indent=1) + "\n")
    text = table(protocol, models)
    with _run.replaced(output) as path:
        path.write_text(text)
    return text


def main(argv):
    """Runs the program."""
    if len(argv) > 1:
        sys.exit(f"Arguments must be flags, --name=value. Received: {argv[1:]}")
    try:
        print(benchmark(flags.FLAGS))
    except (ValueError, FileNotFoundError) as error:
        sys.exit(f"{error}")


if __name__ == "__main__":
    define()
    app.run(main)

"""Runs `trainers.weigh` with default flags on many data sets, and checks its answer.

    python -m benchmarks.panel --data_dir=DATA
    python -m benchmarks.panel --sets=wine,iris --seeds=1

For each set the exported model stands beside models without a network, and beside
VAEs that were trained for its weight alone, with the same networks and all epochs of
the run. On the sets of `--nine` VAEs are trained at nine weights too, to see if the
advised weight is a good one. A table whose test split has fewer than 100 rows is
split `--splits` times. Everything that is finished is written to `--results` at once,
and a second call goes on with what is missing. `--output` is the table in Markdown.
"""

import json
import math
import pathlib
import sys
import time

import keras
import numpy as np
from absl import app
from absl import flags
from absl import logging

import keras_vae as kv
from benchmarks import panel_data
from trainers import _batches
from trainers import _data
from trainers import _flags
from trainers import _program
from trainers import _resolve
from trainers import _run
from trainers import _sources
from trainers import weigh

# Test examples, below which one split tells little.
_FEW = 100
_COLUMNS = (
    "data set",
    "training, test examples",
    "beta",
    "-ELBO",
    "best without a network",
    "-ELBO less the best, mean of splits",
    "excess of J over its own VAEs",
    "-ELBO over the best of nine weights",
    "active units",
    "minutes",
)


def define(values=flags.FLAGS):
    """Defines the flags."""
    names = ",".join(panel_data.SETS)
    common = {"flag_values": values}
    flags.DEFINE_list("sets", names, "What is measured.", **common)
    flags.DEFINE_list("nine", "digits,wine,counts", "Also at nine weights.", **common)
    flags.DEFINE_integer("seeds", 2, "Of VAEs of one weight.", lower_bound=0, **common)
    flags.DEFINE_integer("splits", 5, "Of small tables.", lower_bound=1, **common)
    flags.DEFINE_string(
        "data_dir", None, "Directory of the data; or KERAS_VAE_DATA.", **common
    )
    flags.DEFINE_string("results", "runs/panel", "Directory of all runs.", **common)
    flags.DEFINE_string("output", None, "Default <results>/table.md.", **common)
    flags.DEFINE_integer(
        "epochs", None, "Instead of the program's.", lower_bound=1, **common
    )


def loss(metrics, settings, beta, size):
    """Returns J = distortion + beta rate on the test split, nats.

    Args:
        metrics: Dict of figures of a model, of whose noise a normal's -ELBO is.
        settings: `trainers._settings.Settings`.
        beta: Float.
        size: Integer, elements of an event.
    """
    if settings.model.likelihood != "normal":
        return metrics["distortion"] + beta * metrics["rate"]
    bound = metrics.get("standardized_negative_elbo", metrics["negative_elbo"])
    return beta * (bound - size / 2 * math.log(2 * math.pi * beta))


def flags_of(path, directory, epochs):
    """Returns the settings of a run, defaults but for the number of epochs."""
    args = [f"--dataset={path}", f"--run_dir={directory}", "--resume"]
    args += [] if epochs is None else [f"--epochs={epochs}"]
    return _resolve.weigh(_resolve.parsed(_flags.define_weigh, args))


def measure_run(settings):
    """Runs the program; returns what is written of it."""
    settings, run, data, model = weigh.prepare(settings)
    begin = time.perf_counter()
    text = weigh.weigh(settings, run, data, model)
    metrics = json.loads((run.path / "metrics.json").read_text())
    return {
        "seconds": time.perf_counter() - begin,
        "metrics": metrics,
        "linear_wins": "The linear model wins" in text,
        "J": loss(metrics, settings, metrics["beta"], data.train[0].size),
    }


def prepared(settings):
    """Returns settings and data of a finished run."""
    model = settings.model
    data = _data.load(settings.data, model.likelihood, latent_dim=model.latent_dim)
    return _resolve.weigh_on(settings, data), data


def measure_own(settings, data, beta, seed):
    """Trains a VAE of one weight with all epochs; returns its J and -ELBO."""
    settings = settings.with_values(seed=seed)
    model = _sources.build_one(settings, data, beta)
    model.fit(
        _batches.batches(data.inputs("train"), settings),
        shuffle=False,
        epochs=settings.fit.epochs,
        callbacks=_sources.warmup(settings, data, settings.fit.epochs),
        verbose=0,
    )
    metrics = _program.evaluate(
        kv.weighing.with_own_noise(model, beta),
        data.test,
        settings.fit.batch_size,
        settings.run.eval_samples,
    )
    keras.backend.clear_session()
    size = data.train[0].size
    return {
        "J": loss(metrics, settings, beta, size),
        "negative_elbo": metrics["negative_elbo"],
    }


def benchmark(chosen):
    """Measures what is missing and returns the table."""
    directory = pathlib.Path(chosen.results)
    directory.mkdir(parents=True, exist_ok=True)
    path = directory / "results.json"
    found = json.loads(path.read_text()) if path.is_file() else {}

    def remember(name, key, make):
        if key not in found.setdefault(name, {}):
            print(f"{name}: {key}", flush=True)
            found[name][key] = make()
            with _run.replaced(path) as partial:
                partial.write_text(json.dumps(found, indent=1) + "\n")

    for name in chosen.sets:
        _measure(name, chosen, directory, remember, found)
    text = table({name: found[name] for name in chosen.sets})
    output = pathlib.Path(chosen.output or directory / "table.md")
    with _run.replaced(output) as partial:
        partial.write_text(text)
    return text


def _measure(name, chosen, directory, remember, found):
    path = panel_data.write(name, directory, chosen.data_dir)
    settings = flags_of(path, directory / name, chosen.epochs)
    remember(name, "run", lambda: measure_run(settings))
    beta = found[name]["run"]["metrics"]["beta"]
    settings, data = prepared(settings)
    found[name]["examples"] = [len(data.train), len(data.test)]
    is_small = path.suffix == ".csv" and len(data.test) < _FEW
    for split in range(1, chosen.splits if is_small else 1):
        other = panel_data.write(name, directory, chosen.data_dir, split)
        other = flags_of(other, directory / f"{name}-{split}", chosen.epochs)
        remember(name, f"run, split {split}", lambda other=other: measure_run(other))
    for seed in range(chosen.seeds):
        remember(
            name,
            f"own, seed {seed}",
            lambda seed=seed: measure_own(settings, data, beta, seed),
        )
    if name not in chosen.nine:
        return
    # The ends of the range are never advised.
    weights = np.geomspace(*settings.weigh.beta_range, 11)[1:-1].tolist()
    for number, weight in enumerate(weights):
        remember(
            name,
            f"weight {number}",
            lambda weight=weight: measure_own(settings, data, weight, 0),
        )


def table(found):
    """Returns the results in Markdown."""
    lines = ["| " + " | ".join(_COLUMNS) + " |", "|---" * len(_COLUMNS) + "|"]
    lines += ["| " + " | ".join(_row(name, one)) + " |" for name, one in found.items()]
    return "\n".join([*lines, ""])


def _behind(run):
    """Returns by how many nats a run is behind the best model without a network."""
    metrics = run["metrics"]
    return metrics["negative_elbo"] - min(metrics["baselines"].values())


def _row(name, one):
    run = one["run"]
    metrics = run["metrics"]
    baselines = metrics["baselines"]
    best = min(baselines, key=baselines.get)
    splits = [run, *(value for key, value in one.items() if key.startswith("run, "))]
    own = [value for key, value in one.items() if key.startswith("own")]
    nine = [value for key, value in one.items() if key.startswith("weight")]
    excess, behind = "", ""
    if own:
        mean = np.mean([value["J"] for value in own])
        excess = f"{100 * (run['J'] - mean) / abs(mean):+.1f}%"
    if own and nine:
        least = min(value["negative_elbo"] for value in nine)
        behind = f"{own[0]['negative_elbo'] - least:+.2f}"
    exported = "the linear model" if run["linear_wins"] else ""
    return (
        name,
        ", ".join(map(str, one["examples"])),
        f"{metrics['beta']:.4g}",
        f"{metrics['negative_elbo']:.2f} {exported}".strip(),
        f"{baselines[best]:.2f} ({best})",
        f"{np.mean([_behind(value) for value in splits]):+.2f} of {len(splits)}",
        excess,
        behind,
        f"{metrics['active_units']} of {metrics['latent_dim']}",
        f"{run['seconds'] / 60:.1f}",
    )


def main(argv):
    """Runs the program."""
    if len(argv) > 1:
        sys.exit(f"Arguments must be flags, --name=value. Received: {argv[1:]}")
    unknown = set(flags.FLAGS.sets) - set(panel_data.SETS)
    if unknown:
        sys.exit(f"`--sets` must be of {list(panel_data.SETS)}. Received: {unknown}")
    # TensorFlow tells of every function that it saves.
    logging.set_verbosity(logging.WARNING)
    print(benchmark(flags.FLAGS))


if __name__ == "__main__":
    define()
    app.run(main)

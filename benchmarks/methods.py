"""Trains one network with every way of balancing KL and reconstruction.

    python -m benchmarks.methods --data_dir=DATA
    python -m benchmarks.methods --quick

The data are MNIST in Larochelle's static binarisation; `--quick` takes small scans of
digits and tiny budgets, to try the program. Each finished row is written to `--results`
at once, and a second call goes on with the rows that are missing; `--output` is the
table in Markdown. A further method is one more entry of
`balancing.registry.METHODS`.
"""

import json
import os
import pathlib
import platform
import sys

import keras
import tensorflow as tf
import tqdm
from absl import app
from absl import flags

import keras_vae as kv
from benchmarks.balancing import measuring
from benchmarks.balancing import registry
from benchmarks.balancing import table
from benchmarks.balancing.method import Problem
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
    methods = registry.chosen(chosen.methods)
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
    text = table.markdown(rows, settings, problem)
    with tqdm.tqdm(total=len(missing) * problem.epochs, unit="epoch") as progress:
        for method in missing:
            rows[method.name] = measuring.run(method, problem, progress)
            stored = {"measured_with": measured_with, "rows": rows}
            _write(results, json.dumps(stored, indent=1))
            keras.backend.clear_session()
            text = table.markdown(rows, settings, problem)
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

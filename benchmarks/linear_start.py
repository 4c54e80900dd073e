"""Measures what a linear path, and its start from the data, save and gain.

    python -m benchmarks.linear_start --data_dir=DATA

Trains the default VAE of `trainers.train` without a linear path, with a random one and
with one that starts at the best linear VAE of the data, and compares -ELBO on
validation data by epoch. "Epochs" are those after which a model is as good as the one
without a path ever gets, "end" the last epoch's -ELBO and "best" the best one's, in
nats of standardised data, means over seeds. Everything that is finished is written to
`--results` at once, and a second call goes on with what is missing.
"""

import json
import pathlib
import sys

import keras
import numpy as np
from absl import app
from absl import flags

import keras_vae as kv
from benchmarks import panel_data
from trainers import _batches
from trainers import _data
from trainers import _flag_checks
from trainers import _flags
from trainers import _model
from trainers import _program
from trainers import _resolve
from trainers import _run
from trainers import train

STARTS = ("none", "random", "data")


def define(values=flags.FLAGS):
    """Defines the flags."""
    common = {"flag_values": values}
    sets = "digits,breast_cancer,patches"
    flags.DEFINE_list("sets", sets, "Of those of benchmarks.panel.", **common)
    flags.DEFINE_integer("seeds", 3, "How many.", lower_bound=1, **common)
    flags.DEFINE_integer("epochs", 100, "Of each model.", lower_bound=1, **common)
    flags.DEFINE_string(
        "data_dir", None, "Directory of the data; or KERAS_VAE_DATA.", **common
    )
    flags.DEFINE_string("results", "runs/linear_start", "Directory.", **common)


def measure(path, start, seed, epochs):
    """Trains one model; returns -ELBO on validation data after each epoch, nats.

    Args:
        path: `pathlib.Path` of the data.
        start: String, of `STARTS`.
        seed: Integer.
        epochs: Integer.
    """
    args = [f"--dataset={path}", f"--linear_path={start}", f"--seed={seed}"]
    # One likelihood for all, also of grey values.
    args += [f"--epochs={epochs}", "--likelihood=normal", "--name=none"]
    settings = _resolve.train(_resolve.parsed(_flags.define_train, args))
    latent_dim = settings.model.latent_dim
    data = _data.load(settings.data, "normal", latent_dim=latent_dim)
    settings = _resolve.train_on(settings, data)
    schedule = _flag_checks.kl_schedule(settings)
    model = _model.build(
        settings,
        data,
        lambda **parts: kv.VAE(objective=train.objective(settings), **parts),
    )
    history = model.fit(
        _batches.batches(data.inputs("train"), settings),
        shuffle=False,
        validation_data=(data.validation,),
        epochs=epochs,
        callbacks=_program.annealing(settings, epochs, data, schedule),
        verbose=0,
    ).history
    keras.backend.clear_session()
    return history["val_negative_elbo"]


def benchmark(chosen):
    """Measures what is missing and returns the table."""
    directory = pathlib.Path(chosen.results)
    directory.mkdir(parents=True, exist_ok=True)
    results = directory / "results.json"
    found = json.loads(results.read_text()) if results.is_file() else {}
    for name in chosen.sets:
        path = panel_data.write(name, directory, chosen.data_dir)
        for start in STARTS:
            for seed in range(chosen.seeds):
                key = f"{name}, {start}, seed {seed}, {chosen.epochs} epochs"
                if key not in found:
                    print(key, flush=True)
                    found[key] = measure(path, start, seed, chosen.epochs)
                    with _run.replaced(results) as partial:
                        partial.write_text(json.dumps(found) + "\n")
    text = table(found, chosen.sets, chosen.seeds, chosen.epochs)
    with _run.replaced(directory / "table.md") as partial:
        partial.write_text(text)
    return text


def table(found, sets, seeds, epochs):
    """Returns the results in Markdown."""
    lines = [
        "| data set | linear path | epochs | end | best |",
        "|---|---|---|---|---|",
    ]
    for name in sets:
        curves = {
            start: np.array(
                [
                    found[f"{name}, {start}, seed {seed}, {epochs} epochs"]
                    for seed in range(seeds)
                ]
            )
            for start in STARTS
        }
        goals = curves["none"].min(axis=1)
        for start, values in curves.items():
            needed = [
                epochs_to(goal, row) for goal, row in zip(goals, values, strict=True)
            ]
            lines.append(
                f"| {name} | {start} | {_mean(needed)} | {values[:, -1].mean():.2f} "
                f"| {values.min(axis=1).mean():.2f} |"
            )
    return "\n".join([*lines, ""])


def epochs_to(goal, values):
    """Returns after how many epochs a value is reached, infinity for never."""
    reached = np.flatnonzero(np.asarray(values) <= goal)
    return float(reached[0]) + 1 if reached.size else float("inf")


def _mean(numbers):
    return "never" if np.isinf(numbers).any() else f"{np.mean(numbers):.0f}"


def main(argv):
    """Runs the program."""
    if len(argv) > 1:
        sys.exit(f"Arguments must be flags, --name=value. Received: {argv[1:]}")
    print(benchmark(flags.FLAGS))


if __name__ == "__main__":
    define()
    app.run(main)

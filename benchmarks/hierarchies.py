"""Batch normalization and warm-up beside the ladder: what keeps the levels alive?

    python -m benchmarks.hierarchies --data_dir=DATA
    python -m benchmarks.hierarchies --data_dir=DATA --rows="top-down,MLP VAE"
    python -m benchmarks.hierarchies --quick

Trains hierarchies of five levels, z 64-32-16-8-4 with dense layers of 512-256-128-64-32
units, on MNIST binarised anew in each epoch: the plain hierarchy, whose inference runs
upwards, and the Ladder VAE, both with and without batch normalization and a warm-up of
the KL weight over half of the run. A row is a run of `trainers.train` in
`--results`, so that a call which was stopped goes on within its row; what it is likely
to take is printed first. Each finished row is printed with the mean over `--seeds` of
-ELBO and the IW-100 bound on log p(x), in nats on the test images, and KL and active
units of each level, that next to x first.

The rows "top-down", residual states in the manner of VDVAE, and "MLP VAE" are on static
MNIST, and train for `--minutes`: as many epochs as a few timed steps let expect, which
are kept for later calls. Samples are in `report.png` of each run.

`--quick` takes small scans of digits and tiny budgets, to try it.
"""

import json
import pathlib
import tempfile
import time

import keras
import numpy as np
from absl import app
from absl import flags

import keras_vae as kv
from benchmarks import table_of_runs
from trainers import _data
from trainers import _flags
from trainers import _resolve
from trainers import _run
from trainers import train

ROWS = {
    "plain": ["--model=bottom_up", "--schedule=none"],
    "plain, normalized and warmed up": ["--model=bottom_up", "--batch_normalization"],
    "ladder": ["--model=ladder", "--schedule=none"],
    "ladder, normalized and warmed up": ["--model=ladder", "--batch_normalization"],
}
TIMED = {
    "top-down": [
        "--model=top_down",
        "--network=resnet",
        "--filters=16,16,32",
        "--levels=4,4,4,4,4,4",
        "--free_bits=0.25",
        "--free_bits_until=10%",
        "--clip_norm=200",
        "--skip_norm=1000",
    ],
    "MLP VAE": ["--hidden=512,256", "--latent_dim=64", "--linear_path=none"],
}
EVERY = {**ROWS, **TIMED}
_WARM_UP = ["--schedule=linear", "--warmup=50%"]
_STATIC = [
    "--dataset=binarized_mnist",
    "--schedule=linear",
    "--warmup=10%",
    "--learning_rate_decay=warmup_cosine",
]
_STATIC_QUICK = [*_STATIC, "--dataset=digits", "--binarize=static"]
_FULL = [
    "--dataset=mnist",
    "--binarize=dynamic",
    "--levels=64,32,16,8,4",
    "--hidden=512,256,128,64,32",
    "--validation_fraction=0",
]
_QUICK = ["--dataset=digits", "--binarize=dynamic", "--levels=4,2", "--hidden=16,8"]
# For an inference downwards the means are in units of the prior.
_ACTIVE = "units are active if the variance of their posterior mean exceeds .01"
_TIMED_STEPS = 50
_TIMED_EPOCHS = 3
# Numbers of posteriors that are looked at: those of all units of 10,000 images fill the
# memory where the latents are maps.
_DIAGNOSED = 2 * 10**7


def define(values=flags.FLAGS):
    """Defines the flags."""
    table_of_runs.define(values, ROWS, 200, "runs/hierarchies")
    common = {"flag_values": values}
    flags.DEFINE_integer("seeds", 2, "How many.", lower_bound=1, **common)
    flags.DEFINE_float("minutes", 45.0, "Of each timed model.", lower_bound=0, **common)
    flags.DEFINE_boolean("quick", False, "Digits, tiny budgets.", **common)


def settings_of(name, seed, chosen, epochs):
    """Returns the settings of `trainers.train` for one row and seed."""
    full, quick = (_STATIC, _STATIC_QUICK) if name in TIMED else (_FULL, _QUICK)
    args = [*(quick if chosen.quick else full), *EVERY[name]]
    if "--batch_normalization" in args:
        args += _WARM_UP
    if chosen.data_dir is not None:
        args.append(f"--data_dir={chosen.data_dir}")
    directory = pathlib.Path(chosen.results, f"{table_of_runs.file_name(name)}-{seed}")
    args += [f"--seed={seed}", f"--epochs={epochs}", f"--run_dir={directory}"]
    args += ["--resume", "--learning_rate=1e-3", "--batch_size=100"]
    return _resolve.train(_resolve.parsed(_flags.define_train, args))


def seconds_of_epoch(name, chosen):
    """Returns about how many seconds an epoch of a row takes, by a few timed steps."""
    settings = settings_of(name, 0, chosen, epochs=100)
    with tempfile.TemporaryDirectory() as directory:
        # In the run's own directory a row that was stopped would be resumed.
        settings, _, data, model = train.prepare(
            settings.with_values(run_dir=directory)
        )
    size = settings.fit.batch_size
    x = _data.as_seen(data.train[: size * _TIMED_STEPS], settings.data.binarize)
    watch = table_of_runs.Stopwatch("epoch", _TIMED_EPOCHS)
    # Of many epochs, because XLA is chosen by the length of a run.
    model.fit(x, batch_size=size, epochs=1000, callbacks=[watch], verbose=0)
    keras.backend.clear_session()
    return float(np.median(watch.seconds)) / len(x) * len(data.train)


def epochs_of(name, chosen):
    """Returns the epochs of a row; those of a given time are counted once."""
    if name not in TIMED:
        return chosen.epochs
    path = pathlib.Path(chosen.results, "epochs.json")
    known = json.loads(path.read_text()) if path.is_file() else {}
    key = f"{name}, {chosen.minutes:g} minutes"
    if key not in known:
        seconds = seconds_of_epoch(name, chosen)
        known[key] = max(round(60 * chosen.minutes / seconds), 2)
        with _run.replaced(path) as partial:
            partial.write_text(json.dumps(known) + "\n")
    return known[key]


def measure(name, seed, chosen):
    """Trains what is missing of a row and seed, and returns its figures.

    Returns:
        Dict: "negative_elbo" and "negative_bound" in nats, "minutes" of this call, and
        "levels", a dict for each level by its name.
    """
    start = time.monotonic()
    settings, run, data, model = train.prepare(
        settings_of(name, seed, chosen, epochs_of(name, chosen))
    )
    train.train(settings, run, data, model)
    model = keras.saving.load_model(run.path / "model.keras")
    x = data.test
    bound = model.log_likelihood(x, num_samples=chosen.importance_samples, verbose=0)
    found = json.loads((run.path / "metrics.json").read_text())
    few = max(min(len(x), _DIAGNOSED // model.latent_dim), 1)
    evidence = kv.diagnose(model, x, audit=False, max_examples=few).evidence
    only = {key: evidence[key] for key in ("rate", "active_units")}
    keras.backend.clear_session()
    return {
        "negative_elbo": found["negative_elbo"],
        "negative_bound": float(-bound.mean()),
        "minutes": (time.monotonic() - start) / 60,
        "levels": evidence.get("levels", {"level_1": only}),
    }


def benchmark(chosen):
    """Measures what is missing and returns the table."""
    results = table_of_runs.Results(chosen.results)
    keys = {
        _key(name, seed, chosen): (name, seed)
        for name in chosen.rows
        for seed in range(chosen.seeds)
    }
    missing = [keys[key] for key in results.missing(keys)]
    for name in dict(missing):
        minutes = chosen.minutes
        if name not in TIMED:
            minutes = chosen.epochs * seconds_of_epoch(name, chosen) / 60
        print(f"{name}: about {minutes:.0f} minutes of training a seed", flush=True)
    for name, seed in missing:
        print(f"{name}, seed {seed}", flush=True)
        results.add(_key(name, seed, chosen), measure(name, seed, chosen))
    return results.write(table(results.found, chosen))


def _key(name, seed, chosen):
    return f"{name}, seed {seed}, {epochs_of(name, chosen)} epochs"


def table(found, chosen):
    """Returns the results in Markdown."""
    bound = f"IW-{chosen.importance_samples} NLL"
    lines = [
        f"| hierarchy | -ELBO | {bound} | KL of each level | active units |",
        "|---|---|---|---|---|",
    ]
    for name in chosen.rows:
        rows = [found[_key(name, seed, chosen)] for seed in range(chosen.seeds)]
        nats = [np.mean([row[key] for row in rows]) for key in _BOUNDS]
        levels = list(rows[0]["levels"])
        kl, active = (
            [np.mean([row["levels"][level][key] for row in rows]) for level in levels]
            for key in ("rate", "active_units")
        )
        cells = [
            f"{name}, {epochs_of(name, chosen)} epochs" if name in TIMED else name,
            *(f"{value:.2f}" for value in nats),
            ", ".join(f"{value:.2f}" for value in kl),
            ", ".join(f"{value:.3g}" for value in active),
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join([*lines, "", f"Means of {chosen.seeds} seeds; {_ACTIVE}.", ""])


_BOUNDS = ("negative_elbo", "negative_bound")


def main(argv):
    """Runs the program."""
    chosen = flags.FLAGS
    table_of_runs.check(argv, chosen, EVERY)
    print(benchmark(chosen))


if __name__ == "__main__":
    define()
    app.run(main)

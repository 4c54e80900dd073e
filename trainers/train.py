"""Trains a VAE and reports what became of it.

    python -m trainers.train
    python -m trainers.train --config=mnist_mlp --seed=1
    python -m trainers.train --dataset=mine.npz --likelihood=normal --name=mine

A run writes to `runs/<name>/` the flags (`config.json`), the logs of all epochs
(`history.csv`, `history.json`), TensorBoard events (`tensorboard/`), the models
(`best.keras`, chosen by the unweighted bound on the validation data once the weight
has arrived, and `last.keras`), a picture (`report.png`), the SavedModel
(`saved_model/`) and the figures of the table that it ends with (`metrics.json`).

A run that was stopped continues with the same command and `--resume`, to the weights
that it would have had.
"""

import shlex
import sys

import keras
import numpy as np
from absl import app
from absl import flags
from absl import logging

import keras_vae as kv
from keras_vae import figures
from trainers import _data
from trainers import _flags
from trainers import _model
from trainers import _run

_PICTURES, _UNITS, _LIMIT = 64, 8, 2.5
_ENCODED_AT_ONCE = 512

_flags.define(flags.FLAGS)


def main(argv):
    """Runs the program."""
    # TensorFlow tells of every function that it saves.
    logging.set_verbosity(logging.WARNING)
    try:
        if len(argv) > 1:
            raise _flags.FlagError(
                f"Arguments must be flags, --name=value. Received: {argv[1:]}"
            )
        chosen = _flags.settings(flags.FLAGS)
        session = prepare(chosen)
    except _flags.FlagError as error:
        sys.exit(f"{error}")
    try:
        print(train(*session))
    except KeyboardInterrupt:
        command = shlex.join(["python", "-m", "trainers.train", *sys.argv[1:]])
        resume = "" if chosen.resume else " --resume"
        print(f"\nStopped. {chosen.run_dir} continues with\n  {command}{resume}")
        sys.exit(130)  # What shells return for an interrupted program.


def prepare(chosen):
    """Loads the data and makes the model; nothing is written before all is checked.

    Args:
        chosen: Namespace from `_flags.settings`.

    Returns:
        The arguments of `train`.

    Raises:
        _flags.FlagError: If the flags cannot be followed.
    """
    data = _data.load(chosen)
    if chosen.likelihood is None:
        binary = chosen.binarize != "none"
        chosen.likelihood = "bernoulli" if binary else _model.default_likelihood(data)
    run = _run.Run(chosen)
    steps_per_epoch = -(-len(data.train) // chosen.batch_size)
    _flags.check_length(chosen, steps_per_epoch)
    model = _model.build(chosen, data)
    _model.compile_for(model, chosen, steps_per_epoch)
    return chosen, run, data, model


def train(chosen, run, data, model):
    """Trains the model and writes the run.

    Args:
        chosen: Namespace from `_flags.settings`.
        run: `_run.Run`.
        data: `_data.Data`.
        model: Compiled `keras_vae.VAE` that is built.

    Returns:
        The table, a string.
    """
    run.start()
    _announce(chosen, run, data, model)
    if not (run.path / "last.keras").is_file():
        run.restore(model)
        if run.finished_epochs < chosen.epochs:
            fit(chosen, run, data, model)
        with _run.replaced(run.path / "last.keras") as path:
            model.save(path)

    which = "best" if (run.path / "best.keras").is_file() else "last"
    model = keras.saving.load_model(run.path / f"{which}.keras")
    metrics = measure(chosen, data, model)
    model.export(run.path / "saved_model", verbose=False)
    report(chosen, run, data, model)
    run.finish({"model": f"{which}.keras", **metrics})
    return table(chosen, run, which, metrics)


# === Training ===


def fit(chosen, run, data, model):
    """Trains from the last finished epoch to the end."""
    validation = None if data.validation is None else (data.validation,)
    model.fit(
        _data.batches(data.train, chosen, run.finished_epochs),
        shuffle=False,
        validation_data=validation,
        validation_batch_size=chosen.batch_size,
        initial_epoch=run.finished_epochs,
        epochs=chosen.epochs,
        callbacks=callbacks(chosen, run, data),
        # A bar that is redrawn is of no use in a file.
        verbose=1 if sys.stdout.isatty() else 2,
    )


def callbacks(chosen, run, data):
    """Returns the callbacks of a run; the last one remembers what all have done."""
    looked_at = data.test if data.validation is None else data.validation
    chain = [
        kv.callbacks.TensorBoard(
            str(run.path / "tensorboard"),
            data=looked_at[:1000],
            images_freq=max(1, chosen.epochs // 10),
            write_graph=False,
        )
    ]
    schedule = _flags.kl_schedule(chosen)
    if schedule is not None:
        chain.insert(0, kv.KLAnnealing(schedule))
    if data.validation is not None:
        chain.append(kv.callbacks.ModelCheckpoint(run.path / "best.keras"))
    return [*chain, run.callback()]


def _announce(chosen, run, data, model):
    sizes = [0 if x is None else len(x) for x in data]
    print(
        f"{chosen.dataset}: {sizes[0]} training, {sizes[1]} validation and {sizes[2]} "
        f"test examples of shape {data.train.shape[1:]}; {chosen.likelihood} "
        f"likelihood; {model.count_params():,} parameters"
    )
    if chosen.kl == "monte_carlo":
        print(f"The KL to {chosen.prior} is estimated by Monte Carlo.")
    if chosen.resume:
        print(f"{run.path}: {run.finished_epochs} of {chosen.epochs} epochs are done")
    grey = chosen.binarize == "none" and chosen.likelihood == "bernoulli"
    if grey and np.any((data.train > 0) & (data.train < 1)):
        print(
            "The data are grey, so that under a Bernoulli the distortion is a "
            "cross-entropy and\n-ELBO bounds no log p(x). For a likelihood pass "
            "--binarize=dynamic or\n--likelihood=continuous_bernoulli."
        )


# === Results ===


def measure(chosen, data, model):
    """Returns the figures of the table, on the test data."""
    repeated = _data.repeated(data.test, chosen.batch_size, chosen.eval_samples)
    logs = model.evaluate(repeated, verbose=0, return_dict=True)
    return {
        "negative_elbo": logs["negative_elbo"],
        "distortion": logs["reconstruction_loss"],
        "rate": logs["kl_loss"],
        "loss": logs["loss"],
        "kl_weight": logs["kl_weight"],
        "active_units": kv.metrics.active_units(encode(model, data.test)).number,
        "latent_dim": model.latent_dim,
        "test_examples": len(data.test),
        "eval_samples": chosen.eval_samples,
    }


def encode(model, x):
    """Returns the posterior means of all examples, (n, latent_dim)."""
    parts = range(0, len(x), _ENCODED_AT_ONCE)
    return np.concatenate(
        [model.encode(x[i : i + _ENCODED_AT_ONCE])[0].numpy() for i in parts]
    )


def report(chosen, run, data, model):
    """Draws `report.png`: test data, samples, the liveliest units, the curves."""
    originals = data.test[:_PICTURES]
    units = np.argsort(-encode(model, data.test).var(axis=0), kind="stable")[:_UNITS]
    latents = figures.traversal(model.latent_dim, limit=_LIMIT, dims=units)
    traversals = model.decode(latents).numpy()
    low, high = _model.picture_range(data)
    if not figures.is_image(model.event_shape):
        low, high = 0.0, 1.0  # Drawn as lines, on their own axis.
    pictures = [
        (events - low) / (high - low)
        for events in (
            originals,
            model.reconstruct(originals).numpy(),
            model.generate(_PICTURES, seed=chosen.seed).numpy(),
            traversals.reshape(len(units), -1, *model.event_shape),
        )
    ]
    figures.training_report(
        run.path / "report.png",
        *pictures,
        run.history,
        title=f"{chosen.name}: {model.latent_dim} latent units",
        dims=units.tolist(),
        limit=_LIMIT,
    )


def table(chosen, run, which, metrics):
    """Returns the table that a run ends with."""
    examples, samples = metrics["test_examples"], metrics["eval_samples"]
    lines = [
        "",
        f"Test split, {examples} examples, {samples} draws of z each, nats per example",
        f"  -ELBO         {metrics['negative_elbo']:10.2f}",
        f"  distortion    {metrics['distortion']:10.2f}",
        f"  rate (KL)     {metrics['rate']:10.2f}",
        f"  active units  {metrics['active_units']:7d} of {metrics['latent_dim']}",
        f"Model: {which} epoch. In {run.path}:",
        "  best.keras, last.keras  " if which == "best" else "  last.keras  ",
    ]
    if chosen.objective == "importance_weighted":
        bound = (
            f"  -bound, k={chosen.num_samples}".ljust(16) + f"{metrics['loss']:10.2f}"
        )
        lines.insert(3, bound)
    lines[-1] = lines[-1].rstrip()
    lines += [
        "  saved_model/  report.png  history.csv  history.json",
        "  metrics.json  config.json  tensorboard/",
        f"Watch it with: tensorboard --logdir {run.path}",
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    app.run(main)

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
that it would have had. With more `--epochs` than before a finished one goes on too.
"""

import keras
import numpy as np
from absl import app
from absl import flags

import keras_vae as kv
from keras_vae import figures
from trainers import _data
from trainers import _flag_checks
from trainers import _flags
from trainers import _model
from trainers import _program
from trainers import _run

_PICTURES, _UNITS, _LIMIT = 64, 8, 2.5


def main(argv):
    """Runs the program."""
    _program.main("train", argv, lambda: prepare(_flags.settings(flags.FLAGS)), train)


def prepare(chosen):
    """Returns the arguments of `train`; see `_program.prepare`.

    Args:
        chosen: Namespace from `_flags.settings`.
    """
    return _program.prepare(chosen, _settle, _build)


def _settle(chosen, data):
    if chosen.likelihood is None:
        chosen.likelihood = _model.default_likelihood(chosen, data)


def _build(chosen, data):
    _flag_checks.check_warmup(chosen, data.steps_per_epoch(chosen.batch_size))
    return _model.build(
        chosen, data, lambda **parts: kv.VAE(objective=_objective(chosen), **parts)
    )


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
    with run.held():
        return _train(chosen, run, data, model)


def _train(chosen, run, data, model):
    _start(chosen, run, data, model)
    if not (run.path / "last.keras").is_file():
        run.restore(model)
        if run.finished_epochs < chosen.epochs:
            _program.fit(model, chosen, run, data, callbacks(chosen, run, data))
        with _run.replaced(run.path / "last.keras") as path:
            model.save(path)

    which = "best" if (run.path / "best.keras").is_file() else "last"
    model = keras.saving.load_model(run.path / f"{which}.keras")
    metrics = _program.evaluate(chosen, data, model)
    model.export(run.path / "saved_model", verbose=False)
    report(chosen, run, data, model)
    run.finish({"model": f"{which}.keras", **metrics})
    return table(chosen, run, which, metrics)


# === Training ===


def callbacks(chosen, run, data):
    """Returns the callbacks of a run."""
    chain = [_program.tensorboard(chosen, run, data)]
    schedule = _flag_checks.kl_schedule(chosen)
    if schedule is not None:
        steps = data.steps_per_epoch(chosen.batch_size)
        schedule = schedule.resolve(run.planned_epochs * steps, steps)
        chain.insert(0, kv.KLAnnealing(schedule))
    if data.validation is not None:
        chain.append(kv.callbacks.ModelCheckpoint(run.path / "best.keras"))
    return chain


def _objective(chosen):
    make = {"elbo": kv.ELBO, "importance_weighted": kv.ImportanceWeighted}
    return make[chosen.objective](
        kl_weight=chosen.kl_weight, kl=chosen.kl, num_samples=chosen.num_samples
    )


def _start(chosen, run, data, model):
    _program.start(chosen, run, data, model)
    grey = chosen.binarize == "none" and chosen.likelihood == "bernoulli"
    if grey and not _data.is_binary(data):
        print(
            "The data are grey, so that under a Bernoulli the distortion is a "
            "cross-entropy and\n-ELBO bounds no log p(x). For a likelihood pass "
            "--binarize=dynamic or\n--likelihood=continuous_bernoulli."
        )


# === Results ===


def report(chosen, run, data, model):
    """Draws `report.png`: test data, samples, the liveliest units, the curves."""
    originals = data.test[:_PICTURES]
    units = np.argsort(-_program.encode(model, data.test).var(axis=0), kind="stable")[
        :_UNITS
    ]
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
    # Not on import: both programs have most of the flags.
    _flags.define(flags.FLAGS)
    app.run(main)

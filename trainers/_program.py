"""What all programs do alike: begin, fit, say what they train on, and stop."""

import pathlib
import shlex
import sys

import numpy as np
import tensorflow as tf
from absl import logging

import keras_vae as kv
from trainers import _data
from trainers import _files
from trainers import _flag_checks
from trainers import _flags
from trainers import _run

_ENCODED_AT_ONCE = 512
_KNOWN = (_flags.FlagError, _files.FileError, kv.callbacks.DivergenceError)
_AFTER_DIVERGENCE = (
    "The last finished epoch goes on with the same command, --resume and "
    "--on_divergence=halve; other flags take another --name."
)


def main(name, argv, prepare, perform):
    """Runs a program.

    Args:
        name: String, such as "train".
        argv: List, what flags left of the command line.
        prepare: Callable that returns the arguments of `perform`, of which the first
            one is the namespace of settings.
        perform: Callable that does the work and returns what is printed last.

    Raises:
        SystemExit: With one line and exit code 1 where flags cannot be followed, files
            cannot be read or written, or training diverges; 130 where it is stopped.
    """
    # TensorFlow tells of every function that it saves.
    logging.set_verbosity(logging.WARNING)
    chosen = None
    try:
        if len(argv) > 1:
            raise _flags.FlagError(
                f"Arguments must be flags, --name=value. Received: {argv[1:]}"
            )
        session = prepare()
        chosen = session[0]
        print(perform(*session))
    except _KNOWN as error:
        sys.exit(f"{error}")
    except KeyboardInterrupt:
        print(f"\nStopped. {_how_to_continue(name, chosen)}")
        sys.exit(130)  # What shells return for an interrupted program.
    except (OSError, tf.errors.OpError) as error:
        text = _files.in_one_line(error, chosen.run_dir if chosen else "A file")
        if text is None:
            raise
        sys.exit(text)


def _how_to_continue(name, chosen):
    if chosen is None or not pathlib.Path(chosen.run_dir, "config.json").is_file():
        return "Nothing was written."
    command = shlex.join(["python", "-m", f"trainers.{name}", *sys.argv[1:]])
    resume = "" if chosen.resume else " --resume"
    return f"{chosen.run_dir} continues with\n  {command}{resume}"


def prepare(chosen, settle, build, free=(), check_longer=None):
    """Loads the data and makes the model; nothing is written before all is checked.

    Args:
        chosen: Namespace of settings.
        settle: Callable of `chosen` and data that sets what the flags leave to the
            data, of which a run keeps a record.
        build: Callable of `chosen` and data that returns the compiled model. It comes
            last, because it takes longest.
        free: See `_run.Run`.
        check_longer: Callable of `chosen` and run, or None; raises a `_flags.FlagError`
            where a run cannot get more epochs than it was begun with.

    Returns:
        Settings, `_run.Run`, `_data.Data` and model, the arguments of what trains it.

    Raises:
        _flags.FlagError: If the flags cannot be followed.
    """
    data = _data.load(chosen)
    settle(chosen, data)
    run = _run.Run(chosen, free)
    if run.is_longer:
        _flag_checks.check_longer(chosen, run.planned_epochs)
        if check_longer is not None:
            check_longer(chosen, run)
    _flag_checks.check_length(chosen, data.steps_per_epoch(chosen.batch_size))
    return chosen, run, data, build(chosen, data)


def start(chosen, run, data, model):
    """Writes the flags, and prints what is trained on what and how far the run is.

    Args:
        chosen: Namespace from `_flags.read`.
        run: `_run.Run`.
        data: `_data.Data`.
        model: `keras_vae.VAE`.
    """
    run.start(model)
    sizes = [0 if x is None else len(x) for x in data]
    print(
        f"{chosen.dataset}: {sizes[0]} training, {sizes[1]} validation and {sizes[2]} "
        f"test examples of shape {data.train.shape[1:]}; {chosen.likelihood} "
        f"likelihood; {model.count_params():,} parameters"
    )
    if data.scaling is not None:
        run.write_json("scaling.json", data.scaling.to_dict())
        print(data.scaling)
    if chosen.kl == "monte_carlo":
        print(f"The KL to {chosen.prior} is estimated by Monte Carlo.")
    for remark in run.remarks:
        print(remark)
    if chosen.resume:
        print(f"{run.path}: {run.finished_epochs} of {chosen.epochs} epochs are done")
    if run.is_longer:
        print(
            f"The run was begun with {run.planned_epochs} epochs, to which fractions "
            "in its schedules still refer:\nafter them the KL weight stays where it is."
        )


def fit(model, chosen, run, data, callbacks):
    """Trains from the last finished epoch to the end.

    Args:
        model: Compiled `keras_vae.VAE`.
        chosen: Namespace from `_flags.read`.
        run: `_run.Run`, which remembers each epoch.
        data: `_data.Data`.
        callbacks: List of callbacks beside it.

    Raises:
        keras_vae.callbacks.DivergenceError: If the loss is no number any more.
    """
    try:
        model.fit(
            _data.batches(data.train, chosen, run.finished_epochs),
            shuffle=False,
            validation_data=None if data.validation is None else (data.validation,),
            validation_batch_size=chosen.batch_size,
            initial_epoch=run.finished_epochs,
            epochs=chosen.epochs,
            # The last one remembers what all others have done.
            callbacks=[*guards(chosen), *callbacks, run.callback()],
            verbose=verbosity(),
        )
    except kv.callbacks.DivergenceError as error:
        raise kv.callbacks.DivergenceError(f"{error} {_AFTER_DIVERGENCE}") from error


def guards(chosen):
    """Returns the callbacks that look after a loss that is no number any more."""
    if chosen.on_divergence == "ignore":
        return []
    factor = 0.5 if chosen.on_divergence == "halve" else None
    return [kv.callbacks.DivergenceGuard(learning_rate_factor=factor, raise_error=True)]


def verbosity():
    """Returns Keras's `verbose`: a bar that is redrawn is of no use in a file."""
    return 1 if sys.stdout.isatty() else 2


def tensorboard(chosen, run, data):
    """Returns the callback that shows a run in TensorBoard."""
    return kv.callbacks.TensorBoard(
        str(run.path / "tensorboard"),
        data=data.held_out[:1000],
        images_freq=max(1, chosen.epochs // 10),
        write_graph=False,
    )


def evaluate(chosen, data, model):
    """Returns the figures of the table, on the test data."""
    layer = kv.snapshot.first_not_finite(model)
    if layer is not None:
        raise kv.callbacks.DivergenceError(
            f"There is nothing to report: the weights of layer {layer!r} are not "
            "finite. Train under another --name with a lower --learning_rate, and "
            "without --on_divergence=ignore."
        )
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

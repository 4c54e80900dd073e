"""What all programs do alike: begin, fit, say what they train on, and stop."""

import pathlib
import sys

import numpy as np
import tensorflow as tf
from absl import app
from absl import flags
from absl import logging

import keras_vae as kv
from trainers import _batches
from trainers import _data
from trainers import _files
from trainers import _flag_checks
from trainers import _pages
from trainers import _run
from trainers import _settings
from trainers import _units

_ENCODED_AT_ONCE = 512
_BASELINES = {
    "independent": "independent elements",
    "ppca": "probabilistic PCA",
    "factor_analysis": "factor analysis",
    "linear_vae": "linear VAE, untrained",
}
_LINES = 60
_SHOWN = 1000  # Examples in TensorBoard.
_KNOWN = (_settings.FlagError, _files.FileError, kv.callbacks.DivergenceError)
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
    settings = None
    try:
        if len(argv) > 1:
            raise _settings.FlagError(
                f"Arguments must be flags, --name=value. Received: {argv[1:]}"
            )
        session = prepare()
        settings = session[0]
        print(perform(*session))
    except _KNOWN as error:
        sys.exit(f"{error}")
    except KeyboardInterrupt:
        print(f"\nStopped. {_how_to_continue(name, settings)}")
        sys.exit(130)  # What shells return for an interrupted program.
    except (OSError, tf.errors.OpError) as error:
        run_dir = None if settings is None else settings.run_dir
        text = _files.in_one_line(error, run_dir or "A file")
        if text is None:
            raise
        sys.exit(text)


def run(define, main, text):
    """Runs a program from the command line.

    Args:
        define: Function of `absl.flags.FlagValues` that defines its flags.
        main: Function of what flags leave of the command line.
        text: String, what --help begins with.
    """
    alone = flags.FlagValues()
    define(alone)
    # Not on import: all programs have some of the flags.
    define(flags.FLAGS)
    for flag in alone:
        # Whatever started it: --help shows the flags of that, after its text.
        flags.FLAGS.register_key_flag_for_module(sys.argv[0], flags.FLAGS[flag])
    sys.modules["__main__"].__doc__ = text
    app.run(main)


def _how_to_continue(name, settings):
    run_dir = None if settings is None else settings.run_dir
    if run_dir is None or not pathlib.Path(run_dir, "config.json").is_file():
        return "Nothing was written."
    resume = "" if settings.run.resume else " --resume"
    return f"{run_dir} continues with\n  {_pages.command(name)}{resume}"


def prepare(settings, resolve, build, free=(), check_longer=None):
    """Loads the data and makes the model; nothing is written before all is checked.

    Args:
        settings: `_settings.Settings`.
        resolve: Callable of settings and data that returns the settings with what the
            flags leave to the data, of which a run keeps a record.
        build: Callable of settings and data that returns the compiled model. It comes
            last, because it takes longest.
        free: See `_run.Run`.
        check_longer: Callable of the run, or None; raises a `_settings.FlagError` where
            that cannot get more epochs than it was begun with.

    Returns:
        Settings, `_run.Run`, `_data.Data` and model, the arguments of what trains it.

    Raises:
        _settings.FlagError: If the flags cannot be followed.
    """
    data = _data.load(
        settings.data,
        settings.model.likelihood,
        latent_dim=settings.model.latent_dim,
        with_channels=settings.model.network in _flag_checks.CONVOLUTIONAL,
    )
    settings = resolve(settings, data)
    run = _run.Run(settings, free, data.contents)
    if run.is_longer:
        _flag_checks.check_longer(settings, run.planned_epochs)
        if check_longer is not None:
            check_longer(run)
    _flag_checks.check_length(settings, data.steps_per_epoch(settings.fit.batch_size))
    return settings, run, data, build(settings, data)


def start(settings, run, data, model):
    """Writes the flags, and prints what is trained on what and how far the run is.

    Args:
        settings: `_settings.Settings`.
        run: `_run.Run`.
        data: `_data.Data`.
        model: `keras_vae.VAE`.
    """
    run.start(model)
    if data.description:
        print(shortened(data.description))
    sizes = [0 if x is None else len(x) for x in data]
    print(
        f"{settings.data.dataset}: {sizes[0]} training, {sizes[1]} validation and "
        f"{sizes[2]} test examples of shape {data.train.shape[1:]}; "
        f"{settings.model.likelihood} likelihood; {model.count_params():,} parameters"
    )
    if data.scaling is not None:
        run.write_json("scaling.json", data.scaling.to_dict())
        print(data.scaling)
    if settings.model.kl == "monte_carlo":
        parts = f"{settings.model.posterior} from {settings.model.prior}"
        print(f"The KL of {parts} is estimated by Monte Carlo.")
    for remark in run.remarks:
        print(remark)
    one_by_one = settings.weigh is not None and settings.weigh.mode == "sweep"
    if settings.run.resume and not one_by_one:
        done = f"{run.finished_epochs} of {settings.fit.epochs} epochs are done"
        print(f"{run.path}: {done}")
    if run.is_longer:
        print(
            f"The run was begun with {run.planned_epochs} epochs, to which fractions "
            "in its schedules still refer:\nafter them the KL weight stays where it is."
        )


def shortened(description):
    """Leaves out the middle of many lines, such as those of many columns."""
    lines = description.splitlines()
    if len(lines) > _LINES:
        half = _LINES // 2
        left_out = f"  ... {len(lines) - 2 * half} lines more ..."
        lines[half:-half] = [left_out]
    return "\n".join(lines)


def fit(model, settings, run, data, callbacks, shown):
    """Trains from the last finished epoch to the end.

    Args:
        model: Compiled `keras_vae.VAE`.
        settings: `_settings.Settings`.
        run: `_run.Run`, which remembers each epoch.
        data: `_data.Data`.
        callbacks: List of callbacks beside it.
        shown: Callback that shows each epoch, see `_progress.Progress.training`.

    Raises:
        keras_vae.callbacks.DivergenceError: If the loss is no number any more.
    """
    validation = data.inputs("validation")
    try:
        model.fit(
            _batches.batches(data.inputs("train"), settings, run.finished_epochs),
            shuffle=False,
            validation_data=None if validation is None else (validation,),
            validation_batch_size=settings.fit.batch_size,
            initial_epoch=run.finished_epochs,
            epochs=settings.fit.epochs,
            # The last one remembers what all others have done.
            callbacks=[*guards(settings), *callbacks, shown, run.callback()],
            verbose=0,
        )
    except kv.callbacks.DivergenceError as error:
        raise kv.callbacks.DivergenceError(f"{error} {_AFTER_DIVERGENCE}") from error


def annealing(settings, planned_epochs, data, schedule):
    """Returns the callbacks that move the KL weight along a schedule.

    Args:
        settings: `_settings.Settings`.
        planned_epochs: Integer, epochs to which fractions of the schedule refer.
        data: `_data.Data`.
        schedule: Schedule, or None.
    """
    if schedule is None:
        return []
    schedule = _resolved(schedule, settings, planned_epochs, data)
    return [kv.KLAnnealing(schedule)]


def free_bits(settings, planned_epochs, data):
    """Returns the callbacks that end the free bits.

    Args:
        settings: `_settings.Settings`.
        planned_epochs: Integer, epochs to which fractions of the run refer.
        data: `_data.Data`.
    """
    schedule = _flag_checks.free_bits_schedule(settings)
    if schedule is None:
        return []
    schedule = _resolved(schedule, settings, planned_epochs, data)
    return [kv.callbacks.HyperparameterScheduler("nats", schedule)]


def _resolved(schedule, settings, planned_epochs, data):
    steps = data.steps_per_epoch(settings.fit.batch_size)
    return schedule.resolve(planned_epochs * steps, steps)


def guards(settings):
    """Returns the callbacks that look after a loss that is no number any more."""
    if settings.fit.on_divergence == "ignore":
        return []
    factor = 0.5 if settings.fit.on_divergence == "halve" else None
    return [kv.callbacks.DivergenceGuard(learning_rate_factor=factor, raise_error=True)]


def tensorboard(settings, run, data):
    """Returns the callback that shows a run in TensorBoard."""
    labels = data.held_out_labels
    return kv.callbacks.TensorBoard(
        str(run.path / "tensorboard"),
        data=_batches.rows(data.inputs("held_out"), slice(_SHOWN)),
        labels=None if labels is None else np.ravel(labels)[:_SHOWN],
        images_freq=max(1, settings.fit.epochs // 10),
        write_graph=False,
    )


def evaluate(model, x, batch_size, samples):
    """Returns the figures of the table.

    Args:
        model: Compiled `keras_vae.VAE`.
        x: Array (examples, ...), the test data, or a dict with conditions.
        batch_size: Integer.
        samples: Integer, draws of z for each example.
    """
    layer = kv.snapshot.first_not_finite(model)
    if layer is not None:
        raise kv.callbacks.DivergenceError(
            f"There is nothing to report: the weights of layer {layer!r} are not "
            "finite. Train under another --name with a lower --learning_rate, and "
            "without --on_divergence=ignore."
        )
    repeated = _batches.repeated(x, batch_size, samples)
    logs = model.evaluate(repeated, verbose=0, return_dict=True)
    return {
        "negative_elbo": logs["negative_elbo"],
        "distortion": logs["reconstruction_loss"],
        "rate": logs["kl_loss"],
        "loss": logs["loss"],
        "kl_weight": logs["kl_weight"],
        "active_units": kv.metrics.active_units(encode(model, x)).number,
        "latent_dim": model.latent_dim,
        **_levels(model, logs),
        "test_examples": _batches.size(x),
        "eval_samples": samples,
    }


def with_baselines(metrics, model, data, binarize, seed):
    """Returns figures with those of models without a network, on the same split.

    Args:
        metrics: Dict from `evaluate`.
        model: `keras_vae.VAE`.
        data: `_data.Data`.
        binarize: String, see the flag.
        seed: Integer.
    """
    found = kv.baselines(
        _data.as_seen(data.train, binarize),
        data.test,
        model.latent_dim,
        model.likelihood,
        seed=seed,
    )
    return _units.stated(
        {**metrics, "baselines": found}, model, data.scaling, data.test
    )


def baselines_text(metrics):
    """Returns the baselines in one line."""
    cells = [f"{_BASELINES[n]} {v:.2f}" for n, v in metrics["baselines"].items()]
    return f"without a network: {', '.join(cells)}"


def table(metrics, bounds=None):
    """Returns the figures as text.

    Args:
        metrics: Dict from `measure`.
        bounds: Dict, names to nats of further bounds that follow -ELBO, or None.
    """
    examples, samples = metrics["test_examples"], metrics["eval_samples"]
    nats = {
        "-ELBO": metrics["negative_elbo"],
        **(bounds or {}),
        "distortion": metrics["distortion"],
        "rate (KL)": metrics["rate"],
    }
    others = {
        _BASELINES[name]: value for name, value in metrics.get("baselines", {}).items()
    }
    units = f"{metrics['active_units']:7d} of {metrics['latent_dim']}"
    lines = [
        f"Test split, {examples} examples, {samples} draws of z each, nats per example",
        *(f"  {name}".ljust(16) + f"{value:10.2f}" for name, value in nats.items()),
        *(
            f"  rate {name}".ljust(16) + f"{value:10.2f}"
            for name, value in metrics.get("rate_of_levels", {}).items()
        ),
        f"  active units  {units}",
        *_units.remark(metrics),
    ]
    if others:
        lines.append("Models without a network, the same split, -log p or -ELBO")
        lines += [f"  {name}".ljust(24) + f"{v:10.2f}" for name, v in others.items()]
    return "\n".join(lines)


def encode(model, x):
    """Returns what each unit says of all examples, (n, latent_dim): `VAE.signals`."""
    parts = range(0, _batches.size(x), _ENCODED_AT_ONCE)
    parts = (_batches.rows(x, slice(i, i + _ENCODED_AT_ONCE)) for i in parts)
    return np.concatenate([_means(model, part) for part in parts])


def _means(model, x):
    if len(model.latents) == 1:
        return model.encode(x)[0].numpy()
    data, condition = model.split(x)
    data = tf.constant(data)
    estimates = model.estimate_latents(data, 1, kv.random.key(0), condition)
    return model.signals(estimates, x).numpy()


def _levels(model, logs):
    """Returns the rate of each level in nats, {} of a model with one latent."""
    names = [latent.name for latent in model.latents]
    rates = {n: logs[f"{n}_kl_loss"] for n in names if f"{n}_kl_loss" in logs}
    return {"rate_of_levels": rates} if rates else {}

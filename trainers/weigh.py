"""Measures which weight of the KL serves which purpose, and exports the model.

    python -m trainers.weigh
    python -m trainers.weigh --dataset=table.csv --target_rmse=0.3
    python -m trainers.weigh --dataset=mnist --binarize=dynamic --latent_dim=32 --check
    python -m trainers.weigh --mode=sweep --betas=0.1,1,10 --num_processes=2
    python -m trainers.weigh --mode=sweep --dataset=mine.txt --target_rate=5

Trains one Multi-Rate VAE for all weights (with `--mode=sweep` a VAE for each of
`--betas`), and writes to `runs/<name>/`, beside what `trainers.train` writes of a run,
the rate-distortion curve (`curve.png`, `curve.csv`), what it says about the weight
(`advice.txt`, `advice.json`), reconstructions and samples at five weights
(`pictures.png`), and the model of the advised weight, or of `--export_beta`, as
`model.keras` and SavedModel (`saved_model/`). TensorBoard has all of it, with a table
of the weights under HPARAMS.

Of sentences, `ptb` or a `.txt` file, a sweep trains models of `trainers.sentence` with
its defaults, `--hidden` for the units of both networks, and says which is the largest
weight at which z still carries `--target_rate` nats, by default 5.

A run that was stopped continues with the same command and `--resume`: after its last
epoch, in a sweep after its last model.
"""

import keras
from absl import flags

import keras_vae as kv
from trainers import _data
from trainers import _final
from trainers import _flag_checks
from trainers import _flags
from trainers import _program
from trainers import _progress
from trainers import _resolve
from trainers import _run
from trainers import _sources
from trainers import _units
from trainers import _weigh_checks
from trainers import _weigh_report
from trainers import _weigh_table
from trainers import _weigh_text

_RESAMPLES = 400  # Of the bootstrap.
_MEANS = (
    "Training draws a weight beta of the KL for each example, so its loss and rate are "
    "means\nover all weights. The validation rate is that at beta = {beta} alone; the "
    "validation curve\nis the mean loss over all weights, by which the best epoch is "
    "chosen."
)
# What is done with a trained model; a resumed run may ask for something else.
_REPORT = (
    "betas",
    "check",
    "export_beta",
    "num_processes",
    "polish",
    "target_distortion",
    "target_rate",
    "target_rmse",
)


def main(argv):
    """Runs the program."""
    prepared, perform = lambda: prepare(_resolve.weigh(flags.FLAGS)), weigh
    if _flag_checks.holds_sentences(flags.FLAGS.dataset):
        prepared, perform = lambda: _weigh_text.prepare(flags.FLAGS), _weigh_text.weigh
    _program.main("weigh", argv, prepared, perform)


def prepare(settings):
    """Returns the arguments of `weigh`; see `_program.prepare`.

    Args:
        settings: `_settings.Settings`.
    """
    # The range of a sweep only says which weights it trains.
    of_sweep = ("beta_range",) if settings.weigh.mode == "sweep" else ()
    return _program.prepare(
        settings,
        _resolve.weigh_on,
        _build,
        free=(*_REPORT, *of_sweep),
        check_longer=_weigh_checks.check_longer,
    )


def _build(settings, data):
    if settings.weigh.mode == "multi":
        return _sources.build_multi(settings, data)
    return _sources.build_one(settings, data, settings.weigh.betas[0])


def weigh(settings, run, data, model):
    """Trains, measures, and writes the run.

    Args:
        settings: `_settings.Settings`.
        run: `_run.Run`.
        data: `_data.Data`.
        model: Compiled model that is built: of a sweep the first one.

    Returns:
        What the program ends with, a string.
    """
    with run.held():
        return _weigh(settings, run, data, model)


def _weigh(settings, run, data, model):
    _program.start(settings, run, data, model)
    with _progress.Progress(_epochs(settings, data), run.finished_epochs) as progress:
        if settings.weigh.mode == "multi":
            models = _trained(settings, run, data, model, progress)
        else:
            betas = settings.weigh.betas
            models = _sources.train_each(settings, run, data, betas, progress)
        return _reported(settings, run, data, models, progress)


def _epochs(settings, data):
    """Returns the epochs of all trainings; each weight is measured like one."""
    betas = settings.weigh.betas
    models = len(betas) if settings.weigh.mode == "sweep" else 1
    models += len(_compared(betas)) if settings.weigh.check else 0
    polish = _final.polish_epochs(settings, data)
    return models * settings.fit.epochs + polish + len(betas)


def _reported(settings, run, data, models, progress):
    """Measures, exports and writes; returns what the program ends with."""
    with progress.stage("Measuring", len(settings.weigh.betas)):
        report = _advise(settings, data, models)
    final = _final.make(settings, data, report, progress)
    checks = []
    if settings.weigh.check:
        checks = [_check(settings, run, data, report.curve, progress)]
    diagnosis = _units.diagnose(
        final.model,
        data.inputs("held_out"),
        data.scaling,
        train=_data.as_seen(data.inputs("train"), settings.data.binarize),
    )
    _units.write(final.model, data.scaling, run.path)
    paragraphs = [
        *([final.warning] if final.warning else []),
        _weigh_table.text(report.curve, data),
        *checks,
        *([str(report)] if report.has_code else []),
        final.text,
        str(diagnosis),
    ]
    _weigh_report.write(settings, run, data, report, final, paragraphs)
    run.finish({**final.to_dict(), "diagnosis": diagnosis.to_dict()})
    return "\n\n".join(["", *paragraphs, _weigh_report.contents(run)])


def _advise(settings, data, models):
    """Returns what the models say on the data that choose."""
    scaling = data.scaling
    one_scale = scaling is not None and not scaling.scale.ndim
    return kv.advise(
        models,
        data.inputs("held_out"),
        settings.weigh.betas,
        target_rate=settings.weigh.target_rate,
        target_distortion=settings.weigh.target_distortion,
        target_rmse=settings.weigh.target_rmse,
        reference=data.train if data.validation is None else data.test,
        data_scale=float(scaling.scale) if one_scale else None,
        num_samples=settings.run.eval_samples,
        num_resamples=_RESAMPLES,
        seed=settings.fit.seed,
    )


def _trained(settings, run, data, model, progress):
    """Returns the Multi-Rate VAE, trained to the end."""
    last, best = run.path / "last.keras", run.path / "best.keras"
    if not last.is_file():
        run.restore(model)
        if run.finished_epochs < settings.fit.epochs:
            progress.say(_MEANS.format(beta=f"{model.beta:.4g}"))
            chain = _callbacks(settings, run, data)
            shown = progress.training(shown=_progress.MEANS)
            _program.fit(model, settings, run, data, chain, shown)
        with _run.replaced(last) as partial:
            model.save(partial)
    return keras.saving.load_model(best if best.is_file() else last)


def _callbacks(settings, run, data):
    """Returns the callbacks of the one run of all weights."""
    chain = _sources.warmup(settings, data, run.planned_epochs)
    monitored = []
    if data.validation is not None:
        # First, so that those which follow see its value.
        chain.append(kv.callbacks.CurveLoss(data.inputs("validation")))
        monitored = [
            kv.callbacks.ModelCheckpoint(
                run.path / "best.keras", monitor="val_curve_loss", mode="min"
            )
        ]
    return [*chain, _program.tensorboard(settings, run, data), *monitored]


def _compared(betas):
    """Returns the weights of the models that the curve is compared with."""
    last = len(betas) - 1
    return sorted({betas[round(share * last)] for share in (1 / 6, 1 / 2, 5 / 6)})


def _check(settings, run, data, curve, progress):
    """Compares the curve with that of VAEs that were trained one by one."""
    betas = _compared(settings.weigh.betas)
    separate = kv.rate_distortion(
        _sources.train_each(settings, run, data, betas, progress),
        data.inputs("held_out"),
        num_samples=settings.run.eval_samples,
        num_resamples=_RESAMPLES,
        seed=settings.fit.seed,
    )
    comparison = curve.compare(separate)
    remark = ""
    if curve.reading.is_noise:
        nats = ", ".join(
            f"{excess / beta:.2f}"
            for excess, beta in zip(comparison.excess, comparison.beta, strict=True)
        )
        remark = f"\nDivided by beta, nats of -ELBO at the noise of each: {nats}"
    return (
        "Check: distortion + beta rate of the one model less that of VAEs trained for "
        f"{settings.fit.epochs} epochs\nat one weight each, on held-out data, with 95% "
        f"intervals; negative is better\n{comparison}{remark}"
    )


def run():
    """Runs the program from the command line."""
    _program.run(_flags.define_weigh, main, __doc__)


if __name__ == "__main__":
    run()

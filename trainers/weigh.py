"""Measures which weight of the KL serves which purpose, and exports the model.

    python -m trainers.weigh
    python -m trainers.weigh --dataset=table.csv --target_rmse=0.3
    python -m trainers.weigh --dataset=mnist --binarize=dynamic --latent_dim=32 --check
    python -m trainers.weigh --mode=sweep --betas=0.1,1,10 --num_processes=2

Trains one Multi-Rate VAE for all weights (with `--mode=sweep` a VAE for each of
`--betas`), and writes to `runs/<name>/`, beside what `trainers.train` writes of a run,
the rate-distortion curve (`curve.png`, `curve.csv`), what it says about the weight
(`advice.txt`, `advice.json`), reconstructions and samples at five weights
(`pictures.png`), and the model of the advised weight, or of `--export_beta`, as
`model.keras` and SavedModel (`saved_model/`). TensorBoard has all of it, with a table
of the weights under HPARAMS.

A run that was stopped continues with the same command and `--resume`: after its last
epoch, in a sweep after its last model.
"""

import keras
from absl import app
from absl import flags

import keras_vae as kv
from trainers import _flags
from trainers import _model
from trainers import _program
from trainers import _run
from trainers import _sources
from trainers import _weigh_flags
from trainers import _weigh_report
from trainers import _weigh_table

_RESAMPLES = 400  # Of the bootstrap.


def main(argv):
    """Runs the program."""
    _program.main(
        "weigh", argv, lambda: prepare(_weigh_flags.settings(flags.FLAGS)), weigh
    )


def prepare(chosen):
    """Returns the arguments of `weigh`; see `_program.prepare`.

    Args:
        chosen: Namespace from `_weigh_flags.settings`.
    """
    return _program.prepare(
        chosen, _settle, _build, free=_weigh_flags.REPORT, check_longer=_check_longer
    )


def _check_longer(chosen, run):
    if (run.path / "models").is_dir():
        raise _flags.FlagError(
            f"`--epochs` must stay {run.planned_epochs} where {run.path / 'models'} "
            "holds models that were trained one by one for so long, or choose another "
            f"--name. Received: --epochs={chosen.epochs}"
        )


def _settle(chosen, data):
    if chosen.likelihood is None:
        binary = _model.default_likelihood(chosen, data) == "bernoulli"
        chosen.likelihood = "bernoulli" if binary else "normal"
    chosen.beta_range = _sources.beta_range(chosen, data)
    chosen.betas = _sources.betas(chosen)
    _weigh_flags.check_report(chosen)


def _build(chosen, data):
    if chosen.mode == "multi":
        return _sources.build_multi(chosen, data)
    return _sources.build_one(chosen, data, chosen.betas[0])


def weigh(chosen, run, data, model):
    """Trains, measures, and writes the run.

    Args:
        chosen: Namespace from `_weigh_flags.settings`.
        run: `_run.Run`.
        data: `_data.Data`.
        model: Compiled model that is built: of a sweep the first one.

    Returns:
        What the program ends with, a string.
    """
    with run.held():
        return _weigh(chosen, run, data, model)


def _weigh(chosen, run, data, model):
    _program.start(chosen, run, data, model)
    if chosen.mode == "multi":
        models = _trained(chosen, run, data, model)
    else:
        models = _sources.train_each(chosen, run, data, chosen.betas)

    report = _advise(chosen, data, models)
    beta = report[0].beta if chosen.export_beta is None else chosen.export_beta
    beta = report.nearest(beta)
    plain = kv.weighing.with_own_noise(report.at(beta), beta)
    metrics = _program.evaluate(chosen, data, plain)
    diagnosis = kv.diagnose(plain, data.held_out)

    if not plain.optimizer.built:
        # Keras warns of a file in which it finds no more than the learning rate.
        plain.optimizer.build(plain.trainable_variables)
    with _run.replaced(run.path / "model.keras") as path:
        plain.save(path)
    plain.export(run.path / "saved_model", verbose=False)
    paragraphs = [
        _weigh_table.text(report.curve, data),
        *([_check(chosen, run, data, report.curve)] if chosen.check else []),
        str(report),
        _exported(report, beta, metrics),
        str(diagnosis),
    ]
    _weigh_report.write(chosen, run, data, report, beta, paragraphs)
    run.finish({"beta": beta, **metrics, "diagnosis": diagnosis.to_dict()})
    return "\n\n".join(["", *paragraphs, _weigh_report.contents(run)])


def _advise(chosen, data, models):
    """Returns what the models say on the data that choose."""
    scaling = data.scaling
    one_scale = scaling is not None and not scaling.scale.ndim
    return kv.advise(
        models,
        data.held_out,
        chosen.betas,
        target_rate=chosen.target_rate,
        target_distortion=chosen.target_distortion,
        target_rmse=chosen.target_rmse,
        reference=data.train if data.validation is None else data.test,
        data_scale=float(scaling.scale) if one_scale else None,
        num_samples=chosen.eval_samples,
        num_resamples=_RESAMPLES,
        seed=chosen.seed,
    )


def _trained(chosen, run, data, model):
    """Returns the Multi-Rate VAE, trained to the end."""
    path = run.path / "last.keras"
    if not path.is_file():
        run.restore(model)
        if run.finished_epochs < chosen.epochs:
            callbacks = [_program.tensorboard(chosen, run, data)]
            _program.fit(model, chosen, run, data, callbacks)
        with _run.replaced(path) as partial:
            model.save(partial)
    return keras.saving.load_model(path)


def _check(chosen, run, data, curve):
    """Compares the curve with that of VAEs that were trained one by one."""
    last = len(chosen.betas) - 1
    three = {chosen.betas[round(share * last)] for share in (1 / 6, 1 / 2, 5 / 6)}
    separate = kv.rate_distortion(
        _sources.train_each(chosen, run, data, sorted(three)),
        data.held_out,
        num_samples=chosen.eval_samples,
        num_resamples=_RESAMPLES,
        seed=chosen.seed,
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
        f"{chosen.epochs} epochs\nat one weight each, on held-out data, with 95% "
        f"intervals; negative is better\n{comparison}{remark}"
    )


def _exported(report, beta, metrics):
    units = str(report.units(beta)).replace("\n", "\n  ")
    return (
        f"Exported: beta = {beta:.4g}\n  {units}\n"
        f"  test split, {metrics['test_examples']} examples: -ELBO "
        f"{metrics['negative_elbo']:.2f}, distortion {metrics['distortion']:.2f}, rate "
        f"{metrics['rate']:.2f} nats, {metrics['active_units']} of "
        f"{metrics['latent_dim']} units active"
    )


if __name__ == "__main__":
    # Not on import: both programs have most of the flags.
    _weigh_flags.define(flags.FLAGS)
    app.run(main)

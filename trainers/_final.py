"""The model that `python -m trainers.weigh` exports."""

import dataclasses

import numpy as np

import keras_vae as kv
from trainers import _batches
from trainers import _program
from trainers import _progress
from trainers import _sources
from trainers import _units

# Nats by which a linear model must be better to take the place of the trained one.
_MARGIN = 0.5
_RUN, _LINEAR = "the one run", "the linear start"
_NO_CODE = (
    "No weight codes anything: at none is a unit of z active, so there is no weight to "
    "advise. Try more --epochs, --linear_path=data, or more data. If probabilistic PCA "
    "is no better than independent elements below, there is little to code."
)


@dataclasses.dataclass(frozen=True)
class Final:
    """The exported model, and how it came about.

    Args:
        model: `keras_vae.VAE`, whose noise is its own.
        beta: Float, the weight that it was trained at.
        metrics: Dict from `_program.evaluate`.
        text: String, what is printed of it.
        warning: String that comes before all else, or None.
        polished: Dict, how it was trained on.
    """

    model: kv.VAE
    beta: float
    metrics: dict
    text: str
    warning: str | None
    polished: dict

    def to_dict(self):
        """Returns figures as JSON takes them."""
        return {"beta": self.beta, **self.metrics, "polish": self.polished}


def polish_epochs(settings, data):
    """Returns for how many epochs the model of the chosen weight is trained on.

    Without a validation split there is nothing to choose by but the test split.
    """
    if settings.weigh.mode != "multi" or data.validation is None:
        return 0
    return round(settings.weigh.polish * settings.fit.epochs)


def make(settings, data, report, progress):
    """Trains the model of the chosen weight on, and compares it with linear models.

    If probabilistic PCA is better on the test split by half a nat, it takes the place
    of the trained model. So the figure of the exported one is the better of two.

    Args:
        settings: `_settings.Settings`.
        data: `_data.Data`.
        report: `keras_vae.weighing.AdviceReport`.
        progress: `_progress.Progress`.

    Returns:
        A `Final`.
    """
    beta = _chosen(settings, report)
    found = _polished(settings, data, report, beta, progress)
    plain = kv.weighing.with_own_noise(found.model, beta)
    metrics = _evaluate(plain, settings, data)
    words = [_words_of(found)]
    warning = None if report.has_code else _NO_CODE
    name = min(metrics["baselines"], key=metrics["baselines"].get)
    behind = metrics["negative_elbo"] - metrics["baselines"][name]
    if behind > _MARGIN and settings.weigh.export_beta is None:
        linear = _linear(settings, data)
        lost = metrics["negative_elbo"]
        others = None if linear is None else _evaluate(linear[1], settings, data)
        # Of data with gaps a linear encoder may miss what probabilistic PCA tells.
        if others is not None and others["negative_elbo"] < lost:
            (beta, plain), metrics = linear, others
            words = ["  the best linear model of the training data, not trained"]
            warning = _linear_wins(lost, metrics, warning)
        else:
            warning = _behind(name, metrics, warning)
    text = "\n".join([_exported(report, beta, metrics), *words])
    return Final(plain, beta, metrics, text, warning, _as_dict(found))


def _chosen(settings, report):
    beta = settings.weigh.export_beta
    if beta is None:
        beta = report["likelihood"].beta
    if beta is None:
        bound = report.curve.reading.bound
        beta = float(report.curve.beta[int(np.argmin(bound))])
    return report.nearest(beta)


def _polished(settings, data, report, beta, progress):
    candidates = {_RUN: report.at(beta)}
    if settings.model.linear_path == "data" and data.validation is not None:
        candidates[_LINEAR] = _sources.build_one(settings, data, beta)
    shown = progress.training(f"at beta = {beta:.4g} alone", _progress.LOSS)
    return kv.weighing.polish(
        candidates,
        _batches.batches(data.inputs("train"), settings),
        data.inputs("held_out"),
        polish_epochs(settings, data),
        settings.fit.learning_rate,
        callbacks=[*_program.guards(settings), shown],
        shuffle=False,
    )


def _evaluate(model, settings, data):
    metrics = _program.evaluate(
        model,
        data.inputs("test"),
        settings.fit.batch_size,
        settings.run.eval_samples,
    )
    return _program.with_baselines(
        metrics, model, data, settings.data.binarize, settings.fit.seed
    )


def _linear(settings, data):
    """Returns weight and model of probabilistic PCA, or None if there is none."""
    if settings.model.linear_path != "data":
        return None
    beta = 1.0
    if settings.model.likelihood == "normal":
        found = kv.linear.observed_components(data.train, settings.model.latent_dim)
        beta = float(kv.linear.optimum(found, 1.0).noise)
    model = _sources.build_one(settings, data, beta)
    return beta, kv.weighing.with_own_noise(model, beta)


def _linear_wins(lost, metrics, warning):
    text = (
        "The linear model wins: on the test split its -ELBO is "
        f"{metrics['negative_elbo']:.2f} nats, that of the trained model {lost:.2f}. "
        "The linear model is exported. More data, smaller networks (--hidden) or fewer "
        "--epochs can change that."
    )
    return text if warning is None else f"{warning}\n{text}"


def _behind(name, metrics, warning):
    text = (
        f"A model without a network is better: on the test split {name} has "
        f"{metrics['baselines'][name]:.2f} nats, the exported model "
        f"{metrics['negative_elbo']:.2f}. Try --linear_path=data, more --epochs or "
        "more data before you use it."
    )
    return text if warning is None else f"{warning}\n{text}"


def _words_of(found):
    started = f"  from {found.start}"
    if len(found.losses) > 1:
        others = ", ".join(f"{n} {v:.2f}" for n, v in found.losses.items())
        started += f" (validation loss: {others})"
    if not found.epochs:
        return started + ", not trained on at its own weight"
    return (
        f"{started}, trained on for {found.epochs} epochs at its own weight, which "
        f"gained\n  {found.gain:.2f} nats of validation loss"
    )


def _as_dict(found):
    return {
        "start": found.start,
        "losses": found.losses,
        "loss": found.loss,
        "epochs": found.epochs,
    }


def _exported(report, beta, metrics):
    units = str(report.units(beta)).replace("\n", "\n  ")
    return (
        f"Exported: beta = {beta:.4g}\n  {units}\n"
        f"  test split, {metrics['test_examples']} examples: -ELBO "
        f"{metrics['negative_elbo']:.2f}, distortion {metrics['distortion']:.2f}, rate "
        f"{metrics['rate']:.2f} nats, {metrics['active_units']} of "
        f"{metrics['latent_dim']} units active\n  {_program.baselines_text(metrics)}"
        + "".join(f"\n  {line}" for line in _units.remark(metrics))
    )

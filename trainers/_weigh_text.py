"""Weighs the KL of sentences: a run of `trainers.sentence` for each weight."""

import dataclasses
import pathlib

import keras
import numpy as np

import keras_vae as kv
from keras_vae.weighing import measuring
from trainers import _files
from trainers import _flags
from trainers import _progress
from trainers import _resolve
from trainers import _run
from trainers import _sentence_figures
from trainers import _sentence_settings
from trainers import _settings
from trainers import _weigh_checks
from trainers import sentence

# The flags of `trainers.weigh` that say which weights, and what is asked of them.
_OWN = (
    "mode",
    "betas",
    "beta_range",
    "target_rate",
    "export_beta",
    "hidden",
    "name",
    "run_dir",
)
_RANGE, _NUMBER = (0.1, 1.0), 5
# In nats, less than which is no code to speak of.
_CODE = 5.0


@dataclasses.dataclass(frozen=True)
class Weighing:
    """What was asked for.

    Args:
        settings: `_sentence_settings.Settings` of a model of weight 1.
        betas: Tuple of floats, the weights, rising.
        code: Float, nats that z is to carry.
        exported: Float, the weight whose model is exported, or None for the advised.
    """

    settings: _sentence_settings.Settings
    betas: tuple
    code: float
    exported: float | None

    @property
    def run(self):
        """`_settings.RunSettings`."""
        return self.settings.run

    @property
    def run_dir(self):
        """String, the directory of the run."""
        return self.settings.run_dir

    def of(self, beta):
        """Returns the settings of the model of one weight."""
        settings = self.settings
        directory = str(pathlib.Path(self.run_dir, "models", f"beta-{beta:g}"))
        run = dataclasses.replace(self.run, run_dir=directory, resume=True)
        train = dataclasses.replace(settings.train, kl_weight=beta)
        return dataclasses.replace(settings, run=run, train=train)


def resolve(values):
    """Returns the `Weighing` that the flags of `trainers.weigh` ask for.

    Args:
        values: Parsed `absl.flags.FlagValues`.

    Raises:
        _settings.FlagError: If the flags are not for sentences.
    """
    if values["mode"].value != "sweep":
        raise _settings.FlagError(
            "`--mode` must be sweep for sentences, a model for each weight. Received: "
            f"--mode={values['mode'].value} --dataset={values['dataset'].value}"
        )
    known = _resolve.parsed(_sentence_settings.define, [])
    names = _resolve.parsed(_flags.define_weigh, [])
    given = [name for name in names if values[name].present]
    if others := [name for name in given if name not in (*known, *_OWN)]:
        raise _settings.FlagError(
            f"`--{others[0]}` must be left out with sentences. Received: "
            f"{_settings.written(others[0], values[others[0]].value)}"
        )
    name = values["name"].value
    if name is None:
        name = f"{pathlib.Path(values['dataset'].value).stem}-weigh"
    args = [*_units(values)]
    if values["run_dir"].present:
        args.append(f"--run_dir={values['run_dir'].value}")
    if values["name"].present or not values["run_dir"].present:
        args.append(f"--name={name}")
    args += [
        values[name].serialize()
        for name in given
        if name in known and name not in ("name", "run_dir", "target_rate")
    ]
    settings = _sentence_settings.resolve(
        _resolve.parsed(_sentence_settings.define, args)
    )
    code, betas = values["target_rate"].value, _betas(values)
    exported = values["export_beta"].value
    _weigh_checks.check_exported(exported, betas)
    return Weighing(settings, betas, _CODE if code is None else code, exported)


def _units(values):
    """Returns the flags of the units, which --hidden gives."""
    hidden = values["hidden"].value
    if hidden is None:
        return []
    if len(hidden) != 1:
        raise _settings.FlagError(
            "`--hidden` must be one number with sentences, units of both networks and "
            f"size of the embeddings. Received: {_settings.written('hidden', hidden)}"
        )
    return [f"--units={hidden[0]}", f"--embedding_dim={hidden[0]}"]


def _betas(values):
    names = "betas", "beta_range"
    found = _resolve.parsed_lists({name: values[name].value for name in names})
    _weigh_checks.check_range(found["beta_range"], "sweep", found["betas"])
    if found["betas"] is not None:
        return found["betas"]
    low, high = found["beta_range"] or _RANGE
    with_one = low <= 1 <= high
    return tuple(kv.weighing.betas_between(low, high, _NUMBER, with_one, digits=3))


def prepare(values):
    """Returns the arguments of `weigh`: `Weighing`, run and `sentence.Text`.

    Args:
        values: Parsed `absl.flags.FlagValues`.
    """
    asked = resolve(values)
    text = sentence.read(asked.settings)
    run = sentence.begun(asked.settings, text)
    _weigh_checks.check_longer(run)
    return asked, run, text


def weigh(asked, run, text):
    """Trains, measures, and writes the run.

    Args:
        asked: `Weighing`.
        run: `_run.Run`.
        text: `sentence.Text`.

    Returns:
        What the program ends with, a string.
    """
    epochs = (asked.settings.fit.epochs + 1) * len(asked.betas)
    with run.held(), _progress.Progress(epochs) as progress:
        run.start(None)
        sentence.keep_words(run, text)
        found = {b: _measured(asked.of(b), text, progress) for b in asked.betas}
        curve = _curve(found, asked.settings.model.latent_dim)
        words = kv.sentence_baselines(text.train, _held_out(text), text.vocabulary)
        advice = _advice(curve, asked, {"baselines": words})
        curve.to_csv(run.path / "curve.csv")
        curve.plot(run.path / "curve.png")
        beta = _advised(curve, asked) if asked.exported is None else asked.exported
        advice += f"\nsaved_model/ and model.keras: beta = {beta:.4g}"
        with _run.replaced(run.path / "advice.txt") as path:
            path.write_text(advice + "\n", "utf-8")
        _export(asked.of(beta), run)
        run.finish(
            {
                "betas": list(asked.betas),
                "metrics": list(found.values()),
                "exported_beta": beta,
            }
        )
    return (
        f"{advice}\n\nIn {run.path}: curve.png  curve.csv  advice.txt  model.keras  "
        "saved_model/  models/"
    )


def _export(settings, run):
    """Exports the model of one weight, by its settings, as that of the run."""
    trained = _run.Run(settings).path
    metrics = _files.read_json(trained / "metrics.json", dict, "Train it anew.")
    model = keras.saving.load_model(trained / metrics["model"])
    with _run.replaced(run.path / "model.keras") as path:
        model.save(path)
    model.export(run.path / "saved_model", verbose=False)


def _measured(settings, text, progress):
    """Returns the figures of one weight on the data that choose."""
    run, beta = sentence.begun(settings, text), settings.train.kl_weight
    metrics = _files.read_json(run.path / "metrics.json", dict, "It is made anew.")
    if metrics is not None:
        progress.skip(settings.fit.epochs + 1)
        return metrics
    model = sentence.build(settings, text)
    with run.held():
        run.start(model)
        name = f"beta = {beta:g}"
        path = sentence.trained(settings, run, text, model, progress, name)
        with progress.stage(f"Measuring {name}", 1):
            metrics = _sentence_figures.measure(
                settings, keras.saving.load_model(path), text, _held_out(text)
            )
        run.finish({"model": path.name, **metrics})
    keras.backend.clear_session()
    return metrics


def _held_out(text):
    """Returns the sentences that choose the weight."""
    return text.test if text.validation is None else text.validation


def _curve(found, latent_dim):
    rows = list(found.values())
    names = {
        "rate": "rate",
        "distortion": "reconstruction",
        "negative_log_likelihood": "negative_log_likelihood",
    }
    values = {name: [row[key] for row in rows] for name, key in names.items()}
    values["gap"] = [_gap(row) for row in rows]
    return kv.weighing.RateDistortionCurve(
        list(found),
        values,
        [row["active_units"] for row in rows],
        latent_dim,
        rows[0]["test_sentences"],
    )


def _gap(row):
    """Returns KL(q(z) || p(z)) in nats, NaN if the sentences are too few to tell."""
    # Runs of earlier versions say no limit.
    limit = row.get("mutual_information_limit", -np.inf)
    found = measuring.Information(row["mutual_information"], limit)
    return max(0.0, row["rate"] - found.value) if found.is_measured else np.nan


def _advised(curve, asked):
    """Returns the largest weight that keeps the code, or the likeliest if none does."""
    if float(curve.rate.max()) < asked.code:
        return float(curve.beta[curve.negative_log_likelihood.argmin()])
    return curve.recommend("code", asked.code).beta


def _advice(curve, asked, baselines):
    """Returns the table of the weights, and which of them serves what.

    Args:
        curve: `RateDistortionCurve`.
        asked: `Weighing`.
        baselines: Dict with "baselines", what counted words reach on the same data.
    """
    nats = curve.negative_log_likelihood
    least = {**baselines, "negative_log_likelihood": nats.min()}
    best, most = int(nats.argmin()), float(curve.rate.max())
    if most < asked.code:
        code = (
            f"At no weight does z carry {asked.code:g} nats; most is {most:.2f}, at "
            f"beta = {curve.beta[curve.rate.argmax()]:.4g}. Take smaller --betas, or a "
            "remedy of python -m trainers.sentence, such as --target_rate."
        )
    else:
        code = str(curve.recommend("code", asked.code))
    return "\n".join(
        [
            "",
            *_sentence_figures.behind(least),
            "Held-out sentences, nats for a sentence",
            curve.table(),
            _sentence_figures.counted(baselines),
            "",
            code,
            f"beta = {curve.beta[best]:.4g} for likelihood: the least -log p(x), "
            f"{nats[best]:.2f} nats for a sentence",
        ]
    )

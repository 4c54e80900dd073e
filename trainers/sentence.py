"""Trains a VAE of sentences, or a model of language, and reports what became of it.

    python -m trainers.sentence
    python -m trainers.sentence --dataset=mine.txt --word_dropout=0.4
    python -m trainers.sentence --dataset=ptb --data_dir=DATA --language_model

A run writes to `runs/<name>/` the flags (`config.json`), the logs of all epochs
(`history.csv`, `history.json`), those within the epochs (`steps.csv`), the KL and its
weight over the steps (`annealing.png`), TensorBoard events with sentences
(`tensorboard/`), the models (`best.keras`, by the unweighted bound on the validation
data, and `last.keras`), the chosen one as SavedModel from strings to strings
(`saved_model/`), what it writes (`sentences.txt`), and the figures of the table that it
ends with (`metrics.json`).

With `--pretraining` the run of the autoencoder stands in `autoencoder/`.

A run that was stopped continues with the same command and `--resume`, to the weights
that it would have had.
"""

import dataclasses

import keras
import numpy as np
from absl import flags

import keras_vae as kv
from trainers import _contents
from trainers import _data
from trainers import _flag_checks
from trainers import _model
from trainers import _pages
from trainers import _program
from trainers import _progress
from trainers import _run
from trainers import _sentence_figures
from trainers import _sentence_settings

_SHOWN, _STEPS = 8, 6
# Sentences of the diagnosis, of which all logits are in memory at once.
_DIAGNOSED = 200
# Means over so many parts of a run show the KL within the epochs.
_SPANS, _STEPS_FILE = 200, "steps.csv"
# The vocabulary of a run, a word a line.
_WORDS_FILE = "words.txt"
# About as many epochs take the figures and files at the end.
_MEASURED = 1


@dataclasses.dataclass(frozen=True)
class Text:
    """Sentences of a run, arrays of strings, and their vocabulary."""

    train: np.ndarray
    validation: np.ndarray | None
    test: np.ndarray
    vocabulary: kv.datasets.Vocabulary
    description: str
    contents: dict

    def steps_per_epoch(self, batch_size):
        """How many batches of sentences of like length there are."""
        return int(self.vocabulary.batches(self.train, batch_size).cardinality())


def main(argv):
    """Runs the program."""
    _program.main(
        "sentence",
        argv,
        lambda: prepare(_sentence_settings.resolve(flags.FLAGS)),
        train,
    )


def prepare(settings):
    """Returns the arguments of `train`: settings, run, `Text` and compiled model."""
    text = read(settings)
    run = begun(settings, text)
    if run.is_longer:
        _flag_checks.check_longer(settings, run.planned_epochs)
    return settings, run, text, build(settings, text)


def begun(settings, text):
    """Returns the `_run.Run` of sentences.

    Args:
        settings: `_sentence_settings.Settings`.
        text: `Text`.

    Raises:
        _settings.FlagError: If the sentences are not those of the run, or see `Run`.
    """
    run = _run.Run(settings, contents=text.contents)
    _check_words(settings, run, text.vocabulary)
    return run


def read(settings):
    """Returns the `Text` that the flags name, on which the settings can be followed.

    Args:
        settings: `_sentence_settings.Settings`.

    Raises:
        _settings.FlagError: If there are no such sentences.
    """
    given = {"max_length": settings.data.max_length}
    given = {} if given["max_length"] is None else given
    with _flag_checks.blamed("dataset", settings.data.dataset):
        loaded = kv.datasets.load(
            settings.data.dataset, data_dir=settings.data.data_dir, **given
        )
        data = _data.Data(
            *_strings(loaded),
            description=loaded.description,
            contents=_contents.of(loaded._asdict()),
        )
    if data.validation is None and settings.data.validation_fraction:
        data = _data.hold_out(data, settings.data)
    words = settings.data.max_words
    with _flag_checks.blamed("dataset", settings.data.dataset):
        vocabulary = kv.datasets.Vocabulary.of(data.train, max_words=words)
    text = Text(*data, vocabulary, data.description, data.contents)
    if settings.remedies.aggressive_steps and text.validation is None:
        raise _flag_checks.FlagError(
            "`--validation_fraction` must be positive with --aggressive_steps, which "
            "measures the mutual information of validation data. Received: "
            f"--validation_fraction={settings.data.validation_fraction:g}"
        )
    steps = text.steps_per_epoch(settings.fit.batch_size)
    _flag_checks.check_length(settings, steps)
    if not settings.remedies.aggressive_steps:
        _flag_checks.check_warmup(settings, steps)
    return text


def _check_words(settings, run, vocabulary):
    path = run.path / _WORDS_FILE
    if not path.is_file() or path.read_text("utf-8").split() == vocabulary.words:
        return
    raise _flag_checks.FlagError(
        f"`--dataset` must have the words of the run in {run.path}, whose model knows "
        "them by their places, or choose another --name. Received: "
        f"--dataset={settings.data.dataset}, {len(vocabulary.words)} words, which are "
        f"not those in {_WORDS_FILE}"
    )


def keep_words(run, text):
    """Writes the vocabulary of a run that is started, which a resumed one must have.

    Args:
        run: `_run.Run`.
        text: `Text`.
    """
    with _run.replaced(run.path / _WORDS_FILE) as path:
        path.write_text("\n".join(text.vocabulary.words) + "\n", "utf-8")


def _strings(loaded):
    if not isinstance(loaded.train[0], str):
        raise ValueError("`dataset` must hold sentences. Received: numbers")
    return loaded


def build(settings, text):
    """Returns the compiled model that the flags ask for.

    Args:
        settings: `_sentence_settings.Settings`.
        text: `Text`.
    """
    keras.utils.set_random_seed(settings.fit.seed)
    keras.config.set_dtype_policy(settings.fit.precision)
    options, kind = dict(vars(settings.model)), kv.SentenceVAE
    del options["importance_samples"]
    options["uses_latent"] = not options.pop("language_model")
    if settings.remedies.aggressive_steps:
        kind = kv.models.AggressiveSentenceVAE
        options["max_steps"] = settings.remedies.aggressive_steps
    model = kind(
        text.vocabulary,
        max_length=max(kv.datasets.count_words([x]) for x in text.train),
        posterior=_posterior(settings.remedies),
        objective=_objective(settings),
        seed=settings.fit.seed,
        **options,
    )
    steps = text.steps_per_epoch(settings.fit.batch_size)
    _model.compile_model(model, settings, steps)
    return model


def _posterior(remedies):
    if remedies.delta:
        return kv.distributions.CommittedNormal(remedies.delta)
    if remedies.mean_spread:
        return kv.distributions.BatchNormalizedNormal(remedies.mean_spread)
    return "diagonal_normal"


def _objective(settings):
    remedies, weight = settings.remedies, settings.train.kl_weight
    if remedies.target_rate:
        return kv.objectives.RateTarget(remedies.target_rate, kl_weight=weight)
    if settings.train.free_bits:
        return kv.objectives.FreeBits(
            settings.train.free_bits,
            over=remedies.free_bits_over,
            group_size=remedies.free_bits_group,
            kl_weight=weight,
        )
    return kv.ELBO(kl_weight=weight)


def train(settings, run, text, model):
    """Trains the model and writes the run.

    Args:
        settings: `_sentence_settings.Settings`.
        run: `_run.Run`.
        text: `Text`.
        model: Compiled `keras_vae.SentenceVAE`.

    Returns:
        The table, a string.
    """
    with run.held():
        run.start(model)
        keep_words(run, text)
        _say(run, text, model)
        epochs = settings.remedies.pretraining + settings.fit.epochs + _MEASURED
        with _progress.Progress(epochs) as progress:
            trained(settings, run, text, model, progress)
            with progress.stage("Measuring", _MEASURED):
                return _finished(settings, run, text)


def _say(run, text, model):
    counts = [0 if x is None else len(x) for x in _parts(text)]
    known = text.vocabulary.share_known(text.test)
    print(
        f"{text.description}\n{counts[0]} training, {counts[1]} validation and "
        f"{counts[2]} test sentences; {len(text.vocabulary.words)} words, of which the "
        f"test sentences hold {known:.1%}; {model.count_params():,} parameters"
    )
    for remark in run.remarks:
        print(remark)


def _parts(text):
    return text.train, text.validation, text.test


def trained(settings, run, text, model, progress, name=""):
    """Trains what is missing of a run that is held and started.

    Args:
        settings: `_sentence_settings.Settings`.
        run: `_run.Run`.
        text: `Text`.
        model: Compiled `keras_vae.SentenceVAE`.
        progress: `_progress.Progress`.
        name: String, what is trained, or "" for the run itself.

    Returns:
        The path of the model that is chosen.
    """
    before = settings.remedies.pretraining
    if not run.finished_epochs and before:
        _pretrain(settings.autoencoder, text, model, progress)
    else:
        progress.skip(before + run.finished_epochs)
    _fit(settings, run, text, model, progress, name)
    return _chosen(run)


def _pretrain(settings, text, model, progress):
    """Gives a model the encoder of an autoencoder, a run within its own."""
    run, autoencoder = begun(settings, text), build(settings, text)
    with run.held():
        run.start(autoencoder)
        progress.skip(run.finished_epochs)
        watched = "val_reconstruction_loss"
        _fit(settings, run, text, autoencoder, progress, "autoencoder", watched)
        chosen = _chosen(run)
        run.finish({"model": chosen.name})
    kv.models.copy_encoder(keras.saving.load_model(chosen), model)


def _fit(settings, run, text, model, progress, name="", watched="val_negative_elbo"):
    last = run.path / "last.keras"
    if last.is_file():
        return
    run.restore(model)
    schedule, remedies = _flag_checks.kl_schedule(settings), settings.remedies
    chain = _program.annealing(settings, run.planned_epochs, text, schedule)
    chain += _program.free_bits(settings, run.planned_epochs, text)
    chain.append(_steps(settings, run, text))
    chain.append(kv.callbacks.TensorBoard(run.path / "tensorboard", write_graph=False))
    if text.validation is not None:
        chain.append(kv.callbacks.ModelCheckpoint(run.path / "best.keras", watched))
    if remedies.aggressive_steps:
        ids = text.vocabulary.encode(list(text.validation)).numpy()
        chain.append(kv.AggressiveStopping(ids, period=remedies.aggressive_period))
    shown = progress.training(name)
    if run.finished_epochs < settings.fit.epochs:
        model.fit(
            list(text.train),
            batch_size=settings.fit.batch_size,
            validation_data=None if text.validation is None else list(text.validation),
            initial_epoch=run.finished_epochs,
            epochs=settings.fit.epochs,
            # The last one remembers what all others have done.
            callbacks=[*_program.guards(settings), *chain, shown, run.callback()],
            verbose=0,
        )
    with _run.replaced(last) as path:
        model.save(path)


def _steps(settings, run, text):
    """Returns the callback that remembers the KL within the epochs."""
    steps = run.planned_epochs * text.steps_per_epoch(settings.fit.batch_size)
    every = max(steps // _SPANS, 1)
    return kv.callbacks.StepHistory(every, run.path / _STEPS_FILE)


def _chosen(run):
    """Returns the path of the best model, or of the last one if none was compared."""
    best = run.path / "best.keras"
    return best if best.is_file() else run.path / "last.keras"


def _finished(settings, run, text):
    """Measures and writes the chosen model; returns the table."""
    chosen = _chosen(run)
    model = keras.saving.load_model(chosen)
    metrics = _sentence_figures.measure(settings, model, text, text.test)
    steps = text.steps_per_epoch(settings.fit.batch_size)
    spans = run.path / _STEPS_FILE
    # A run of an earlier version has none.
    within = kv.callbacks.StepHistory.read(spans) if spans.is_file() else None
    if settings.remedies.aggressive_steps:
        # Their steps are those of the decoder, of which an epoch has fewer.
        within = steps = None
    kv.figures.annealing(run.history, steps, run.path / "annealing.png", within)
    diagnosis = None
    if model.uses_latent:
        diagnosis = kv.diagnose(model, text.test, max_examples=_DIAGNOSED)
        metrics["diagnosis"] = diagnosis.to_dict()
    written = _written(model, text, settings.fit.seed)
    lines = [line for title, part in written.items() for line in ("", title, *part)]
    with _run.replaced(run.path / "sentences.txt") as path:
        path.write_text("\n".join(lines[1:]) + "\n", "utf-8")
    with _pages.writing(run.path / "tensorboard" / "run"):
        _pages.text("run/command", [_pages.command("sentence")])
        for title, part in written.items():
            _pages.text(f"sentences/{title.lower()}", ["\n".join(part)])
    model.export(run.path / "saved_model", verbose=False)
    run.finish({"model": chosen.name, **metrics})
    verdict = [] if diagnosis is None else ["", str(diagnosis)]
    table, place = _sentence_figures.table(metrics), f"In {run.path}: {chosen.name}"
    return "\n".join(["", table, *verdict, *lines, "", place])


def _written(model, text, seed):
    """Returns lines that the model writes, by title."""
    test = list(text.test[:_SHOWN])
    pairs = zip(test, _lines(model.reconstruct(test)), strict=True)
    between = model.interpolate(test[:1], test[-1:], _STEPS)
    return {
        "Drawn": _lines(model.generate(_SHOWN, seed=seed)),
        "Reconstructed": [line for a, b in pairs for line in (a, f"  {b}")],
        "Between": _lines(between[0]),
    }


def _lines(sentences):
    return [sentence.decode() for sentence in sentences.numpy()]


def run():
    """Runs the program from the command line."""
    _program.run(_sentence_settings.define, main, __doc__)


if __name__ == "__main__":
    run()

"""Trains a VAE of sentences, or a model of language, and reports what became of it.

    python -m trainers.sentence
    python -m trainers.sentence --dataset=mine.txt --word_dropout=0.4
    python -m trainers.sentence --dataset=ptb --data_dir=DATA --language_model

A run writes to `runs/<name>/` the flags (`config.json`), the logs of all epochs
(`history.csv`, `history.json`), the KL and its weight over the steps (`annealing.png`),
TensorBoard events with sentences (`tensorboard/`), the models (`best.keras`, by the
unweighted bound on the validation data, and `last.keras`), the chosen one as SavedModel
from strings to strings (`saved_model/`), what it writes (`sentences.txt`), and the
figures of the table that it ends with (`metrics.json`).

A run that was stopped continues with the same command and `--resume`, to the weights
that it would have had.
"""

import dataclasses
import functools

import keras
import numpy as np
from absl import flags

import keras_vae as kv
from trainers import _data
from trainers import _flag_checks
from trainers import _model
from trainers import _pages
from trainers import _program
from trainers import _progress
from trainers import _run
from trainers import _sentence_settings

_SHOWN, _STEPS = 8, 6
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
    given = {"max_length": settings.data.max_length}
    given = {} if given["max_length"] is None else given
    with _flag_checks.blamed("dataset", settings.data.dataset):
        loaded = kv.datasets.load(
            settings.data.dataset, data_dir=settings.data.data_dir, **given
        )
        data = _data.Data(*_strings(loaded), description=loaded.description)
    if data.validation is None and settings.data.validation_fraction:
        data = _data.hold_out(data, settings.data)
    words = settings.data.max_words
    vocabulary = kv.datasets.Vocabulary.of(data.train, max_words=words)
    text = Text(*data, vocabulary=vocabulary, description=data.description)
    run = _run.Run(settings)
    steps = text.steps_per_epoch(settings.fit.batch_size)
    _flag_checks.check_length(settings, steps)
    return settings, run, text, _build(settings, text, steps)


def _strings(loaded):
    if not isinstance(loaded.train[0], str):
        raise ValueError("`dataset` must hold sentences. Received: numbers")
    return loaded


def _build(settings, text, steps):
    keras.utils.set_random_seed(settings.fit.seed)
    keras.config.set_dtype_policy(settings.fit.precision)
    options = dict(vars(settings.model))
    del options["importance_samples"]
    uses_latent = not options.pop("language_model")
    objective, nats = kv.ELBO, options.pop("free_bits")
    if nats:
        objective = functools.partial(kv.objectives.FreeBits, nats=nats)
    longest = max(kv.datasets.count_words([x]) for x in text.train)
    model = kv.SentenceVAE(
        text.vocabulary,
        uses_latent=uses_latent,
        max_length=longest,
        objective=objective(kl_weight=settings.train.kl_weight),
        seed=settings.fit.seed,
        **options,
    )
    _model.compile_model(model, settings, steps)
    return model


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
        _say(run, text, model)
        epochs = settings.fit.epochs + _MEASURED
        with _progress.Progress(epochs, run.finished_epochs) as progress:
            _fit(settings, run, text, model, progress)
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


def _fit(settings, run, text, model, progress):
    last = run.path / "last.keras"
    if last.is_file():
        return
    run.restore(model)
    schedule = _flag_checks.kl_schedule(settings)
    chain = _program.annealing(settings, run.planned_epochs, text, schedule)
    chain.append(kv.callbacks.TensorBoard(run.path / "tensorboard", write_graph=False))
    if text.validation is not None:
        chain.append(kv.callbacks.ModelCheckpoint(run.path / "best.keras"))
    shown = progress.training()
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


def _finished(settings, run, text):
    """Measures and writes the chosen model; returns the table."""
    which = "best" if (run.path / "best.keras").is_file() else "last"
    model = keras.saving.load_model(run.path / f"{which}.keras")
    metrics = _measure(settings, model, text)
    steps = text.steps_per_epoch(settings.fit.batch_size)
    kv.figures.annealing(run.history, steps, run.path / "annealing.png")
    written = _written(model, text, settings.fit.seed)
    lines = [line for title, part in written.items() for line in ("", title, *part)]
    with _run.replaced(run.path / "sentences.txt") as path:
        path.write_text("\n".join(lines[1:]) + "\n", "utf-8")
    with _pages.writing(run.path / "tensorboard" / "run"):
        _pages.text("run/command", [_pages.command("sentence")])
        for title, part in written.items():
            _pages.text(f"sentences/{title.lower()}", ["\n".join(part)])
    model.export(run.path / "saved_model", verbose=False)
    run.finish({"model": f"{which}.keras", **metrics})
    return "\n".join(["", _table(metrics), *lines, "", f"In {run.path}: {which}.keras"])


def _measure(settings, model, text):
    """Returns the figures of the table, in nats for a sentence."""
    draws = settings.run.eval_samples
    repeated = list(text.test) * draws
    size = settings.fit.batch_size
    logs = model.evaluate(repeated, batch_size=size, verbose=0, return_dict=True)
    words = kv.datasets.count_words(text.test)
    samples = settings.model.importance_samples
    log_likelihood = model.log_likelihood(list(text.test), num_samples=samples)
    nll = -float(np.mean(log_likelihood))
    return {
        "reconstruction": float(logs["reconstruction_loss"]),
        "rate": float(logs["kl_loss"]),
        "negative_elbo": float(logs["negative_elbo"]),
        "negative_log_likelihood": nll,
        "perplexity": float(np.exp(nll * len(text.test) / words)),
        "test_sentences": len(text.test),
        "test_words": words,
        "importance_samples": samples,
    }


def _table(metrics):
    names = {
        "reconstruction": "reconstruction",
        "rate": "rate (KL)",
        "negative_elbo": "-ELBO",
        "negative_log_likelihood": "-log p",
        "perplexity": "perplexity of a word",
    }
    head = (
        f"Test split, {metrics['test_sentences']} sentences, {metrics['test_words']} "
        "words with ends, nats for a sentence"
    )
    cells = [f"  {text}".ljust(26) + f"{metrics[n]:10.2f}" for n, text in names.items()]
    return "\n".join([head, *cells])


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

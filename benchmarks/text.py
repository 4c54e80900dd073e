"""Which remedy keeps the KL of a sentence VAE, and what each of them costs.

    python -m benchmarks.text --data_dir=DATA
    python -m benchmarks.text --data_dir=DATA --rows=fixed,sigmoid --epochs=10
    python -m benchmarks.text --dataset=mine.txt

Trains sentence VAEs on the sentences of the Penn Treebank: LSTMs of 256, embeddings of
256, z of 32, dropout .5, batches of 32. The rows: a model of language; the weight 1
from the start; sigmoid and cyclical annealing; free bits; an autoencoder whose decoder
begins anew, with free bits; hidden words; the encoder trained ahead; delta-VAE; a
weight that is controlled until the KL has 6 nats; and the smaller model of
Sentence-VAE, whose z sets the first state alone, and which has 4 epochs at a constant
learning rate. All others have `--epochs`, the pre-training included, the encoder
trained ahead half as many again, at a learning rate that rises to .002 and falls to
0.

A row is a run of `trainers.sentence` in `--results`, so that a call which was stopped
goes on within its row. What the rows are likely to take is printed first. The table
has nats for a sentence of the test split, with its end, and compares methods by -log p,
which `--importance_samples` draws of z estimate; perplexity is exp(-log p / words for a
sentence). `--quick` takes tiny models, to try it.
"""

import json
import pathlib
import time

import keras
import numpy as np
from absl import app
from absl import flags
from absl import logging

from benchmarks import table_of_runs
from trainers import _resolve
from trainers import _sentence_figures
from trainers import _sentence_settings
from trainers import sentence

_FREE_BITS = ["--free_bits=0.25", "--free_bits_over=example"]
_LINEAR = ["--schedule=linear", "--warmup=25%"]
ROWS = {
    "language model": ["--schedule=none", "--language_model"],
    "fixed": ["--schedule=none"],
    "sigmoid": ["--schedule=sigmoid"],
    # The last part of the run is at weight 1, so that its epochs compare.
    "cyclical": ["--schedule=cyclical", "--warmup=80%"],
    "free bits": [*_LINEAR, *_FREE_BITS],
    "pre-training": [*_LINEAR, *_FREE_BITS],
    "word dropout": ["--schedule=sigmoid", "--word_dropout=0.4"],
    # The ramp counts the steps of the decoder.
    "aggressive": [
        "--schedule=linear",
        "--warmup=5 epochs",
        "--aggressive_steps=5",
        "--aggressive_period=5",
    ],
    "delta": ["--schedule=none", "--delta=0.15"],
    "rate target": ["--schedule=none", "--kl_weight=0.1", "--target_rate=6"],
    "Sentence-VAE": [
        "--cell=gru",
        "--nolatent_at_words",
        "--embedding_dim=300",
        "--latent_dim=16",
        "--embedding_dropout=0.5",
        "--output_dropout=0",
        "--schedule=sigmoid",
        "--warmup=5000",
        "--learning_rate=1e-3",
        "--learning_rate_decay=none",
    ],
}
_FULL = [
    "--embedding_dropout=0.5",
    "--output_dropout=0.5",
    # Few epochs are worth more if the steps become small at their end.
    "--learning_rate=2e-3",
    "--learning_rate_decay=warmup_cosine",
]
_QUICK = ["--units=8", "--embedding_dim=8", "--latent_dim=4"]
_COLUMNS = {
    "reconstruction": ".2f",
    "rate": ".2f",
    "negative_elbo": ".2f",
    "negative_log_likelihood": ".2f",
    "importance_samples": "d",
    "perplexity": ".2f",
    "mutual_information": ".2f",
    "active_units": "d",
    "minutes": ".0f",
}
_HEAD = (
    "| model | epochs | reconstruction | KL | -ELBO | -log p | draws | perplexity | "
    "mutual information | active units | minutes |"
)
_TIMED_STEPS = 50


def define(values=flags.FLAGS):
    """Defines the flags."""
    table_of_runs.define(values, ROWS, 30, "runs/text")
    common = {"flag_values": values}
    flags.DEFINE_string("dataset", "ptb", "ptb, or a .txt file.", **common)
    flags.DEFINE_boolean("quick", False, "Tiny models.", **common)


def epochs_of(name, epochs):
    """Returns the epochs of a row, and those of its autoencoder before."""
    if name == "Sentence-VAE":
        return min(4, epochs), 0
    if name == "aggressive":
        return -(-3 * epochs // 2), 0
    before = -(-epochs // 4) if name == "pre-training" else 0
    return max(1, epochs - before), before


def settings_of(name, chosen):
    """Returns the settings of `trainers.sentence` for a row."""
    args = [*_FULL, *ROWS[name], *(_QUICK if chosen.quick else [])]
    epochs, before = epochs_of(name, chosen.epochs)
    other = pathlib.Path(chosen.dataset).stem if chosen.dataset != "ptb" else ""
    parts = [table_of_runs.file_name(name), f"{chosen.epochs}", other]
    parts.append("quick" if chosen.quick else "")
    directory = pathlib.Path(chosen.results, "-".join(filter(None, parts)))
    args += [f"--epochs={epochs}", f"--pretraining={before}"]
    args += [f"--dataset={chosen.dataset}", f"--run_dir={directory}", "--resume"]
    args += [f"--importance_samples={chosen.importance_samples}"]
    if chosen.data_dir is not None:
        args.append(f"--data_dir={chosen.data_dir}")
    return _sentence_settings.resolve(_resolve.parsed(_sentence_settings.define, args))


def cost(name, chosen):
    """Returns about how many seconds an epoch of a row takes, by some timed steps."""
    settings, _, text, model = sentence.prepare(settings_of(name, chosen))
    size = settings.fit.batch_size
    watch = table_of_runs.Stopwatch("train_batch", _TIMED_STEPS)
    # Of as many epochs as the row: the length of a run decides how it is trained.
    epochs = {"epochs": settings.fit.epochs, "verbose": 0}
    model.fit(list(text.train), batch_size=size, callbacks=[watch], **epochs)
    keras.backend.clear_session()
    # A step of a new length compiles first, so that the mean would say too much.
    return float(np.median(watch.seconds)) * text.steps_per_epoch(size)


def measure(name, chosen):
    """Trains what is missing of a row, and returns its figures.

    Returns:
        Dict: `metrics.json` of the run, and "minutes" of this call.
    """
    start = time.monotonic()
    settings, run, text, model = sentence.prepare(settings_of(name, chosen))
    sentence.train(settings, run, text, model)
    keras.backend.clear_session()
    found = json.loads((run.path / "metrics.json").read_text())
    return {**found, "minutes": (time.monotonic() - start) / 60}


def benchmark(chosen):
    """Measures what is missing and returns the table."""
    results = table_of_runs.Results(chosen.results)
    keys = {_key(name, chosen): name for name in chosen.rows}
    missing = [keys[key] for key in results.missing(keys)]
    seconds = {}
    for name in missing:
        kind = kind_of(name)
        if kind not in seconds:
            seconds[kind] = cost(name, chosen)
        epochs = sum(epochs_of(name, chosen.epochs))
        print(
            f"{name}: {epochs} epochs of about {seconds[kind]:.0f} s, "
            f"{epochs * seconds[kind] / 60:.0f} minutes of training",
            flush=True,
        )
    for name in missing:
        print(name, flush=True)
        results.add(_key(name, chosen), measure(name, chosen))
        print(table(results.found, chosen, [name]), flush=True)
    return results.write(table(results.found, chosen, chosen.rows))


def kind_of(name):
    """Returns what the seconds of a step depend on: rows of one kind take as long."""
    return name if name in ("language model", "aggressive", "Sentence-VAE") else "VAE"


def _key(name, chosen):
    return f"{name}, {chosen.epochs} epochs{_data_of(chosen)}"


def _data_of(chosen):
    """Returns what tells rows on other data or of tiny models from the usual ones."""
    data = "" if chosen.dataset == "ptb" else f", {chosen.dataset}"
    return f"{data}, quick" if chosen.quick else data


def table(found, chosen, rows):
    """Returns some of the results in Markdown."""
    lines = [_HEAD, "|---" * (_HEAD.count("|") - 1) + "|"]
    for name in rows:
        one = found[_key(name, chosen)]
        epochs, before = epochs_of(name, chosen.epochs)
        numbers = [f"{one[key]:{form}}" for key, form in _COLUMNS.items()]
        cells = [name, f"{before} + {epochs}" if before else f"{epochs}", *numbers]
        lines.append(f"| {' | '.join(cells)} |")
    words = one["test_words"] / one["test_sentences"]
    return "\n".join(
        [
            *lines,
            "",
            f"Nats for a sentence of {words:.3f} words with its end; -log p by draws "
            "of z, of which a model without z needs 1; minutes of the call that ended "
            f"the run. {_sentence_figures.counted(one)}.",
            "",
        ]
    )


def main(argv):
    """Runs the program."""
    table_of_runs.check(argv, flags.FLAGS, ROWS)
    # TensorFlow tells of every function that it saves.
    logging.set_verbosity(logging.WARNING)
    print(benchmark(flags.FLAGS))


if __name__ == "__main__":
    define()
    app.run(main)

"""What `trainers.sentence` was asked to do: its flags, and their values."""

import dataclasses
import pathlib

from absl import flags

from trainers import _flag_checks
from trainers import _flags
from trainers import _settings
from trainers._definer import Definer

# The flags belong to the program that defines them.
flags.disclaim_key_flags()

# What other programs ask for, and here has one value.
_FIXED = {"objective": "elbo"}


@dataclasses.dataclass(frozen=True)
class TextSettings:
    """Which sentences; see the flags of these names."""

    dataset: str
    data_dir: str | None
    max_length: int | None
    max_words: int | None
    validation_fraction: float


@dataclasses.dataclass(frozen=True)
class SentenceSettings:
    """Which model; see the flags of these names."""

    cell: str
    units: int
    embedding_dim: int
    latent_dim: int
    pooling: str
    word_dropout: float
    embedding_dropout: float
    output_dropout: float
    tie_weights: bool
    language_model: bool
    free_bits: float
    importance_samples: int


_KINDS = {
    "data": TextSettings,
    "model": SentenceSettings,
    "train": _settings.TrainSettings,
    "fit": _settings.FitSettings,
    "run": _settings.RunSettings,
}


@dataclasses.dataclass(frozen=True)
class Settings:
    """All of it, as `_settings.Settings`."""

    data: TextSettings
    model: SentenceSettings
    train: _settings.TrainSettings
    fit: _settings.FitSettings
    run: _settings.RunSettings

    @property
    def run_dir(self):
        """String, the directory of the run, in which it can be continued."""
        return self.run.run_dir

    @property
    def flat(self):
        """Dict, flags to values."""
        return {n: v for part in _KINDS for n, v in vars(getattr(self, part)).items()}


def define(values):
    """Defines the flags of `trainers.sentence`.

    Args:
        values: `absl.flags.FlagValues` that takes them up.
    """
    add = Definer(values)
    add.string(
        "dataset",
        "grammar",
        "grammar, 5,000 made sentences; ptb; or a .txt file in UTF-8, one a line.",
    )
    add.string("data_dir", None, "Directory of the data sets; default $KERAS_VAE_DATA.")
    add.integer("max_length", None, "Most words of a sentence that is not left out.")
    add.integer("max_words", None, "Most words of the vocabulary; others are unknown.")
    _flags.define_validation_fraction(add)
    add.enum("cell", "lstm", ("lstm", "gru"), "Cell of both networks.")
    add.integer("units", 256, "Units of both networks.")
    add.integer("embedding_dim", 256, "Size of the embeddings of words.")
    add.integer("latent_dim", 32, "Dimensions of z.")
    add.enum("pooling", "last", ("last", "max"), "How the encoder sums up its states.")
    for name, high, text in (
        ("word_dropout", 1.0, "Share of words hidden from the decoder; 1: always all."),
        ("embedding_dropout", 0.99, "Dropout of the decoder's embeddings."),
        ("output_dropout", 0.99, "Dropout before the decoder's last layer."),
    ):
        add.number(name, 0.0, text, high=high)
    add.boolean("tie_weights", False, "Take the embedding as the last kernel.")
    add.boolean("language_model", False, "Train the decoder alone, without z.")
    add.number("free_bits", 0.0, "Nats of the rate that each unit has for free.")
    add.number("kl_weight", 1.0, "Weight of the KL, at the end of the schedule.")
    schedules = ("none", *_flag_checks.SCHEDULES)
    add.enum("schedule", "sigmoid", schedules, "How the weight gets there.")
    add.string(
        "warmup", None, "'50%', '5 epochs' or '1000' steps; default: schedule's."
    )
    add.integer(
        "importance_samples", 100, "Draws of z by which -log p(x) is estimated."
    )
    _flags.define_training(add, epochs=10)
    values.set_default("batch_size", 32)
    _flags.define_run(add)


def resolve(values):
    """Returns what the flags ask for.

    Args:
        values: Parsed `absl.flags.FlagValues` on which `define` was called.

    Raises:
        _settings.FlagError: If the flags cannot be followed together.
    """

    def part(kind):
        names = [field.name for field in dataclasses.fields(kind)]
        given = {name: values[name].value for name in names if name not in _FIXED}
        return kind(**given, **{n: v for n, v in _FIXED.items() if n in names})

    settings = Settings(**{name: part(kind) for name, kind in _KINDS.items()})
    schedules = tuple(_flag_checks.SCHEDULES)
    _flag_checks.check_only_with("warmup", settings, "schedule", schedules)
    _flag_checks.kl_schedule(settings)
    name = settings.run.name or f"{pathlib.Path(settings.data.dataset).stem}-sentences"
    run_dir = settings.run.run_dir or str(pathlib.Path("runs", name))
    run = dataclasses.replace(settings.run, name=name, run_dir=run_dir)
    return dataclasses.replace(settings, run=run)

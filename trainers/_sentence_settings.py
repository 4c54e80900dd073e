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
    latent_at_words: bool
    word_dropout: float
    embedding_dropout: float
    output_dropout: float
    tie_weights: bool
    language_model: bool
    importance_samples: int


@dataclasses.dataclass(frozen=True)
class RemedySettings:
    """What is done against a KL that vanishes; see the flags of these names."""

    pretraining: int = 0
    free_bits_over: str = "batch"
    free_bits_group: int = 1
    target_rate: float | None = None
    delta: float = 0.0
    mean_spread: float = 0.0
    aggressive_steps: int = 0
    aggressive_period: int = 1


_KINDS = {
    "data": TextSettings,
    "model": SentenceSettings,
    "remedies": RemedySettings,
    "train": _settings.TrainSettings,
    "fit": _settings.FitSettings,
    "run": _settings.RunSettings,
}


@dataclasses.dataclass(frozen=True)
class Settings:
    """All of it, as `_settings.Settings`."""

    data: TextSettings
    model: SentenceSettings
    remedies: RemedySettings
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

    @property
    def autoencoder(self):
        """`Settings` of the run that trains an autoencoder before."""
        kept = {n: getattr(self.remedies, n) for n in ("delta", "mean_spread")}
        train = {"kl_weight": 0.0, "schedule": "none", "warmup": None}
        train |= {"free_bits": 0.0, "free_bits_until": None}
        run_dir = str(pathlib.Path(self.run_dir, "autoencoder"))
        return dataclasses.replace(
            self,
            remedies=RemedySettings(**kept),
            train=dataclasses.replace(self.train, **train),
            fit=dataclasses.replace(self.fit, epochs=self.remedies.pretraining),
            run=dataclasses.replace(self.run, run_dir=run_dir, resume=True),
        )


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
    add.boolean("latent_at_words", True, "Let the decoder read z beside each word.")
    for name, high, text in (
        ("word_dropout", 1.0, "Share of words hidden from the decoder; 1: always all."),
        ("embedding_dropout", 0.99, "Dropout of the decoder's embeddings."),
        ("output_dropout", 0.99, "Dropout before the decoder's last layer."),
    ):
        add.number(name, 0.0, text, high=high)
    add.boolean("tie_weights", False, "Take the embedding as the last kernel.")
    add.boolean("language_model", False, "Train the decoder alone, without z.")
    _define_remedies(add)
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


def _define_remedies(add):
    add.integer(
        "pretraining",
        0,
        "Epochs as an autoencoder, at weight 0, after which the decoder begins anew.",
        low=0,
    )
    add.number("free_bits", 0.0, "Nats of the rate that each group has for free.")
    add.string("free_bits_until", None, "Where they end, such as '10%'; default never.")
    add.enum(
        "free_bits_over",
        "batch",
        ("batch", "example"),
        "Whether the rate of a group is the mean of a batch, or that of each sentence.",
    )
    add.integer(
        "free_bits_group", 1, "Units of a group; --latent_dim makes one group of all."
    )
    add.number(
        "target_rate", None, "Nats of the rate to which the weight is controlled."
    )
    add.number("delta", 0.0, "Nats of the rate that each unit has at least: delta-VAE.")
    add.number(
        "mean_spread",
        0.0,
        "Standard deviation of the means of q(z|x) over each batch: BN-VAE.",
    )
    add.integer(
        "aggressive_steps",
        0,
        "Most steps of the encoder before each one of the decoder, until the mutual "
        "information of validation data falls; 0 trains both at once. Such an epoch "
        "has fewer steps of the decoder, which --warmup counts.",
        low=0,
    )
    add.integer(
        "aggressive_period", 1, "Epochs between estimates of the mutual information."
    )


def resolve(values):
    """Returns what the flags ask for.

    Args:
        values: Parsed `absl.flags.FlagValues` on which `define` was called.

    Raises:
        _settings.FlagError: If the flags cannot be followed together.
    """

    def part(kind):
        names = [field.name for field in dataclasses.fields(kind)]
        # What has a flag in other programs alone keeps its default.
        given = {name: values[name].value for name in names if name in values}
        return kind(**given, **{n: v for n, v in _FIXED.items() if n in names})

    settings = Settings(**{name: part(kind) for name, kind in _KINDS.items()})
    schedules = tuple(_flag_checks.SCHEDULES)
    _flag_checks.check_only_with("warmup", settings, "schedule", schedules)
    _flag_checks.check_only_with("target_rate", settings, "schedule", ("none",))
    _flag_checks.kl_schedule(settings)
    _flag_checks.free_bits_schedule(settings)
    _check_remedies(settings)
    _flag_checks.check_name(settings.run)
    name = settings.run.name or f"{pathlib.Path(settings.data.dataset).stem}-sentences"
    run_dir = settings.run.run_dir or str(pathlib.Path("runs", name))
    run = dataclasses.replace(settings.run, name=name, run_dir=run_dir)
    return dataclasses.replace(settings, run=run)


# What does the same in another way, so that one of them has to be chosen.
_ALTERNATIVES = ("free_bits", "target_rate"), ("delta", "mean_spread")


def _check_remedies(settings):
    values = {"free_bits": settings.train.free_bits, **vars(settings.remedies)}
    given = {name: v for name, v in values.items() if v}
    units, size = settings.model.latent_dim, settings.remedies.free_bits_group
    if settings.model.language_model:
        plain = {"free_bits": 0.0, **vars(RemedySettings())}
        if used := [name for name in given if given[name] != plain[name]]:
            raise _settings.FlagError(
                f"`--{used[0]}` must be left out with --language_model, which has no "
                f"rate. Received: {_settings.written(used[0], given[used[0]])}"
            )
    for pair in _ALTERNATIVES:
        if all(name in given for name in pair):
            texts = " ".join(_settings.written(name, given[name]) for name in pair)
            raise _settings.FlagError(
                f"`--{pair[0]}` must be left out with --{pair[1]}. Received: {texts}"
            )
    if units % size:
        raise _settings.FlagError(
            f"`--free_bits_group` must divide --latent_dim={units}. Received: "
            f"--free_bits_group={size}"
        )

"""What a program was asked to do: frozen, one class for each kind of flag."""

import dataclasses


class FlagError(ValueError):
    """Flags that cannot be followed, found out before anything is written."""


def written(name, value, quote=""):
    """Returns a flag as it is written on the command line.

    Args:
        name: String.
        value: Its value, None where it is left out.
        quote: String, what stands around the name.
    """
    flag = f"{quote}--{name}{quote}"
    if value is None:
        return f"no {flag}"
    values = value if isinstance(value, list | tuple) else [value]
    return f"{flag}={','.join(map(_in_short, values))}"


def _in_short(value):
    if isinstance(value, float) and float(f"{value:g}") == value:
        return f"{value:g}"
    return str(value)


@dataclasses.dataclass(frozen=True)
class DataSettings:
    """Which data, and what is done to them; see the flags of these names."""

    dataset: str
    data_dir: str | None
    key: str | None
    header: str | None
    drop_columns: tuple | None
    decimal: str | None
    image_size: tuple | None
    grayscale: bool | None
    max_bytes: int | None
    binarize: str
    standardize: str
    validation_fraction: float
    # A saved model says them itself.
    missing: str = "none"
    condition: str = "none"

    @property
    def layout(self):
        """Returns `header` and `decimal` as the reader of tables takes them."""
        header = {None: None, "true": True, "false": False}[self.header]
        return header, {None: None, "point": ".", "comma": ","}[self.decimal]

    @property
    def known_as_missing(self):
        """Returns `missing` as the library takes it."""
        return None if self.missing == "none" else self.missing


@dataclasses.dataclass(frozen=True)
class ModelSettings:
    """Which model; see the flags of these names."""

    network: str
    hidden: tuple | None
    filters: tuple | None
    activation: str | None
    latent_dim: int
    linear_path: str
    likelihood: str | None
    num_classes: int | None
    prior: str
    num_components: int | None
    posterior: str
    num_samples: int | None
    kl: str | None
    # Only what trains one model has the flags.
    model: str = "vae"
    levels: tuple | None = None
    layers: int = 1
    batch_normalization: bool = False


@dataclasses.dataclass(frozen=True)
class TrainSettings:
    """What `trainers.train` optimises; see the flags of these names."""

    objective: str
    kl_weight: float
    schedule: str | None
    warmup: str | None
    free_bits: float = 0.0
    free_bits_until: str | None = None


@dataclasses.dataclass(frozen=True)
class WeighSettings:
    """What `trainers.weigh` measures; see the flags of these names."""

    mode: str
    betas: tuple | None
    beta_range: tuple | None
    check: bool
    num_processes: int
    export_beta: float | None
    target_rate: float | None
    target_distortion: float | None
    target_rmse: float | None
    polish: float


@dataclasses.dataclass(frozen=True)
class FitSettings:
    """How it is trained; see the flags of these names."""

    epochs: int | None
    batch_size: int
    learning_rate: float
    learning_rate_decay: str
    on_divergence: str
    seed: int
    precision: str
    jit_compile: str
    steps_per_execution: int | None
    # Only what trains one model has the flags.
    clip_norm: float | None = None
    skip_norm: float | None = None


@dataclasses.dataclass(frozen=True)
class RunSettings:
    """Where the run is, and how it is reported; see the flags of these names."""

    name: str | None
    run_dir: str | None
    resume: bool
    eval_samples: int


@dataclasses.dataclass(frozen=True)
class EvaluateSettings:
    """What `trainers.evaluate` was asked to do.

    Args:
        data: `DataSettings`.
        model, beta, batch_size, seed, eval_samples, importance_samples, impute, output:
            See the flags of these names.
        given: Tuple of strings, the flags of the data on the command line.
    """

    data: DataSettings
    model: str
    beta: float | None
    batch_size: int
    seed: int
    eval_samples: int
    importance_samples: int
    impute: str | None
    output: str | None
    given: tuple = ()

    # There is nothing to continue.
    run_dir = None


@dataclasses.dataclass(frozen=True)
class ExportSettings:
    """What `trainers.export` was asked to do; see the flags of these names."""

    model: str
    beta: float | None
    output: str

    run_dir = None


_PARTS = "data", "model", "train", "weigh", "fit", "run"


@dataclasses.dataclass(frozen=True)
class Settings:
    """All of it.

    `_resolve` makes them of flags and fills in what the data decide; nothing else does.

    Args:
        config: String, the recipe, or None.
        data: `DataSettings`.
        model: `ModelSettings`.
        train: `TrainSettings`, of `trainers.train` alone.
        weigh: `WeighSettings`, of `trainers.weigh` alone.
        fit: `FitSettings`.
        run: `RunSettings`.
    """

    config: str | None
    data: DataSettings
    model: ModelSettings
    train: TrainSettings | None
    weigh: WeighSettings | None
    fit: FitSettings
    run: RunSettings

    @classmethod
    def of(cls, flags):
        """Takes the values of all flags of a program.

        Args:
            flags: Dict, names to values.
        """

        def part(kind):
            fields = dataclasses.fields(kind)
            names = [field.name for field in fields if field.name in flags]
            needed = {f.name for f in fields if f.default is dataclasses.MISSING}
            if not needed <= set(names):
                return None
            return kind(**{name: flags[name] for name in names})

        kinds = DataSettings, ModelSettings, TrainSettings, WeighSettings
        return cls(flags["config"], *map(part, (*kinds, FitSettings, RunSettings)))

    @property
    def run_dir(self):
        """String, the directory of the run, in which it can be continued."""
        return self.run.run_dir

    @property
    def flat(self):
        """Dict, flags to values as JSON takes them, in the order of `--help`."""
        found = {"config": self.config}
        for name in _PARTS:
            part = getattr(self, name)
            found |= {} if part is None else vars(part)
        return {n: list(v) if isinstance(v, tuple) else v for n, v in found.items()}

    def with_values(self, **values):
        """Returns settings in which some flags have other values."""
        parts = {}
        for name in _PARTS:
            part = getattr(self, name)
            own = () if part is None else vars(part).keys() & values.keys()
            if own:
                taken = {flag: values.pop(flag) for flag in own}
                parts[name] = dataclasses.replace(part, **taken)
        # What is left is of no part, an error.
        return dataclasses.replace(self, **parts, **values)

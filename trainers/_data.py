"""Data of a run: splits, units, and the labels that a model takes."""

import dataclasses
import pathlib

import numpy as np

from keras_vae import datasets
from keras_vae import linear
from keras_vae import normalization
from trainers import _columns
from trainers import _contents
from trainers import _flag_checks
from trainers import _settings
from trainers import _units

# Binarisations of test and validation data, and the split, are the same for all seeds,
# so that runs compare.
_TEST, _VALIDATION, _TRAIN = range(3)
# Of tables that get a noise for each column: factor analysis takes seconds.
_COLUMNS, _ROWS, _ROWS_AT_MOST = 128, 20, 5000


@dataclasses.dataclass(frozen=True)
class Scaling:
    """Units of standardised data: x = mean + scale * what the model sees.

    Args:
        mean: Float array, one number or `event_shape`.
        scale: Float array of the same shape, positive.
        constant: Integer, number of columns that do not vary, whose scale is 1.
        unit: String, what the scale of a column is.
    """

    mean: np.ndarray
    scale: np.ndarray
    constant: int = 0
    unit: str = "deviation"

    def __str__(self):
        """A sentence."""
        if self.scale.ndim:
            text = f"Each column is standardised by its own mean and {self.unit}"
            if self.constant:
                text += f"; {self.constant} that do not vary are only shifted"
        else:
            text = f"Values are standardised, (x - {self.mean:.4g}) / {self.scale:.4g}"
        return (
            f"{text}: training, the curve, errors\nand noise are in these units. The "
            "figures of the test split, model.keras and\nsaved_model/ are in those of "
            "the data."
        )

    def apply(self, x):
        """Returns values in their own units as a model sees them.

        Raises:
            ValueError: If the examples have another shape.
        """
        if self.mean.ndim and x.shape[1:] != self.mean.shape:
            # NumPy would repeat a column.
            raise ValueError(
                f"examples have shape {x.shape[1:]}, and units {self.mean.shape}"
            )
        return ((x - self.mean) / self.scale).astype("float32")

    def undo(self, x):
        """Returns standardised values in their own units."""
        return self.mean + self.scale * x

    def to_dict(self):
        """The numbers as JSON takes them."""
        return {"mean": self.mean.tolist(), "scale": self.scale.tolist()}


@dataclasses.dataclass(frozen=True)
class Data:
    """Splits of the data, over which it iterates.

    Args:
        train: Array of shape (n, *event_shape).
        validation: Array, or None.
        test: Array.
        scaling: `Scaling`, or None for the values of the file.
        columns: Tuple of strings, the names of the columns of a table, or None.
        description: String, lines that say what was read.
        labels: Dict, names of splits to arrays (n,), those that have labels.
        num_classes: Integer, the classes of labels that the model takes, or None.
        contents: Dict, what `_contents.of` says of the data as they were read, or None.
    """

    train: np.ndarray
    validation: np.ndarray | None
    test: np.ndarray
    scaling: Scaling | None = None
    columns: tuple | None = None
    description: str = ""
    labels: dict = dataclasses.field(default_factory=dict)
    num_classes: int | None = None
    contents: dict | None = None

    def __iter__(self):
        """Yields train, validation and test."""
        return iter((self.train, self.validation, self.test))

    @property
    def held_out(self):
        """What choices are made by: the validation split, else the test split."""
        return self.test if self.validation is None else self.validation

    @property
    def _held_out(self):
        return "test" if self.validation is None else "validation"

    @property
    def held_out_labels(self):
        """Array (n,) of the labels of `held_out`, or None."""
        return self.labels.get(self._held_out)

    @property
    def conditions(self):
        """What a `keras_vae.VAE` takes as `conditions`."""
        return None if self.num_classes is None else {"label": self.num_classes}

    def inputs(self, part):
        """Returns what the model takes of a split: its array, or that and its labels.

        Args:
            part: "train", "validation", "test" or "held_out".
        """
        part = self._held_out if part == "held_out" else part
        x = getattr(self, part)
        if x is None or self.num_classes is None:
            return x
        return {"x": x, "label": self.labels[part]}

    def steps_per_epoch(self, batch_size):
        """How many batches the training examples make; the last may be short."""
        return -(-len(self.train) // batch_size)


def load(
    settings,
    likelihood,
    scaling=None,
    latent_dim=8,
    with_channels=False,
    columns=None,
):
    """Loads and splits the data that the flags name.

    Args:
        settings: `_settings.DataSettings`.
        likelihood: String, the name of p(x|z) that the values are for, or None.
        scaling: `Scaling` that the values get, or None for that of the settings.
        latent_dim: Integer, dimensions of z, which the noise of a column depends on.
        with_channels: Boolean, whether images without an axis of channels get one.
        columns: Sequence of strings, the order in which a model takes the columns of a
            table, or None for that of the file.

    Returns:
        `Data`; with dynamic binarisation `train` is still grey.

    Raises:
        _settings.FlagError: If there are no such data or the flags do not suit them.
    """
    _flag_checks.check_numbers(settings.dataset)
    with _flag_checks.blamed("dataset", settings.dataset):
        loaded = datasets.load(
            settings.dataset, data_dir=settings.data_dir, **reading(settings)
        )
    data = Data(
        *loaded,
        columns=loaded.columns,
        description=loaded.description,
        labels=loaded.labels or {},
        contents=_contents_of(loaded, settings),
    )
    places = _columns.places(data.columns, columns, settings)
    if places is not None and places != sorted(places):
        data = _in_order(data, places)
    if with_channels and len(loaded.event_shape) == 2:
        data = _with_channels(data)
    data = _prepared(data, settings, likelihood, scaling, latent_dim)
    return data if settings.condition == "none" else _conditional(data, settings)


def is_folder(dataset):
    """Returns whether --dataset is a folder of images."""
    return dataset not in datasets.named.LOADERS and pathlib.Path(dataset).is_dir()


def _contents_of(loaded, settings):
    """Returns what a run keeps of what its model sees, as it was read."""
    parts = loaded._asdict()
    if settings.condition == "labels":
        labels = loaded.labels or {}
        parts |= {f"labels of {name}": values for name, values in labels.items()}
    return _contents.of(parts, loaded.columns)


def reading(settings):
    """Returns the arguments of the reader that flags give, as a dict.

    Args:
        settings: `_settings.DataSettings`.
    """
    header, decimal = settings.layout
    found = {
        "key": settings.key,
        "header": header,
        "drop_columns": settings.drop_columns,
        "decimal": decimal,
        "image_size": settings.image_size,
        "grayscale": settings.grayscale,
        "max_bytes": settings.max_bytes,
        "missing": settings.known_as_missing,
    }
    return {name: value for name, value in found.items() if value not in (None, ())}


def _in_order(data, places):
    """Returns a table whose columns stand as the model takes them."""
    columns = tuple(data.columns[place] for place in places)
    text = f"Columns are put in the order of the model: {_columns.listed(columns)}."
    description = f"{data.description}\n{text}"
    return _changed(
        data, lambda x: x[:, places], columns=columns, description=description
    )


def _with_channels(data):
    shape = data.train.shape[1:]
    text = f"Images of shape {shape} get an axis of channels, {(*shape, 1)}."
    description = f"{data.description}\n{text}".strip()
    return _changed(data, lambda x: x[..., None], description=description)


def _changed(data, change, **others):
    """Returns data of which all splits are changed by a function of the array."""
    train, validation, test = (x if x is None else change(x) for x in data)
    return dataclasses.replace(
        data, train=train, validation=validation, test=test, **others
    )


def _prepared(data, settings, likelihood, scaling, latent_dim):
    """Returns the data split, binarised and in their units."""
    if data.validation is None and settings.validation_fraction:
        data = hold_out(data, settings)
    if settings.binarize == "none":
        if scaling is None:
            scaling = _scaling(data, settings, likelihood, latent_dim)
        if scaling is None:
            return data
        return _changed(data, scaling.apply, scaling=scaling)
    with _flag_checks.blamed("binarize", settings.binarize):
        data = dataclasses.replace(data, test=datasets.binarize(data.test, _TEST))
        if data.validation is not None:
            validation = datasets.binarize(data.validation, _VALIDATION)
            data = dataclasses.replace(data, validation=validation)
        train = datasets.binarize(data.train, _TRAIN)
    if settings.binarize == "dynamic":
        return data
    return dataclasses.replace(data, train=train)


def hold_out(data, settings):
    """Returns data of which a part of the training examples became the validation.

    Args:
        data: `Data`.
        settings: `_settings.DataSettings`.

    Raises:
        _settings.FlagError: If it would be none or all of them.
    """
    number = round(settings.validation_fraction * len(data.train))
    if not 0 < number < len(data.train):
        raise _settings.FlagError(
            "`--validation_fraction` must leave an example on both sides of the split "
            f"of {len(data.train)}; pass 0 to hold out none. Received: "
            f"--validation_fraction={settings.validation_fraction}"
        )
    order = np.random.default_rng(0).permutation(len(data.train))
    held_out, kept = np.sort(order[:number]), np.sort(order[number:])
    labels = dict(data.labels)
    if "train" in labels:
        labels["validation"] = labels["train"][held_out]
        labels["train"] = labels["train"][kept]
    return dataclasses.replace(
        data,
        train=data.train[kept],
        validation=data.train[held_out],
        labels=labels,
    )


def _conditional(data, settings):
    """Returns data whose labels the model takes."""
    parts = [name for name in datasets.splits.PARTS if getattr(data, name) is not None]
    received = f"Received: --dataset={settings.dataset}"
    if lacking := [name for name in parts if name not in data.labels]:
        raise _settings.FlagError(
            "`--dataset` must have labels where the model takes them, with "
            "--condition=labels: digits, mnist, fashion_mnist, or an .npz file with "
            f"arrays such as y_train and y_test. {received}, which has none for "
            f"{' and '.join(lacking)}"
        )
    labels = {name: np.ravel(data.labels[name]) for name in parts}
    for name, values in labels.items():
        if values.dtype.kind not in "iub" or values.min() < 0:
            raise _settings.FlagError(
                "`--dataset` must have whole numbers from 0 on as labels where the "
                "model takes them, with --condition=labels: number the classes. "
                f"{received}, whose labels of {name} are "
                f"{np.unique(values)[:3].tolist()} ..."
            )
    largest = max(int(values.max()) for values in labels.values())
    return dataclasses.replace(data, labels=labels, num_classes=max(largest + 1, 2))


def _scaling(data, settings, likelihood, latent_dim):
    how = settings.standardize
    if how == "auto":
        how = _automatic_standardization(data, likelihood)
        if how == "columns" and _have_own_noise(data.train, latent_dim):
            how = "noise"
    if how == "none":
        return None
    train = np.asarray(data.train, np.float64)
    if how == "whole":
        mean, variance = map(np.array, normalization.observed_moments(train, None))
    else:
        mean, variance = normalization.observed_moments(train)
    scale = np.sqrt(variance)
    varies = scale > 1e-6 * np.maximum(np.abs(mean), 1e-30)
    if not varies.any():
        raise _settings.FlagError(
            f"`--dataset`={settings.dataset}: no value varies over the "
            f"{len(train)} training examples, so that there is nothing to model"
        )
    unit = "deviation"
    if how == "noise":
        with _flag_checks.blamed("standardize", "noise"):
            flat = train.reshape(len(train), -1)
            noises = linear.noise_variances(flat, latent_dim)
        scale = np.sqrt(noises).reshape(scale.shape)
        unit = "noise, its deviation without what other columns tell of it"
    return Scaling(mean, np.where(varies, scale, 1.0), int(np.sum(~varies)), unit)


def _have_own_noise(x, latent_dim):
    if x.ndim != 2 or not 2 <= x.shape[1] <= _COLUMNS or len(x) < _ROWS:
        return False
    if np.isnan(x).any():
        return False
    return linear.are_noises_unequal(x[:_ROWS_AT_MOST], latent_dim)


def _automatic_standardization(data, likelihood):
    if likelihood not in (None, *_flag_checks.REAL):
        return "none"
    if data.columns is not None:
        return "none" if is_binary(data) else "columns"
    return "none" if is_unit_interval(data) else "whole"


def as_seen(x, binarize):
    """Returns training data as the model sees them: binary, if so in each epoch anew.

    Args:
        x: Array (examples, ...), the training split, or a dict with conditions.
        binarize: String, see the flag.
    """
    if binarize != "dynamic":
        return x
    return _units.changed(x, lambda part: datasets.binarize(part, _TRAIN))


def is_binary(data):
    """Returns whether all values of a `Data` are zeros and ones."""
    return all((np.isin(x, (0, 1)) | np.isnan(x)).all() for x in data if x is not None)


def is_unit_interval(data):
    """Returns whether all values of a `Data` are in [0, 1]."""
    return not any(((x < 0) | (x > 1)).any() for x in data if x is not None)


def has_gaps(data):
    """Returns whether elements of a `Data` are missing."""
    return any(np.isnan(x).any() for x in data if x is not None)

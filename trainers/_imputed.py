"""Files of data with their missing elements filled in."""

import dataclasses
import pathlib

import numpy as np

import keras_vae as kv
from keras_vae.datasets import numpy_files
from trainers import _columns
from trainers import _data
from trainers import _files
from trainers import _flag_checks
from trainers import _settings
from trainers import _units

_SAMPLES = 1000


@dataclasses.dataclass(frozen=True)
class Incomplete:
    """All examples of a file, as a model takes them.

    Args:
        x: Array (examples, *event_shape), NaN where an element is missing.
        labels: Array (examples,), or None.
        shape: Tuple of integers, the shape of x in the file.
        columns: Tuple of strings, those of a table in their order, or None.
        places: Where in the file the columns stand that x has, or None where they stand
            as in x.
    """

    x: np.ndarray
    labels: np.ndarray | None
    shape: tuple
    columns: tuple | None = None
    places: list | None = None

    def inputs(self, model):
        """Returns what a model takes: x, or a dict of it and the labels."""
        return {"x": self.x, "label": self.labels} if model.conditions else self.x

    def as_in_file(self, x):
        """Returns an array like x with the shape and the columns of the file."""
        if self.places is not None:
            x = x[:, np.argsort(self.places)]
        return x.reshape(self.shape)


def read(settings, model, columns):
    """Reads all of the file whose gaps are to be filled in.

    Args:
        settings: `_settings.EvaluateSettings`.
        model: `keras_vae.VAE`, which takes no conditions or the labels of the file.
        columns: See `_data.load`.

    Returns:
        `Incomplete`.

    Raises:
        _settings.FlagError: If it cannot be filled in, or not be written where it is
            to be.
    """
    dataset = settings.data.dataset
    _check_kind(settings.impute, dataset)
    if model.missing is None:
        raise _settings.FlagError(
            f"`--impute` needs a model that was trained with --missing. Received: "
            f"--model={settings.model}, trained without"
        )
    with _flag_checks.blamed("dataset", dataset):
        found = _read(settings, columns)
        whole = len(found.x), *model.event_shape
        if found.x.shape != whole and (*found.x.shape, 1) != whole:
            raise ValueError(f"examples have shape {found.x.shape[1:]}")
        found = dataclasses.replace(found, x=found.x.reshape(whole))
        model.likelihood.check_data(found.x, model.missing)
    return found


def _read(settings, columns):
    reading, dataset = _data.reading(settings.data), settings.data.dataset
    if pathlib.Path(settings.impute).suffix != ".csv":
        x, labels = numpy_files.arrays_and_labels(dataset, **reading)
        return Incomplete(x, labels, x.shape)
    x, names, _ = kv.datasets.tables.read(dataset, **reading)
    places = _columns.places(names, columns, settings.data)
    ordered = x if places is None else x[:, places]
    return Incomplete(ordered, None, x.shape, names, places)


def _check_kind(path, dataset):
    """Checks that a file can take what is read of a data set."""
    kinds = {".csv": (".csv", ".tsv"), ".npy": (".npy", ".npz")}
    suffixes = kinds.get(pathlib.Path(path).suffix, ())
    if pathlib.Path(dataset).suffix.lower() not in suffixes:
        raise _settings.FlagError(
            "`--impute` must be a .csv file where --dataset is a table, .csv or .tsv, "
            "or a .npy file where it is an array, .npy or .npz. Received: "
            f"--impute={path} --dataset={dataset}"
        )


def write(settings, model, scaling, found):
    """Writes all examples of a file in their order and units, the gaps filled in.

    Args:
        settings: `_settings.EvaluateSettings`.
        model: `keras_vae.VAE`.
        scaling: `_data.Scaling` of the data that it takes, or None.
        found: `Incomplete`.

    Returns:
        String, what was written.
    """
    path, own = pathlib.Path(settings.impute), _units.in_own_units(model, scaling)
    number = settings.importance_samples or _SAMPLES
    filled = own.impute(found.inputs(own), num_samples=number, seed=settings.seed)
    filled = found.as_in_file(filled)
    with _files.replaced(path) as partial:
        if found.columns is not None:
            import pandas as pd  # It imports slowly.

            frame = pd.DataFrame(filled, columns=found.columns)
            frame.to_csv(partial, index=False)
        else:
            with open(partial, "wb") as file:
                np.save(file, filled)
    gaps = int(np.isnan(found.x).sum())
    return f"{gaps} missing elements of {found.x.size} are filled in, in {path}"

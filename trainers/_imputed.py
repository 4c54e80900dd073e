"""Files of data with their missing elements filled in."""

import pathlib

import numpy as np

import keras_vae as kv
from keras_vae.datasets import numpy_files
from trainers import _data
from trainers import _files
from trainers import _flag_checks
from trainers import _settings
from trainers import _units

_SAMPLES = 1000


def check(path, dataset):
    """Checks that a data set can be written to a file.

    Args:
        path: String, the flag.
        dataset: String, the flag.

    Raises:
        _settings.FlagError: If it cannot.
    """
    kinds = {".csv": (".csv", ".tsv"), ".npy": (".npy", ".npz")}
    suffixes = kinds.get(pathlib.Path(path).suffix, ())
    if pathlib.Path(dataset).suffix.lower() not in suffixes:
        raise _settings.FlagError(
            "`--impute` must be a .csv file where --dataset is a table, .csv or .tsv, "
            "or a .npy file where it is an array, .npy or .npz. Received: "
            f"--impute={path} --dataset={dataset}"
        )


def write(settings, model, scaling):
    """Writes all examples of a file in their order and units, the gaps filled in.

    Args:
        settings: `_settings.EvaluateSettings`.
        model: `keras_vae.VAE`, which takes no conditions or the labels of the file.
        scaling: `_data.Scaling` of the data that it takes, or None.

    Returns:
        String, what was written.
    """
    reading = _data.reading(settings.data)
    dataset, path = settings.data.dataset, pathlib.Path(settings.impute)
    is_table = path.suffix == ".csv"
    labels = None
    with _flag_checks.blamed("dataset", dataset):
        if is_table:
            x, columns, _ = kv.datasets.tables.read(dataset, **reading)
        else:
            x, labels = numpy_files.arrays_and_labels(dataset, **reading)
    own = _units.in_own_units(model, scaling)
    number = settings.importance_samples or _SAMPLES
    inputs = {"x": x, "label": labels} if model.conditions else x
    filled = own.impute(inputs, num_samples=number, seed=settings.seed)
    with _files.replaced(path) as partial:
        if is_table:
            import pandas as pd  # It imports slowly.

            pd.DataFrame(filled, columns=columns).to_csv(partial, index=False)
        else:
            with open(partial, "wb") as file:
                np.save(file, filled)
    gaps = int(np.isnan(x).sum())
    return f"{gaps} missing elements of {x.size} are filled in, in {path}"

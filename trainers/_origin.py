"""The run that a model lies in, and what it says of the data."""

import dataclasses
import pathlib

from keras_vae.datasets import named
from keras_vae.datasets import tables
from trainers import _contents
from trainers import _files
from trainers import _flag_checks
from trainers import _settings

# Which examples, and how files of a kind are read. What else there is the model knows,
# or `scaling.json`.
_EXAMPLES = "dataset", "data_dir", "binarize", "validation_fraction"
_READING = "key", "header", "drop_columns", "decimal", "image_size", "max_bytes"
_CONFIG = "Copy the model, and its scaling.json if there is one, to go without it."
_OTHERS = (
    "These are not the data of the run: their test split may hold examples that the "
    "model was\ntrained on, and models without a network are fitted to their others."
)


def directory(model):
    """Returns the directory of the run that a file lies in, or that of the file.

    Args:
        model: String, the path of a .keras file.
    """
    folder = pathlib.Path(model).absolute().parent
    return folder.parent if is_one_of_several(model) else folder


def is_one_of_several(model):
    """Returns whether a file is that of one weight in a run of a sweep or of --check.

    Args:
        model: String, the path of a .keras file.
    """
    folder = pathlib.Path(model).absolute().parent
    holds_run = [(x / "config.json").is_file() for x in (folder, folder.parent)]
    return folder.name == "models" and holds_run == [False, True]


def columns(model):
    """Returns the columns of the table that a model was trained on, in their order.

    Args:
        model: String, the path of a .keras file.

    Returns:
        List of strings, or None if it lies in no run that knows them.
    """
    return (_config(model).get("contents") or {}).get("columns")


def remark(model, contents):
    """Returns what is to be said if a model meets other data than in its run, or "".

    Args:
        model: String, the path of a .keras file.
        contents: Dict, `contents` of the `_data.Data` that it meets.
    """
    before = _config(model).get("contents")
    return _OTHERS if before and _contents.change(before, contents) else ""


def with_flags(settings):
    """Returns settings with the flags of data of the run, where none were given.

    Args:
        settings: `_settings.EvaluateSettings`.

    Returns:
        `_settings.EvaluateSettings`, and a sentence that says which flags these are, or
        "".

    Raises:
        _settings.FlagError: If the data of the run are not there.
    """
    run, config = directory(settings.model), _config(settings.model)

    def taken(names):
        own = [name for name in names if name in config and name not in settings.given]
        values = {name: config[name] for name in own}
        return {n: tuple(v) if isinstance(v, list) else v for n, v in values.items()}

    found = dataclasses.replace(settings.data, **taken(_EXAMPLES))
    if "dataset" not in settings.given and not _is_there(found.dataset):
        raise _settings.FlagError(
            f"`--dataset` must be given, because {found.dataset}, that of the run in "
            f"{run}, is not there. Received: none"
        )
    if _kind(found.dataset) == _kind(config.get("dataset", "")):
        found = dataclasses.replace(found, **taken(_READING))
        if "drop_columns" not in settings.given:
            found = _without_absent(found)
    changed = [
        _settings.written(name, value)
        for name, value in vars(found).items()
        if value != getattr(settings.data, name)
    ]
    words = f"As in the run in {run}: {' '.join(changed)}" if changed else ""
    return dataclasses.replace(settings, data=found), words


def _config(model):
    path = directory(model) / "config.json"
    return _files.read_json(path, dict, _CONFIG) or {}


def _is_there(dataset):
    return dataset in named.LOADERS or pathlib.Path(dataset).exists()


def _kind(dataset):
    """Returns what the reader of a data set is chosen by."""
    return dataset if dataset in named.LOADERS else pathlib.Path(dataset).suffix.lower()


def _without_absent(data):
    """Returns settings that drop those columns alone that there are."""
    if not data.drop_columns:
        return data
    with _flag_checks.blamed("dataset", data.dataset):
        names = tables.column_names(data.dataset, *data.layout)
    dropped = tuple(name for name in data.drop_columns if name in names)
    return dataclasses.replace(data, drop_columns=dropped or None)

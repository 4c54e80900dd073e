"""Models that a run has left, as files."""

import pathlib

import keras
import numpy as np

import keras_vae as kv
from trainers import _data
from trainers import _files
from trainers import _origin
from trainers import _settings
from trainers import _units

_SCALING = "Remove it to take the data as they are."


def load(settings):
    """Loads the VAE that the flags name.

    Args:
        settings: Settings with `model` and `beta`.

    Returns:
        A compiled `keras_vae.VAE`: of a Multi-Rate VAE the plain one of a weight. That,
        and a model of one weight that `trainers.weigh` keeps in `models/`, has its own
        noise where the likelihood is a normal, which was trained at unit variance.

    Raises:
        _settings.FlagError: If there is no such model, or it is of another kind.
    """
    model = _read(settings.model)
    if not isinstance(model, kv.VAE) or not model.built:
        raise _settings.FlagError(
            "`--model` must hold a keras_vae.VAE that was built. Received: "
            f"--model={settings.model}, which holds a {type(model).__name__}"
        )
    model = _at(model, settings.beta)
    if _origin.is_one_of_several(settings.model):
        model = kv.weighing.with_own_noise(model, model.objective.weight)
    model.compile()
    return model


def scaling(settings, model):
    """Returns the `_data.Scaling` of the data that a model takes.

    Args:
        settings: Settings with `model`, its path.
        model: What `load` returned.

    Returns:
        That of the run which the file is in; None without one, and for a model that
        takes the data in their own units.
    """
    if _units.takes_own(model):
        return None
    path = _origin.directory(settings.model) / "scaling.json"
    found = _files.read_json(path, dict, _SCALING)
    if found is None:
        return None
    try:
        numbers = (np.array(found[name], np.float64) for name in ("mean", "scale"))
        scaling = _data.Scaling(*numbers)
        # It says what mean and scale cannot be.
        _units.normalization(scaling)
    except (KeyError, TypeError, ValueError) as error:
        raise _files.FileError(
            f"{path} must hold mean and scale of the data: {error}. {_SCALING}"
        ) from error
    return scaling


def _read(path):
    if not path:
        raise _settings.FlagError(
            "`--model` must be given, the path of a .keras file. Received: none"
        )
    if not pathlib.Path(path).is_file():
        raise _settings.FlagError(
            f"`--model` must be a file that exists. Received: --model={path}"
        )
    if not _files.is_model(pathlib.Path(path)):
        raise _settings.FlagError(
            "`--model` must be a complete .keras file, as `model.save` writes it. "
            f"Received: --model={path}"
        )
    try:
        # What it was trained by is of no use here.
        return keras.saving.load_model(path, compile=False)
    except Exception as error:
        # Keras passes on whatever the layers of a file raise.
        reason = " ".join(str(error).split())[:200]
        raise _settings.FlagError(
            "`--model` must be a file that Keras can load. Received: "
            f"--model={path}, which raises {type(error).__name__}: {reason}"
        ) from error


def _at(model, beta):
    limits = model.beta_range
    if limits is None:
        if beta is not None:
            raise _settings.FlagError(
                "`--beta` must be left out of a model of one weight; it chooses among "
                f"those of a Multi-Rate VAE. Received: --beta={beta:g}"
            )
        return model
    if beta is None or not limits[0] <= beta <= limits[1]:
        raise _settings.FlagError(
            "`--beta` must say which weight of the Multi-Rate VAE is meant, from "
            f"{limits[0]:.4g} to {limits[1]:.4g}. Received: "
            f"{_settings.written('beta', beta)}"
        )
    return kv.weighing.with_own_noise(model.at(beta), beta)

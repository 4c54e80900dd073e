"""States of a run after each of its last epochs, each with a checksum."""

import dataclasses
import hashlib
import io
import json
import pathlib

import numpy as np

from keras_vae import learning_rates
from keras_vae import snapshot
from trainers import _files

# So many are kept: the one before is there if the last one cannot be read.
_KEPT = 2
_NAME = "state-{:06d}.bin"
_PATTERN = "state-*"
_ANEW = "Remove it to train from the first epoch with --resume."


@dataclasses.dataclass(frozen=True)
class State:
    """What a run needs to go on after an epoch.

    Args:
        path: `pathlib.Path` of the file.
        epoch: Integer, the number of finished epochs.
        rows: List of dicts, the logs of these epochs; the user may have removed some.
        scale: Float, what divergences have multiplied the schedule of the learning
            rate by.
        arrays: Bytes, the numbers of the model as `.npz`.
    """

    path: pathlib.Path
    epoch: int
    rows: list
    scale: float
    arrays: bytes

    def restore(self, model):
        """Puts the numbers into a model.

        Raises:
            _files.FileError: If they are those of another model.
        """
        variables = _variables(model)
        with np.load(io.BytesIO(self.arrays)) as file:
            arrays = [file[name] for name in file.files]
        shapes = [variable.shape for variable in variables]
        if [array.shape for array in arrays] != [tuple(shape) for shape in shapes]:
            raise _files.FileError(f"{self.path} is of another model. {_ANEW}")
        for variable, array in zip(variables, arrays, strict=True):
            variable.assign(array)
        if self.scale != 1:
            learning_rates.set_scale(model.optimizer, self.scale)


def write(directory, model, epoch, rows):
    """Writes the state after an epoch, and removes all but the last two.

    Args:
        directory: `pathlib.Path`.
        model: Compiled and built `keras.Model`.
        epoch: Integer, the number of finished epochs.
        rows: List of dicts, the logs of these epochs that there are, the first one
            first.
    """
    arrays = io.BytesIO()
    # In memory: HDF5 takes the process with it where it cannot end a file.
    values = [np.asarray(variable.numpy()) for variable in _variables(model)]
    np.savez(arrays, *values)
    scale = learning_rates.scale(model.optimizer)
    header = json.dumps({"epoch": epoch, "rows": rows, "scale": scale}).encode()
    content = header + b"\n" + arrays.getvalue()
    old = paths(directory)
    # The number is in the name, so that one rename changes all.
    with _files.replaced(directory / _NAME.format(epoch)) as path:
        path.write_bytes(_checksum(content) + b"\n" + content)
    kept = {directory / _NAME.format(epoch), *old[1 - _KEPT :]}
    for path in old:
        if path not in kept:
            path.unlink()


def newest(directory):
    """Returns the last state that can be read, and the later ones that cannot.

    Args:
        directory: `pathlib.Path`.

    Returns:
        `State` or None, and a list of paths.

    Raises:
        _files.FileError: If there are states and none can be read.
    """
    unreadable = []
    for path in reversed(paths(directory)):
        state = _read(path)
        if state is not None:
            return state, unreadable
        unreadable.append(path)
    if unreadable:
        raise _files.FileError(
            f"{unreadable[0]} cannot be read: it is incomplete, damaged or of another "
            f"version, and there is no state before. {_ANEW}"
        )
    return None, []


def paths(directory):
    """Returns the files of all states, the oldest first."""
    return sorted(directory.glob(_PATTERN))


def _read(path):
    try:
        checksum, content = path.read_bytes().split(b"\n", 1)
        if checksum != _checksum(content):
            return None
        header, arrays = content.split(b"\n", 1)
    except (OSError, ValueError):
        return None
    return State(path, arrays=arrays, **json.loads(header))


def _checksum(content):
    return hashlib.sha256(content).hexdigest().encode()


def _variables(model):
    if not model.optimizer.built:
        model.optimizer.build(model.trainable_variables)
    return snapshot.variables(model, with_metrics=False)

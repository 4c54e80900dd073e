"""The directory of a run: what is in it, and how it is written and found again."""

import contextlib
import csv
import json
import os
import pathlib

import keras

from trainers import _flags

_STATE = "state-{:06d}.weights.h5"
# They say where a run is or what is done after it, so that a resumed run may differ.
_FREE = ("config", "name", "run_dir", "resume", "data_dir", "eval_samples")


class Run:
    """Paths of a run, and what it remembers between processes.

    | file | what |
    |---|---|
    | `config.json` | the flags |
    | `scaling.json` | mean and scale of standardised data |
    | `history.csv`, `history.json` | the logs of the epochs |
    | `best.keras`, `last.keras` | the models |
    | `state-<epochs>.weights.h5` | all state after so many epochs, while unfinished |
    | `tensorboard/` | events |
    | `metrics.json`, `report.png`, `saved_model/` | results |

    Every file appears complete or not at all, so that a run may be killed at any time.

    Args:
        chosen: Namespace from `_flags.read`.
        free: Tuple of strings, further flags in which a resumed run may differ.

    Raises:
        _flags.FlagError: If the directory holds something that must not be touched.
    """

    def __init__(self, chosen, free=()):
        self._free = (*_FREE, *free)
        self.path = pathlib.Path(chosen.run_dir)
        self.settings = vars(chosen)
        self._check()
        state = self._state() if chosen.resume else None
        self.finished_epochs = 0 if state is None else _epochs_of(state)
        if chosen.resume and (self.path / "metrics.json").is_file():
            self.finished_epochs = chosen.epochs
        rows = _read_json(self.path / "history.json", []) if chosen.resume else []
        # An epoch whose state was not saved any more is trained again.
        self.rows = rows[: self.finished_epochs]

    def _check(self):
        path = self.path
        if path.exists() and not path.is_dir():
            raise _flags.FlagError(
                f"`--run_dir` must be a directory. Received: the file {path}"
            )
        if not path.is_dir() or not any(path.iterdir()):
            return
        config = _read_json(path / "config.json", None)
        if config is None:
            raise _flags.FlagError(
                "`--run_dir` must be new, empty or the directory of a run. Received: "
                f"{path}, which holds other files. Choose another --run_dir or --name."
            )
        if not self.settings["resume"]:
            raise _flags.FlagError(
                f"`--run_dir` must be new or empty. Received: {path}, which holds a "
                "run. Continue that with --resume, choose another --name, or remove "
                "the directory."
            )
        different = [
            f"--{name}={config.get(name)} became {value}"
            for name, value in self.settings.items()
            if name not in self._free and config.get(name) != value
        ]
        if different:
            raise _flags.FlagError(
                f"`--resume` must have the flags of the run in {path}, or choose "
                f"another --name. Received: {'; '.join(different)}"
            )

    def start(self):
        """Makes the directory and writes the flags."""
        self.path.mkdir(parents=True, exist_ok=True)
        if not (self.path / "config.json").exists():
            self.write_json("config.json", self.settings)

    def restore(self, model):
        """Loads the state of the last finished epoch, if there is one."""
        state = self._state()
        if self.finished_epochs and state is not None:
            model.load_weights(state)

    def callback(self):
        """Returns the callback that remembers each epoch."""
        return _Remember(self)

    def remember(self, model, epoch, logs):
        """Writes the logs of an epoch and all state after it."""
        row = {"epoch": epoch + 1, **{k: float(v) for k, v in logs.items()}}
        self.rows.append(row)
        self.write_json("history.json", self.rows)
        with replaced(self.path / "history.csv") as path:
            with open(path, "w", newline="") as file:
                names = dict.fromkeys(name for row in self.rows for name in row)
                writer = csv.DictWriter(file, list(names))
                writer.writeheader()
                writer.writerows(self.rows)
        old = self._states()
        # The number is in the name, so that one rename changes both.
        with replaced(self.path / _STATE.format(epoch + 1)) as path:
            model.save_weights(path)
        for path in old:
            path.unlink()

    @property
    def history(self):
        """The logs as `fit` returns them: names to lists, one number per epoch."""
        names = [name for name in (self.rows or [{}])[0] if name != "epoch"]
        return {name: [row[name] for row in self.rows] for name in names}

    def finish(self, metrics):
        """Writes the results, and removes what only resuming needs."""
        self.write_json("metrics.json", metrics)
        for path in self._states():
            path.unlink()

    def write_json(self, name, content):
        """Writes a JSON file."""
        with replaced(self.path / name) as path:
            path.write_text(json.dumps(content, indent=1) + "\n")

    def _states(self):
        return sorted(self.path.glob(_STATE.replace("{:06d}", "*")))

    def _state(self):
        return max(self._states(), default=None)


class _Remember(keras.callbacks.Callback):
    def __init__(self, run):
        super().__init__()
        self._run = run

    def on_epoch_end(self, epoch, logs=None):
        self._run.remember(self.model, epoch, logs or {})


def _epochs_of(state):
    return int(state.name.split("-")[1].split(".")[0])


def _read_json(path, default):
    return json.loads(path.read_text()) if path.is_file() else default


@contextlib.contextmanager
def replaced(path):
    """Gives the path of a new file that takes the place of `path` once complete.

    Args:
        path: `pathlib.Path`.
    """
    # In front, because Keras looks at the end of the name.
    partial = path.with_name(f".partial-{path.name}")
    try:
        yield partial
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)

"""The directory of a run: what is in it, and how it is written and found again."""

import contextlib
import csv
import json
import math
import pathlib

import keras

from trainers import _contents
from trainers import _files
from trainers import _lock
from trainers import _settings
from trainers import _states

replaced = _files.replaced

# They say where a run is or what is done after it, so that a resumed run may differ.
_FREE = (
    "config",
    "name",
    "run_dir",
    "resume",
    "data_dir",
    "max_bytes",
    "eval_samples",
    "on_divergence",
)
# What a run did that knows no such flag yet.
_EARLIER = {
    "linear_path": "none",
    "missing": "none",
    "condition": "none",
    "model": "vae",
    "levels": None,
    "layers": 1,
    "latent_at_words": True,
    "batch_normalization": False,
    "free_bits": 0.0,
    "clip_norm": None,
    "skip_norm": None,
}
# What the data say of these where the flags leave it to them.
_BY_DATA = (
    "beta_range",
    "betas",
    "epochs",
    "likelihood",
    "linear_path",
    "schedule",
)
_HISTORY = "Remove it to report without the curves of the run."
_BEST = "Remove best.keras and best.keras.json: a later epoch is the best then."
_LAST = "Remove it to train from the last state, or from the first epoch without one."


class Run:
    """Paths of a run, and what it remembers between processes.

    | file | what |
    |---|---|
    | `config.json` | the flags, and what tells if the data are still the same |
    | `scaling.json` | mean and scale of standardised data |
    | `history.csv`, `history.json` | the logs of the epochs |
    | `best.keras`, `last.keras` | the models |
    | `state-<epochs>.bin` | all state and logs of so many epochs, while unfinished |
    | `tensorboard/` | events |
    | `model.keras`, `saved_model/` | the model, in the units of the data |
    | `metrics.json`, `report.png` | further results |
    | `.lock` | the process that runs, while it does |

    Every file appears complete or not at all, so that a run may be killed at any time.
    The last two states are kept, each with a checksum.

    Attributes:
        finished_epochs: Integer.
        planned_epochs: Integer, the epochs to which fractions of schedules refer: those
            of the command that began the run.
        rows: List of dicts, the logs of the finished epochs.
        remarks: List of strings, what had to be put right.

    Args:
        settings: `_settings.Settings`.
        free: Tuple of strings, further flags in which a resumed run may differ.
        contents: Dict, what `_contents.of` says of the data, or None if they are not
            read.

    Raises:
        _settings.FlagError: If the directory holds something that must not be touched,
            a run with other flags or of other data, or another process runs in it.
        _files.FileError: If a file that is needed cannot be read.
    """

    def __init__(self, settings, free=(), contents=None):
        self._free, self._contents = (*_FREE, *free), contents
        self.path = pathlib.Path(settings.run.run_dir)
        self.settings = settings.flat
        _lock.check_free(self.path)
        self._look()

    # === What is there ===

    def _look(self):
        """Finds out how far the run is."""
        epochs = self.settings["epochs"]
        self.finished_epochs, self.planned_epochs = 0, epochs
        self.rows, self.remarks, self._state = [], [], None
        config = self._check()
        if config is None:
            return
        self.planned_epochs = config.get("planned_epochs", config["epochs"])
        self._state, unreadable = _states.newest(self.path)
        if unreadable:
            names = ", ".join(path.name for path in unreadable)
            self.remarks.append(
                f"{names} cannot be read: the run goes on from the state before, after "
                f"epoch {self._state.epoch}."
            )
        for name, remedy in (("best.keras", _BEST), ("last.keras", _LAST)):
            _files.check_model(self.path / name, remedy)
        _files.read_json(self.path / "best.keras.json", dict, _BEST)
        if self._state is not None:
            self.finished_epochs, self.rows = self._state.epoch, self._state.rows
            self._check_history()
        if all((self.path / x).is_file() for x in ("metrics.json", "last.keras")):
            self.finished_epochs = config["epochs"]
            self.rows = _files.read_json(self._history, list, _HISTORY) or []

    def _check_history(self):
        try:
            _files.read_json(self._history, list, "It is written anew from the state.")
        except _files.FileError as error:
            self.remarks.append(f"{error}")

    def _check(self):
        """Returns the flags of the run that goes on, or None where one begins."""
        path = self.path
        if path.exists() and not path.is_dir():
            raise _settings.FlagError(
                f"`--run_dir` must be a directory. Received: the file {path}"
            )
        if not path.is_dir() or all(map(_is_left_over, path.iterdir())):
            return None
        config = _files.read_flags(path)
        if config is None or not isinstance(config.get("epochs"), int):
            raise _settings.FlagError(
                "`--run_dir` must be new, empty or the directory of a run. Received: "
                f"{path}, which holds other files. Choose another --run_dir or --name."
            )
        if not self.settings["resume"]:
            raise _settings.FlagError(
                f"`--run_dir` must be new or empty. Received: {path}, which holds a "
                "run. Continue that with --resume, choose another --name, or remove "
                "the directory."
            )
        config = {**dict.fromkeys(self.settings), **_EARLIER, **config}
        different = self._different(config)
        if all(name in _BY_DATA for name in different):
            self._check_contents(config)
        if different:
            raise _settings.FlagError(
                f"`--resume` must have the flags of the run in {path}, or choose "
                "another --name; only --epochs may grow. Received: "
                f"{'; '.join(different.values())}"
            )
        return config

    def _different(self, config):
        """Returns the flags that must be those of the run and are not, with words."""
        grows = self.settings["epochs"] > config["epochs"]
        free = (*self._free, "epochs") if grows else self._free
        return {
            name: f"{_settings.written(name, config[name])} became "
            + _settings.written(name, value).removeprefix(f"--{name}=")
            for name, value in self.settings.items()
            if name not in free and config[name] != value
        }

    def _check_contents(self, config):
        """Raises a `_settings.FlagError` if the data are not those of the run."""
        before = config.get("contents")
        # Runs of earlier versions do not know.
        if before is None or self._contents is None:
            return
        change = _contents.change(before, self._contents)
        if change:
            raise _settings.FlagError(
                f"`--dataset` must hold the data with which the run in {self.path} was "
                "begun: put them back, or choose another --name for these. Received: "
                f"{_settings.written('dataset', self.settings['dataset'])}, where "
                f"{change}"
            )

    @property
    def _history(self):
        return self.path / "history.json"

    @property
    def is_longer(self):
        """Whether more epochs are asked for than the command had that began the run."""
        return self.settings["epochs"] > self.planned_epochs

    # === While it goes on ===

    @contextlib.contextmanager
    def held(self):
        """Keeps other processes out of the directory, which it makes, at any exit."""
        self.path.mkdir(parents=True, exist_ok=True)
        with _lock.held(self.path) as dead:
            # Another process may have been there since.
            self._look()
            if dead is not None:
                self.remarks.append(
                    f"Process {dead}, which held the lock of {self.path}, has ended: "
                    "the lock is taken over."
                )
            yield

    def start(self, model):
        """Writes the flags; a run that was finished earlier is taken up again.

        Args:
            model: Compiled and built model, which takes the state of the run's end.
        """
        config = _files.read_flags(self.path)
        if config is not None and config["epochs"] == self.settings["epochs"]:
            self._write_history()
            return
        if config is not None:
            last = self.path / "last.keras"
            if self._state is None and last.is_file():
                model.load_weights(last)
                _states.write(self.path, model, self.finished_epochs, self.rows)
                self._state, _ = _states.newest(self.path)
            # In this order: whenever it is stopped, it is a run that can be resumed.
            for name in ("metrics.json", "last.keras"):
                (self.path / name).unlink(missing_ok=True)
        more = {"planned_epochs": self.planned_epochs}
        if self._contents is not None:
            more["contents"] = self._contents
        self.write_json("config.json", {**self.settings, **more})

    def restore(self, model):
        """Puts back the state of the last finished epoch, if there is one."""
        if self._state is not None:
            self._state.restore(model)

    def callback(self):
        """Returns the callback that remembers each epoch."""
        return _Remember(self)

    def remember(self, model, epoch, logs):
        """Writes all state after an epoch, and the logs."""
        row = {"epoch": epoch + 1, **{k: float(v) for k, v in logs.items()}}
        self.rows.append(row)
        _states.write(self.path, model, epoch + 1, self.rows)
        self._write_history()

    def _write_history(self):
        if not self.rows:
            return
        self.write_json("history.json", self.rows)
        with replaced(self.path / "history.csv") as path:
            with open(path, "w", newline="") as file:
                names = dict.fromkeys(name for row in self.rows for name in row)
                writer = csv.DictWriter(file, list(names))
                writer.writeheader()
                writer.writerows(self.rows)

    @property
    def history(self):
        """The logs as `fit` returns them: names to lists, one number per epoch.

        It is NaN for epochs of which the user has removed the logs.
        """
        rows = {row["epoch"]: row for row in self.rows}
        epochs = range(1, max(rows, default=0) + 1)
        names = [name for name in (self.rows or [{}])[0] if name != "epoch"]
        return {n: [rows.get(e, {}).get(n, math.nan) for e in epochs] for n in names}

    def finish(self, metrics):
        """Writes the results, and removes what only resuming needs."""
        self.write_json("metrics.json", metrics)
        for path in _states.paths(self.path):
            path.unlink()

    def write_json(self, name, content):
        """Writes a JSON file."""
        with replaced(self.path / name) as path:
            path.write_text(json.dumps(content, indent=1) + "\n")


class _Remember(keras.callbacks.Callback):
    def __init__(self, run):
        super().__init__()
        self._run = run

    def on_epoch_end(self, epoch, logs=None):
        self._run.remember(self.model, epoch, logs or {})


def _is_left_over(path):
    """Whether a file is none of a run or of the user's, but of a program that died."""
    return path.name == _lock.NAME or path.name.startswith(".partial-")

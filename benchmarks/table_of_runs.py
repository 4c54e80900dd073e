"""What tables whose rows are runs have in common: they go on where they stopped."""

import json
import pathlib
import sys
import time

import keras
from absl import flags

from trainers import _run


def define(values, rows, epochs, results):
    """Defines the flags of all such programs.

    Args:
        values: `absl.flags.FlagValues` that takes them up.
        rows: Iterable of names.
        epochs: Integer, the default.
        results: String, the default directory.
    """
    common = {"flag_values": values}
    flags.DEFINE_string(
        "data_dir", None, "Directory of the data; or KERAS_VAE_DATA.", **common
    )
    flags.DEFINE_list("rows", list(rows), "Rows to run; all by default.", **common)
    flags.DEFINE_integer("epochs", epochs, "Of each model.", lower_bound=1, **common)
    flags.DEFINE_integer(
        "importance_samples", 100, "Draws of the bound.", lower_bound=1, **common
    )
    flags.DEFINE_string("results", results, "Directory.", **common)


def check(argv, chosen, rows):
    """Ends the program if its arguments are not those of such a table.

    Args:
        argv: List, what flags left of the command line.
        chosen: `absl.flags.FlagValues`.
        rows: Iterable of the names that there are.
    """
    if len(argv) > 1:
        sys.exit(f"Arguments must be flags, --name=value. Received: {argv[1:]}")
    if unknown := [name for name in chosen.rows if name not in rows]:
        sys.exit(f"`--rows` must be of {list(rows)}. Received: {unknown}")


def file_name(name):
    """Returns the name of the directory of a row."""
    return name.replace(",", "").replace(" ", "_")


class Results:
    """What is measured, in `results.json` of a directory.

    Args:
        directory: String or path; it is made.

    Attributes:
        found: Dict of keys to what was measured.
    """

    def __init__(self, directory):
        self._directory = pathlib.Path(directory)
        self._directory.mkdir(parents=True, exist_ok=True)
        self._path = self._directory / "results.json"
        self.found = {}
        self._read()

    def _read(self):
        if self._path.is_file():
            self.found.update(json.loads(self._path.read_text()))

    def missing(self, keys):
        """Returns those of some keys that are not measured, in their order."""
        return [key for key in keys if key not in self.found]

    def add(self, key, value):
        """Keeps what was measured, beside what another call has measured meanwhile."""
        self._read()
        self.found[key] = value
        with _run.replaced(self._path) as partial:
            partial.write_text(json.dumps(self.found) + "\n")

    def write(self, text):
        """Writes `table.md` and returns its text."""
        with _run.replaced(self._directory / "table.md") as partial:
            partial.write_text(text)
        return text


class Stopwatch(keras.callbacks.LambdaCallback):
    """Ends a training after some events, of which it takes the time.

    The first event is not timed, because it compiles.

    Args:
        event: String, "epoch" or "train_batch".
        number: Integer, how many are timed.

    Attributes:
        seconds: List of floats.
    """

    def __init__(self, event, number):
        super().__init__(**{f"on_{event}_end": self._tick})
        self._number, self._last, self.seconds = number, None, []

    def _tick(self, _, logs=None):
        now = time.monotonic()
        if self._last is not None:
            self.seconds.append(now - self._last)
        self._last = now
        self.model.stop_training = len(self.seconds) >= self._number

"""The programs, run in this process on small settings, and what they leave."""

import contextlib
import json

import keras
import numpy as np
import pytest

from trainers import _flags
from trainers import _program
from trainers import _resolve
from trainers import _settings
from trainers import _states
from trainers import evaluate
from trainers import export
from trainers import train
from trainers import weigh

SMALL = (
    "--hidden=16",
    "--latent_dim=3",
    "--batch_size=300",
    "--eval_samples=2",
    "--jit_compile=false",
)


class Program:
    """A program without its command line.

    Args:
        parse: Callable, flags to settings.
        prepare: Callable, settings to the arguments of `perform`.
        perform: Callable that returns what the program prints last.
        small: Tuple of flags that make it quick.
    """

    def __init__(self, parse, prepare, perform, small):
        self.parse, self.small = parse, small
        self._prepare, self._perform = prepare, perform

    def prepare(self, directory, *args):
        return self._prepare(self.parse(f"--run_dir={directory}", *args))

    def run(self, directory, *args):
        """Runs on small settings; returns what is printed last."""
        return self.run_as_it_is(directory, *self.small, *args)

    def run_as_it_is(self, directory, *args):
        return self._perform(*self.prepare(directory, *args))

    def begin(self, directory, *args):
        """Begins a run and saves its model untrained; returns settings and data."""
        settings, run, data, model = self.prepare(directory, *self.small, *args)
        with run.held():
            _program.start(settings, run, data, model)
            model.save(run.path / "best.keras")
        return settings, data

    def main(self, directory, *args):
        """Runs as from a shell; returns what it ends with, None if all went well."""
        name = self._perform.__module__.split(".")[-1]
        try:
            _program.main(
                name,
                [name],
                lambda: self.prepare(directory, *self.small, *args),
                self._perform,
            )
        except SystemExit as ended:
            return ended.code
        return None

    def check_refuses(self, directory, message, *args):
        """Checks that flags fail before anything is written."""
        with pytest.raises(_settings.FlagError, match="(?s)" + message) as refused:
            self.prepare(directory, *args)
        assert "None" not in str(refused.value)
        assert not directory.exists()

    def whole_and_resumed(self, directory, *args, epoch, after):
        """Runs at a stretch, and killed and resumed; returns the two directories."""
        whole, resumed = directory / "whole", directory / "resumed"
        self.run(whole, *args)
        with killed(epoch, after):
            self.run(resumed, *args)
        assert not (resumed / "last.keras").exists()
        assert "nats" in self.run(resumed, *args, "--resume")
        return whole, resumed


def parse_train(*args):
    return _resolve.train(_resolve.parsed(_flags.define_train, args))


def parse_weigh(*args):
    return _resolve.weigh(_resolve.parsed(_flags.define_weigh, args))


def evaluated(*args):
    """Evaluates a saved model; returns what the program prints."""
    parsed = _resolve.parsed(_flags.define_evaluate, args)
    return evaluate.evaluate(*evaluate.prepare(_resolve.evaluate(parsed)))


def exported(*args):
    """Exports a saved model; returns what the program prints."""
    parsed = _resolve.parsed(_flags.define_export, args)
    return export.export(*export.prepare(_resolve.export(parsed)))


TRAIN = Program(parse_train, train.prepare, train.train, SMALL)
WEIGH = Program(parse_weigh, weigh.prepare, weigh.weigh, (*SMALL, "--epochs=2"))


class Killed(BaseException):
    """As abrupt as a signal: no callback hears of it."""


@contextlib.contextmanager
def killed(epoch, after):
    """Kills the run in its body.

    Args:
        epoch: Integer, from 1.
        after: "training" or "state", what of the epoch is done last.
    """
    write = _states.write

    def write_and_die(directory, model, finished, rows):
        if finished != epoch:
            write(directory, model, finished, rows)
            return
        if after == "state":
            write(directory, model, finished, rows)
        raise Killed

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_states, "write", write_and_die)
        with pytest.raises(Killed):
            yield


def read(directory, name):
    return json.loads((directory / name).read_text())


def check_same_json(one, other, *names):
    for name in names:
        assert read(one, name) == read(other, name)


def check_same_weights(one, other, atol=0.0):
    """Checks the weights in two files."""
    weights = [keras.saving.load_model(path).get_weights() for path in (one, other)]
    for a, b in zip(*weights, strict=True):
        np.testing.assert_allclose(a, b, rtol=0, atol=atol)

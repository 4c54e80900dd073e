"""The bar and the lines of a run, by a clock of their own."""

import io
import sys
import types

import pytest

from keras_vae.training import watching
from trainers import _progress

LOGS = {"negative_elbo": 12.345, "kl_loss": 3.0, "val_kl_loss": 4.0, "kl_weight": 0.5}


class Terminal(io.StringIO):
    def isatty(self):
        return True


class Clock:
    now = 1000.0

    def monotonic(self):
        return self.now


@pytest.fixture
def clock(monkeypatch):
    clock = Clock()
    monkeypatch.setattr(
        _progress, "time", types.SimpleNamespace(monotonic=clock.monotonic)
    )
    return clock


def train(callback, clock, first, epochs, steps=None):
    """Tells a callback of epochs of 2 seconds, and of 60 more that go into tracing."""
    callback.set_params({"epochs": epochs, "steps": steps})
    callback.on_train_begin()
    clock.now += 60
    for epoch in range(first, epochs):
        callback.on_epoch_begin(epoch)
        for batch in range(steps or 0):
            clock.now += 2 / steps
            callback.on_train_batch_end(batch)
        clock.now += 0 if steps else 2
        callback.on_epoch_end(epoch, LOGS)


@pytest.mark.parametrize(("epochs", "lines"), [(400, 21), (23, 13), (7, 7)])
def test_a_file_gets_some_lines_with_the_time_left(epochs, lines, clock, capsys):
    with _progress.Progress(epochs + 40) as progress:
        train(progress.training(), clock, 0, epochs)
    heading, *rows = capsys.readouterr().out.splitlines()
    assert heading.split("  ")[0] == "epoch"
    assert heading.endswith("KL weight   elapsed      left")
    assert "validation -ELBO" not in heading
    assert len(rows) == lines
    assert {len(row) for row in rows} == {len(heading)}
    # The first epoch is that of the tracing, by which nothing is foretold.
    assert rows[0].split() == [f"1/{epochs}", "12.35", "3.00", "4.00", "0.5", "01:02"]
    last = rows[-1].split()
    assert (last[0], last[-1]) == (f"{epochs}/{epochs}", "01:20")
    if epochs == 400:
        assert rows[5].split()[-2:] == ["04:20", "11:20"]


def test_a_resumed_run_goes_on_where_it_was(clock, capsys):
    with _progress.Progress(440, 390) as progress:
        train(progress.training(), clock, 390, 400)
        with progress.stage("Measuring", 40):
            pass
    _, first, *rows, last = capsys.readouterr().out.splitlines()
    assert first.startswith("391/400 ")
    assert rows[0].split()[-2:] == ["01:04", "01:36"]
    assert last == "Measuring; 01:20 elapsed, 01:20 left"


def test_a_terminal_gets_one_bar_over_the_whole_run(clock, monkeypatch):
    monkeypatch.setattr(sys, "stdout", Terminal())
    with _progress.Progress(25, 5) as progress:
        train(progress.training("first"), clock, 5, 10, steps=4)
        progress.say("between")
        progress.skip(5)
        train(progress.training(), clock, 0, 5, steps=4)
        with progress.stage("Measuring", 5):
            pass
    text = sys.stdout.getvalue()
    frames = [frame for frame in text.split("\r") if "left" in frame]
    assert text.count("\n") == 2, "one of `say`, one at the end"
    assert "between\n" in text
    percents = [int(frame.split("%")[0].split()[-1]) for frame in frames]
    assert percents == sorted(percents)
    assert (percents[0], percents[-1]) == (20, 100)
    within = next(frame for frame in frames if "first, epoch 7/10" in frame)
    assert "-ELBO 12.35, rate 3.00, validation rate 4.00" in within
    # 5 of 25 epochs at 2 seconds.
    measuring = next(frame for frame in frames if "Measuring" in frame)
    assert "00:10 left" in measuring


def test_after_an_error_the_bar_stays_where_it_is(monkeypatch):
    monkeypatch.setattr(sys, "stdout", Terminal())

    def stop():
        with _progress.Progress(4) as progress:
            progress.move_to(1)
            raise KeyError

    with pytest.raises(KeyError):
        stop()
    assert sys.stdout.getvalue().split("\r")[-1].strip().startswith("25%")


def test_blocks_of_steps_stay_whole(monkeypatch):
    monkeypatch.setattr(sys, "stdout", Terminal())
    with _progress.Progress(1) as progress:
        callback = progress.training()
    assert not watching.watches_batches(callback)
    assert watching.steps_until_action(callback) is None

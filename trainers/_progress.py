"""How far a run is and how long it takes: a bar on a terminal, else some lines."""

import collections
import contextlib
import math
import sys
import time

import keras
import tqdm

# Lines of a training where the output is a file.
_LINES = 20
# Seconds between the points by which the pace is told, and their number.
_APART, _POINTS = 1.0, 30
_BAR = "{desc} {percentage:3.0f}%|{bar}| {elapsed}, {left} left{postfix}"
# What is shown of an epoch: heading, name in the logs and format. Of a run at its own
# noise, of one at another weight, and of one of all weights.
BOUND = (
    ("-ELBO", "negative_elbo", ".2f"),
    ("rate", "kl_loss", ".2f"),
    ("validation -ELBO", "val_negative_elbo", ".2f"),
    ("validation rate", "val_kl_loss", ".2f"),
    ("KL weight", "kl_weight", ".4g"),
)
LOSS = (
    ("loss", "loss", ".2f"),
    ("rate", "kl_loss", ".2f"),
    ("validation loss", "val_loss", ".2f"),
    ("validation rate", "val_kl_loss", ".2f"),
    ("KL weight", "kl_weight", ".4g"),
)
MEANS = (
    ("mean loss", "loss", ".2f"),
    ("mean rate", "kl_loss", ".2f"),
    ("validation curve", "val_curve_loss", ".2f"),
    ("validation rate", "val_kl_loss", ".2f"),
)


class Progress:
    """The way of a whole run in epochs: training, then what is done with the model.

    Args:
        total: Integer, epochs of all trainings and of what is counted like some.
        done: Integer, those of earlier processes.
    """

    def __init__(self, total, done=0):
        self.done, self._total = done, total
        self._start, self._points, self._pace = time.monotonic(), None, None
        self._bar = None
        if sys.stdout.isatty():
            self._bar = _Bar(self, total=total, initial=done)

    def __enter__(self):
        return self

    def __exit__(self, error, *_):
        if error is None:
            self.done = self._total
        if self._bar is not None:
            self._bar.move()
            self._bar.close()

    # === What happens ===

    def training(self, name="", shown=BOUND, lines=_LINES):
        """Returns the callback of a `fit`.

        Args:
            name: String, what is trained, or "" for the run itself.
            shown: Tuple as `BOUND`.
            lines: Integer, lines beside the first one where the output is a file.
        """
        if self._bar is not None:
            return _OnBar(self, self._bar, name, shown)
        return _AsLines(self, name, shown, lines)

    @contextlib.contextmanager
    def stage(self, name, epochs):
        """Shows what is done in its body, which counts as much as some epochs."""
        if self._bar is not None:
            self._bar.describe(name)
        else:
            left = f", {self.left} left" if self.left else ""
            print(f"{name}; {self.elapsed} elapsed{left}", flush=True)
        end = self.done + epochs
        yield
        self.move_to(end)

    def say(self, text):
        """Prints a text, above the bar if there is one."""
        if self._bar is not None:
            self._bar.write(text, file=sys.stdout)
        else:
            print(text, flush=True)

    def skip(self, epochs):
        """Counts epochs that took no time, because they were trained before."""
        self.done += epochs
        self._points = None

    # === Where it stands ===

    def begin(self):
        """Takes the pace anew: another training begins, and compiles first."""
        self._points = None

    def move_to(self, place):
        """Moves on to a number of epochs, never back."""
        self.done = max(self.done, min(place, self._total))
        now = time.monotonic()
        if self._points is None:
            self._points = collections.deque([(now, self.done)], _POINTS)
        seconds, epochs = now - self._points[0][0], self.done - self._points[0][1]
        if seconds > 0 and epochs > 0:
            self._pace = seconds / epochs
        if now - self._points[-1][0] > _APART:
            self._points.append((now, self.done))
        if self._bar is not None:
            self._bar.move()

    @property
    def elapsed(self):
        """String, the time of this process."""
        return tqdm.tqdm.format_interval(time.monotonic() - self._start)

    @property
    def left(self):
        """String, the time to the end at the present pace; "" before it is known."""
        if self._pace is None:
            return ""
        return tqdm.tqdm.format_interval(self._pace * (self._total - self.done))


class _Bar(tqdm.tqdm):
    """The bar of a `Progress`."""

    def __init__(self, progress, **settings):
        self._progress = progress
        super().__init__(
            file=sys.stdout,
            bar_format=_BAR,
            dynamic_ncols=True,
            miniters=0,
            **settings,
        )

    @property
    def format_dict(self):
        """What `bar_format` may hold."""
        return {**super().format_dict, "left": self._progress.left or "?"}

    def move(self):
        """Moves to where the `Progress` is."""
        self.update(self._progress.done - self.n)

    def describe(self, name, values=""):
        """Says what is done, and how it goes."""
        self.set_postfix_str(values, refresh=False)
        self.set_description_str(name)


class _Epochs(keras.callbacks.Callback):
    """Counts the epochs of a training."""

    def __init__(self, progress, name, shown):
        super().__init__()
        self._progress, self._name = progress, name
        self._candidates, self._first, self._place = shown, None, 0

    def on_train_begin(self, logs=None):
        """Begins to take the time."""
        self._progress.begin()

    def on_epoch_begin(self, epoch, logs=None):
        """Notes where the epoch begins."""
        if self._first is None:
            self._first = epoch
        self._place = self._progress.done

    def on_epoch_end(self, epoch, logs=None):
        """Moves on by one epoch, and shows it."""
        self._progress.move_to(self._place + 1)
        logs = logs or {}
        self._show(
            epoch + 1,
            {
                heading: f"{logs[key]:{form}}"
                for heading, key, form in self._candidates
                if key in logs
            },
        )


class _OnBar(_Epochs):
    """Shows the epochs on a bar, which moves within an epoch too."""

    def __init__(self, progress, bar, name, shown):
        super().__init__(progress, name, shown)
        self._bar, self._values = bar, ""

    def steps_until_action(self):
        """Nothing is read of the model, so that blocks of steps stay whole."""
        return None

    def on_epoch_begin(self, epoch, logs=None):
        """Names the epoch."""
        super().on_epoch_begin(epoch, logs)
        name = f"{self._name}, " if self._name else ""
        number = f"{epoch + 1}/{self.params['epochs']}"
        self._bar.describe(f"{name}epoch {number}", self._values)

    def on_train_batch_end(self, batch, logs=None):
        """Moves on by a part of an epoch."""
        steps = self.params.get("steps")
        if steps:
            self._progress.move_to(self._place + (batch + 1) / steps)

    def _show(self, epoch, values):
        self._values = ", ".join(f"{name} {value}" for name, value in values.items())


class _AsLines(_Epochs):
    """Shows some of the epochs as lines of a table."""

    def __init__(self, progress, name, shown, lines):
        super().__init__(progress, name, shown)
        self._lines, self._widths = lines, ()

    def _show(self, epoch, values):
        epochs = self.params["epochs"]
        place, number = epoch - self._first, epochs - self._first
        if place == 1:
            titles = [self._name or "epoch", *values, "elapsed", "left"]
            self._widths = [max(10, len(title) + 2) for title in titles]
            self._print(titles)
        if place == 1 or _is_due(place, math.ceil(number / self._lines), number):
            progress = self._progress
            cells = [*values.values(), progress.elapsed, progress.left]
            self._print([f"{epoch}/{epochs}", *cells])

    def _print(self, cells):
        first, *others = zip(cells, self._widths, strict=True)
        text = "".join(f"{cell:>{width}}" for cell, width in others)
        print(f"{first[0]:<{first[1]}}{text}", flush=True)


def _is_due(place, apart, number):
    """Whether an epoch is one of those that are evenly apart, or the last one."""
    return place % apart == 0 or place == number

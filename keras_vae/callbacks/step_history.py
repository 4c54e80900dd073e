"""Logs of training within the epochs."""

import csv
import math
import os

import keras

from keras_vae import _keras
from keras_vae.arguments import check_count
from keras_vae.files import replaced
from keras_vae.hyperparameter import Hyperparameter
from keras_vae.metrics.trackers import Gauge
from keras_vae.replicas import number

_STEP, _WEIGHT = "step", "kl_weight"


class StepHistory(keras.callbacks.Callback):
    """Keeps the logs of training over the steps, where an epoch is too long a mean.

        mean of the steps a + 1 ... b of an epoch = (b m_b - a m_a) / (b - a)

    m_b is the running mean that Keras logs after step b of the epoch; the mean of a
    span is exact if all batches are of one size. Under an annealed weight the KL can
    rise and fall within the first epoch, see `figures.annealing`.

    Args:
        every: Integer, steps of a span. An epoch ends a span too; with
            `steps_per_execution` a span ends with an execution.
        path: Path of a CSV file, which is written after each epoch, or None. A `fit`
            that goes on keeps the rows that it holds up to the optimizer's step.

    Attributes:
        history: Dict of lists, one number for each span: "step", the optimizer's step
            at its end; the means of all logs, in their units, or the values there of
            what is no mean, such as `rate_error`; and `kl_weight` at that step, if the
            model has one.

    Raises:
        ValueError: At the start of `fit`, if the file holds anything else.

    Example:
    >>> vae = kv.VAE(
    ...     kv.networks.mlp_encoder([4]), kv.networks.mlp_decoder([4], (6,)), 2, seed=0
    ... )
    >>> vae.compile("adam")
    >>> steps = kv.callbacks.StepHistory(every=2)
    >>> history = vae.fit(
    ...     np.zeros((50, 6)), batch_size=10, callbacks=[steps], verbose=0
    ... )
    >>> steps.history["step"]
    [2, 4, 5]
    >>> len(steps.history["kl_loss"])
    3

    Reference:
        [Generating Sentences from a Continuous Space](
        https://arxiv.org/abs/1511.06349), figure 2
    """

    def __init__(self, every=100, path=None):
        super().__init__()
        self.every = check_count("every", every)
        self.path = path
        self.history = {}
        self._weight, self._seen, self._logs, self._batches = None, 0, {}, 0
        # Names of logs that are no means.
        self._current = set()

    @staticmethod
    def read(path, last_step=math.inf):
        """Reads the file of a callback.

        Args:
            path: Path of the CSV file.
            last_step: Number, the step up to which rows are read.

        Returns:
            A dict, `history`; it is empty if there are no such rows.

        Raises:
            ValueError: If the file holds anything else.
        """
        try:
            with open(path, newline="", encoding="utf-8") as file:
                rows = [
                    {name: float(value) for name, value in row.items()}
                    for row in csv.DictReader(file)
                ]
            rows = [{**row, _STEP: int(row[_STEP])} for row in rows]
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(
                "`path` must be new, or a file of `StepHistory`. Received: "
                f"{path}, which holds something else"
            ) from error
        kept = [row for row in rows if row[_STEP] <= last_step]
        return {name: [row[name] for row in kept] for name in (kept or [{}])[0]}

    def steps_until_action(self):
        """See `training.watching`: the weight is read at the end of a span."""
        return self.every - (self._batches - self._seen)

    def on_train_begin(self, logs=None):
        """Takes up the rows of the file that belong to the steps before."""
        last = number(self.model.optimizer.iterations)
        is_there = self.path is not None and os.path.exists(self.path)
        self.history = self.read(self.path, last) if is_there else {}
        found = _keras.sublayers(self.model, Hyperparameter)
        self._weight = next((item for item in found if item.name == _WEIGHT), None)
        self._current = {m.name for m in self.model.metrics if isinstance(m, Gauge)}

    def on_epoch_begin(self, epoch, logs=None):
        """Begins a span: Keras's means begin anew."""
        self._seen, self._logs, self._batches = 0, {}, 0

    def on_train_batch_end(self, batch, logs=None):
        """Ends a span if it is long enough."""
        self._batches = batch + 1
        if self._batches - self._seen >= self.every:
            self._end_span(logs or {})

    def on_epoch_end(self, epoch, logs=None):
        """Ends the last span of the epoch and writes the file."""
        if self._batches > self._seen:
            trained = {n: v for n, v in (logs or {}).items() if n[:4] != "val_"}
            self._end_span(trained)
        if self.path is not None and self.history:
            self._write()

    def _end_span(self, logs):
        logs = {name: float(v) for name, v in logs.items() if name != _WEIGHT}
        row = {_STEP: number(self.model.optimizer.iterations)}
        for name, mean in logs.items():
            if name in self._current:
                row[name] = mean
                continue
            # A log that is new begins with this span.
            before = self._seen * self._logs.get(name, mean)
            total = self._batches * mean - before
            row[name] = total / (self._batches - self._seen)
        if self._weight is not None:
            row[_WEIGHT] = number(self._weight.value)
        self._seen, self._logs = self._batches, logs
        self._append(row)

    def _append(self, row):
        spans = len(self.history.get(_STEP, ()))
        for name in {**row, **self.history}:
            values = self.history.setdefault(name, [float("nan")] * spans)
            values.append(row.get(name, float("nan")))

    def _write(self):
        with replaced(self.path) as partial:
            with open(partial, "w", newline="", encoding="utf-8") as file:
                names = [_STEP, *(name for name in self.history if name != _STEP)]
                writer = csv.writer(file)
                writer.writerow(names)
                writer.writerows(zip(*map(self.history.get, names), strict=True))

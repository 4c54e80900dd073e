"""Train functions for Keras's loop: they train a block ahead and report each step."""

import collections
import contextlib

import keras
import tensorflow as tf

from keras_vae import _keras
from keras_vae.training.program import Batches
from keras_vae.training.program import Programs
from keras_vae.training.program import can_stack
from keras_vae.training.watching import ends_blocks_at_nan
from keras_vae.training.watching import steps_until_action


class Run(keras.callbacks.Callback):
    """The state of one `fit`: the limits of its blocks and the steps not yet reported.

    It is listed among the callbacks, so that Keras reports epochs to it.

    Args:
        choice: `Choice`.
        callbacks: List of the other callbacks.
        resident: `ResidentData`, or None if the iterator yields the batches.
        by_execution: Boolean, whether Keras counts executions of `choice.steps` steps,
            and not each step.
    """

    def __init__(self, choice, callbacks, resident, by_execution):
        super().__init__()
        self.choice = choice
        self.resident = resident
        self.by_execution = by_execution
        self.ends_at_nan = any(map(ends_blocks_at_nan, callbacks))
        self._acting = callbacks
        self._left = None
        self._owed = 0
        # Logs of steps that Keras has not counted yet.
        self.logs = collections.deque()
        # Batches taken from an iterator and not yet trained on.
        self.iterator, self.batches, self.next_batch = None, None, None

    def on_epoch_begin(self, epoch, logs=None):
        """Starts to count the steps of an epoch."""
        self._left, self._owed = self.params.get("steps"), 0

    def on_train_batch_end(self, batch, logs=None):
        """Does nothing; its presence keeps Keras from calling the others in threads."""

    def begin_block(self):
        """Returns the most steps of the next block."""
        limits = [self.choice.steps + self._owed]
        if self._left is not None:
            # If Keras asks for more steps than it announced, it gets one.
            limits.append(max(self._left, 1))
        if not self.by_execution:
            limits += [steps_until_action(callback) for callback in self._acting]
        # A NumPy integer would become a tensor of another dtype.
        limit = int(min(limit for limit in limits if limit is not None))
        self._owed = limit
        return limit

    def end_block(self, num_steps):
        """Counts the steps that were made."""
        self._owed = self._owed - num_steps if self.by_execution else 0
        if self._left is not None:
            self._left -= num_steps

    def next_logs(self):
        """Returns the logs of the next step, or of the last one of an execution."""
        logs = self.logs.popleft()
        while self.by_execution and self.logs:
            logs = self.logs.popleft()
        return logs


class StepFunction:
    """A function for Keras's loop: one step on the next batch of an iterator.

    When data of unknown length end, Keras's own function runs the part of the step that
    needs no batch once more.

    Args:
        model: The `keras.Model`.
        step: Callable, a batch -> dict of logs: the model's `test_step`.
    """

    def __init__(self, model, step):
        trainable = {}

        def traced(batch):
            # A generator's None arrives as an Optional.
            batch = tf.nest.map_structure(
                lambda v: None if isinstance(v, tf.experimental.Optional) else v, batch
            )
            with _trainable_as_before(model, trainable):
                logs = step(batch)
            _keras.forget_gradients()
            return logs

        self._name, self._jit_compile = model.name, model.jit_compile
        self._step = tf.function(traced, autograph=False, reduce_retracing=True)
        self._programs = {}

    def __call__(self, iterator):
        """Returns the logs.

        Raises:
            StopIteration: If the iterator has no batch left.
        """
        programs = self._make_programs(self._jit_compile, must_compile=True)
        if not isinstance(iterator, tf.data.Iterator):
            return programs.step(next(iterator))
        logs = programs.stream(iterator, 1, ends_at_nan=False)
        if not logs:
            raise StopIteration
        return logs[0]

    def _make_programs(self, jit_compile, whole_blocks=False, must_compile=False):
        key = jit_compile, whole_blocks
        if key not in self._programs:
            self._programs[key] = Programs(self._step, *key, must_compile, self._name)
        return self._programs[key]


@contextlib.contextmanager
def _trainable_as_before(model, trainable):
    """Keeps Keras's rule: a change of `trainable` takes effect at the next `compile`.

    Args:
        model: The `keras.Model` whose step is traced.
        trainable: Dict, layer -> flag, filled at the first trace of a function.
    """
    now = {x: x.trainable for x in _keras.sublayers(model, keras.layers.Layer)}
    trainable.update({x: flag for x, flag in now.items() if x not in trainable})
    if now == trainable:
        yield
        return
    try:
        _set_trainable(trainable)
        yield
    finally:
        _set_trainable(now)


def _set_trainable(flags):
    # A layer passes its flag on to its sublayers, which come later in the dict.
    for layer, flag in flags.items():
        layer.trainable = flag


class BlockFunction(StepFunction):
    """Trains a block of steps in one call of `fit`'s loop; returns their logs singly.

    Args:
        model: The `keras.Model`.
        step: Its `train_step`.
        read_run: Callable that returns the `Run`, or None if no `fit` is running.
        must_compile: Boolean, see `Programs`.
    """

    def __init__(self, model, step, read_run, must_compile):
        super().__init__(model, step)
        self._read_run, self._must_compile = read_run, must_compile

    def __call__(self, iterator):
        """Returns the logs of the next step; see `StepFunction`."""
        run = self._read_run()
        if run is None or not isinstance(iterator, tf.data.Iterator):
            return super().__call__(iterator)
        if not run.logs:
            run.logs.extend(self._train(run, iterator))
        if not run.logs:
            raise StopIteration
        return run.next_logs()

    def _train(self, run, iterator):
        limit, logs = run.begin_block(), []
        choice = run.choice
        programs = self._make_programs(
            choice.jit_compile, choice.steps > 1, self._must_compile
        )
        if run.iterator is not iterator:
            run.iterator, run.batches, run.next_batch = iterator, None, None
        stacked = programs.stacks_batches and can_stack(iterator.element_spec)
        if run.resident is None and not stacked:
            logs = programs.stream(iterator, limit, run.ends_at_nan)
        while stacked or run.resident is not None:
            left = min(limit - len(logs), choice.steps)
            batches = left and (run.batches or self._take(programs, run, left))
            if not batches:
                break
            count = min(len(batches), left)
            made = programs.train(batches, count, choice.steps, run.ends_at_nan)
            logs += made
            # A non-finite loss ends the block; the next call trains on the batches
            # left.
            run.batches = batches.after(len(made))
            if len(made) < count:
                break
        run.end_block(len(logs))
        return logs

    def _take(self, programs, run, limit):
        """Returns the next batches of one size, or None if there are none."""
        if run.resident is not None:
            return run.resident.take(run.iterator, limit)
        first = run.next_batch or run.iterator.get_next_as_optional()
        if not first.has_value():
            return None
        stack, following = programs.collect(run.iterator, first, limit)
        run.next_batch = following if following.has_value() else None
        return Batches(stack, run.iterator.element_spec)


class KerasBlocks:
    """Keras's own train function, for executions that end with the epoch.

    Args:
        model: The `keras.Model`, whose `make_train_function` has just been called.
        make: Callable that makes Keras's function anew and returns it.
        read_run: See `BlockFunction`.
    """

    def __init__(self, model, make, read_run):
        self._model, self._make, self._read_run = model, make, read_run
        self._functions = {}

    def __call__(self, iterator):
        """Returns the logs of the last step."""
        run = self._read_run()
        steps = 1 if run is None else run.begin_block()
        if steps not in self._functions:
            self._functions[steps] = self._make()
        # Keras reads it at each call, and when it traces the function.
        self._model.steps_per_execution = steps
        try:
            logs = self._functions[steps](iterator)
        finally:
            self._model.steps_per_execution = 1
        if run is not None:
            run.end_block(steps)
        return logs

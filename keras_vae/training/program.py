"""Programs that train on several batches: loops around one traced step."""

import contextlib
import dataclasses

import tensorflow as tf
from absl import logging

# A `tf.GradientTape` around `fit` needs the gradient of each operation that it sees.
with contextlib.suppress(KeyError):  # A later TensorFlow may have registered it.
    tf.no_gradient("IteratorGetNextAsOptional")


class Programs:
    """Programs that run a step on the batches of an iterator or of a stack.

    Args:
        step: `tf.function`, a batch -> dict of logs.
        jit_compile: Boolean, whether XLA compiles the programs.
        whole_blocks: Boolean, whether XLA compiles a loop of steps as one program,
            rather than each step alone.
        must_compile: Boolean, whether a program that XLA cannot compile raises an
            error. Otherwise it runs without XLA.
        name: String, the model's name for messages.
    """

    def __init__(self, step, jit_compile, whole_blocks, must_compile, name):
        self._step = step
        self._whole_blocks = whole_blocks
        self._must_compile = must_compile
        self._name = name
        self._first_shapes = None
        self._collect = tf.function(_collect, autograph=False, reduce_retracing=True)
        self._build(jit_compile)

    def _build(self, jit_compile, fixed_size=False):
        self.jit_compile, self._fixed_size = jit_compile, fixed_size
        # Some gradients of loops, as in recurrent layers, compile only if the step is
        # inlined in the program. In blocks XLA must also know the batch size.
        traced = self._step.python_function
        looped = traced if fixed_size else self._step
        single = self._step
        if jit_compile and not self._whole_blocks:
            single = _function(traced, True, relax=True)
        self._single = single

        def compiled_loop(*arguments):
            return _loop(looped, self._log_spec, *arguments)

        def loop(*arguments):
            return _loop(single, self._log_spec, *arguments)

        def stream(*arguments):
            return _stream(single, self._log_spec, *arguments)

        self._compiled_loop = _function(compiled_loop, self.stacks_batches)
        self._loop = _function(loop, relax=True)
        self._stream = _function(stream, relax=True)

    @property
    def stacks_batches(self):
        """Whether a block takes its batches as one stack."""
        return self.jit_compile and self._whole_blocks

    def collect(self, iterator, batch, limit):
        """Stacks batches of one size.

        Args:
            iterator: A `tf.data.Iterator`.
            batch: Optional with the first batch.
            limit: Integer, the most batches.

        Returns:
            The batches, stacked to (steps, batch, ...), and an optional with the next
            batch, if one was pulled.
        """
        return self._collect(iterator, batch, tf.constant(limit))

    def step(self, batch):
        """Trains on a batch and returns the logs."""
        return self._attempt(lambda: self._single(batch))

    def stream(self, iterator, limit, ends_at_nan):
        """Trains on the next batches of an iterator, as they come.

        Args:
            iterator: A `tf.data.Iterator`.
            limit: Integer, the most batches.
            ends_at_nan: Boolean, whether to stop after a loss that is not finite.

        Returns:
            A list with the logs of each step.
        """

        def run():
            self._trace(iterator.element_spec)
            most = limit if _is_fully_defined(self._log_spec) else 1
            return self._stream(iterator, tf.constant(most), tf.constant(ends_at_nan))

        return _unstacked(*self._attempt(run))

    def train(self, batches, count, size, ends_at_nan):
        """Trains on a stack of batches.

        Args:
            batches: `Batches`.
            count: Integer, number of steps to run.
            size: Integer, number of steps that the program is compiled for.
            ends_at_nan: Boolean, whether to stop after a loss that is not finite.

        Returns:
            A list with the logs of each step.
        """

        def run():
            self._trace(batches.spec)
            # The rounding of a step must not depend on the length of its block: XLA
            # compiles every block of the first batch size, and any other block of
            # several batches.
            self._first_shapes = self._first_shapes or batches.shapes
            is_compiled = count > 1 or batches.shapes == self._first_shapes
            loop, stack, most = self._loop, batches.stack, count
            if not _is_fully_defined(self._log_spec):
                stack, most = _first(stack, 1), 1
            elif self.stacks_batches and is_compiled:
                loop, stack = self._compiled_loop, _padded(stack, size)
            flag = tf.constant(ends_at_nan)
            return loop(stack, tf.constant(most), batches.resident, flag)

        return _unstacked(*self._attempt(run))

    def _trace(self, batch_spec):
        # Trace the step before any loop: a loop needs the specs of its logs.
        logs = self._step.get_concrete_function(batch_spec).structured_outputs
        self._log_spec = tf.nest.map_structure(tf.TensorSpec.from_tensor, logs)

    def _attempt(self, run):
        try:
            return run()
        except (tf.errors.InvalidArgumentError, tf.errors.UnimplementedError) as error:
            # XLA compiles before the first step runs, so nothing has been trained yet.
            if not self.jit_compile or "tf2xla" not in str(error):
                raise
            if self._whole_blocks and not self._fixed_size:
                self._build(jit_compile=True, fixed_size=True)
                return self._attempt(run)
            if self._must_compile:
                raise
            logging.warning(
                "XLA cannot compile %s, so it trains without XLA; `jit_compile=False` "
                "skips the attempt. %s",
                self._name,
                str(error).splitlines()[0],
            )
            self._build(jit_compile=False)
            return run()


@dataclasses.dataclass
class Batches:
    """A stack of batches of one size.

    Args:
        stack: Structure of tensors of shape (steps, batch, ...).
        spec: Structure of `tf.TensorSpec` of one batch, of any size.
        resident: Structure of tensors, or None. If given, `stack` holds indices into
            them; otherwise it holds the batches themselves.
    """

    stack: object
    spec: object
    resident: object = None

    @property
    def shapes(self):
        """The static shape of each part of a batch."""
        return [part.shape[1:] for part in tf.nest.flatten(self.stack)]

    def __len__(self):
        return len(tf.nest.flatten(self.stack)[0])

    def after(self, count):
        """Returns these batches without the first `count`."""
        stack = tf.nest.map_structure(lambda v: v[count:], self.stack)
        return dataclasses.replace(self, stack=stack)


def can_stack(element_spec):
    """Whether XLA could train on a stack of such batches.

    Args:
        element_spec: Structure of type specs of a batch.
    """
    return all(
        isinstance(part, tf.TensorSpec) and part.dtype != tf.string and part.shape.rank
        for part in tf.nest.flatten(element_spec)
    )


def _function(function, jit_compile=False, relax=False):
    # None lets the caller compile this function; False would forbid it.
    jit_compile = jit_compile or None
    return tf.function(
        function, autograph=False, jit_compile=jit_compile, reduce_retracing=relax
    )


def _loop(step, log_spec, stack, count, resident, ends_at_nan):
    """Trains on the first `count` batches of a stack.

    Returns:
        The number of steps made, an integer tensor, and their logs, stacked.
    """

    def body(place, _, records):
        batch = tf.nest.map_structure(lambda v: v[place], stack)
        if resident is not None:
            batch = tf.nest.map_structure(lambda v: tf.gather(v, batch), resident)
        logs = step(batch)
        return place + 1, _goes_on(logs, ends_at_nan), _written(records, place, logs)

    place, _, records = tf.while_loop(
        lambda place, goes_on, _: (place < count) & goes_on,
        body,
        (tf.constant(0), tf.constant(True), _records(log_spec, stack)),
        parallel_iterations=1,  # A step reads variables that the last step set.
    )
    return place, _stacked(records, log_spec)


def _stream(step, log_spec, iterator, limit, ends_at_nan):
    """Trains on at most `limit` batches of an iterator; returns the same as `_loop`."""

    def body(place, batch, records):
        logs = step(batch.get_value())
        goes_on = _goes_on(logs, ends_at_nan) & (place + 1 < limit)
        batch = tf.cond(
            goes_on,
            iterator.get_next_as_optional,
            lambda: tf.experimental.Optional.empty(iterator.element_spec),
        )
        return place + 1, batch, _written(records, place, logs)

    place, _, records = tf.while_loop(
        lambda place, batch, _: batch.has_value(),
        body,
        (tf.constant(0), iterator.get_next_as_optional(), _records(log_spec)),
        parallel_iterations=1,
    )
    return place, _stacked(records, log_spec)


def _goes_on(logs, ends_at_nan):
    loss = logs.get("loss") if isinstance(logs, dict) else None
    if loss is None:
        return tf.constant(True)
    return ~ends_at_nan | tf.reduce_all(tf.math.is_finite(loss))


def _records(log_spec, stack=None):
    # XLA needs a static bound on their number.
    size = tf.nest.flatten(stack)[0].shape[0] if stack is not None else None
    return [
        tf.TensorArray(
            part.dtype, size or 0, dynamic_size=not size, element_shape=part.shape
        )
        for part in tf.nest.flatten(log_spec)
    ]


def _written(records, place, logs):
    parts = tf.nest.flatten(logs)
    return [r.write(place, part) for r, part in zip(records, parts, strict=True)]


def _stacked(records, log_spec):
    return tf.nest.pack_sequence_as(log_spec, [record.stack() for record in records])


def _unstacked(count, logs):
    logs = tf.nest.map_structure(lambda v: v.numpy(), logs)
    return [
        tf.nest.map_structure(lambda v, place=place: v[place], logs)
        for place in range(int(count))
    ]


def _collect(iterator, batch, limit):
    """See `Programs.collect`."""
    spec = iterator.element_spec
    shapes = [tf.shape(part) for part in tf.nest.flatten(batch.get_value())]
    arrays = [
        tf.TensorArray(part.dtype, 0, dynamic_size=True, element_shape=part.shape)
        for part in tf.nest.flatten(spec)
    ]

    def fits(batch):
        parts = tf.nest.flatten(batch.get_value())
        same = [
            tf.reduce_all(tf.shape(v) == s) for v, s in zip(parts, shapes, strict=True)
        ]
        return tf.reduce_all(same)

    def goes_on(count, batch, arrays):
        return tf.cond(batch.has_value(), lambda: fits(batch), lambda: False)

    def take(count, batch, arrays):
        arrays = _written(arrays, count, batch.get_value())
        batch = tf.cond(
            count + 1 < limit,
            iterator.get_next_as_optional,
            lambda: tf.experimental.Optional.empty(spec),
        )
        return count + 1, batch, arrays

    _, batch, arrays = tf.while_loop(goes_on, take, (tf.constant(0), batch, arrays))
    return _stacked(arrays, spec), batch


def _first(stack, count):
    return tf.nest.map_structure(lambda v: v[:count], stack)


def _padded(stack, size):
    def pad(part):
        missing = size - len(part)
        return tf.pad(part, [[0, missing]] + [[0, 0]] * (part.shape.rank - 1))

    return tf.nest.map_structure(pad, stack)


def _is_fully_defined(logs):
    return all(part.shape.is_fully_defined() for part in tf.nest.flatten(logs))

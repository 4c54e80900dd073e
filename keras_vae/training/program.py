"""The train function of a block: it collects batches and runs them as one program."""

import tensorflow as tf
from absl import logging


class BlockFunction:
    """Trains on up to `steps` batches of an iterator; a train function for Keras.

    Args:
        model: The `keras.Model` whose `train_step` makes each step.
        steps: Integer, the most steps of one call.
        jit_compile: Boolean, whether XLA compiles the program.
        resident: Callable that returns the `ResidentData` from which batches are
            gathered, or None where the iterator yields them.
        must_compile: Boolean, whether a program that XLA cannot compile is an error.
            Otherwise the block then runs without XLA.
        otherwise: Keras's own train function, for batches that cannot be stacked.
    """

    def __init__(self, model, steps, jit_compile, resident, must_compile, otherwise):
        self._model = model
        self._steps = steps
        self._read_resident = resident
        self._must_compile = must_compile
        self._otherwise = otherwise
        self._collect = tf.function(self._pull, autograph=False, reduce_retracing=True)
        self._build(jit_compile)

    def _build(self, jit_compile, fixed_size=False):
        # The single steps that a block leaves over do not repay compiling.
        compile_step = jit_compile and self._steps == 1
        # Traced once, for batches of any size.
        self._step = _function(self._train, compile_step, reduce_retracing=True)
        self._sized_step = _function(self._train, jit_compile=False)
        self._block = _function(self._loop, jit_compile)
        self._jit_compile, self._fixed_size = jit_compile, fixed_size

    def __call__(self, iterator):
        """Returns the logs after the last step.

        Raises:
            StopIteration: If the iterator has no batch left.
        """
        resident = self._read_resident()
        if resident is not None:
            return self._run_resident(resident, iterator)
        is_dataset = isinstance(iterator, tf.data.Iterator)
        if not is_dataset or not _can_stack(iterator.element_spec):
            return self._otherwise(iterator)
        logs, left = None, self._steps
        batch = iterator.get_next_as_optional()
        while left and batch.has_value():
            # A batch of another size ends the block, and is returned for the next.
            stack, count, batch = self._collect(iterator, batch, left)
            logs = self._run(stack, int(count), iterator.element_spec, None)
            left -= int(count)
        if logs is None:
            raise StopIteration
        return logs

    def _run_resident(self, resident, iterator):
        logs = None
        spec = tf.TensorSpec((None,), tf.int64)
        for block in resident.take(iterator, self._steps):
            if count := len(block):
                stack = tf.constant(block)
                if count > 1:
                    stack = _padded(stack, self._steps - count)
                logs = self._run(stack, count, spec, resident.tensors)
        if logs is None:
            raise StopIteration
        return logs

    def _run(self, *arguments):
        try:
            return self._execute(*arguments)
        except (tf.errors.InvalidArgumentError, tf.errors.UnimplementedError) as error:
            # Compiling comes before the first step, so that nothing has happened yet.
            if not self._jit_compile or "tf2xla" not in str(error):
                raise
            if self._steps > 1 and not self._fixed_size:
                # The gradients of some loops, as in recurrent layers, need the size,
                # and to be in the program itself.
                self._build(jit_compile=True, fixed_size=True)
                return self._run(*arguments)
            if self._must_compile:
                raise
            logging.warning(
                "XLA cannot compile %s, which trains without it; `jit_compile=False` "
                "spares the attempt. %s",
                self._model.name,
                str(error).splitlines()[0],
            )
            self._build(jit_compile=False)
            return self._execute(*arguments)

    def _execute(self, stack, count, batch_spec, resident):
        # Traced outside of the loop, which must know beforehand what a step returns.
        step = self._step
        if count > 1 and self._fixed_size:
            step = self._sized_step
            batch_spec = tf.nest.map_structure(
                lambda v: tf.TensorSpec(v.shape[1:], v.dtype), stack
            )
        step = step.get_concrete_function(batch_spec, resident)
        logs = tf.nest.map_structure(tf.TensorSpec.from_tensor, step.structured_outputs)
        if count == 1 or not _is_fully_defined(logs):
            for place in range(count):
                logs = self._step(_at(stack, place), resident)
            return logs
        self._logs_spec = logs
        return self._block(stack, tf.constant(count), resident)

    def _train(self, batch, resident):
        if resident is not None:
            batch = tf.nest.map_structure(lambda v: tf.gather(v, batch), resident)
        return self._model.train_step(batch)

    def _loop(self, stack, count, resident):
        logs = tf.nest.map_structure(
            lambda spec: tf.zeros(spec.shape, spec.dtype), self._logs_spec
        )
        step = self._train if self._fixed_size else self._step
        _, logs = tf.while_loop(
            lambda place, _: place < count,
            lambda place, _: (place + 1, step(_at(stack, place), resident)),
            (tf.constant(0), logs),
            parallel_iterations=1,  # A step reads what the one before it assigned.
        )
        return logs

    def _pull(self, iterator, batch, limit):
        """Stacks batches of one size.

        Args:
            iterator: A `tf.data.Iterator`.
            batch: Optional with the first batch.
            limit: Integer tensor, the most batches.

        Returns:
            The batches, stacked to (steps, batch, ...) where there are several; their
            number; and an optional with the next batch, where one was pulled.
        """
        spec = iterator.element_spec
        shapes = [tf.shape(part) for part in tf.nest.flatten(batch.get_value())]
        arrays = [
            tf.TensorArray(part.dtype, 0, dynamic_size=True, element_shape=part.shape)
            for part in tf.nest.flatten(spec)
        ]

        def fits(batch):
            parts = tf.nest.flatten(batch.get_value())
            same = [
                tf.reduce_all(tf.shape(v) == s)
                for v, s in zip(parts, shapes, strict=True)
            ]
            return tf.reduce_all(same)

        def goes_on(count, batch, arrays):
            return tf.cond(batch.has_value(), lambda: fits(batch), lambda: False)

        def take(count, batch, arrays):
            parts = tf.nest.flatten(batch.get_value())
            arrays = [
                array.write(count, v) for array, v in zip(arrays, parts, strict=True)
            ]
            batch = tf.cond(
                count + 1 < limit,
                iterator.get_next_as_optional,
                lambda: tf.experimental.Optional.empty(spec),
            )
            return count + 1, batch, arrays

        count, batch, arrays = tf.while_loop(
            goes_on, take, (tf.constant(0), batch, arrays)
        )
        stack = [self._pad(array.stack(), count) for array in arrays]
        return tf.nest.pack_sequence_as(spec, stack), count, batch

    def _pad(self, stack, count):
        # One program serves a short block too: it stops after `count` steps.
        missing = tf.where(count > 1, self._steps - count, 0)
        return tf.cond(missing > 0, lambda: _padded(stack, missing), lambda: stack)


def _function(function, jit_compile, **kwargs):
    # False would forbid, where None leaves it to the caller.
    jit_compile = jit_compile or None
    return tf.function(function, autograph=False, jit_compile=jit_compile, **kwargs)


def _padded(stack, missing):
    return tf.pad(stack, [[0, missing]] + [[0, 0]] * (stack.shape.rank - 1))


def _at(stack, place):
    return tf.nest.map_structure(lambda v: v[place], stack)


def _can_stack(element_spec):
    return all(
        isinstance(part, tf.TensorSpec) and part.dtype != tf.string and part.shape.rank
        for part in tf.nest.flatten(element_spec)
    )


def _is_fully_defined(logs):
    return all(part.shape.is_fully_defined() for part in tf.nest.flatten(logs))

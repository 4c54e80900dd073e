"""Blocks of optimizer steps as one program, within Keras's own `fit`."""

import contextlib
import math

import keras
import tensorflow as tf
from absl import logging

from keras_vae import _keras
from keras_vae.arguments import is_integer
from keras_vae.training.choice import AUTO
from keras_vae.training.choice import choose
from keras_vae.training.execution import BlockFunction
from keras_vae.training.execution import KerasBlocks
from keras_vae.training.execution import Run
from keras_vae.training.execution import StepFunction
from keras_vae.training.resident import ResidentData
from keras_vae.training.resident import can_be_resident


class _State:
    """The mixin's own attributes, in an object so that Keras tracks none of them."""

    def __init__(self, jit_compile, steps):
        self.asked_jit, self.asked_steps = jit_compile, steps
        # The `Run` while `fit` is running, otherwise None.
        self.run = None


class BlockTraining:
    """Mixin for any Keras model: `fit` trains a block of steps as one program.

    **A block changes the speed and the time at which batch hooks run, nothing else.**
    Each step is `train_step` on the batch that Keras would give it. Keras's own `fit`
    counts the steps, runs validation and calls every callback at every batch, with the
    logs of that batch. The model is up to one block ahead of these calls. A block ends
    with the epoch, at any limit of steps, and after each batch at which a callback
    reads or writes the model:

    * Keras's `ModelCheckpoint` and `BackupAndRestore` end a block at each batch at
      which they save;
    * a loss that is not finite ends a block for `TerminateOnNaN`, and for each callback
      with the attribute `ends_blocks_at_nan = True`;
    * a callback with a method `steps_until_action()` returns the number of further
      batches until its hook reads the model, or None;
    * any other batch hook that is not Keras's own sees each batch: "auto" then trains
      step by step.

    Three differences remain. An interrupt (Ctrl-C) takes effect at the end of a block.
    XLA rounds differently. When data of unknown length end, Keras's functions run one
    step, or a part of one, too many; these functions do not.

    Arrays of at most `resident_bytes` stay on the device. The defaults of `compile`,
    "auto", are resolved when `fit` begins. The choice depends on the layers of the
    model, on the device and on the number of steps of the whole run, including those
    before `initial_epoch`. It is logged (absl, level info). Dense models train in
    blocks under XLA; models with convolutions on a CPU train 20 steps at a time without
    XLA; recurrent models on a CPU train step by step under XLA. A run too short to
    repay compiling is not compiled, nor is a model with the attribute
    `reason_against_xla`, a string to follow "because". A model that XLA cannot compile
    trains without XLA and logs a warning.

    A number or a boolean overrides the choice. With `steps_per_execution=n` Keras calls
    the batch hooks once in n steps, and counts `steps_per_epoch` in executions: finite
    data then need a multiple of n batches. Evaluation and prediction run step by step.
    Under a strategy of `tf.distribute`, and eagerly, Keras's own functions run the
    steps.

    Example:
    >>> class Line(kv.BlockTraining, keras.Sequential):
    ...     pass
    >>> model = Line([keras.layers.Dense(1)])
    >>> model.compile("adam", "mse", jit_compile=True, steps_per_execution=5)
    >>> x = np.ones((72, 3))
    >>> history = model.fit(x, x[:, :1], batch_size=10, verbose=0)
    >>> int(model.optimizer.iterations)
    8
    """

    resident_bytes = 2**30
    _blocks = None

    # === In Keras's own terms ===

    def compile(self, *args, jit_compile=AUTO, steps_per_execution=AUTO, **kwargs):
        """Configures the model for training; see `keras.Model.compile`.

        Args:
            *args: As there.
            jit_compile: Boolean or "auto", see the class.
            steps_per_execution: Integer or "auto", see the class.
            **kwargs: As there.

        Raises:
            ValueError: If `jit_compile` or `steps_per_execution` has another value.
        """
        if jit_compile not in (True, False, AUTO):
            raise ValueError(
                "`jit_compile` must be True, False or 'auto'. "
                f"Received: jit_compile={jit_compile!r}"
            )
        is_count = is_integer(steps_per_execution) and steps_per_execution > 0
        if steps_per_execution != AUTO and not is_count:
            raise ValueError(
                "`steps_per_execution` must be a positive integer or 'auto'. "
                f"Received: steps_per_execution={steps_per_execution!r}"
            )
        super().compile(*args, jit_compile=jit_compile is True, **kwargs)
        self._blocks = _State(jit_compile, steps_per_execution)

    def get_compile_config(self):
        """Returns the config of `compile`, the words "auto" included."""
        config = super().get_compile_config()
        if config:
            config["jit_compile"] = self._blocks.asked_jit
            config["steps_per_execution"] = self._blocks.asked_steps
        return config

    def compile_from_config(self, config):
        """Compiles the model as it was when `get_compile_config` was called."""
        self.compile(**keras.saving.deserialize_keras_object(config))
        if self.optimizer is not None and self.built:
            self.optimizer.build(self.trainable_variables)

    def fit(
        self,
        x=None,
        y=None,
        batch_size=None,
        epochs=1,
        verbose="auto",
        callbacks=None,
        **kwargs,
    ):
        """Trains the model; see `keras.Model.fit`, and the class for blocks."""
        data = {"x": x, "y": y, "sample_weight": kwargs.pop("sample_weight", None)}
        settings = {"batch_size": batch_size, "epochs": epochs, "verbose": verbose}
        if not self.compiled:
            return super().fit(**data, **settings, callbacks=callbacks, **kwargs)
        others = _listed(callbacks)
        is_resident = can_be_resident(data, self.resident_bytes, **kwargs)
        choice = self._choose(x, batch_size, epochs, others, is_resident, **kwargs)
        resident = None
        # Without XLA or blocks, drawing the order of examples here gains nothing.
        if (
            is_resident
            and self._runs_programs
            and choice.jit_compile + choice.steps > 1
        ):
            resident = ResidentData(data, batch_size or 32, kwargs.get("shuffle", True))
            data, kwargs["shuffle"] = {"x": resident.steps}, False
        with (
            self._running(choice, others, resident) as run,
            _listed_among(callbacks, run) as callbacks,
        ):
            return super().fit(**data, **settings, callbacks=callbacks, **kwargs)

    def make_train_function(self, force=False):
        """See `keras.Model.make_train_function`."""
        # Keras has already read `steps_per_execution`, and would apply it to validation
        # too.
        self.steps_per_execution = 1
        if self.train_function is not None and not force:
            return
        if self._runs_programs:
            self.train_function = BlockFunction(
                self,
                self.train_step,
                read_run=lambda: self._blocks.run,
                must_compile=self.jit_compile,
            )
        else:
            self.train_function = KerasBlocks(
                self, self._make_keras_function, lambda: self._blocks.run
            )

    def _make_keras_function(self):
        before = self.train_function
        super().make_train_function(force=True)
        made, self.train_function = self.train_function, before
        return made

    def make_test_function(self, force=False):
        """See `keras.Model.make_test_function`."""
        if not self._runs_programs:
            super().make_test_function(force)
        elif self.test_function is None or force:
            self.test_function = StepFunction(self, self.test_step)

    @property
    def _runs_programs(self):
        """Whether `Programs` run the steps, and not Keras's own functions."""
        return not self.run_eagerly and _is_undistributed(self)

    def _choose(
        self,
        x,
        batch_size,
        epochs,
        callbacks,
        resident,
        steps_per_epoch=None,
        validation_split=0.0,
        **kwargs,
    ):
        num_batches = steps_per_epoch
        if num_batches is None:
            num_batches = _count_batches(x, batch_size, validation_split or 0.0)
        # Steps of the whole run: a run resumed at a later epoch must not choose anew.
        num_steps = num_batches and num_batches * epochs
        asked = self._blocks.asked_jit, self._blocks.asked_steps
        choice = choose(self, num_batches, num_steps, callbacks, *asked, resident)
        if AUTO in asked:
            logging.info(
                "%s trains with jit_compile=%s, steps_per_execution=%d, because %s.",
                self.name,
                choice.jit_compile,
                choice.steps,
                choice.reason,
            )
        return choice

    @contextlib.contextmanager
    def _running(self, choice, callbacks, resident):
        by_execution = self._blocks.asked_steps != AUTO
        run = Run(choice, callbacks, resident, by_execution)
        recurrent = []
        if self._runs_programs:
            recurrent = _keras.sublayers(self, keras.layers.RNN)
        self._blocks.run = run
        # Keras's loop reads it; `make_train_function` resets it.
        self.steps_per_execution = choice.steps if by_execution else 1
        try:
            with _keras.weights_read_once(recurrent):
                yield run
        finally:
            self.steps_per_execution = 1
            self._blocks.run = None


@contextlib.contextmanager
def _listed_among(callbacks, run):
    """Yields the `callbacks` argument of `fit` with `run` added."""
    if not isinstance(callbacks, keras.callbacks.CallbackList):
        yield [run, *tf.nest.flatten(callbacks or [])]
        return
    run.set_params(callbacks.params)
    callbacks.append(run)
    try:
        yield callbacks
    finally:
        callbacks.callbacks.remove(run)


def _is_undistributed(model):
    default = None if tf.distribute.has_strategy() else tf.distribute.get_strategy()
    return model.distribute_strategy is default


def _listed(callbacks):
    if isinstance(callbacks, keras.callbacks.CallbackList):
        return callbacks.callbacks
    return tf.nest.flatten(callbacks or [])


def _count_batches(x, batch_size, validation_split):
    """Returns the number of batches of an epoch, or None if it is unknown."""
    if isinstance(x, tf.data.Dataset):
        count = int(x.cardinality())
        return count if count >= 0 else None
    if isinstance(x, keras.utils.PyDataset):
        return x.num_batches
    parts = tf.nest.flatten(x)
    if not all(hasattr(part, "shape") and len(part.shape) for part in parts):
        return None
    size = int(parts[0].shape[0] * (1.0 - validation_split))
    return math.ceil(size / (batch_size or 32))

"""Blocks of optimiser steps as one program, within Keras's own `fit`."""

import contextlib
import math

import keras
import numpy as np
import tensorflow as tf
from absl import logging

from keras_vae import _keras
from keras_vae.training.choice import AUTO
from keras_vae.training.choice import choose
from keras_vae.training.program import BlockFunction
from keras_vae.training.resident import ResidentData
from keras_vae.training.resident import can_be_resident


class _State:
    """What the mixin remembers, in an object, so that Keras tracks none of it."""

    def __init__(self, jit_compile, steps):
        self.asked_jit, self.asked_steps = jit_compile, steps
        # The `Choice` of a `fit` in blocks, while it lasts.
        self.in_blocks = None
        self.resident = None
        self.functions = {}


class BlockTraining:
    """Mixin for any Keras model: `fit` trains a block of steps as one program.

    `steps_per_execution` batches are taken from Keras's own data adapter, stacked, and
    trained on in one loop that XLA compiles, each by the model's `train_step`. Nothing
    is rounded: a short last batch is trained as it is, a short last block has fewer
    steps, and whatever is read or assigned in the step (schedules, controllers, noise,
    metrics, the scale of the loss) moves at each of them. Arrays that fit into
    `resident_bytes` are kept on the device, so that only their order is fed.

    Blocks are for two or three of these together: XLA, more than one step per
    execution, arrays on the device. With one of them alone, eagerly, or under a
    strategy of `tf.distribute`, `fit` is Keras's own. The defaults of `compile`,
    "auto", choose when `fit` begins, by what the model contains and by the device, and
    say so in the log (absl, level info): dense models train in blocks under XLA; models
    with convolutions on a CPU without XLA, 20 steps at a time; recurrent ones on a CPU
    under XLA step by step. A `fit` too short to repay compiling runs as in Keras. A
    model that XLA cannot compile then trains the same blocks without it, and says so.
    What is passed as a number or a boolean is obeyed.

    As always in Keras, `on_train_batch_begin` and `on_train_batch_end` of callbacks are
    called once per execution, with the logs after its last step. `steps_per_execution`
    is 1 where "auto" meets a callback of the user's own that overrides one of them.

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
            ValueError: If one of the two is neither.
        """
        if jit_compile not in (True, False, AUTO):
            raise ValueError(
                "`jit_compile` must be True, False or 'auto'. "
                f"Received: jit_compile={jit_compile!r}"
            )
        is_count = isinstance(steps_per_execution, int | np.integer)
        if steps_per_execution != AUTO and not (is_count and steps_per_execution > 0):
            raise ValueError(
                "`steps_per_execution` must be a positive integer or 'auto'. "
                f"Received: steps_per_execution={steps_per_execution!r}"
            )
        super().compile(
            *args,
            jit_compile=jit_compile is True,
            steps_per_execution=1
            if steps_per_execution == AUTO
            else steps_per_execution,
            **kwargs,
        )
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
        fits = can_be_resident(data, self.resident_bytes, **kwargs)
        choice = self._choose(x, batch_size, epochs, callbacks, fits, **kwargs)
        with self._running(choice, fits):
            if self._blocks.in_blocks and fits:
                shuffle = kwargs.get("shuffle", True)
                resident = ResidentData(data, batch_size or 32, shuffle)
                self._blocks.resident = resident
                data, kwargs["shuffle"] = {"x": resident.steps}, False
            return super().fit(**data, **settings, callbacks=callbacks, **kwargs)

    def predict(self, *args, **kwargs):
        """Predicts; see `keras.Model.predict`."""
        steps = self.steps_per_execution
        if self._blocks and self._blocks.asked_steps == AUTO:
            # Keras unrolls the steps of a prediction.
            self.steps_per_execution = 1
        try:
            return super().predict(*args, **kwargs)
        finally:
            self.steps_per_execution = steps

    def make_train_function(self, force=False):
        """See `keras.Model.make_train_function`."""
        self._make("train", super().make_train_function, force)

    def make_test_function(self, force=False):
        """See `keras.Model.make_test_function`."""
        self._make("test", super().make_test_function, force)

    def _make(self, kind, make, force):
        # Keras would keep the function of other settings than the present ones.
        state, name = self._blocks, f"{kind}_function"
        if force or getattr(self, name) is None:
            state.functions = {k: f for k, f in state.functions.items() if k[0] != kind}
        in_blocks = state.in_blocks if kind == "train" else None
        compiled = in_blocks and in_blocks.jit_compile
        key = (kind, self.jit_compile, self.steps_per_execution, compiled)
        setattr(self, name, state.functions.get(key))
        make()
        function = getattr(self, name)
        if in_blocks and not isinstance(function, BlockFunction):
            function = BlockFunction(
                self,
                self.steps_per_execution,
                jit_compile=compiled,
                resident=lambda: state.resident,
                must_compile=state.asked_jit is True,
                otherwise=function,
            )
            setattr(self, name, function)
        state.functions[key] = function

    def _choose(
        self,
        x,
        batch_size,
        epochs,
        callbacks,
        resident,
        initial_epoch=0,
        steps_per_epoch=None,
        validation_split=0.0,
        **kwargs,
    ):
        num_batches = steps_per_epoch
        if num_batches is None:
            num_batches = _count_batches(x, batch_size, validation_split or 0.0)
        num_steps = num_batches and num_batches * max(epochs - initial_epoch, 0)
        asked = self._blocks.asked_jit, self._blocks.asked_steps
        choice = choose(
            self, num_batches, num_steps, _listed(callbacks), *asked, resident
        )
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
    def _running(self, choice, is_resident):
        state, before = self._blocks, (self.jit_compile, self.steps_per_execution)
        gains = choice.jit_compile + (choice.steps > 1) + is_resident
        if gains > 1 and not self.run_eagerly and _is_undistributed(self):
            state.in_blocks = choice
        self.steps_per_execution = choice.steps
        if state.asked_jit == AUTO:
            # Only training repays compiling.
            self.jit_compile = choice.jit_compile and state.in_blocks is None
        recurrent = []
        if choice.jit_compile and _is_undistributed(self):
            recurrent = _keras.sublayers(self, keras.layers.RNN)
        try:
            with _keras.weights_read_once(recurrent):
                yield
        finally:
            self.jit_compile, self.steps_per_execution = before
            state.in_blocks, state.resident = None, None


def _is_undistributed(model):
    default = None if tf.distribute.has_strategy() else tf.distribute.get_strategy()
    return model.distribute_strategy is default


def _listed(callbacks):
    if isinstance(callbacks, keras.callbacks.CallbackList):
        return callbacks.callbacks
    return tf.nest.flatten(callbacks or [])


def _count_batches(x, batch_size, validation_split):
    """Returns the number of batches of an epoch, or None where it is not known."""
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

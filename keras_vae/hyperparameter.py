"""Scalars that may move while a model trains."""

import keras
import tensorflow as tf

from keras_vae import replicas


@keras.saving.register_keras_serializable("keras_vae")
class Hyperparameter(keras.layers.Layer):
    """A scalar in a saved variable, which may follow a schedule.

    The schedule is read inside the training step, so that it is exact at each
    optimiser step whatever `steps_per_execution` is, and moves without a retrace.

    Args:
        initial_value: Float, the value until a schedule moves it.

    Example:
    >>> weight = kv.Hyperparameter(0.5)
    >>> weight.follow(kv.schedules.linear(10), step=lambda: 3)
    >>> weight.advance()
    >>> float(weight.value)
    0.30000001192092896
    """

    def __init__(self, initial_value, **kwargs):
        super().__init__(**kwargs)
        self.initial_value = float(initial_value)
        self.value = self.add_weight(
            shape=(),
            initializer=keras.initializers.Constant(self.initial_value),
            dtype="float32",
            autocast=False,
            trainable=False,
            aggregation="only_first_replica",
            name="value",
        )
        self.offset = self._add_step("offset")
        self.last_step = self._add_step("last_step")
        # Whether the objective itself moves the value, so that no schedule may.
        self.controlled = False
        self._follows = None
        self._followed = ()
        self.built = True

    def _add_step(self, name):
        return self.add_weight(
            shape=(),
            initializer="zeros",
            dtype="int64",
            trainable=False,
            aggregation="only_first_replica",
            name=name,
        )

    def follow(self, schedule, step):
        """Makes the value follow a schedule; a traced step must be traced again.

        Args:
            schedule: Callable, integer step -> float32 scalar tensor.
            step: Callable without arguments that returns the current step, an
                integer or integer tensor. The schedule sees `step() - offset`.
        """
        # A tuple of callables keeps Keras from tracking what they close over.
        self._follows = (schedule, step)
        self._followed = (schedule,)

    def release(self):
        """Keeps the value where it is from here on."""
        self._follows = None

    @property
    def schedule(self):
        """The schedule that the value follows, or None."""
        return self._follows and self._follows[0]

    @property
    def last_schedule(self):
        """The schedule that moved the value last, also once released, or None.

        A model that was loaded knows of none.
        """
        return self._followed[0] if self._followed else None

    def advance(self):
        """Assigns the scheduled value of the current step; a no-op without schedule."""
        if self._follows is None:
            return
        schedule, step = self._follows
        now = tf.cast(step(), tf.int64)
        value = schedule(now - tf.convert_to_tensor(self.offset))
        replicas.assign(self.value, value)
        replicas.assign(self.last_step, now)

    def get_config(self):
        """Returns the config, from which `from_config` makes an equal layer."""
        return {**super().get_config(), "initial_value": self.initial_value}

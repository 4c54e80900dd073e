"""Scalars that can change during training."""

import keras
import tensorflow as tf

from keras_vae import replicas
from keras_vae.arguments import check_number
from keras_vae.weights import add_float32


@keras.saving.register_keras_serializable("keras_vae")
class Hyperparameter(keras.layers.Layer):
    """A scalar in a saved variable that can follow a schedule.

    The schedule is evaluated inside the training step. It is therefore exact at each
    optimizer step for any `steps_per_execution`, and changes the value without a
    retrace.

    Args:
        initial_value: Float, the value until a schedule changes it.

    Example:
    >>> weight = kv.Hyperparameter(0.5)
    >>> is_new = weight.follow(kv.schedules.linear(10), step=lambda: 3)
    >>> weight.advance()
    >>> float(weight.value)
    0.30000001192092896
    """

    def __init__(self, initial_value, **kwargs):
        super().__init__(**kwargs)
        self.initial_value = float(initial_value)
        self.value = add_float32(
            self,
            "value",
            self.initial_value,
            trainable=False,
            aggregation="only_first_replica",
        )
        self.offset = self._add_step("offset")
        self.last_step = self._add_step("last_step")
        # Whether the objective itself sets the value; then no schedule may set it.
        self.controlled = False
        self._following = None
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
        """Makes the value follow a schedule.

        Args:
            schedule: Callable, integer step -> float32 scalar tensor.
            step: Callable without arguments that returns the current step, an
                integer or integer tensor. The schedule sees `step() - offset`.

        Returns:
            Whether a traced training step must be traced again. This is False if the
            last schedule and `step` are equal to the new ones.
        """
        before = self._following
        if before is None or (before.schedule, before.step) != (schedule, step):
            self._following = _Following(schedule, step)
            return True
        before.is_active.assign(True)
        return False

    def release(self):
        """Ends the schedule and keeps its last value, also in a traced step."""
        if self._following is not None:
            self._following.is_active.assign(False)

    @property
    def weighs_kl(self):
        """Whether it is the weight of a KL, of all latents or of one."""
        return self.name.endswith("kl_weight")

    @property
    def schedule(self):
        """The schedule that the value follows, or None."""
        is_active = self._following is not None and bool(self._following.is_active)
        return self._following.schedule if is_active else None

    @property
    def last_schedule(self):
        """The last schedule of the value, also after its release, or None.

        A loaded model has none.
        """
        return self._following and self._following.schedule

    def advance(self):
        """Assigns the scheduled value of the current step; a no-op without schedule."""
        if self._following is None:
            return
        schedule, step = self._following.schedule, self._following.step
        is_active = tf.convert_to_tensor(self._following.is_active)
        now = tf.cast(step(), tf.int64)
        value = schedule(now - tf.convert_to_tensor(self.offset))
        for variable, new in ((self.value, value), (self.last_step, now)):
            old = tf.convert_to_tensor(variable)
            replicas.assign(variable, tf.where(is_active, new, old))

    def assign(self, value):
        """Sets the value, and the `initial_value` in the config.

        Assigning to the owner's attribute does the same: `objective.kl_weight = 0.25`.

        Args:
            value: Float, not negative.

        Raises:
            ValueError: If the value is invalid, or the objective or a schedule sets it.
        """
        if callable(value) and not hasattr(value, "__float__"):
            raise ValueError(
                f"`{self.name}` must be a number. To schedule it during training pass "
                f"`keras_vae.callbacks.HyperparameterScheduler({self.name!r}, "
                f"schedule)` to `fit(callbacks=[...])`. Received: {value!r}"
            )
        number = check_number(self.name, value)
        if self.controlled or self.schedule is not None:
            mover, remedy = "the objective itself", "train with `ELBO`"
            if self.schedule is not None:
                mover, remedy = "a schedule", "assign it once `fit` has ended"
            raise ValueError(
                f"`{self.name}` is set by {mover}, which would undo the assignment: "
                f"{remedy}. Received: {self.name}={number}"
            )
        self.initial_value = number
        self.value.assign(number)

    def __setattr__(self, name, value):
        if name == "value" and name in vars(self):
            self.assign(value)
        else:
            super().__setattr__(name, value)

    def get_config(self):
        """Returns the config; `from_config` makes an equal layer from it."""
        return {**super().get_config(), "initial_value": self.initial_value}


class _Following:
    """A schedule and its step, in an object that Keras does not track or save.

    Args:
        schedule: See `Hyperparameter.follow`.
        step: Likewise.
    """

    def __init__(self, schedule, step):
        self.schedule, self.step = schedule, step
        # The traced step reads it, so releasing the schedule needs no retrace.
        self.is_active = tf.Variable(True, trainable=False)


class OwnsHyperparameters:
    """Mixin for a layer or model whose hyperparameters can be assigned as numbers.

    Example:
    >>> objective = kv.ELBO()
    >>> objective.kl_weight = 0.25
    >>> float(objective.kl_weight.value)
    0.25
    """

    def __setattr__(self, name, value):
        before = vars(self).get(name)
        if isinstance(before, Hyperparameter) and not isinstance(value, Hyperparameter):
            before.assign(value)
            return
        if isinstance(before, keras.Variable) and not isinstance(value, keras.Variable):
            raise ValueError(
                f"`{name}` is a variable that holds training state: call "
                f"`{name}.assign(...)` on it. Received: {name}={value!r}"
            )
        super().__setattr__(name, value)

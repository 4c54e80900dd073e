"""Learning rates that can be lowered during training."""

import keras

from keras_vae import _keras
from keras_vae.replicas import number


@keras.saving.register_keras_serializable("keras_vae")
class ScaledSchedule(keras.optimizers.schedules.LearningRateSchedule):
    """A schedule times a factor that can change during training.

    Args:
        schedule: `keras.optimizers.schedules.LearningRateSchedule`.
        scale: Float, the initial factor.

    Example:
    >>> decay = keras.optimizers.schedules.ExponentialDecay(0.1, 10, 0.5)
    >>> scaled = kv.learning_rates.ScaledSchedule(decay, scale=0.5)
    >>> print(f"{float(scaled(10)):.4f}")
    0.0250
    """

    def __init__(self, schedule, scale=1.0):
        self.schedule = schedule
        self.scale = keras.Variable(
            scale, dtype="float32", trainable=False, name="scale"
        )

    def __call__(self, step):
        """Returns the learning rate of a step."""
        return self.schedule(step) * self.scale

    def get_config(self):
        """Returns the schedule and the current factor."""
        schedule = keras.saving.serialize_keras_object(self.schedule)
        return {"schedule": schedule, "scale": number(self.scale)}

    @classmethod
    def from_config(cls, config):
        """Returns the schedule that `get_config` describes."""
        schedule = keras.saving.deserialize_keras_object(config["schedule"])
        return cls(schedule, config["scale"])


def make_scalable(optimizer):
    """Lets `set_scale` change the learning rate of an optimizer.

    Args:
        optimizer: `keras.optimizers.Optimizer`.

    Returns:
        Boolean, whether the training step must be traced again.
    """
    optimizer = _inner(optimizer)
    schedule = _keras.learning_rate_schedule(optimizer)
    if schedule is None or isinstance(schedule, ScaledSchedule):
        return False
    optimizer.learning_rate = ScaledSchedule(schedule)
    return True


def scale(optimizer):
    """Returns the factor of the learning rate's schedule.

    Args:
        optimizer: `keras.optimizers.Optimizer`.

    Returns:
        A float. It is 1 without a schedule, because a plain rate is itself a variable.
    """
    schedule = _keras.learning_rate_schedule(_inner(optimizer))
    return number(schedule.scale) if isinstance(schedule, ScaledSchedule) else 1.0


def set_scale(optimizer, value):
    """Sets the factor of the learning rate's schedule.

    Args:
        optimizer: `keras.optimizers.Optimizer` whose rate follows a schedule.
        value: Float.
    """
    make_scalable(optimizer)
    _keras.learning_rate_schedule(_inner(optimizer)).scale.assign(value)


def multiply(optimizer, factor):
    """Multiplies the learning rate of an optimizer, with or without a schedule.

    Args:
        optimizer: `keras.optimizers.Optimizer` on which `make_scalable` was called.
        factor: Float.
    """
    inner = _inner(optimizer)
    if _keras.learning_rate_schedule(inner) is not None:
        set_scale(inner, factor * scale(inner))
    else:
        inner.learning_rate = factor * number(inner.learning_rate)


def _inner(optimizer):
    return getattr(optimizer, "inner_optimizer", optimizer)

"""Controllers that adapt a weight until a target is met."""

import keras
import tensorflow as tf

from keras_vae import replicas
from keras_vae.arguments import check_number
from keras_vae.metrics.trackers import Gauge
from keras_vae.objectives.elbo import ELBO
from keras_vae.weights import add_float32


@keras.saving.register_keras_serializable("keras_vae")
class RateTarget(ELBO):
    """Adapts `kl_weight` until the rate meets the target: ControlVAE.

    With the error e = target - KL of the batch, Shao et al.:

        kl_weight = proportional sigmoid(-e) - integral sum_t e_t + min_weight

    clipped to [min_weight, max_weight]. Errors that would push the weight outside these
    bounds are not summed. If the target exceeds the rate at `min_weight`, it cannot be
    reached: the logs then show `rate_target_feasible` 0.

    The weight of a step depends only on earlier steps. `fit` logs `rate_error`, KL -
    target in nats, and `rate_target_feasible`.

    Args:
        rate: Positive float, the target in nats.
        proportional: Non-negative float, K_p in the paper.
        integral: Positive float, K_i in the paper, per optimizer step.
        min_weight: Non-negative float.
        max_weight: Float above `min_weight`.
        **kwargs: See `ELBO`; `kl_weight` is the weight of the first step.

    Example:
    >>> kv.objectives.RateTarget(rate=20.0).rate_target
    20.0

    Reference:
        [ControlVAE: Controllable Variational Autoencoder](
        https://arxiv.org/abs/2004.05988)
    """

    def __init__(
        self,
        rate,
        proportional=0.01,
        integral=0.001,
        min_weight=0.0,
        max_weight=100.0,
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.rate_target = check_number("rate", rate, positive=True)
        self.proportional = check_number("proportional", proportional)
        self.integral = check_number("integral", integral, positive=True)
        self.min_weight = check_number("min_weight", min_weight)
        self.max_weight = check_number("max_weight", max_weight, positive=True)
        if not self.min_weight <= self.kl_weight.initial_value <= self.max_weight:
            raise ValueError(
                "`kl_weight` must lie between `min_weight` and `max_weight`. Received: "
                f"kl_weight={self.kl_weight.initial_value}, min_weight={min_weight}, "
                f"max_weight={max_weight}"
            )
        self.kl_weight.controlled = True
        self.summed = add_state(
            self, "summed", self.kl_weight.initial_value - self.min_weight
        )
        self.error = add_state(self, "error", 0.0)
        self.feasible = add_state(self, "feasible", 1.0)
        self._reports = [
            Gauge("rate_error", lambda: self.error),
            Gauge("rate_target_feasible", lambda: self.feasible),
        ]

    def control(self, estimate, mean):
        """See `ELBO.control`."""
        rate = tf.stop_gradient(mean.over_replicas(self.rate(estimate)))
        error = self.rate_target - rate
        proportional = self.proportional * tf.sigmoid(-error)
        raw = proportional + self.summed - self.integral * error + self.min_weight
        weight = tf.clip_by_value(raw, self.min_weight, self.max_weight)
        # The amount removed by clipping is never summed: anti-windup.
        replicas.assign(self.summed, weight - proportional - self.min_weight)
        replicas.assign(self.kl_weight.value, weight)
        replicas.assign(self.error, -error)
        replicas.assign(self.feasible, tf.cast(raw == weight, tf.float32))

    def get_config(self):
        """Returns the config; `from_config` makes an equal layer from it."""
        return {
            **super().get_config(),
            "rate": self.rate_target,
            "proportional": self.proportional,
            "integral": self.integral,
            "min_weight": self.min_weight,
            "max_weight": self.max_weight,
        }


@keras.saving.register_keras_serializable("keras_vae")
class DistortionTarget(ELBO):
    """The least rate at the target distortion: GECO.

    Lagrangian of `min KL subject to E[C] <= 0`, C = distortion - target, Rezende &
    Viola:

        loss = kl_weight KL + multiplier C
        C_ma <- decay C_ma + (1 - decay) C
        multiplier <- multiplier exp(speed C_ma / event_size)

    The constraint is in nats. For a normal likelihood of fixed scale s it constrains
    the squared error: SSE = 2 s^2 (target - D/2 log(2 pi s^2)). In the exponent it is
    divided by the number of elements of an event, and the exponent is bounded, so that
    neither a large event nor a bad start makes the multiplier explode. The multiplier
    still overshoots while the first distortions are large, and Adam's second moments
    forget the gradients of a large multiplier slowly. If it reaches `max_multiplier`
    early, lower `max_multiplier` or `speed`. If the error fades too slowly, raise
    `speed`. After convergence the loss is not an ELBO: the equivalent `kl_weight` of an
    ELBO is 1 / multiplier. `fit` logs `distortion_error`, C_ma in nats,
    `distortion_multiplier`, and `distortion_target_feasible`, which is 0 while the
    multiplier is at a bound.

    Args:
        distortion: Float, the target in nats per example.
        decay: Float in [0, 1), decay of the moving mean of the constraint.
        speed: Positive float, speed of the multiplier.
        initial_multiplier: Positive float.
        max_multiplier: Float, above `initial_multiplier`; its inverse is the minimum.
        **kwargs: See `ELBO`.

    Example:
    >>> kv.objectives.DistortionTarget(distortion=80.0).decay
    0.99

    Reference:
        [Taming VAEs](https://arxiv.org/abs/1810.00597)
    """

    separable = False
    is_weighted_sum = True

    def __init__(
        self,
        distortion,
        decay=0.99,
        speed=0.02,
        initial_multiplier=1.0,
        max_multiplier=1e4,
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.distortion_target = check_number("distortion", distortion, signed=True)
        self.decay = check_number("decay", decay)
        if self.decay >= 1:
            raise ValueError(f"`decay` must be in [0, 1). Received: decay={decay}")
        self.speed = check_number("speed", speed, positive=True)
        self.initial_multiplier = check_number(
            "initial_multiplier", initial_multiplier, positive=True
        )
        self.max_multiplier = check_number("max_multiplier", max_multiplier)
        if not 1 / self.max_multiplier < self.initial_multiplier < self.max_multiplier:
            raise ValueError(
                "`initial_multiplier` must lie between 1 / `max_multiplier` and "
                f"`max_multiplier`. Received: initial_multiplier={initial_multiplier}, "
                f"max_multiplier={max_multiplier}"
            )
        self.multiplier = add_state(self, "multiplier", self.initial_multiplier)
        self.moving = add_state(self, "moving", 0.0)
        self.started = add_state(self, "started", 0.0)
        self.feasible = add_state(self, "feasible", 1.0)
        self._reports = [
            Gauge("distortion_error", lambda: self.moving),
            Gauge("distortion_multiplier", lambda: self.multiplier),
            Gauge("distortion_target_feasible", lambda: self.feasible),
        ]

    @property
    def weight(self):
        """See `ELBO.weight`."""
        return super().weight / replicas.number(self.multiplier)

    def distortion_loss(self, estimate, mean):
        """See `ELBO.distortion_loss`."""
        # Averaged like the distortion, so that the sum over replicas is the constraint.
        constraint = mean(estimate.distortion - self.distortion_target)
        return self.multiplier * constraint

    def control(self, estimate, mean):
        """See `ELBO.control`."""
        constraint = mean.over_replicas(estimate.distortion - self.distortion_target)
        constraint = tf.stop_gradient(constraint)
        decay = self.decay * self.started
        moving = decay * self.moving + (1.0 - decay) * constraint
        exponent = tf.math.divide_no_nan(self.speed * moving, estimate.event_size)
        raw = self.multiplier * tf.exp(tf.clip_by_value(exponent, -1.0, 1.0))
        low, high = 1.0 / self.max_multiplier, self.max_multiplier
        replicas.assign(self.moving, moving)
        replicas.assign(self.started, 1.0)
        replicas.assign(self.multiplier, tf.clip_by_value(raw, low, high))
        inside = (raw > low) & (raw < high)
        replicas.assign(self.feasible, tf.cast(inside, tf.float32))

    def get_config(self):
        """Returns the config; `from_config` makes an equal layer from it."""
        return {
            **super().get_config(),
            "distortion": self.distortion_target,
            "decay": self.decay,
            "speed": self.speed,
            "initial_multiplier": self.initial_multiplier,
            "max_multiplier": self.max_multiplier,
        }


def add_state(layer, name, value):
    """Adds a saved scalar to a layer, equal on all replicas."""
    return add_float32(layer, name, value, trainable=False, aggregation="mean")

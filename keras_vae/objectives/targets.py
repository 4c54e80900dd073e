"""Controllers that adapt a weight until a target is met."""

import dataclasses
from collections.abc import Mapping

import keras
import tensorflow as tf

from keras_vae import replicas
from keras_vae.arguments import check_number
from keras_vae.hyperparameter import Hyperparameter
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

    A dict of targets has a controller for each of these latents, such as the levels of
    a hierarchy, which moves the weight of the latent beside a common `kl_weight`; see
    `latent_weights` of `ELBO`. The logs are then `<name>_rate_error` and so on.

    Args:
        rate: Positive float, the target in nats, or a dict of the names of latents to
            such floats.
        proportional: Non-negative float, K_p in the paper.
        integral: Positive float, K_i in the paper, per training batch: with
            accumulated gradients the weight moves several times an update.
        min_weight: Non-negative float.
        max_weight: Float above `min_weight`.
        **kwargs: See `ELBO`; `kl_weight`, or with a dict `latent_weights`, is the
            weight of the first step.

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
        targets = None
        if isinstance(rate, Mapping):
            if not rate:
                raise ValueError(
                    "`rate` must name at least one latent, {'level_2': 5.0}, or be a "
                    "number. Received: rate={}"
                )
            targets = {n: _target(f"rate[{n!r}]", value) for n, value in rate.items()}
            given = kwargs.pop("latent_weights", None) or {}
            kwargs["latent_weights"] = {**dict.fromkeys(targets, 1.0), **given}
        super().__init__(**kwargs)
        self.rate_target = _target("rate", rate) if targets is None else targets
        self.proportional = check_number("proportional", proportional)
        self.integral = check_number("integral", integral, positive=True)
        self.min_weight = check_number("min_weight", min_weight)
        self.max_weight = check_number("max_weight", max_weight, positive=True)
        self._reports = []
        if targets is None:
            loop = self._loop(self.rate_target, "kl_weight", self.kl_weight)
            self.summed, self.error, self.feasible = loop.state
            self._loops = [loop]
            return
        self._loops = [
            self._loop(value, "latent_weights", self.latent_weights[name], name)
            for name, value in targets.items()
        ]

    def _loop(self, target, argument, weight, name=None):
        """Returns the controller of a weight, whose state this layer saves."""
        prefix = "" if name is None else f"{name}_"
        first = weight.initial_value
        if not self.min_weight <= first <= self.max_weight:
            raise ValueError(
                f"`{argument}` must lie between `min_weight` and `max_weight`. "
                f"Received: {argument}={first}, min_weight={self.min_weight}, "
                f"max_weight={self.max_weight}"
            )
        weight.controlled = True
        state = [
            add_state(self, f"{prefix}summed", first - self.min_weight),
            add_state(self, f"{prefix}error", 0.0),
            add_state(self, f"{prefix}feasible", 1.0),
        ]
        self._reports += [
            Gauge(f"{prefix}rate_error", lambda: state[1]),
            Gauge(f"{prefix}rate_target_feasible", lambda: state[2]),
        ]
        return _Loop(name, target, weight, state)

    def control(self, estimate, mean):
        """See `ELBO.control`."""
        for loop in self._loops:
            if loop.name is None:
                self._control(loop, self.rate(estimate), mean)
                continue
            for latent in estimate.latents:
                if latent.name == loop.name:
                    self._control(loop, self.rate(latent), mean)

    def _control(self, loop, rates, mean):
        rate = tf.stop_gradient(mean.over_replicas(rates))
        summed, last_error, feasible = loop.state
        error = loop.target - rate
        proportional = self.proportional * tf.sigmoid(-error)
        raw = proportional + summed - self.integral * error + self.min_weight
        weight = tf.clip_by_value(raw, self.min_weight, self.max_weight)
        # The amount removed by clipping is never summed: anti-windup.
        replicas.assign(summed, weight - proportional - self.min_weight)
        replicas.assign(loop.weight.value, weight)
        replicas.assign(last_error, -error)
        replicas.assign(feasible, tf.cast(raw == weight, tf.float32))

    def get_config(self):
        """Returns the config; `from_config` makes an equal layer from it."""
        rate = self.rate_target
        return {
            **super().get_config(),
            "rate": dict(rate) if isinstance(rate, Mapping) else rate,
            "proportional": self.proportional,
            "integral": self.integral,
            "min_weight": self.min_weight,
            "max_weight": self.max_weight,
        }


@dataclasses.dataclass
class _Loop:
    """The controller of one weight.

    Args:
        name: String, the latent whose rate it looks at, or None for their sum.
        target: Float, nats.
        weight: `Hyperparameter`.
        state: List of variables: the sum of errors, the last error, and whether the
            target can be reached.
    """

    name: str | None
    target: float
    weight: Hyperparameter
    state: list


def _target(name, value):
    return check_number(name, value, positive=True)


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
    def is_weighted_sum(self):
        """See `ELBO.is_weighted_sum`; the target is a constant."""
        return not self.latent_weights

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

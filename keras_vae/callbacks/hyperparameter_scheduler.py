"""Callbacks that schedule hyperparameters during training."""

import dataclasses
import warnings

import keras
import numpy as np

from keras_vae import _keras
from keras_vae import schedules
from keras_vae.hyperparameter import Hyperparameter
from keras_vae.replicas import number


class HyperparameterScheduler(keras.callbacks.Callback):
    """Sets a hyperparameter by a schedule, exactly, at each optimizer step.

    The value used at optimizer step t is `schedule(t)`, where t is
    `optimizer.iterations`: updates skipped by loss scaling and accumulated
    micro-batches do not count. The schedule runs inside the training step, so this
    holds for any `steps_per_execution` and after a resume.

    Fractions and epochs in the schedule refer to the `epochs` and the steps per epoch
    of `fit`. A further `fit` continues from the optimizer's step.

    Args:
        name: String, name of the hyperparameter, such as "kl_weight".
        schedule: `Schedule`, see `keras_vae.schedules`, or a callable of the step.
        layers: List of layer names whose hyperparameters are set, or None for all of
            the model.
        restart: Boolean, whether the schedule begins anew with this `fit`. The step of
            the restart is saved with the model.

    Raises:
        ValueError: At the start of `fit`, if the model has no such hyperparameter or
            layer, or if the schedule needs a number of steps that is unknown.

    Example:
    >>> callback = kv.callbacks.HyperparameterScheduler(
    ...     "kl_weight", kv.schedules.linear("10 epochs")
    ... )
    """

    def __init__(self, name, schedule, layers=None, restart=False):
        super().__init__()
        self.name = name
        self.schedule = schedules.get(schedule)
        self.layers = layers
        self.restart = restart
        self._end_step = None
        self._checked = False
        self._warned = False

    def set_model(self, model):
        """Takes the model before any callback restores its state."""
        super().set_model(model)
        optimizer = model.optimizer
        if model.built and not optimizer.built:
            # Without variables the optimizer would drop its step when weights are
            # restored.
            optimizer.build(model.trainable_variables)
        self._targets = self._find_targets(model)
        if self.restart:
            for target in self._targets:
                target.offset.assign(number(optimizer.iterations))

    def _find_targets(self, model):
        owners = [model]
        if self.layers is not None:
            if isinstance(self.layers, str):
                raise ValueError(
                    "`layers` must be a list of names. "
                    f"Received: layers={self.layers!r}; pass [{self.layers!r}]"
                )
            found = {x.name: x for x in _keras.sublayers(model, keras.layers.Layer)}
            unknown = [name for name in self.layers if name not in found]
            if unknown:
                raise ValueError(
                    f"`layers` must name layers of the model. Received: {unknown}, "
                    f"which are not among {sorted(found)}"
                )
            owners = [found[name] for name in self.layers]
        targets = [
            item
            for owner in owners
            for item in _keras.sublayers(owner, Hyperparameter)
            if item.name == self.name
        ]
        if not targets:
            raise ValueError(self._unknown(model, owners))
        if any(target.controlled for target in targets):
            raise ValueError(
                f"`{self.name}` is set by the objective itself, so a schedule cannot "
                "set it too: remove this callback, or train with `ELBO`. "
                f"Received: model={model.name!r}"
            )
        return targets

    def _unknown(self, model, owners):
        """Returns the message that the model or layers have no such hyperparameter."""
        known = {x.name for o in owners for x in _keras.sublayers(o, Hyperparameter)}
        latent, of_latent = self.name.removesuffix("_kl_weight"), ""
        if latent != self.name:
            of_latent = (
                "The objective declares that of a level: "
                f"`latent_weights={{{latent!r}: 1.0}}`. "
            )
        return (
            f"`{self.name}` must be a hyperparameter of the scheduled model or layers: "
            "of a `keras_vae.VAE`, which is not a layer of itself, or of the objective "
            f"of a `keras_vae.layers.Latent`. {of_latent}Received: model="
            f"{model.name!r}, layers={self.layers}, which have {sorted(known)}"
        )

    def on_train_begin(self, logs=None):
        """Attaches the schedule; a training step traced without it is traced again."""
        steps, epochs = self._steps_per_epoch(), self.params["epochs"]
        schedule = self.schedule.resolve(
            total_steps=None if steps is None else int(epochs * steps),
            steps_per_epoch=steps,
        )
        self._check_schedule(schedule, 1000 if steps is None else int(epochs * steps))
        self._end_step = schedule.end_step
        self._checked = False
        step = _Iterations(self.model)
        if any([target.follow(schedule, step) for target in self._targets]):
            self.model.make_train_function(force=True)

    def on_epoch_begin(self, epoch, logs=None):
        """Warns, once all state is restored, if the schedule cannot be followed."""
        if self._checked:
            return
        self._checked = True
        step, steps = number(self.model.optimizer.iterations), self._steps_per_epoch()
        self._warn_if_lost(step)
        if steps is not None:
            last_step = step + int((self.params["epochs"] - epoch) * steps)
            self._warn_if_short(last_step, "`fit` will end")

    def on_epoch_end(self, epoch, logs=None):
        """Reports the value at the epoch's last step."""
        if logs is not None:
            logs[self.name] = number(self._targets[0].value)

    def on_train_end(self, logs=None):
        """Detaches the schedule; the hyperparameter keeps its value."""
        for target in self._targets:
            target.release()
        self._warn_if_short(number(self.model.optimizer.iterations), "`fit` ended")

    def _check_schedule(self, schedule, total_steps):
        """Raises ValueError if the hyperparameter cannot take a scheduled value."""
        for step in np.linspace(0, total_steps, 33, dtype="int64"):
            value = float(schedule(step))
            if not 0 <= value < np.inf:
                raise ValueError(
                    "`schedule` must give finite values that are not negative. "
                    f"Received: {value} at step {step} of {schedule!r}"
                )

    def _steps_per_epoch(self):
        steps = self.params.get("steps")
        return None if steps is None else steps / _accumulation(self.model.optimizer)

    def _warn_if_lost(self, step):
        last_step = max(number(target.last_step) for target in self._targets)
        if last_step <= step or self.restart:
            return
        warnings.warn(
            f"`{self.name}` was last set at step {last_step}, but the optimizer is at "
            f"step {step}, and the schedule continues from there. If weights were "
            "loaded, build the optimizer before loading: "
            "`model.optimizer.build(model.trainable_variables)`. To begin the schedule "
            "anew, pass `restart=True`.",
            stacklevel=2,
        )

    def _warn_if_short(self, last_step, event):
        done = last_step - number(self._targets[0].offset)
        # The last of `done` steps is trained at `schedule(done - 1)`.
        if self._end_step is None or done > self._end_step or self._warned:
            return
        self._warned = True
        warnings.warn(
            f"{event} after {done} optimizer steps, but the schedule of "
            f"`{self.name}` ends at step {self._end_step}: the model never trains at "
            "the final value. Train longer, or shorten the schedule, for example with "
            '`duration="50%"`.',
            stacklevel=2,
        )


class KLAnnealing(HyperparameterScheduler):
    """Sets the weight of the KL by a schedule, exactly, at each optimizer step.

    `loss = reconstruction + schedule(t) KL`, Bowman et al., section 3.1. Works on `VAE`
    and on any model with one or several `layers.Latent`. Writes `kl_weight` into the
    logs. See `HyperparameterScheduler` for details and errors.

    Select models by the unweighted `val_negative_elbo`: under annealing the best
    `val_loss` belongs to the model with the smallest weight.

    Args:
        schedule: `Schedule`, see `keras_vae.schedules`, or a callable of the step.
        layers: List of names of `Latent` layers, or None for all of the model.
        restart: Boolean, whether the schedule begins anew with this `fit`. To restart
            within one `fit`, use `schedules.restart`.

    Example:
    >>> callback = kv.KLAnnealing(kv.schedules.sigmoid(duration="50%"))

    Reference:
        [Generating Sentences from a Continuous Space](
        https://arxiv.org/abs/1511.06349)
    """

    def __init__(self, schedule, layers=None, restart=False):
        super().__init__("kl_weight", schedule, layers=layers, restart=restart)


@dataclasses.dataclass(frozen=True)
class _Iterations:
    """The step of a model's optimizer; two for the same model are equal."""

    model: keras.Model

    def __call__(self):
        return self.model.optimizer.iterations


def _accumulation(optimizer):
    inner = getattr(optimizer, "inner_optimizer", optimizer)
    return getattr(inner, "gradient_accumulation_steps", None) or 1

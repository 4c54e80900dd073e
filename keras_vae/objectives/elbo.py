"""The evidence lower bound, the base class of all objectives."""

import gc
import weakref

import keras
import tensorflow as tf

from keras_vae import _keras
from keras_vae.arguments import check_count
from keras_vae.arguments import check_number
from keras_vae.hyperparameter import Hyperparameter
from keras_vae.hyperparameter import OwnsHyperparameters
from keras_vae.objectives.estimate import KL_ESTIMATORS
from keras_vae.replicas import number


@keras.saving.register_keras_serializable("keras_vae")
class ELBO(OwnsHyperparameters, keras.layers.Layer):
    """Negative evidence lower bound with a weight on the rate.

    `loss = -E_q[log p(x|z)] + kl_weight KL(q(z|x) || p(z))`. At `kl_weight=1` it is the
    negative of the bound of Kingma & Welling; `kl_weight` is beta of Higgins et al.
    Terms are summed over events and latents and averaged over the batch, in nats.

    With several latents `latent_weights` are theirs beside `kl_weight`, which is common
    to all: `loss = distortion + kl_weight sum_l w_l KL_l`. Each is a hyperparameter
    called "<name>_kl_weight", in the logs and for schedules too, such as
    `HyperparameterScheduler("level_2_kl_weight", schedule)`.

    A variant overrides `rate_loss`, `distortion_loss` or `losses`. A number that
    changes during training is a `Hyperparameter` made in `__init__`. It can also be
    assigned, as in `objective.kl_weight = 0.5`. Each model needs its own objective.

    Args:
        kl_weight: Non-negative float, the weight of the rate; 1 is the ELBO.
        kl: "analytic" or "monte_carlo", how the rate is computed.
        num_samples: Integer, draws of z per example.
        latent_weights: Dict of names of latents, such as the levels of a hierarchy, to
            non-negative floats, or None. Those that it does not name have the weight 1.

    Example:
    >>> kv.ELBO(kl_weight=4.0).kl_weight.initial_value
    4.0

    References:
        [Auto-Encoding Variational Bayes](https://arxiv.org/abs/1312.6114);
        [beta-VAE](https://openreview.net/forum?id=Sy2fzU9gl)
    """

    # Whether the loss is distortion + rate, so that `Latent` can add the rate alone.
    separable = True
    # Whether the `Estimate` must hold draws from the prior.
    needs_prior_samples = False

    # Whether the loss is of rates that latents may have weights of their own for.
    weighs_latents = True

    # A weak reference to the model or `Latent` that trains with this objective.
    _owner = None
    _is_traced = False

    def __init__(
        self,
        kl_weight=1.0,
        kl="analytic",
        num_samples=1,
        latent_weights=None,
        **kwargs,
    ):
        super().__init__(**kwargs)
        if kl not in KL_ESTIMATORS:
            raise ValueError(
                f"`kl` must be one of {KL_ESTIMATORS}. Received: kl={kl!r}"
            )
        self.kl = kl
        self.num_samples = check_count("num_samples", num_samples)
        self.kl_weight = Hyperparameter(
            check_kl_weight(kl_weight), name="kl_weight", dtype=self.dtype_policy
        )
        self.latent_weights = {
            name: Hyperparameter(
                check_number(f"latent_weights[{name!r}]", weight),
                name=f"{name}_kl_weight",
                dtype=self.dtype_policy,
            )
            for name, weight in (latent_weights or {}).items()
        }
        if self.latent_weights and not self.weighs_latents:
            raise ValueError(
                "`latent_weights` must be None with an objective of one latent. "
                f"Received: latent_weights={latent_weights}"
            )
        self.built = True

    @property
    def weight(self):
        """The current weight of the rate relative to the distortion, a float."""
        return number(self.kl_weight.value)

    @property
    def is_weighted_sum(self):
        """Whether the loss is a multiple of distortion + `weight` rate."""
        terms = ("losses", "distortion_loss", "rate_loss")
        return not self.latent_weights and all(
            getattr(type(self), name) is getattr(ELBO, name) for name in terms
        )

    @property
    def is_controlled(self):
        """Whether training itself changes the weight, without a schedule."""
        return type(self).control is not ELBO.control

    def rate(self, estimate):
        """Returns KL(q(z|x) || p(z)) of each example, shape (batch,), nats.

        Args:
            estimate: `Estimate` of a batch.
        """
        if not tf.executing_eagerly():
            self._is_traced = True
        return estimate.rate(self.kl)

    def weighted_rate(self, estimate):
        """Returns `rate`, (batch,), with the weight of each latent beside `kl_weight`.

        Args:
            estimate: `Estimate` of a batch.
        """
        if not self.latent_weights:
            return self.rate(estimate)
        return self.weighted_sum(estimate, self.rate)

    def weighted_sum(self, estimate, quantity):
        """Returns the sum over the latents of a quantity times the weight of each.

        Args:
            estimate: `Estimate` of a batch.
            quantity: Callable, `LatentEstimate` -> tensor.
        """
        parts = [self.weight_of(one) * quantity(one) for one in estimate.latents]
        return tf.add_n(parts)

    def weight_of(self, latent):
        """Returns the weight of a `LatentEstimate` beside `kl_weight`."""
        weight = self.latent_weights.get(latent.name)
        return tf.constant(1.0) if weight is None else tf.identity(weight.value)

    def total_weight(self, name):
        """Returns the current weight of a latent's rate, `weight` included, a float."""
        own = self.latent_weights.get(name)
        return self.weight * (1.0 if own is None else number(own.value))

    def rate_loss(self, estimate, mean):
        """Returns the part of the loss that comes from the rate, a scalar in nats.

        Args:
            estimate: `Estimate` of a batch.
            mean: `BatchMean` of the batch.
        """
        return self.kl_weight.value * mean(self.weighted_rate(estimate))

    def distortion_loss(self, estimate, mean):
        """Returns the part of the loss that comes from the distortion, likewise."""
        return mean(estimate.distortion)

    def losses(self, estimate, mean):
        """Returns all terms of the loss: names to weighted scalars in nats.

        Args:
            estimate: `Estimate` of a batch.
            mean: `BatchMean` of the batch.
        """
        return {
            "distortion": self.distortion_loss(estimate, mean),
            "rate": self.rate_loss(estimate, mean),
        }

    def advance(self):
        """Advances all hyperparameters to the current training step."""
        for hyperparameter in _keras.sublayers(self, Hyperparameter):
            hyperparameter.advance()

    def control(self, estimate, mean):
        """Adapts the objective's state after a training step; a no-op here.

        Args:
            estimate: `Estimate` of the step's batch.
            mean: `BatchMean` of the batch.
        """

    def check_latents(self, names):
        """Checks that there are the latents that have weights of their own.

        Args:
            names: List of strings, the names of all latents.

        Raises:
            ValueError: If one is missing.
        """
        if unknown := [name for name in self.latent_weights if name not in names]:
            raise ValueError(
                f"`objective` must name latents of the model, of {list(names)}. "
                f"Received: weights or targets of {unknown}"
            )

    def belong_to(self, owner):
        """Records the model or layer that trains with this objective.

        Args:
            owner: `keras.Model` or `keras.layers.Layer`.

        Raises:
            ValueError: If the objective belongs to another owner.
        """
        if self._other_owner(owner) is not None:
            # The other owner may be unused and only wait for garbage collection.
            gc.collect()
        if (other := self._other_owner(owner)) is not None:
            kind = type(self).__name__
            raise ValueError(
                f"`objective` must not be shared: it belongs to {other.name!r}, and a "
                "change of its numbers would affect both owners. Make another one, for "
                f"example `{kind}.from_config(objective.get_config())`. "
                f"Received: objective={self!r}"
            )
        self._owner = weakref.ref(owner)

    def _other_owner(self, owner):
        before = self._owner and self._owner()
        return None if before is owner else before

    def __setattr__(self, name, value):
        before = vars(self).get(name)
        if self._is_traced and isinstance(before, int | float | str):
            # Further attributes of a user's class need not be part of the step.
            if name.removesuffix("_target") in self.get_config():
                raise ValueError(
                    f"`{name}` is a constant of the traced training step and can no "
                    f"longer change: make another {type(self).__name__} and model. "
                    f"Received: {name}={value!r}"
                )
        super().__setattr__(name, value)

    def get_config(self):
        """Returns the config; `from_config` makes an equal layer from it."""
        weights = {n: w.initial_value for n, w in self.latent_weights.items()}
        return {
            **super().get_config(),
            "kl_weight": self.kl_weight.initial_value,
            "kl": self.kl,
            "num_samples": self.num_samples,
            **({"latent_weights": weights} if weights else {}),
        }


def check_kl_weight(kl_weight):
    """Returns `kl_weight` as a float; raises ValueError if it is not a valid weight."""
    if callable(kl_weight) and not hasattr(kl_weight, "__float__"):
        raise ValueError(
            "`kl_weight` must be a number. To schedule it during training pass "
            "`keras_vae.KLAnnealing(schedule)` to `fit(callbacks=[...])`. "
            f"Received: kl_weight={kl_weight!r}"
        )
    return check_number("kl_weight", kl_weight)

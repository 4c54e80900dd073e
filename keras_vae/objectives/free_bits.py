"""An objective with a rate floor below which the rate costs nothing extra."""

import keras
import tensorflow as tf

from keras_vae.arguments import check_count
from keras_vae.arguments import check_number
from keras_vae.hyperparameter import Hyperparameter
from keras_vae.objectives.elbo import ELBO

OVER = ("batch", "example")
LATENT = "latent"


@keras.saving.register_keras_serializable("keras_vae")
class FreeBits(ELBO):
    """Distortion plus rate, where each unit has some nats for free.

    With `over="batch"`, Kingma et al.: `loss = distortion + sum_j max(nats, mean_x
    KL_j)`, where j runs over groups of `group_size` neighbouring units. With
    `over="example"`, the variant of text models: `mean_x sum_j max(nats, KL_j)`. It
    stops the gradient of each example separately and keeps the rate higher.

    `nats` is a hyperparameter. The bits are free in the first 1,000 steps alone with
    `HyperparameterScheduler("nats", schedules.piecewise([1000], [0.25, 0.0]))`.

    Args:
        nats: Non-negative float, lambda in the paper, nats per group.
        over: "batch" or "example".
        group_size: Positive integer that divides the number of units of each latent
            variable, or "latent": all units of one are a group, which is a level of a
            hierarchy.
        **kwargs: See `ELBO`; `kl` must be "analytic".

    Raises:
        ValueError: If an argument is invalid, or with the first batch if `group_size`
            leaves a rest.

    Example:
    >>> kv.objectives.FreeBits(nats=0.25).nats.initial_value
    0.25

    Reference:
        [Improving Variational Inference with Inverse Autoregressive Flow](
        https://arxiv.org/abs/1606.04934)
    """

    def __init__(self, nats=0.25, over="batch", group_size=1, **kwargs):
        super().__init__(**kwargs)
        if over not in OVER:
            raise ValueError(f"`over` must be one of {OVER}. Received: over={over!r}")
        if self.kl != "analytic":
            raise ValueError(
                '`kl` must be "analytic": a floor for each unit needs the closed form '
                f"of its KL. Received: kl={self.kl!r}"
            )
        self.nats = Hyperparameter(
            check_number("nats", nats), name="nats", dtype=self.dtype_policy
        )
        self.over = over
        if group_size != LATENT:
            group_size = check_count("group_size", group_size)
        self.group_size = group_size

    def rate_loss(self, estimate, mean):
        """See `ELBO.rate_loss`."""
        groups = [self._groups(latent) for latent in estimate.latents]
        rates = tf.concat(groups, axis=1)
        if self.over == "batch":
            floored = tf.maximum(self.nats.value, mean.over_replicas(rates))
        else:
            floored = mean(tf.maximum(self.nats.value, rates))
        if self.latent_weights:
            pairs = zip(estimate.latents, groups, strict=True)
            weights = [[self.weight_of(v)] * part.shape[1] for v, part in pairs]
            floored *= tf.stack([weight for part in weights for weight in part])
        return self.kl_weight.value * tf.reduce_sum(floored)

    def _groups(self, latent):
        """Returns the rate of each group of a latent, (batch, groups)."""
        if self.group_size == LATENT:
            return latent.rate()[:, None]
        units = latent.rate_per_unit
        groups, rest = divmod(units.shape[1], self.group_size)
        if rest:
            raise ValueError(
                "`group_size` must divide the units of each latent. Received: "
                f"group_size={self.group_size}, and {units.shape[1]} units"
                + (f" of {latent.name}" if latent.name else "")
            )
        groups = tf.reshape(units, [-1, groups, self.group_size])
        return tf.reduce_sum(groups, axis=2)

    def get_config(self):
        """Returns the config; `from_config` makes an equal layer from it."""
        return {
            **super().get_config(),
            "nats": self.nats.initial_value,
            "over": self.over,
            "group_size": self.group_size,
        }

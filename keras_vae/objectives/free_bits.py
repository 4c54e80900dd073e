"""An objective with a rate floor below which the rate costs nothing extra."""

import keras
import tensorflow as tf

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
        group_size: Integer that divides the number of units, or "latent": all units of
            a latent variable are one group, which is a level of a hierarchy.
        **kwargs: See `ELBO`; `kl` must be "analytic".

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
            group_size = int(check_number("group_size", group_size, positive=True))
        self.group_size = group_size

    def rate_loss(self, estimate, mean):
        """See `ELBO.rate_loss`."""
        rates = self._rates(estimate)
        if self.over == "batch":
            floored = tf.maximum(self.nats.value, mean.over_replicas(rates))
        else:
            floored = mean(tf.maximum(self.nats.value, rates))
        if self.latent_weights:
            floored *= self._weights(estimate)
        return self.kl_weight.value * tf.reduce_sum(floored)

    def _weights(self, estimate):
        """Returns the weight of each group, that of its latent."""
        found = []
        for latent in estimate.latents:
            groups = 1
            if self.group_size != LATENT:
                groups, rest = divmod(latent.z.shape[-1], self.group_size)
                if rest:
                    raise ValueError(
                        "`group_size` must divide the units of each latent where these "
                        f"have weights. Received: group_size={self.group_size}, and "
                        f"{latent.z.shape[-1]} units of {latent.name}"
                    )
            found += [self.weight_of(latent)] * groups
        return tf.stack(found)

    def _rates(self, estimate):
        """Returns the rate of each group, (batch, groups)."""
        if self.group_size == LATENT:
            return tf.stack([latent.rate() for latent in estimate.latents], axis=1)
        units = estimate.rate_per_unit
        groups = tf.reshape(
            units, [-1, units.shape[1] // self.group_size, self.group_size]
        )
        return tf.reduce_sum(groups, axis=2)

    def get_config(self):
        """Returns the config; `from_config` makes an equal layer from it."""
        return {
            **super().get_config(),
            "nats": self.nats.initial_value,
            "over": self.over,
            "group_size": self.group_size,
        }

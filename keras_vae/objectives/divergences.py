"""Divergences between posterior and prior other than the KL."""

import keras
import tensorflow as tf

from keras_vae.arguments import check_number
from keras_vae.objectives.elbo import ELBO

KERNELS = ("rbf", "imq")
# Scales of the inverse multiquadratic kernels that are summed.
IMQ_SCALES = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0)


@keras.saving.register_keras_serializable("keras_vae")
class MaximumMeanDiscrepancy(ELBO):
    """Distortion plus rate plus the MMD between aggregate posterior and prior.

    `loss = distortion + kl_weight KL + mmd_weight MMD(q(z), p(z))`. InfoVAE of
    Zhao et al. is `kl_weight = 1 - alpha`, `mmd_weight = alpha + lambda - 1`; WAE-MMD,
    algorithm 2 of Tolstikhin et al., is `kl_weight = 0`; `mmd_weight = 0` gives the
    ELBO exactly.

    The MMD is the unbiased estimate over the pairs of a batch, separately on each
    replica. An example with `sample_weight` w counts w times.

    Args:
        mmd_weight: Non-negative float.
        kernel: "rbf", `exp(-r^2 / (2 d scale^2))`, or "imq", the sum over s of `2 d s
            scale^2 / (2 d s scale^2 + r^2)`, s in (.1, .2, .5, 1, 2, 5, 10), where d
            is the number of units.
        scale: Positive float, scale of the prior.
        **kwargs: See `ELBO`.

    Example:
    >>> wae = kv.objectives.MaximumMeanDiscrepancy(mmd_weight=10.0, kl_weight=0.0)

    References:
        [InfoVAE](https://arxiv.org/abs/1706.02262);
        [Wasserstein Auto-Encoders](https://arxiv.org/abs/1711.01558)
    """

    needs_prior_samples = True
    weighs_latents = False

    def __init__(self, mmd_weight=10.0, kernel="imq", scale=1.0, **kwargs):
        super().__init__(**kwargs)
        if kernel not in KERNELS:
            raise ValueError(
                f"`kernel` must be one of {KERNELS}. Received: kernel={kernel!r}"
            )
        self.mmd_weight = check_number("mmd_weight", mmd_weight)
        self.kernel = kernel
        self.scale = check_number("scale", scale, positive=True)

    def losses(self, estimate, mean):
        """See `ELBO.losses`."""
        z = tf.cast(estimate.z[:, 0], tf.float32)
        discrepancy = mmd(z, estimate.prior_z, self._kernel, mean.weights)
        return {
            **super().losses(estimate, mean),
            "mmd": self.mmd_weight * discrepancy,
        }

    def _kernel(self, a, b):
        difference = a[:, None] - b[None]
        distance = tf.reduce_sum(difference**2, axis=2)
        unit = 2.0 * a.shape[1] * self.scale**2
        if self.kernel == "rbf":
            return tf.exp(-distance / unit)
        return tf.add_n([s * unit / (s * unit + distance) for s in IMQ_SCALES])

    def get_config(self):
        """Returns the config; `from_config` makes an equal layer from it."""
        return {
            **super().get_config(),
            "mmd_weight": self.mmd_weight,
            "kernel": self.kernel,
            "scale": self.scale,
        }


def mmd(a, b, kernel, weights=None):
    """Estimates the squared maximum mean discrepancy without bias, Gretton et al.

    Args:
        a: Tensor of shape (n, d).
        b: Tensor of shape (n, d).
        kernel: Callable, two tensors of shape (n, d) -> (n, n).
        weights: Tensor of shape (n,), the weights of the rows of a and of b, or None.

    Returns:
        Float32 scalar; 0 if fewer than two rows have a weight.
    """
    weights = tf.ones(tf.shape(a)[:1]) if weights is None else weights
    pairs = weights[:, None] * weights[None]
    others = tf.linalg.set_diag(pairs, tf.zeros_like(weights))

    def average(kernels, pairs):
        return tf.math.divide_no_nan(
            tf.reduce_sum(pairs * kernels), tf.reduce_sum(pairs)
        )

    within = average(kernel(a, a), others) + average(kernel(b, b), others)
    # One row alone has no pairs, so no discrepancy can be estimated.
    return tf.where(
        tf.reduce_sum(others) > 0, within - 2.0 * average(kernel(a, b), pairs), 0.0
    )


@keras.saving.register_keras_serializable("keras_vae")
class SkewJensenShannon(ELBO):
    """Distortion plus a skew geometric Jensen-Shannon divergence instead of the KL.

    `loss = distortion + kl_weight ((1 - skew) KL(q || g) + skew KL(p || g))`, where the
    geometric mean g is proportional to q^skew p^(1 - skew), Deasy et al. `skew=0` gives
    KL(q || p), the ELBO exactly, and `skew=1` the reverse KL(p || q). `fit` still logs
    KL(q || p) as `kl_loss`.

    Args:
        skew: Float in [0, 1].
        **kwargs: See `ELBO`; posterior and prior must have independent normal units.

    Example:
    >>> kv.objectives.SkewJensenShannon(skew=0.3).skew
    0.3

    Reference:
        [Constraining Variational Inference with Geometric Jensen-Shannon Divergence](
        https://arxiv.org/abs/2006.10599)
    """

    weighs_latents = False

    def __init__(self, skew=0.5, **kwargs):
        super().__init__(**kwargs)
        self.skew = check_number("skew", skew)
        if self.skew > 1:
            raise ValueError(f"`skew` must be in [0, 1]. Received: skew={skew}")

    def rate_loss(self, estimate, mean):
        """See `ELBO.rate_loss`."""
        if self.skew == 0.0:
            return super().rate_loss(estimate, mean)
        return self.kl_weight.value * mean(self.divergence(estimate))

    def divergence(self, estimate):
        """Returns the divergence of each example, shape (batch,), nats."""
        q, p = _units(estimate.posterior), _units(estimate.prior)
        precision = self.skew / q.variance() + (1.0 - self.skew) / p.variance()
        weighted = (
            self.skew * q.mean() / q.variance()
            + (1.0 - self.skew) * p.mean() / p.variance()
        )
        middle = type(q)(weighted / precision, tf.math.rsqrt(precision))
        forward = (1.0 - self.skew) * q.kl_divergence(middle)
        return tf.reduce_sum(forward + self.skew * p.kl_divergence(middle), axis=1)

    def get_config(self):
        """Returns the config; `from_config` makes an equal layer from it."""
        return {**super().get_config(), "skew": self.skew}


def _units(distribution):
    units = getattr(distribution, "distribution", None)
    if units is None or type(units).__name__ != "Normal":
        raise ValueError(
            "`posterior` and `prior` must have independent normal units for the skew "
            'divergence, such as "diagonal_normal" and "standard_normal". '
            f"Received: {distribution}"
        )
    return units

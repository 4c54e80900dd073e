"""Penalties on the dependence of the latents in the aggregate posterior."""

import keras
import tensorflow as tf

from keras_vae.arguments import check_number
from keras_vae.objectives.elbo import ELBO

SAMPLING = ("weighted", "stratified")


@keras.saving.register_keras_serializable("keras_vae")
class TotalCorrelation(ELBO):
    """Negative ELBO with a further weight on the total correlation: beta-TCVAE.

    Chen et al. decompose `E KL = MI + TC + sum_j KL(q(z_j) || p(z_j))`. Here
    `tc_weight`, their beta, weights the total correlation `TC = KL(q(z) || prod_j
    q(z_j))`: `loss = distortion + kl_weight (KL + (tc_weight - 1) TC)`. At
    `tc_weight=1` it is the ELBO exactly.

    q(z) is estimated from the batch by minibatch-weighted or -stratified sampling.
    Weighted sampling is biased by a constant, which does not affect the gradient;
    stratified sampling is not biased. Both need large batches and a posterior with
    independent latents. Each replica estimates q(z) from its own examples. An example
    counts in q(z) by its `sample_weight`.

    Args:
        dataset_size: Integer, number of training examples, N in the paper.
        tc_weight: Non-negative float, beta in the paper.
        sampling: "weighted" or "stratified".
        **kwargs: See `ELBO`.

    Example:
    >>> kv.objectives.TotalCorrelation(dataset_size=60000, tc_weight=6.0).tc_weight
    6.0

    Reference:
        [Isolating Sources of Disentanglement in VAEs](https://arxiv.org/abs/1802.04942)
    """

    weighs_latents = False

    def __init__(self, dataset_size, tc_weight=6.0, sampling="weighted", **kwargs):
        super().__init__(**kwargs)
        if sampling not in SAMPLING:
            raise ValueError(
                f"`sampling` must be one of {SAMPLING}. Received: sampling={sampling!r}"
            )
        self.dataset_size = check_number("dataset_size", dataset_size, positive=True)
        self.tc_weight = check_number("tc_weight", tc_weight)
        self.sampling = sampling

    def rate_loss(self, estimate, mean):
        """See `ELBO.rate_loss`."""
        # At weight 1 even the rounding equals the ELBO's.
        if self.tc_weight == 1.0:
            return super().rate_loss(estimate, mean)
        log_joint, log_marginals = log_aggregate_posterior(
            estimate.posterior,
            tf.cast(estimate.z[:, 0], tf.float32),
            self.dataset_size,
            self.sampling,
            mean.weights,
        )
        total_correlation = log_joint - tf.reduce_sum(log_marginals, axis=1)
        rate = self.rate(estimate) + (self.tc_weight - 1.0) * total_correlation
        return self.kl_weight.value * mean(rate)

    def get_config(self):
        """Returns the config; `from_config` makes an equal layer from it."""
        return {
            **super().get_config(),
            "dataset_size": self.dataset_size,
            "tc_weight": self.tc_weight,
            "sampling": self.sampling,
        }


def log_aggregate_posterior(
    posterior, z, dataset_size, sampling="weighted", sample_weight=None
):
    """Estimates log q(z) and log q(z_j) of each unit from one batch.

    `log q(z_i) = logsumexp_k (log q(z_i|x_k) + log w_ik)`, Chen et al., for a batch of
    M examples. Weighted sampling has w_ik = 1 / (N M). Stratified sampling has w_ii = 1
    / N, one other w_ik = (N - M + 1) / (N (M - 1)), and all remaining w_ik = 1 / (M -
    1).

    Args:
        posterior: `tfd.Independent(tfd.Normal)` of batch shape (batch,).
        z: Tensor of shape (batch, latent), z_i drawn from q(z|x_i).
        dataset_size: Number of examples, N.
        sampling: "weighted" or "stratified".
        sample_weight: Tensor of shape (batch,), or None for weights of 1. Examples of
            weight 0 are left out, also of M.

    Returns:
        Float32 tensors of shapes (batch,) and (batch, latent), nats.

    Raises:
        ValueError: If the latents of the posterior are not independent.
    """
    units = getattr(posterior, "distribution", None)
    if units is None:
        raise ValueError(
            "`posterior` must have independent latents for its total correlation, such "
            f'as posterior="diagonal_normal". Received: posterior={posterior}'
        )
    log_densities = units.log_prob(z[:, None])
    weights = tf.ones_like(z[:, 0])
    if sample_weight is not None:
        weights = tf.cast(sample_weight, tf.float32)
    size = tf.reduce_sum(tf.cast(weights > 0, tf.float32))
    if sampling == "weighted":
        log_weights = -tf.math.log(dataset_size * size)[None, None]
    else:
        log_weights = _stratified_log_weights(weights > 0, dataset_size)
    # A weight counts beside the mean of those that are there.
    shares = tf.math.divide_no_nan(weights * size, tf.reduce_sum(weights))
    log_weights += tf.math.log(shares)
    joint = tf.reduce_sum(log_densities, axis=2) + log_weights
    marginals = log_densities + log_weights[:, :, None]
    return tf.reduce_logsumexp(joint, axis=1), tf.reduce_logsumexp(marginals, axis=1)


def _stratified_log_weights(is_there, dataset_size):
    """Returns log w_ik among the examples that are there, (batch, batch)."""
    size = tf.reduce_sum(tf.cast(is_there, tf.int32))
    others = tf.maximum(tf.cast(size, tf.float32) - 1.0, 1.0)
    remainder = tf.maximum(dataset_size - others, 0.0) / (dataset_size * others)
    place = tf.cumsum(tf.cast(is_there, tf.int32)) - 1
    # The next example of the batch represents all examples outside the batch.
    following = place == tf.math.floormod(place[:, None] + 1, tf.maximum(size, 1))
    weights = tf.where(following, remainder, 1.0 / others)
    own = tf.fill(tf.shape(place), 1.0 / dataset_size)
    return tf.math.log(tf.linalg.set_diag(weights, own))


KINDS = ("i", "ii")


@keras.saving.register_keras_serializable("keras_vae")
class DisentangledInferredPrior(ELBO):
    """Negative ELBO with a penalty on the covariance of the latents: DIP-VAE.

        penalty = off_diagonal sum_{j != k} C_jk^2 + diagonal sum_j (C_jj - 1)^2

    by Kumar et al. For `kind="i"`, C is the covariance over x of the posterior mean.
    For `kind="ii"`, C is the covariance of z, which adds the mean posterior variance.
    The weights are lambda_od and lambda_d; both at 0 give the ELBO exactly.

    Args:
        kind: "i" or "ii".
        off_diagonal: Non-negative float, lambda_od.
        diagonal: Non-negative float, lambda_d, or None for the authors' ratio to
            `off_diagonal`: 10 for "i", 1 for "ii".
        **kwargs: See `ELBO`.

    Example:
    >>> kv.objectives.DisentangledInferredPrior("i", off_diagonal=2.0).diagonal
    20.0

    Reference:
        [Variational Inference of Disentangled Latent Concepts from Unlabeled
        Observations](https://arxiv.org/abs/1711.00848)
    """

    weighs_latents = False

    def __init__(self, kind="ii", off_diagonal=5.0, diagonal=None, **kwargs):
        super().__init__(**kwargs)
        if kind not in KINDS:
            raise ValueError(f"`kind` must be one of {KINDS}. Received: kind={kind!r}")
        self.kind = kind
        self.off_diagonal = check_number("off_diagonal", off_diagonal)
        if diagonal is None:
            diagonal = self.off_diagonal * (10.0 if kind == "i" else 1.0)
        self.diagonal = check_number("diagonal", diagonal)

    def rate_loss(self, estimate, mean):
        """See `ELBO.rate_loss`."""
        return super().rate_loss(estimate, mean) + self.penalty(estimate, mean)

    def penalty(self, estimate, mean):
        """Returns the penalty of a batch, a scalar, equal on all replicas."""
        means = estimate.posterior.mean()
        centred = means - mean.over_replicas(means)
        covariance = mean.over_replicas(centred[:, :, None] * centred[:, None])
        if self.kind == "ii":
            variances = mean.over_replicas(estimate.posterior.variance())
            covariance += tf.linalg.diag(variances)
        diagonal = tf.linalg.diag_part(covariance)
        off_diagonal = covariance - tf.linalg.diag(diagonal)
        return self.off_diagonal * tf.reduce_sum(
            off_diagonal**2
        ) + self.diagonal * tf.reduce_sum((diagonal - 1.0) ** 2)

    def get_config(self):
        """Returns the config; `from_config` makes an equal layer from it."""
        return {
            **super().get_config(),
            "kind": self.kind,
            "off_diagonal": self.off_diagonal,
            "diagonal": self.diagonal,
        }

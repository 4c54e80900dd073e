"""Selects the observed elements of a batch's target and scores them."""

import math

import tensorflow as tf

from keras_vae import _keras
from keras_vae.distributions import masks
from keras_vae.objectives import BatchMean


def mask_of(decoded, encoded, target):
    """Returns the mask of a target, combined from all masks that Keras carries.

    Args:
        decoded: Mask of the decoder's output (batch, ...), or None.
        encoded: Mask of the encoder's features (batch, ...), or None. It applies if its
            shape equals the leading axes of the target: the features of a sequence then
            mark its padding.
        target: Tensor (batch, *event_shape), with or without a mask.

    Returns:
        A boolean tensor with some of the leading axes of `target`, or None.
    """
    if encoded is not None:
        rank = encoded.shape.rank
        if rank < 2 or not encoded.shape.is_compatible_with(target.shape[:rank]):
            encoded = None
    mask = None
    for other in (decoded, encoded, _keras.mask_of(target)):
        mask = masks.both(mask, None if other is None else tf.cast(other, tf.bool))
    return mask


def mask_of_outputs(outputs, target):
    """Returns the same mask from the outputs of a `VAE` and a target."""
    decoded = _keras.mask_of(outputs["likelihood"])
    if decoded is not None:
        # Whether an element is observed does not depend on the draw.
        decoded = tf.reduce_all(tf.cast(decoded, tf.bool), axis=1)
    return mask_of(decoded, _keras.mask_of(outputs["posterior"]), target)


def as_keras_compares(means, mask, sample_weight):
    """Returns masked means, and weights of the mask's rank, for Keras's metrics.

    Args:
        means: Tensor (batch, *event_shape) that the metrics compare with the target.
        mask: Boolean tensor (batch, ...), or None.
        sample_weight: Tensor (batch,) or (batch, 1), or None.
    """
    if mask is not None and sample_weight is not None:
        axes = [-1, *[1] * (mask.shape.rank - 1)]
        sample_weight = tf.reshape(sample_weight, axes)
    return _keras.with_mask(means, mask), sample_weight


def by_samples(params, z):
    """Splits the decoder's batch axis into axes of examples and samples.

    Args:
        params: Float tensor (batch * samples, ...), with or without a mask.
        z: Tensor (batch, samples, latent), the decoder's input.

    Returns:
        A float32 tensor (batch, samples, ...), with its mask split likewise.
    """
    mask, samples = _keras.mask_of(params), z.shape[1]
    both_axes = [tf.shape(z)[0], samples]
    params = tf.cast(params, tf.float32)
    params = tf.reshape(params, tf.concat([both_axes, params.shape[1:]], axis=0))
    params = tf.ensure_shape(params, [z.shape[0], samples, *params.shape[2:]])
    if mask is not None:
        mask = tf.reshape(mask, tf.concat([both_axes, tf.shape(mask)[1:]], axis=0))
    return _keras.with_mask(params, mask)


def score(likelihood, outputs, target, event_shape, mean=None, training=False):
    """Scores the observed elements of a batch.

    Args:
        likelihood: `Likelihood`.
        outputs: Dict, the outputs of a `VAE`.
        target: Tensor (batch, *event_shape).
        event_shape: Tuple of integers.
        mean: `BatchMean` of the batch, or None for the plain mean.
        training: Boolean, see `Likelihood.log_prob`.

    Returns:
        A dict of the arguments `log_likelihood` and `event_size` of an `Estimate`.
    """
    size, options = math.prod(event_shape), {}
    mask = mask_of_outputs(outputs, target)
    if mask is not None:
        options["mask"] = mask = masks.event_mask(mask, tf.convert_to_tensor(target))
        share = mean or BatchMean(tf.shape(mask)[0])
        size *= share.over_replicas(masks.observed_share(mask))
    log_likelihood = likelihood.log_prob(
        outputs["likelihood"], target, mean=mean, training=training, **options
    )
    return {"log_likelihood": log_likelihood, "event_size": size}

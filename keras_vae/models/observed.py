"""Selects the observed elements of a batch's target and scores them."""

import math

import tensorflow as tf

from keras_vae import _keras
from keras_vae import checks
from keras_vae.arguments import NAN_IS_MISSING
from keras_vae.distributions import masks
from keras_vae.objectives import BatchMean

PADDING = "padding"
MISSING = (None, *NAN_IS_MISSING, PADDING)


def check_missing(missing):
    """Returns `missing`; raises ValueError if a `VAE` knows no such value."""
    if missing not in MISSING:
        raise ValueError(
            "`missing` must be None, 'nan', 'nan_with_mask' or 'padding'. Received: "
            f"missing={missing!r}"
        )
    return missing


def marked(target, missing):
    """Returns a target whose mask leaves out its missing elements.

    Args:
        target: Tensor (batch, *event_shape), with or without a mask.
        missing: See `VAE`; with None the target stays as it is.
    """
    if missing is None:
        return target
    known = target != 0 if missing == PADDING else _is_known(target)
    mask = masks.both(_keras.mask_of(target), known)
    return _keras.with_mask(tf.identity(target), mask)


def seen(x, missing, origin):
    """Returns what an encoder sees of inputs with missing elements.

    Args:
        x: Tensor (batch, ...), or a structure of tensors.
        missing: See `VAE`; with None or "padding" the inputs stay as they are.
        origin: Float or array, what stands in for a missing element.

    Returns:
        Tensors of the same shape, with "nan_with_mask" with twice the last axis.
    """
    if missing not in NAN_IS_MISSING:
        return x

    def fill(part):
        part, mask = tf.convert_to_tensor(part), _is_known(part)
        if part.dtype.is_floating:
            part = tf.where(mask, part, tf.cast(origin, part.dtype))
        if missing == "nan_with_mask":
            part = tf.concat([part, tf.cast(mask, part.dtype)], axis=-1)
        return part

    return tf.nest.map_structure(fill, x)


def seen_shape(shape, missing):
    """Returns the shape of what an encoder sees of inputs of a shape, see `seen`."""
    if missing != "nan_with_mask":
        return shape
    if checks.is_shape(shape):
        return (*shape[:-1], None if shape[-1] is None else 2 * shape[-1])
    parts = shape.items() if isinstance(shape, dict) else enumerate(shape)
    parts = {name: seen_shape(part, missing) for name, part in parts}
    return parts if isinstance(shape, dict) else type(shape)(parts.values())


def _is_known(x):
    x = tf.convert_to_tensor(x)
    if not x.dtype.is_floating:
        return tf.ones_like(x, tf.bool)
    return ~tf.math.is_nan(x)


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
    # Of several latents the first one has the mask of the features.
    posterior = next(iter(tf.nest.flatten(outputs["posterior"])))
    return mask_of(decoded, _keras.mask_of(posterior), target)


def as_keras_compares(target, means, mask, sample_weight, missing):
    """Returns what Keras's metrics compare: target, masked means, and weights.

    The weights have the rank of the mask. With missing elements each element has an
    axis of its own, over which a metric takes its mean, because the mask of a metric
    has no last axis.

    Args:
        target: Tensor (batch, *event_shape).
        means: Tensor (batch, *event_shape) that the metrics compare with the target.
        mask: Boolean tensor (batch, ...), or None.
        sample_weight: Tensor (batch,) or (batch, 1), or None.
        missing: See `VAE`.
    """
    if missing is not None:
        mask = masks.event_mask(mask, target)
        # A metric multiplies by the mask what it finds at elements left out.
        target = tf.where(mask, tf.cast(target, means.dtype), means)[..., None]
        means = means[..., None]
    if mask is not None and sample_weight is not None:
        axes = [-1, *[1] * (mask.shape.rank - 1)]
        sample_weight = tf.reshape(sample_weight, axes)
    return target, _keras.with_mask(means, mask), sample_weight


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
    shape = [z.shape[0], samples, *params.shape[1:]]
    params = tf.cast(params, tf.float32)
    params = tf.reshape(params, tf.concat([both_axes, tf.shape(params)[1:]], axis=0))
    params = tf.ensure_shape(params, shape)
    if mask is not None:
        mask = tf.reshape(mask, tf.concat([both_axes, tf.shape(mask)[1:]], axis=0))
    return _keras.with_mask(params, mask)


def score(likelihood, outputs, target, event_shape, mean=None, training=False):
    """Scores the observed elements of a batch.

    Args:
        likelihood: `Likelihood`.
        outputs: Dict, the outputs of a `VAE`.
        target: Tensor (batch, *event_shape).
        event_shape: Tuple of integers, None for an axis that differs by batch.
        mean: `BatchMean` of the batch, or None for the plain mean.
        training: Boolean, see `Likelihood.log_prob`.

    Returns:
        A dict of the arguments `log_likelihood` and `event_size` of an `Estimate`.
    """
    is_known, options = None not in event_shape, {}
    whole = tf.cast(tf.reduce_prod(tf.shape(target)[1:]), tf.float32)
    size = math.prod(event_shape) if is_known else whole
    mask = mask_of_outputs(outputs, target)
    if mask is not None:
        options["mask"] = mask = masks.event_mask(mask, tf.convert_to_tensor(target))
        share = mean or BatchMean(tf.shape(mask)[0])
        if is_known:
            size *= share.over_replicas(masks.observed_share(mask))
        else:
            # The batches of replicas may differ in length.
            size = share.over_replicas(whole * masks.observed_share(mask))
    log_likelihood = likelihood.log_prob(
        outputs["likelihood"], target, mean=mean, training=training, **options
    )
    return {"log_likelihood": log_likelihood, "event_size": size}

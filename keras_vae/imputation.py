"""Missing elements, filled in by importance sampling."""

import numpy as np
import tensorflow as tf

from keras_vae import checks
from keras_vae import evaluation
from keras_vae import random
from keras_vae.arguments import NAN_IS_MISSING

# Streams of the noise, beside that of z.
_NOISE, _CHOICE, _CHANGE = 4, 5, 6


def impute(
    model,
    x,
    num_samples=1000,
    num_imputations=None,
    batch_size=None,
    seed=0,
    jit_compile="auto",
    verbose=0,
):
    """Fills in the missing elements of examples, given the others.

        E[x_mis | x_obs] = sum_k w_k E[x_mis | z_k],   z_k ~ q(z|x_obs),
        w_k ~ p(x_obs | z_k) p(z_k) / q(z_k | x_obs),   sum_k w_k = 1,

    equation 12 of Mattei and Frellsen (2019), where K is `num_samples`. The mean has
    the smallest squared error. Several imputations are draws of p(x_mis|x_obs), which
    spread as the data do: z by sampling-importance-resampling, of the same K draws, and
    x_mis from p(x|z).

    Args:
        model: `VAE` with `missing="nan"` or "nan_with_mask".
        x: Array of shape (N, *event_shape), NaN where an element is missing; a dict of
            it as "x" and of each condition where the model has some.
        num_samples: Integer, K, draws of z for each example.
        num_imputations: Integer, how many draws of the missing elements to return, or
            None for their mean.
        batch_size: See `keras_vae.evaluation.log_likelihood`.
        seed: Integer in [0, 2**31), or None to draw one. Equal seeds, and equal other
            arguments, give equal draws.
        jit_compile: Boolean, whether to use XLA, or "auto": where it is faster.
        verbose: 0 for no progress bar; "auto", 1 or 2 as in `keras.utils.Progbar`.

    Returns:
        Array of the shape and the floating type of x, whose other elements stay as they
        are; with `num_imputations` (num_imputations, N, *event_shape).

    Raises:
        ValueError: If the model has no `missing`, the data do not fit it, or an
            argument is out of range.

    Example:
    >>> vae = kv.VAE(
    ...     encoder=kv.networks.mlp_encoder([8]),
    ...     decoder=kv.networks.mlp_decoder([8], (3,)),
    ...     latent_dim=2,
    ...     likelihood="normal",
    ...     missing="nan",
    ... )
    >>> x = np.array([[1.0, np.nan, 3.0], [4.0, 5.0, 6.0]])
    >>> filled = vae.impute(x, num_samples=100)
    >>> bool(np.isfinite(filled).all()), filled[1].tolist()
    (True, [4.0, 5.0, 6.0])

    Reference:
        [MIWAE: Deep Generative Modelling and Imputation of Incomplete Data Sets](
        https://arxiv.org/abs/1812.02633)
    """
    data = _check(model, x)
    x = model.conditions.main(data)
    draws = 0 if num_imputations is None else num_imputations
    if num_imputations is not None:
        checks.check_count("num_imputations", num_imputations)
    settings = evaluation.BlockSettings(
        num_samples, batch_size, seed, jit_compile, verbose
    )
    gaps = np.isnan(x)
    rows = gaps.reshape(len(x), -1).any(axis=1)
    filled = np.repeat(x[None], max(draws, 1), axis=0)
    if rows.any():
        event = x.shape[1:]

        def start(size):
            total = tf.fill([size], -np.inf)
            return total, tf.zeros([size, *event]), tf.zeros([size, draws, *event])

        part = tf.nest.map_structure(lambda v: v[rows], data)
        found = evaluation.over_blocks(model, part, settings, _add, start)
        _, means, drawn = map(np.concatenate, zip(*found, strict=True))
        values = np.moveaxis(drawn, 1, 0) if draws else means[None]
        filled[:, rows] = np.where(gaps[rows], values, x[rows])
    return filled if draws else filled[0]


def _add(model, x, key, left, state, samples):
    """Adds a block of draws to sum of weights, mean and chosen draws."""
    total, mean, drawn = state
    x, condition = model.split(x)
    outputs = model.draw(x, samples, key, condition)
    params = outputs["likelihood"]
    log_weights = evaluation.log_weights(model.scored(outputs, x), left)
    block = tf.reduce_logsumexp(log_weights, axis=1)
    total = tf.reduce_logsumexp(tf.stack([total, block]), axis=0)
    share = tf.exp(block - total)
    new = _weighted_sum(tf.nn.softmax(log_weights), model.likelihood.mean(params))
    mean += _beside(share, mean) * (new - mean)
    if drawn.shape[1]:
        chosen = _chosen(log_weights, drawn.shape[1], random.fork(key, _CHOICE))
        new = tf.gather(params, chosen, axis=1, batch_dims=1)
        new = model.likelihood.sample(new, random.fork(key, _NOISE))
        changes = random.uniform(tf.shape(chosen), random.fork(key, _CHANGE))
        changes = _beside(changes < share[:, None], drawn)
        drawn = tf.where(changes, tf.cast(new, tf.float32), drawn)
    return total, mean, drawn


def _weighted_sum(weights, values):
    """Sums values (batch, samples, ...) over the samples."""
    return tf.reduce_sum(_beside(weights, values) * values, axis=1)


def _chosen(log_weights, number, key):
    """Returns places of draws, (batch, number), each drawn by the weights."""
    batch, samples = log_weights.shape
    noise = random.uniform((batch, number, samples), key)
    # The uniform draw includes 0.
    gumbel = -tf.math.log(-tf.math.log(noise + 2.0**-25))
    return tf.argmax(log_weights[:, None] + gumbel, axis=-1)


def _beside(values, others):
    """Returns values with further axes, so that they broadcast with others."""
    for _ in range(others.shape.rank - values.shape.rank):
        values = values[..., None]
    return values


def _check(model, x):
    """Returns x as an array of floats, or a dict of it and of conditions."""
    if model.missing not in NAN_IS_MISSING:
        raise ValueError(
            "`impute` needs a model that knows missing elements: make it with "
            f'`missing="nan"`. Received: {model.name!r} with missing={model.missing!r}'
        )
    if not hasattr(x, "__getitem__"):
        raise ValueError(
            "`x` must be an array. Received: a "
            f"{type(x).__name__}. Of a data set, pass one batch after the other."
        )
    checks.check_data(model, x)

    def array(value):
        value = np.asarray(checks.as_array(value))
        return value.astype("float32") if value.dtype.kind in "biu" else value

    given = tf.nest.map_structure(lambda v: np.asarray(checks.as_array(v)), x)
    if isinstance(given, dict):
        return {**given, "x": array(given["x"])}
    return array(given)

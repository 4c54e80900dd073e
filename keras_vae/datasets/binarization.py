"""Zeros and ones drawn from grey values, once or anew in each epoch."""

from collections.abc import Mapping

import numpy as np
import tensorflow as tf

from keras_vae import random
from keras_vae.arguments import check_count
from keras_vae.conditions import MAIN
from keras_vae.datasets.pipelines import steady

# Replica numbers that no machine has, so that these draws differ from the draws of a
# model with the same seed.
_STATIC, _SHUFFLE, _DYNAMIC = range(2**20, 2**20 + 3)


def binarize(x, seed=0):
    """Draws each value once from a Bernoulli with the value as its probability.

    Use it if the draw must stay the same, as for validation and test data.

    Args:
        x: Array of values in [0, 1], of any shape.
        seed: Integer in [0, 2**31). Defaults to 0.

    Returns:
        A float32 array of zeros and ones of the shape of `x`.

    Raises:
        ValueError: If `x` has values outside [0, 1] or `seed` is out of range.

    Example:
    >>> x = np.full((1000, 8), 0.25, "float32")
    >>> bool(abs(kv.datasets.binarize(x).mean() - 0.25) < 0.02)
    True
    """
    x = _probabilities(x)
    key = random.key(random.check_seed(seed), replica=_STATIC)
    return (random.uniform(x.shape, key).numpy() < x).astype("float32")


def dynamic_binarization(
    x, batch_size, seed=0, shuffle=True, drop_remainder=False, initial_epoch=0
):
    """Makes an input pipeline that binarizes anew in each epoch.

    Each value is drawn from a Bernoulli with the value as its probability, as in the
    training of Burda et al. (2016). The order and the draws of the e-th pass over the
    data set depend only on (seed, e).

    Args:
        x: Array of values in [0, 1] and shape (n, *event_shape), or a dict of it as "x"
            and of arrays (n, ...) that go along as they are.
        batch_size: Positive integer.
        seed: Integer in [0, 2**31). Defaults to 0.
        shuffle: Boolean, whether each epoch has its own order. Defaults to True.
        drop_remainder: Boolean, whether to leave out an incomplete last batch. Defaults
            to False.
        initial_epoch: Integer, the number of the first pass. A resumed run passes its
            number of finished epochs and then continues with the same draws as an
            uninterrupted run. Defaults to 0.

    Returns:
        A `tf.data.Dataset` of known length, with float32 batches (batch, *event_shape)
        of zeros and ones, or dicts with them. Use it as `fit(batches, shuffle=False)`,
        because Keras warns about its default `shuffle=True`.

    Raises:
        ValueError: If an argument is invalid.

    Example:
    >>> batches = kv.datasets.dynamic_binarization(np.full((5, 4), 0.5), batch_size=2)
    >>> [batch.shape for batch in batches.as_numpy_iterator()]
    [(2, 4), (2, 4), (1, 4)]

    References:
        Importance Weighted Autoencoders, https://arxiv.org/abs/1509.00519
    """
    x, others = _parts(x)
    seed = random.check_seed(seed)
    check_count("batch_size", batch_size)
    check_count("initial_epoch", initial_epoch, 0)
    num_examples = len(x) if x.ndim else 0
    num_batches = (
        num_examples // batch_size if drop_remainder else -(-num_examples // batch_size)
    )
    if num_batches == 0:
        raise ValueError(
            f"`x` must hold at least one example, or one batch with `drop_remainder`. "
            f"Received: x.shape={x.shape}, batch_size={batch_size}"
        )
    with tf.device("CPU"):
        x, others = tf.nest.map_structure(tf.constant, (x, others))
        passes = tf.Variable(initial_epoch, dtype=tf.int64, trainable=False)

    def next_pass(_):
        return passes.assign_add(1) - 1

    def batches(epoch):
        order = tf.range(num_examples)
        if shuffle:
            key = random.key(seed, epoch, _SHUFFLE)
            order = tf.argsort(random.uniform([num_examples], key), stable=True)

        def draw(batch):
            rows = order[batch * batch_size : (batch + 1) * batch_size]
            rows = tf.ensure_shape(rows, [batch_size if drop_remainder else None])
            probabilities = tf.gather(x, rows)
            key = random.key(seed, epoch * num_batches + batch, _DYNAMIC)
            noise = random.uniform(tf.shape(probabilities), key)
            values = tf.cast(noise < probabilities, tf.float32)
            return _beside(values, others, rows)

        return tf.data.Dataset.range(num_batches).map(draw, tf.data.AUTOTUNE)

    # The pass is counted inside the pipeline, because an iterator starts a pass.
    epochs = tf.data.Dataset.range(1).map(next_pass)
    length = tf.data.experimental.assert_cardinality(num_batches)
    return steady(epochs.flat_map(batches).apply(length).prefetch(tf.data.AUTOTUNE))


def _parts(x):
    """Returns the values, and a dict of what goes along."""
    if not isinstance(x, Mapping):
        return _probabilities(x), {}
    others = {name: value for name, value in x.items() if name != MAIN}
    return _probabilities(x[MAIN]), others


def _beside(values, others, rows):
    if not others:
        return values
    return {MAIN: values, **{n: tf.gather(v, rows) for n, v in others.items()}}


def _probabilities(x):
    x = np.asarray(x, "float32")
    # Written with `not`, so that NaN fails too.
    if not ((x >= 0) & (x <= 1)).all():
        raise ValueError(
            f"`x` must be in [0, 1] to be binarized. Received: values from {x.min()} "
            f"to {x.max()}. Divide 8-bit images by 255."
        )
    return x

"""The reduction of values per example to a scalar, in one place."""

import tensorflow as tf

from keras_vae import replicas


class BatchMean:
    """Weighted mean over the global batch: sum_i w_i v_i / sum_i w_i, all replicas.

    On replica r of R it returns R sum_{i in r} w_i v_i / sum_i w_i. Keras divides the
    losses of each replica by R and sums their gradients, which makes this the mean
    over the global batch, uneven and empty shards included.

    `weights` holds the weights of the examples, or None if all weights are 1.

    Args:
        batch_size: Integer or integer tensor, number of examples of this replica.
        sample_weight: Tensor of shape (batch,), or None for weights of 1.
        mask: Boolean tensor of shape (batch,) or None. The mean counts an example with
            a False mask as an example with value 0.

    Example:
    >>> mean = kv.objectives.BatchMean(3, sample_weight=tf.constant([1.0, 0.0, 3.0]))
    >>> float(mean(tf.constant([1.0, 7.0, 5.0])))
    4.0
    """

    def __init__(self, batch_size, sample_weight=None, mask=None):
        self.weights = None
        local = tf.cast(batch_size, tf.float32)
        if sample_weight is not None:
            self.weights = tf.cast(sample_weight, tf.float32)
            local = tf.reduce_sum(self.weights)
        if mask is not None:
            mask = tf.cast(mask, tf.float32)
            self.weights = mask if self.weights is None else mask * self.weights
        self._total = replicas.sum_over_replicas(local)
        self.replicas = float(replicas.num_replicas())

    @property
    def weight(self):
        """Weight of this mean in a `keras.metrics.Mean` on each replica."""
        return self._total / self.replicas

    def __call__(self, values):
        """Averages over the batch.

        Args:
            values: Tensor of shape (batch, ...).

        Returns:
            A float32 tensor of shape (...). A batch of total weight 0 gives 0.
        """
        values = tf.cast(values, tf.float32)
        if self.weights is not None:
            weights = tf.reshape(self.weights, [-1] + [1] * (values.shape.rank - 1))
            # An example of weight 0 is absent, even if its value is not finite.
            values = tf.math.multiply_no_nan(values, weights)
        total = self.replicas * tf.reduce_sum(values, axis=0)
        return tf.math.divide_no_nan(total, self._total)

    def over_replicas(self, values):
        """Averages over the global batch, with the same result on all replicas.

        Args:
            values: Tensor of shape (batch, ...).

        Returns:
            A float32 tensor of shape (...). Use it for functions that are not linear in
            the mean; its gradient is the gradient of `self(values)`.
        """
        return replicas.sum_over_replicas(self(values)) / self.replicas


def check_sample_weight(sample_weight):
    """Returns `sample_weight` with shape (batch,).

    Args:
        sample_weight: Tensor of shape (batch,) or (batch, 1), or None.

    Returns:
        A tensor of shape (batch,), or None.

    Raises:
        ValueError: If the shape does not give one weight per example.
    """
    if sample_weight is None:
        return None
    sample_weight = tf.convert_to_tensor(sample_weight)
    shape = sample_weight.shape
    if shape.rank == 1:
        return sample_weight
    if shape.rank == 2 and shape[1] == 1:
        return sample_weight[:, 0]
    raise ValueError(
        "`sample_weight` must hold one weight per example, shape (batch,): the terms "
        "of a VAE's loss are sums over an example's events and latents. "
        f"Received: sample_weight.shape={tuple(shape)}"
    )

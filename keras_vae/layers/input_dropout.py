"""Dropout of a decoder's inputs."""

import keras
import tensorflow as tf

from keras_vae import random


@keras.saving.register_keras_serializable("keras_vae")
class InputDropout(keras.layers.Layer):
    """Replaces whole positions of a decoder's input, so the decoder must rely on z.

    Word dropout of Bowman et al.: during training each position is replaced by
    `mask_value` with probability `rate`, their 1 - k. Unlike `keras.layers.Dropout` it
    drops a position with all its features, accepts integers and does not rescale.
    `rate=1` gives an inputless decoder. The noise depends on the seed and a saved count
    of steps, so a resumed run draws the same noise as an uninterrupted run.

    In front of a decoder that maps z to parameters it drops units of z.

    Args:
        rate: Float in [0, 1], the probability of replacing a position.
        mask_value: Number that replaces a position: the id of the unknown word, or 0.
        keep_values: List of numbers, ids that are never replaced, such as the ids of
            the start and of padding. Only for inputs of shape (batch, positions).
        seed: Integer or None, see `keras_vae.random.Noise`.

    Call arguments:
        inputs: Tensor of shape (batch, positions, ...): ids, embeddings, or z.
        training: Boolean.

    Returns:
        Tensor of the shape and dtype of `inputs`.

    Raises:
        ValueError: If an argument is out of range or the input has no positions.

    Example:
    >>> layer = kv.layers.InputDropout(1.0, mask_value=1, keep_values=[2], seed=0)
    >>> layer(np.array([[2, 7, 8]]), training=True).numpy()
    array([[2, 1, 1]])

    Reference:
        [Generating Sentences from a Continuous Space](
        https://arxiv.org/abs/1511.06349)
    """

    def __init__(self, rate, mask_value=0, keep_values=(), seed=None, **kwargs):
        super().__init__(**kwargs)
        if isinstance(rate, (bool, str)) or not 0 <= rate <= 1:
            raise ValueError(f"`rate` must be in [0, 1]. Received: rate={rate!r}")
        self.rate = float(rate)
        self.mask_value = mask_value
        self.keep_values = tuple(keep_values)
        self.noise = random.Noise(seed, name="noise", dtype=self.dtype_policy)
        self.supports_masking = True
        self.built = True

    def call(self, inputs, training=False):
        """See the class."""
        inputs = tf.convert_to_tensor(inputs)
        rank = inputs.shape.rank
        if rank < 2 or (self.keep_values and rank != 2):
            raise ValueError(
                "`inputs` must have shape (batch, positions, ...), or (batch, "
                "positions) if `keep_values` is given. Received: "
                f"inputs.shape={inputs.shape}, keep_values={self.keep_values}"
            )
        if not training or not self.rate:
            return inputs
        shape = tf.shape(inputs)[:2]
        kept = random.uniform(shape, self.noise.next_key()) >= self.rate
        for value in self.keep_values:
            kept |= tf.equal(inputs, tf.cast(value, inputs.dtype))
        kept = tf.reshape(kept, tf.concat([shape, [1] * (rank - 2)], axis=0))
        return tf.where(kept, inputs, tf.cast(self.mask_value, inputs.dtype))

    def compute_output_shape(self, inputs_shape):
        """Returns the shape of the input."""
        return inputs_shape

    def get_config(self):
        """Returns the config; `from_config` makes an equal layer from it."""
        return {
            **super().get_config(),
            "rate": self.rate,
            "mask_value": self.mask_value,
            "keep_values": list(self.keep_values),
            "seed": self.noise.seed,
        }

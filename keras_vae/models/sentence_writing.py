"""The loop that writes sentences word by word."""

import tensorflow as tf

from keras_vae import random
from keras_vae.datasets import vocabulary as ids_of

# Stream of the noise, beside that of z.
_NOISE = 4


def write(model, z, key, temperature, top_k, top_p):
    """Returns ids of sentences (batch, model.max_length), padded after their ends.

    Words come from softmax(logits / temperature), as the largest of `logits +
    temperature noise` with Gumbel's noise, so that temperature 0 takes the most
    probable word.

    Args:
        model: `SentenceVAE`.
        z: Tensor (batch, latent).
        key: Int64 tensor of shape (2,), see `keras_vae.random`.
        temperature: Float tensor of shape ().
        top_k: Integer tensor of shape (), from how many of the most probable words one
            is drawn, or None for all.
        top_p: Float tensor of shape (), the least probability that the words have from
            which one is drawn, the most probable first, or None for all.
    """
    decoder, length = model.decoder, model.max_length
    places = tf.range(length)
    words = tf.range(model.vocabulary.size)
    never = (words == ids_of.PADDING) | (words == ids_of.BEGIN)

    def choose(logits, place):
        logits = _kept(logits, temperature, top_k, top_p)
        # The decoder's own limit is finite, which a high temperature passes.
        logits = tf.where(never, -float("inf"), logits)
        noise_key = random.fork(key, _NOISE) + tf.stack([0, tf.cast(place, tf.int64)])
        noise = random.uniform(tf.shape(logits), noise_key)
        # The uniform draw includes 0.
        gumbel = -tf.math.log(-tf.math.log(noise + 2.0**-26))
        return tf.argmax(logits + temperature * gumbel, axis=-1, output_type=tf.int32)

    def next_word(place, words, last, state):
        logits, state = decoder.step(z, last, state)
        word = choose(logits, place)
        ended = (last == ids_of.END) | (last == ids_of.PADDING)
        word = tf.where(ended, ids_of.PADDING, word)
        words = tf.where(places == place, word[:, None], words)
        return place + 1, words, word, state

    def goes_on(place, words, last, state):
        return tf.reduce_any((last != ids_of.END) & (last != ids_of.PADDING))

    size = tf.shape(z)[0]
    first = tf.fill([size], ids_of.BEGIN)
    start = tf.constant(0), tf.zeros([size, length], tf.int32), first
    _, words, _, _ = tf.while_loop(
        goes_on,
        next_word,
        (*start, decoder.initial_state(z, z)),
        maximum_iterations=length,
    )
    return words


def _kept(logits, temperature, top_k, top_p):
    """Returns logits that are -inf for words that are not to be drawn."""
    if top_k is None and top_p is None:
        return logits
    ordered = tf.sort(logits, axis=-1, direction="DESCENDING")
    least = tf.constant(-float("inf"))
    if top_k is not None:
        place = tf.minimum(top_k, tf.shape(logits)[-1]) - 1
        least = tf.maximum(least, tf.gather(ordered, place, axis=-1))
    if top_p is not None:
        probs = tf.nn.softmax(ordered / tf.maximum(temperature, 1e-6))
        # The words before which less than `top_p` has come.
        count = tf.reduce_sum(
            tf.cast(tf.cumsum(probs, axis=-1, exclusive=True) < top_p, tf.int32), -1
        )
        place = tf.maximum(count, 1) - 1
        least = tf.maximum(least, tf.gather(ordered, place, axis=-1, batch_dims=1))
    return tf.where(logits >= least[..., None], logits, -float("inf"))

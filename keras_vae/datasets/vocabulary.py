"""Words as integers, and sentences as batches of them."""

import collections
import hashlib

import keras
import numpy as np
import tensorflow as tf

from keras_vae import random
from keras_vae.arguments import check_count
from keras_vae.datasets import text
from keras_vae.datasets.pipelines import steady

# Ids of what is no word of a text.
PADDING, UNKNOWN, BEGIN, END = range(4)
_SPECIAL = (text.PADDING, text.UNKNOWN, text.BEGIN, text.END)
_SHUFFLE = 3
# In files of weights.
_WORDS = "words"


@keras.saving.register_keras_serializable("keras_vae")
class Vocabulary(keras.layers.Layer):
    """Maps sentences to ids of their words, and ids to sentences.

    Id 0 is padding, 1 an unknown word, `<unk>`, 2 the begin and 3 the end of a
    sentence; the words follow. A `keras.layers.StringLookup` maps the words, so that a
    SavedModel that takes strings holds the vocabulary.

    Args:
        words: List of different strings without white space.

    Raises:
        ValueError: If `words` holds anything else.

    Example:
    >>> vocabulary = kv.datasets.Vocabulary.of(["a cat sat", "a dog sat"])
    >>> vocabulary.words
    ['a', 'sat', 'cat', 'dog']
    >>> ids = vocabulary.encode(["a bird sat", "yes"])
    >>> ids[..., 0].numpy()
    array([[4, 1, 5, 3],
           [1, 3, 0, 0]], dtype=int32)
    >>> vocabulary.decode(ids).numpy().tolist()
    [b'a <unk> sat', b'<unk>']
    """

    def __init__(self, words, **kwargs):
        # Files of weights know layers by their names.
        super().__init__(**{"name": "vocabulary", **kwargs})
        self.words = _checked(words)
        self._lookup = keras.layers.StringLookup(
            vocabulary=[text.BEGIN, text.END, *self.words],
            mask_token=text.PADDING,
            oov_token=text.UNKNOWN,
        )
        # Compiled steps take ids, so that XLA meets no string.
        self._lookup.supports_jit = True
        # A SavedModel takes no layer that is not built.
        self._lookup.build(None)
        self._saved = self._digest()
        self.built = True

    @classmethod
    def of(cls, sentences, max_words=None, min_count=1, **kwargs):
        """Makes the vocabulary of sentences, frequent words first.

        Args:
            sentences: List, array or tensor of strings.
            max_words: Integer, the most words, or None for all.
            min_count: Integer, how often a word must occur. Others are unknown.
            **kwargs: See `Vocabulary`.

        Returns:
            A `Vocabulary`; words that are equally frequent come in the order of their
            characters.

        Raises:
            ValueError: If an argument is invalid, or no word is left.
        """
        check_count("min_count", min_count)
        if max_words is not None:
            check_count("max_words", max_words)
        sentences = text.plain(sentences)
        counts = collections.Counter(word for x in sentences for word in x.split())
        counts.pop(text.UNKNOWN, None)
        frequent = [word for word, number in counts.items() if number >= min_count]
        if not frequent:
            raise ValueError(
                "`sentences` must hold a word that occurs `min_count` times, other "
                f"than {text.UNKNOWN}. Received: {len(sentences)} sentences, "
                f"min_count={min_count}"
            )
        frequent.sort(key=lambda word: (-counts[word], word))
        return cls(frequent[:max_words], **kwargs)

    @property
    def size(self):
        """The number of ids, those of padding, unknown words, begin and end too."""
        return len(_SPECIAL) + len(self.words)

    def encode(self, sentences):
        """Returns the ids of sentences, each with its end, and padded.

        Args:
            sentences: Strings (batch,).

        Returns:
            An int32 tensor (batch, words, 1), as long as the longest sentence.
        """
        return self._ids(sentences).to_tensor()[..., None]

    def _ids(self, sentences):
        """Returns the ids of sentences, a ragged int32 tensor (batch, None)."""
        if not tf.is_tensor(sentences) or hasattr(sentences, "numpy"):
            # A graph splits at white space of ASCII alone.
            sentences = tf.constant(text.plain(sentences), tf.string)
        words = tf.strings.split(sentences)
        flat = tf.cast(self._lookup(words.flat_values), tf.int32)
        # A graph cannot refuse what is written like the begin or the end.
        flat = tf.where((flat == BEGIN) | (flat == END), UNKNOWN, flat)
        ids = words.with_flat_values(flat)
        ends = tf.fill([ids.nrows(), 1], END)
        return tf.concat([ids, tf.cast(ends, tf.int32)], axis=1)

    def decode(self, ids):
        """Returns sentences, each up to its end.

        Args:
            ids: Integer tensor (batch, words) or (batch, words, 1).

        Returns:
            A tensor of strings (batch,), words separated by single spaces.
        """
        ids = tf.cast(ids, tf.int32)
        ids = ids[..., 0] if ids.shape.rank == 3 else ids
        ends = tf.cast((ids == END) | (ids == PADDING), tf.int32)
        words = tf.gather(tf.constant([*_SPECIAL, *self.words]), ids)
        kept = tf.ragged.boolean_mask(words, tf.cumsum(ends, axis=1) == 0)
        return tf.strings.reduce_join(kept, axis=-1, separator=" ")

    def batches(self, sentences, batch_size=32, seed=0, shuffle=True, **kwargs):
        """Makes an input pipeline of batches of sentences of like length.

        The order of the e-th pass over the data depends on (seed, e) alone.

        Args:
            sentences: List, array or tensor of strings.
            batch_size: Integer.
            seed: Integer in [0, 2**31).
            shuffle: Boolean, whether each epoch has its own order.
            **kwargs: `width`, integer: sentences are padded to a multiple of it, by
                default 10; `initial_epoch`, integer, the number of the first pass;
                `needs_known`, boolean, whether words that are all unknown are an error,
                by default True, as training needs it.

        Returns:
            A `tf.data.Dataset` of known length, of int32 batches (batch, words, 1) for
            `fit(batches, shuffle=False)`.

        Raises:
            ValueError: If there is no sentence, or if no word is known and some have
                to be.
        """
        return _batches(self, sentences, batch_size, seed, shuffle, **kwargs)

    def share_known(self, sentences):
        """Returns the share of the words of sentences that are in the vocabulary."""
        sentences = text.plain(sentences)
        known, found = set(self.words), [w for x in sentences for w in x.split()]
        return sum(word in known for word in found) / max(1, len(found))

    def save_own_variables(self, store):
        """Saves what tells the words from others, see `keras.layers.Layer`."""
        store[_WORDS] = self._digest()

    def load_own_variables(self, store):
        """Compares the words with those that were saved; see `keras.layers.Layer`.

        Raises:
            ValueError: If they are others: weights know words by their places.
        """
        # Keras asks again for each attribute that holds a layer, where nothing is
        # saved. Weights of an earlier version say nothing at all.
        if _WORDS in store.keys():
            self._saved = store[_WORDS][:]
        if (self._digest() != self._saved).any():
            raise ValueError(
                "`words` must be those of the vocabulary with which the weights were "
                f"saved, which know words by their places. Received: {self.size} ids, "
                f"of words that begin with {self.words[:3]}"
            )

    def _digest(self):
        digest = hashlib.sha256("\n".join(self.words).encode()).digest()
        return np.frombuffer(digest, "uint8")

    def get_config(self):
        """Returns the config; `from_config` makes an equal layer from it."""
        return {**super().get_config(), "words": self.words}


def _checked(words):
    words = list(words)
    bad = [x for x in words if not isinstance(x, str) or x.split() != [x]]
    bad += [x for x in _SPECIAL if x in words]
    bad += [x for x, number in collections.Counter(words).items() if number > 1]
    if bad or not words:
        raise ValueError(
            "`words` must be different strings without white space, at least one, and "
            f"none of {_SPECIAL}. Received: {f'{bad[0]!r} among ' if bad else ''}"
            f"{len(words)} words"
        )
    return words


def _batches(
    vocabulary,
    sentences,
    batch_size,
    seed,
    shuffle,
    width=10,
    initial_epoch=0,
    needs_known=True,
):
    """See `Vocabulary.batches`."""
    seed = random.check_seed(seed)
    check_count("batch_size", batch_size)
    check_count("width", width)
    check_count("initial_epoch", initial_epoch, 0)
    sentences = text.plain(sentences)
    _check_sentences(vocabulary, sentences, needs_known)
    with tf.device("CPU"):
        ids = vocabulary._ids(sentences)
    buckets = -(-ids.row_lengths().numpy() // width)
    counts = np.bincount(buckets)
    number = int(np.sum(-(-counts // batch_size)))
    rows = _rows(len(sentences), seed, shuffle, initial_epoch)
    widths = width * np.arange(1, len(counts))
    batched = rows.map(lambda row: ids[row]).bucket_by_sequence_length(
        tf.size,
        bucket_boundaries=(widths + 1).tolist(),
        bucket_batch_sizes=[batch_size] * (len(widths) + 1),
        pad_to_bucket_boundary=True,
    )
    batched = batched.map(lambda part: (part[..., None],))
    length = tf.data.experimental.assert_cardinality(number)
    return steady(batched.apply(length).prefetch(tf.data.AUTOTUNE))


def _rows(size, seed, shuffle, initial_epoch):
    """Returns a `tf.data.Dataset` of row numbers, each pass in its own order."""
    with tf.device("CPU"):
        passes = tf.Variable(initial_epoch, dtype=tf.int64, trainable=False)

    def next_pass(_):
        return passes.assign_add(1) - 1

    def order(epoch):
        rows = tf.range(size)
        if shuffle:
            noise = random.uniform([size], random.key(seed, epoch, _SHUFFLE))
            rows = tf.argsort(noise, stable=True)
        return tf.data.Dataset.from_tensor_slices(rows)

    # The pass is counted inside the pipeline, because an iterator starts a pass.
    return tf.data.Dataset.range(1).map(next_pass).flat_map(order)


def _check_sentences(vocabulary, sentences, needs_known):
    if not sentences:
        raise ValueError("`sentences` must hold at least one. Received: none")
    if needs_known and not vocabulary.share_known(sentences):
        raise ValueError(
            "`sentences` must hold words of the vocabulary, of which "
            f"{vocabulary.words[:3]} are the first. Received: {len(sentences)} "
            "sentences of unknown words alone"
        )

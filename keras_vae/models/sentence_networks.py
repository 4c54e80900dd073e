"""Recurrent networks of sentences: ids -> features, and z -> logits of words."""

import keras
import tensorflow as tf

from keras_vae import random
from keras_vae.datasets import vocabulary as ids_of
from keras_vae.layers.input_dropout import InputDropout

CELLS = {"lstm": keras.layers.LSTM, "gru": keras.layers.GRU}
POOLINGS = ("last", "max")
# Logits of padding and of the begin, which are no words: their probability is 0.
_NEVER = -1e9


def recurrent_encoder(
    vocabulary_size, units=256, embedding_dim=256, cell="lstm", pooling="last"
):
    """Makes an encoder of sentences: words are embedded and read by a recurrent layer.

    Args:
        vocabulary_size: Integer, the number of ids, 0 for padding.
        units: Integer, units of the recurrent layer.
        embedding_dim: Integer, size of the embeddings.
        cell: "lstm" or "gru".
        pooling: "last" for the state after the last word, or "max" for the maxima over
            the states after each word (Long et al., 2019).

    Returns:
        A `keras.Sequential` that maps ids (batch, words, 1) to features (batch, units).

    Reference:
        [Preventing Posterior Collapse in Sequence VAEs with Pooling](
        https://arxiv.org/abs/1911.03976)
    """
    embed, is_max = keras.layers.Embedding, pooling == "max"
    layers = [
        keras.Input((None, 1), dtype="int32", name="words"),
        keras.layers.Reshape((-1,), name="flat"),
        embed(vocabulary_size, embedding_dim, mask_zero=True, name="embedding"),
        CELLS[cell](units, return_sequences=is_max, name="recurrent"),
    ]
    layers += [MaxOverWords(name="max_over_words")] * is_max
    return keras.Sequential(layers, name="encoder")


@keras.saving.register_keras_serializable("keras_vae")
class MaxOverWords(keras.layers.Layer):
    """Maxima over time, (batch, words, units) -> (batch, units), without padding.

    Example:
    >>> layer = MaxOverWords()
    >>> layer(np.array([[[1.0], [2.0]]]), mask=np.array([[True, False]])).numpy()
    array([[1.]], dtype=float32)
    """

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.supports_masking = True
        self.built = True

    def call(self, inputs, mask=None):
        """See the class."""
        if mask is not None:
            inputs = tf.where(mask[..., None], inputs, inputs.dtype.min)
        return tf.reduce_max(inputs, axis=1)

    def compute_mask(self, inputs, mask=None):
        """Returns None: no axis of words is left."""
        return None

    def compute_output_shape(self, inputs_shape):
        """Returns the shape without the axis of words."""
        return (inputs_shape[0], inputs_shape[-1])


@keras.saving.register_keras_serializable("keras_vae")
class SeededDropout(keras.layers.Layer):
    """Dropout of single features, whose noise a resumed run repeats.

    Args:
        rate: Float in [0, 1), the probability of a zero; others grow by 1 / (1 - rate).
        seed: Integer or None, see `keras_vae.random.Noise`.

    Example:
    >>> layer = SeededDropout(0.5, seed=0)
    >>> np.unique(layer(np.ones((1, 9), "float32"), training=True)).tolist()
    [0.0, 2.0]
    """

    def __init__(self, rate, seed=None, **kwargs):
        super().__init__(**kwargs)
        if isinstance(rate, (bool, str)) or not 0 <= rate < 1:
            raise ValueError(f"`rate` must be in [0, 1). Received: rate={rate!r}")
        self.rate = float(rate)
        self.noise = random.Noise(seed, name="noise", dtype=self.dtype_policy)
        self.built = True

    def call(self, inputs, training=False):
        """See the class."""
        if not training or not self.rate:
            return inputs
        noise = random.uniform(tf.shape(inputs), self.noise.next_key())
        kept = tf.cast(noise >= self.rate, inputs.dtype)
        return inputs * kept / (1 - self.rate)

    def compute_output_shape(self, inputs_shape):
        """Returns the shape of the input."""
        return inputs_shape

    def get_config(self):
        """Returns the config; `from_config` makes an equal layer from it."""
        config = {"rate": self.rate, "seed": self.noise.seed}
        return {**super().get_config(), **config}


@keras.saving.register_keras_serializable("keras_vae")
class RecurrentDecoder(keras.Model):
    """A decoder of sentences: a recurrent layer that reads the words before, and z.

        p(x|z) = prod_t p(x_t | x_1 ... x_{t-1}, z)

    z sets the first state, and stands beside the embedding of each word, if
    `latent_at_words`.

    Args:
        vocabulary_size: Integer, the number of ids, see `datasets.Vocabulary`.
        units: Integer, units of the recurrent layer.
        embedding_dim: Integer, size of the embeddings.
        cell: "lstm" or "gru".
        uses_latent: Boolean; a decoder without z is a model of language.
        latent_at_words: Boolean, whether z stands beside each word too. Without it, z
            sets the first state alone.
        word_dropout: Float in [0, 1], the probability of an unknown word in the place
            of each that is read in training; 1 hides all words, always.
        embedding_dropout: Float in [0, 1), dropout of the embeddings.
        output_dropout: Float in [0, 1), dropout before the last layer.
        tie_weights: Boolean, whether the last layer's kernel is the embedding.
        seed: Integer or None, the seed of all dropout.

    Call arguments:
        z: Tensor (batch, latent).
        previous: Integer tensor (batch, words, 1), the sentence, one word late.
        training: Boolean.

    Returns:
        Logits (batch, words, vocabulary_size). Padding and the begin have none above
        -1e9.

    Reference:
        [Generating Sentences from a Continuous Space](
        https://arxiv.org/abs/1511.06349)
    """

    def __init__(
        self,
        vocabulary_size,
        units=256,
        embedding_dim=256,
        cell="lstm",
        uses_latent=True,
        latent_at_words=True,
        word_dropout=0.0,
        embedding_dropout=0.0,
        output_dropout=0.0,
        tie_weights=False,
        seed=None,
        **kwargs,
    ):
        super().__init__(**kwargs)
        seed = random.check_seed(seed)
        self._config = {
            "vocabulary_size": vocabulary_size,
            "units": units,
            "embedding_dim": embedding_dim,
            "cell": cell,
            "uses_latent": uses_latent,
            "latent_at_words": latent_at_words,
            "word_dropout": word_dropout,
            "embedding_dropout": embedding_dropout,
            "output_dropout": output_dropout,
            "tie_weights": tie_weights,
            "seed": seed,
        }
        kept = [ids_of.PADDING, ids_of.BEGIN]
        self.word_dropout = InputDropout(word_dropout, ids_of.UNKNOWN, kept, seed)
        self.embedding = keras.layers.Embedding(vocabulary_size, embedding_dim)
        self.embedding_dropout = SeededDropout(embedding_dropout, seed + 1)
        self.recurrent = CELLS[cell](units, return_sequences=True)
        if uses_latent:
            self.start = keras.layers.Dense(units)
        self.output_dropout = SeededDropout(output_dropout, seed + 2)
        width = embedding_dim if tie_weights else vocabulary_size
        self.last = keras.layers.Dense(width)

    @property
    def _reads_latent(self):
        return self._config["uses_latent"] and self._config["latent_at_words"]

    def build(self, z_shape, previous_shape):
        """Creates the weights of all layers."""
        config = self._config
        self.embedding.build()
        if config["uses_latent"]:
            self.start.build((None, z_shape[-1]))
        beside = z_shape[-1] if self._reads_latent else 0
        self.recurrent.build((None, None, config["embedding_dim"] + beside))
        self.last.build((None, None, config["units"]))
        if config["tie_weights"]:
            self.last_bias = self.add_weight(
                shape=(config["vocabulary_size"],), initializer="zeros", name="bias"
            )
        self.built = True

    def call(self, z, previous, training=False):
        """See the class."""
        words = tf.cast(previous[..., 0], tf.int32)
        # Before the first word stands the begin.
        begin = tf.fill([tf.shape(words)[0], 1], ids_of.BEGIN)
        words = tf.concat([begin, words[:, 1:]], axis=1)
        inputs = self._inputs(words, z, training)
        h = self.recurrent(inputs, initial_state=self.initial_state(z, inputs))
        return self._logits(h, training)

    def initial_state(self, z, inputs):
        """Returns the state before the first word, a list of tensors (batch, units).

        Args:
            z: Tensor (batch, latent).
            inputs: Tensor (batch, ...) of the size of the batch.
        """
        if not self._config["uses_latent"]:
            size = tf.shape(inputs)[0], self._config["units"]
            state = tf.zeros(size, self.compute_dtype)
            return [state] * (2 if self._config["cell"] == "lstm" else 1)
        state = self.start(z)
        hidden = tf.tanh(state)
        return [hidden, state] if self._config["cell"] == "lstm" else [hidden]

    def step(self, z, words, state):
        """Reads one word of each sentence.

        Args:
            z: Tensor (batch, latent).
            words: Integer tensor (batch,), ids.
            state: List of tensors (batch, units).

        Returns:
            Logits (batch, vocabulary_size) of the words that follow, and the state.
        """
        inputs = self._inputs(words[:, None], z, training=False)[:, 0]
        h, state = self.recurrent.cell(inputs, state)
        return self._logits(h[:, None], training=False)[:, 0], state

    def _inputs(self, words, z, training):
        if self._config["word_dropout"] == 1:
            # What was never read in training is not read in use.
            kept = (words == ids_of.PADDING) | (words == ids_of.BEGIN)
            words = tf.where(kept, words, ids_of.UNKNOWN)
        else:
            words = self.word_dropout(words, training=training)
        h = self.embedding_dropout(self.embedding(words), training=training)
        if not self._reads_latent:
            return h
        z = tf.repeat(tf.cast(z, h.dtype)[:, None], tf.shape(h)[1], axis=1)
        return tf.concat([h, z], axis=-1)

    def _logits(self, h, training):
        h = self.last(self.output_dropout(h, training=training))
        if self._config["tie_weights"]:
            kernel = tf.cast(self.embedding.embeddings, h.dtype)
            h = tf.einsum("bte,ve->btv", h, kernel)
            h += tf.cast(self.last_bias, h.dtype)
        never = tf.reduce_sum(
            tf.one_hot([ids_of.PADDING, ids_of.BEGIN], self._config["vocabulary_size"]),
            axis=0,
        )
        return tf.cast(h, tf.float32) + _NEVER * never

    def get_config(self):
        """Returns the config; `from_config` makes an equal model from it."""
        return {**super().get_config(), **self._config}

"""A variational autoencoder of sentences."""

import keras
import numpy as np
import tensorflow as tf

from keras_vae import checks
from keras_vae import evaluation
from keras_vae import export
from keras_vae import priors
from keras_vae import random
from keras_vae.arguments import check_count
from keras_vae.arguments import check_number
from keras_vae.datasets import Vocabulary
from keras_vae.datasets import count_words
from keras_vae.datasets import text
from keras_vae.distributions import likelihoods
from keras_vae.distributions import posteriors
from keras_vae.models.sentence_inputs import TakesSentences
from keras_vae.models.sentence_inputs import are_strings
from keras_vae.models.sentence_networks import CELLS
from keras_vae.models.sentence_networks import POOLINGS
from keras_vae.models.sentence_networks import RecurrentDecoder
from keras_vae.models.sentence_networks import recurrent_encoder
from keras_vae.models.sentence_writing import write
from keras_vae.models.vae import VAE
from keras_vae.serialization import default_policy

# Sentences are scored in groups of like length.
_WIDTH = 10


@keras.saving.register_keras_serializable("keras_vae")
class SentenceVAE(TakesSentences, VAE):
    """Variational autoencoder of sentences, with recurrent networks.

        p(x|z) = prod_t p(x_t | x_1 ... x_{t-1}, z)

    Methods take sentences as strings, or their ids (batch, words, 1), and return
    strings. `fit` and `evaluate` batch strings by length, or take
    `vocabulary.batches`; sentences that have weights go in as ids. All losses are nats
    for a sentence with its end; padding adds nothing.

    Against a KL that vanishes: any schedule and objective, `word_dropout`,
    `pooling="max"`, every posterior, and every prior that needs no encoder.

    Args:
        vocabulary: `keras_vae.datasets.Vocabulary`.
        latent_dim: Integer, dimensions of z.
        units: Integer, units of both recurrent layers.
        embedding_dim: Integer, size of the embeddings of words.
        cell: "lstm" or "gru".
        pooling: "last" or "max", how the encoder sums up its states.
        uses_latent: Boolean. With False the decoder has no z, and the model is one of
            language: the KL is 0, and -ELBO is -log p(x) exactly. Then `posterior` and
            `prior` must be the normal ones of the default.
        latent_at_words: Boolean, whether the decoder reads z beside each word. Without
            it, z sets the first state alone.
        word_dropout: Float in [0, 1], the probability that the decoder reads an unknown
            word instead in training. With 1 it never reads any.
        embedding_dropout: Float in [0, 1), dropout of the decoder's embeddings.
        output_dropout: Float in [0, 1), dropout before the decoder's last layer.
        tie_weights: Boolean, whether the decoder's last kernel is its embedding.
        max_length: Integer, the most words of a sentence that is written, with its end.
        seed: See `VAE`; it also seeds the dropout.
        **kwargs: `posterior`, `prior`, `objective` and the arguments of `keras.Model`,
            see `VAE`.

    Raises:
        ValueError: If an argument is invalid.

    Example:
    >>> sentences = ["a cat sat", "a dog sat", "the dog sat down"]
    >>> vae = kv.SentenceVAE(
    ...     kv.datasets.Vocabulary.of(sentences), latent_dim=2, units=8, seed=0
    ... )
    >>> vae.compile("adam")
    >>> history = vae.fit(sentences, epochs=1, verbose=0)
    >>> vae.generate(3, seed=1).shape
    TensorShape([3])

    Reference:
        [Generating Sentences from a Continuous Space](
        https://arxiv.org/abs/1511.06349)
    """

    network_arguments = ("vocabulary",)
    # On two cores, XLA's steps take 10% less time; compiling them takes half a minute
    # for six lengths, and again for each that comes later.
    reason_against_xla = "XLA compiles each length of its batches anew"

    def __init__(
        self,
        vocabulary,
        latent_dim=32,
        units=256,
        embedding_dim=256,
        cell="lstm",
        pooling="last",
        uses_latent=True,
        latent_at_words=True,
        word_dropout=0.0,
        embedding_dropout=0.0,
        output_dropout=0.0,
        tie_weights=False,
        max_length=60,
        seed=None,
        **kwargs,
    ):
        self.max_length = check_count("max_length", max_length)
        self._arguments = {
            "units": check_count("units", units),
            "embedding_dim": check_count("embedding_dim", embedding_dim),
            "cell": cell,
            "pooling": pooling,
            "uses_latent": bool(uses_latent),
            "latent_at_words": bool(latent_at_words),
            "word_dropout": word_dropout,
            "embedding_dropout": embedding_dropout,
            "output_dropout": output_dropout,
            "tie_weights": bool(tie_weights),
        }
        _check(vocabulary, self._arguments, **kwargs)
        seed = random.check_seed(seed)
        with default_policy(kwargs.get("dtype")):
            *networks, likelihood = _parts(vocabulary.size, seed, **self._arguments)
        fixed = {"likelihood": likelihood, "missing": "padding"}
        super().__init__(*networks, latent_dim, seed=seed, **fixed, **kwargs)
        self.vocabulary = vocabulary
        self.build((None, None, 1))
        # Nothing depends on it in a model of language.
        self.latent.head.trainable = bool(uses_latent)

    @property
    def uses_latent(self):
        """Whether the decoder takes z; see the class."""
        return self._arguments["uses_latent"]

    # === Sentences ===

    def predict_step(self, data):
        """Returns ids (batch, max_length) of the reconstructions."""
        x, _, _ = keras.utils.unpack_x_y_sample_weight(data)
        return self._write(self.encode(x)[0], 0.0)

    def decode(self, z, temperature=0.0, top_k=None, top_p=None, seed=0):
        """Writes a sentence for each z.

        Args:
            z: Tensor of shape (batch, latent_dim).
            temperature: Non-negative float or tensor: words are drawn with
                probabilities softmax(logits / temperature). With 0, the default, the
                most probable word is written.
            top_k: Integer, from how many of the most probable words one is drawn, or
                None for all.
            top_p: Float in (0, 1]: words are drawn from the most probable ones that
                have this probability together, or None for all.
            seed: Integer or integer tensor of shape (); equal seeds give equal draws.

        Returns:
            A tensor of strings (batch,).
        """
        z = tf.cast(tf.convert_to_tensor(z), tf.float32)
        if tf.executing_eagerly():
            checks.check_array(z, "z")
        if z.shape.rank != 2 or z.shape[1] not in (None, self.latent_dim):
            raise ValueError(
                f"`z` must have shape (batch, {self.latent_dim}). "
                f"Received: z.shape={tuple(z.shape)}"
            )
        ids = self._write(z, temperature, top_k, top_p, checks.check_seed(seed))
        return self.vocabulary.decode(ids)

    def _write(self, z, temperature, top_k=None, top_p=None, seed=0):
        if not tf.is_tensor(temperature):
            check_number("temperature", temperature)
        if top_k is not None:
            top_k = tf.constant(check_count("top_k", top_k))
        if top_p is not None:
            if not 0 < check_number("top_p", top_p) <= 1:
                raise ValueError(f"`top_p` must be in (0, 1]. Received: top_p={top_p}")
            top_p = tf.constant(top_p, tf.float32)
        temperature = tf.cast(temperature, tf.float32)
        settings = random.key(seed), temperature, top_k, top_p
        return evaluation.call_compiled(self, write, z, *settings)

    def reconstruct(self, x, **kwargs):
        """Writes a sentence for the posterior mean of each one.

        Args:
            x: List of strings, or ids (batch, words, 1).
            **kwargs: See `decode`.

        Returns:
            A tensor of strings (batch,).
        """
        return self.decode(self.encode(x)[0], **kwargs)

    def generate(self, n, seed=None, temperature=1.0, top_k=None, top_p=None):
        """Writes sentences for draws from the prior.

        Args:
            n: Integer or integer tensor of shape (), the number of sentences.
            seed: Integer or integer tensor of shape (), or None to draw one; equal
                seeds give equal sentences.
            temperature: See `decode`; 1, the default, draws from p(x|z).
            top_k: See `decode`.
            top_p: See `decode`.

        Returns:
            A tensor of strings (n,).
        """
        checks.check_count("n", n)
        seed = checks.check_seed(seed)
        params = self.latent.prior_params(self._infer)
        z = self.latent.sample_prior(n, random.key(seed), params)
        return self.decode(z, temperature, top_k, top_p, seed)

    def interpolate(self, start, end, steps=8, **kwargs):
        """Writes sentences along the line between the posterior means of two.

        Args:
            start: List of strings (batch,).
            end: List of strings (batch,).
            steps: Integer, at least 2, points on each line, both ends included.
            **kwargs: See `decode`.

        Returns:
            A tensor of strings (batch, steps).
        """
        (z,) = self._line(self._tensor(start), self._tensor(end), steps)
        sentences = self.decode(tf.reshape(z, [-1, self.latent_dim]), **kwargs)
        return tf.reshape(sentences, [-1, steps])

    def log_likelihood(self, x, y=None, num_samples=5000, **kwargs):
        """Estimates log p(x) by importance sampling; see `VAE.log_likelihood`.

        Args:
            x: List of strings, or ids (N, words, 1).
            y: Must be None.
            num_samples: Integer, draws of z per sentence. A model of language needs 1.
            **kwargs: See `VAE.log_likelihood`.

        Returns:
            Float32 array of shape (N,), nats.
        """
        if not are_strings(x):
            return super().log_likelihood(x, y, num_samples, **kwargs)
        kwargs.setdefault("verbose", 0)
        x = np.array(text.plain(x), object)
        groups = np.array([count_words([one]) for one in x]) // _WIDTH
        found = np.zeros(len(x), np.float32)
        for group in np.unique(groups):
            rows = groups == group
            ids = self.vocabulary.encode(x[rows]).numpy()
            found[rows] = super().log_likelihood(ids, y, num_samples, **kwargs)
        return found

    def perplexity(self, x, num_samples=100, **kwargs):
        """Estimates exp(-log p(x) / words), over all sentences and their ends.

        Args:
            x: List of strings.
            num_samples: See `log_likelihood`.
            **kwargs: See `log_likelihood`.

        Returns:
            A float.
        """
        words = count_words(x)
        total = self.log_likelihood(x, num_samples=num_samples, **kwargs).sum()
        return float(np.exp(-total / words))

    # === Saving ===

    def endpoints(self):
        """Returns the endpoints of the SavedModel, see `keras_vae.export.export`.

        Sentences are strings: `serve` (x), `encode` (x), `sample_posterior` (x, seed),
        `decode` (z), `generate` (n, seed, temperature) and `negative_elbo` (x, seed).
        """
        x, number = tf.TensorSpec((None,), "string"), tf.TensorSpec((), "int64")
        z = tf.TensorSpec((None, self.latent_dim), "float32")
        temperature = tf.TensorSpec((), "float32")
        usual = export.endpoints(self)
        return {
            "serve": (self.reconstruct, {"x": x}),
            "encode": (usual["encode"][0], {"x": x}),
            "sample_posterior": (self.sample_posterior, {"x": x, "seed": number}),
            "decode": (self.decode, {"z": z}),
            "generate": (
                self.generate,
                {"n": number, "seed": number, "temperature": temperature},
            ),
            "negative_elbo": (usual["negative_elbo"][0], {"x": x, "seed": number}),
        }

    def get_config(self):
        """Returns the config; `from_config` makes an equal model from it."""
        config = super().get_config()
        for name in _DECIDED:
            del config[name]
        vocabulary = keras.saving.serialize_keras_object(self.vocabulary)
        own = {"vocabulary": vocabulary, "max_length": self.max_length}
        return {**config, **self._arguments, **own}


# Arguments of `VAE` that a `SentenceVAE` decides.
_DECIDED = "encoder", "decoder", "likelihood", "linear_path", "conditions", "missing"


def _parts(vocabulary_size, seed, pooling, **arguments):
    """Returns encoder, decoder and likelihood; see `SentenceVAE`."""
    likelihood = likelihoods.Categorical(vocabulary_size, name="likelihood")
    decoder = RecurrentDecoder(vocabulary_size, seed=seed, name="decoder", **arguments)
    if arguments["uses_latent"]:
        common = {name: arguments[name] for name in ("units", "embedding_dim", "cell")}
        encoder = recurrent_encoder(vocabulary_size, pooling=pooling, **common)
        return encoder, decoder, likelihood
    # Its only feature is 0.
    layers = [
        keras.Input((None, 1), dtype="int32", name="words"),
        keras.layers.Rescaling(0.0, name="zero"),
        keras.layers.GlobalMaxPooling1D(name="pooled"),
    ]
    return keras.Sequential(layers, name="encoder"), decoder, likelihood


def _check_without_latent(posterior=None, prior=None, **kwargs):
    """Raises ValueError if a model of language would have a KL."""
    given = {"posterior": (posteriors.get, posterior), "prior": (priors.get, prior)}
    plain = posteriors.DiagonalNormal, priors.StandardNormal
    for (name, (get, value)), kind in zip(given.items(), plain, strict=True):
        if value is not None and type(get(value)) is not kind:
            raise ValueError(
                f"`{name}` must be left out with uses_latent=False, where no z is "
                f"drawn. Received: {name}={value!r}"
            )


def _check(vocabulary, arguments, **kwargs):
    if not isinstance(vocabulary, Vocabulary):
        raise ValueError(
            "`vocabulary` must be a `keras_vae.datasets.Vocabulary`, for instance "
            f"`Vocabulary.of(sentences)`. Received: vocabulary={vocabulary!r}"
        )
    for name, known in (("cell", CELLS), ("pooling", POOLINGS)):
        if (value := arguments[name]) not in known:
            raise ValueError(
                f"`{name}` must be one of {tuple(known)}. Received: {name}={value!r}"
            )
    _check_rates(arguments)
    if decided := [name for name in _DECIDED if name in kwargs]:
        raise ValueError(
            f"`{decided[0]}` must be left out: a `SentenceVAE` makes its own. Take "
            f"`VAE` for others. Received: {decided[0]}={kwargs[decided[0]]!r}"
        )
    if not arguments["uses_latent"]:
        _check_without_latent(**kwargs)


# Of features alone some have to stay.
_RATES = {
    "word_dropout": "[0, 1]",
    "embedding_dropout": "[0, 1)",
    "output_dropout": "[0, 1)",
}


def _check_rates(arguments):
    for name, interval in _RATES.items():
        rate = check_number(name, arguments[name])
        if rate > 1 or (rate == 1 and interval != "[0, 1]"):
            raise ValueError(
                f"`{name}` must be in {interval}. Received: {name}={rate:g}"
            )

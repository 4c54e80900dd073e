"""keras_vae as one uses it, and its models under Keras's own `fit`."""

import functools

import keras
import numpy as np

import keras_vae as kv
from benchmarks.contenders import shared

keras.utils.set_random_seed(0)


class BlockModel(kv.BlockTraining, keras.Model):
    """A functional model with the library's defaults of `compile`."""


# === Dense ===


def mlp(data, batch_size=100, latents=shared.LATENTS):
    """A `VAE` with all defaults."""
    x = shared.load(data)
    vae = _vae(x, latents)
    vae.compile("adam")
    return _epochs(vae, batch_size, x)


def ladder(data, batch_size=100):
    """A `HierarchicalVAE` with all defaults."""
    x = shared.load(data)
    hidden, latents = zip(*shared.LEVELS, strict=True)
    networks = kv.networks.mlp_levels(hidden, (x.shape[1],))
    vae = kv.HierarchicalVAE(*networks, latents, seed=0)
    vae.compile("adam")
    return _epochs(vae, batch_size, x)


def mlp_stock(data, batch_size=100):
    """The same layers and losses in a plain Keras model: Keras's own `fit`."""
    x = shared.load(data)
    pixels = x.shape[1]
    inputs = keras.Input((pixels,))
    latent = kv.layers.Latent(shared.LATENTS, seed=0)
    encoder = kv.networks.mlp_encoder([shared.HIDDEN] * 2)
    decoder = kv.networks.mlp_decoder([shared.HIDDEN] * 2, (pixels,))
    logits = decoder(latent(encoder(inputs)))
    model = keras.Model(inputs, _Distortion()([inputs, logits]))
    _set_mlp_weights(encoder, latent, decoder, shared.mlp_weights(pixels))
    model.compile("adam")
    return _epochs(model, batch_size, x)


def _vae(x, latents=shared.LATENTS):
    pixels = x.shape[1]
    vae = kv.VAE(
        encoder=kv.networks.mlp_encoder([shared.HIDDEN] * 2),
        decoder=kv.networks.mlp_decoder([shared.HIDDEN] * 2, (pixels,)),
        latent_dim=latents,
        seed=0,
    )
    vae.build((None, pixels))
    weights = shared.mlp_weights(pixels, latents)
    _set_mlp_weights(vae.encoder, vae.latent, vae.decoder, weights)
    return vae


def _set_mlp_weights(encoder, latent, decoder, weights):
    flat = [array for pair in weights for array in pair]
    encoder.set_weights(flat[:4])
    latent.head.set_weights(flat[4:6])
    decoder.set_weights(flat[6:])


class _Distortion(keras.layers.Layer):
    """Adds the negative log-likelihood of a Bernoulli."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self._loss = kv.losses.NegativeLogLikelihood("bernoulli")

    def call(self, inputs):
        x, logits = inputs
        self.add_loss(self._loss(x, logits))
        return logits


def _epochs(model, batch_size, x, y=None):
    fit = functools.partial(model.fit, x, y, batch_size=batch_size)
    return shared.epochs_of(fit, keras.callbacks.Callback)


# === Convolutions ===


def conv(data, batch_size=64):
    """A convolutional `VAE` with all defaults."""
    x = shared.load(data)[..., None]
    encoder, decoder = _conv_networks(x.shape[1:])
    vae = kv.VAE(encoder, decoder, latent_dim=shared.CONV_LATENTS, seed=0)
    vae.compile("adam")
    return _epochs(vae, batch_size, x)


def conv_stock(data, batch_size=64):
    """The same layers in a plain Keras model."""
    x = shared.load(data)[..., None]
    encoder, decoder = _conv_networks(x.shape[1:])
    inputs = keras.Input(x.shape[1:])
    z = kv.layers.Latent(shared.CONV_LATENTS, seed=0)(encoder(inputs))
    model = keras.Model(inputs, _Distortion()([inputs, decoder(z)]))
    model.compile("adam")
    return _epochs(model, batch_size, x)


def _conv_networks(shape):
    sizes = {"filters": shared.FILTERS, "hidden": shared.CONV_HIDDEN}
    return (
        kv.networks.conv_encoder(shape, **sizes),
        kv.networks.conv_decoder(shape, **sizes),
    )


# === Sentences ===


def lstm(data, batch_size=32):
    """A functional model of LSTMs with the library's defaults of `compile`."""
    return _sentences(BlockModel, data, batch_size)


def lstm_stock(data, batch_size=32):
    """The same model under Keras's defaults."""
    return _sentences(keras.Model, data, batch_size)


def text(data, batch_size=32):
    """A `SentenceVAE` of strings, with the library's defaults of `compile`."""
    sentences = [
        " ".join(f"w{word}" for word in row[row > 0]) for row in shared.load(data)
    ]
    words = [f"w{word}" for word in range(1, shared.VOCABULARY)]
    vae = kv.SentenceVAE(
        kv.datasets.Vocabulary(words),
        shared.TEXT_LATENTS,
        shared.UNITS,
        shared.EMBEDDING,
        output_dropout=shared.TEXT_DROPOUT,
        seed=0,
    )
    vae.compile("adam")
    return _epochs(vae, batch_size, sentences)


def _sentences(model_class, data, batch_size):
    x = shared.load(data)
    inputs = keras.Input(x.shape[1:], dtype="int32")
    embedding = keras.layers.Embedding(shared.VOCABULARY, shared.EMBEDDING)
    features = keras.layers.LSTM(shared.UNITS)(embedding(inputs))
    z = kv.layers.Latent(shared.TEXT_LATENTS, seed=0)(features)
    # Teacher forcing: the decoder sees the words before the one that it predicts.
    before = keras.ops.pad(inputs[:, :-1], [[0, 0], [1, 0]])
    everywhere = keras.layers.RepeatVector(x.shape[1])(z)
    words = keras.layers.Concatenate()([embedding(before), everywhere])
    hidden = keras.layers.LSTM(shared.UNITS, return_sequences=True)(words)
    model = model_class(inputs, keras.layers.Dense(shared.VOCABULARY)(hidden))
    likelihood = kv.distributions.Categorical(shared.VOCABULARY)
    model.compile("adam", loss=kv.losses.NegativeLogLikelihood(likelihood))
    return _epochs(model, batch_size, x, x[..., None])


# === Log-likelihood ===


def log_likelihood(data, num_samples):
    """Importance-sampled log p(x), `num_samples` draws for each example."""
    x = shared.load(data)
    vae = _vae(x)
    return lambda: -float(np.mean(vae.log_likelihood(x, None, num_samples, verbose=0)))

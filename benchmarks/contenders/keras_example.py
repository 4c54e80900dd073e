"""A VAE in the style of Keras's example: a `train_step` with metrics of its own."""

import functools

import keras
import tensorflow as tf

from benchmarks.contenders import shared

keras.utils.set_random_seed(0)


class Sampling(keras.layers.Layer):
    """Draws z from its mean and log variance."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.seed_generator = keras.random.SeedGenerator(0)

    def call(self, inputs):
        mean, log_variance = inputs
        noise = keras.random.normal(keras.ops.shape(mean), seed=self.seed_generator)
        return mean + keras.ops.exp(0.5 * log_variance) * noise


class ExampleVAE(keras.Model):
    """Encoder, decoder, and a step that differentiates the sum of two means."""

    def __init__(self, encoder, decoder, **kwargs):
        super().__init__(**kwargs)
        self.encoder = encoder
        self.decoder = decoder
        self.loss_tracker = keras.metrics.Mean(name="loss")
        self.reconstruction_tracker = keras.metrics.Mean(name="reconstruction_loss")
        self.kl_tracker = keras.metrics.Mean(name="kl_loss")

    @property
    def metrics(self):
        return [self.loss_tracker, self.reconstruction_tracker, self.kl_tracker]

    def train_step(self, data):
        with tf.GradientTape() as tape:
            mean, log_variance, z = self.encoder(data, training=True)
            pixels = keras.ops.binary_crossentropy(data, self.decoder(z, training=True))
            reconstruction = keras.ops.mean(keras.ops.sum(pixels, axis=1))
            square, variance = keras.ops.square(mean), keras.ops.exp(log_variance)
            per_unit = -0.5 * (1 + log_variance - square - variance)
            kl = keras.ops.mean(keras.ops.sum(per_unit, axis=1))
            loss = reconstruction + kl
        gradients = tape.gradient(loss, self.trainable_weights)
        self.optimizer.apply_gradients(
            zip(gradients, self.trainable_weights, strict=True)
        )
        self.loss_tracker.update_state(loss)
        self.reconstruction_tracker.update_state(reconstruction)
        self.kl_tracker.update_state(kl)
        return {metric.name: metric.result() for metric in self.metrics}


def mlp(data, batch_size=100):
    x = shared.load(data)
    pixels, latents = x.shape[1], shared.LATENTS
    inputs = keras.Input((pixels,))
    hidden = keras.layers.Dense(shared.HIDDEN, "relu")(inputs)
    hidden = keras.layers.Dense(shared.HIDDEN, "relu")(hidden)
    mean = keras.layers.Dense(latents)(hidden)
    log_variance = keras.layers.Dense(latents)(hidden)
    z = Sampling()([mean, log_variance])
    encoder = keras.Model(inputs, [mean, log_variance, z])
    decoder = keras.Sequential(
        [
            keras.Input((latents,)),
            keras.layers.Dense(shared.HIDDEN, "relu"),
            keras.layers.Dense(shared.HIDDEN, "relu"),
            keras.layers.Dense(pixels, "sigmoid"),
        ]
    )
    weights = shared.mlp_weights(pixels)
    kernel, bias = weights[2]
    parts = [(kernel[:, i : i + latents], bias[:latents]) for i in (0, latents)]
    dense = [item for item in encoder.layers if isinstance(item, keras.layers.Dense)]
    for layer, values in zip(dense, [*weights[:2], *parts], strict=True):
        layer.set_weights(values)
    decoder.set_weights([array for pair in weights[3:] for array in pair])
    model = ExampleVAE(encoder, decoder)
    model.compile(optimizer=keras.optimizers.Adam(shared.LEARNING_RATE))

    fit = functools.partial(model.fit, x, batch_size=batch_size)
    return shared.epochs_of(fit, keras.callbacks.Callback)

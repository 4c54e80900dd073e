"""Planted faults are found and named first; sound models raise no alarm."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import ops

import keras_vae as kv
from keras_vae.weighing import audit

IMAGE = (4, 4, 1)
COLOUR = (4, 4, 3)
LATENTS = 5
RNG = np.random.default_rng(0)


def data(shape=IMAGE, size=13, binary=False):
    x = np.random.default_rng(1).uniform(0.05, 0.95, (size, *shape))
    return (x > 0.5 if binary else x).astype("float32")


# === Pieces that people write ===


@keras.saving.register_keras_serializable("test_audit")
class Sampling(keras.layers.Layer):
    """The layer of the Keras example."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.seed_generator = keras.random.SeedGenerator(1337)

    def call(self, inputs):
        z_mean, z_log_var = inputs
        epsilon = keras.random.normal(ops.shape(z_mean), seed=self.seed_generator)
        return z_mean + ops.exp(0.5 * z_log_var) * epsilon


def kl_per_latent(z_mean, z_log_var):
    return -0.5 * (1 + z_log_var - ops.square(z_mean) - ops.exp(z_log_var))


def right_kl(z_mean, z_log_var):
    return ops.mean(ops.sum(kl_per_latent(z_mean, z_log_var), axis=1))


class AddKL(Sampling):
    """Samples, and adds whatever `reduce` makes of mean and log-variance."""

    def __init__(self, reduce, **kwargs):
        super().__init__(**kwargs)
        self.reduce = reduce

    def call(self, inputs):
        self.add_loss(self.reduce(*inputs))
        return super().call(inputs)


def encode(shape=IMAGE, latents=LATENTS):
    inputs = keras.Input(shape)
    h = keras.layers.Dense(8, activation="tanh")(keras.layers.Flatten()(inputs))
    z_mean = keras.layers.Dense(latents, name="z_mean")(h)
    z_log_var = keras.layers.Dense(latents, name="z_log_var")(h)
    return inputs, z_mean, z_log_var


def decode(z, shape=IMAGE, activation="sigmoid"):
    h = keras.layers.Dense(8, activation="tanh")(z)
    h = keras.layers.Dense(int(np.prod(shape)), activation=activation)(h)
    return keras.layers.Reshape(shape)(h)


def summed_bce(x, p):
    """Sum over pixels of the Keras example: the last axis is averaged before."""
    values = keras.losses.binary_crossentropy(x, p)
    return ops.mean(ops.sum(values, axis=(1, 2)))


def summed_squares(x, p):
    return ops.mean(ops.sum(ops.square(x - p), axis=(1, 2, 3)))


def half_squares(x, p):
    return 0.5 * summed_squares(x, p)


def functional(reduce, loss, shape=IMAGE, latents=LATENTS, activation="sigmoid"):
    inputs, z_mean, z_log_var = encode(shape, latents)
    z = AddKL(reduce, name="sampling")([z_mean, z_log_var])
    model = keras.Model(inputs, decode(z, shape, activation))
    model.compile("adam", loss=loss)
    return model


class OfficialVAE(keras.Model):
    """The pattern of the Keras example, with its two terms as arguments."""

    def __init__(self, reconstruct=summed_bce, kl=right_kl, shape=IMAGE, **kwargs):
        super().__init__(**kwargs)
        inputs, z_mean, z_log_var = encode(shape)
        z = Sampling()([z_mean, z_log_var])
        self.encoder = keras.Model(inputs, [z_mean, z_log_var, z], name="encoder")
        latent = keras.Input((LATENTS,))
        self.decoder = keras.Model(latent, decode(latent, shape), name="decoder")
        self.reconstruct = reconstruct
        self.kl = kl
        self.total_loss_tracker = keras.metrics.Mean(name="total_loss")
        self.kl_loss_tracker = keras.metrics.Mean(name="kl_loss")

    @property
    def metrics(self):
        return [self.total_loss_tracker, self.kl_loss_tracker]

    def train_step(self, data):
        with tf.GradientTape() as tape:
            z_mean, z_log_var, z = self.encoder(data)
            reconstruction = self.decoder(z)
            kl_loss = self.kl(z_mean, z_log_var)
            total_loss = self.reconstruct(data, reconstruction) + kl_loss
        grads = tape.gradient(total_loss, self.trainable_weights)
        self.optimizer.apply_gradients(zip(grads, self.trainable_weights, strict=True))
        self.total_loss_tracker.update_state(total_loss)
        self.kl_loss_tracker.update_state(kl_loss)
        return {"loss": self.total_loss_tracker.result()}


def official(**kwargs):
    model = OfficialVAE(**kwargs)
    model.compile("adam")
    return model


class TrainStep(keras.Model):
    """Functional model with a training step of its own."""

    total = None

    def train_step(self, data):
        x, y = data
        with tf.GradientTape() as tape:
            y_pred = self(x, training=True)
            loss = self.total(x, y, y_pred)
        grads = tape.gradient(loss, self.trainable_weights)
        self.optimizer.apply_gradients(zip(grads, self.trainable_weights, strict=True))
        return {"loss": loss}


def with_step(total, loss=summed_bce, reduce=right_kl):
    inputs, z_mean, z_log_var = encode()
    z = AddKL(reduce, name="sampling")([z_mean, z_log_var])
    model = TrainStep(inputs, decode(z))
    model.total = lambda *args: total(model, *args)
    model.compile("adam", loss=loss)
    return model


class KLRegularizer(keras.regularizers.Regularizer):
    """KL of a tensor that holds mean and log-variance, summed over the batch."""

    def __call__(self, params):
        z_mean, z_log_var = ops.split(params, 2, axis=-1)
        return ops.sum(kl_per_latent(z_mean, z_log_var))


class MeanKLRegularizer(KLRegularizer):
    def __call__(self, params):
        return super().__call__(params) / ops.cast(ops.shape(params)[0], "float32")


class Params(keras.layers.Layer):
    """Passes parameters on, `copies` times, as TFP's distribution layers do."""

    def __init__(self, copies, **kwargs):
        super().__init__(**kwargs)
        self.copies = copies

    def call(self, inputs):
        return inputs if self.copies == 1 else (ops.copy(inputs), ops.copy(inputs))


def regularised(copies, regularizer):
    inputs = keras.Input(IMAGE)
    h = keras.layers.Dense(8, activation="tanh")(keras.layers.Flatten()(inputs))
    params = keras.layers.Dense(2 * LATENTS, name="params")(h)
    params = Params(copies, activity_regularizer=regularizer, name="q")(params)
    params = params if copies == 1 else params[0]
    z = Sampling()([params[:, :LATENTS], params[:, LATENTS:]])
    model = keras.Model(inputs, decode(z))
    model.compile("adam", loss=summed_bce)
    return model


def with_latent(loss, shape=IMAGE, **kwargs):
    inputs = keras.Input(shape)
    h = keras.layers.Dense(8, activation="tanh")(keras.layers.Flatten()(inputs))
    z = kv.layers.Latent(LATENTS, seed=0, **kwargs)(h)
    model = keras.Model(inputs, decode(z, shape, activation=None))
    model.compile("adam", loss=loss)
    return model


def vae(likelihood="bernoulli", kl_weight=1.0, shape=IMAGE, **kwargs):
    kwargs.setdefault("objective", kv.ELBO(kl_weight=kl_weight))
    likelihood = kv.distributions.likelihoods.get(likelihood)
    model = kv.VAE(
        kv.networks.mlp_encoder([8]),
        kv.networks.mlp_decoder([8], likelihood.params_shape(shape)),
        latent_dim=LATENTS,
        likelihood=likelihood,
        seed=0,
        **kwargs,
    )
    model.compile("adam")
    return model


# === Planted faults ===


def added_again(model, x, y, y_pred):
    return model.compute_loss(x, y, y_pred) + sum(model.losses)


def losses_forgotten(model, x, y, y_pred):
    return summed_bce(y, y_pred)


def batch_summed_kl(z_mean, z_log_var):
    return ops.sum(kl_per_latent(z_mean, z_log_var))


def pixel_mean(x, p):
    return ops.mean(ops.square(x - p))


class EncodesTwice(OfficialVAE):
    """Adds the KL in the encoder, and calls the encoder twice in a step."""

    def train_step(self, data):
        with tf.GradientTape() as tape:
            z_mean, z_log_var, z = self.encoder(data)
            total = right_kl(z_mean, z_log_var)
            z_mean, z_log_var, _ = self.encoder(data)
            total += right_kl(z_mean, z_log_var)
            total += self.reconstruct(data, self.decoder(z))
        grads = tape.gradient(total, self.trainable_weights)
        self.optimizer.apply_gradients(zip(grads, self.trainable_weights, strict=True))
        return {"loss": total}


def encodes_twice():
    model = EncodesTwice()
    model.compile("adam")
    return model


def two_added():
    inputs, z_mean, z_log_var = encode()
    z = AddKL(right_kl, name="first")([z_mean, z_log_var])
    AddKL(right_kl, name="second")([z_mean, z_log_var])
    h = AddKL(right_kl, name="third")([z_mean, z_log_var])
    model = keras.Model(inputs, decode(z + 0 * h))
    model.compile("adam", loss=summed_bce)
    return model


FAULTS = {
    "compiled mse": (
        lambda: functional(right_kl, "mse"),
        "reconstruction_averaged_over_event",
        {"divisor": 16},
    ),
    "compiled bce": (
        lambda: functional(right_kl, "binary_crossentropy"),
        "reconstruction_averaged_over_event",
        {"divisor": 16},
    ),
    "mse and a small weight": (
        lambda: functional(lambda m, s: 0.00025 * right_kl(m, s), "mse"),
        "reconstruction_averaged_over_event",
        {"divisor": 16},
    ),
    "vector": (
        lambda: functional(
            lambda m, s: ops.sum(kl_per_latent(m, s), axis=1), summed_bce
        ),
        "vector_added_loss",
        {"coefficients": (7.0, 13.0)},
    ),
    "KL summed over the batch": (
        lambda: functional(batch_summed_kl, summed_bce),
        "kl_multiplied_by_batch",
        {"coefficients": (7.0, 13.0)},
    ),
    "regulariser counted twice": (
        lambda: regularised(2, KLRegularizer()),
        "doubled_kl",
        {"coefficients": (2.0, 2.0)},
    ),
    "regulariser": (
        lambda: regularised(1, KLRegularizer()),
        "kl_in_activity_regularizer",
        {"coefficients": (1.0, 1.0)},
    ),
    "regulariser with a mean": (
        lambda: regularised(1, MeanKLRegularizer()),
        "kl_divided_by_batch",
        {"coefficients": (1 / 7, 1 / 13)},
    ),
    "mean over latents": (
        lambda: official(kl=lambda m, s: ops.mean(kl_per_latent(m, s))),
        "kl_averaged_over_latents",
        {"coefficients": (0.2, 0.2), "latent_dim": 5},
    ),
    "mean over latents, added": (
        lambda: functional(
            lambda m, s: 0.7 * ops.mean(kl_per_latent(m, s)), summed_bce
        ),
        "kl_averaged_over_latents",
        {"coefficients": (0.14, 0.14)},
    ),
    "channels of the Keras example": (
        lambda: official(shape=COLOUR),
        "reconstruction_averaged_over_channels",
        {"divisor": 3, "coefficients": (1 / 3, 1 / 3)},
    ),
    "losses added again": (
        lambda: with_step(added_again),
        "doubled_kl",
        {"coefficient": 2.0},
    ),
    "losses forgotten": (
        lambda: with_step(losses_forgotten),
        "added_loss_ignored",
        {"coefficient": 0.0},
    ),
    "sign": (
        lambda: official(kl=lambda m, s: -right_kl(m, s)),
        "negative_kl",
        {"coefficients": (-1.0, -1.0)},
    ),
    "reconstruction's sign": (
        lambda: official(reconstruct=lambda x, p: -summed_bce(x, p)),
        "negative_reconstruction",
        {"coefficients": (-1.0, -1.0)},
    ),
    "reconstruction summed over the batch": (
        lambda: functional(right_kl, lambda x, p: ops.sum(ops.square(x - p))),
        "reconstruction_multiplied_by_batch",
        {"coefficients": (7.0, 13.0)},
    ),
    "KL divided by batch twice": (
        lambda: official(
            kl=lambda m, s: right_kl(m, s) / ops.cast(ops.shape(m)[0], "float32")
        ),
        "kl_divided_by_batch",
        {"coefficients": (1 / 7, 1 / 13)},
    ),
    "Latent beside mse": (
        lambda: with_latent("mse"),
        "reconstruction_averaged_over_event",
        {"divisor": 16},
    ),
    "sigmoid twice": (
        lambda: functional(
            right_kl,
            lambda x, p: (
                16 * ops.mean(keras.losses.binary_crossentropy(x, p, from_logits=True))
            ),
        ),
        "double_sigmoid",
        {"coefficients": (1.0, 1.0)},
    ),
    "encoder called twice": (
        encodes_twice,
        "doubled_kl",
        {"coefficients": (1.0, 1.0)},
    ),
    "added by three layers": (two_added, "doubled_kl", {"coefficients": (2.0, 2.0)}),
    "vector differentiated": (
        lambda: official(
            reconstruct=lambda x, p: ops.sum(ops.square(x - p), axis=(1, 2, 3)),
            kl=lambda m, s: ops.sum(kl_per_latent(m, s), axis=1),
        ),
        "vector_loss",
        {"shape": (7,)},
    ),
    "pixel mean by hand": (
        lambda: official(reconstruct=pixel_mean),
        "reconstruction_averaged_over_event",
        {"divisor": 16, "coefficients": (1 / 16, 1 / 16)},
    ),
}


def takes_target(model):
    return getattr(model, "loss", None) is not None


def audited(model, x, **kwargs):
    return audit(model, x, x if takes_target(model) else None, **kwargs)


@pytest.mark.parametrize("fault", FAULTS)
def test_fault_is_found_and_named_first(fault):
    make, name, evidence = FAULTS[fault]
    x = data(COLOUR if "channels" in fault else IMAGE)
    report = audited(make(), x)
    assert not report.sound
    assert report.findings[0].name == name, str(report)
    for key, value in evidence.items():
        assert report.findings[0].evidence[key] == pytest.approx(value, rel=3e-3)
    assert report.findings[0].message in str(report)
    assert report.findings[0].fix in str(report)


# === Sound models ===


def softplus_vae():
    """The scale of q is the softplus of one half of a layer."""

    class SoftplusKL(Sampling):
        def call(self, params):
            mean, raw = ops.split(params, 2, axis=-1)
            std = ops.softplus(raw)
            kl = 0.5 * (mean**2 + std**2 - 1) - ops.log(std)
            self.add_loss(ops.mean(ops.sum(kl, axis=-1)))
            return super().call([mean, 2 * ops.log(std)])

    inputs = keras.Input(IMAGE)
    h = keras.layers.Dense(8, activation="tanh")(keras.layers.Flatten()(inputs))
    z = SoftplusKL()(keras.layers.Dense(2 * LATENTS)(h))
    model = keras.Model(inputs, decode(z))
    model.compile("adam", loss=half_squares)
    return model


def sampled_kl_vae():
    """KL as log q(z|x) - log p(z) at the sample."""

    class SampledKL(Sampling):
        def call(self, inputs):
            mean, log_var = inputs
            z = super().call(inputs)
            log_q = -0.5 * (log_var + (z - mean) ** 2 / ops.exp(log_var))
            self.add_loss(ops.mean(ops.sum(log_q + 0.5 * z**2, axis=-1)))
            return z

    inputs, z_mean, z_log_var = encode()
    model = keras.Model(inputs, decode(SampledKL()([z_mean, z_log_var])))
    model.compile("adam", loss=summed_bce)
    return model


def deep_vae():
    """Batch normalisation, dropout and weight decay around a right loss."""
    inputs = keras.Input(IMAGE)
    h = keras.layers.Conv2D(4, 3, activation="relu", kernel_regularizer="l2")(inputs)
    h = keras.layers.BatchNormalization()(h)
    h = keras.layers.Dropout(0.2)(keras.layers.GlobalAveragePooling2D()(h))
    z_mean = keras.layers.Dense(LATENTS)(h)
    z_log_var = keras.layers.Dense(LATENTS)(h)
    z = AddKL(right_kl)([z_mean, z_log_var])
    h = keras.layers.Dense(8, activity_regularizer=keras.regularizers.L2(1e-3))(z)
    h = keras.layers.LayerNormalization()(h)
    h = keras.layers.Dense(16, activation="sigmoid", kernel_regularizer="l2")(h)
    model = keras.Model(inputs, keras.layers.Reshape(IMAGE)(h))
    model.compile("adam", loss=summed_bce)
    return model


def two_latents():
    inputs = keras.Input(IMAGE)
    h = keras.layers.Dense(8, activation="tanh")(keras.layers.Flatten()(inputs))
    low = kv.layers.Latent(3, kl_weight=0.5, seed=0, name="low")(h)
    high = kv.layers.Latent(2, kl_weight=2.0, seed=1, name="high")(low)
    z = keras.layers.Concatenate()([low, high])
    model = keras.Model(inputs, decode(z, activation=None))
    model.compile("adam", loss=kv.losses.NegativeLogLikelihood())
    return model


SOUND = {
    "official": (official, 1.0),
    "VAE": (vae, 1.0),
    "VAE, beta 4": (lambda: vae(kl_weight=4.0), 4.0),
    "VAE, fixed normal": (lambda: vae(kv.distributions.Normal(scale=0.3)), 1.0),
    "VAE, shared scale": (lambda: vae(kv.distributions.Normal(scale="shared")), 1.0),
    "VAE, optimal scale": (lambda: vae(kv.distributions.Normal(scale="optimal")), 1.0),
    "VAE, output scale": (
        lambda: vae(kv.distributions.Normal(scale="per_output")),
        1.0,
    ),
    "VAE, sampled KL": (
        lambda: vae(objective=kv.ELBO(kl_weight=0.7, kl="monte_carlo", num_samples=3)),
        0.7,
    ),
    "VAE, beta 0": (lambda: vae(kl_weight=0.0), 0.0),
    "Latent": (lambda: with_latent(kv.losses.NegativeLogLikelihood()), 1.0),
    "Latent, beta": (
        lambda: with_latent(kv.losses.NegativeLogLikelihood(), kl_weight=0.3),
        0.3,
    ),
    "two Latents": (two_latents, 0.5),
    "add_loss": (lambda: functional(right_kl, summed_bce), 1.0),
    "add_loss, beta 4": (
        lambda: functional(lambda m, s: 4 * right_kl(m, s), summed_bce),
        4.0,
    ),
    "beta = 1 / latents": (
        lambda: functional(lambda m, s: right_kl(m, s) / LATENTS, summed_bce),
        0.2,
    ),
    "mean over latents undone": (
        lambda: functional(
            lambda m, s: LATENTS * ops.mean(kl_per_latent(m, s)), summed_bce
        ),
        1.0,
    ),
    "unit Gaussian": (lambda: functional(right_kl, half_squares), 1.0),
    "squares": (lambda: functional(right_kl, summed_squares), 1.0),
    "narrow Gaussian": (
        lambda: functional(right_kl, lambda x, p: half_squares(x, p) / 0.04),
        1.0,
    ),
    "mean over pixels undone": (
        lambda: official(reconstruct=lambda x, p: 16 * pixel_mean(x, p)),
        1.0,
    ),
    "all divided by the pixels": (
        lambda: functional(lambda m, s: right_kl(m, s) / 16, "bce"),
        1 / 16,
    ),
    "all summed over the batch": (
        lambda: official(
            reconstruct=lambda x, p: ops.sum(ops.square(x - p)), kl=batch_summed_kl
        ),
        7.0,
    ),
    "compute_loss in train_step": (
        lambda: with_step(lambda m, x, y, y_pred: m.compute_loss(x, y, y_pred)),
        1.0,
    ),
    "weighted losses in train_step": (
        lambda: with_step(
            lambda m, x, y, y_pred: summed_bce(y, y_pred) + 2 * sum(m.losses)
        ),
        2.0,
    ),
    "softplus": (softplus_vae, 1.0),
    "sampled": (sampled_kl_vae, 1.0),
    "deep": (deep_vae, 1.0),
}


@pytest.mark.parametrize("kind", SOUND)
def test_sound_model_raises_no_alarm(kind):
    make, coefficient = SOUND[kind]
    report = audited(make(), data())
    assert report.sound, str(report)
    assert report.reconstruction is not None, str(report)
    assert report.kl[0].coefficients[0] == pytest.approx(coefficient, rel=3e-3)
    assert "Sound" in str(report)

"""Planted faults are found and named first; sound models raise no alarm."""

import keras
import matrix
import numpy as np
import pytest
import tensorflow as tf
from keras import ops

import keras_vae as kv
from keras_vae.weighing import audit

IMAGE = (4, 4, 1)
COLOUR = (4, 4, 3)
LATENTS = 5


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
        shape, dtype = ops.shape(z_mean), z_mean.dtype
        epsilon = keras.random.normal(shape, dtype=dtype, seed=self.seed_generator)
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
        self.add_loss(self.reduce(*[ops.cast(v, "float32") for v in inputs]))
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

    def __init__(self, encoder, decoder, reconstruct=summed_bce, kl=right_kl):
        super().__init__()
        self.encoder = encoder
        self.decoder = decoder
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


def official(shape=IMAGE, make=OfficialVAE, **kwargs):
    inputs, z_mean, z_log_var = encode(shape)
    z = Sampling()([z_mean, z_log_var])
    latent = keras.Input((LATENTS,))
    model = make(
        keras.Model(inputs, [z_mean, z_log_var, z], name="encoder"),
        keras.Model(latent, decode(latent, shape), name="decoder"),
        **kwargs,
    )
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


def keras_example(shape=(8, 8, 1)):
    """The networks of the Keras example, smaller, which end in a sigmoid."""
    relu = {"activation": "relu", "padding": "same"}
    inputs = keras.Input(shape)
    h = keras.layers.Conv2D(4, 3, strides=2, **relu)(inputs)
    h = keras.layers.Conv2D(8, 3, strides=2, **relu)(h)
    h = keras.layers.Dense(16, activation="relu")(keras.layers.Flatten()(h))
    z_mean = keras.layers.Dense(2, name="z_mean")(h)
    z_log_var = keras.layers.Dense(2, name="z_log_var")(h)
    z = Sampling()([z_mean, z_log_var])
    encoder = keras.Model(inputs, [z_mean, z_log_var, z], name="encoder")
    latent = keras.Input((2,))
    h = keras.layers.Reshape((2, 2, 8))(keras.layers.Dense(32, "relu")(latent))
    h = keras.layers.Conv2DTranspose(8, 3, strides=2, **relu)(h)
    h = keras.layers.Conv2DTranspose(4, 3, strides=2, **relu)(h)
    h = keras.layers.Conv2DTranspose(
        shape[-1], 3, activation="sigmoid", padding="same"
    )(h)
    model = OfficialVAE(encoder, keras.Model(latent, h, name="decoder"))
    model.compile("adam")
    return model


def spatial(reduce):
    """Latents with a place."""
    inputs = keras.Input(IMAGE)
    z_mean = keras.layers.Conv2D(2, 3, padding="same", name="z_mean")(inputs)
    z_log_var = keras.layers.Conv2D(2, 3, padding="same", name="z_log_var")(inputs)
    z = AddKL(reduce)([z_mean, z_log_var])
    p = keras.layers.Conv2D(1, 3, padding="same", activation="sigmoid")(z)
    model = keras.Model(inputs, p)
    model.compile("adam", loss=summed_bce)
    return model


# === Several outputs ===


def two_heads(structure, recon="nll", words="nll", activation=None, **kwargs):
    """Reconstructs x, and three class ids of y, from one z; `Latent` has weight 0.5."""
    inputs = keras.Input(IMAGE)
    h = keras.layers.Dense(8, activation="tanh")(keras.layers.Flatten()(inputs))
    z = kv.layers.Latent(LATENTS, seed=0, kl_weight=0.5)(h)
    image = keras.layers.Dense(16, activation=activation)(z)
    image = keras.layers.Reshape(IMAGE, name="recon")(image)
    classes = keras.layers.Dense(12, name="words")(z)
    outputs = {"recon": image, "words": classes}
    nll = kv.losses.NegativeLogLikelihood
    losses = {
        "recon": nll("bernoulli") if recon == "nll" else recon,
        "words": nll(kv.distributions.Categorical(4)) if words == "nll" else words,
    }
    y = {"recon": data(binary=True), "words": CLASSES}
    if structure == "list":
        outputs, losses, y = ([*parts.values()] for parts in (outputs, losses, y))
    model = keras.Model(inputs, outputs)
    model.compile("adam", loss=losses, **kwargs)
    return model, y


CLASSES = np.random.default_rng(2).integers(0, 4, (13, 3))


@pytest.mark.parametrize("structure", matrix.first(1, ["dict", "list"]))
def test_all_outputs_are_measured(structure):
    model, y = two_heads(structure, loss_weights=None)
    report = audit(model, data(), y)
    assert report.sound, str(report)
    (kl,) = report.kl
    assert kl.coefficients == pytest.approx((0.5, 0.5), rel=3e-3)
    found = {r.source: r for r in report.reconstructions}
    assert found["recon"].event_shape == IMAGE
    assert found["words"].event_shape == (3,)
    assert report.reconstruction is found["recon"]
    for reconstruction in found.values():
        assert reconstruction.form == "likelihood"
        assert reconstruction.coefficients == pytest.approx((1.0, 1.0), rel=3e-3)
    assert "reconstruction of words, likelihood summed over 3: 1 and 1" in str(report)


def test_a_fault_of_any_output_is_found():
    x = data()
    model, y = two_heads("list", recon="mse", loss_weights=[1.0, 3.0])
    report = audit(model, x, y)
    assert report.findings[0].name == "reconstruction_averaged_over_event"
    coefficients = [r.coefficients[0] for r in report.reconstructions]
    assert coefficients == pytest.approx([1 / 16, 3.0], rel=3e-3)
    assert report.kl[0].coefficients == pytest.approx((0.5, 0.5), rel=3e-3)
    model, y = two_heads("dict", activation="sigmoid")
    (finding,) = audit(model, x, y).findings
    assert finding.name == "double_sigmoid"
    assert "'recon'" in finding.message


def test_an_output_of_an_unknown_loss_is_named_and_does_not_hide_the_kl():
    def log_cosh(y, p):
        return ops.mean(ops.sum(ops.log(ops.cosh(ops.cast(y, p.dtype) - p[:, :3])), -1))

    model, y = two_heads("dict", words=log_cosh)
    report = audit(model, data(), y)
    assert report.kl[0].coefficients == pytest.approx((0.5, 0.5), rel=3e-3)
    assert any("loss of 'words' was not recognised" in note for note in report.notes)


# === Planted faults ===


class Custom(keras.layers.Layer):
    """Ends in an operation that no layer names."""

    def __init__(self, operation):
        super().__init__()
        self.operation = operation

    def call(self, inputs):
        return ops.stack([self.operation(inputs)] * 2)[0]


def activated(operation, likelihood=None, outputs=16):
    inputs = keras.Input(IMAGE)
    h = keras.layers.Dense(8, activation="tanh")(keras.layers.Flatten()(inputs))
    h = keras.layers.Dense(outputs)(kv.layers.Latent(LATENTS, seed=0)(h))
    if likelihood is not None:
        h = keras.layers.Reshape((16, outputs // 16))(h)
    outputs = Custom(operation)(h)
    if likelihood is None:
        outputs = keras.layers.Reshape(IMAGE)(outputs)
    else:
        outputs = keras.layers.Reshape((4, 4, -1))(outputs)
    model = keras.Model(inputs, outputs)
    model.compile("adam", kv.losses.NegativeLogLikelihood(likelihood or "bernoulli"))
    return model


def sigmoid_of_a_layer():
    inputs = keras.Input(IMAGE)
    h = keras.layers.Dense(8, activation="tanh")(keras.layers.Flatten()(inputs))
    model = keras.Model(inputs, decode(kv.layers.Latent(LATENTS, seed=0)(h)))
    model.compile("adam", loss=kv.losses.NegativeLogLikelihood("bernoulli"))
    return model


def added_again(model, x, y, y_pred):
    return model.compute_loss(x, y, y_pred) + sum(model.losses)


def losses_forgotten(model, x, y, y_pred):
    return summed_bce(y, y_pred)


def batch_summed_kl(z_mean, z_log_var):
    return ops.sum(kl_per_latent(z_mean, z_log_var))


def pixel_mean(x, p):
    return ops.mean(ops.square(x - p))


class EncodesTwice(OfficialVAE):
    """Calls the encoder twice in a step, each time with its KL."""

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


def two_added():
    inputs, z_mean, z_log_var = encode()
    z = AddKL(right_kl, name="first")([z_mean, z_log_var])
    AddKL(right_kl, name="second")([z_mean, z_log_var])
    h = AddKL(right_kl, name="third")([z_mean, z_log_var])
    model = keras.Model(inputs, decode(z + 0 * h))
    model.compile("adam", loss=summed_bce)
    return model


# Keras divides what an activity regulariser returns by the batch size since 3.14.
DIVIDES = tuple(map(int, keras.__version__.split(".")[:2])) >= (3, 14)
REGULARISED = {
    "regulariser counted twice": (
        lambda: regularised(2, KLRegularizer()),
        "doubled_kl",
        {"coefficients": (2.0, 2.0) if DIVIDES else (14.0, 26.0)},
    ),
    "regulariser": (
        lambda: regularised(1, KLRegularizer()),
        "kl_in_activity_regularizer" if DIVIDES else "kl_multiplied_by_batch",
        {"coefficients": (1.0, 1.0) if DIVIDES else (7.0, 13.0)},
    ),
    "regulariser with a mean": (
        lambda: regularised(1, MeanKLRegularizer()),
        "kl_divided_by_batch" if DIVIDES else "kl_in_activity_regularizer",
        {"coefficients": (1 / 7, 1 / 13) if DIVIDES else (1.0, 1.0)},
    ),
}
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
    **REGULARISED,
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
    "channels of the Keras example, as it is written": (
        lambda: keras_example(shape=(8, 8, 3)),
        "reconstruction_averaged_over_channels",
        {"divisor": 3},
    ),
    "mean over spatial latents": (
        lambda: spatial(lambda m, s: ops.mean(kl_per_latent(m, s))),
        "kl_averaged_over_latents",
        {"latent_dim": 32, "coefficients": (1 / 32, 1 / 32)},
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
    "sigmoid before a likelihood": (
        sigmoid_of_a_layer,
        "double_sigmoid",
        {"coefficients": (1.0, 1.0)},
    ),
    "sigmoid of a layer of one's own": (
        lambda: activated(ops.sigmoid),
        "double_sigmoid",
        {"coefficients": (1.0, 1.0)},
    ),
    "softmax of a layer of one's own, classes": (
        lambda: activated(ops.softmax, kv.distributions.Categorical(4), 64),
        "double_softmax",
        {"coefficients": (1.0, 1.0)},
    ),
    "encoder called twice": (
        lambda: official(make=EncodesTwice),
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


def data_for(case):
    if "as it is written" in case:
        return data((8, 8, 3 if "channels" in case else 1))
    # So few ones that a sigmoid of 1/2 is worse as a logit than as a probability.
    if "own" in case or "before a likelihood" in case:
        return np.float32(data() > (0.0 if "classes" in case else 0.8))
    return data(COLOUR if "channels" in case else IMAGE)


@pytest.mark.parametrize("fault", FAULTS)
def test_fault_is_found_and_named_first(fault):
    make, name, evidence = FAULTS[fault]
    report = audited(make(), data_for(fault))
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


def operation_at_the_end():
    inputs, z_mean, z_log_var = encode()
    z = AddKL(right_kl)([z_mean, z_log_var])
    model = keras.Model(inputs, ops.sigmoid(decode(z, activation=None)))
    model.compile("adam", loss=summed_bce, jit_compile=True)
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
    "official, as it is written": (keras_example, 1.0),
    "beta = 1 / latents, even": (
        lambda: functional(lambda m, s: right_kl(m, s) / 2, summed_bce, latents=2),
        0.5,
    ),
    "spatial": (
        lambda: spatial(lambda m, s: ops.mean(ops.sum(kl_per_latent(m, s), (1, 2, 3)))),
        1.0,
    ),
    "operation at the end": (operation_at_the_end, 1.0),
    "VAE, Laplace": (lambda: vae(kv.distributions.Laplace(scale=0.5)), 1.0),
    "VAE, VampPrior": (
        lambda: vae(
            prior=kv.priors.VampPrior(num_components=4),
            objective=kv.ELBO(kl="monte_carlo"),
        ),
        1.0,
    ),
    "Latent, mixture": (
        lambda: with_latent(
            kv.losses.NegativeLogLikelihood(),
            prior="gaussian_mixture",
            kl="monte_carlo",
        ),
        1.0,
    ),
    "softplus": (softplus_vae, 1.0),
    "sampled": (sampled_kl_vae, 1.0),
    "deep": (deep_vae, 1.0),
}


@pytest.mark.parametrize("kind", matrix.first(12, SOUND))
def test_sound_model_raises_no_alarm(kind):
    make, coefficient = SOUND[kind]
    report = audited(make(), data_for(kind))
    assert report.sound, str(report)
    assert len(report.kl) == (2 if kind == "two Latents" else 1), str(report)
    assert report.reconstruction is not None, str(report)
    assert report.kl[0].coefficients[0] == pytest.approx(coefficient, rel=3e-3)
    assert "Sound" in str(report)


# === Models of tf_keras with TFP's layers ===


def tfp_model(kind, exact):
    tf_keras = pytest.importorskip("tf_keras")
    import tensorflow_probability as tfp

    tfd, tfpl, layers = tfp.distributions, tfp.layers, tf_keras.layers
    prior = tfd.Independent(tfd.Normal(tf.zeros(LATENTS), 1.0), 1)
    regularizer = None
    if kind == "regularizer":
        regularizer = tfpl.KLDivergenceRegularizer(prior, use_exact_kl=exact)
    steps = [
        layers.InputLayer(IMAGE),
        layers.Flatten(),
        layers.Dense(8, "tanh"),
        layers.Dense(tfpl.IndependentNormal.params_size(LATENTS)),
        tfpl.IndependentNormal(LATENTS, activity_regularizer=regularizer),
    ]
    if kind == "add_loss":
        steps.append(tfpl.KLDivergenceAddLoss(prior, use_exact_kl=exact))
    encoder = tf_keras.Sequential(steps)
    decoder = tf_keras.Sequential(
        [
            layers.InputLayer((LATENTS,)),
            layers.Dense(8, "tanh"),
            layers.Dense(16),
            tfpl.IndependentBernoulli(IMAGE, tfd.Bernoulli.logits),
        ]
    )
    model = tf_keras.Model(encoder.inputs, decoder(encoder.outputs[0]))
    model.compile(tf_keras.optimizers.Adam(), loss=lambda x, p: -p.log_prob(x))
    return model


@pytest.mark.parametrize("exact", [False, True])
def test_regularizer_of_tfp_counts_twice(exact):
    x = data(binary=True)
    report = audit(tfp_model("regularizer", exact), x, x)
    assert [finding.name for finding in report.findings] == [
        "doubled_kl",
        "kl_in_activity_regularizer",
    ]
    assert report.kl[0].coefficients == pytest.approx((2.0, 2.0), rel=3e-3)


def test_add_loss_of_tfp():
    """The exact KL is summed over the batch, the sampled one averaged."""
    x = data(binary=True)
    report = audit(tfp_model("add_loss", True), x, x)
    assert report.findings[0].name == "kl_multiplied_by_batch"
    assert report.kl[0].coefficients == pytest.approx((7.0, 13.0), rel=3e-3)
    assert audit(tfp_model("add_loss", False), x, x).sound


# === What a fix says ===


def test_the_fix_of_a_mean_cross_entropy_says_to_remove_the_sigmoid():
    x = data(binary=True)
    fixes = {
        activation: audit(functional(right_kl, loss, activation=activation), x, x)
        .findings[0]
        .fix
        for activation, loss in {
            "sigmoid": "bce",
            None: keras.losses.BinaryCrossentropy(from_logits=True),
        }.items()
    }
    loss = 'loss=kv.losses.NegativeLogLikelihood("bernoulli")'
    assert all(loss in fix for fix in fixes.values())
    assert "takes logits, so that the sigmoid at the end" in fixes["sigmoid"]
    assert "sigmoid" not in fixes[None]
    loss = eval(loss.partition("=")[2], {"kv": kv})
    # Half of it leads to a fault of its own, all of it to a sound model.
    half = audit(functional(right_kl, loss), x, x)
    assert [finding.name for finding in half.findings] == ["double_sigmoid"]
    assert audit(functional(right_kl, loss, activation=None), x, x).sound
    fix = audit(functional(right_kl, "mse"), x, x).findings[0].fix
    assert 'NegativeLogLikelihood("unit_normal")' in fix
    assert "sigmoid" not in fix


def test_logits_near_a_half_are_no_probabilities():
    # The logit of 0.6 lies in [0, 1] too.
    x = np.float32(np.random.default_rng(0).uniform(size=(13, *IMAGE)) < 0.6)
    model = with_latent(kv.losses.NegativeLogLikelihood())
    kernel, bias = model.layers[-2].kernel, model.layers[-2].bias
    kernel.assign(0.01 * np.array(kernel))
    bias.assign(np.full(16, np.log(0.6 / 0.4)))
    assert 0 < model(x).numpy().min() < model(x).numpy().max() < 1
    assert audit(model, x, x).sound


# === Arguments ===


def test_x_and_y_may_be_one_tuple_and_weights_leave_examples_out():
    x = data(size=20)
    model = with_latent(kv.losses.NegativeLogLikelihood())
    bad = np.where(np.arange(20)[:, None, None, None] < 7, np.inf, x)
    weights = np.float32(np.arange(20) >= 7)
    reports = [
        str(audit(model, x[7:], x[7:])),
        str(audit(model, (x[7:], x[7:]))),
        str(audit(model, bad, bad, weights)),
        str(audit(model, bad, bad, sample_weight=3 * weights)),
    ]
    assert "summed over 5 latents: 1 and 1" in reports[0]
    assert reports == reports[:1] * 4
    with pytest.raises(ValueError, match="`sample_weight` must be above 0"):
        audit(model, x, x, 0 * weights)


def test_weight_that_was_meant():
    model = functional(lambda m, s: 4 * right_kl(m, s), half_squares)
    x = data()
    assert audit(model, x, x, kl_weight=4.0).sound
    (finding,) = audit(model, x, x, kl_weight=1.0).findings
    assert finding.name == "kl_weight_differs"
    assert finding.evidence["beta"] == pytest.approx(4.0, rel=1e-3)
    assert "0.25" in finding.fix


def test_report_holds_the_weight():
    x = data()
    report = audit(functional(lambda m, s: 0.05 * right_kl(m, s), "mse"), x, x)
    assert report.weight.to("normal").beta == pytest.approx(0.4, rel=1e-3)
    assert report.weight.mean_weight() == pytest.approx(0.05, rel=1e-3)
    assert "beta = 0.4 under a unit-variance Gaussian" in report.findings[0].message


def test_learned_weight_of_a_vae():
    assert audit(vae(kv.distributions.Normal(scale=0.5)), data()).weight.sigma == (
        pytest.approx(0.5, rel=1e-3)
    )
    report = audit(vae(kv.distributions.Normal(scale="shared")), data())
    assert report.weight.reconstruction == "learned"


@pytest.mark.parametrize(("weights", "latents"), [({}, 5), ({"level_2": 0.5}, 3)])
def test_the_weight_of_levels_counts_the_latents_of_all_that_have_it(weights, latents):
    encoder, decoder = kv.networks.mlp_levels([4, 3], (6,))
    model = kv.HierarchicalVAE(
        encoder,
        decoder,
        [3, 2],
        likelihood="unit_normal",
        objective=kv.ELBO(latent_weights=weights),
        seed=0,
    )
    model.compile("adam")
    report = audit(model, data((6,)))
    assert report.weight.latent_dim == latents
    assert report.weight.mean_weight("mean") == pytest.approx(
        report.weight.mean_weight() * latents, rel=1e-6
    )


def test_named_posterior():
    x = data()
    model = functional(right_kl, summed_bce)
    report = audit(model, x, x, posterior=("z_mean", "z_log_var"))
    assert report.sound
    assert report.kl[0].source == "z_mean, z_log_var"
    assert report.kl[0].form == "log_var"
    assert report.kl[0].latent_dim == LATENTS


def test_absent_kl_of_a_named_posterior():
    model = official(kl=lambda m, s: 0.0)
    report = audit(model, data(), posterior=("z_mean", "z_log_var"))
    assert report.findings[0].name == "kl_absent"


def test_kl_as_callable():
    x = data()
    model = functional(lambda m, s: 3 * right_kl(m, s), summed_bce)
    means = keras.Model(
        model.inputs, [model.get_layer(n).output for n in ("z_mean", "z_log_var")]
    )

    def kl(x):
        return ops.sum(kl_per_latent(*means(x)), axis=1)

    report = audit(model, x, x, kl=kl)
    assert report.sound
    assert report.kl[0].coefficients == pytest.approx((3.0, 3.0), rel=1e-3)
    with pytest.raises(ValueError, match="shape \\(batch,\\)"):
        audit(model, x, x, kl=lambda x: tf.reduce_sum(kl(x)))
    with pytest.raises(ValueError, match="trainable weights"):
        audit(model, x, x, kl=lambda x: tf.zeros(len(x)))


def test_kl_of_no_clean_multiple_is_not_called_absent():
    """Another divergence than the one named reaches the posterior all the same."""
    x = data()
    model = vae(objective=kv.objectives.SkewJensenShannon(skew=0.5))
    model.build((None, *x.shape[1:]))

    def kl(x):
        mean, stddev = model.encode(x)
        rate = 0.5 * (mean**2 + stddev**2 - 1) - tf.math.log(stddev)
        return tf.reduce_sum(rate, axis=1)

    report = audit(model, x, kl=kl)
    assert "kl_absent" not in [finding.name for finding in report.findings]


def test_unknown_reconstruction_leaves_the_kl_measurable():
    def log_cosh(x, p):
        return ops.mean(ops.sum(ops.log(ops.cosh(x - p)), axis=(1, 2, 3)))

    report = audit(official(reconstruct=log_cosh), data())
    assert report.reconstruction is None
    assert report.kl[0].coefficients == pytest.approx((1.0, 1.0), rel=1e-3)
    assert any("not recognised" in note for note in report.notes)
    assert report.sound


def test_autoencoder_has_nothing_to_weigh():
    inputs = keras.Input(IMAGE)
    h = keras.layers.Dense(3)(keras.layers.Flatten()(inputs))
    model = keras.Model(inputs, decode(h))
    model.compile("adam", loss="mse")
    report = audit(model, data(), data())
    assert report.sound
    assert any("no KL" in note for note in report.notes)


class Falling(kv.ELBO):
    """An objective whose coefficient is below zero, as that of a capacity is."""

    def rate_loss(self, estimate, mean):
        return -2.0 * super().rate_loss(estimate, mean)


@pytest.mark.parametrize(
    "make", [lambda: kv.ImportanceWeighted(num_samples=3), Falling]
)
def test_objective_that_sets_its_coefficients(make):
    report = audit(vae(objective=make()), data())
    assert report.sound
    assert any("by itself" in note for note in report.notes)


class Renamed(kv.ELBO):
    """An objective of one's own with the terms of the ELBO."""


def test_objective_of_ones_own_with_the_terms_of_the_elbo_is_compared():
    report = audit(vae(objective=Renamed(kl_weight=0.5)), data())
    assert report.sound, str(report)
    assert (report.kl[0].form, report.kl[0].asked) == ("layer", 0.5)
    assert report.kl[0].coefficients == pytest.approx((0.5, 0.5), rel=1e-3)


def test_controlled_objective_sets_its_coefficient():
    report = audit(vae(objective=kv.objectives.RateTarget(3.0)), data())
    assert report.sound, str(report)
    assert (report.kl[0].form, report.kl[0].asked) == ("objective", None)


def test_model_of_a_range_of_weights():
    model = kv.MultiRateVAE(
        kv.networks.mlp_encoder([8]),
        kv.networks.mlp_decoder([8], IMAGE),
        latent_dim=LATENTS,
        seed=0,
    )
    model.compile("adam")
    report = audit(model, data())
    assert report.sound, str(report)
    assert report.reconstruction.coefficients == pytest.approx((1.0, 1.0), rel=3e-3)
    # Each example has a weight of its own, so that no single one exists.
    assert not report.kl
    assert any("by itself" in note for note in report.notes)


def test_outputs_of_a_single_number():
    inputs = keras.Input((3,))
    z = kv.layers.Latent(2, seed=0)(inputs)
    outputs = keras.layers.Reshape(())(keras.layers.Dense(1)(z))
    model = keras.Model(inputs, outputs)
    model.compile("adam", loss=lambda x, p: ops.mean(ops.square(x - p)) / 3)
    x = data((3,))
    report = audit(model, x, x[:, 0])
    assert report.sound, str(report)
    assert report.reconstruction.event_shape == ()
    assert report.reconstruction.coefficients == pytest.approx((1 / 3,) * 2, rel=1e-3)


def test_scheduled_weight():
    model = vae()
    schedule = kv.schedules.linear(10)
    annealing = kv.KLAnnealing(schedule)
    with pytest.warns(UserWarning, match="never trains at the final value"):
        model.fit(data(), batch_size=13, epochs=4, verbose=0, callbacks=[annealing])
    report = audit(model, data())
    assert report.sound, str(report)
    # The weight of the last step stays when `fit` ends.
    expected = float(schedule(3))
    assert report.kl[0].coefficients == pytest.approx((expected,) * 2, rel=1e-3)


@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
def test_half_precision(policy):
    keras.config.set_dtype_policy(policy)
    report = audit(vae(kl_weight=2.0), data())
    assert report.sound, str(report)
    assert report.kl[0].coefficients == pytest.approx((2.0, 2.0), rel=1e-2)


def test_half_precision_of_a_model_of_ones_own():
    keras.config.set_dtype_policy("mixed_bfloat16")
    report = audit(functional(batch_summed_kl, summed_bce), data(), data())
    assert len(report.kl) == 1
    assert report.findings[0].name == "kl_multiplied_by_batch"


@pytest.mark.slow
def test_trained_model():
    x = data((8, 8, 1))
    model = keras_example()
    model.fit(x, epochs=30, verbose=0)
    report = audit(model, x)
    assert report.sound, str(report)
    assert report.kl[0].coefficients == pytest.approx((1.0, 1.0), rel=3e-3)


# === Nothing is changed ===


@pytest.mark.parametrize("make", matrix.first(1, [official, vae, deep_vae]))
def test_training_after_an_audit_is_as_without(make):
    x = data()
    weights = []
    for audits in (False, True):
        keras.utils.set_random_seed(3)
        model = make()
        target = (x,) if takes_target(model) else ()
        model.fit(x, *target, batch_size=13, verbose=0)
        before = [v.numpy() for v in (*model.variables, *model.optimizer.variables)]
        if audits:
            audited(model, x)
            after = [v.numpy() for v in (*model.variables, *model.optimizer.variables)]
            for a, b in zip(before, after, strict=True):
                np.testing.assert_array_equal(a, b)
        model.fit(x, *target, batch_size=13, verbose=0)
        weights.append([v.numpy() for v in model.trainable_variables])
    for a, b in zip(*weights, strict=True):
        np.testing.assert_array_equal(a, b)


def test_methods_are_put_back_after_an_error():
    model = official(kl=lambda m, s: 1 / 0)
    original = tf.GradientTape.gradient
    with pytest.raises(ZeroDivisionError):
        audit(model, data())
    assert tf.GradientTape.gradient is original
    assert "call" not in model.encoder.__dict__
    assert "apply" not in model.optimizer.__dict__


# === Errors ===


@pytest.mark.parametrize(
    ("arguments", "match"),
    [
        ({"y": None}, "`y` must be given"),
        ({"y": np.zeros((3, *IMAGE))}, "same number of examples"),
        ({"kl_weight": -1.0}, "`kl_weight`"),
        ({"kl": 3}, "`kl`"),
        ({"kl": len, "posterior": "z_mean"}, "`kl`"),
        ({"posterior": ("z_mean", "nowhere")}, "nowhere"),
    ],
)
def test_errors_name_the_argument(arguments, match):
    model = functional(right_kl, "mse")
    with pytest.raises(ValueError, match=match):
        audit(**{"model": model, "x": data(), "y": data(), **arguments})


def test_model_must_be_compiled():
    with pytest.raises(ValueError, match="compile"):
        audit(keras.Sequential([keras.layers.Dense(1)]), data())


def test_training_step_must_take_a_gradient():
    model = with_step(lambda *_: 0.0)
    model.train_step = lambda data: {}
    with pytest.raises(RuntimeError, match="GradientTape"):
        audit(model, data(), data())


def test_a_posterior_that_is_the_prior_hides_the_weight():
    model = with_latent(kv.losses.NegativeLogLikelihood("bernoulli"))
    head = next(w for w in model.weights if w.path.endswith("head/kernel"))
    head.assign(np.zeros(head.shape))
    report = audit(model, data(), data())
    assert report.sound
    assert not report.kl
    assert "the prior for every example" in report.notes[0]


# === Labels that may be unknown ===


@pytest.mark.parametrize("known", ["some", "none"])
def test_each_class_counts_by_its_probability(known):
    conditions = {"label": 3}
    x = data((6,))
    label = np.arange(len(x)) % 3
    label[:: 2 if known == "some" else 1] = -1
    model = kv.SemiSupervisedVAE(
        kv.networks.mlp_encoder([8], conditions=conditions),
        kv.networks.mlp_decoder([8], (6,), conditions=conditions),
        latent_dim=2,
        classifier=keras.Sequential([keras.layers.Dense(3)]),
        objective=kv.ELBO(kl_weight=0.5),
        conditions=conditions,
        alpha=10.0,
    )
    model.compile("adam")
    report = audit(model, {"x": x, "label": label})
    assert report.sound, str(report)
    assert report.kl[0].coefficients == pytest.approx((0.5, 0.5), rel=3e-3)
    assert report.reconstruction.form == "likelihood"
    assert report.reconstruction.coefficients == pytest.approx((1.0, 1.0), rel=3e-3)
    assert report.weight.beta == pytest.approx(0.5, rel=3e-3)


def test_a_class_that_counts_twice_is_found():
    """Rows that are not weighted by q(y|x) are three losses in place of one."""
    conditions = {"label": 3}
    x = data((6,))

    class Unweighted(kv.SemiSupervisedVAE):
        def compute_loss(self, x, y, y_pred, sample_weight=None, training=True):
            x, y, _ = self.rows(x, y, y_pred)
            return kv.VAE.compute_loss(self, x, y, y_pred)

    model = Unweighted(
        kv.networks.mlp_encoder([8], conditions=conditions),
        kv.networks.mlp_decoder([8], (6,), conditions=conditions),
        latent_dim=2,
        classifier=keras.Sequential([keras.layers.Dense(3)]),
        conditions=conditions,
    )
    model.compile("adam")
    report = audit(model, {"x": x, "label": np.arange(len(x)) % 3})
    assert report.reconstruction is None
    assert "was not recognised" in str(report)

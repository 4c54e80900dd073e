"""Padding counts in no loss, metric or measurement, wherever Keras carries a mask."""

import keras
import matrix
import numpy as np
import pytest
import tensorflow as tf

import keras_vae as kv
from keras_vae import distributions

GENERATOR = np.random.default_rng(0)
TIMES, CLASSES = 6, 7
# Half of each row is padding.
WORDS = np.pad(GENERATOR.integers(1, CLASSES, (8, 3)), [(0, 0), (0, 3)])[..., None]
THREE_WORDS = 3 * np.log(CLASSES)
WEIGHTS = np.float32([1, 0, 2, 1, 0.5, 3, 1, 1])


@keras.saving.register_keras_serializable("tests")
class Padding(keras.layers.Layer):
    """Leaves the last elements of a sequence out."""

    def __init__(self, kept=3, **kwargs):
        super().__init__(**kwargs)
        self.kept = kept
        self.supports_masking = True

    def call(self, x):
        return x

    def compute_mask(self, inputs, mask=None):
        kept = np.arange(inputs.shape[1]) < self.kept
        return keras.ops.zeros_like(inputs[..., 0], dtype="bool") | kept

    def get_config(self):
        return {**super().get_config(), "kept": self.kept}


def embedding(units=4):
    return keras.layers.Embedding(CLASSES, units, mask_zero=True)


def sentences(kernel="zeros", mask=True):
    """Embedding, LSTM and a dense layer that puts out logits."""
    ids = keras.Input((TIMES,), dtype="int32")
    h = keras.layers.Embedding(CLASSES, 4, mask_zero=mask)(ids)
    h = keras.layers.LSTM(5, return_sequences=True)(h)
    return keras.Model(ids, keras.layers.Dense(CLASSES, kernel_initializer=kernel)(h))


def nll():
    return kv.losses.NegativeLogLikelihood(distributions.Categorical(CLASSES))


# === A model of one's own ===


def test_padding_behind_an_embedding_is_no_loss():
    model = sentences()
    model.compile(keras.optimizers.SGD(0.0), nll())
    loss = model.evaluate(WORDS[..., 0], WORDS, verbose=0)
    assert loss == pytest.approx(THREE_WORDS, rel=1e-5)
    assert model.train_on_batch(WORDS[..., 0], WORDS) == pytest.approx(THREE_WORDS)
    loss = model.evaluate(WORDS[..., 0], WORDS, sample_weight=WEIGHTS, verbose=0)
    assert loss == pytest.approx(THREE_WORDS, rel=1e-5)
    unmasked = sentences(mask=False)
    unmasked.compile("adam", nll())
    loss = unmasked.evaluate(WORDS[..., 0], WORDS, verbose=0)
    assert loss == pytest.approx(2 * THREE_WORDS, rel=1e-5)


@pytest.mark.parametrize("jit_compile", [False, True])
def test_it_trains_as_the_cross_entropy_of_keras_does(jit_compile):
    # The latter is the mean over words, of which each row has three.
    stock = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    weights = []
    for loss, factor in ((nll(), None), (stock, 3.0)):
        keras.utils.set_random_seed(1)
        model = sentences("glorot_uniform")
        model.compile(keras.optimizers.SGD(1.0), loss, factor, jit_compile=jit_compile)
        model.fit(
            WORDS[..., 0], WORDS, batch_size=4, epochs=3, verbose=0, shuffle=False
        )
        weights.append(model.get_weights())
    keras.utils.set_random_seed(1)
    start = sentences("glorot_uniform").get_weights()
    for ours, theirs, first in zip(*weights, start, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-6)
        assert np.abs(ours - first).max() > 1e-3


def test_sample_weights_weigh_what_the_mask_leaves():
    model = sentences("glorot_uniform")
    model.compile("adam", nll())
    words = WORDS.copy()
    words[:4, 1:] = 0
    logits = model.predict(words[..., 0], verbose=0)
    log_probs = tf.nn.log_softmax(logits).numpy()
    chosen = np.take_along_axis(log_probs, words, axis=-1)[..., 0]
    each = -np.sum(chosen * (words[..., 0] > 0), axis=1)
    loss = model.evaluate(words[..., 0], words, sample_weight=WEIGHTS, verbose=0)
    assert loss == pytest.approx(np.average(each, weights=WEIGHTS), rel=1e-5)


def test_what_stands_in_the_padding_has_no_effect():
    y = WORDS.astype("float32")
    logits = GENERATOR.normal(size=(8, TIMES, CLASSES)).astype("float32")
    losses, gradients = [], []
    for bad in (0.0, np.nan):
        params = tf.constant(np.where(y > 0, logits, bad).astype("float32"))
        with tf.GradientTape() as tape:
            tape.watch(params)
            pred = tf.identity(params)
            pred._keras_mask = tf.constant(y[..., 0] > 0)
            loss = nll()(np.where(y > 0, y, bad), pred)
        losses.append(float(loss))
        gradients.append(tape.gradient(loss, params).numpy())
    assert losses[0] == losses[1] > 1.0
    np.testing.assert_array_equal(*gradients)
    assert np.all(gradients[1][:, 3:] == 0.0)
    assert np.abs(gradients[1][:, :3]).max() > 0.01


def test_padded_times_have_no_rate():
    x = keras.Input((TIMES, 4))
    latent = kv.layers.Latent(2, seed=0)
    z = keras.layers.TimeDistributed(latent)(Padding()(x))
    model = keras.Model(x, keras.layers.Dense(4)(z))
    model.compile("adam", kv.losses.NegativeLogLikelihood("unit_normal"))
    data = GENERATOR.normal(size=(8, TIMES, 4)).astype("float32")
    logs = model.evaluate(data, data, verbose=0, return_dict=True)
    rates = []
    for time in range(TIMES):
        latent(data[:, time])
        rates.append(float(latent.losses[0]))
    assert min(rates) > 0.1
    assert logs["kl_loss"] == pytest.approx(sum(rates[:3]), rel=1e-5)
    decoded = model(data).numpy()
    error = np.sum((decoded - data)[:, :3] ** 2, axis=(1, 2)).mean() / 2
    distortion = error + 12 * np.log(2 * np.pi) / 2
    assert logs["loss"] == pytest.approx(distortion + sum(rates[:3]), rel=1e-5)
    evidence = kv.diagnose(model, data, audit=False).evidence
    assert evidence["rate"] == pytest.approx(sum(rates[:3]), rel=1e-5)
    assert evidence["distortion"] == pytest.approx(distortion, rel=0.1)
    assert evidence["latent_dim"] == 2 * TIMES


# === A VAE ===


def text_vae(masked="decoder", cls=kv.VAE, kernel="zeros", **kwargs):
    """A VAE whose decoder or encoder masks the last three words."""
    logits = keras.layers.Dense(TIMES * CLASSES, kernel_initializer=kernel)
    decoder = [logits, keras.layers.Reshape((TIMES, CLASSES))]
    encoder = [keras.layers.Reshape((TIMES,)), embedding()]
    if masked != "encoder":
        encoder = [keras.layers.Flatten(), keras.layers.Dense(5)]
    if masked == "decoder":
        decoder.append(Padding())
    return cls(
        keras.Sequential(encoder),
        keras.Sequential(decoder),
        latent_dim=2,
        likelihood=distributions.Categorical(CLASSES),
        seed=0,
        **kwargs,
    )


SMALL = {"discriminator": kv.networks.mlp_decoder([3], (2,))}


@pytest.mark.parametrize(
    ("cls", "masked", "kwargs"),
    matrix.first(
        3,
        [
            (kv.VAE, "decoder", {"objective": kv.ELBO(num_samples=3)}),
            (kv.VAE, "encoder", {}),
            (kv.MultiRateVAE, "decoder", {"num_samples": 2}),
            (kv.VAE, "decoder", {}),
            (kv.VAE, "encoder", {"objective": kv.ImportanceWeighted(num_samples=3)}),
            (kv.MultiRateVAE, "encoder", {}),
            (kv.AggressiveVAE, "decoder", {}),
            (kv.FactorVAE, "encoder", SMALL),
        ],
    ),
)
def test_a_vae_counts_no_padding(cls, masked, kwargs):
    vae = text_vae(masked, cls, **kwargs)
    vae.compile(keras.optimizers.SGD(0.0))
    data = WORDS.astype("float32")
    for logs in (
        vae.evaluate(data, verbose=0, return_dict=True),
        vae.evaluate(data, data, sample_weight=WEIGHTS, verbose=0, return_dict=True),
        {k: v[0] for k, v in vae.fit(data, batch_size=4, verbose=0).history.items()},
        vae.train_on_batch(data, return_dict=True),
    ):
        assert logs["reconstruction_loss"] == pytest.approx(THREE_WORDS, rel=1e-5)
        total = THREE_WORDS + logs["kl_loss"]
        assert logs["negative_elbo"] == pytest.approx(total, rel=1e-5)
    rate = vae.objective.rate(
        vae.estimate(tf.constant(data), data, 1, kv.random.key(0))
    )
    np.testing.assert_allclose(vae.elbo(data), -THREE_WORDS - rate, rtol=1e-5)
    if cls is kv.VAE:
        # Posterior and prior are equal.
        vae.latent.head.set_weights([0 * w for w in vae.latent.head.get_weights()])
        settings = {"num_samples": 20, "jit_compile": False, "verbose": 0}
        estimate = vae.log_likelihood(data, **settings)
        np.testing.assert_allclose(estimate, -THREE_WORDS, rtol=1e-4)


@pytest.mark.parametrize(
    ("masked", "jit_compile"), [("decoder", False), ("encoder", True)]
)
def test_what_stands_in_the_padding_of_a_vae_has_no_effect(masked, jit_compile):
    def trained(targets):
        keras.utils.set_random_seed(2)
        vae = text_vae(masked, kernel="glorot_uniform")
        vae.compile(keras.optimizers.SGD(0.01), jit_compile=jit_compile)
        data = WORDS.astype("float32")
        history = vae.fit(data, targets, epochs=2, verbose=0, shuffle=False).history
        return history["loss"], vae.get_weights()

    words = WORDS.astype("float32")
    others = words.copy()
    others[:, 3:] = GENERATOR.integers(0, CLASSES, (8, 3, 1))
    (losses, weights), (other_losses, other_weights) = trained(words), trained(others)
    assert losses == other_losses
    assert losses[1] < losses[0]
    for value, other in zip(weights, other_weights, strict=True):
        np.testing.assert_array_equal(value, other)


def test_a_target_that_carries_a_mask():
    vae = text_vae("nothing")
    vae.build((None, TIMES, 1))
    x, target = (tf.constant(WORDS.astype("float32")) for _ in range(2))
    whole = vae.estimate(x, target, 1, kv.random.key(0)).distortion
    target._keras_mask = target[..., 0] > 0
    left = vae.estimate(x, target, 1, kv.random.key(0)).distortion
    np.testing.assert_allclose(whole, 2 * THREE_WORDS, rtol=1e-5)
    np.testing.assert_allclose(left, THREE_WORDS, rtol=1e-5)


def test_masks_of_decoder_and_encoder_hold_together():
    vae = text_vae("encoder")
    vae.decoder.add(Padding(kept=2))
    vae.compile("sgd")
    words = WORDS.astype("float32")
    words[:, 0] = 0.0
    logs = vae.evaluate(words, verbose=0, return_dict=True)
    assert logs["reconstruction_loss"] == pytest.approx(np.log(CLASSES), rel=1e-5)


def test_features_of_another_length_mask_no_target():
    # The encoder reads six words, the decoder puts out four numbers.
    encoder = keras.Sequential([keras.layers.Reshape((TIMES,)), embedding()])
    decoder = keras.layers.Dense(4, kernel_initializer="zeros")
    vae = kv.VAE(encoder, decoder, 2, "unit_normal", seed=0)
    vae.compile("sgd")
    logs = vae.evaluate(
        WORDS.astype("float32"), np.zeros((8, 4)), verbose=0, return_dict=True
    )
    constant = 2 * np.log(2 * np.pi)
    assert logs["reconstruction_loss"] == pytest.approx(constant, rel=1e-5)


def normal_vae(likelihood, **kwargs):
    """A VAE of series, whose decoder says zero and masks the last three times."""
    likelihood = distributions.likelihoods.get(likelihood)
    dense = keras.layers.Dense(TIMES * 2, kernel_initializer="zeros")
    decoder = [dense, keras.layers.Reshape((TIMES, 2)), Padding()]
    encoder = kv.networks.mlp_encoder([4])
    return kv.VAE(encoder, keras.Sequential(decoder), 2, likelihood, seed=0, **kwargs)


SERIES = GENERATOR.normal(size=(40, TIMES, 2)).astype("float32")
# What an error would be seen by, were it counted.
SERIES[:, 3:] *= 50.0
SQUARES = np.mean(SERIES[:, :3] ** 2)


@pytest.mark.parametrize("weights", [None, np.arange(40.0)])
def test_compiled_metrics_count_no_padding(weights):
    vae = normal_vae("unit_normal")
    vae.compile(keras.optimizers.SGD(0.0), metrics=["mse"], weighted_metrics=["mae"])
    logs = vae.evaluate(
        SERIES, SERIES, sample_weight=weights, verbose=0, return_dict=True
    )
    assert logs["mse"] == pytest.approx(SQUARES, rel=1e-5)
    absolute = np.abs(SERIES[:, :3]).mean(axis=(1, 2))
    assert logs["mae"] == pytest.approx(np.average(absolute, weights=weights), rel=1e-5)
    each = np.sum(SERIES[:, :3] ** 2, axis=(1, 2)) / 2
    distortion = np.average(each, weights=weights) + 3 * np.log(2 * np.pi)
    assert logs["reconstruction_loss"] == pytest.approx(distortion, rel=1e-5)


def test_the_optimal_noise_is_that_of_the_elements_observed():
    vae = normal_vae("optimal_normal")
    vae.compile(keras.optimizers.SGD(0.0))
    logs = vae.train_on_batch(SERIES, return_dict=True)
    assert float(vae.likelihood.current_scale()) == pytest.approx(
        SQUARES**0.5, rel=1e-5
    )
    distortion = 3 * (1 + np.log(2 * np.pi * SQUARES))
    assert logs["reconstruction_loss"] == pytest.approx(distortion, rel=1e-5)
    evidence = kv.diagnose(vae, SERIES).evidence
    assert evidence["error"] == pytest.approx(SQUARES**0.5, rel=1e-5)
    assert evidence["noise_ratio"] == pytest.approx(1.0, rel=1e-5)
    assert evidence["distortion"] == pytest.approx(distortion, rel=1e-5)
    assert evidence["missing_rate"] < 20.0


def test_a_distortion_target_divides_by_the_number_observed():
    objective = kv.objectives.DistortionTarget(distortion=1.0, speed=0.1)
    vae = normal_vae("unit_normal", objective=objective)
    vae.compile(keras.optimizers.SGD(0.0))
    logs = vae.train_on_batch(SERIES, return_dict=True)
    error = logs["reconstruction_loss"] - 1.0
    assert logs["distortion_error"] == pytest.approx(error, rel=1e-5)
    multiplier = np.exp(0.1 * error / 6)
    assert 1.001 < multiplier < 2.7
    assert logs["distortion_multiplier"] == pytest.approx(multiplier, rel=1e-5)


@pytest.mark.parametrize("masked", ["decoder", "encoder"])
def test_diagnosis_and_audit_count_no_padding(masked):
    vae = text_vae(masked, kernel="glorot_uniform", objective=kv.ELBO(kl_weight=0.5))
    vae.compile("sgd")
    data = np.tile(WORDS.astype("float32"), (8, 1, 1))
    evidence = kv.diagnose(vae, data).evidence
    logs = vae.evaluate(data, verbose=0, return_dict=True)
    assert evidence["distortion"] == pytest.approx(
        logs["reconstruction_loss"], rel=0.03
    )
    assert evidence["distortion"] < 1.3 * THREE_WORDS
    report = kv.audit(vae, data)
    assert report.reconstruction.form == "likelihood"
    assert report.reconstruction.coefficients == pytest.approx(
        [1.0] * len(report.reconstruction.coefficients), rel=1e-3
    )
    (kl,) = report.kl
    assert kl.coefficients == pytest.approx([0.5] * len(kl.coefficients), rel=1e-3)


@pytest.mark.parametrize("masked", ["decoder", "encoder"])
def test_a_saved_model_masks_alike(masked, tmp_path):
    vae = text_vae(masked, kernel="glorot_uniform")
    vae.compile("sgd")
    data = WORDS.astype("float32")
    expected = vae.evaluate(data, verbose=0)
    vae.save(tmp_path / "vae.keras")
    loaded = keras.models.load_model(tmp_path / "vae.keras")
    np.testing.assert_array_equal(loaded.evaluate(data, verbose=0), expected)


def test_two_replicas_count_no_padding(strategy):
    def trained():
        objective = kv.objectives.DistortionTarget(distortion=1.0, speed=0.1)
        vae = normal_vae("optimal_normal", objective=objective)
        vae.compile(keras.optimizers.SGD(0.0), jit_compile=False)
        vae.build((None, TIMES, 2))
        vae.latent.head.set_weights([0 * w for w in vae.latent.head.get_weights()])
        history = vae.fit(SERIES, batch_size=20, epochs=2, shuffle=False, verbose=0)
        return history.history

    expected = trained()
    with strategy.scope():
        found = trained()
    assert expected["distortion_multiplier"][0] != expected["distortion_multiplier"][1]
    for name, values in expected.items():
        np.testing.assert_allclose(found[name], values, rtol=1e-5, err_msg=name)

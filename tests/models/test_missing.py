"""VAEs whose data have missing elements."""

import keras
import matrix
import numpy as np
import pytest
import tensorflow as tf
from scipy import stats

import keras_vae as kv
from keras_vae import distributions

GENERATOR = np.random.default_rng(0)
SIZE = 6
WHOLE = GENERATOR.normal(size=(40, SIZE)).astype("float32")
GAPS = GENERATOR.random(WHOLE.shape) < 0.3
GAPS[:3] = False
GAPS[3] = True
X = np.where(GAPS, np.nan, WHOLE).astype("float32")
NANS = ["nan", "nan_with_mask"]


def make_vae(likelihood="unit_normal", size=SIZE, cls=kv.VAE, outputs=1, **kwargs):
    options = {"missing": "nan", "seed": 0, **kwargs}
    return cls(
        kv.networks.mlp_encoder([5], activation="tanh"),
        kv.networks.mlp_decoder([5], (outputs * size,), activation="tanh"),
        latent_dim=2,
        likelihood=likelihood,
        **options,
    )


def copied(values):
    """Arrays of a likelihood's own parameters, of one sample."""
    return np.asarray(values, np.float64)[:, 0]


# === Densities ===


def norm(params, x, vae):
    return stats.norm.logpdf(x, params, 0.5)


def laplace(params, x, vae):
    return stats.laplace.logpdf(x, params, 0.5)


def bernoulli(params, x, vae):
    return stats.bernoulli.logpmf(np.nan_to_num(x > 0), 1 / (1 + np.exp(-params)))


@pytest.mark.parametrize(
    ("likelihood", "density"),
    [
        (distributions.Normal(scale=0.5), norm),
        (distributions.Laplace(scale=0.5), laplace),
        (distributions.Bernoulli(), bernoulli),
    ],
)
def test_distortion_is_that_of_the_elements_that_are_there(likelihood, density):
    likelihood = type(likelihood).from_config(likelihood.get_config())
    data = np.where(GAPS, np.nan, WHOLE > 0) if density is bernoulli else X
    vae = make_vae(likelihood)
    outputs = vae(tf.constant(data, tf.float32))
    each = density(copied(outputs["likelihood"]), data, vae)
    expected = -np.sum(np.where(GAPS, 0.0, each), axis=1)
    vae.compile(keras.optimizers.SGD(0.0))
    logs = vae.evaluate(data, batch_size=40, verbose=0, return_dict=True)
    assert logs["reconstruction_loss"] == pytest.approx(expected.mean(), rel=1e-6)
    estimate = vae.estimate(
        tf.constant(data, tf.float32), data, 1, vae.latent.noise.evaluation_key(0)
    )
    np.testing.assert_allclose(estimate.distortion, expected, rtol=1e-5, atol=1e-6)
    assert expected[3] == estimate.distortion[3] == 0.0
    rate = vae.objective.rate(estimate)
    np.testing.assert_allclose(
        vae.elbo(data, seed=5).numpy()[3], -rate[3], rtol=1e-6
    )  # Without elements there is no noise in it.
    assert float(estimate.event_size) == pytest.approx(np.sum(~GAPS) / 40, rel=1e-6)


@pytest.mark.parametrize("missing", NANS)
def test_a_wholly_missing_example_is_coded_as_zeros(missing):
    vae = make_vae(missing=missing)
    mean, stddev = vae.encode(X)
    zeros = np.zeros((1, SIZE), "float32")
    inputs = zeros if missing == "nan" else np.concatenate([zeros, zeros], axis=1)
    expected = vae.latent.posterior.mean_and_stddev(
        vae.latent.infer(vae.encoder(inputs))
    )
    np.testing.assert_allclose(mean[3], expected[0][0], rtol=1e-6)
    np.testing.assert_allclose(stddev[3], expected[1][0], rtol=1e-6)
    np.testing.assert_array_equal(vae.reconstruct(X)[3], vae.decode(mean[3:4])[0])


@pytest.mark.parametrize("missing", NANS)
def test_whole_data_are_as_without_the_option(missing):
    plain, vae = make_vae(missing=None), make_vae(missing=missing)
    for model in (plain, vae):
        model.build((None, SIZE))
    weights = plain.get_weights()
    if missing == "nan_with_mask":
        weights[0] = np.concatenate([weights[0], np.zeros((SIZE, 5))])
    vae.set_weights(weights)
    for method in ("reconstruct", "elbo"):
        expected = getattr(plain, method)(WHOLE)
        np.testing.assert_allclose(getattr(vae, method)(WHOLE), expected, rtol=1e-5)


def test_the_network_sees_which_elements_are_there():
    vae = make_vae(missing="nan_with_mask")
    seen = []
    vae.build((None, SIZE))
    call = vae.encoder.call
    vae.encoder.call = lambda x, **kwargs: seen.append(x) or call(x, **kwargs)
    vae.encode(X)
    expected = np.concatenate([np.where(GAPS, 0.0, X), ~GAPS], axis=1)
    np.testing.assert_array_equal(seen[0], expected)


def test_the_mask_of_images_is_a_channel():
    shape = (8, 8, 1)
    images = np.round(GENERATOR.random((4, *shape))).astype("float32")
    images[:, :3] = np.nan
    vae = kv.VAE(
        kv.networks.conv_encoder((8, 8, 2), filters=[2], hidden=[4]),
        kv.networks.conv_decoder(shape, filters=[2], hidden=[4]),
        latent_dim=2,
        missing="nan_with_mask",
    )
    assert vae.reconstruct(images).shape == images.shape
    logits = vae(tf.constant(images))["likelihood"][:, 0].numpy()
    each = stats.bernoulli.logpmf(images[:, 3:], 1 / (1 + np.exp(-logits[:, 3:])))
    key = vae.latent.noise.evaluation_key(0)
    found = vae.estimate(tf.constant(images), images, 1, key).distortion
    np.testing.assert_allclose(found, -each.sum(axis=(1, 2, 3)), rtol=1e-5)


# === Gradients ===


def gradients(vae, data):
    with tf.GradientTape() as tape:
        estimate = vae.estimate(tf.constant(data), data, 1, kv.random.key(1))
        loss = tf.reduce_sum(estimate.distortion + estimate.rate())
    return tape.gradient(loss, vae.trainable_variables)


@pytest.mark.parametrize("missing", NANS)
def test_a_missing_element_has_no_gradient(missing):
    data = X.copy()
    data[:, 2] = np.nan
    vae = make_vae(missing=missing)
    vae.build((None, SIZE))
    found = gradients(vae, data)
    named = dict(zip((v.path for v in vae.trainable_variables), found, strict=True))
    assert all(np.all(np.isfinite(value)) for value in named.values())
    bias = next(v for v in named.values() if v.shape == (SIZE,)).numpy()
    assert bias[2] == 0.0
    assert np.all(np.abs(np.delete(bias, 2)) > 1e-3)


def test_padding_to_twice_the_size_changes_nothing():
    # The further columns are missing everywhere, whatever their weights.
    small, large = make_vae(), make_vae(size=2 * SIZE)
    padded = np.concatenate([X, np.full_like(X, np.nan)], axis=1)
    small.build((None, SIZE))
    large.build((None, 2 * SIZE))
    for part, whole in zip(
        small.trainable_variables, large.trainable_variables, strict=True
    ):
        value = whole.numpy()
        value[tuple(slice(size) for size in part.shape)] = part
        whole.assign(value)
    np.testing.assert_allclose(large.elbo(padded), small.elbo(X), rtol=1e-6)
    for value, whole in zip(gradients(small, X), gradients(large, padded), strict=True):
        whole = np.array(whole)
        inner = tuple(slice(size) for size in value.shape)
        np.testing.assert_allclose(whole[inner], value, rtol=1e-5, atol=1e-6)
        whole[inner] = 0.0
        assert not whole.any()


@pytest.mark.parametrize(
    ("cls", "kwargs", "jit_compile"),
    matrix.first(
        1,
        [
            (kv.VAE, {"linear_path": True, "missing": NANS[1]}, False),
            (kv.MultiRateVAE, {"linear_path": True, "missing": NANS[1]}, False),
            (kv.VAE, {"likelihood": "optimal_normal"}, True),
            (kv.MultiRateVAE, {"likelihood": "normal"}, True),
            (kv.AggressiveVAE, {}, False),
            (kv.FactorVAE, {"discriminator": kv.networks.mlp_decoder([3], (2,))}, True),
        ],
    ),
)
@pytest.mark.slow
def test_every_model_trains_on_what_is_there(cls, kwargs, jit_compile):
    vae = make_vae(cls=cls, **kwargs)
    vae.compile(keras.optimizers.Adam(0.02), jit_compile=jit_compile)
    history = vae.fit(X, epochs=5, batch_size=10, verbose=0).history
    assert np.isfinite(list(history.values())).all()
    assert min(history["loss"][1:]) < history["loss"][0]
    assert np.isfinite(vae.log_likelihood(X, num_samples=5, verbose=0)).all()
    if cls is kv.MultiRateVAE:
        plain = vae.at(1.0)
        assert plain.missing == vae.missing
        np.testing.assert_allclose(plain.elbo(X), vae.elbo(X), rtol=1e-4)


def test_the_optimal_noise_is_that_of_what_is_there():
    vae = make_vae("optimal_normal")
    vae.compile(keras.optimizers.SGD(0.0))
    outputs = vae(tf.constant(X), training=True)
    error = (copied(outputs["likelihood"]) - X)[~GAPS]
    vae.latent.noise.count.assign(0)
    vae.train_on_batch(X)
    scale = float(vae.likelihood.current_scale())
    assert scale == pytest.approx(np.sqrt(np.mean(error**2)), rel=1e-5)


# === Metrics ===


def test_metrics_count_what_is_there():
    vae = make_vae()
    weights = np.arange(40.0)
    vae.compile(keras.optimizers.SGD(0.0), metrics=["mse"], weighted_metrics=["mae"])
    means = copied(vae(tf.constant(X))["likelihood"])
    logs = vae.evaluate(
        X, X, batch_size=40, sample_weight=weights, verbose=0, return_dict=True
    )
    error = (means - X)[~GAPS]
    assert logs["mse"] == pytest.approx(np.mean(error**2), rel=1e-5)
    each = np.repeat(weights[:, None], SIZE, axis=1)[~GAPS]
    mae = np.average(np.abs(error), weights=each)
    assert logs["mae"] == pytest.approx(mae, rel=1e-5)


@pytest.mark.parametrize("missing", matrix.first(1, NANS[::-1]))
def test_diagnosis_and_audit_count_what_is_there(missing):
    data = np.tile(X, (8, 1))
    vae = make_vae(missing=missing, objective=kv.ELBO(kl_weight=0.5))
    vae.compile("sgd")
    logs = vae.evaluate(data, verbose=0, return_dict=True)
    evidence = kv.diagnose(vae, data, audit=False).evidence
    distortion = logs["reconstruction_loss"]
    assert evidence["distortion"] == pytest.approx(distortion, rel=0.03)
    (kl,) = kv.audit(vae, data).kl
    assert kl.coefficients == pytest.approx([0.5] * len(kl.coefficients), rel=1e-3)


# === Files and units ===


@pytest.mark.parametrize(
    "kwargs",
    matrix.first(1, [{"missing": NANS[1], "linear_path": True}, {"missing": NANS[0]}]),
)
def test_saved_exported_and_in_other_units(kwargs, tmp_path):
    vae = make_vae(distributions.Normal(scale=0.5), **kwargs)
    vae.compile("sgd")
    vae.fit(X, verbose=0)
    vae.save(tmp_path / "vae.keras")
    loaded = keras.models.load_model(tmp_path / "vae.keras")
    assert loaded.missing == vae.missing
    np.testing.assert_array_equal(loaded.elbo(X), vae.elbo(X))
    vae.export(tmp_path / "saved", verbose=False)
    served = tf.saved_model.load(tmp_path / "saved")
    np.testing.assert_allclose(served.serve(X), vae.reconstruct(X), atol=1e-5)
    found = -served.negative_elbo(X, tf.constant(3, tf.int64))
    np.testing.assert_allclose(found, vae.elbo(X, seed=3), rtol=1e-5)
    mean, scale = np.arange(SIZE) + 20.0, np.arange(SIZE) + 1.0
    raw = kv.in_original_units(vae, kv.normalization.layer(mean, scale))
    data = np.float32(mean + scale * X)
    log_scales = np.where(GAPS, 0.0, np.log(scale)).sum(axis=1)
    np.testing.assert_allclose(raw.elbo(data), vae.elbo(X) - log_scales, atol=1e-3)
    whole = mean + scale * vae.reconstruct(X)
    np.testing.assert_allclose(raw.reconstruct(data), whole, rtol=1e-4)


@pytest.mark.slow
def test_pictures_and_guards_take_gaps(tmp_path):
    data = np.where(GENERATOR.random((16, 8, 8, 1)) < 0.2, np.nan, 1.0)
    vae = kv.VAE(
        kv.networks.mlp_encoder([4]),
        kv.networks.mlp_decoder([4], (8, 8, 1)),
        latent_dim=2,
        missing="nan",
    )
    vae.compile("sgd")
    board = kv.callbacks.TensorBoard(tmp_path, data=data)
    guard = kv.callbacks.DivergenceGuard(data=data)
    history = vae.fit(data, verbose=0, callbacks=[board, guard]).history
    assert np.isfinite(history["loss"]).all()
    assert guard.divergence is None
    probe = kv.callbacks.divergence_probe.first_bad_data
    assert probe(data) is not None
    assert probe(data, missing="nan") is None
    data[2, 0] = np.inf
    assert probe(data, missing="nan") == "example 2, counted from 0, holds inf"


# === Errors ===


def with_infinity():
    data = X.copy()
    data[0, 0] = np.inf
    return data


@pytest.mark.parametrize(
    "act",
    [
        lambda vae, x: vae.fit(x, verbose=0),
        lambda vae, x: vae.fit(X, x, verbose=0),
        lambda vae, x: vae.predict(x, verbose=0),
        lambda vae, x: vae.encode(x),
        lambda vae, x: vae.log_likelihood(x, num_samples=2, verbose=0),
    ],
)
def test_infinity_is_no_missing_element(act):
    vae = make_vae()
    vae.compile("sgd")
    with pytest.raises(ValueError, match="must be finite or NaN.*1 values that are in"):
        act(vae, with_infinity())


def test_in_a_graph_infinity_makes_the_example_nan():
    vae = make_vae()
    vae.build((None, SIZE))
    found = tf.function(vae.reconstruct)(tf.constant(with_infinity())).numpy()
    assert np.isnan(found[0]).all()
    assert np.isfinite(found[1:]).all()


def test_without_the_option_nan_is_an_error(tmp_path):
    vae = make_vae(missing=None)
    vae.compile("sgd")
    with pytest.raises(ValueError, match=r"`x` must be finite.*`VAE\(missing="):
        vae.fit(X, verbose=0)
    board = kv.callbacks.TensorBoard(tmp_path, data=X)
    with pytest.raises(ValueError, match=r"`data` must be finite.*NaN"):
        vae.fit(WHOLE, verbose=0, callbacks=[board])


def test_data_outside_of_the_support():
    vae = make_vae("bernoulli")
    vae.compile("sgd")
    with pytest.raises(ValueError, match=r"`x` must"):
        vae.fit(X, verbose=0)


@pytest.mark.parametrize("missing", [True, "NaN", 0, float("nan")])
def test_unknown_missing(missing):
    with pytest.raises(ValueError, match="`missing` must be None, 'nan', "):
        make_vae(missing=missing)

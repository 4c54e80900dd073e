"""A model of standardised data, made one of the data in their own units."""

import keras
import matrix
import numpy as np
import pytest
import scipy.stats
import tensorflow as tf

import keras_vae as kv

LOADINGS = np.random.default_rng(0).normal(size=(2, 5))
MEAN = np.array([3.0, -700.0, 0.02, 5e4, 7.0])
STDDEV = np.array([1.0, 90.0, 1e-3, 20.0, 1.0])  # The last column does not vary.
LOG_UNITS = np.log(STDDEV).sum()


def planted(number=400, seed=1):
    """A linear-Gaussian table, standardised and in its own units, float32."""
    generator = np.random.default_rng(seed)
    z = generator.normal(size=(number, 2))
    x = z @ LOADINGS + 0.7 * generator.normal(size=(number, 5))
    x /= np.sqrt(np.square(LOADINGS).sum(axis=0) + 0.49)
    x[:, 4] = 0.0
    return np.float32(x), np.float32(MEAN + STDDEV * x)


X, RAW = planted()


def layer():
    return kv.normalization.layer(MEAN, STDDEV)


def make(likelihood="normal", outputs=5, **kwargs):
    """A VAE of standardised rows, with random weights."""
    keras.utils.set_random_seed(2)
    vae = kv.VAE(
        encoder=kv.networks.mlp_encoder([8], activation="tanh"),
        decoder=kv.networks.mlp_decoder([8], (outputs,), activation="tanh"),
        latent_dim=2,
        likelihood=likelihood,
        seed=0,
        **kwargs,
    )
    vae.build((None, 5))
    return vae


def vamp():
    prior = kv.priors.VampPrior(3, value_range=(-1.0, 0.5), seed=1)
    vae = make(prior=prior, objective=kv.ELBO(kl="monte_carlo"))
    prior.initialize(X)
    return vae


def factor():
    return kv.FactorVAE(
        kv.networks.mlp_encoder([8]),
        kv.networks.mlp_decoder([8], (5,)),
        2,
        discriminator=kv.networks.mlp_decoder([4], (2,)),
        likelihood="normal",
        seed=0,
    )


def linear_path():
    vae = make(linear_path=True)
    vae.adapt(X)
    return vae


def ladder():
    networks = kv.networks.mlp_levels([8, 6], (5,), "tanh", batch_normalization=True)
    options = {"likelihood": "normal", "prior": "learned_normal", "seed": 0}
    keras.utils.set_random_seed(2)
    return kv.HierarchicalVAE(*networks, [3, 2], **options)


MODELS = {
    "ladder": ladder,
    "linear_path": linear_path,
    "vamp_prior": vamp,
    "normal": make,
    "per_output": lambda: make(kv.distributions.Laplace("per_output"), outputs=10),
    "factor": factor,
}


@pytest.mark.parametrize("name", matrix.first(3, list(MODELS)))
def test_all_answers_are_those_of_the_standardised_model_in_other_units(name):
    vae = MODELS[name]()
    if not vae.built:
        vae.build((None, 5))
    raw = kv.in_original_units(vae, layer())
    assert type(raw) is (kv.HierarchicalVAE if name == "ladder" else kv.VAE)
    # A thousandth of what float32 resolves of x, which is 4e-3 of its deviation.
    close = {"rtol": 1e-4, "atol": 2e-3}
    moments = map(tf.nest.flatten, (raw.encode(RAW), vae.encode(X)))
    for own, standard in zip(*moments, strict=True):
        np.testing.assert_allclose(own, standard, **close)
    np.testing.assert_allclose(raw.elbo(RAW), vae.elbo(X) - LOG_UNITS, rtol=2e-3)
    np.testing.assert_allclose(
        raw.log_likelihood(RAW[:9], num_samples=10, verbose=0),
        vae.log_likelihood(X[:9], num_samples=10, verbose=0) - LOG_UNITS,
        rtol=2e-3,
    )
    for own, standard in (
        (raw.reconstruct(RAW), vae.reconstruct(X)),
        (raw.generate(9, seed=3), vae.generate(9, seed=3)),
        (raw.generate(9, 3, noise=True), vae.generate(9, 3, noise=True)),
    ):
        np.testing.assert_allclose((own - MEAN) / STDDEV, standard, **close)


def test_file_and_saved_model_take_and_give_the_units_of_the_data(tmp_path):
    vae = linear_path()
    raw = kv.in_original_units(vae, layer())
    raw.optimizer.build(raw.trainable_variables)
    raw.save(tmp_path / "raw.keras")
    loaded = keras.saving.load_model(tmp_path / "raw.keras")
    assert loaded.likelihood.get_config() == raw.likelihood.get_config()
    np.testing.assert_array_equal(loaded.elbo(RAW), raw.elbo(RAW))
    again = kv.VAE.from_config(loaded.get_config())
    assert again.get_config() == loaded.get_config()
    loaded.export(tmp_path / "model", verbose=False)
    served = tf.saved_model.load(tmp_path / "model")
    reconstruction = (served.serve(RAW).numpy() - MEAN) / STDDEV
    np.testing.assert_allclose(reconstruction, vae.reconstruct(X), atol=5e-3)
    np.testing.assert_allclose(served.encode(RAW)["mean"], vae.encode(X)[0], atol=5e-3)
    drawn = served.generate_with_noise(n=200, seed=3)
    np.testing.assert_allclose(drawn, raw.generate(200, 3, noise=True), rtol=1e-5)


def test_raw_data_train_the_weights_that_standardised_data_train():
    normalization = keras.layers.Normalization()
    normalization.adapt(np.float64(RAW[:, :4]))
    mean, stddev = kv.normalization.moments(normalization)
    data = np.float32((RAW[:, :4] - mean) / stddev), RAW[:, :4]
    weights, losses = [], []
    for steps, likelihood, x in (
        ([], kv.distributions.Normal("optimal"), data[0]),
        (
            [normalization],
            kv.distributions.Standardized("optimal_normal", normalization),
            data[1],
        ),
    ):
        keras.utils.set_random_seed(2)
        vae = kv.VAE(
            keras.Sequential([*steps, keras.layers.Dense(8, activation="tanh")]),
            kv.networks.mlp_decoder([8], (4,), activation="tanh"),
            latent_dim=2,
            likelihood=likelihood,
            seed=0,
        )
        vae.compile(keras.optimizers.SGD(0.01))
        logs = vae.fit(x, batch_size=80, shuffle=False, verbose=0).history
        assert int(vae.optimizer.iterations) == 5
        weights.append([v.numpy() for v in vae.trainable_variables])
        losses.append(logs["loss"][0])
        vae.evaluate(x, verbose=0)
    for standard, raw in zip(*weights, strict=True):
        np.testing.assert_allclose(raw, standard, atol=2e-4)
    np.testing.assert_allclose(losses[1] - losses[0], np.log(stddev).sum(), rtol=1e-3)


def test_half_precision_does_not_round_the_data():
    keras.config.set_dtype_policy("mixed_float16")
    vae = make()
    keras.config.set_dtype_policy("float32")
    raw = kv.in_original_units(vae, layer())
    # 5e4 + 20 x would lose x in half precision.
    mean = raw.encode(RAW)[0].numpy()
    np.testing.assert_allclose(mean, vae.encode(X)[0], atol=0.02)
    assert raw.encoder.layers[-1].layers[-1].compute_dtype == "float16"
    assert np.isfinite(raw(RAW)["z"]).all()


def test_one_mean_and_deviation_for_whole_images():
    x = np.random.default_rng(0).normal(size=(20, 4, 4, 1)).astype("float32")
    vae = kv.VAE(
        kv.networks.conv_encoder((4, 4, 1), filters=[2], hidden=[4]),
        kv.networks.conv_decoder((4, 4, 1), filters=[2], hidden=[4]),
        latent_dim=2,
        likelihood="laplace",
        seed=0,
    )
    vae.build((None, 4, 4, 1))
    for numbers in ((10.0, 50.0), ([[[10.0]]], [[[50.0]]])):
        raw = kv.in_original_units(vae, kv.normalization.layer(*numbers))
        expected = vae.elbo(x) - 16 * np.log(50.0)
        np.testing.assert_allclose(raw.elbo(10 + 50 * x), expected, rtol=1e-4)


def test_elements_left_out_do_not_count_their_units():
    likelihood = kv.distributions.Standardized("unit_normal", layer())
    mask = np.array([[True, False, True, True, False]])
    x = np.where(mask, RAW[:1], np.nan).astype("float32")
    with tf.GradientTape() as tape:
        params = tf.Variable(np.full((1, 1, 5), 0.3, "float32"))
        value = likelihood.log_prob(params, x, mask=mask)
    expected = scipy.stats.norm.logpdf(RAW[0], MEAN + 0.3 * STDDEV, STDDEV)[mask[0]]
    np.testing.assert_allclose(value, [[expected.sum()]], rtol=2e-3)
    gradient = tape.gradient(value, params).numpy()[0, 0]
    np.testing.assert_allclose(gradient, np.where(mask[0], X[0] - 0.3, 0), atol=5e-3)
    density = likelihood.distribution(params)
    np.testing.assert_allclose(density.stddev()[0, 0], STDDEV, rtol=1e-5)
    np.testing.assert_allclose(
        density.log_prob(RAW[:1])[0, 0],
        likelihood.log_prob(params, RAW[:1])[0, 0],
        rtol=1e-5,
    )


def test_a_weight_is_the_noise_of_standardised_data():
    """The curve of a normal of fixed scale reads alike in both units."""
    models = {}
    for beta in (0.2, 0.6):
        vae = make("unit_normal", linear_path=True, objective=kv.ELBO(kl_weight=beta))
        vae.adapt(X)
        models[beta] = vae
    raw = {beta: kv.in_original_units(vae, layer()) for beta, vae in models.items()}
    settings = {"num_resamples": 5, "num_samples": 3, "num_generated": 100}
    curve = kv.rate_distortion(models, X, **settings)
    own = kv.rate_distortion(raw, RAW, **settings)
    np.testing.assert_allclose(own.reading.sigma, curve.reading.sigma)
    np.testing.assert_allclose(own.reading.error, curve.reading.error, rtol=1e-2)
    bound = curve.reading.bound + LOG_UNITS
    np.testing.assert_allclose(own.reading.bound, bound, rtol=2e-3)
    distortions = (one.reading.without_constant(one.distortion) for one in (own, curve))
    np.testing.assert_allclose(*distortions, rtol=1e-2)
    found, standard = (
        kv.baselines(x[:300], x[300:], 2, models_[0.2].likelihood)
        for models_, x in ((raw, RAW), (models, X))
    )
    assert found == pytest.approx({n: v + LOG_UNITS for n, v in standard.items()}, 1e-3)
    noise = kv.weighing.with_own_noise(raw[0.6], 0.6)
    np.testing.assert_allclose(-noise.elbo(RAW).numpy().mean(), bound[1], rtol=0.02)


def test_generated_columns_spread_as_the_data_do():
    vae = make("unit_normal", linear_path=True, objective=kv.ELBO(kl_weight=0.3))
    vae.adapt(X[:, :])
    own = kv.weighing.with_own_noise(vae, 0.3)
    raw = kv.in_original_units(own, layer())
    drawn = np.float64(raw.generate(4000, seed=1, noise=True))
    ratio = drawn.std(axis=0)[:4] / np.float64(RAW).std(axis=0)[:4]
    np.testing.assert_allclose(ratio, 1, atol=0.1)
    means = np.float64(raw.generate(4000, seed=1))
    assert (means.std(axis=0)[:4] < 0.95 * drawn.std(axis=0)[:4]).all()


ERRORS = {
    "`normalization` must be a `keras.layers.Normalization`": (make, lambda: "mean"),
    "`normalization` must know its numbers": (make, keras.layers.Normalization),
    r"`normalization` must be for examples of shape \(5,\)": (
        make,
        lambda: kv.normalization.layer([0.0, 1.0], [1.0, 2.0]),
    ),
    "`likelihood` must be of real numbers": (lambda: make("bernoulli"), layer),
    "`vae` must be a built": (lambda: keras.Sequential(), layer),
}


@pytest.mark.parametrize("message", ERRORS)
def test_what_cannot_be_converted_is_named(message):
    model, normalization = ERRORS[message]
    with pytest.raises(ValueError, match=message):
        kv.in_original_units(model(), normalization())


def test_a_diagnosis_is_that_of_standardised_data():
    vae = linear_path()
    raw = kv.in_original_units(vae, layer())
    own, standard = (
        kv.diagnose(model, x, audit=False).evidence
        for model, x in ((raw, RAW), (vae, X))
    )
    assert own["negative_elbo"] == pytest.approx(
        standard["negative_elbo"] + LOG_UNITS, rel=1e-3
    )
    for name in ("rate", "noise", "error", "noise_ratio", "shuffle_cost"):
        assert own[name] == pytest.approx(standard[name], rel=5e-3)


def test_copies_of_a_model_keep_what_its_encoder_was_adapted_to():
    normalization = keras.layers.Normalization()
    normalization.adapt(np.float64(RAW[:, :4]))
    multi = kv.MultiRateVAE(
        keras.Sequential([normalization, keras.layers.Dense(4, activation="relu")]),
        kv.networks.mlp_decoder([4], (4,)),
        latent_dim=2,
        likelihood=kv.distributions.Standardized("unit_normal", normalization),
        beta_range=(0.1, 1.0),
        seed=0,
    )
    multi.build((None, 4))
    plain = multi.at(0.5)
    x = (RAW[:, :4] - normalization.mean) / np.sqrt(normalization.variance)
    dense = plain.encoder.layers[-1]
    features = np.maximum(x @ dense.kernel.numpy() + dense.bias.numpy(), 0)
    mean = plain.latent.infer(tf.constant(features, tf.float32))[:, :2]
    for model in (plain, kv.weighing.with_own_noise(plain, 0.5)):
        np.testing.assert_allclose(
            model.encode(RAW[:, :4])[0], mean, rtol=1e-3, atol=1e-3
        )


def test_a_conditional_model_takes_its_conditions_in_original_units():
    conditions, label = {"label": 3}, np.arange(30) % 3
    x = np.float32(np.random.default_rng(0).normal(300.0, 20.0, size=(30, 4)))
    vae = kv.VAE(
        kv.networks.mlp_encoder([6], conditions=conditions),
        kv.networks.mlp_decoder([6], (4,), conditions=conditions),
        latent_dim=2,
        likelihood="normal",
        prior="conditional",
        conditions=conditions,
        seed=0,
    )
    vae.build((None, 4))
    normalization = kv.normalization.layer(np.full(4, 300.0), np.full(4, 20.0))
    raw = kv.in_original_units(vae, normalization)
    scaled = (x - 300) / 20
    expected = vae.elbo(scaled, condition={"label": label}) - 4 * np.log(20.0)
    np.testing.assert_allclose(raw.elbo({"x": x, "label": label}), expected, rtol=1e-4)
    assert not np.allclose(raw.elbo(x, condition={"label": 0})[1], expected[1])

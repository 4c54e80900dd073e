"""One model for all betas: what it draws and optimises, and what it folds into."""

import keras
import numpy as np
import oracle
import pytest
import tensorflow as tf

import keras_vae as kv
from keras_vae import distributions
from keras_vae import priors

GENERATOR = np.random.default_rng(0)
BETAS = (0.01, 0.2, 1.0, 10.0)
EXAMPLES = 12


def images(shape):
    return GENERATOR.integers(0, 2, (EXAMPLES, *shape)).astype("float32")


def mlp(**kwargs):
    """A compiled multi-rate VAE of data (4,), whose gates are not the identity."""
    keras.utils.set_random_seed(1)
    compile_args = kwargs.pop("compile", {})
    kwargs = {
        "encoder": kv.networks.mlp_encoder([8], activation="tanh"),
        "decoder": kv.networks.mlp_decoder([8], (4,), activation="tanh"),
        "latent_dim": 2,
        "seed": 3,
        **kwargs,
    }
    model = kv.MultiRateVAE(**kwargs)
    model.build((None, 4))
    return compiled(model, **compile_args)


def compiled(model, **kwargs):
    for weight in model.trainable_weights:
        weight.assign(weight + GENERATOR.normal(scale=0.05, size=weight.shape))
    model.compile(keras.optimizers.Adam(0.01), **kwargs)
    return model


def conv(**kwargs):
    shape = (8, 8, 1)
    model = kv.MultiRateVAE(
        kv.networks.conv_encoder(shape, filters=[4, 8], hidden=[8]),
        kv.networks.conv_decoder(shape, filters=[4, 8], hidden=[8]),
        latent_dim=3,
        **kwargs,
    )
    model.build((None, *shape))
    return compiled(model)


def resnet():
    shape = (8, 8, 1)
    model = kv.MultiRateVAE(
        kv.networks.resnet_encoder(shape, filters=[8], hidden=[8]),
        kv.networks.resnet_decoder(shape, filters=[8], hidden=[8]),
        latent_dim=3,
    )
    model.build((None, *shape))
    return compiled(model)


X = images((4,))


def gated(model, beta):
    """The u that the gates of `model` read at `beta`."""
    low, high = np.log(model.beta_range)
    u = np.sqrt(3) * (2 * (np.log(beta) - low) / (high - low) - 1)
    return tf.constant([[u]], tf.float32)


# === Training ===


@pytest.mark.parametrize(("batch", "tilt"), [(1, 1.0), (5, 2.0), (400, 1.5)])
@pytest.mark.slow
def test_betas_of_a_batch_are_spread_over_the_range(batch, tilt):
    model = mlp(tilt=tilt)
    betas = model(np.zeros((batch, 4), "float32"), training=True)["beta"]
    assert betas.shape == (batch,)
    places = np.sort(np.log(np.asarray(betas) / 0.01) / np.log(1000.0))
    assert 0 <= places.min()
    assert places.max() < 1 + 1e-6
    # Places to the power of 1 / tilt are uniform, and one falls into each interval.
    uniform = places ** (1 / model.tilt)
    np.testing.assert_allclose(np.diff(uniform), 1 / batch, atol=1e-4)


def test_each_step_draws_other_betas_and_each_place_all_of_them():
    model = mlp()
    places = [model._draw(3, kv.random.key(1, step)) for step in range(200)]
    uniform = np.stack(places) ** (1 / model.tilt)
    np.testing.assert_allclose(uniform.mean(axis=0), 0.5, atol=0.08)
    np.testing.assert_allclose(uniform.std(axis=0), 1 / np.sqrt(12), atol=0.05)


def test_loss_weighs_the_rate_of_each_example_by_its_beta():
    model = mlp(compile={"run_eagerly": True})
    weights = GENERATOR.uniform(size=EXAMPLES).astype("float32")
    outputs = model(X, training=True)
    model.latent.noise.count.assign(0)
    estimate = model._estimate(outputs, X)
    beta = np.asarray(outputs["beta"])
    rate, distortion = np.asarray(estimate.rate()), np.asarray(estimate.distortion)
    logs = model.train_on_batch(X, sample_weight=weights, return_dict=True)

    def mean(values):
        return np.sum(weights * values) / np.sum(weights)

    assert logs["loss"] == pytest.approx(mean(distortion + beta * rate), rel=1e-5)
    assert logs["kl_loss"] == pytest.approx(mean(rate), rel=1e-5)
    assert logs["negative_elbo"] == pytest.approx(mean(distortion + rate), rel=1e-5)


def test_annealing_multiplies_all_betas():
    constant = kv.KLAnnealing(kv.schedules.constant(0.25))
    models = [mlp(compile={"run_eagerly": True}) for _ in range(2)]
    models[1].set_weights(models[0].get_weights())
    losses = []
    for model, callbacks in zip(models, ([], [constant]), strict=True):
        history = model.fit(
            X, batch_size=EXAMPLES, shuffle=False, callbacks=callbacks, verbose=0
        ).history
        losses.append(history["loss"][0] - history["reconstruction_loss"][0])
    assert losses[1] == pytest.approx(0.25 * losses[0], rel=1e-4)


def test_all_examples_share_a_beta_under_a_vamp_prior():
    model = mlp(prior=priors.VampPrior(3, seed=1), kl="monte_carlo", num_samples=2)
    betas = np.asarray(model(X, training=True)["beta"])
    assert betas.shape == (EXAMPLES,)
    assert np.ptp(betas) == 0
    assert np.asarray(model(X, training=True)["beta"])[0] != betas[0]


# === Folding ===


@pytest.mark.parametrize("gates", ["spline", "original"])
@pytest.mark.parametrize("make", [mlp, conv])
def test_folded_model_is_the_gated_one(make, gates):
    check_folded(make(gates=gates))


@pytest.mark.slow
def test_folded_resnet_is_the_gated_one():
    check_folded(resnet())


def check_folded(model):
    x = images(model.event_shape)
    z = GENERATOR.normal(size=(5, 2, model.latent_dim)).astype("float32")
    encoded = []
    for beta in BETAS:
        plain, u = model.at(beta), gated(model, beta)
        assert type(plain) is kv.VAE
        assert type(plain.objective) is kv.ELBO
        assert plain.objective.kl_weight.initial_value == beta
        np.testing.assert_allclose(
            plain._infer(x), model._infer(x, {"u": u}), atol=1e-5
        )
        np.testing.assert_allclose(
            plain._decode(z), model._decode(z, {"u": u}), atol=1e-5
        )
        encoded.append(plain._infer(x))
        # No weights beyond those of the networks that were given.
        kinds = {type(layer).__module__.split(".")[0] for layer in plain.encoder.layers}
        assert kinds == {"keras"}
    assert np.max(np.abs(encoded[0] - encoded[-1])) > 1e-2


@pytest.mark.slow
def test_folded_model_is_exported_as_it_is(tmp_path):
    model = conv()
    x = images(model.event_shape)
    model.at(0.2).export(tmp_path / "model", verbose=False)
    served = tf.saved_model.load(tmp_path / "model")
    u = gated(model, 0.2)
    mean, stddev = model.latent.posterior.mean_and_stddev(model._infer(x, {"u": u}))
    decoded = model.likelihood.mean(model._decode(mean[:, None], {"u": u})[:, 0])
    np.testing.assert_allclose(served.encode(x)["mean"], mean, atol=1e-5)
    np.testing.assert_allclose(served.encode(x)["stddev"], stddev, rtol=1e-5)
    np.testing.assert_allclose(served.serve(x), decoded, atol=1e-5)


@pytest.mark.slow
def test_the_model_itself_is_what_it_folds_into_at_its_beta():
    model = mlp()
    plain = model.at(model.beta)
    these, others = (
        m.evaluate(X, batch_size=5, verbose=0, return_dict=True) for m in (model, plain)
    )
    assert these == pytest.approx(others, rel=1e-5)
    np.testing.assert_allclose(
        model.predict(X, verbose=0), plain.predict(X, verbose=0), atol=1e-6
    )
    np.testing.assert_allclose(
        model.generate(3, seed=1), plain.generate(3, seed=1), atol=1e-6
    )
    np.testing.assert_allclose(model.elbo(X), plain.elbo(X), rtol=1e-5)


@pytest.mark.parametrize(
    ("beta_range", "given", "beta"),
    [
        ((0.01, 10.0), None, 1.0),
        ((2.0, 4.0), None, 2.0),
        ((0.1, 0.5), None, 0.5),
        ((0.01, 10.0), 0.3, 0.3),
    ],
)
def test_beta_of_the_model_itself_is_given_or_near_to_1(beta_range, given, beta):
    model = mlp(beta_range=beta_range, beta=given)
    assert model.beta == type(model).from_config(model.get_config()).beta == beta
    np.testing.assert_allclose(model(X)["beta"], beta)
    np.testing.assert_allclose(
        model._infer(X), model._infer(X, {"u": gated(model, beta)}), atol=1e-6
    )


def test_everything_that_is_learned_is_carried_over():
    model = mlp(
        likelihood=distributions.Normal(scale="shared", initial_scale=0.5),
        posterior="full_covariance_normal",
        prior=priors.VampPrior(3, learned_weights=True, value_range=None, seed=1),
        kl="monte_carlo",
        num_samples=3,
    )
    plain = model.at(0.2)
    for part in ("likelihood", "latent.prior"):
        own, copy = model, plain
        for name in part.split("."):
            own, copy = getattr(own, name), getattr(copy, name)
        assert own is not copy
        assert len(own.weights) > 0
        for these, others in zip(own.weights, copy.weights, strict=True):
            np.testing.assert_array_equal(these, others)
    assert (plain.objective.kl, plain.objective.num_samples) == ("monte_carlo", 3)
    u = gated(model, 0.2)
    pseudo = model.latent.prior.params(lambda x: model._infer(x, {"u": u}))
    np.testing.assert_allclose(
        plain.latent.prior.params(plain._infer), pseudo, atol=1e-5
    )
    assert np.isfinite(plain.evaluate(X, verbose=0)).all()


def test_folded_model_trains_on_its_own():
    model = mlp()
    before = model.get_weights()
    plain = model.at(0.2)
    plain.fit(X, epochs=1, verbose=0)
    for these, others in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(these, others)
    assert plain.optimizer is not model.optimizer


class Halving(keras.optimizers.schedules.LearningRateSchedule):
    """A schedule of the user's own, which Keras does not know by name."""

    def __call__(self, step):
        return 0.01 * 0.5 ** tf.cast(step, tf.float32)

    def get_config(self):
        return {}


def test_what_cannot_be_copied_leaves_the_plain_model_to_be_compiled():
    model = mlp()
    expected = model.at(0.2).get_weights()
    model.compile(keras.optimizers.Adam(Halving()))
    with pytest.warns(UserWarning, match="cannot copy.*register_keras"):
        plain = model.at(0.2)
    assert not plain.compiled
    for weight, other in zip(plain.get_weights(), expected, strict=True):
        np.testing.assert_array_equal(weight, other)


# === Errors ===


@pytest.mark.parametrize("beta", [0.009, 11.0])
def test_beta_outside_of_the_range_is_an_error_that_names_it(beta):
    with pytest.raises(ValueError, match=rf"`beta_range`, \[0.01, 10.0\].*beta={beta}"):
        mlp().at(beta)
    with pytest.raises(ValueError, match=rf"`beta_range`, \[0.01, 10.0\].*beta={beta}"):
        mlp(beta=beta)


@pytest.mark.parametrize("beta", [0.0, -1.0, np.nan, "1", None])
def test_beta_that_is_no_weight_is_an_error(beta):
    with pytest.raises(ValueError, match="`beta` must be a finite number"):
        mlp().at(beta)


def test_folding_needs_shapes():
    model = kv.MultiRateVAE(
        kv.networks.mlp_encoder([2]), kv.networks.mlp_decoder([2], (4,)), 2
    )
    with pytest.raises(ValueError, match="`at` needs a model with known shapes"):
        model.at(1.0)


@pytest.mark.parametrize(
    "beta_range", [(1.0, 1.0), (2.0, 1.0), (0.0, 1.0), 1.0, (1.0,), (1.0, np.inf), "ab"]
)
def test_bad_range(beta_range):
    with pytest.raises(ValueError, match="`beta_range` must be a pair"):
        mlp(beta_range=beta_range)


@pytest.mark.parametrize("tilt", [0.5, 0.0, "1"])
def test_bad_tilt(tilt):
    with pytest.raises(ValueError, match="`tilt` must be"):
        mlp(tilt=tilt)


@pytest.mark.parametrize("rank", [-1, 1.5, True, "2", None])
def test_bad_rank(rank):
    with pytest.raises(ValueError, match="`rank` must be"):
        mlp(rank=rank)


def test_bad_gates():
    with pytest.raises(ValueError, match="`gates` must be one of"):
        mlp(gates="linear")


def test_layer_that_cannot_be_gated_is_named():
    encoder = keras.Sequential([keras.layers.BatchNormalization(name="mixes")])
    with pytest.raises(ValueError, match="'mixes' must not be a BatchNormalization"):
        mlp(encoder=encoder)


def test_posterior_that_normalises_over_the_batch_is_an_error():
    with pytest.raises(ValueError, match="`posterior` must not normalize"):
        mlp(posterior=distributions.BatchNormalizedNormal())


def test_decoder_that_ends_in_a_sigmoid_is_an_error():
    decoder = keras.Sequential([keras.layers.Dense(4, activation="sigmoid")])
    with pytest.raises(ValueError, match="`decoder` ends in a sigmoid"):
        mlp(decoder=decoder)


# === The whole curve ===


@pytest.mark.slow
def test_one_fit_reaches_the_water_level_of_every_beta():
    variance, latents, steps = 0.1, 3, 6000
    x = np.float32(oracle.data()[0])
    dimensions = x.shape[1]
    model = kv.MultiRateVAE(
        kv.networks.mlp_encoder([]),
        kv.networks.mlp_decoder([], (dimensions,)),
        latents,
        likelihood=distributions.Normal(scale=np.sqrt(variance)),
        num_samples=16,
        seed=0,
    )
    rate = keras.optimizers.schedules.CosineDecay(0.02, steps)
    model.compile(keras.optimizers.Adam(rate), steps_per_execution=500)
    batches = tf.data.Dataset.from_tensors(np.tile(x, (16, 1))).repeat()
    model.fit(batches, steps_per_epoch=steps, shuffle=False, verbose=0)
    for beta in np.geomspace(0.01, 10.0, 20):
        plain = model.at(beta)
        mean, stddev = (v.numpy().astype("float64") for v in plain.encode(x))
        bias = plain.decode(np.zeros((1, latents), "float32")).numpy()[0]
        columns = plain.decode(np.eye(latents, dtype="float32")).numpy() - bias
        terms = oracle.linear_terms(x, mean, stddev, columns.T, bias)
        optimum = oracle.water_filling(beta * variance, latents)
        rate = optimum.kl.sum()
        assert terms.kl.sum() == pytest.approx(rate, rel=0.02, abs=0.02)
        assert terms.sse == pytest.approx(optimum.sse, rel=0.02)

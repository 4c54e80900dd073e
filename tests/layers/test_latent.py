import keras
import numpy as np
import oracle
import pytest
import scipy.special
import scipy.stats
import tensorflow as tf
from keras.src import testing

import keras_vae as kv
from keras_vae import priors
from keras_vae.distributions import posteriors

X = np.random.default_rng(0).normal(size=(6, 4)).astype("float32")


def moments(layer, features):
    """The posterior's moments, from the kernel of its head."""
    raw = features @ layer.head.kernel.numpy() + layer.head.bias.numpy()
    loc, raw_scale = np.split(raw.astype("float64"), 2, axis=-1)
    return loc, np.logaddexp(0, raw_scale + np.log(np.e - 1))


def closed_form(layer, features):
    """The KL of each example from N(0, I), of each latent."""
    return oracle.standard_normal_kl(*moments(layer, features))


def model_with(*layers, decoder=None):
    """A functional model in which all `layers` read the input."""
    x = keras.Input((4,))
    z = [layer(x) for layer in layers]
    z = keras.layers.Concatenate()(z) if len(z) > 1 else z[0]
    return keras.Model(x, (decoder or keras.layers.Dense(4))(z))


# === Keras's own harness ===


# The harness trains on a generator.
harness = pytest.mark.filterwarnings("ignore:`shuffle=True` was passed:UserWarning")


@harness
@pytest.mark.parametrize(
    "arguments",
    [
        {},
        {"kl_weight": 0.5, "deterministic": True},
        {"posterior": "full_covariance_normal", "prior": "learned_normal"},
        {"prior": "gaussian_mixture", "kl": "monte_carlo"},
        # The harness makes several layers of these, each with an objective of its own.
        {"objective": keras.saving.serialize_keras_object(kv.ELBO(kl_weight=2.0))},
    ],
    ids=lambda arguments: "-".join(arguments) or "defaults",
)
@pytest.mark.slow
def test_keras_harness(arguments):
    testing.TestCase().run_layer_test(
        kv.layers.Latent,
        init_kwargs={"units": 3, "seed": 5, **arguments},
        input_shape=(2, 4),
        expected_output_shape=(2, 3),
        expected_num_losses=1,
        expected_num_seed_generators=0,
    )


@harness
def test_keras_harness_with_pseudo_inputs_in_the_space_of_the_features():
    prior = priors.VampPrior(3, value_range=None, seed=0)
    testing.TestCase().run_layer_test(
        kv.layers.Latent,
        init_kwargs={"units": 3, "prior": prior, "kl": "monte_carlo", "seed": 5},
        input_shape=(2, 5, 4),
        expected_output_shape=(2, 3),
        expected_num_losses=1,
        # Kernel and bias of the head, pseudo-inputs.
        expected_num_trainable_weights=3,
    )


@pytest.mark.parametrize(
    "layer",
    [
        kv.Hyperparameter(0.5),
        kv.random.Noise(3),
        kv.ELBO(kl_weight=2.0, kl="monte_carlo", num_samples=2),
        kv.ImportanceWeighted(num_samples=3),
    ],
    ids=lambda layer: type(layer).__name__,
)
def test_keras_harness_serialises_what_is_never_called(layer):
    testing.TestCase().run_class_serialization_test(layer)


# === The loss ===


@pytest.mark.parametrize("kl_weight", [0.0, 0.5, 1.0, 3.0])
@pytest.mark.parametrize("training", [True, False])
def test_kl_is_the_closed_form(kl_weight, training):
    layer = kv.layers.Latent(3, kl_weight=kl_weight, seed=0)
    layer(X, training=training)
    kl = closed_form(layer, X).sum(-1).mean()
    assert kl > 0.1
    np.testing.assert_allclose(layer.losses, [kl_weight * kl], rtol=1e-5)
    assert layer.losses[0].dtype == tf.float32
    np.testing.assert_allclose(layer.report.result()["kl_loss"], kl, rtol=1e-5)


def test_features_are_flattened():
    features = np.random.default_rng(1).normal(size=(6, 2, 3, 4)).astype("float32")
    layer = kv.layers.Latent(3, seed=0)
    assert layer(features).shape == (6, 3)
    kl = closed_form(layer, features.reshape(6, -1)).sum(-1).mean()
    np.testing.assert_allclose(layer.losses, [kl], rtol=1e-5)


def test_z_has_the_moments_of_the_posterior():
    layer = kv.layers.Latent(2, seed=0)
    features = np.repeat(X[:1], 20_000, axis=0)
    z = layer(features, training=True).numpy()
    (loc, *_), (scale, *_) = moments(layer, features[:1])
    standard_error = scale / np.sqrt(len(z))
    assert np.all(np.abs(z.mean(axis=0) - loc) < 4 * standard_error)
    assert np.all(np.abs(z.std(axis=0) / scale - 1) < 4 / np.sqrt(2 * len(z)))


@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
def test_mixed_precision_keeps_the_loss_in_float32(policy):
    layer = kv.layers.Latent(3, kl_weight=0.1, seed=0, dtype=policy)
    features = tf.cast(X, layer.compute_dtype)
    assert layer(features, training=True).dtype == layer.compute_dtype
    kl = closed_form(layer, features.numpy().astype("float32")).sum(-1).mean()
    assert layer.losses[0].dtype == tf.float32
    np.testing.assert_allclose(layer.losses, [np.float32(0.1) * kl], rtol=1e-5)


def test_sample_weight_weighs_the_kl():
    layer = kv.layers.Latent(3, seed=0)
    weights = np.float32([2.0, 0.0, 1.0, 0.0, 0.0, 0.5])
    layer(X, sample_weight=weights)
    kl = np.average(closed_form(layer, X).sum(-1), weights=weights)
    np.testing.assert_allclose(layer.losses, [kl], rtol=1e-5)
    np.testing.assert_allclose(layer.report.result()["kl_loss"], kl, rtol=1e-5)
    layer(X, sample_weight=np.zeros(6, "float32"))
    assert float(layer.losses[0]) == 0.0


def test_sample_weight_as_an_input_of_the_model_leaves_examples_out():
    x, weight = keras.Input((4,)), keras.Input(())
    latent = kv.layers.Latent(2, seed=0, deterministic=True)
    decoder = keras.layers.Dense(4)
    model = keras.Model([x, weight], decoder(latent(x, sample_weight=weight)))
    model.compile("sgd", loss=kv.losses.NegativeLogLikelihood("unit_normal"))
    weights = np.float32([1.0, 0.0, 2.0, 0.0, 1.0, 1.0])
    kept = np.repeat(X, weights.astype(int), axis=0)
    ones = np.ones(len(kept), "float32")
    weighted = model.test_on_batch(
        [X, weights], X, sample_weight=weights, return_dict=True
    )
    model.reset_metrics()
    repeated = model.test_on_batch([kept, ones], kept, return_dict=True)
    assert set(weighted) == set(repeated) == {"loss", "kl_loss", "kl_weight"}
    for name, value in repeated.items():
        np.testing.assert_allclose(weighted[name], value, rtol=1e-6, err_msg=name)


# === Noise ===


def test_training_noise_differs_and_evaluation_noise_does_not():
    layer = kv.layers.Latent(3, seed=0)
    first, second = (layer(X, training=True).numpy() for _ in range(2))
    assert np.abs(first - second).min() > 0
    first, second = (layer(X, training=False).numpy() for _ in range(2))
    np.testing.assert_array_equal(first, second)


def test_evaluation_does_not_advance_the_training_noise():
    runs = []
    for evaluations in (0, 5):
        keras.utils.set_random_seed(0)
        layer = kv.layers.Latent(3, seed=0)
        layer(X, training=True)
        for _ in range(evaluations):
            layer(X, training=False)
        runs.append(layer(X, training=True).numpy())
    np.testing.assert_array_equal(*runs)


def test_deterministic_is_the_posterior_mean_outside_training_alone():
    layer = kv.layers.Latent(3, seed=0, deterministic=True)
    z = layer(X, training=True)
    loc, _ = moments(layer, X)
    assert np.abs(z - loc).max() > 0.1
    np.testing.assert_allclose(layer(X), loc, rtol=1e-5, atol=1e-6)


def test_deterministic_estimates_the_rate_from_the_draw():
    features = np.repeat(X, 4000, axis=0)
    sampled, deterministic, exact = (
        kv.layers.Latent(3, kl=kl, deterministic=flag, seed=0)
        for kl, flag in [("monte_carlo", False), ("monte_carlo", True), ("analytic", 0)]
    )
    exact.build(features.shape)
    for layer in (sampled, deterministic, exact):
        layer.build(features.shape)
        layer.head.set_weights(exact.head.get_weights())
        z = layer(features, training=False)
        if layer is deterministic:
            np.testing.assert_allclose(z, moments(layer, features)[0], atol=1e-5)
    (drawn,), (kl,) = sampled.losses, exact.losses
    assert deterministic.losses[0] == drawn
    # At the mean it would be too high by half a nat a unit, less half the variance.
    variance = np.square(moments(exact, X)[1]).mean(axis=0)
    assert np.abs((1 - variance).sum() / 2) > 0.1
    assert float(drawn) == pytest.approx(float(kl), abs=0.03)


# === Logs ===


def test_one_latent_logs_its_rate_and_weight():
    layer = kv.layers.Latent(3, kl_weight=0.5, seed=0)
    model = model_with(layer)
    model.compile("sgd", loss=kv.losses.NegativeLogLikelihood("unit_normal"))
    logs = model.evaluate(X, X, verbose=0, return_dict=True)
    assert set(logs) == {"loss", "kl_loss", "kl_weight"}
    kl = closed_form(layer, X).sum(-1).mean()
    assert logs["kl_loss"] == pytest.approx(kl, rel=1e-5)
    assert logs["kl_weight"] == 0.5
    nll = model.loss(X, model(X))
    assert logs["loss"] == pytest.approx(float(nll) + 0.5 * kl, rel=1e-5)


def test_several_latents_log_the_sum_and_each():
    upper = kv.layers.Latent(3, kl_weight=0.5, seed=0, name="upper")
    lower = kv.layers.Latent(2, kl_weight=2.0, seed=1, name="lower")
    model = model_with(upper, lower)
    model.compile("sgd", loss=kv.losses.NegativeLogLikelihood("unit_normal"))
    logs = model.evaluate(X, X, batch_size=4, verbose=0, return_dict=True)
    kls = [closed_form(layer, X).sum(-1).mean() for layer in (upper, lower)]
    expected = {
        "kl_loss": sum(kls),
        "upper_kl_loss": kls[0],
        "lower_kl_loss": kls[1],
        "upper_kl_weight": 0.5,
        "lower_kl_weight": 2.0,
    }
    assert set(logs) == {"loss", *expected}
    for name, value in expected.items():
        assert logs[name] == pytest.approx(value, rel=1e-5), name


def test_one_latent_called_several_times_logs_the_sum():
    layer, other = kv.layers.Latent(3, seed=0), kv.layers.Latent(2, seed=1)
    x = keras.Input((3, 4))
    shared = keras.layers.TimeDistributed(layer)
    z = [shared(x), keras.layers.Reshape((1, 3))(layer(x[:, 0]))]
    z = keras.layers.Flatten()(keras.layers.Concatenate(axis=1)(z))
    model = keras.Model(
        x, keras.layers.Dense(4)(keras.layers.Add()([z[:, :2], other(x)]))
    )
    model.compile("sgd", loss=kv.losses.NegativeLogLikelihood("unit_normal"))
    data = np.random.default_rng(1).normal(size=(6, 3, 4)).astype("float32")
    logs = model.evaluate(data, X, batch_size=4, verbose=0, return_dict=True)
    model(data)
    assert len(model.losses) == 5
    total = sum(float(loss) for loss in model.losses)
    assert logs["kl_loss"] == pytest.approx(total, rel=1e-5)
    calls = [closed_form(layer, data[:, i]).sum(-1).mean() for i in (0, 1, 2, 0)]
    assert logs[f"{layer.name}_kl_loss"] == pytest.approx(sum(calls), rel=1e-5)
    logs = model.test_on_batch(data, X, return_dict=True)
    loss = logs["loss"] - float(model.loss(X, model(data)))
    assert loss == pytest.approx(total, rel=1e-5)
    trained = model.fit(data, X, batch_size=2, epochs=1, verbose=0).history
    assert trained["kl_loss"] == pytest.approx([total], rel=0.1)


def test_several_latents_log_the_same_while_they_train():
    layers = [kv.layers.Latent(2, name=name) for name in ("upper", "lower")]
    model = model_with(*layers)
    model.compile("adam", loss=kv.losses.NegativeLogLikelihood("unit_normal"))
    logs = model.fit(X, X, epochs=2, batch_size=2, verbose=0).history
    total = np.add(logs["upper_kl_loss"], logs["lower_kl_loss"])
    np.testing.assert_allclose(logs["kl_loss"], total, rtol=1e-6)
    assert logs["kl_loss"][0] != logs["kl_loss"][1]


# === Inside a VAE ===


def test_a_vae_keeps_the_losses_of_its_encoder_under_a_vamp_prior():
    data = np.round(1 / (1 + np.exp(-X)))
    x = keras.Input((4,))
    hidden = keras.layers.Dense(5, activity_regularizer=keras.regularizers.L2(0.3))
    nested = kv.layers.Latent(3, kl_weight=0.25, seed=1, name="nested")
    encoder = keras.Model(x, nested(hidden(x)))
    vae = kv.VAE(
        encoder=encoder,
        decoder=kv.networks.mlp_decoder([], (4,)),
        latent_dim=2,
        prior=priors.VampPrior(3, seed=2),
        objective=kv.ELBO(kl_weight=2.0, kl="monte_carlo"),
        seed=0,
    )
    vae.compile(keras.optimizers.SGD(0.0))
    evaluated = vae.test_on_batch(data, return_dict=True)
    vae.reset_metrics()
    outputs = {name: np.asarray(value) for name, value in vae(data).items()}

    logits = outputs["likelihood"][:, 0]
    distortion = np.logaddexp(0, (1 - 2 * data) * logits).sum(-1).mean()
    z = outputs["z"][:, 0]
    log_q = normal_log_prob(z, outputs["posterior"])
    log_p = scipy.special.logsumexp(
        normal_log_prob(z[:, None], outputs["prior"]), axis=1
    ) - np.log(3)
    rate = np.mean(log_q - log_p)
    # Keras's versions differ in whether they divide it by the batch.
    alone = keras.layers.Dense(5, activity_regularizer=keras.regularizers.L2(0.3))
    alone.build((None, 4))
    alone.set_weights(hidden.get_weights())
    features = alone(data).numpy()
    (regularizer,) = alone.losses
    nested_kl = closed_form(nested, features).sum(-1).mean()

    assert min(float(regularizer), nested_kl, abs(rate)) > 1e-2
    assert evaluated["reconstruction_loss"] == pytest.approx(distortion, rel=1e-5)
    assert evaluated["kl_loss"] == pytest.approx(rate, rel=1e-4, abs=1e-5)
    assert evaluated["nested_kl_loss"] == pytest.approx(nested_kl, rel=1e-5)
    loss = distortion + 2 * rate + float(regularizer) + 0.25 * nested_kl
    assert evaluated["loss"] == pytest.approx(loss, rel=1e-5)

    trained = vae.train_on_batch(data, return_dict=True)
    added = trained["loss"] - trained["reconstruction_loss"] - 2 * trained["kl_loss"]
    assert added == pytest.approx(float(regularizer) + 0.25 * nested_kl, rel=1e-4)


def normal_log_prob(z, params):
    loc, raw = np.split(params.astype("float64"), 2, axis=-1)
    scale = posteriors.bounded_scale(raw, 1e-5, 1e3).numpy()
    return scipy.stats.norm.logpdf(z, loc, scale).sum(-1)


# === Arguments ===


def test_config_round_trip():
    layer = kv.layers.Latent(
        3,
        kl_weight=0.5,
        posterior="full_covariance_normal",
        prior=priors.GaussianMixture(4, seed=0),
        kl="monte_carlo",
        deterministic=True,
        seed=9,
        name="z",
    )
    copy = kv.layers.Latent.from_config(layer.get_config())
    assert copy.get_config() == layer.get_config()
    assert (copy.units, copy.deterministic, copy.noise.seed) == (3, True, 9)
    assert float(copy.objective.kl_weight.value) == 0.5
    assert copy.prior.num_components == 4


@pytest.mark.parametrize("units", [0, -1, 2.0, True, None, "3"])
def test_units_that_are_none(units):
    with pytest.raises(ValueError, match="latent dimension must be a positive integer"):
        kv.layers.Latent(units)


def test_an_objective_and_its_arguments():
    with pytest.raises(ValueError, match="`objective` owns `kl_weight` and `kl`"):
        kv.layers.Latent(2, kl_weight=0.5, objective=kv.ELBO())


def test_an_objective_with_several_samples():
    with pytest.raises(ValueError, match="with one sample"):
        kv.layers.Latent(2, objective=kv.ELBO(num_samples=2))


def test_features_of_unknown_shape():
    with pytest.raises(ValueError, match="all axes but the first known"):
        kv.layers.Latent(2)(keras.Input((None, 4)))


def test_sample_weight_of_a_wrong_shape():
    layer = kv.layers.Latent(2)
    with pytest.raises(ValueError, match="`sample_weight` must hold one weight"):
        layer(X, sample_weight=np.ones((6, 4), "float32"))

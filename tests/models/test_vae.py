"""Numbers that a VAE computes, against NumPy and against other ways to the same one."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_vae as kv
from keras_vae import distributions
from keras_vae import random
from keras_vae import schedules

Dense = keras.layers.Dense
GENERATOR = np.random.default_rng(0)
X = GENERATOR.integers(0, 2, (12, 4)).astype("float32")
GREY = GENERATOR.uniform(size=(12, 4)).astype("float32")
WEIGHTS = GENERATOR.uniform(size=12).astype("float32")
SEED = 3


def mlp(**kwargs):
    """A built and compiled VAE that always starts at the same weights."""
    keras.utils.set_random_seed(1)
    kwargs = {
        "encoder": kv.networks.mlp_encoder([5], activation="tanh"),
        "decoder": kv.networks.mlp_decoder([5], (4,), activation="tanh"),
        "latent_dim": 2,
        "seed": SEED,
        **kwargs,
    }
    compile_args = kwargs.pop("compile", {})
    model = kv.VAE(**kwargs)
    model.build((None, 4))
    model.compile(keras.optimizers.Adam(0.01), **compile_args)
    return model


def numbers(model):
    return [np.array(weight) for weight in model.weights]


def assert_equal_weights(a, b):
    names = [weight.path for weight in a.weights]
    assert len(names) == len(b.weights)
    for name, first, second in zip(names, numbers(a), numbers(b), strict=True):
        np.testing.assert_array_equal(first, second, err_msg=name)


def by_hand(model, x, target, step, training=False):
    """Distortion and rate of each example, in NumPy, from the documented noise."""
    mean, stddev = (v.numpy().astype("float64") for v in model.encode(x))
    key = model.latent.noise.evaluation_key(step)
    if training:
        key = random.key(SEED, step)
    noise = random.normal((len(x), 1, 2), key).numpy()[:, 0]
    logits = model.decoder(np.float32(mean + stddev * noise)).numpy().astype("float64")
    distortion = (np.logaddexp(0, logits) - target * logits).sum(axis=1)
    rate = ((mean**2 + stddev**2 - 1) / 2 - np.log(stddev)).sum(axis=1)
    return distortion, rate


# === Logs ===


@pytest.mark.parametrize("beta", [0.0, 0.5, 1.0, 4.0])
def test_logs_are_related(beta):
    model = mlp(objective=kv.ELBO(kl_weight=beta))
    history = model.fit(X, batch_size=5, epochs=2, verbose=0, validation_data=(X,))
    for prefix in ("", "val_"):
        logs = {
            name: np.array(history.history[prefix + name])
            for name in ("loss", "reconstruction_loss", "kl_loss", "negative_elbo")
        }
        reconstruction, kl = logs["reconstruction_loss"], logs["kl_loss"]
        assert (kl > 0).all()
        np.testing.assert_allclose(
            logs["negative_elbo"], reconstruction + kl, rtol=1e-6
        )
        np.testing.assert_allclose(logs["loss"], reconstruction + beta * kl, rtol=1e-6)
        assert history.history[prefix + "kl_weight"] == [beta, beta]


def test_evaluate_equals_numpy():
    model = mlp(objective=kv.ELBO(kl_weight=0.25))
    logs = model.evaluate(X, batch_size=5, verbose=0, return_dict=True)
    parts = [
        by_hand(model, X[i : i + 5], X[i : i + 5], step)
        for step, i in enumerate((0, 5, 10))
    ]
    distortion, rate = np.concatenate(parts, axis=1)
    assert logs["reconstruction_loss"] == pytest.approx(distortion.mean(), rel=1e-6)
    assert logs["kl_loss"] == pytest.approx(rate.mean(), rel=1e-5)
    assert logs["loss"] == pytest.approx((distortion + rate / 4).mean(), rel=1e-6)
    assert model.evaluate(X, batch_size=5, verbose=0, return_dict=True) == logs


def test_evaluate_with_weights_equals_numpy():
    model = mlp()
    arguments = {"batch_size": 5, "verbose": 0, "return_dict": True}
    logs = model.evaluate(X, sample_weight=WEIGHTS, **arguments)
    parts = [
        by_hand(model, X[i : i + 5], X[i : i + 5], step)
        for step, i in enumerate((0, 5, 10))
    ]
    distortion, rate = np.concatenate(parts, axis=1)
    expected = np.average(distortion, weights=WEIGHTS)
    assert logs["reconstruction_loss"] == pytest.approx(expected, rel=1e-6)
    expected = np.average(distortion + rate, weights=WEIGHTS)
    assert logs["loss"] == pytest.approx(expected, rel=1e-6)
    # With and without a target, in arrays and in data sets.
    assert model.evaluate(X, X, sample_weight=WEIGHTS, **arguments) == logs
    batches = tf.data.Dataset.from_tensor_slices((X, X, WEIGHTS)).batch(5)
    assert model.evaluate(batches, verbose=0, return_dict=True) == logs


def test_the_loss_of_a_training_step_equals_numpy():
    model = mlp()
    for step in range(3):
        distortion, rate = by_hand(model, X, X, step, training=True)
        logs = model.fit(X, batch_size=12, shuffle=False, verbose=0).history
        expected = (distortion + rate).mean()
        assert logs["loss"] == pytest.approx([expected], rel=1e-6)


def test_evaluations_of_other_seeds_differ():
    losses = [mlp(seed=seed).evaluate(X, verbose=0)[0] for seed in (3, 4)]
    assert losses[0] != pytest.approx(losses[1], rel=1e-3)


def test_importance_weighting_logs_its_bound():
    model = mlp(objective=kv.ImportanceWeighted(num_samples=20))
    logs = model.evaluate(X, verbose=0, return_dict=True)
    assert logs["loss"] < logs["negative_elbo"]
    total = logs["reconstruction_loss"] + logs["kl_loss"]
    assert logs["negative_elbo"] == pytest.approx(total, rel=1e-6)


# === Targets ===


def test_fit_reconstructs_y_where_it_is_given():
    clean = np.float32(np.arange(12)[:, None] % 2 * np.ones((12, 4)))
    noisy = np.where(GENERATOR.uniform(size=(12, 4)) < 0.1, 1 - clean, clean)
    noisy = noisy.astype("float32")
    assert (noisy != clean).any()
    model = mlp(objective=kv.ELBO(kl_weight=0.01))
    model.optimizer.learning_rate = 0.05
    model.fit(noisy, clean, epochs=150, verbose=0)
    np.testing.assert_array_equal(model.predict(noisy, verbose=0).round(), clean)
    distortion, rate = by_hand(model, noisy, clean, 0)
    logs = model.evaluate(noisy, clean, verbose=0, return_dict=True)
    assert logs["reconstruction_loss"] == pytest.approx(distortion.mean(), rel=1e-4)
    assert logs["kl_loss"] == pytest.approx(rate.mean(), rel=1e-4)


@pytest.mark.slow
def test_fit_x_x_is_fit_x():
    first = mlp()
    first.fit(X, epochs=3, batch_size=5, verbose=0)
    second = mlp()
    second.fit(X, X, epochs=3, batch_size=5, verbose=0)
    assert_equal_weights(first, second)


@pytest.mark.slow
def test_unit_weights_are_none():
    first = mlp()
    first.fit(X, epochs=3, batch_size=5, verbose=0)
    second = mlp()
    ones = np.ones(12, "float32")
    second.fit(X, epochs=3, batch_size=5, verbose=0, sample_weight=ones)
    for a, b in zip(numbers(first), numbers(second), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)


@pytest.mark.slow
def test_inputs_in_a_dict():
    inputs = {name: keras.Input((4,), name=name) for name in ("image", "mask")}
    joined = keras.layers.Concatenate()([inputs["image"], inputs["mask"]])
    x = {"image": X, "mask": np.ones_like(X)}
    model = kv.VAE(
        keras.Model(inputs, Dense(5, "tanh")(joined)), Dense(4), latent_dim=2, seed=SEED
    )
    model.compile(keras.optimizers.Adam(0.05))
    losses = model.fit(x, X, epochs=30, verbose=0).history["loss"]
    assert losses[-1] < losses[0]
    mean, _ = model.encode(x)
    np.testing.assert_allclose(
        model.predict(x, verbose=0), model.decode(mean), rtol=1e-6
    )
    elbo = model.elbo(x, X, num_samples=2000)
    evaluated = model.evaluate(x, X, verbose=0, return_dict=True)["negative_elbo"]
    assert -np.mean(elbo) == pytest.approx(evaluated, rel=0.1)


# === Metrics ===


def test_metrics_compare_the_target_with_the_mean():
    model = mlp(compile={"metrics": ["mse"], "weighted_metrics": ["mae"]})
    logs = model.evaluate(X, GREY, sample_weight=WEIGHTS, verbose=0, return_dict=True)
    model.reset_metrics()  # The noise of the first batch again.
    outputs = model(X)
    probabilities = 1 / (1 + np.exp(-outputs["likelihood"].numpy()[:, 0]))
    expected = np.mean((probabilities - GREY) ** 2)
    assert logs["mse"] == pytest.approx(expected, rel=1e-5)
    errors = np.abs(probabilities - GREY).mean(axis=1)
    assert logs["mae"] == pytest.approx(np.average(errors, weights=WEIGHTS), rel=1e-5)


def test_metrics_average_the_means_of_several_samples():
    model = mlp(objective=kv.ELBO(num_samples=3), compile={"metrics": ["mse"]})
    logs = model.evaluate(X, verbose=0, return_dict=True)
    model.reset_metrics()
    probabilities = 1 / (1 + np.exp(-model(X)["likelihood"].numpy()))
    expected = np.mean((probabilities.mean(axis=1) - X) ** 2)
    assert logs["mse"] == pytest.approx(expected, rel=1e-5)


# === Use ===


def test_predict_decodes_the_posterior_mean():
    model = mlp()
    first = model.predict(X, batch_size=5, verbose=0)
    mean, stddev = model.encode(X)
    assert (stddev.numpy() > 0).all()
    np.testing.assert_allclose(first, model.decode(mean), rtol=1e-6)
    np.testing.assert_allclose(first, model.reconstruct(X), rtol=1e-6)
    logits = model.decoder(mean).numpy()
    np.testing.assert_allclose(first, 1 / (1 + np.exp(-logits)), rtol=1e-5)
    np.testing.assert_array_equal(first, model.predict(X, batch_size=5, verbose=0))


def test_call_returns_what_is_documented():
    model = mlp(objective=kv.ELBO(num_samples=3))
    outputs = model(X)
    assert {name: tuple(v.shape) for name, v in outputs.items()} == {
        "posterior": (12, 4),
        "z": (12, 3, 2),
        "likelihood": (12, 3, 4),
    }
    assert {v.dtype for v in outputs.values()} == {tf.float32}
    logits = model.decoder(outputs["z"].numpy().reshape(36, 2)).numpy()
    np.testing.assert_allclose(
        outputs["likelihood"], logits.reshape(12, 3, 4), rtol=1e-5, atol=1e-6
    )


def test_elbo_agrees_with_evaluate():
    model = mlp(objective=kv.ELBO(kl_weight=7.0))
    logs = model.evaluate(X, verbose=0, return_dict=True)
    draws = -model.elbo(X, num_samples=4000, seed=1).numpy()
    assert draws.shape == (12,)
    many = mlp(objective=kv.ELBO(num_samples=4000))
    expected = many.evaluate(X, verbose=0, return_dict=True)["negative_elbo"]
    assert draws.mean() == pytest.approx(expected, rel=2e-3)
    assert draws.mean() == pytest.approx(logs["negative_elbo"], rel=0.3)


def test_elbo_is_a_function_of_the_seed():
    model = mlp()
    first = model.elbo(X, seed=5).numpy()
    mean, stddev = (v.numpy() for v in model.encode(X))
    noise = random.normal((12, 1, 2), random.key(5)).numpy()[:, 0]
    logits = model.decoder(mean + stddev * noise).numpy()
    distortion = (np.logaddexp(0, logits) - X * logits).sum(axis=1)
    rate = ((mean**2 + stddev**2 - 1) / 2 - np.log(stddev)).sum(axis=1)
    np.testing.assert_allclose(first, -distortion - rate, rtol=1e-5)
    np.testing.assert_array_equal(first, model.elbo(X, seed=5))
    assert not np.allclose(first, model.elbo(X, seed=6))


def test_generate_draws_from_the_prior():
    decoder = keras.Sequential([keras.Input((2,)), Dense(2, use_bias=False)])
    decoder.layers[0].set_weights([np.array([[2.0, 0.0], [0.0, 3.0]], "float32")])
    model = kv.VAE(Dense(3), decoder, 2, likelihood="unit_normal", seed=SEED)
    model.build((None, 2))
    x = model.generate(40_000, seed=1).numpy()
    np.testing.assert_allclose(x.mean(axis=0), [0, 0], atol=0.06)
    np.testing.assert_allclose(x.std(axis=0), [2, 3], rtol=0.02)
    assert abs(np.corrcoef(x.T)[0, 1]) < 0.02
    np.testing.assert_allclose(model.generate(5, seed=1), x[:5], rtol=1e-5)
    assert not np.allclose(model.generate(5, seed=2), x[:5])
    assert not np.allclose(model.generate(5), model.generate(5))
    # Of x = W z + noise, apart from the z that draws it.
    noisy = model.generate(40_000, seed=1, noise=True).numpy()
    np.testing.assert_allclose(noisy.std(axis=0), np.sqrt([5, 10]), rtol=0.02)
    noise = noisy - x
    np.testing.assert_allclose(noise.std(axis=0), [1, 1], rtol=0.02)
    assert abs(np.corrcoef(np.concatenate([x, noise], axis=1).T)[:2, 2:]).max() < 0.02
    np.testing.assert_allclose(model.generate(5, 1, noise=True), noisy[:5], rtol=1e-5)


def test_generated_bits_are_as_frequent_as_their_probabilities():
    model = kv.VAE(
        Dense(3), keras.Sequential([Dense(2)]), 2, likelihood="bernoulli", seed=SEED
    )
    model.build((None, 2))
    bits = model.generate(20_000, seed=1, noise=True).numpy()
    assert set(np.unique(bits)) == {0.0, 1.0}
    means = model.generate(20_000, seed=1).numpy()
    np.testing.assert_allclose(bits.mean(axis=0), means.mean(axis=0), atol=0.02)


def test_sample_posterior_draws_from_the_posterior():
    model = mlp()
    mean, stddev = (v.numpy()[0] for v in model.encode(X[:1]))
    z = model.sample_posterior(np.repeat(X[:1], 40_000, axis=0), seed=2).numpy()
    np.testing.assert_allclose(z.mean(axis=0), mean, atol=0.03 * stddev.max())
    np.testing.assert_allclose(z.std(axis=0), stddev, rtol=0.02)


def test_interpolate_begins_and_ends_at_reconstructions():
    model = mlp()
    line = model.interpolate(X[:3], X[3:6], steps=5).numpy()
    assert line.shape == (3, 5, 4)
    np.testing.assert_allclose(line[:, 0], model.reconstruct(X[:3]), rtol=1e-5)
    np.testing.assert_allclose(line[:, -1], model.reconstruct(X[3:6]), rtol=1e-5)
    middle = (model.encode(X[:3])[0] + model.encode(X[3:6])[0]) / 2
    np.testing.assert_allclose(line[:, 2], model.decode(middle), rtol=1e-5)


# === Networks of one's own ===


class Encoder(keras.Model):
    def __init__(self):
        super().__init__()
        self.hidden = Dense(5, "tanh")
        self.normalization = keras.layers.BatchNormalization(momentum=0.5)
        self.dropout = keras.layers.Dropout(0.5, seed=1)

    def call(self, x, training=False):
        h = self.normalization(self.hidden(x), training=training)
        return self.dropout(h, training=training)


class Decoder(keras.layers.Layer):
    def __init__(self):
        super().__init__()
        self.hidden = Dense(5, "tanh")
        self.out = Dense(4)

    def call(self, z):
        return self.out(self.hidden(z))


@pytest.mark.slow
def test_subclassed_networks_learn():
    model = kv.VAE(Encoder(), Decoder(), latent_dim=2, seed=SEED)
    model.compile(keras.optimizers.Adam(0.05))
    before = model.evaluate(X, verbose=0)[0]
    model.fit(X, epochs=60, verbose=0)
    assert model.evaluate(X, verbose=0)[0] < 0.9 * before


@pytest.mark.slow
def test_training_and_inference_of_the_networks():
    encoder = Encoder()
    model = kv.VAE(encoder, Decoder(), latent_dim=2, seed=SEED)
    model.build((None, 4))
    model.compile(keras.optimizers.SGD(0.0))
    hidden = encoder.hidden(X).numpy()
    # At inference the initial moving statistics 0 and 1, and no dropout.
    features = hidden / np.sqrt(1 + encoder.normalization.epsilon)
    expected = model.latent.posterior.mean_and_stddev(model.latent.infer(features))[0]
    np.testing.assert_allclose(model.encode(X)[0], expected, rtol=1e-4, atol=1e-6)
    np.testing.assert_array_equal(
        model.predict(X, verbose=0), model.predict(X, verbose=0)
    )
    before = np.array(encoder.normalization.moving_mean)
    model.evaluate(X, verbose=0)
    model.elbo(X)
    model.generate(2)
    np.testing.assert_array_equal(encoder.normalization.moving_mean, before)
    # In training the batch's, once.
    model.fit(X, batch_size=12, verbose=0)
    np.testing.assert_allclose(
        encoder.normalization.moving_mean, hidden.mean(axis=0) / 2, rtol=1e-5, atol=1e-6
    )
    variance = (1 + hidden.var(axis=0)) / 2
    np.testing.assert_allclose(
        encoder.normalization.moving_variance, variance, rtol=1e-5
    )


@pytest.mark.slow
def test_dropout_drops_in_training_only():
    class Zeros(keras.layers.Layer):
        def __init__(self):
            super().__init__()
            self.dropout = keras.layers.Dropout(0.5, seed=1)
            self.count = self.add_weight(shape=(), initializer="zeros", trainable=False)

        def call(self, x, training=False):
            h = self.dropout(tf.ones_like(x), training=training)
            self.count.assign_add(tf.reduce_sum(tf.cast(h == 0.0, "float32")))
            return h

    encoder = Zeros()
    model = kv.VAE(encoder, Dense(4), latent_dim=2, seed=SEED)
    model.build((None, 4))
    model.compile("adam")
    model.evaluate(X, verbose=0)
    model.predict(X, verbose=0)
    assert float(encoder.count) == 0
    model.fit(X, verbose=0)
    assert 12 < float(encoder.count) < 36


@pytest.mark.parametrize("network", ["encoder", "decoder"])
@pytest.mark.slow
def test_regularisers_count_once(network):
    def loss(**kwargs):
        keras.utils.set_random_seed(2)
        networks = {
            name: keras.Sequential([Dense(4, **(kwargs if name == network else {}))])
            for name in ("encoder", "decoder")
        }
        model = mlp(**networks)
        logs = model.evaluate(X, batch_size=12, verbose=0, return_dict=True)
        return model, logs

    _, plain = loss()
    model, logs = loss(kernel_regularizer=keras.regularizers.L2(0.1))
    kernel = getattr(model, network).layers[0].kernel.numpy()
    for name in ("reconstruction_loss", "kl_loss"):
        assert logs[name] == pytest.approx(plain[name], rel=1e-6)
    assert logs["loss"] - logs["negative_elbo"] == pytest.approx(
        0.1 * (kernel**2).sum(), rel=1e-4
    )
    # In training too.
    model.compile(keras.optimizers.SGD(0.0))
    trained = model.fit(X, batch_size=12, verbose=0).history
    assert trained["loss"][0] - trained["negative_elbo"][0] == pytest.approx(
        0.1 * (kernel**2).sum(), rel=1e-4
    )


class SumOfSquares(keras.regularizers.Regularizer):
    def __call__(self, x):
        return 0.3 * tf.reduce_sum(tf.square(x))


@pytest.mark.slow
def test_activity_regularisers_count_once():
    encoder = keras.Sequential([Dense(4, activity_regularizer=SumOfSquares())])
    model = mlp(encoder=encoder)
    # Whether Keras divides it by the batch depends on its version.
    encoder.layers[0](X)
    expected = float(encoder.layers[0].losses[0])
    assert expected > 0
    logs = model.evaluate(X, batch_size=12, verbose=0, return_dict=True)
    assert logs["loss"] - logs["negative_elbo"] == pytest.approx(expected, rel=1e-4)
    model.compile(keras.optimizers.SGD(0.0))
    trained = model.fit(X, batch_size=12, verbose=0).history
    difference = trained["loss"][0] - trained["negative_elbo"][0]
    assert difference == pytest.approx(expected, rel=1e-4)


# === Training ===


@pytest.mark.slow
def test_looking_at_a_model_does_not_change_how_it_trains():
    first = mlp()
    for _ in range(3):
        first.fit(X, batch_size=5, shuffle=False, verbose=0)
    second = mlp()
    for _ in range(3):
        second.fit(X, batch_size=5, shuffle=False, verbose=0)
        second.evaluate(X, batch_size=3, verbose=0)
        second.predict(X, verbose=0)
        second.generate(3)
        second.generate(3, seed=1)
        second.elbo(X, num_samples=2)
        second.sample_posterior(X, seed=1)
        second.interpolate(X, X)
        second(X)
    assert_equal_weights(first, second)


@pytest.mark.slow
def test_validating_does_not_change_how_it_trains():
    first = mlp()
    first.fit(X, batch_size=5, shuffle=False, epochs=3, verbose=0)
    second = mlp()
    second.fit(
        X,
        batch_size=5,
        shuffle=False,
        epochs=3,
        verbose=0,
        validation_data=(GREY,),
        validation_batch_size=7,
    )
    assert_equal_weights(first, second)


@pytest.mark.slow
def test_validation_is_evaluation():
    model = mlp()
    history = model.fit(
        X, verbose=0, validation_data=(GREY, X, WEIGHTS), validation_batch_size=5
    ).history
    logs = model.evaluate(
        GREY, X, sample_weight=WEIGHTS, batch_size=5, verbose=0, return_dict=True
    )
    assert {f"val_{name}": [value] for name, value in logs.items()} == {
        name: value for name, value in history.items() if name.startswith("val_")
    }


@pytest.mark.slow
def test_validation_split_splits_the_weights():
    arguments = {"shuffle": False, "verbose": 0, "batch_size": 4}
    first = mlp()
    history = first.fit(
        X, sample_weight=WEIGHTS, validation_split=0.5, **arguments
    ).history
    second = mlp()
    expected = second.fit(
        X[:6],
        sample_weight=WEIGHTS[:6],
        validation_data=(X[6:], X[6:], WEIGHTS[6:]),
        **arguments,
    ).history
    assert history == expected
    assert_equal_weights(first, second)
    # Not without the weights.
    third = mlp().fit(X, validation_split=0.5, **arguments).history
    for name in ("loss", "val_loss"):
        assert abs(third[name][0] - expected[name][0]) > 1e-3


@pytest.mark.slow
def test_weights_of_a_data_set_without_targets_count():
    batches = tf.data.Dataset.from_tensors((X, None, WEIGHTS))
    first, second, third = [], [], []
    for found, arguments in (
        (first, {"x": batches, "shuffle": False}),
        (second, {"x": X, "sample_weight": WEIGHTS, "shuffle": False}),
        (third, {"x": X, "shuffle": False}),
    ):
        found += mlp().fit(verbose=0, **arguments).history["loss"]
    assert first == pytest.approx(second, rel=1e-6)
    assert abs(first[0] - third[0]) > 1e-3


@pytest.mark.slow
def test_weights_of_one_batch_count():
    weighted = mlp().train_on_batch(X, sample_weight=WEIGHTS, return_dict=True)
    model = mlp()
    history = model.fit(X, sample_weight=WEIGHTS, shuffle=False, verbose=0).history
    assert weighted["loss"] == pytest.approx(history["loss"][0], rel=1e-6)
    other = mlp()
    other.train_on_batch(X, sample_weight=WEIGHTS)
    for a, b in zip(numbers(model), numbers(other), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)
    tested = mlp().test_on_batch(X, sample_weight=WEIGHTS, return_dict=True)
    evaluated = mlp().evaluate(X, sample_weight=WEIGHTS, verbose=0, return_dict=True)
    assert tested["loss"] == pytest.approx(evaluated["loss"], rel=1e-6)


@pytest.mark.parametrize("jit_compile", [False, True])
@pytest.mark.slow
def test_steps_per_execution_does_not_matter(jit_compile):
    models = []
    for steps in (1, 5):
        model = mlp(compile={"steps_per_execution": steps, "jit_compile": jit_compile})
        annealing = kv.KLAnnealing(schedules.linear(8))
        model.fit(X, batch_size=2, epochs=3, verbose=0, callbacks=[annealing])
        assert int(model.optimizer.iterations) == 18
        models.append(model)
    if jit_compile:
        for a, b in zip(*map(numbers, models), strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)
    else:
        assert_equal_weights(*models)


@pytest.mark.slow
def test_the_same_seed_gives_the_same_weights():
    first = mlp()
    first.fit(X, batch_size=5, epochs=2, verbose=0)
    second = mlp()
    second.fit(X, batch_size=5, epochs=2, verbose=0)
    assert_equal_weights(first, second)


# === Saving ===


@pytest.mark.slow
def test_load_weights_keeps_the_step_of_an_optimiser_without_variables(tmp_path):
    first = mlp()
    first.fit(X, batch_size=5, epochs=2, shuffle=False, verbose=0)
    first.save_weights(tmp_path / "model.weights.h5")
    second = mlp()
    assert not second.optimizer.built
    second.load_weights(tmp_path / "model.weights.h5")
    assert int(second.optimizer.iterations) == 6
    assert_equal_weights(first, second)
    for model in (first, second):
        model.fit(X, batch_size=5, shuffle=False, verbose=0)
    assert_equal_weights(first, second)


@pytest.mark.slow
def test_a_saved_model_goes_on_where_it_was(tmp_path):
    first = mlp(likelihood=distributions.Normal("shared", initial_scale=0.5))
    first.fit(GREY, batch_size=5, shuffle=False, verbose=0)
    first.save(tmp_path / "model.keras")
    second = keras.models.load_model(tmp_path / "model.keras")
    assert second.evaluate(GREY, verbose=0) == first.evaluate(GREY, verbose=0)
    for model in (first, second):
        model.fit(GREY, batch_size=5, shuffle=False, verbose=0)
    assert_equal_weights(first, second)

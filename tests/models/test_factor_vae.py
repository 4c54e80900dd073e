"""The adversary's estimate, its step, and what it leaves alone."""

import keras
import numpy as np
import pytest
import recipes
import tensorflow as tf

import keras_vae as kv
from keras_vae.models.factor_vae import discriminator_loss
from keras_vae.models.factor_vae import permute_units

FIT = {"batch_size": 8, "shuffle": False, "verbose": 0}


def make(model=kv.FactorVAE, **kwargs):
    keras.utils.set_random_seed(1)
    if model is kv.FactorVAE:
        kwargs = {
            "discriminator": kv.networks.mlp_decoder([16, 16], (2,)),
            "gamma": 2.0,
            **kwargs,
        }
    return recipes.mlp(model=model, **kwargs)


def values(variables):
    return [np.asarray(tf.convert_to_tensor(v)) for v in variables]


def assert_equal(these, others):
    for this, other in zip(these, others, strict=True):
        np.testing.assert_array_equal(this, other)


def trained(model, x=None, epochs=2, **compile_arguments):
    model.compile(keras.optimizers.Adam(1e-2), **compile_arguments)
    x = recipes.binary_images() if x is None else x
    return model.fit(x, epochs=epochs, **FIT).history


def test_weight_0_is_the_vae_exactly():
    plain, factor = make(kv.VAE), make(gamma=0.0)
    for model in (plain, factor):
        model.build((None, *recipes.EVENT_SHAPE))
    for variable, other in zip(
        factor.trainable_variables, plain.trainable_variables, strict=True
    ):
        variable.assign(other)
    histories = [trained(m, jit_compile=False) for m in (plain, factor)]
    for name, history in histories[0].items():
        assert history == histories[1][name]
    assert_equal(values(plain.trainable_variables), values(factor.trainable_variables))
    assert histories[1]["total_correlation_loss"][1] != 0.0


def numpy_terms(logits):
    real, permuted = logits[:, 0], logits[:, 1]

    def log_prob(logits, kind):
        return logits[:, kind] - np.log(np.exp(logits).sum(axis=1))

    cross_entropy = -0.5 * (log_prob(real, 0) + log_prob(permuted, 1))
    return np.mean(real[:, 0] - real[:, 1]), np.mean(cross_entropy)


def test_terms_are_those_of_the_definition():
    model, x = make(gamma=3.0), recipes.binary_images()
    model.compile("sgd")
    logs = model.evaluate(x, batch_size=len(x), verbose=0, return_dict=True)
    model.reset_metrics()
    outputs = model(x)
    tc, cross_entropy = numpy_terms(np.float64(outputs["discriminator"]))
    assert logs["total_correlation_loss"] == pytest.approx(tc, rel=1e-5)
    assert logs["discriminator_loss"] == pytest.approx(cross_entropy, rel=1e-5)
    assert logs["gamma"] == 3.0
    assert logs["loss"] == pytest.approx(logs["negative_elbo"] + 3.0 * tc, rel=1e-6)
    z = outputs["z"][:, 0]
    np.testing.assert_allclose(
        outputs["discriminator"][:, 0], model.discriminator(z), rtol=1e-4, atol=1e-6
    )


def test_each_unit_is_permuted_by_itself():
    z = np.random.default_rng(0).normal(size=(500, 3)).astype("float32")
    z[:, 1] = z[:, 0]
    permuted = permute_units(tf.constant(z), kv.random.key(3)).numpy()
    np.testing.assert_array_equal(np.sort(permuted, axis=0), np.sort(z, axis=0))
    assert abs(np.corrcoef(permuted[:, :2].T)[0, 1]) < 3 / np.sqrt(500)
    again = permute_units(tf.constant(z), kv.random.key(4)).numpy()
    assert not np.array_equal(permuted, again)


def test_each_optimiser_follows_the_gradient_of_its_own_loss():
    """With SGD of rate 1 the steps are the gradients, taken apart by hand."""
    model, x = make(), recipes.binary_images()
    model.compile(
        keras.optimizers.SGD(1.0), keras.optimizers.SGD(1.0), jit_compile=False
    )
    model.build((None, *x.shape[1:]))
    mean = kv.objectives.BatchMean(len(x))
    state = values(model.variables)
    with tf.GradientTape(persistent=True) as tape:
        outputs = model(x, training=True)
        loss = model.compute_loss(x=x, y_pred=outputs)
        z = outputs["z"][:, 0]
        logits = outputs["discriminator"]
        second_loss = discriminator_loss(logits, mean)
    vae = [v.value for v in model.trainable_variables]
    adversary = [v.value for v in model.second_variables]
    gradients = values(tape.gradient(loss, vae))
    second_gradients = values(tape.gradient(second_loss, adversary))
    assert z.shape == (len(x), 3)
    for variable, value in zip(model.variables, state, strict=True):
        variable.assign(value)
    before, second_before = values(vae), values(adversary)
    model.train_on_batch(x)
    for old, new, gradient in zip(
        before + second_before,
        values(vae + adversary),
        gradients + second_gradients,
        strict=True,
    ):
        np.testing.assert_allclose(old - new, gradient, rtol=1e-3, atol=1e-6)
    assert model.optimizer.iterations == 1
    assert model.discriminator_optimizer.iterations == 1


def test_the_penalty_moves_the_encoder_but_not_the_decoder():
    model, x = make(), recipes.binary_images()
    model.build((None, *x.shape[1:]))
    with tf.GradientTape() as tape:
        logits = model(x, training=True)["discriminator"]
        penalty = tf.reduce_mean(logits[:, 0, 0] - logits[:, 0, 1])
    weights = [v.value for v in model.trainable_variables]
    gradients = tape.gradient(penalty, weights)
    decoder = {id(v) for v in model.decoder.trainable_variables}
    for variable, gradient in zip(model.trainable_variables, gradients, strict=True):
        assert (gradient is None) == (id(variable) in decoder), variable.path


def test_the_discriminator_is_no_part_of_the_trainable_variables():
    model = make()
    model.build((None, *recipes.EVENT_SHAPE))
    plain = make(kv.VAE)
    plain.build((None, *recipes.EVENT_SHAPE))
    for name in ("trainable_variables", "trainable_weights"):
        assert len(getattr(model, name)) == len(getattr(plain, name))
    assert len(model.second_variables) == 6
    assert {id(v) for v in model.second_variables} <= {id(v) for v in model.weights}


def test_default_discriminator_and_optimiser_are_those_of_the_authors():
    model = make(discriminator=None)
    model.compile("adam")
    units = [getattr(layer, "units", None) for layer in model.discriminator.layers]
    assert units == [1000] * 6 + [2, None]
    activation = model.discriminator.layers[0].activation
    assert activation is keras.activations.leaky_relu
    optimizer = model.discriminator_optimizer
    assert float(optimizer.learning_rate) == pytest.approx(1e-4)
    assert (optimizer.beta_1, optimizer.beta_2) == (0.5, 0.9)


def test_resume_takes_up_both_optimisers(tmp_path):
    straight = make()
    trained(straight, epochs=2, jit_compile=False)
    for epochs in (1, 2):
        model = make()
        model.compile(keras.optimizers.Adam(1e-2), jit_compile=False)
        backup = keras.callbacks.BackupAndRestore(tmp_path, delete_checkpoint=False)
        model.fit(recipes.binary_images(), epochs=epochs, callbacks=[backup], **FIT)
    for part in (model, model.optimizer, model.discriminator_optimizer):
        other = {
            model: straight,
            model.optimizer: straight.optimizer,
            model.discriminator_optimizer: straight.discriminator_optimizer,
        }[part]
        assert_equal(values(part.variables), values(other.variables))
    assert int(model.discriminator_optimizer.iterations) == 8


@pytest.mark.slow
def test_a_loaded_model_goes_on_alike(tmp_path):
    model = make()
    model.compile(
        keras.optimizers.Adam(1e-2), keras.optimizers.Adam(3e-3), jit_compile=False
    )
    x = recipes.binary_images()
    model.fit(x, **FIT)
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert float(loaded.discriminator_optimizer.learning_rate) == pytest.approx(3e-3)
    for part in (model, loaded):
        part.fit(x, **FIT)
    assert_equal(values(loaded.weights), values(model.weights))
    assert_equal(
        values(loaded.discriminator_optimizer.variables),
        values(model.discriminator_optimizer.variables),
    )


@pytest.mark.slow
def test_float16_scales_both_losses():
    keras.config.set_dtype_policy("mixed_float16")
    model = make()
    trained(model, epochs=1, jit_compile=False)
    for optimizer in (model.optimizer, model.discriminator_optimizer):
        assert isinstance(optimizer, keras.optimizers.LossScaleOptimizer)
        assert float(optimizer.dynamic_scale) >= 1
        assert int(optimizer.iterations) > 0


@pytest.mark.slow
def test_xla_and_several_steps_per_execution():
    histories = [
        trained(make(), jit_compile=True, steps_per_execution=steps) for steps in (1, 4)
    ]
    for name, history in histories[0].items():
        np.testing.assert_allclose(history, histories[1][name], rtol=1e-5)


@pytest.mark.slow
def test_a_schedule_moves_gamma():
    model = make(gamma=0.0)
    model.compile("adam", jit_compile=False)
    scheduler = kv.callbacks.HyperparameterScheduler("gamma", kv.schedules.linear(7))
    history = model.fit(
        recipes.binary_images(), epochs=2, callbacks=[scheduler], **FIT
    ).history
    np.testing.assert_allclose(history["gamma"], [3 / 7, 1.0])


def test_replicas_stay_equal_and_share_the_discriminators_gradient(strategy):
    x = recipes.binary_images()
    with strategy.scope():
        model = make()
        model.compile(keras.optimizers.SGD(1e-2), keras.optimizers.SGD(1.0))
        model.build((None, *x.shape[1:]))
    before = values(model.second_variables)
    codes = []
    for replica, shard in enumerate(np.split(x, 2)):
        params = model.latent.infer(model.encoder(shard))
        z = model.latent.sample(params, 1, kv.random.key(7, 0, replica))[:, 0]
        key = kv.random.fork(kv.random.key(7, 0, replica), 3)
        codes.append((z, permute_units(z, key)))
    model.fit(tf.data.Dataset.from_tensor_slices((x, x)).batch(len(x)), verbose=0)
    mean = kv.objectives.BatchMean(len(x) // 2)
    weights = [tf.Variable(value) for value in before]
    with tf.GradientTape() as tape:
        loss = 0.0
        for z, permuted in codes:
            logits = tf.stack([mlp(weights, z), mlp(weights, permuted)], axis=1)
            loss += discriminator_loss(logits, mean) / 2
    gradients = values(tape.gradient(loss, weights))
    steps = [
        old - new
        for old, new in zip(before, values(model.second_variables), strict=True)
    ]
    for step, gradient in zip(steps, gradients, strict=True):
        np.testing.assert_allclose(step, gradient, rtol=1e-3, atol=1e-6)
    optimizers = model.optimizer.variables + model.discriminator_optimizer.variables
    for variable in model.variables + optimizers:
        copies = strategy.experimental_local_results(variable.value)
        assert len(copies) == 2
        np.testing.assert_array_equal(copies[0].numpy(), copies[1].numpy())


def mlp(weights, z):
    for kernel, bias in zip(weights[0:4:2], weights[1:4:2], strict=True):
        z = tf.nn.relu(z @ kernel + bias)
    return z @ weights[4] + weights[5]


@pytest.mark.slow
def test_the_density_ratio_finds_the_total_correlation_of_a_gaussian():
    """Codes of correlation r have a total correlation of -log(1 - r^2) / 2."""
    correlation, noise = 0.8, 0.1
    covariance = np.array([[1.0, correlation], [correlation, 1.0]])
    x = np.random.default_rng(0).multivariate_normal(
        [0, 0], covariance - noise**2 * np.eye(2), size=20_000
    )
    keras.utils.set_random_seed(1)
    model = kv.FactorVAE(
        kv.networks.mlp_encoder([]),
        kv.networks.mlp_decoder([], (2,)),
        latent_dim=2,
        likelihood=kv.distributions.Normal(scale=1.0),
        discriminator=kv.networks.mlp_decoder([32, 32], (2,), activation="tanh"),
        seed=0,
    )
    model.build((None, 2))
    # z = x + noise: the encoder is left as it is, by an optimiser that stands still.
    parameters = model.latent.posterior.mean_and_stddev
    head = model.latent.head
    head.kernel.assign(np.eye(2, 4))
    for bias in np.linspace(-10, 0, 401):
        head.bias.assign([0, 0, bias, bias])
        if parameters(model.latent.infer(np.zeros((1, 2))))[1][0, 0] > noise:
            break
    falling = keras.optimizers.schedules.CosineDecay(1e-2, 1600)
    model.compile(keras.optimizers.SGD(0.0), keras.optimizers.Adam(falling))
    model.fit(np.float32(x), batch_size=500, epochs=40, verbose=0)
    logs = model.evaluate(np.float32(x), batch_size=5000, verbose=0, return_dict=True)
    truth = -0.5 * np.log(1 - correlation**2)
    assert logs["total_correlation_loss"] == pytest.approx(truth, rel=0.04)


# === Errors ===


def test_bad_arguments():
    with pytest.raises(ValueError, match="`gamma` must be a finite number"):
        make(gamma=-1.0)
    with pytest.raises(ValueError, match="`discriminator` must be a `keras.Model`"):
        make(discriminator=5)
    model = make(discriminator=kv.networks.mlp_decoder([4], (1,)))
    with pytest.raises(ValueError, match="`discriminator` must put out two logits"):
        model.build((None, *recipes.EVENT_SHAPE))
    adam = keras.optimizers.Adam()
    with pytest.raises(ValueError, match="must not be `optimizer` itself"):
        make().compile(adam, adam)

"""The weight that the optimiser sees is the weight that was asked for."""

import keras
import matrix
import numpy as np
import pytest
import tensorflow as tf

import keras_vae as kv
from keras_vae import _keras

WEIGHT = 0.7
EVENT = 4
UNITS = 3


def data(size, seed=0):
    generator = np.random.default_rng(seed)
    return generator.uniform(size=(size, EVENT)).astype("float32")


def make_vae():
    model = kv.VAE(
        keras.Sequential([keras.layers.Dense(16, activation="tanh")]),
        keras.Sequential([keras.layers.Dense(16, "tanh"), keras.layers.Dense(EVENT)]),
        latent_dim=UNITS,
        objective=kv.ELBO(kl_weight=WEIGHT),
        seed=3,
    )
    model.build((None, EVENT))
    return model, model.latent, None


def make_functional():
    inputs = keras.Input((EVENT,))
    features = keras.layers.Dense(16, activation="tanh")(inputs)
    latent = kv.layers.Latent(UNITS, kl_weight=WEIGHT, seed=3)
    z = latent(features)
    hidden = keras.layers.Dense(16, activation="tanh")(z)
    model = keras.Model(inputs, keras.layers.Dense(EVENT)(hidden))
    return model, latent, kv.losses.NegativeLogLikelihood("bernoulli")


MAKERS = {"vae": make_vae, "functional": make_functional}


def make(kind, optimizer="sgd", **compile_args):
    keras.utils.set_random_seed(1)
    model, latent, loss = MAKERS[kind]()
    # A rate as large as the distortion, so that float32 resolves their ratio.
    latent.head.kernel.assign(3.0 * latent.head.kernel)
    model.compile(optimizer, **({"loss": loss} if loss else {}), **compile_args)
    return model, latent


def kl_weight_of(model):
    (hyperparameter,) = _keras.sublayers(model, kv.Hyperparameter)
    return hyperparameter.value


def closed_form_kl(latent, params):
    """Sum over units, mean over the batch, from the definition in float32."""
    q = latent.posterior.distribution(params)
    loc, scale = q.distribution.loc, q.distribution.scale
    kl = 0.5 * (loc**2 + scale**2 - 1.0) - tf.math.log(scale)
    return tf.reduce_mean(tf.reduce_sum(kl, axis=1))


def measured_step(model, latent):
    """Returns a function x -> loss, reconstruction, KL and their gradients."""
    weights = model.trainable_variables
    values = [v.value for v in weights]
    kl_weight = kl_weight_of(model).value
    vae = isinstance(model, kv.VAE)

    def step(x):
        with tf.GradientTape(persistent=True) as tape:
            tape.watch(kl_weight)
            y_pred = model(x, training=True)
            loss = model.compute_loss(x=x, y=x, y_pred=y_pred, training=True)
            if vae:
                params = y_pred["posterior"]
                log_likelihood = model.likelihood.log_prob(y_pred["likelihood"], x)
                reconstruction = -tf.reduce_mean(log_likelihood)
            else:
                features = model.layers[1](tf.cast(x, model.compute_dtype))
                params = latent.infer(features)
                reconstruction = kv.losses.NegativeLogLikelihood()(x, y_pred)
            kl = closed_form_kl(latent, params)
        zeros = tf.UnconnectedGradients.ZERO
        return {
            "loss": loss,
            "reconstruction": reconstruction,
            "kl": kl,
            "d_loss_d_weight": tape.gradient(loss, kl_weight),
            "loss_gradient": tape.gradient(loss, values, unconnected_gradients=zeros),
            "kl_gradient": tape.gradient(kl, values, unconnected_gradients=zeros),
            "reconstruction_gradient": tape.gradient(
                reconstruction, values, unconnected_gradients=zeros
            ),
        }

    return step


def flat(gradients):
    return np.concatenate([np.ravel(g).astype("float64") for g in gradients])


POLICIES = {"float32": 1e-5, "mixed_float16": 2e-3, "mixed_bfloat16": 2e-2}


@pytest.mark.parametrize(
    "jit_compile",
    [False, pytest.param(True, marks=pytest.mark.slow)],
    ids=["graph", "xla"],
)
@pytest.mark.parametrize("policy", matrix.first(2, list(POLICIES)))
@pytest.mark.parametrize("kind", MAKERS)
def test_coefficient_is_kl_weight(kind, policy, jit_compile):
    keras.config.set_dtype_policy(policy)
    model, latent = make(kind)
    step = tf.function(
        measured_step(model, latent), jit_compile=jit_compile, reduce_retracing=False
    )
    for size in (1, 16, 100):
        result = step(tf.constant(data(size)))
        kl = float(result["kl"])
        assert float(result["d_loss_d_weight"]) == pytest.approx(kl, rel=1e-6)
        rate_part = float(result["loss"]) - float(result["reconstruction"])
        assert rate_part / kl == pytest.approx(WEIGHT, rel=1e-6)
        kl_gradient = flat(result["kl_gradient"])
        rate_gradient = flat(result["loss_gradient"]) - flat(
            result["reconstruction_gradient"]
        )
        coefficient = rate_gradient @ kl_gradient / (kl_gradient @ kl_gradient)
        assert coefficient == pytest.approx(WEIGHT, rel=POLICIES[policy])


@pytest.mark.parametrize("kind", MAKERS)
def test_fit_applies_the_coefficient(kind):
    """One SGD step of `fit` moves the weights by the gradient of the weighted sum."""
    x = data(16)
    model, latent = make(kind, optimizer=keras.optimizers.SGD(1.0))
    result = tf.function(measured_step(model, latent))(tf.constant(x))
    expected = flat(result["reconstruction_gradient"]) + WEIGHT * flat(
        result["kl_gradient"]
    )
    latent.noise.count.assign(0)
    before = flat([v.numpy() for v in model.trainable_variables])
    target = () if isinstance(model, kv.VAE) else (x,)
    model.fit(x, *target, batch_size=16, shuffle=False, verbose=0)
    after = flat([v.numpy() for v in model.trainable_variables])
    np.testing.assert_allclose(before - after, expected, rtol=1e-4, atol=1e-6)


# === sample_weight ===


def weighted_result(kind, x, sample_weight=None, batch_size=None):
    """Loss, logs and the step of one batch, with noise that belongs to the example."""
    model, latent = make(kind, optimizer=keras.optimizers.SGD(1.0))
    latent.posterior.sample = lambda params, samples, key: (
        latent.posterior.mean_and_stddev(params)[0][:, None]
    )
    before = flat([v.numpy() for v in model.trainable_variables])
    if isinstance(model, kv.VAE):
        history = model.fit(
            x,
            sample_weight=sample_weight,
            batch_size=batch_size or len(x),
            shuffle=False,
            verbose=0,
        )
    else:
        model = weighted_functional(model, latent)
        weights = np.ones(len(x)) if sample_weight is None else sample_weight
        history = model.fit(
            {"x": x, "w": weights.astype("float32")},
            x,
            sample_weight=sample_weight,
            batch_size=batch_size or len(x),
            shuffle=False,
            verbose=0,
        )
    after = flat([v.numpy() for v in model.trainable_variables])
    logs = {name: values[0] for name, values in history.history.items()}
    return logs, before - after


def weighted_functional(model, latent):
    """The same layers, with the weights of the examples as an input."""
    x, w = keras.Input((EVENT,), name="x"), keras.Input((), name="w")
    _, encoder, _, hidden, output = model.layers
    z = latent(encoder(x), sample_weight=w)
    weighted = keras.Model({"x": x, "w": w}, output(hidden(z)))
    weighted.compile(keras.optimizers.SGD(1.0), kv.losses.NegativeLogLikelihood())
    return weighted


@pytest.mark.parametrize("kind", MAKERS)
def test_weight_0_leaves_out_and_weight_2_counts_twice(kind):
    x = data(5)
    out_logs, out_step = weighted_result(
        kind, x, np.array([1.0, 0.0, 1.0, 2.0, 0.0], "float32")
    )
    logs, step = weighted_result(kind, x[[0, 2, 3, 3]])
    assert set(logs) <= set(out_logs)
    # Keras's own mean of the loss in a functional model counts batches, not weights.
    for name, value in logs.items():
        assert out_logs[name] == pytest.approx(value, rel=1e-6), name
    np.testing.assert_allclose(out_step, step, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("kind", MAKERS)
def test_batch_without_weight_changes_nothing(kind):
    x = data(10)
    weights = np.repeat([1.0, 0.0], 5).astype("float32")
    logs, step = weighted_result(kind, x[:5], batch_size=5)
    both_logs, both_steps = weighted_result(kind, x, weights, batch_size=5)
    np.testing.assert_array_equal(both_steps, step)
    # Keras's own mean of the loss, in a functional model, counts the batch as well.
    share = 1.0 if kind == "vae" else 0.5
    assert both_logs["loss"] == pytest.approx(share * logs["loss"], rel=1e-6)
    assert both_logs["kl_loss"] == pytest.approx(logs["kl_loss"], rel=1e-6)


def test_weights_over_batches_of_uneven_weight():
    """The epoch's loss is the weighted mean over examples, not over batches."""
    x = data(32)
    weights = np.random.default_rng(1).uniform(0, 3, 32).astype("float32")
    model, latent = make("vae")
    latent.posterior.sample = lambda params, samples, key: (
        latent.posterior.mean_and_stddev(params)[0][:, None]
    )
    each = np.array([model.evaluate(row[None], verbose=0) for row in x])[:, 0]
    whole = model.evaluate(
        x, sample_weight=weights, batch_size=8, verbose=0, return_dict=True
    )
    expected = np.average(each, weights=weights)
    assert whole["loss"] == pytest.approx(expected, rel=1e-6)

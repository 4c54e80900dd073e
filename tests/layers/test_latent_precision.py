"""`Latent` beside losses of other types, and what it reports in half precision."""

import keras
import matrix
import numpy as np
import pytest
import tensorflow as tf

import keras_vae as kv

X = np.random.default_rng(0).normal(size=(6, 4)).astype("float32")


@pytest.fixture
def floatx():
    """Sets Keras's default type, and sets it back."""

    def set_both(name):
        keras.config.set_floatx(name)
        keras.config.set_dtype_policy(name)

    yield set_both
    set_both("float32")


def model_of(latents, loss=None, regularizer=None, learning_rate=0.01):
    """A functional model of several `Latent`s that read the same input."""
    x = keras.Input((4,))
    h = keras.layers.Dense(5, kernel_regularizer=regularizer)(x)
    z = [layer(h) for layer in latents]
    z = keras.layers.Concatenate()(z) if len(z) > 1 else z[0]
    model = keras.Model(x, keras.layers.Dense(4)(z))
    set_weights(model)
    loss = loss or kv.losses.NegativeLogLikelihood("unit_normal")
    model.compile(keras.optimizers.SGD(learning_rate), loss)
    return model


def set_weights(model):
    """Gives a model the same weights in all types; Keras's draws depend on it."""
    generator = np.random.default_rng(5)
    for variable in model.trainable_variables:
        variable.assign(0.5 * generator.normal(size=variable.shape))


def losses_of_fit(number, *arguments):
    latents = [kv.layers.Latent(2, seed=i, name=f"z{i}") for i in range(number)]
    model = model_of(latents, *arguments)
    return model.fit(X, X, batch_size=2, epochs=2, shuffle=False, verbose=0).history


# === Other types ===


@pytest.mark.parametrize("number", [1, 2])
@pytest.mark.parametrize("regularizer", matrix.first(1, [None, "l2"]))
@pytest.mark.parametrize("loss", matrix.first(1, [None, "mse"]))
def test_float64_trains_as_float32_does(floatx, number, regularizer, loss):
    expected = losses_of_fit(number, loss, regularizer)
    floatx("float64")
    history = losses_of_fit(number, loss, regularizer)
    for name, values in expected.items():
        np.testing.assert_allclose(history[name], values, rtol=1e-5, err_msg=name)


def test_losses_of_float64_before_and_after_that_of_the_latent(floatx):
    floatx("float64")

    class Extra(keras.layers.Layer):
        def call(self, x):
            self.add_loss(tf.reduce_mean(x))
            return x

    x = keras.Input((4,))
    z = kv.layers.Latent(2, seed=0)(Extra()(x))
    model = keras.Model(x, keras.layers.Dense(4)(Extra()(z)))
    model.compile("sgd", kv.losses.NegativeLogLikelihood("unit_normal"))
    loss = model.test_on_batch(X, X, return_dict=True)["loss"]
    nll = model.loss(X, model(X))
    assert len(model.losses) == 3
    total = float(nll) + sum(float(value) for value in model.losses)
    assert loss == pytest.approx(total, rel=1e-6)


@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
def test_mixed_policies_of_the_model(policy):
    keras.config.set_dtype_policy(policy)
    # Steps that overflow are skipped in half precision.
    history = losses_of_fit(2, None, "l2", 0.0)
    keras.config.set_dtype_policy("float32")
    expected = losses_of_fit(2, None, "l2", 0.0)
    for name, values in expected.items():
        np.testing.assert_allclose(history[name], values, rtol=3e-2, err_msg=name)


@pytest.mark.parametrize("regularizer", matrix.first(1, [None, "l2"]))
def test_a_vae_in_float64_trains_as_in_float32(floatx, regularizer):
    def history():
        dense = keras.layers.Dense(5, kernel_regularizer=regularizer)
        encoder = keras.Sequential([dense, kv.layers.Latent(3, seed=1, name="inner")])
        decoder = keras.layers.Dense(4)
        vae = kv.VAE(encoder, decoder, 2, "normal", prior="learned_normal", seed=0)
        vae.build((None, 4))
        set_weights(vae)
        vae.compile(keras.optimizers.SGD(1e-3), metrics=["mse"])
        fitted = vae.fit(X, batch_size=2, epochs=2, shuffle=False, verbose=0).history
        settings = {"num_samples": 9, "seed": 1, "jit_compile": False, "verbose": 0}
        return {**fitted, "log_likelihood": vae.log_likelihood(X, **settings)}

    expected = history()
    floatx("float64")
    for name, values in history().items():
        np.testing.assert_allclose(values, expected[name], rtol=1e-4, err_msg=name)


# === Reports in half precision ===


@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
def test_the_logged_rate_is_exact_over_many_examples(policy):
    data = np.random.default_rng(2).normal(size=(20_000, 4)).astype("float32")
    keras.config.set_dtype_policy(policy)
    layer = kv.layers.Latent(2, seed=0)
    x = keras.Input((4,))
    model = keras.Model(x, keras.layers.Dense(4)(layer(x)))
    layer.head.kernel.assign(2.0 * layer.head.kernel)
    model.compile("sgd", kv.losses.NegativeLogLikelihood("unit_normal"))
    logged = model.evaluate(data, data, batch_size=500, verbose=0, return_dict=True)
    model(data)
    (whole,) = model.losses
    assert whole > 1.0
    assert logged["kl_loss"] == pytest.approx(float(whole), rel=1e-5)


@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
def test_the_logged_rate_of_a_latent_inside_a_vae(policy):
    data = np.random.default_rng(2).normal(size=(5000, 4)).astype("float32")
    keras.config.set_dtype_policy(policy)
    nested = kv.layers.Latent(3, seed=1, name="nested")
    decoder = keras.layers.Dense(4)
    vae = kv.VAE(keras.Sequential([nested]), decoder, 2, "unit_normal", seed=0)
    vae.compile("sgd")
    logged = vae.evaluate(data, batch_size=50, verbose=0, return_dict=True)
    nested(tf.cast(data, nested.compute_dtype))
    (whole,) = nested.losses
    assert whole > 0.1
    assert logged["nested_kl_loss"] == pytest.approx(float(whole), rel=1e-5)

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_vae as kv
from keras_vae import distributions

GENERATOR = np.random.default_rng(0)
X = GENERATOR.integers(0, 2, (5, 2, 3)).astype("float32")
LOGITS = GENERATOR.normal(size=(5, 2, 3)).astype("float32")
WEIGHTS = np.array([1.0, 0.0, 2.0, 0.5, 3.0], "float32")


def bernoulli(x, logits):
    x, logits = np.float64(x), np.float64(logits)
    return (np.logaddexp(0, logits) - x * logits).sum(axis=(1, 2))


def test_it_sums_the_event_and_averages_the_batch():
    loss = kv.losses.NegativeLogLikelihood("bernoulli")
    value = loss(X, LOGITS)
    assert value.shape == ()
    assert value.dtype == tf.float32
    assert float(value) == pytest.approx(bernoulli(X, LOGITS).mean(), rel=1e-6)
    np.testing.assert_allclose(
        loss.call(X, LOGITS), bernoulli(X, LOGITS), rtol=1e-5, atol=1e-6
    )


@pytest.mark.parametrize("shape", [(5,), (5, 1)])
def test_weights(shape):
    loss = kv.losses.NegativeLogLikelihood("bernoulli")
    expected = np.average(bernoulli(X, LOGITS), weights=WEIGHTS)
    assert float(loss(X, LOGITS, WEIGHTS.reshape(shape))) == pytest.approx(expected)
    assert float(loss(X, LOGITS, 0 * WEIGHTS)) == 0.0


@pytest.mark.parametrize("scale", [0.5, 1.0])
def test_normal_of_a_fixed_scale(scale):
    x, loc = np.float64(LOGITS), np.float64(X)
    loss = kv.losses.NegativeLogLikelihood(distributions.Normal(scale))
    error = ((x - loc) ** 2).sum(axis=(1, 2)) / (2 * scale**2)
    expected = error + 6 * np.log(scale * np.sqrt(2 * np.pi))
    assert float(loss(LOGITS, X)) == pytest.approx(expected.mean(), rel=1e-5)


def test_a_decoder_with_two_parameters():
    params = GENERATOR.normal(size=(5, 2, 6)).astype("float32")
    likelihood = distributions.Normal("per_output")
    loss = kv.losses.NegativeLogLikelihood(likelihood)
    expected = -likelihood.log_prob(params[:, None], X).numpy().mean()
    assert float(loss(X, params)) == pytest.approx(expected, rel=1e-5)


def test_half_precision_is_lifted():
    loss = kv.losses.NegativeLogLikelihood("bernoulli")
    logits = np.full((5, 2, 3), -300.0, "float16")
    value = loss(np.ones((5, 2, 3), "uint8"), tf.constant(logits))
    assert value.dtype == tf.float32
    assert float(value) == pytest.approx(1800.0)


@pytest.mark.parametrize("shape", [(5,), (5, 2), (5, 2, 3, 1), (1, 2, 3), (5, 1, 1)])
def test_targets_that_would_broadcast(shape):
    loss = kv.losses.NegativeLogLikelihood("bernoulli")
    message = r"`y_true` must have .*\(batch, 2, 3\).*y_pred.shape=\(5, 2, 3\)\. Rec"
    with pytest.raises(ValueError, match=message):
        loss(np.zeros(shape, "float32"), LOGITS)


@pytest.mark.parametrize("shape", [(5, 2), (5, 2, 3), ()])
def test_weights_that_are_not_one_per_example(shape):
    loss = kv.losses.NegativeLogLikelihood("bernoulli")
    with pytest.raises(ValueError, match="`sample_weight` must hold one weight per"):
        loss(X, LOGITS, np.ones(shape, "float32"))


@pytest.mark.parametrize(
    "likelihood", ["normal", "laplace", distributions.Normal("optimal")]
)
def test_likelihoods_that_own_weights(likelihood):
    with pytest.raises(ValueError, match="`likelihood` must not own weights"):
        kv.losses.NegativeLogLikelihood(likelihood)


def test_config_round_trip():
    loss = kv.losses.NegativeLogLikelihood(distributions.Normal(0.3), name="nll")
    copy = keras.saving.deserialize_keras_object(
        keras.saving.serialize_keras_object(loss)
    )
    assert copy.name == "nll"
    assert copy.likelihood.scale == 0.3
    assert float(copy(X, LOGITS)) == float(loss(X, LOGITS))


def test_the_loss_of_a_model_is_that_of_a_vae():
    # The same weights, with the same noise, as an equal VAE: recon and KL in nats.
    x = keras.Input((6,))
    latent = kv.layers.Latent(2, kl_weight=0.5, deterministic=True, seed=1)
    decoder = keras.layers.Dense(6)
    model = keras.Model(x, decoder(latent(x)))
    model.compile("adam", kv.losses.NegativeLogLikelihood("bernoulli"))
    flat = X.reshape(5, 6)
    logs = model.evaluate(flat, flat, verbose=0, return_dict=True)
    params = latent.infer(tf.constant(flat))
    mean, stddev = (v.numpy() for v in latent.posterior.mean_and_stddev(params))
    kl = ((mean**2 + stddev**2 - 1) / 2 - np.log(stddev)).sum(axis=1).mean()
    logits = decoder(mean).numpy()
    distortion = bernoulli(X, logits.reshape(5, 2, 3)).mean()
    assert logs["loss"] == pytest.approx(distortion + 0.5 * kl, rel=1e-5)
    assert logs["kl_loss"] == pytest.approx(kl, rel=1e-5)


def test_weights_of_fit_weigh_the_loss():
    x = keras.Input((6,))
    model = keras.Model(x, keras.layers.Dense(6)(x))
    model.compile("adam", kv.losses.NegativeLogLikelihood("bernoulli"))
    flat = X.reshape(5, 6)
    loss = model.evaluate(flat, flat, sample_weight=WEIGHTS, verbose=0)
    logits = model.predict(flat, verbose=0).reshape(5, 2, 3)
    expected = np.average(bernoulli(X, logits), weights=WEIGHTS)
    assert loss == pytest.approx(expected, rel=1e-5)


# === Activations before logits ===


@pytest.mark.parametrize("shaped", [False, True])
@pytest.mark.parametrize(
    ("likelihood", "activation", "shape"),
    [
        ("bernoulli", keras.ops.sigmoid, (5, 2, 3)),
        (distributions.Categorical(3), keras.ops.softmax, (5, 2, 9)),
    ],
)
def test_an_activation_before_logits_is_refused(likelihood, activation, shape, shaped):
    loss = kv.losses.NegativeLogLikelihood(likelihood)
    logits = GENERATOR.normal(size=shape).astype("float32")

    @tf.function
    def call(logits, activate):
        output = activation(logits) if activate else logits
        if shaped:
            output = tf.reshape(tf.reshape(output, [5, -1]), shape)
        return loss(X, output)

    name = activation.__name__
    with pytest.raises(ValueError, match=f"`y_pred` must be .* output of a {name}"):
        call(logits, True)
    assert float(call(logits, False)) == pytest.approx(float(loss(X, logits)), rel=1e-6)
    if not shaped:
        with pytest.raises(ValueError, match="`y_pred` must be logits"):
            loss(X, activation(logits))


def test_a_sigmoid_before_a_normal_is_none_of_its_business():
    loss = kv.losses.NegativeLogLikelihood("unit_normal")
    assert float(loss(X, keras.ops.sigmoid(LOGITS))) > 0

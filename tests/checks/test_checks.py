import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_vae as kv
from keras_vae import checks
from keras_vae import distributions

X = np.random.default_rng(0).integers(0, 2, (6, 4)).astype("float32")
WEIGHTS = np.linspace(0, 1, 6)
Dense = keras.layers.Dense


@pytest.fixture
def model():
    model = kv.VAE(Dense(3), Dense(4), latent_dim=2, seed=0)
    model.compile("adam")
    return model


# === What is handed on to Keras ===


def test_data_are_handed_on_as_they_are(model):
    data = checks.check_data(model, X)
    assert data["x"] is X
    assert data["y"] is None
    assert data["sample_weight"] is None
    batches = tf.data.Dataset.from_tensors(X)
    assert checks.check_data(model, batches)["x"] is batches


def test_checking_builds_the_model(model):
    assert not model.built
    checks.check_data(model, X)
    assert model.built
    assert model.event_shape == (4,)
    assert int(model.optimizer.iterations) == 0


def test_weights_without_targets_get_a_target(model):
    data = checks.check_data(model, X, sample_weight=WEIGHTS.tolist())
    assert data["y"] is X
    np.testing.assert_array_equal(data["sample_weight"], WEIGHTS)
    clean = 1 - X
    assert checks.check_data(model, X, clean, WEIGHTS)["y"] is clean


def test_validation_data_keep_their_kind(model):
    assert checks.check_validation_data(model, X) is X
    assert checks.check_validation_data(model, (X,)) == (X, None, None)
    x, y, weights = checks.check_validation_data(model, (X, None, WEIGHTS))
    assert x is X
    assert y is X
    np.testing.assert_array_equal(weights, WEIGHTS)


def test_peek_generator_yields_everything():
    first, rest = checks.peek_generator((i for i in range(3)), "x")
    assert first == 0
    assert list(rest) == [0, 1, 2]


def test_peek_takes_the_first_batch_only():
    taken = []

    def note(x):
        taken.append(float(x))
        return x

    data = tf.data.Dataset.range(5).map(
        lambda x: tf.py_function(note, [tf.cast(x, tf.float32)], tf.float32)
    )
    assert float(checks.peek(data, "x")) == 0
    assert taken == [0.0]


# === Arrays ===


@pytest.mark.parametrize(
    "value",
    [X, X.astype("float64"), X.astype("uint8"), X.astype(bool), tf.constant(X)],
)
def test_arrays_that_are_right(value):
    assert checks.check_array(value, "x") is value


def test_lists_become_arrays():
    value = checks.check_array([[1.0, 0.0]], "data")
    assert isinstance(value, np.ndarray)
    np.testing.assert_array_equal(value, [[1.0, 0.0]])


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (X.astype(str), r"`data` must be an array of numbers\. Received: dtype=<U"),
        (X[0], r"`data` must have a batch axis.*Received: shape=\(4,\)$"),
        (np.full_like(X, np.nan), r"`data` must be finite\. Received: 24 values"),
        (np.full((1, 2), 1e300), r"`data` must be finite\. Received: 2 values"),
    ],
)
def test_arrays_that_are_not(value, message):
    with pytest.raises(ValueError, match=message):
        checks.check_array(value, "data")


@pytest.mark.parametrize("shape", [(6,), (6, 1)])
def test_weights_of_either_shape(shape):
    checks.check_weights(WEIGHTS.reshape(shape), 6)
    with pytest.raises(
        ValueError, match=rf"shape \(5,\)\. Received: shape=\({shape[0]}"
    ):
        checks.check_weights(WEIGHTS.reshape(shape), 5)


# === Targets ===


@pytest.mark.parametrize(("x", "y"), [(X, None), (X[:, :2], X), ({"a": X}, X)])
def test_targets_that_are_right(x, y):
    assert checks.check_target(x, y, (4,)) is X


def test_symbolic_targets_of_unknown_batches():
    x = keras.KerasTensor((None, 4))
    assert checks.check_target(x, None, (4,)) is x


def test_a_target_of_several_tensors():
    with pytest.raises(
        ValueError, match=r"`y` must be one tensor of.*Received: a tuple"
    ):
        checks.check_target(X, (X, X), (4,))


# === Networks ===


@pytest.mark.parametrize(
    ("likelihood", "params_shape"),
    [
        (distributions.Bernoulli(), (8, 8, 3)),
        (distributions.Normal("per_output"), (8, 8, 6)),
        (distributions.Categorical(5), (8, 8, 15)),
        # A target of another shape than x.
        (distributions.Bernoulli(), (10,)),
    ],
)
def test_params_shapes_that_fit(likelihood, params_shape):
    checks.check_params_shape(params_shape, (None, 8, 8, 3), likelihood)


@pytest.mark.parametrize("channels", [3, 4])
def test_params_shapes_name_both_shapes(channels):
    shape, needed = (8, 8, channels), rf"\(8, 8, {2 * channels}\)"
    message = (
        rf"`decoder` puts out shape \(8, 8, {channels}\).*the Normal likelihood.* Data "
        rf"of shape \(8, 8, {channels}\) need shape {needed}: .*`output_shape={needed}`"
    )
    with pytest.raises(ValueError, match=message):
        checks.check_params_shape(
            shape, (None, *shape), distributions.Normal("per_output")
        )


def test_build_network_takes_structures():
    inputs = {name: keras.Input((4,), name=name) for name in ("a", "b")}
    network = keras.Model(inputs, Dense(3)(keras.layers.Add()(list(inputs.values()))))
    shape = {"a": (None, 4), "b": (None, 4)}
    assert checks.build_network(network, shape, "encoder") == (None, 3)
    layer = Dense(7)
    assert checks.build_network(layer, (None, 2), "decoder") == (None, 7)
    assert layer.built


@pytest.mark.parametrize("prior", ["standard_normal", "learned_normal"])
@pytest.mark.parametrize("posterior", ["normal", "full_covariance_normal"])
def test_rates_with_a_closed_form(prior, posterior):
    model = kv.VAE(Dense(3), Dense(4), 2, prior=prior, posterior=posterior)
    model.build((None, 4))
    checks.check_closed_form(model.latent, kv.ELBO(kl="analytic"))


@pytest.mark.parametrize("prior", ["gaussian_mixture", "vamp_prior"])
def test_rates_without_a_closed_form(prior):
    objective = kv.ELBO(kl="monte_carlo")
    model = kv.VAE(Dense(3), Dense(4), 2, prior=prior, objective=objective)
    model.build((None, 4))
    with pytest.raises(ValueError, match=r'in closed form.*`kl="monte_carlo"`'):
        checks.check_closed_form(model.latent, kv.ELBO(kl="analytic"))


# === Small things ===


@pytest.mark.parametrize(
    ("shape", "expected"),
    [
        ((None, 4), True),
        ([2, 3], True),
        (tf.TensorShape([None, 4]), True),
        ({"a": (None, 4)}, False),
        ([(None, 4), (None, 3)], False),
    ],
)
def test_is_shape(shape, expected):
    assert checks.is_shape(shape) == expected


def test_counts_and_seeds_may_be_tensors():
    checks.check_count("n", tf.constant(0))
    assert checks.check_count("n", np.int64(1)) == 1
    seed = tf.constant(-1)
    assert checks.check_seed(seed) is seed
    assert checks.check_seed(5) == 5
    assert 0 <= checks.check_seed(None) < 2**31
    for value in (0, 1.0, True, "1", None):
        with pytest.raises(
            ValueError, match=f"`n` must be a positive integer. Received: n={value!r}"
        ):
            checks.check_count("n", value)

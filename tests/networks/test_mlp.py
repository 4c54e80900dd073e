import keras
import numpy as np
import pytest

from keras_vae import networks


def test_encoder_is_dense_layers_on_flat_data():
    encoder = networks.mlp_encoder([5, 3], activation="tanh")
    x = np.random.default_rng(0).normal(size=(4, 2, 3)).astype("float32")
    features = encoder(x)
    w1, b1, w2, b2 = encoder.get_weights()
    expected = np.tanh(np.tanh(x.reshape(4, 6) @ w1 + b1) @ w2 + b2)
    np.testing.assert_allclose(features, expected, rtol=1e-5, atol=1e-6)


def test_encoder_without_layers_is_linear():
    x = np.arange(12, dtype="float32").reshape(2, 3, 2)
    np.testing.assert_array_equal(networks.mlp_encoder([])(x), x.reshape(2, 6))


def test_decoder_is_linear_in_its_last_layer():
    decoder = networks.mlp_decoder([5], (2, 3))
    z = np.random.default_rng(0).normal(size=(4, 2)).astype("float32")
    params = decoder(z)
    w1, b1, w2, b2 = decoder.get_weights()
    expected = np.maximum(z @ w1 + b1, 0) @ w2 + b2
    np.testing.assert_allclose(params, expected.reshape(4, 2, 3), rtol=1e-5, atol=1e-6)


def test_skip_connections_show_z_to_each_layer():
    decoder = networks.mlp_decoder([5, 4], (2, 3), "tanh", skip_connections=True)
    z = np.random.default_rng(0).normal(size=(4, 2)).astype("float32")
    params = decoder(z)
    w1, b1, w2, b2, w3, b3 = decoder.get_weights()
    h = np.tanh(z @ w1 + b1)
    h = np.tanh(np.hstack([h, z]) @ w2 + b2)
    expected = np.hstack([h, z]) @ w3 + b3
    np.testing.assert_allclose(params, expected.reshape(4, 2, 3), rtol=1e-5, atol=1e-6)


def test_encoder_with_a_shape_is_built():
    encoder = networks.mlp_encoder([256, 256], input_shape=(28, 28, 1))
    assert encoder.count_params() == 784 * 256 + 256 + 256 * 256 + 256
    assert encoder.output_shape == (None, 256)


@pytest.mark.parametrize("bias", [-1.5, np.linspace(-2, 2, 6), np.ones((2, 3, 1))])
def test_output_bias_is_what_a_zero_latent_decodes_to(bias):
    decoder = networks.mlp_decoder([4], (2, 3, 1), output_bias=bias)
    params = decoder(np.zeros((1, 2), "float32"))
    expected = np.broadcast_to(np.reshape(bias, -1), 6).reshape(1, 2, 3, 1)
    np.testing.assert_allclose(params, expected, rtol=1e-6)


@pytest.mark.parametrize(
    ("activation", "scale"), [("relu", 2 / 400), ("tanh", 2 / (400 + 500))]
)
def test_kernels_start_at_the_variance_that_suits_the_activation(activation, scale):
    encoder = networks.mlp_encoder([500], (400,), activation=activation)
    np.testing.assert_allclose(encoder.get_weights()[0].var(), scale, rtol=0.05)


@pytest.mark.parametrize(
    ("network", "inputs"),
    [
        (networks.mlp_encoder([4, 3]), np.ones((2, 3, 3), "float32")),
        (networks.mlp_encoder([4], (3, 3)), np.ones((2, 3, 3), "float32")),
        (
            networks.mlp_decoder([4], (2, 2), output_bias=np.eye(2)),
            np.ones((2, 3), "float32"),
        ),
        (
            networks.mlp_decoder([4, 3], (2, 2), skip_connections=True),
            np.ones((2, 3), "float32"),
        ),
    ],
)
def test_networks_are_saved_and_cloned(network, inputs, tmp_path):
    clone = keras.models.clone_model(network)
    outputs = network(inputs)
    network.save(tmp_path / "network.keras")
    loaded = keras.models.load_model(tmp_path / "network.keras")
    np.testing.assert_array_equal(loaded(inputs), outputs)
    assert clone(inputs).shape == outputs.shape
    clone.set_weights(network.get_weights())
    np.testing.assert_array_equal(clone(inputs), outputs)


@pytest.mark.parametrize("hidden", [8, [8, 0], [-1], [2.5], [True], "8", None])
def test_hidden_must_be_a_list_of_sizes(hidden):
    with pytest.raises(ValueError, match="`hidden` must be a list of positive integer"):
        networks.mlp_encoder(hidden)
    with pytest.raises(ValueError, match="`hidden` must be .* Received: hidden="):
        networks.mlp_decoder(hidden, (2,))


@pytest.mark.parametrize("shape", [(), (3, None), (0,), 4])
def test_shapes_must_be_of_positive_sizes(shape):
    with pytest.raises(ValueError, match="`output_shape` must .* Received"):
        networks.mlp_decoder([4], shape)
    with pytest.raises(ValueError, match="`input_shape` must .* Received"):
        networks.mlp_encoder([4], shape)


@pytest.mark.parametrize(
    ("bias", "message"),
    [
        (np.zeros(3), r"hold 4 values, of shape \(2, 2\). Received: .* shape \(3,\)"),
        ([np.inf, 0, 0, 0], "`output_bias` must be finite"),
    ],
)
def test_output_bias_must_fit(bias, message):
    with pytest.raises(ValueError, match=message):
        networks.mlp_decoder([4], (2, 2), output_bias=bias)

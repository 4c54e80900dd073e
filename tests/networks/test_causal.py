import numpy as np
import pytest

from keras_vae import networks

PLACES = 12


def outputs(decoder, previous):
    z = np.ones((len(previous), 2), "float32")
    return decoder(z, previous=np.float32(previous)).numpy()


@pytest.mark.parametrize("depth", [1, 2, 3])
def test_each_layer_doubles_how_far_the_decoder_looks_back(depth):
    decoder = networks.causal_decoder([5] * depth, (PLACES, 1), activation="tanh")
    previous = np.zeros((PLACES + 1, PLACES, 1))
    for place in range(PLACES):
        previous[place, place] = 1
    out = outputs(decoder, previous)[..., 0]
    # (changed place, place that sees the change)
    seen = out[:-1] != out[-1]
    distance = np.arange(PLACES) - np.arange(PLACES)[:, None]
    np.testing.assert_array_equal(seen, (distance >= 0) & (distance < 2**depth))


def test_it_is_the_layers_it_names():
    decoder = networks.causal_decoder([4], (2, 3, 2), activation="tanh")
    previous = np.random.default_rng(0).normal(size=(3, 2, 3, 1))
    out = outputs(decoder, previous)
    w1, b1, w2, b2, w3, b3 = map(np.float64, decoder.get_weights())
    z = np.ones((3, 6, 2))
    h = np.concatenate([previous.reshape(3, 6, 1), z], axis=-1)
    h = np.concatenate([np.tanh(h @ w1 + b1), z], axis=-1)
    before = np.pad(h[:, :-1], [(0, 0), (1, 0), (0, 0)])
    h = np.tanh(before @ w2[0] + h @ w2[1] + b2)
    expected = np.concatenate([h, z], axis=-1) @ w3 + b3
    np.testing.assert_allclose(out.reshape(3, 6, 2), expected, rtol=1e-4, atol=1e-5)


def test_the_output_bias_is_of_each_place():
    bias = np.arange(6.0).reshape(2, 3, 1)
    decoder = networks.causal_decoder([4], (2, 3, 1), output_bias=bias)
    zeros = np.zeros((1, 2, 3, 1), "float32")
    out = decoder(np.zeros((1, 2), "float32"), previous=zeros)[0]
    np.testing.assert_allclose(out, bias, atol=1e-6)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (([], (3, 1)), "`filters` must not be empty"),
        (([4], ()), "`output_shape` must not be empty"),
        (([4], (3, 1), 1), "`kernel_size`"),
    ],
)
def test_arguments_are_checked(arguments, message):
    with pytest.raises(ValueError, match=message):
        networks.causal_decoder(*arguments)

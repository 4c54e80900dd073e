"""VAEs whose decoders read the target, on events so small that all can be listed."""

import itertools

import keras
import numpy as np
import pytest
import tensorflow as tf
from scipy import special
from scipy import stats

import keras_vae as kv
from keras_vae.models import reading

SHAPE = (2, 2, 1)
EVENTS = np.float32(list(itertools.product([0, 1], repeat=4))).reshape(-1, *SHAPE)
Z = np.float32([[0.5, -1.0]])


def make(decoder=None, **kwargs):
    keras.utils.set_random_seed(3)
    decoder = decoder or kv.networks.causal_decoder([8, 8], SHAPE, activation="tanh")
    encoder = kv.networks.mlp_encoder([8], activation="tanh")
    return kv.VAE(encoder, decoder, latent_dim=2, seed=0, **kwargs)


@pytest.fixture(scope="module")
def vae():
    """A model with random weights, far from independent elements."""
    model = make()
    model.build((None, *SHAPE))
    for index, weight in enumerate(model.decoder.weights):
        if len(weight.shape) > 2 or weight.shape[-1] > 1:
            noise = np.random.default_rng(index).normal(size=weight.shape)
            weight.assign(weight + 0.7 * noise)
    # A q(z|x) nearly as wide as p(z), or importance sampling would need more draws.
    model.latent.head.kernel.assign(0.2 * model.latent.head.kernel)
    return model


def log_probs(model, z=Z):
    """log p(x|z) of all events, (events, rows of z)."""
    z = tf.repeat(z[None], len(EVENTS), axis=0)
    params = model._decode(z, model.readable(EVENTS))
    return np.float64(model.likelihood.log_prob(params, EVENTS))


def index_of(x):
    return np.reshape(x, (-1, 4)).astype(int) @ [8, 4, 2, 1]


def test_each_place_may_see_the_one_before():
    x = tf.reshape(tf.range(12), (1, 2, 3, 2))
    places = np.reshape(reading.shifted(x), (6, 2))
    np.testing.assert_array_equal(places[0], 0)
    np.testing.assert_array_equal(places[1:], np.reshape(x, (6, 2))[:-1])


def test_probabilities_of_all_events_add_up_to_one(vae):
    probs = np.exp(log_probs(vae)[:, 0])
    assert abs(probs.sum() - 1) < 1e-5
    # Independent elements would have the product of their marginals.
    marginals = (probs[:, None] * EVENTS.reshape(16, 4)).sum(axis=0)
    factors = np.where(EVENTS.reshape(16, 4) == 1, marginals, 1 - marginals)
    assert np.abs(factors.prod(axis=1) - probs).max() > 0.05


def test_draws_follow_the_probabilities(vae):
    n = 20000
    x = vae._decode_alone([tf.repeat(Z, n, axis=0)], {}, kv.random.key(5))
    counts = np.bincount(index_of(x), minlength=16)
    probs = np.exp(log_probs(vae)[:, 0])
    assert stats.chisquare(counts, n * probs / probs.sum()).pvalue > 1e-3


def test_decode_goes_the_way_of_the_most_probable_elements(vae):
    means, logs = vae.decode(Z).numpy().ravel(), log_probs(vae)[:, 0]
    path = ()
    for mean in means:
        starts = EVENTS.reshape(16, 4)[:, : len(path) + 1]
        total = [
            special.logsumexp(logs[(starts == (*path, value)).all(axis=1)])
            for value in (0, 1)
        ]
        assert abs(special.softmax(total)[1] - mean) < 1e-5
        path = (*path, float(mean > 0.5))


def test_importance_sampling_finds_the_marginal(vae):
    # By quadrature over the two dimensions of z.
    nodes, weights = np.polynomial.hermite_e.hermegauss(24)
    grid = np.float32(list(itertools.product(nodes, nodes)))
    log_weights = np.log(np.outer(weights, weights).ravel() / (2 * np.pi))
    exact = special.logsumexp(log_probs(vae, grid) + log_weights, axis=1)
    assert abs(special.logsumexp(exact)) < 1e-4
    found = vae.log_likelihood(EVENTS, num_samples=20000, verbose=0)
    np.testing.assert_allclose(found, exact, atol=0.03)
    assert np.all(np.mean([vae.elbo(EVENTS, num_samples=500)], axis=0) < exact + 0.02)


def test_eager_and_graph_draw_alike_and_trace_once(vae, monkeypatch):
    traces, fill = [], reading._fill

    def counted(*args):
        traces.append(args)
        return fill(*args)

    monkeypatch.setattr(reading, "_fill", counted)
    drawn = [vae.generate(n, seed=1, noise=True) for n in (3, 5, 9, 12)]
    # The second size makes the number of rows free.
    assert len(traces) <= 2
    in_graph = tf.function(lambda n: vae.generate(n, seed=1, noise=True))
    np.testing.assert_array_equal(in_graph(tf.constant(9)), drawn[2])
    compiled = tf.function(lambda z: vae.decode(z), jit_compile=True)
    np.testing.assert_allclose(compiled(Z), vae.decode(Z), rtol=1e-5)


def test_all_points_of_a_line_are_decoded(vae):
    line = vae.interpolate(EVENTS[:2], EVENTS[2:4], steps=3)
    assert line.shape == (2, 3, *SHAPE)
    for place, x in ((0, EVENTS[:2]), (2, EVENTS[2:4])):
        np.testing.assert_allclose(line[:, place], vae.reconstruct(x), rtol=1e-5)


def test_real_numbers_are_drawn_in_order():
    decoder = kv.networks.causal_decoder([4], (5, 1), activation="tanh")
    vae = make(decoder, likelihood=kv.distributions.Normal(scale=0.5))
    vae.build((None, 5, 1))
    key = kv.random.key(2)
    x = vae._decode_alone([tf.constant(Z)], {}, key)
    params = vae._decode(tf.constant(Z)[:, None], vae.readable(x))[:, 0]
    np.testing.assert_allclose(x, vae.likelihood.sample(params, key), rtol=1e-6)


@pytest.mark.parametrize(
    ("change", "shape", "message"),
    [
        ({"missing": "nan"}, SHAPE, "`missing` must be None"),
        ({"linear_path": True}, SHAPE, "`linear_path` False"),
        ({}, (4,), r"x\[\.\.\., None\]"),
    ],
)
def test_what_a_reading_decoder_cannot_do(change, shape, message):
    with pytest.raises(ValueError, match=message):
        make(**change).build((None, *shape))


def test_another_target_than_x_is_refused(vae):
    vae.compile("adam")
    for use in (vae.fit, vae.evaluate, vae.log_likelihood, vae.elbo):
        with pytest.raises(ValueError, match="`y` must be left out, or equal x"):
            use(EVENTS, 1 - EVENTS)
    assert np.isfinite(vae.evaluate(EVENTS, EVENTS, verbose=0)).all()


def test_raw_units_would_be_read(vae):
    with pytest.raises(ValueError, match="reads the target"):
        kv.in_original_units(vae, kv.normalization.layer([[[0.5]]], [[[1.0]]]))

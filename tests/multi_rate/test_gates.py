import keras
import numpy as np
import oracle
import pytest
import tensorflow as tf

from keras_vae.multi_rate import gates

UNITS = 3


def built(gate, units=UNITS, seed=0):
    gate.build(units)
    generator = np.random.default_rng(seed)
    for weight in gate.weights:
        weight.assign(weight + generator.normal(scale=0.1, size=weight.shape))
    return gate


def test_root_gate_is_the_column_norm_of_the_best_linear_decoder():
    s2, betas = 0.1, np.geomspace(0.01, 10.0, 20)
    eigenvalues = np.array([4.0, 2.0, 1.5])
    gate = gates.RootGate()
    gate.build(UNITS)
    gate.slope.assign(np.ones(UNITS))
    gate.bias.assign(np.log(s2 / eigenvalues))
    log_beta = tf.constant(np.log(betas)[:, None], tf.float32)
    scale, shift = gate.scale_and_shift(log_beta)
    norms = np.sqrt(eigenvalues - s2 * betas[:, None])
    np.testing.assert_allclose(np.sqrt(eigenvalues) * scale, norms, rtol=1e-6)
    assert shift is None


def test_root_gate_closes_without_an_infinite_gradient():
    gate = gates.RootGate()
    gate.build(1)
    gate.slope.assign([1.0])
    gate.bias.assign([0.0])
    u = tf.constant([[-1.0], [0.0], [1.0]])
    with tf.GradientTape() as tape:
        scale, _ = gate.scale_and_shift(u)
    np.testing.assert_allclose(scale[:, 0], [np.sqrt(1 - np.exp(-1.0)), 0, 0])
    assert np.isfinite(tape.gradient(scale, gate.bias.value)).all()


def test_sigmoid_gate_is_that_of_the_paper():
    gate = built(gates.SigmoidGate())
    u = np.float32([[-1.0], [0.5]])
    slope, bias = (np.asarray(v) for v in gate.weights)
    expected = 1 / (1 + np.exp(-(u * slope + bias)))
    np.testing.assert_allclose(gate.scale_and_shift(u)[0], expected, rtol=1e-6)


def test_spline_gate_is_piecewise_linear_between_its_knots():
    gate = built(gates.SplineGate())
    places = np.linspace(-gates.LIMIT, gates.LIMIT, gates.KNOTS)
    u = np.linspace(-gates.LIMIT, gates.LIMIT, 30)
    scale, shift = gate.scale_and_shift(tf.constant(u[:, None], tf.float32))
    for unit in range(UNITS):
        for values, weight in ((np.log(scale), 0), (np.asarray(shift), 1)):
            knots = gates.GAIN * np.asarray(gate.weights[weight])[:, unit]
            expected = np.interp(u, places, knots)
            np.testing.assert_allclose(values[:, unit], expected, atol=2e-5)


def test_spline_gate_starts_as_the_identity():
    gate = gates.SplineGate()
    gate.build(UNITS)
    x = tf.constant([[1.0, -2.0, 3.0]])
    with gates.gating(tf.constant([[0.3]])):
        np.testing.assert_array_equal(gate(x), x)


def test_gating_follows_the_axis_of_the_units():
    gate = built(gates.SplineGate(activation="relu", axis=1))
    x = np.random.default_rng(0).normal(size=(2, UNITS, 4, 5)).astype("float32")
    u = tf.constant([[-1.0], [1.0]])
    scale, shift = (np.asarray(v)[:, :, None, None] for v in gate.scale_and_shift(u))
    with gates.gating(u):
        np.testing.assert_allclose(gate(x), np.maximum(x * scale + shift, 0), atol=1e-6)


def test_gating_ends_where_it_is_left():
    with gates.gating(tf.constant([[1.0]])):
        with gates.gating(tf.constant([[2.0]])):
            pass
        assert float(gates._running.u[0, 0]) == 1.0
    assert gates._running.u is None


def test_water_levels_are_the_response_of_a_linear_vae():
    levels = gates.WaterLevels((np.log(0.01), np.log(10.0)))
    levels.build(UNITS)
    s2, eigenvalues = 0.1, np.array([4.0, 2.0, 0.5])
    levels.levels.assign(np.log(eigenvalues / s2) / gates.GAIN)
    for beta in (0.01, 0.3, 4.0, 10.0):
        u = gates.LIMIT * (2 * np.log(beta / 0.01) / np.log(1000.0) - 1)
        openness, raw = levels.response(tf.constant([[u]], tf.float32))
        theta = beta * s2
        share = np.minimum(theta / eigenvalues, 1.0)
        used = share < 0.99
        np.testing.assert_allclose(
            openness[0][used], np.sqrt(1 - share[used]), rtol=1e-5
        )
        assert (np.asarray(openness)[0][~used] < 0.05).all()
        scale = np.log1p((np.e - 1) * np.exp(raw[0]))
        np.testing.assert_allclose(scale, np.sqrt(share), rtol=1e-5)
        rates = oracle.water_filling(theta, UNITS, eigenvalues).kl
        np.testing.assert_allclose(-np.log(scale), rates, atol=1e-5)


@pytest.mark.parametrize("name", ["spline", "sigmoid", "root"])
def test_gates_fit_any_activation_of_a_layer(name):
    gate = built(gates.GATES[name](activation="tanh"), units=2)
    layer = keras.layers.Dense(2)
    layer.activation = gate
    x = np.float32([[0.3, -0.2]])
    u = tf.constant([[0.4]])
    with gates.gating(u):
        y = layer(x)
    scale, shift = gate.scale_and_shift(u)
    expected = np.tanh(
        x @ np.asarray(layer.kernel) * scale + (0 if shift is None else shift)
    )
    np.testing.assert_allclose(y, expected, rtol=1e-5)

"""State that moves in a training step: on replicas, over a resume and in blocks."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_vae as kv

EVENT, UNITS, BATCH, STEPS = 6, 3, 8, 12
objectives = kv.objectives


def scheduled_capacity():
    schedule = kv.schedules.linear(STEPS - 2, end=2.0)
    return kv.callbacks.HyperparameterScheduler("capacity", schedule)


# Parts of the model, its callbacks, and the state that has to move.
CASES = {
    "rate target": (
        lambda: {"objective": objectives.RateTarget(rate=1.5, integral=0.05)},
        list,
        {"summed", "error", "kl_weight/value"},
    ),
    "distortion target": (
        lambda: {"objective": objectives.DistortionTarget(distortion=6.0, speed=0.5)},
        list,
        {"multiplier", "moving", "started"},
    ),
    "batch-normalised means": (
        lambda: {"posterior": kv.distributions.BatchNormalizedNormal(0.5)},
        list,
        {"moving_mean", "moving_variance"},
    ),
    "scheduled capacity": (
        lambda: {"objective": objectives.Capacity(0.0, gamma=2.0)},
        lambda: [scheduled_capacity()],
        {"capacity/value", "capacity/last_step"},
    ),
    "optimal noise": (
        lambda: {"likelihood": kv.distributions.Normal(scale="optimal")},
        list,
        {"deviation", "deviation_weight"},
    ),
    "annealed weight": (
        lambda: {"objective": kv.ELBO()},
        lambda: [kv.KLAnnealing(kv.schedules.sigmoid(STEPS - 2, end=0.7))],
        {"kl_weight/value", "kl_weight/last_step"},
    ),
}


def every(*first):
    """Runs the named cases always and the others with the slow tests."""
    return pytest.mark.parametrize(
        "name",
        [
            pytest.param(name, marks=[] if name in first else pytest.mark.slow)
            for name in CASES
        ],
    )


def data(steps=STEPS):
    generator = np.random.default_rng(0)
    places = generator.normal(size=(steps * BATCH, 2))
    images = places @ generator.normal(size=(2, EVENT))
    return np.float32(1 / (1 + np.exp(-2 * images)))


def make(name, **compile_args):
    keras.utils.set_random_seed(1)
    model = kv.VAE(
        kv.networks.mlp_encoder([8], activation="tanh"),
        kv.networks.mlp_decoder([8], (EVENT,), activation="tanh"),
        UNITS,
        seed=3,
        **CASES[name][0](),
    )
    model.build((None, EVENT))
    model.compile(keras.optimizers.SGD(1e-2), **compile_args)
    return model


def fit(model, name, x):
    model.fit(x, batch_size=BATCH, shuffle=False, verbose=0, callbacks=CASES[name][1]())
    return model


def state(model):
    return [
        (variable.path, tf.convert_to_tensor(variable).numpy())
        for variable in model.non_trainable_variables
    ]


def assert_moved(name, model):
    pairs = zip(state(make(name)), state(model), strict=True)
    moved = [path for (_, a), (path, b) in pairs if not np.array_equal(a, b)]
    for part in CASES[name][2]:
        assert any(path.endswith(part) for path in moved), part


def assert_same(model, other, **tolerance):
    for (path, value), (_, expected) in zip(state(model), state(other), strict=True):
        np.testing.assert_allclose(value, expected, err_msg=path, **tolerance)


@every("rate target")
def test_blocks_under_xla_take_the_path_of_single_steps(name):
    single = fit(make(name, jit_compile=False), name, data())
    blocks = fit(make(name, jit_compile=True, steps_per_execution=4), name, data())
    assert_moved(name, single)
    assert_same(blocks, single, rtol=1e-5, atol=1e-7)


@pytest.mark.filterwarnings("ignore:.*the model never trains at the final value")
@every("rate target")
def test_saved_and_resumed_state_goes_on_alike(name, tmp_path):
    halves = np.split(data(), 2)
    model = fit(make(name, jit_compile=False), name, halves[0])
    model.save(tmp_path / "model.keras")
    resumed = keras.models.load_model(tmp_path / "model.keras")
    assert_same(resumed, model, rtol=0)
    for these in (model, resumed):
        fit(these, name, halves[1])
        assert int(these.optimizer.iterations) == STEPS
    assert_moved(name, model)
    assert_same(resumed, model, rtol=0)


@every("batch-normalised means")
def test_replicas_hold_equal_state(name, strategy):
    with strategy.scope():
        model = make(name, jit_compile=False)
    fit(model, name, data())
    assert_moved(name, model)
    for variable in model.non_trainable_variables:
        copies = strategy.experimental_local_results(variable.value)
        assert len(copies) == 2
        np.testing.assert_array_equal(
            copies[0].numpy(), copies[1].numpy(), err_msg=variable.path
        )


@pytest.mark.parametrize("name", ["rate target", "batch-normalised means"])
def test_first_step_of_replicas_sees_the_global_batch(name, strategy):
    """What moves here has no noise at the initial weights: one device agrees."""
    x = data(steps=1)
    alone = fit(make(name, jit_compile=False), name, x)
    with strategy.scope():
        model = make(name, jit_compile=False)
    fit(model, name, x)
    assert_moved(name, alone)
    assert_same(model, alone, rtol=1e-5, atol=1e-7)


# === What others ship ===


def weights_of(control, rates):
    """Weights that a controller gives for the rates of successive steps."""
    return np.array([control(rate) for rate in rates])


def ours(target, integral, max_weight):
    objective = objectives.RateTarget(
        target, proportional=0.0, integral=integral, max_weight=max_weight
    )
    mean = objectives.BatchMean(1)

    def control(rate):
        class Fixed:
            def rate(self, kl):
                return tf.constant([rate], tf.float32)

        objective.control(Fixed(), mean)
        return float(objective.kl_weight.value)

    return control


def with_anti_windup_that_never_fires(target, integral, max_weight):
    """The published image and text code: no W is below 0 and at least 1."""
    summed = 1.0

    def control(rate):
        nonlocal summed
        weight = summed - integral * (target - rate)
        if not (weight < 0 and weight >= max_weight):
            summed = weight
        return float(np.clip(summed, 0.0, max_weight))

    return control


def steps_until_the_weight_leaves_its_bound(make_control):
    """After 300 steps of too high a rate, the rate falls below the target."""
    control = make_control(target=5.0, integral=0.01, max_weight=2.0)
    assert weights_of(control, [50.0] * 300)[-1] == 2.0
    weights = weights_of(control, [4.0] * 50)
    return int(np.argmax(weights < 2.0)) if (weights < 2.0).any() else len(weights)


def test_an_anti_windup_that_never_fires_is_caught():
    assert steps_until_the_weight_leaves_its_bound(ours) == 0
    wrong = steps_until_the_weight_leaves_its_bound(with_anti_windup_that_never_fires)
    assert wrong == 50


@pytest.mark.parametrize("error", [1e4, -1e4])
def test_exp_does_not_overflow_at_errors_of_1e4(error):
    """K_p / (1 + exp(e)) in Python or NumPy overflows, GECO's exponential too."""
    if error > 0:
        with pytest.warns(RuntimeWarning, match="overflow"):
            1.0 / (1.0 + np.exp(np.float64(error)))
        with pytest.warns(RuntimeWarning, match="overflow"):
            np.exp(np.float32(0.02 * error))

    class Estimate:
        event_size = 1
        distortion = tf.constant([5.0 + error], tf.float32)

        def rate(self, kl):
            return tf.constant([2e4 - error], tf.float32)

    rate_target = objectives.RateTarget(
        2e4, proportional=0.5, integral=1e-6, kl_weight=1.0
    )
    rate_target.control(Estimate(), objectives.BatchMean(1))
    # The proportional term is all or nothing at such errors.
    expected = (0.0 if error > 0 else 0.5) + 1.0 - 1e-6 * error
    assert float(rate_target.kl_weight.value) == pytest.approx(expected, rel=1e-6)

    distortion_target = objectives.DistortionTarget(5.0, speed=0.02)
    distortion_target.control(Estimate(), objectives.BatchMean(1))
    # The step of the multiplier is bounded by a factor of e.
    factor = np.exp(np.sign(error))
    assert float(distortion_target.multiplier) == pytest.approx(factor, rel=1e-6)
    for _ in range(20):
        distortion_target.control(Estimate(), objectives.BatchMean(1))
    bound = 1e4 if error > 0 else 1e-4
    assert float(distortion_target.multiplier) == pytest.approx(bound)

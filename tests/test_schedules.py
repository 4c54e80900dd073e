import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_vae import schedules

RESOLVED = {
    "constant": schedules.constant(0.3),
    "linear": schedules.linear(300, 0.1, 0.7),
    "sigmoid": schedules.sigmoid(300),
    "cosine": schedules.cosine(300, end=4.0),
    "exponential": schedules.exponential(300, 1.0, 1e-6),
    "cyclical": schedules.cyclical(301, 3, 0.37, "sigmoid"),
    "repeat": schedules.repeat(schedules.linear(70), 101),
    "restart": schedules.restart(schedules.sigmoid(70), [101, "250 steps"]),
    "piecewise": schedules.piecewise([50, 200], [0.1, 0.2, 0.3]),
    "join": schedules.join([schedules.cosine(90), schedules.linear(90, 1, 0.3)], [150]),
    "delay": schedules.delay(schedules.linear(70, 0.1), 101),
    "custom": schedules.custom(lambda step: tf.sqrt(tf.cast(step, tf.float32))),
}
STEPS = np.arange(401)


def trace(schedule, steps):
    return schedule(np.array(steps)).numpy()


# === Values ===


@pytest.mark.parametrize(
    ("schedule", "steps", "expected"),
    [
        (schedules.constant(0.3), [0, 10**12], [0.3, 0.3]),
        (schedules.linear(100), [0, 25, 50, 99, 100, 9999], [0, 0.25, 0.5, 0.99, 1, 1]),
        (schedules.linear(4, 1.0, 0.2), [0, 1, 2, 3, 4], [1, 0.8, 0.6, 0.4, 0.2]),
        (schedules.linear(0), [0, 1], [1, 1]),
        (schedules.linear(4), [-3, -1], [0, 0]),
        (
            schedules.cosine(100),
            [0, 25, 50, 75, 100, 101],
            [0, 0.5 - 0.5**1.5, 0.5, 0.5 + 0.5**1.5, 1, 1],
        ),
        (
            schedules.exponential(3, 1e-3),
            [0, 1, 2, 3, 4],
            [1e-3, 1e-2, 1e-1, 1, 1],
        ),
        (
            schedules.exponential(4, 1.0, 1e-12),
            [0, 2, 3, 4],
            [1, 1e-6, 1e-9, 1e-12],
        ),
        (
            schedules.piecewise(["5 steps", 7], [3, 2, 1]),
            [4, 5, 6, 7, 8],
            [3, 2, 2, 1, 1],
        ),
        (schedules.piecewise([], [3]), [0, 5], [3, 3]),
        (
            schedules.join([schedules.linear(10), schedules.linear(4, 1, 0)], [20]),
            [5, 19, 20, 21, 24, 25],
            [0.5, 1, 1, 0.75, 0, 0],
        ),
        (
            schedules.delay(schedules.linear(10, 0.5), 100),
            [0, 99, 100, 105, 110, 111],
            [0.5, 0.5, 0.5, 0.75, 1, 1],
        ),
        (
            schedules.repeat(schedules.linear(2), 4),
            [0, 1, 2, 3, 4, 5, 401],
            [0, 0.5, 1, 1, 0, 0.5, 0.5],
        ),
        (
            schedules.restart(schedules.linear(4, 0.2), [10, 12]),
            [0, 2, 4, 9, 10, 11, 12, 13, 16, 99],
            [0.2, 0.6, 1, 1, 0.2, 0.4, 0.2, 0.4, 1, 1],
        ),
        (schedules.restart(schedules.linear(4), []), [0, 2, 4, 9], [0, 0.5, 1, 1]),
        (schedules.custom(lambda step: step / 8), [0, 2, 8], [0, 0.25, 1]),
    ],
)
def test_values(schedule, steps, expected):
    np.testing.assert_allclose(trace(schedule, steps), expected, rtol=1e-7)


def test_linear_is_the_ladder_warm_up():
    # Sonderby et al. (2016): the weight grows by 1 / 200 per epoch.
    schedule = schedules.linear("200 epochs").resolve(steps_per_epoch=10)
    epochs = np.arange(0, 250)
    np.testing.assert_allclose(
        trace(schedule, 10 * epochs), np.minimum(epochs / 200, 1), rtol=1e-7
    )


def test_sigmoid_reproduces_the_constants_of_sentence_vae():
    schedule = schedules.sigmoid(10_000, midpoint=0.25, steepness=25.0)
    steps = np.array([0, 1250, 2500, 3750, 5000])
    values = trace(schedule, steps)
    np.testing.assert_allclose(values, [0.0019, 0.0421, 0.5, 0.9579, 0.9981], atol=5e-5)
    formula = 1 / (1 + np.exp(-0.0025 * (steps - 2500)))
    np.testing.assert_allclose(values, formula, rtol=1e-7)
    assert trace(schedule, [9999, 10_000]).tolist() == [1.0, 1.0]


def test_sigmoid_reproduces_the_constants_of_control_vae():
    values = trace(schedules.sigmoid(10_000), [0, 2500, 5000, 9999, 10_000, 10_001])
    np.testing.assert_allclose(values, [0.00669, 0.07586, 0.5, 0.9933, 1, 1], atol=5e-6)
    assert values[4] == values[5] == 1


def test_cyclical_reproduces_fu_2019():
    schedule = schedules.cyclical(40_000, num_cycles=4, ratio=0.5)
    steps = [0, 2500, 5000, 7777, 9999, 10_000, 12_500, 30_000, 32_500, 39_999, 40_000]
    expected = [0, 0.5, 1, 1, 1, 0, 0.5, 0, 0.5, 1, 1]
    assert trace(schedule, steps).tolist() == expected


@pytest.mark.parametrize(
    ("total", "cycles", "ratio"),
    [(41, 4, 0.5), (100, 3, 0.3), (7, 7, 1.0), (100, 1, 0.07)],
)
@pytest.mark.parametrize("shape", ["linear", "cosine", "sigmoid"])
def test_cyclical_follows_equations_6_and_7(total, cycles, ratio, shape):
    def rise(tau):
        x = tau / ratio
        return {
            "linear": x,
            "cosine": (1 - np.cos(np.pi * x)) / 2,
            "sigmoid": 1 / (1 + np.exp(-10 * (x - 0.5))),
        }[shape]

    expected = []
    for t in range(1, total + 1):
        tau = (t - 1) % np.ceil(total / cycles) / (total / cycles)
        expected.append(0.1 + 0.9 * rise(tau) if tau < ratio else 1.0)
    schedule = schedules.cyclical(total, cycles, ratio, shape, start=0.1)
    steps = np.arange(total + 5)
    np.testing.assert_allclose(trace(schedule, steps), expected + [1] * 5, rtol=1e-6)


@pytest.mark.parametrize(
    "make", [schedules.linear, schedules.cosine, schedules.sigmoid]
)
def test_ramps_rise_and_end_exactly(make):
    values = trace(make(997, 0.0, 0.1), np.arange(1200))
    assert (np.diff(values) >= 0).all()
    assert (values[997:] == np.float32(0.1)).all()
    assert values[996] < np.float32(0.1)


# === The same number everywhere ===


@pytest.mark.parametrize("name", RESOLVED)
def test_eager_graph_xla_and_loops_agree(name):
    schedule = RESOLVED[name]
    eager = np.array([schedule(int(step)).numpy() for step in STEPS])
    graph = tf.function(schedule, input_signature=[tf.TensorSpec((), tf.int64)])
    xla = tf.function(schedule, jit_compile=True, reduce_retracing=True)

    @tf.function(jit_compile=True)
    def loop():
        values = tf.TensorArray(tf.float32, len(STEPS), element_shape=())

        def body(step, values):
            return step + 1, values.write(tf.cast(step, tf.int32), schedule(step))

        # Not a `for`: under Python 3.13 AutoGraph does not convert it.
        start = tf.constant(0, tf.int64)
        _, values = tf.while_loop(lambda s, _: s < len(STEPS), body, (start, values))
        return values.stack()

    assert eager.dtype == np.float32
    in_graph = np.array([graph(tf.constant(s, tf.int64)).numpy() for s in STEPS])
    in_xla = np.array([xla(tf.constant(s, tf.int64)).numpy() for s in STEPS])
    np.testing.assert_array_equal(in_graph, eager)
    np.testing.assert_array_equal(schedule(STEPS).numpy(), eager)
    # float64 leaves the compiler nothing to change in the rounded weight.
    np.testing.assert_array_equal(in_xla, eager)
    np.testing.assert_array_equal(loop().numpy(), eager)


@pytest.mark.parametrize(
    "step", [3, np.int32(3), np.int64(3), np.uint8(3), tf.constant(3), tf.Variable(3)]
)
def test_any_integer_is_a_step(step):
    value = schedules.linear(10)(step)
    assert value.dtype == tf.float32
    assert value.shape == ()
    assert float(value) == np.float32(0.3)


def test_an_optimizer_counts_the_steps():
    optimizer = keras.optimizers.SGD()
    optimizer.iterations.assign(3)
    assert float(schedules.linear(10)(optimizer.iterations)) == np.float32(0.3)


def test_steps_beyond_32_bits():
    assert float(schedules.linear(2**34)(2**33)) == 0.5


def test_float_step_is_an_error():
    with pytest.raises(
        ValueError, match="`step` must be an integer. Received: step=1.5"
    ):
        schedules.linear(10)(1.5)


# === Durations ===


@pytest.mark.parametrize(
    ("duration", "steps"),
    [
        (7, 7),
        (np.int64(7), 7),
        ("7 steps", 7),
        ("1 step", 1),
        ("3 epochs", 30),
        ("1 epoch", 10),
        ("2.55 epochs", 26),
        ("50%", 21),
        ("100%", 41),
        ("0%", 0),
        ("12.5 %", 5),
        ("1%", 0),
    ],
)
def test_durations(duration, steps):
    schedule = schedules.linear(duration).resolve(total_steps=41, steps_per_epoch=10)
    assert schedule.is_resolved
    assert schedule.end_step == steps


def test_resolve_asks_only_for_what_is_needed():
    assert schedules.linear(10).resolve().end_step == 10
    assert schedules.linear("50%").resolve(total_steps=10).end_step == 5
    assert schedules.linear("2 epochs").resolve(steps_per_epoch=10).end_step == 20
    with pytest.raises(
        ValueError, match=r"`duration` .*`steps_per_epoch`.*duration='50%'"
    ):
        schedules.linear("50%").resolve(steps_per_epoch=10)
    with pytest.raises(ValueError, match="steps per epoch is unknown"):
        schedules.linear("2 epochs").resolve(total_steps=10)


def test_resolve_reaches_nested_schedules():
    schedule = schedules.delay(
        schedules.join(
            [
                schedules.linear("25%"),
                schedules.repeat(schedules.cosine("1 epoch"), 30),
            ],
            ["50%"],
        ),
        "2 epochs",
    )
    assert not schedule.is_resolved
    resolved = schedule.resolve(total_steps=80, steps_per_epoch=10)
    assert resolved.is_resolved
    assert trace(resolved, [20, 30, 40, 60, 65, 70, 95]).tolist() == [
        0, 0.5, 1, 0, 0.5, 1, 0.5
    ]  # fmt: skip
    assert not schedule.is_resolved


def test_boundaries_are_checked_again_once_resolved():
    schedule = schedules.piecewise(["50%", 10], [0, 1, 2])
    assert schedule.resolve(total_steps=20).end_step == 10
    with pytest.raises(ValueError, match=r"increasing order. Received: .*\[15, 10\]"):
        schedule.resolve(total_steps=30)


@pytest.mark.parametrize("use", [lambda s: s(0), lambda s: s.end_step])
def test_unresolved_schedules_cannot_be_used(use):
    schedule = schedules.join([0.0, schedules.linear("50%")], [100])
    with pytest.raises(
        ValueError, match=r"`duration` .*schedule\.resolve\(total_steps="
    ):
        use(schedule)


@pytest.mark.parametrize(
    ("schedule", "end_step"),
    [
        (schedules.constant(1), 0),
        (schedules.linear(10), 10),
        (schedules.linear(10, 1, 1), 0),
        (schedules.cosine(10), 10),
        (schedules.exponential(10), 10),
        (schedules.cyclical(40), 35),
        (schedules.cyclical(41, 4), 39),
        (schedules.cyclical(40, 4, 1.0), 40),
        (schedules.cyclical(100, 1, 0.07), 7),
        (schedules.repeat(schedules.linear(10), 20), None),
        (schedules.repeat(1.0, 20), 0),
        (schedules.restart(schedules.linear(10), [15, 18]), 28),
        (schedules.restart(schedules.linear("10%"), ["50%"]).resolve(100), 60),
        (schedules.piecewise([5, 9], [0, 1, 2]), 9),
        (schedules.join([schedules.linear(10), schedules.linear(5)], [20]), 25),
        (schedules.join([0, schedules.repeat("linear", 9)], [20]).resolve(10), None),
        (schedules.delay(schedules.linear(10), 7), 17),
        (schedules.delay(schedules.constant(1), 7), 0),
        (schedules.custom(abs), None),
        (schedules.custom(abs, end_step="3 steps"), 3),
    ],
)
def test_end_step(schedule, end_step):
    assert schedule.end_step == end_step


@pytest.mark.parametrize(
    "schedule",
    [RESOLVED[name] for name in RESOLVED if RESOLVED[name].end_step not in (0, None)]
    + [schedules.cyclical(41, 4), schedules.cyclical(10, 10), schedules.cyclical(5, 7)],
)
def test_end_step_is_the_first_of_the_last_weight(schedule):
    end = schedule.end_step
    values = trace(schedule, np.arange(end + 1000))
    assert (values[end:] == values[-1]).all()
    assert end == 0 or values[end - 1] != values[-1]


def test_equal_restarts_are_cycles():
    """Four cycles of 10 steps, half of each a ramp, are three restarts."""
    restarted = schedules.restart(schedules.linear(5), [10, 20, 30])
    cycles = schedules.cyclical(40, num_cycles=4, ratio=0.5)
    np.testing.assert_array_equal(trace(restarted, range(60)), trace(cycles, range(60)))
    assert restarted.end_step == cycles.end_step


# === Names, configurations and errors ===


def test_get():
    schedule = schedules.linear(10)
    assert schedules.get(schedule) is schedule
    assert float(schedules.get(2)(7)) == 2
    assert float(schedules.get(np.float32(0.5))(7)) == 0.5
    assert float(schedules.get(lambda step: 2 * step)(7)) == 14
    assert schedules.get("cosine").resolve(total_steps=30).end_step == 15
    assert schedules.get("cyclical").resolve(total_steps=40).end_step == 35
    keras_schedule = keras.optimizers.schedules.ExponentialDecay(1.0, 10, 0.5)
    assert float(schedules.get(keras_schedule)(10)) == 0.5


@pytest.mark.parametrize("identifier", ["cosin", "piecewise", None, True, [1.0]])
def test_get_unknown(identifier):
    with pytest.raises(
        ValueError, match="`identifier` must be .*'cosine'.* Received: "
    ):
        schedules.get(identifier)


@pytest.mark.parametrize("name", [name for name in RESOLVED if name != "custom"])
def test_config_round_trip(name):
    config = keras.saving.serialize_keras_object(RESOLVED[name])
    again = keras.saving.deserialize_keras_object(config)
    assert repr(again) == repr(RESOLVED[name])
    np.testing.assert_array_equal(again(STEPS), RESOLVED[name](STEPS))
    assert repr(schedules.get(config)) == repr(again)


def test_config_keeps_durations_as_they_were_given():
    schedule = schedules.join([schedules.linear("50%"), 1.0], ["2 epochs"])
    config = keras.saving.serialize_keras_object(schedule)
    again = keras.saving.deserialize_keras_object(config)
    assert repr(again) == (
        "join(schedules=(linear(duration='50%', start=0.0, end=1.0), "
        "constant(value=1.0)), boundaries=('2 epochs',))"
    )


@keras.saving.register_keras_serializable(package="test_schedules")
def square(step):
    return step**2


def test_config_of_a_registered_function():
    schedule = schedules.custom(square, end_step=9)
    assert repr(schedule) == "custom(function=square, end_step=9)"
    config = keras.saving.serialize_keras_object(schedule)
    assert float(keras.saving.deserialize_keras_object(config)(3)) == 9


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: schedules.linear(0.5), '"50%".*Received: duration=0.5'),
        (lambda: schedules.linear(100.0), "steps.*Received: duration=100.0"),
        (lambda: schedules.linear(-1), "`duration` must be a non-negative integer"),
        (lambda: schedules.linear(True), "Received: duration=True"),
        (lambda: schedules.linear("ten"), "\"10 epochs\".*Received: duration='ten'"),
        (lambda: schedules.linear("101%"), "Received: duration='101%'"),
        (lambda: schedules.linear("1.5 steps"), "Received: duration='1.5 steps'"),
        (lambda: schedules.linear(None), "Received: duration=None"),
        (lambda: schedules.delay(1.0, "x"), "`duration` must be"),
        (lambda: schedules.linear(1, start="0"), "`start` must be a finite number"),
        (lambda: schedules.linear(1, end=np.inf), "`end` must be a finite number"),
        (lambda: schedules.constant(np.nan), "Received: value=nan"),
        (lambda: schedules.sigmoid(1, midpoint=2), r"`midpoint` must be in \[0, 1\]"),
        (lambda: schedules.sigmoid(1, steepness=0), "`steepness` must be a positive"),
        (lambda: schedules.exponential(1, start=0), "`start` must be a positive"),
        (lambda: schedules.cyclical("50%", ratio=0), r"`ratio` must be in \(0, 1\]"),
        (
            lambda: schedules.cyclical(9, num_cycles=0),
            "`num_cycles` must be a positive",
        ),
        (lambda: schedules.cyclical(9, shape="saw"), "`shape` must be one of"),
        (lambda: schedules.piecewise([1], [1]), "`values` must have one entry more"),
        (
            lambda: schedules.join([1, 2], [1, 2]),
            "`schedules` must have one entry more",
        ),
        (
            lambda: schedules.join([1, 2, 3], [2, 1]),
            "`boundaries` must be in increasing",
        ),
        (
            lambda: schedules.restart("linear", [2, 1]),
            "`boundaries` must be in increasing",
        ),
        (lambda: schedules.piecewise([0.5], [1, 2]), "`boundaries` must be.*=0.5"),
        (lambda: schedules.custom(3), "`function` must be callable"),
        (lambda: schedules.custom(lambda step: 0.1 * step), "int64 step.*TypeError"),
        (lambda: schedules.get(lambda step: min(step / 9, 1.0)), "int64 step.*graph"),
    ],
)
def test_invalid_arguments(make, message):
    with pytest.raises(ValueError, match=message):
        make()

"""What users do wrong: each is told the argument, what was received and the fix."""

import contextlib
import re

import keras
import matrix
import numpy as np
import pytest
import tensorflow as tf

import keras_vae as kv
from keras_vae import distributions
from keras_vae import priors
from keras_vae import schedules

X = np.random.default_rng(0).integers(0, 2, (8, 4)).astype("float32")
WEIGHTS = np.ones(8, "float32")
Dense = keras.layers.Dense


def changed(value, array=X):
    """`array` with one element, in the second half, set to `value`."""
    array = array.copy()
    array[5, 1] = value
    return array


def batches(*arrays):
    """A `tf.data.Dataset` of two batches."""
    data = arrays if len(arrays) > 1 else arrays[0]
    return tf.data.Dataset.from_tensor_slices(data).batch(4)


def endless(*parts):
    """A generator."""
    while True:
        yield parts


def finite(*parts):
    """A generator that ends, of unknown length."""
    for _ in range(4):
        yield parts


class Batches(keras.utils.PyDataset):
    def __init__(self, *batches):
        super().__init__()
        self.batches = batches

    def __len__(self):
        return len(self.batches)

    def __getitem__(self, index):
        return self.batches[index]


def vae(outputs=4, decoder=None, encoder=None, latent_dim=2, **kwargs):
    model = kv.VAE(
        encoder=encoder or kv.networks.mlp_encoder([3]),
        decoder=decoder or kv.networks.mlp_decoder([3], (outputs,)),
        latent_dim=latent_dim,
        seed=0,
        **kwargs,
    )
    model.compile("adam")
    return model


def built(**kwargs):
    model = vae(**kwargs)
    model.build((None, 4))
    return model


@contextlib.contextmanager
def unchanged(model):
    """Asserts that not a single step was trained."""
    before = [np.array(v) for v in model.trainable_variables]
    try:
        yield
    finally:
        assert int(model.optimizer.iterations) == 0
        after = model.trainable_variables
        assert [np.array_equal(a, b) for a, b in zip(before, after, strict=True)] == (
            [True] * len(before)
        )


# === Data ===

IN_UNIT_INTERVAL = r"`x` must be in \[0, 1\] under a Bernoulli.*; "
BY_255 = IN_UNIT_INTERVAL + r"divide pixels.* by 255.*Received: x in \[0.*, 255"
FINITE = r"`x` must be finite\. Received: 1 values that are NaN or infinite\. Impute"
SHAPE = r"`x` must have shape \(batch, 4\).*x.shape=\(\d, 3\)\. Reshape the data"
NO_LABELS = r".*labels, pass only `fit\(x\)`; for denoising pass `fit\(noisy, clean\)`"
LABELS = r"`y` must have a batch axis.*Received: shape=\(\d,\)\. " + NO_LABELS
ONE_WEIGHT = r"`sample_weight` must hold one weight per example, shape \(\d,\)\. Rec"
WEIGHT_VALUES = r"`sample_weight` must be finite and not negative\. Received: values in"
NUMBERS = r"`x` must be an array of numbers\. Received: dtype="

# What is passed to `fit` and `evaluate` -> what is said. A function, because generators
# can be used once.
DATA = {
    "uint8 pixels": (lambda: {"x": np.uint8(255 * X)}, BY_255),
    "float pixels": (lambda: {"x": 255 * X}, BY_255),
    "negative": (
        lambda: {"x": X - 1},
        IN_UNIT_INTERVAL + r"rescale it.* or use a Normal.*x in \[-1.0, 0.0\]",
    ),
    "one value above 1": (lambda: {"x": changed(1.01)}, IN_UNIT_INTERVAL),
    "NaN": (lambda: {"x": changed(np.nan)}, FINITE),
    "infinity": (lambda: {"x": changed(np.inf)}, FINITE),
    "beyond float32": (lambda: {"x": changed(1e39, np.float64(X))}, FINITE),
    "objects": (lambda: {"x": X.astype(object)}, NUMBERS + "object"),
    "strings": (lambda: {"x": X.astype(str)}, NUMBERS),
    "tensor of strings": (lambda: {"x": tf.constant([["a"] * 4] * 8)}, NUMBERS),
    "complex": (lambda: {"x": X.astype(complex)}, NUMBERS + "complex128"),
    "name of a data set": (
        lambda: {"x": "digits"},
        r"`x` must be an array or tensor.*Received: str",
    ),
    "nothing": (lambda: {}, r"`x` must be given\. Received: x=None"),
    "lists": (
        lambda: {"x": X.tolist()},
        r"`x` must be an array or tensor: convert lists.*`np.asarray`.*float within",
    ),
    "no examples": (lambda: {"x": X[:0]}, r"`x` must hold at least one example\. Rec"),
    "no elements": (
        lambda: {"x": X[:, :0]},
        r"`x` must have shape \(batch, 4\).*Received: x.shape=\(8, 0\)",
    ),
    "one example": (
        lambda: {"x": X[0]},
        r"`x` must have a batch axis and at least one more\. Received: shape=\(4,\)",
    ),
    "a number": (lambda: {"x": np.float32(1)}, r"`x` must have a batch axis.*=\(\)"),
    "event shape": (lambda: {"x": X[:, :3]}, SHAPE),
    "channel axis": (
        lambda: {"x": X[..., None]},
        r"`x` must have shape \(batch, 4\).*Received: x.shape=\(8, 4, 1\)\. Reshape",
    ),
    "several inputs": (
        lambda: {"x": [X, X]},
        r"`y` must be given if `x` is a structure.*`fit\(x, y\)`.*x is a list",
    ),
    "dict of inputs": (
        lambda: {"x": {"image": X}},
        r"`y` must be given if `x` is a structure.*`fit\(x, y\)`.*x is a dict",
    ),
    "labels": (lambda: {"x": X, "y": np.arange(8)}, LABELS),
    "one-hot labels": (
        lambda: {"x": X, "y": np.eye(8)},
        r"`y` must have shape \(batch, 4\).*y.shape=\(8, 8\)\. " + NO_LABELS,
    ),
    "length of y": (
        lambda: {"x": X, "y": X[:7]},
        r"`x` and `y` must have the same number of examples\. Received: \[7, 8\]",
    ),
    "y in a list": (lambda: {"x": X, "y": [X]}, r"`x` and `y` must have the same"),
    "lists as y": (
        lambda: {"x": X, "y": X.tolist()},
        r"`y` must be an array or tensor: convert lists.*`np.asarray`",
    ),
    "dict as y": (lambda: {"x": X, "y": {"x": X}}, r"`y` must be an array of numbers"),
    "NaN in y": (lambda: {"x": X, "y": changed(np.nan)}, r"`y` must be finite\. Rec"),
    "range of y": (
        lambda: {"x": X, "y": 255 * X},
        r"`y` cannot be reconstructed.*\[0, 1\].*by 255.*\[0.0, 255.0\]",
    ),
    "number of weights": (
        lambda: {"x": X, "sample_weight": WEIGHTS[:7]},
        ONE_WEIGHT + r".*\(7,\)",
    ),
    "weights of pixels": (
        lambda: {"x": X, "sample_weight": np.ones((8, 4))},
        ONE_WEIGHT + r".*\(8, 4\)",
    ),
    "weight of all": (
        lambda: {"x": X, "sample_weight": 2.0},
        ONE_WEIGHT + r".*shape=\(\)",
    ),
    "negative weights": (
        lambda: {"x": X, "sample_weight": -WEIGHTS},
        WEIGHT_VALUES + r" \[-1.0, -1.0\]",
    ),
    "NaN in weights": (
        lambda: {"x": X, "sample_weight": np.nan * WEIGHTS},
        WEIGHT_VALUES + r" \[nan, nan\]",
    ),
    "weights of zero": (
        lambda: {"x": X, "sample_weight": 0 * WEIGHTS},
        r"`sample_weight` must weigh at least one example\. Received: all zero",
    ),
    "strings as weights": (
        lambda: {"x": X, "sample_weight": ["a"] * 8},
        r"`sample_weight` must be an array of numbers\. Received: dtype=<U1",
    ),
    "complex weights": (
        lambda: {"x": X, "sample_weight": WEIGHTS.astype(complex)},
        r"`sample_weight` must be an array of numbers\. Received: dtype=complex",
    ),
    # Data sets, of which the first batch is looked at.
    "empty data set": (
        lambda: {"x": batches(X).take(0)},
        r"`x` must hold at least one batch\. Received: none",
    ),
    "data set without batches": (
        lambda: {"x": tf.data.Dataset.from_tensor_slices(X)},
        r"`x` must have a batch axis and at least one more\. Received: shape=\(4,\)",
    ),
    "event shape in a data set": (lambda: {"x": batches(X[:, :3])}, SHAPE),
    "range in a data set": (lambda: {"x": batches(255 * X)}, BY_255),
    "labels in a data set": (lambda: {"x": batches(X, np.arange(8))}, LABELS),
    "weights of pixels in a data set": (
        lambda: {"x": batches(X, X, np.ones((8, 4)))},
        ONE_WEIGHT,
    ),
    "negative weights in a data set": (
        lambda: {"x": batches(X, X, -WEIGHTS)},
        WEIGHT_VALUES,
    ),
    "negative weights without y": (
        lambda: {"x": tf.data.Dataset.from_tensors((X, None, -WEIGHTS))},
        WEIGHT_VALUES,
    ),
    "data set and y": (lambda: {"x": batches(X), "y": X}, r"`y` should not be passed"),
    "data set and weights": (
        lambda: {"x": batches(X), "sample_weight": WEIGHTS},
        r"`sample_weights` should not be passed",
    ),
    "empty PyDataset": (
        lambda: {"x": Batches()},
        r"`x` must hold at least one batch\. Received: none",
    ),
    "range in a PyDataset": (lambda: {"x": Batches((255 * X,))}, BY_255),
    "labels in a PyDataset": (lambda: {"x": Batches((X, np.arange(8)))}, LABELS),
    "weights without y in a PyDataset": (
        lambda: {"x": Batches((X, None, WEIGHTS))},
        r"`x` must yield targets if it yields weights.*yield \(x, x, sample_weight",
    ),
    "empty generator": (
        lambda: {"x": (x for x in ())},
        r"`x` must yield at least one batch\. Received: none",
    ),
    "NaN in a generator": (lambda: {"x": finite(changed(np.nan))}, FINITE),
    "range in a generator": (lambda: {"x": finite(255 * X)}, BY_255),
    "event shape in a generator": (lambda: {"x": finite(X[:, :3])}, SHAPE),
    "labels in a generator": (lambda: {"x": finite(X, np.arange(8))}, LABELS),
}


# Says that data sets take no further arguments, which are none of validation data.
NOT_FOR_VALIDATION = {"nothing", "data set and y", "data set and weights"}


@pytest.fixture(scope="module")
def model():
    """One model for all: none of the cases may change it."""
    return built()


def fit_arguments(data):
    arrays = isinstance(data.get("x"), np.ndarray)
    return {"verbose": 0, "shuffle": arrays, **data}


@pytest.mark.parametrize("case", DATA)
def test_data_in_fit(case, model):
    data, message = DATA[case]
    with unchanged(model), pytest.raises(ValueError, match=f"(?s)^.*{message}"):
        model.fit(**fit_arguments(data()))


@pytest.mark.parametrize("case", DATA)
def test_data_in_evaluate(case, model):
    data, message = DATA[case]
    with unchanged(model), pytest.raises(ValueError, match=f"(?s)^.*{message}"):
        model.evaluate(verbose=0, **data())


@pytest.mark.parametrize("case", sorted(DATA.keys() - NOT_FOR_VALIDATION))
def test_data_in_validation(case, model):
    data, message = DATA[case]
    data = data()
    validation_data = data["x"]
    if isinstance(data["x"], np.ndarray | tf.Tensor | list | dict | str):
        x, y, sample_weight = map(data.get, ("x", "y", "sample_weight"))
        validation_data = (x, y, sample_weight)
    message = f"(?s)^`validation_data` cannot be used: .*{message}"
    with unchanged(model), pytest.raises(ValueError, match=message):
        model.fit(X, validation_data=validation_data, verbose=0)


@pytest.mark.parametrize("case", ["uint8 pixels", "labels", "weights of pixels"])
@pytest.mark.parametrize("method", ["train_on_batch", "test_on_batch"])
def test_data_of_one_batch(case, method, model):
    data, message = DATA[case]
    with unchanged(model), pytest.raises(ValueError, match=message):
        getattr(model, method)(**data())


def test_unbuilt_models_are_checked_too():
    model = vae()
    with pytest.raises(ValueError, match=BY_255):
        model.fit(255 * X, verbose=0)
    assert int(model.optimizer.iterations) == 0


@pytest.mark.parametrize(
    "dtype",
    matrix.first(2, ["bool", "float64", "float32", "float16", "uint8", "int64"]),
)
def test_zeros_and_ones_of_any_real_dtype(dtype):
    keras.utils.set_random_seed(0)
    expected = built().evaluate(X, verbose=0, return_dict=True)
    keras.utils.set_random_seed(0)
    model = built()
    assert model.evaluate(X.astype(dtype), verbose=0, return_dict=True) == expected
    model.fit(X.astype(dtype), verbose=0)
    assert int(model.optimizer.iterations) == 1


@pytest.mark.parametrize(
    "make",
    matrix.first(
        4,
        [
            lambda: {"x": tf.constant(X)},
            lambda: {"x": X, "sample_weight": WEIGHTS.tolist()},
            lambda: {"x": X, "sample_weight": WEIGHTS[:, None]},
            lambda: {"x": batches(X, X, WEIGHTS)},
            lambda: {"x": tf.data.Dataset.from_tensors((X, None, WEIGHTS))},
            lambda: {"x": Batches((X[:4],), (X[4:],))},
            lambda: {"x": endless(X, None, WEIGHTS), "steps_per_epoch": 2},
            lambda: {"x": X, "validation_data": X},
            lambda: {"x": X, "validation_data": [X]},
            lambda: {"x": X, "validation_data": batches(X)},
            lambda: {"x": X, "validation_data": finite(X), "validation_steps": 1},
        ],
    ),
)
def test_unusual_data_that_are_right(make):
    model = built()
    history = model.fit(**fit_arguments(make())).history
    assert np.isfinite(history["loss"]).all()
    assert int(model.optimizer.iterations) in (1, 2)


def test_looking_at_a_generator_does_not_lose_its_first_batch():
    seen = []

    def three():
        for i in range(3):
            seen.append(i)
            yield (X[i : i + 2],)

    model = built()
    model.fit(three(), steps_per_epoch=3, verbose=0, shuffle=False)
    assert seen == [0, 1, 2]
    assert int(model.optimizer.iterations) == 3


@pytest.mark.parametrize(
    "x", [batches(changed(np.nan)), Batches((X[:4],), (changed(np.nan)[4:],))]
)
def test_bad_values_in_later_batches_show_in_the_logs(x):
    # Only the first batch can be looked at before a step is trained.
    history = built().fit(x, verbose=0, shuffle=False).history
    for name in ("loss", "reconstruction_loss", "negative_elbo"):
        assert np.isnan(history[name]).all()


def test_a_bad_shape_in_a_later_batch_is_an_error():
    model = built()
    with pytest.raises(
        (ValueError, tf.errors.InvalidArgumentError), match="incompatible"
    ):
        model.fit(Batches((X[:4],), (X[4:, :3],)), verbose=0, shuffle=False)


def test_shape_of_validation_data_as_one_array(model):
    with unchanged(model), pytest.raises(ValueError, match=SHAPE):
        model.fit(X, validation_data=X[:, :3], verbose=0)


# === Arguments of fit and compile ===


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            {"class_weight": {0: 1.0, 1: 2.0}},
            r"`class_weight` must be None.*pass `sample_weight`.*class_weight=\{0: 1.0",
        ),
        (
            {"y": X, "class_weight": {0: 1.0, 1: 2.0}},
            r"`class_weight` must be None.*pass `sample_weight`.*class_weight=\{0: 1.0",
        ),
        (
            {"validation_split": 1.5},
            r"`validation_split` must be in \[0, 1\)\. Received: validation_split=1.5",
        ),
        (
            {"validation_split": -0.5},
            r"`validation_split` must be in \[0, 1\)\. Received: validation_split=-0.5",
        ),
        (
            {"validation_data": ()},
            r"`validation_data` must be \(x,\), .*Received: 0 entries",
        ),
        (
            {"validation_data": (X, X, WEIGHTS, WEIGHTS)},
            r"`validation_data` must be \(x,\), .*Received: 4 entries",
        ),
    ],
)
def test_arguments_of_fit(arguments, message, model):
    with unchanged(model), pytest.raises(ValueError, match=message):
        model.fit(X, verbose=0, **arguments)


def test_class_weight_of_one_batch(model):
    with unchanged(model), pytest.raises(ValueError, match="`class_weight` must be"):
        model.train_on_batch(X, class_weight={0: 1.0})


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            {"loss": "mse"},
            r"`loss` must be None: the likelihood is.*`VAE\(.*loss='mse'",
        ),
        (
            {"loss": kv.losses.NegativeLogLikelihood()},
            r"`loss` must be None: the likelihood is the loss",
        ),
        (
            {"loss_weights": [1.0]},
            r"`loss_weights` must be None: .*kl_weight=\.\.\..*loss_weights=\[1.0\]",
        ),
    ],
)
def test_arguments_of_compile(arguments, message):
    with pytest.raises(ValueError, match=message):
        vae().compile("adam", **arguments)


def test_fit_before_compile():
    model = kv.VAE(Dense(3), Dense(4), latent_dim=2)
    with pytest.raises(ValueError, match=r"call `compile\(\)`"):
        model.fit(X, verbose=0)


# === Networks ===


def functional(outputs, inputs=2):
    x = keras.Input((inputs,))
    return keras.Model(x, outputs(x))


class Subclassed(keras.Model):
    def __init__(self):
        super().__init__()
        self.out = Dense(4, "sigmoid")

    def call(self, x):
        return self.out(x)


SQUASHED = r"`decoder` ends in a {0}, but .* takes logits\. Remove .*activation='{0}'"


@pytest.mark.parametrize(
    ("decoder", "name"),
    [
        (lambda: Dense(4, "sigmoid"), "sigmoid"),
        (lambda: keras.Sequential([Dense(4, "sigmoid")]), "sigmoid"),
        (
            lambda: keras.Sequential([Dense(4, "sigmoid"), keras.layers.Reshape((4,))]),
            "sigmoid",
        ),
        (lambda: keras.Sequential([Dense(4), keras.layers.Softmax()]), "softmax"),
        (
            lambda: keras.Sequential([Dense(4), keras.layers.Activation("softmax")]),
            "softmax",
        ),
        (
            lambda: keras.Sequential([keras.Sequential([Dense(4, "sigmoid")])]),
            "sigmoid",
        ),
        (lambda: functional(Dense(4, "sigmoid")), "sigmoid"),
        (lambda: functional(lambda x: keras.ops.sigmoid(Dense(4)(x))), "sigmoid"),
        (Subclassed, "sigmoid"),
    ],
)
@pytest.mark.parametrize("likelihood", ["bernoulli", "continuous_bernoulli"])
def test_decoders_that_squash_their_logits(decoder, name, likelihood):
    with pytest.raises(ValueError, match=SQUASHED.format(name)):
        vae(decoder=decoder(), likelihood=likelihood)


@pytest.mark.parametrize(
    ("decoder", "likelihood"),
    [
        # A gate before the output, and a mean in [0, 1] of a normal, are legitimate.
        (
            lambda: functional(lambda x: Dense(4)(x) * Dense(4, "sigmoid")(x)),
            "bernoulli",
        ),
        (lambda: Dense(4, "sigmoid"), "unit_normal"),
    ],
)
def test_decoders_with_a_sigmoid_that_are_right(decoder, likelihood):
    model = vae(decoder=decoder(), likelihood=likelihood)
    assert np.isfinite(model.evaluate(X, verbose=0)).all()


def two_outputs():
    return functional(lambda x: [Dense(3)(x), Dense(3)(x)], inputs=4)


def unknown_axes():
    x = keras.Input((None, 4))
    return keras.Model(x, Dense(3)(x))


@pytest.mark.parametrize(
    ("arguments", "x", "message"),
    [
        (
            {"likelihood": distributions.Normal("per_output")},
            X,
            r"`decoder` puts out shape \(4,\).*need shape \(8,\): build it with `o",
        ),
        (
            {"likelihood": distributions.Normal("per_output"), "outputs": 5},
            X,
            r"`decoder` puts out shape \(5,\).*Normal likelihood.*multiple of 2",
        ),
        (
            {"likelihood": distributions.Categorical(3)},
            X,
            r"`decoder` puts out shape \(4,\).*Categorical likelihood.*multiple of 3",
        ),
        (
            {"likelihood": distributions.Normal("per_output"), "outputs": 6},
            X,
            r"`x` must have shape \(batch, 3\).*Received: x.shape=\(8, 4\)\. Reshape",
        ),
        (
            {"outputs": 5},
            X,
            r"`x` must have shape \(batch, 5\).*Received: x.shape=\(8, 4\).*decoder",
        ),
        (
            {"decoder": functional(Dense(4), inputs=5)},
            X,
            r"`decoder` does not take inputs of shape \(None, 2\)",
        ),
        (
            {"encoder": functional(Dense(3), inputs=5)},
            X,
            r"`encoder` does not take inputs of shape \(None, 4\)",
        ),
        (
            {"encoder": two_outputs()},
            X,
            r"`encoder` must put out one tensor: concatenate.*Received: a list of 2",
        ),
        (
            {"encoder": unknown_axes(), "outputs": 4},
            tf.data.Dataset.from_tensors(np.zeros((8, 5, 4), "float32")),
            r"`x` must have shape \(batch, 4\)",
        ),
        (
            {"prior": "gaussian_mixture"},
            X,
            r'in closed form.*pass `kl="monte_carlo"`.*Received: posterior=',
        ),
        (
            {"prior": priors.VampPrior(5)},
            X,
            r'in closed form.*pass `kl="monte_carlo"`.*Received: posterior=',
        ),
    ],
)
def test_networks_and_data_that_do_not_fit(arguments, x, message):
    model = vae(**arguments)
    with pytest.raises(ValueError, match=f"(?s){message}"):
        model.fit(x, verbose=0, shuffle=False)
    assert int(model.optimizer.iterations) == 0


def test_an_encoder_with_unknown_axes():
    model = vae(encoder=unknown_axes())
    with pytest.raises(
        ValueError, match=r"encoder's output must be.*shape=\(None, None"
    ):
        model.build((None, None, 4))


# === Arguments of models, layers, objectives, losses and schedules ===

POSITIVE_LATENT = (
    "latent dimension must be a positive integer: `latent_dim` .*Received: "
)
KL_WEIGHT = r"`kl_weight` must be a finite number that is not negative\. Received: kl_w"
DURATION = r"`duration` must be a non-negative integer.*\"50%\".*Received: duration="


def with_seed(seed):
    return kv.VAE(Dense(3), Dense(4), latent_dim=2, seed=seed)


ARGUMENTS = [
    (
        lambda: vae(encoder=lambda x: x),
        r"`encoder` must be a `keras.Model`.*encoder=<fu",
    ),
    (lambda: vae(encoder="mlp"), r"`encoder` must be a `keras.Model`.*encoder='mlp'"),
    (lambda: vae(decoder=3), r"`decoder` must be a `keras.Model`.*decoder=3"),
    (lambda: vae(latent_dim=0), POSITIVE_LATENT + "0"),
    (lambda: vae(latent_dim=-1), POSITIVE_LATENT + "-1"),
    (lambda: vae(latent_dim=2.5), POSITIVE_LATENT + "2.5"),
    (lambda: vae(latent_dim=True), POSITIVE_LATENT + "True"),
    (lambda: vae(latent_dim="2"), POSITIVE_LATENT + "'2'"),
    (lambda: vae(likelihood="gauss"), r"`likelihood` must.*'bernoulli'.*='gauss'"),
    (
        lambda: vae(likelihood="categorical"),
        r"`likelihood` .*needs `num_classes`: pass",
    ),
    (lambda: vae(likelihood=distributions.Normal), r"`likelihood` must.*=<class"),
    (lambda: vae(prior="normal"), r"`prior` must.*'standard_normal'.*prior='normal'"),
    (lambda: vae(posterior="x"), r"`posterior` must.*'diagonal_normal'.*posterior='x'"),
    (lambda: vae(objective="iwaes"), r"`objective` must.*'importance_.*='iwaes'"),
    (lambda: vae(objective=0.5), r"`objective` must.*objective=0.5"),
    (lambda: kv.ELBO(kl_weight=-1), KL_WEIGHT + "eight=-1"),
    (lambda: kv.ELBO(kl_weight=np.nan), KL_WEIGHT + "eight=nan"),
    (lambda: kv.ELBO(kl_weight=np.inf), KL_WEIGHT + "eight=inf"),
    (lambda: kv.ELBO(kl_weight="1%"), KL_WEIGHT + "eight='1%'"),
    (lambda: kv.ELBO(kl_weight=None), KL_WEIGHT + "eight=None"),
    (lambda: kv.ELBO(kl_weight=True), KL_WEIGHT + "eight=True"),
    (lambda: kv.layers.Latent(2, kl_weight=-1.0), KL_WEIGHT + "eight=-1.0"),
    (
        lambda: kv.ELBO(kl_weight=schedules.linear(10)),
        r"`kl_weight` must be a number.*`keras_vae.KLAnnealing\(.*kl_weight=linear",
    ),
    (lambda: kv.ELBO(kl="exact"), r"`kl` must be one of .*'monte_carlo'.*kl='exact'"),
    (lambda: kv.ELBO(num_samples=0), r"`num_samples` must be a pos.*num_samples=0"),
    (lambda: kv.ELBO(num_samples=1.5), r"`num_samples` must be a pos.*num_samples=1.5"),
    (
        lambda: kv.ImportanceWeighted(num_samples=True),
        r"`num_samples` must be a pos.*num_samples=True",
    ),
    (
        lambda: kv.layers.Latent(2, objective=kv.ImportanceWeighted()),
        r"`objective` must be a sum of rate and distortion.*use `keras_vae.VAE`",
    ),
    (
        lambda: kv.layers.Latent(2, kl_weight=2.0, objective=kv.ELBO()),
        r"`objective` owns `kl_weight` and `kl`.*kl_weight=2.0",
    ),
    (lambda: with_seed(-1), r"`seed` must be in \[0, 2\*\*31\)\. Received: seed=-1"),
    (lambda: with_seed(2**31), r"`seed` must be in \[0, 2\*\*31\)\. Received: seed=21"),
    (lambda: with_seed(1.5), r"`seed` must be an integer or None\. Received: seed=1.5"),
    (lambda: priors.VampPrior(0), r"`num_components` must be a positive.*components=0"),
    (lambda: priors.VampPrior(3, value_range=(1, 0)), r"`value_range` must be.*\(1, 0"),
    (lambda: distributions.Normal(scale=-1.0), r"`scale` must be a positive.*-1.0"),
    (lambda: distributions.Categorical(1), r"`num_classes` must be.*num_classes=1"),
    (
        lambda: kv.losses.NegativeLogLikelihood("normal"),
        r"`likelihood` must not own weights.*`scale=\"per_output\"`.*='normal'",
    ),
    (
        lambda: kv.losses.NegativeLogLikelihood("mse"),
        r"`likelihood` must be .*'bernoulli'.*likelihood='mse'",
    ),
    (lambda: schedules.linear(0.5), DURATION + "0.5"),
    (lambda: schedules.linear(1.0), r'of the run is a string: "100%".*duration=1.0'),
    (lambda: schedules.sigmoid(-1), DURATION + "-1"),
    (lambda: schedules.cosine("5 weeks"), DURATION + "'5 weeks'"),
    (lambda: schedules.linear("150%"), DURATION + "'150%'"),
    (lambda: schedules.linear(True), DURATION + "True"),
    (lambda: schedules.linear(10, end=np.nan), r"`end` must be a finite.*end=nan"),
    (lambda: schedules.sigmoid(10, midpoint=2), r"`midpoint` must be in \[0, 1\].*=2"),
    (lambda: schedules.cyclical(10, num_cycles=0), r"`num_cycles` must be.*cycles=0"),
    (lambda: schedules.piecewise([10], [1.0]), r"`values` must have one entry more"),
    (
        lambda: kv.KLAnnealing("quadratic"),
        r"`identifier` must be a schedule.*'quadrati",
    ),
    (lambda: kv.networks.mlp_encoder([0]), r"`hidden` must be a list of pos.*=\[0\]"),
    (lambda: kv.networks.mlp_decoder([3], 4), r"`output_shape` must be a list.*=4"),
    (
        lambda: kv.networks.conv_encoder((28, 28)),
        r"`input_shape` must be \(h.*Add an ax",
    ),
]


@pytest.mark.parametrize(("make", "message"), ARGUMENTS)
def test_arguments(make, message):
    with pytest.raises(ValueError, match=f"(?s){message}"):
        make()


# === Methods ===

WIDTH = r"`z` must have shape \(batch, 2\)\. Received: z.shape="
METHODS = [
    (lambda m: m.decode(np.zeros((1, 3), "float32")), WIDTH + r"\(1, 3\)"),
    (lambda m: m.decode(np.zeros(2, "float32")), WIDTH + r"\(2,\)"),
    (lambda m: m.interpolate(X, X, steps=1), r"`steps` must be.* least 2.*steps=1"),
    (lambda m: m.interpolate(X, X, steps=2.5), r"`steps` must be an int.*steps=2.5"),
    (lambda m: m.interpolate(X, X[:3]), r"`start` and `end` must.*Received: 8 and 3"),
    (lambda m: m.generate(0), r"`n` must be a positive integer\. Received: n=0"),
    (lambda m: m.generate(-1), r"`n` must be a positive integer\. Received: n=-1"),
    (lambda m: m.generate(2.5), r"`n` must be a positive integer\. Rec.*n=2.5"),
    (lambda m: m.generate(2, seed=-1), r"`seed` must be in \[0, 2\*\*31\).*seed=-1"),
    (lambda m: m.generate(2, noise=0.1), r"`noise` must be True or False.*noise=0.1"),
    (lambda m: m.generate(2, seed=0.5), r"`seed` must be an integer.*seed=0.5"),
    (lambda m: m.sample_posterior(X, seed=-1), r"`seed` must be in .*seed=-1"),
    (lambda m: m.elbo(X, seed=-1), r"`seed` must be in \[0, 2\*\*31\).*seed=-1"),
    (lambda m: m.elbo(X, num_samples=0), r"`num_samples` must be.*num_samples=0"),
    (lambda m: m.elbo(np.uint8(255 * X)), BY_255),
    (lambda m: m.elbo(changed(np.nan)), FINITE),
    (lambda m: m.elbo(X, 255 * X), r"`y` cannot be reconstructed.*\[0.0, 255.0\]"),
    (
        lambda m: m.elbo(X, np.arange(8)),
        LABELS,
    ),
    (lambda m: m.elbo(X[:, :3]), r"shape.*\(8, 3\)"),
    (lambda m: m.encode(X[:, :3]), r"value 4.*\(8, 3\)"),
    (lambda m: m.predict(X[:, :3], verbose=0), r"value 4.*\(\w+, 3\)"),
    (lambda m: m.export("model", format="onnx"), r"`format` must be 'tf_sav.*='onnx'"),
]


@pytest.mark.parametrize(("use", "message"), METHODS)
def test_methods(use, message, model, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match=f"(?s){message}"):
        use(model)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("use", "name"),
    [
        (lambda m: m.decode(np.zeros((1, 2), "float32")), "decode"),
        (lambda m: m.generate(2), "generate"),
        (lambda m: m.export("model"), "export"),
    ],
)
def test_methods_before_shapes_are_known(use, name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match=rf"`{name}`.*`build\(\(None, \*event_shape\)"):
        use(vae())
    assert not list(tmp_path.iterdir())


# === Callbacks ===

UNKNOWN_STEPS = (
    r"`duration` must be in steps if .* per run is unknown: pass `steps_per_epoch`"
    r".*Received: duration='50%'"
)


@pytest.mark.parametrize(
    ("x", "callback", "message"),
    [
        (lambda: finite(X), lambda: kv.KLAnnealing("linear"), UNKNOWN_STEPS),
        (
            lambda: batches(X).filter(lambda x: True),
            lambda: kv.KLAnnealing("linear"),
            UNKNOWN_STEPS,
        ),
        (
            lambda: finite(X),
            lambda: kv.KLAnnealing(schedules.linear("1 epoch")),
            r"per epoch is unknown: pass `steps_per_epoch`.*duration='1 epoch'",
        ),
        (
            lambda: X,
            lambda: kv.KLAnnealing("linear", layers=["z"]),
            r"`layers` must name layers of the model\. Received: \['z'\].*'latent'",
        ),
        (
            lambda: X,
            lambda: kv.KLAnnealing("linear", layers="latent"),
            r"`layers` must be a list of names\. Received: .*pass \['latent'\]",
        ),
        (
            lambda: X,
            lambda: kv.KLAnnealing("linear", layers=["latent"]),
            r"`kl_weight` must be a hyperparameter.*layers=\['latent'\]",
        ),
        (
            lambda: X,
            lambda: kv.callbacks.HyperparameterScheduler("gamma", 1.0),
            r"`gamma` must be a hyperparameter",
        ),
        (
            lambda: X,
            lambda: kv.KLAnnealing(schedules.linear(2, start=-1.0)),
            r"`schedule` must give finite values.*Received: -1.0 at step 0 of linear",
        ),
        (
            lambda: X,
            lambda: kv.KLAnnealing(lambda step: tf.math.log(-1.0)),
            r"`schedule` must give finite values.*Received: nan at step 0",
        ),
    ],
)
def test_callbacks(x, callback, message, model):
    with unchanged(model), pytest.raises(ValueError, match=message):
        model.fit(x(), verbose=0, shuffle=False, callbacks=[callback()])


def test_annealing_a_model_without_kl():
    model = keras.Sequential([keras.Input((4,)), Dense(4)])
    model.compile("adam", "mse")
    message = r"`kl_weight` must be a hyperparameter.*`keras_vae.layers.Latent`"
    with unchanged(model), pytest.raises(ValueError, match=message):
        model.fit(X, X, verbose=0, callbacks=[kv.KLAnnealing("linear")])


def test_a_ramp_that_does_not_end_is_warned_of_before_the_first_step():
    model = built()
    seen = []

    class Steps(keras.callbacks.Callback):
        def on_train_batch_begin(self, batch, logs=None):
            seen.append(batch)

    message = (
        r"`fit` will end after 1 optimizer steps, but the schedule of `kl_weight` ends "
        r'at step 200: .*shorten the schedule, for example with `duration="50%"`'
    )
    annealing = kv.KLAnnealing(schedules.linear(200))
    # Warnings are errors, so that this one ends the run.
    with unchanged(model), pytest.raises(UserWarning, match=message):
        model.fit(X, verbose=0, callbacks=[annealing, Steps()])
    assert not seen


# === Latent and its loss ===


def latent_model(**kwargs):
    x = keras.Input((4,))
    model = keras.Model(x, Dense(4)(kv.layers.Latent(2, seed=0, **kwargs)(x)))
    model.compile("adam", kv.losses.NegativeLogLikelihood("bernoulli"))
    return model


@pytest.mark.parametrize(
    ("kwargs", "data", "message"),
    [
        (
            {},
            {"y": np.arange(8)},
            r"`y_true` must have the shape that the decoder.*\(batch, 4\).*"
            r"y_true.shape=\(None,\)\. Pass `fit\(x, x\)`, not labels",
        ),
        # Without the check TensorFlow would broadcast these to (8, 8, 4).
        (
            {},
            {"y": X[..., None]},
            r"`y_true` must have .*y_true.shape=\(None, 4, 1\)",
        ),
        (
            {},
            {"y": X[:, :1]},
            r"`y_true` must have .*y_true.shape=\(None, 1\)",
        ),
        (
            {},
            {"y": X, "sample_weight": np.ones((8, 4))},
            r"`sample_weight` must hold one weight per example.*\(None, 4\)",
        ),
        (
            {"prior": "gaussian_mixture"},
            {"y": X},
            r'in closed form.*pass `kl="monte_carlo"`',
        ),
    ],
)
def test_latent(kwargs, data, message):
    model = latent_model(**kwargs)
    with unchanged(model), pytest.raises(ValueError, match=f"(?s){message}"):
        model.fit(X, verbose=0, **data)


# === Files ===


def pickled(path):
    np.save(path / "x.npy", np.array([{"a": 1}], dtype=object), allow_pickle=True)
    return path / "x.npy"


def corrupt(path):
    (path / "x.npz").write_bytes(b"PK\x03\x04 this is no archive")
    return path / "x.npz"


def text(path):
    (path / "x.npy").write_text("0,1,0\n")
    return path / "x.npy"


def saved(path, x):
    np.save(path / "x.npy", x)
    return path / "x.npy"


def archive(path):
    np.savez(path / "x.npz", a=X, b=X)
    return path / "x.npz"


def written(path, content):
    (path / "x.csv").write_text(content)
    return path / "x.csv"


PLAIN = (
    r"`path` must be a NumPy file of plain arrays; pickled.*Received: '.*x\.np.*np.sa"
)
FILES = [
    (
        lambda path: kv.datasets.mnist(path / "absent"),
        "`data_dir` must hold mnist/.*Pl",
    ),
    (
        lambda path: kv.datasets.binarized_mnist(path),
        "`data_dir` must hold binarized_m",
    ),
    (lambda path: kv.datasets.dsprites(path), "`data_dir` must hold dsprites/.*Place"),
    (lambda path: kv.datasets.ptb(path), "`data_dir` must hold ptb/.*Place"),
    (
        lambda path: kv.datasets.arrays(path / "no.npy"),
        "`path` must be an existing file",
    ),
    (
        lambda path: kv.datasets.arrays(path / "x.csv"),
        r"`path` must end in .npy or .npz",
    ),
    (lambda path: kv.datasets.arrays(pickled(path)), PLAIN),
    (lambda path: kv.datasets.arrays(corrupt(path)), PLAIN),
    (lambda path: kv.datasets.arrays(text(path)), PLAIN),
    (
        lambda path: kv.datasets.arrays(archive(path), key="c"),
        r"`key` must name one of the arrays \['a', 'b'\].*Received: key='c'",
    ),
    (
        lambda path: kv.datasets.arrays(saved(path, changed(np.nan))),
        "`path` must hold finite numbers.*Received: 1 other values.*Remove or fill in",
    ),
    (
        lambda path: kv.datasets.arrays(saved(path, X.astype(complex))),
        "`path` must hold real numbers.*complex128.*Convert it",
    ),
    (
        lambda path: kv.datasets.arrays(saved(path, X[0])),
        r"`path` must hold a non-empty array.* \(examples, \.\.\.\).*shape \(4,\)",
    ),
    (lambda path: kv.datasets.load("cifar"), r"`name` must be one of.*name='cifar'"),
    (
        lambda path: kv.datasets.image_folder(path / "no"),
        "`path` must be an existing fo",
    ),
    (
        lambda path: kv.datasets.image_folder(path),
        "`path` must hold images.*which holds no files",
    ),
    (
        lambda path: kv.datasets.table(written(path, "a,b\n1,x\n2,\n")),
        "`path` must hold finite numbers.*'b' holds text, 'x' in row 2.*--drop_col",
    ),
    (
        lambda path: kv.datasets.table(written(path, "0,1\n1,0\n")),
        "`header` must say.*counts from 0.*--header=true",
    ),
    (
        lambda path: kv.datasets.arrays(archive(path), key="a", max_bytes=0),
        "`max_bytes` must be a positive integer. Received: max_bytes=0",
    ),
    (lambda path: kv.datasets.digits(test_fraction=1.0), r"`test_fraction` must.*=1.0"),
    (lambda path: kv.datasets.binarize(255 * X), r"`x` must be in \[0, 1\].*by 255"),
    (
        lambda path: kv.datasets.dynamic_binarization(X, batch_size=0),
        "`batch_size` must be a positive integer. Received: batch_size=0",
    ),
]


@pytest.mark.parametrize(("read", "message"), FILES)
def test_files(read, message, tmp_path):
    with pytest.raises((ValueError, FileNotFoundError), match=f"(?s){message}") as info:
        read(tmp_path)
    missing = re.search(
        "existing file|must hold (mnist|binarized|dsprites|ptb)", message
    )
    assert isinstance(info.value, FileNotFoundError) == bool(missing)

"""What Keras's `fit`, `evaluate` and `predict` take, a VAE takes."""

import keras
import matrix
import numpy as np
import pytest
import scipy.sparse
import tensorflow as tf

import keras_vae as kv
from keras_vae.checks import kinds

X = (np.random.default_rng(0).random((60, 16)) < 0.3).astype("float32")
WEIGHTS = np.linspace(0, 1, 60)
BATCH = {"batch_size": 20, "verbose": 0}


def vae(model=kv.VAE, **kwargs):
    keras.utils.set_random_seed(0)
    model = model(
        kv.networks.mlp_encoder([8]),
        kv.networks.mlp_decoder([8], (16,)),
        latent_dim=3,
        seed=0,
        **kwargs,
    )
    model.compile("adam")
    return model


def unsorted_coo(x):
    """A matrix whose numbers are in no order, one of them in two parts."""
    matrix = scipy.sparse.coo_matrix(x)
    order = np.random.default_rng(1).permutation(matrix.nnz)
    row, col, data = matrix.row[order], matrix.col[order], matrix.data[order]
    half = data.copy()
    half[0] = 0.25
    parts = [np.append(row, row[0]), np.append(col, col[0]), np.append(half, 0.75)]
    return scipy.sparse.coo_matrix((parts[2], (parts[0], parts[1])), x.shape)


def frame(x):
    return pytest.importorskip("pandas").DataFrame(x)


def torch_tensor(x):
    return pytest.importorskip("torch").tensor(x, requires_grad=False)


class OfAnotherLibrary:
    """What a tensor of a library that is not installed shows of itself."""

    def __init__(self, x):
        self.x, self.shape, self.dtype = x, x.shape, "another.float32"

    def detach(self):
        return self

    def cpu(self):
        return self

    def __array__(self, dtype=None, copy=None):
        return np.array(self.x, dtype)

    def __len__(self):
        return len(self.x)


ARRAYS = {
    "csr_matrix": scipy.sparse.csr_matrix,
    "csc_array": scipy.sparse.csc_array,
    "coo_matrix": unsorted_coo,
    "SparseTensor": tf.sparse.from_dense,
    "DataFrame": frame,
    "torch": torch_tensor,
    "another library": OfAnotherLibrary,
}

USES = {
    "fit": lambda m, x: m.fit(x, **BATCH).history["loss"],
    "fit(x, y)": lambda m, x: m.fit(x, x, **BATCH).history["loss"],
    "sample_weight": lambda m, x: m.fit(x, sample_weight=WEIGHTS, **BATCH).history[
        "loss"
    ],
    "validation_split": lambda m, x: m.fit(x, validation_split=0.5, **BATCH).history[
        "val_loss"
    ],
    "validation_data": lambda m, x: m.fit(X, validation_data=(x,), **BATCH).history[
        "val_loss"
    ],
    "evaluate": lambda m, x: m.evaluate(x, **BATCH),
    "predict": lambda m, x: m.predict(x, **BATCH),
    "train_on_batch": lambda m, x: m.train_on_batch(x),
    "test_on_batch": lambda m, x: m.test_on_batch(x),
    "encode": lambda m, x: m.encode(x),
    "reconstruct": lambda m, x: m.reconstruct(x),
    "elbo": lambda m, x: m.elbo(x, num_samples=3),
    "log_likelihood": lambda m, x: m.log_likelihood(x, num_samples=3, verbose=0),
}


# With `-m slow`: each kind in each way.
QUICK = {("csr_matrix", use) for use in ("fit", "validation_split", "elbo")}
QUICK |= {(kind, "fit") for kind in ("SparseTensor", "DataFrame", "torch")}


@pytest.mark.parametrize(
    ("kind", "use"),
    [
        pytest.param(kind, use, marks=() if (kind, use) in QUICK else pytest.mark.slow)
        for kind in ARRAYS
        for use in USES
    ],
)
def test_data_of_other_libraries_train_as_arrays_do(kind, use):
    if kind == "another library" and use == "validation_split":
        pytest.skip("Keras itself splits no array but those it knows")
    x = ARRAYS[kind](X)
    np.testing.assert_array_equal(USES[use](vae(), x), USES[use](vae(), X))


@pytest.mark.parametrize(
    "model", matrix.first(1, [kv.FactorVAE, kv.AggressiveVAE, kv.MultiRateVAE])
)
def test_models_with_steps_of_their_own_take_sparse_data(model):
    losses = []
    for x in (X, scipy.sparse.csr_matrix(X)):
        options = {}
        if model is kv.FactorVAE:
            keras.utils.set_random_seed(1)
            options["discriminator"] = kv.networks.mlp_decoder([8], (2,))
            options["discriminator"].build((None, 3))
        losses.append(vae(model, **options).fit(x, **BATCH).history["loss"])
    assert losses[0] == losses[1]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (lambda x: 2 * x, r"`x` must be in \[0, 1\] under a Bernoulli"),
        (lambda x: np.nan * x, r"`x` must be finite\. Received: \d+ values"),
        (lambda x: x[:, :3], r"`x` must have shape \(batch, 16\).*\(60, 3\)"),
        (lambda x: x[:0], "`x` must hold at least one example"),
    ],
)
def test_sparse_data_are_checked(settings, message):
    model = vae()
    model.build((None, 16))
    with pytest.raises(ValueError, match=message):
        model.fit(settings(scipy.sparse.csr_matrix(X)), **BATCH)


def test_sparse_data_are_checked_part_by_part(monkeypatch):
    monkeypatch.setattr(kinds, "_BLOCK", 5 * 16)
    matrix = scipy.sparse.csr_matrix(X)
    parts = list(kinds.blocks(matrix))
    assert [part.shape for part in parts] == [(5, 16)] * 12
    np.testing.assert_array_equal(np.concatenate(parts), X)
    matrix.data[-1] = 2.0
    with pytest.raises(ValueError, match=r"`x` must be in \[0, 1\]"):
        vae().fit(matrix, **BATCH)


def test_frames_of_text_are_refused():
    with pytest.raises(ValueError, match="`x` must be an array of numbers.*object"):
        vae().fit(frame([["a"] * 16] * 3), **BATCH)


# === Data sets ===


class Endless(keras.utils.PyDataset):
    """Batches of 20 without an end."""

    def __init__(self, *arrays):
        super().__init__()
        self.arrays = arrays

    @property
    def num_batches(self):
        return None

    def __getitem__(self, index):
        start = 20 * (index % 3)
        return tuple(array[start : start + 20] for array in self.arrays)


def test_a_py_dataset_without_end_trains_as_its_batches_do():
    model = vae()
    history = model.fit(Endless(X), steps_per_epoch=6, verbose=0, shuffle=False)
    assert int(model.optimizer.iterations) == 6
    other = vae().fit(np.tile(X, (2, 1)), shuffle=False, **BATCH)
    np.testing.assert_allclose(history.history["loss"], other.history["loss"], 1e-6)
    losses = [
        vae().fit(X, validation_data=v, **steps, **BATCH).history["val_loss"]
        for v, steps in ((Endless(X), {"validation_steps": 3}), ((X,), {}))
    ]
    np.testing.assert_allclose(*losses, 1e-6)
    np.testing.assert_allclose(
        vae().evaluate(Endless(X), steps=3, verbose=0), vae().evaluate(X, **BATCH), 1e-6
    )
    np.testing.assert_allclose(
        vae().predict(Endless(X), steps=3, verbose=0), vae().predict(X, **BATCH), 1e-6
    )


def test_a_py_dataset_without_end_is_checked():
    model = vae()
    with pytest.raises(ValueError, match=r"`x` must be in \[0, 1\]"):
        model.fit(Endless(255 * X), steps_per_epoch=6, verbose=0)
    with pytest.raises(ValueError, match="`x` must be finite"):
        model.predict(Endless(np.nan * X), steps=3, verbose=0)


def loader(*arrays, **kwargs):
    torch = pytest.importorskip("torch")
    tensors = [torch.tensor(array) for array in arrays]
    data = torch.utils.data.TensorDataset(*tensors)
    return torch.utils.data.DataLoader(data, batch_size=20, **kwargs)


def test_a_loader_of_torch_trains_as_arrays_do():
    fits = [
        vae().fit(x, epochs=2, shuffle=False, verbose=0, **size).history["loss"]
        for x, size in ((loader(X), {}), (loader(X, X), {}), (X, {"batch_size": 20}))
    ]
    np.testing.assert_allclose(fits, [fits[2]] * 3, 1e-6)
    results = [
        vae().fit(X, validation_data=v, **BATCH).history["val_loss"]
        for v in (loader(X), (X,))
    ]
    np.testing.assert_allclose(*results, 1e-6)
    np.testing.assert_allclose(
        vae().evaluate(loader(X), verbose=0), vae().evaluate(X, **BATCH), 1e-6
    )
    np.testing.assert_allclose(
        vae().predict(loader(X), verbose=0), vae().predict(X, **BATCH), 1e-6
    )


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        (
            (X, np.arange(60)),
            "`y` must have a batch axis.*`y` holds labels, pass",
        ),
        ((255 * X,), r"`x` must be in \[0, 1\]"),
        ((np.nan * X,), "`x` must be finite"),
    ],
)
def test_a_loader_of_torch_is_checked(arrays, message):
    with pytest.raises(ValueError, match=message):
        vae().fit(loader(*arrays), verbose=0)


def test_looking_at_a_loader_leaves_its_order():
    torch = pytest.importorskip("torch")
    torch.manual_seed(0)
    own = torch.Generator().manual_seed(0)
    data = loader(X, shuffle=True), loader(X, shuffle=True, generator=own)
    orders = []
    for look in (False, True):
        torch.manual_seed(0)
        own.manual_seed(0)
        for one in data:
            if look:
                kinds.first_batch(one)
            orders.append(np.concatenate([np.asarray(batch[0]) for batch in one]))
    np.testing.assert_array_equal(orders[0], orders[2])
    np.testing.assert_array_equal(orders[1], orders[3])


class FakeLoader:
    """A loader of a library that is not installed."""

    __module__ = "torch.utils.data.dataloader"

    def __init__(self, *batches):
        self.batches = batches

    def __iter__(self):
        return iter(self.batches)


@pytest.mark.parametrize(
    ("batches", "message"),
    [
        ((), "`x` must hold at least one batch"),
        (([255 * X],), r"`x` must be in \[0, 1\]"),
        ((X,), r"`x` must yield tuples \(x,\).*`TensorDataset\(x\)`.*single tensors"),
    ],
)
def test_first_batches_of_loaders_are_checked(batches, message):
    with pytest.raises(ValueError, match=message):
        vae().fit(FakeLoader(*batches), verbose=0)


# === Counts ===

COUNTS = [
    ("fit", "batch_size", 7.0, 1),
    ("fit", "batch_size", 0, 1),
    ("fit", "batch_size", -1, 1),
    ("fit", "batch_size", "7", 1),
    ("fit", "batch_size", True, 1),
    ("fit", "steps_per_epoch", 0, 1),
    ("fit", "steps_per_epoch", -1, 1),
    ("fit", "steps_per_epoch", 2.0, 1),
    ("fit", "validation_steps", 0, 1),
    ("fit", "validation_batch_size", 0, 1),
    ("fit", "validation_freq", 0, 1),
    ("fit", "validation_freq", 1.5, 1),
    ("fit", "epochs", -1, 0),
    ("fit", "epochs", 2.0, 0),
    ("fit", "epochs", None, 0),
    ("fit", "initial_epoch", -1, 0),
    ("fit", "initial_epoch", 1.0, 0),
    ("evaluate", "batch_size", 0, 1),
    ("evaluate", "batch_size", 7.0, 1),
    ("evaluate", "steps", 0, 1),
    ("evaluate", "steps", 1.5, 1),
    ("predict", "batch_size", 0, 1),
    ("predict", "batch_size", 7.0, 1),
    ("predict", "steps", 0, 1),
    ("predict", "steps", -2, 1),
]


@pytest.mark.parametrize(("method", "name", "value", "least"), COUNTS)
def test_counts_are_checked(method, name, value, least):
    model = vae()
    kind = "a positive integer" if least == 1 else f"an integer, at least {least}"
    message = rf"^`{name}` must be {kind}\. Received: {name}={value!r}$"
    with pytest.raises(ValueError, match=message):
        getattr(model, method)(X, verbose=0, **{name: value})
    assert int(model.optimizer.iterations) == 0


@pytest.mark.slow
def test_counts_that_are_right():
    model = vae()
    history = model.fit(
        X,
        batch_size=np.int64(20),
        epochs=np.int32(4),
        initial_epoch=np.int64(1),
        steps_per_epoch=np.int64(3),
        validation_data=(X,),
        validation_batch_size=np.int64(30),
        validation_steps=np.int64(2),
        validation_freq=[2, 4],
        verbose=0,
    ).history
    assert int(model.optimizer.iterations) == 9
    assert len(history["loss"]) == 3
    assert len(history["val_loss"]) == 2
    assert model.predict(X, np.int64(7), 0, np.int64(2)).shape == (14, 16)
    model.evaluate(X, batch_size=np.int64(7), steps=np.int64(2), verbose=0)


def test_no_epoch_trains_nothing():
    model = vae()
    before = model.evaluate(X, **BATCH)
    assert model.fit(X, epochs=0, verbose=0).history == {}
    assert model.fit(X, epochs=2, initial_epoch=3, verbose=0).history == {}
    assert int(model.optimizer.iterations) == 0
    assert model.evaluate(X, **BATCH) == before


# === Numbers that are not finite ===


def with_value(value, row=50, array=X):
    array = array.copy()
    array[row, 3] = value
    return array


METHODS = {
    "predict": lambda m, x: m.predict(x, verbose=0),
    "reconstruct": lambda m, x: m.reconstruct(x),
    "encode": lambda m, x: m.encode(x),
    "sample_posterior": lambda m, x: m.sample_posterior(x, seed=0),
    "elbo": lambda m, x: m.elbo(x),
    "elbo of y": lambda m, x: m.elbo(X, x),
    "log_likelihood": lambda m, x: m.log_likelihood(x, num_samples=2, verbose=0),
    "log_likelihood of y": lambda m, x: m.log_likelihood(X, x, 2, verbose=0),
    "evaluate": lambda m, x: m.evaluate(x, verbose=0),
    "fit": lambda m, x: m.fit(x, verbose=0),
    "train_on_batch": lambda m, x: m.train_on_batch(x),
    "test_on_batch": lambda m, x: m.test_on_batch(x),
}


@pytest.mark.parametrize(
    ("convert", "value"), [(np.asarray, np.nan), (tf.constant, np.inf)]
)
@pytest.mark.parametrize("method", METHODS)
def test_what_is_not_finite_is_refused(method, convert, value):
    model = vae(likelihood="unit_normal")
    model.build((None, 16))
    name = "y" if method.endswith("y") else "x"
    with pytest.raises(ValueError, match=f"`{name}` must be finite. Received: 1 val"):
        METHODS[method](model, convert(with_value(value)))


def test_codes_that_are_not_finite_are_refused():
    model = vae()
    model.build((None, 16))
    with pytest.raises(ValueError, match="`z` must be finite. Received: 1 values"):
        model.decode([[0.0, np.nan, 0.0]])


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_what_cannot_be_refused_gives_nan(value):
    model = vae(likelihood="unit_normal")
    model.build((None, 16))
    bad = with_value(value)
    is_bad = np.arange(60) == 50

    def assert_nan_there(values, expected):
        for found, right in zip(values, expected, strict=True):
            found, right = np.asarray(found), np.asarray(right)
            assert np.isnan(found[is_bad]).all()
            np.testing.assert_allclose(found[~is_bad], right[~is_bad], 1e-5, 1e-5)

    batches = tf.data.Dataset.from_tensor_slices(bad).batch(20)
    expected = model.predict(X, **BATCH)
    assert_nan_there([model.predict(batches, verbose=0)], [expected])
    for method in (
        lambda x: [model.reconstruct(x)],
        model.encode,
        lambda x: [model.sample_posterior(x, 0)],
        lambda x: [model.elbo(x)],
    ):
        in_graph = tf.function(method, autograph=False)
        assert_nan_there(in_graph(tf.constant(bad)), method(X))
    z = np.random.default_rng(0).normal(size=(60, 3)).astype("float32")
    decode = tf.function(model.decode, autograph=False)
    bad_z = np.where(is_bad[:, None], np.float32(value), z)
    assert_nan_there([decode(tf.constant(bad_z))], [model.decode(z)])


def test_a_model_that_has_diverged_gives_nan():
    model = vae()
    model.build((None, 16))
    model.latent.head.bias.assign(np.nan * model.latent.head.bias)
    assert np.isnan(model.reconstruct(X)).all()
    assert np.isnan(model.predict(X, verbose=0)).all()

import gzip
import io
import pickle

import keras
import numpy as np
import pytest
import sklearn.datasets
import tensorflow as tf

from keras_vae import datasets
from keras_vae.datasets import published

FASHION = "fashion_mnist"


class Bomb:
    """Fails the test that unpickles it."""

    def __reduce__(self):
        return pytest.fail, ("a file was unpickled",)


@pytest.fixture
def no_data_dir(monkeypatch):
    monkeypatch.delenv("KERAS_VAE_DATA", raising=False)


def write_idx(path, array):
    header = bytes([0, 0, 8, array.ndim]) + np.array(array.shape, ">i4").tobytes()
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(gzip.compress(header + array.tobytes(), mtime=0))


@pytest.fixture
def idx_dir(tmp_path, monkeypatch):
    """A directory with a small Fashion-MNIST and its checksums."""
    images = np.arange(3 * 28 * 28, dtype="uint8").reshape(3, 28, 28)
    for part in ("train", "t10k"):
        for kind, array in (
            ("images-idx3", images),
            ("labels-idx1", np.array([3, 1, 2], "uint8")),
        ):
            file = f"{FASHION}/{part}-{kind}-ubyte.gz"
            write_idx(tmp_path / file, array)
            with open(tmp_path / file, "rb") as stream:
                monkeypatch.setitem(published._MD5, file, published._md5(stream))
    return tmp_path


# === Digits ===


def test_digits_are_all_of_scikit_learns():
    (x_train, y_train), (x_test, y_test) = datasets.digits(labels=True)
    scans, labels = sklearn.datasets.load_digits(return_X_y=True)
    x = np.concatenate([x_train, x_test])
    assert x.dtype == np.float32
    assert x.shape == (1797, 8, 8, 1)
    rows = [tuple(row) for row in np.round(16 * x).reshape(-1, 64)]
    y = np.concatenate([y_train, y_test])
    expected = zip(map(tuple, scans), labels, strict=True)
    assert sorted(zip(rows, y, strict=True)) == sorted(expected)
    share = np.bincount(y_test) / np.bincount(labels)
    np.testing.assert_allclose(share, 0.2, atol=0.01)


def test_digits_split_depends_on_the_seed_alone():
    first, again, other = (datasets.digits(seed=seed)[1] for seed in (0, 0, 1))
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)


@pytest.mark.parametrize("fraction", [0, 1, -0.1, 1.5, float("nan")])
def test_digits_refuse_a_fraction(fraction):
    with pytest.raises(ValueError, match=r"`test_fraction` must be in \(0, 1\)"):
        datasets.digits(test_fraction=fraction)


# === Known files ===


def test_mnist_is_the_published_one(data_dir):
    (x_train, y_train), (x_test, y_test) = datasets.mnist(data_dir, labels=True)
    assert x_train.shape == (60000, 28, 28, 1)
    assert x_test.shape == (10000, 28, 28, 1)
    # The mean and standard deviation that the literature normalises with.
    np.testing.assert_allclose(x_train.mean(), 0.1307, atol=5e-5)
    np.testing.assert_allclose(x_train.std(dtype="float64"), 0.3081, atol=5e-5)
    assert y_train[:5].tolist() == [5, 0, 4, 1, 9]
    assert y_test[:5].tolist() == [7, 2, 1, 0, 4]


def test_binarized_mnist_is_binary(data_dir):
    splits = datasets.binarized_mnist(data_dir)
    assert [x.shape for x in splits] == [(n, 28, 28, 1) for n in (50000, 10000, 10000)]
    for x in splits:
        assert x.dtype == np.float32
        assert np.unique(x).tolist() == [0, 1]
        np.testing.assert_allclose(x.mean(), 0.132, atol=2e-3)


def test_dsprites_factors_describe_the_images(data_dir):
    x, classes = datasets.dsprites(data_dir, factors=True, dtype="uint8")
    assert x.shape == (20000, 64, 64, 1)
    assert x.dtype == np.uint8
    assert x.max() == 1
    assert classes.shape == (20000, 5)
    assert classes.max(axis=0).tolist() == [2, 5, 39, 31, 31]
    area = x.sum(axis=(1, 2, 3))
    mean_area = [area[classes[:, 1] == scale].mean() for scale in range(6)]
    assert (np.diff(mean_area) > 0).all()


def test_dsprites_refuse_a_dtype():
    with pytest.raises(ValueError, match="`dtype` must be .* Received: dtype='bool'"):
        datasets.dsprites(dtype="bool")


def test_idx_files_are_read(idx_dir):
    (x_train, y_train), (x_test, _) = datasets.fashion_mnist(idx_dir, labels=True)
    assert x_train.shape == x_test.shape == (3, 28, 28, 1)
    assert x_train.dtype == np.float32
    np.testing.assert_allclose(x_train.ravel()[:300] * 255, np.arange(300) % 256)
    assert y_train.tolist() == [3, 1, 2]


def test_environment_names_the_directory(idx_dir, monkeypatch):
    monkeypatch.setenv("KERAS_VAE_DATA", str(idx_dir))
    assert datasets.fashion_mnist()[0].shape == (3, 28, 28, 1)


def test_changed_file_is_refused(idx_dir):
    write_idx(idx_dir / FASHION / "t10k-labels-idx1-ubyte.gz", np.zeros(3, "uint8"))
    with pytest.raises(ValueError, match="`data_dir` must hold .* MD5 .* Received"):
        datasets.fashion_mnist(idx_dir)


@pytest.mark.parametrize(
    "read",
    [
        datasets.mnist,
        datasets.fashion_mnist,
        datasets.binarized_mnist,
        datasets.dsprites,
    ],
)
def test_missing_file_says_where_it_belongs(read, tmp_path):
    with pytest.raises(FileNotFoundError, match="`data_dir` must hold .*/.* Received"):
        read(data_dir=tmp_path)


@pytest.mark.parametrize("read", [datasets.binarized_mnist, datasets.dsprites])
def test_no_directory_is_an_error_where_nothing_can_be_downloaded(read, no_data_dir):
    with pytest.raises(FileNotFoundError, match="KERAS_VAE_DATA is not set"):
        read()


def test_download_is_keras_own(no_data_dir, monkeypatch):
    split = np.full((2, 28, 28), 255, "uint8"), np.array([1, 2], "uint8")
    monkeypatch.setattr(keras.datasets.mnist, "load_data", lambda: (split, split))
    x_train, _ = datasets.mnist()
    np.testing.assert_array_equal(x_train, np.ones((2, 28, 28, 1)))


def test_failed_download_says_what_to_place_where(no_data_dir, monkeypatch):
    def load_data():
        raise Exception("URL fetch failure")

    monkeypatch.setattr(keras.datasets.fashion_mnist, "load_data", load_data)
    with pytest.raises(FileNotFoundError, match="URL fetch failure.*<data_dir>/fash"):
        datasets.fashion_mnist()


# === Files of the user ===


def test_arrays_are_returned_as_they_are(tmp_path):
    x = np.arange(-6, 6).reshape(3, 4)
    np.save(tmp_path / "x.npy", x)
    np.savez(tmp_path / "one.npz", x=x)
    np.savez(tmp_path / "two.npz", x=x, y=x + 1)
    for read in (
        datasets.arrays(tmp_path / "x.npy"),
        datasets.arrays(str(tmp_path / "one.npz")),
        datasets.arrays(tmp_path / "two.npz", key="x"),
    ):
        assert read.dtype == np.float32
        np.testing.assert_array_equal(read, x)


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.ones((2, 3), complex), "real numbers. Received: an array of complex128"),
        (np.array([["a"]]), "real numbers. Received: an array of <U1"),
        (np.zeros((0, 3)), r"Received: shape \(0, 3\)"),
        (np.zeros((3, 0)), r"Received: shape \(3, 0\)"),
        (np.zeros(3), r"Received: shape \(3,\)"),
        (np.float64(1), r"Received: shape \(\)"),
        (np.array([[1, np.nan]]), "Received: 1 other values"),
        (np.array([[np.inf, 0]]), "Received: 1 other values"),
    ],
)
def test_arrays_refuse_what_cannot_be_fitted(array, message, tmp_path):
    np.save(tmp_path / "x.npy", array)
    with pytest.raises(ValueError, match=f"`path` must hold .*{message}"):
        datasets.arrays(tmp_path / "x.npy")


def object_array_file():
    stream = io.BytesIO()
    np.save(stream, np.array([Bomb(), Bomb()]), allow_pickle=True)
    return stream.getvalue()


def object_archive():
    stream = io.BytesIO()
    np.savez(stream, x=np.array([Bomb(), Bomb()]), allow_pickle=True)
    return stream.getvalue()


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("x.npy", object_array_file()),
        ("x.npy", pickle.dumps(Bomb())),
        ("x.npy", b""),
        ("x.npy", b"some text"),
        ("x.npz", b"PK\x03\x04 cut short"),
    ],
)
def test_arrays_refuse_pickles_and_other_files(name, content, tmp_path):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ValueError, match="`path` must be a NumPy file .* Received"):
        datasets.arrays(tmp_path / name)


def test_arrays_refuse_pickles_in_archives(tmp_path):
    (tmp_path / "x.npz").write_bytes(object_archive())
    with pytest.raises(ValueError, match="`path` must be a NumPy file .* Received"):
        datasets.arrays(tmp_path / "x.npz", key="x")


def test_load_refuses_a_broken_archive(tmp_path):
    (tmp_path / "x.npz").write_bytes(b"PK\x03\x04 cut short")
    with pytest.raises(ValueError, match="`path` must be a NumPy file .* Received"):
        datasets.load(tmp_path / "x.npz")


def test_arrays_name_the_keys(tmp_path):
    np.savez(tmp_path / "x.npz", a=np.ones((2, 2)), b=np.ones((2, 2)))
    for key in (None, "c"):
        with pytest.raises(ValueError, match=r"`key` must name .*\['a', 'b'\].*Receiv"):
            datasets.arrays(tmp_path / "x.npz", key=key)


def test_arrays_refuse_other_paths(tmp_path):
    with pytest.raises(ValueError, match=r"`path` must end in \.npy or \.npz"):
        datasets.arrays(tmp_path / "x.csv")
    with pytest.raises(FileNotFoundError, match="`path` must be an existing file"):
        datasets.arrays(tmp_path / "x.npy")


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
@pytest.mark.parametrize("header", ["", "length,width\n"])
def test_table_reads_every_cell(delimiter, header, tmp_path):
    rows = "1,-2.5\n3e2,4\n\n"
    (tmp_path / "t.csv").write_text((header + rows).replace(",", delimiter))
    x = datasets.table(tmp_path / "t.csv")
    assert x.dtype == np.float32
    assert x.tolist() == [[1.0, -2.5], [300.0, 4.0]]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a,b\n1,2\n3,\n", "'' in row 3, column 'b'.*Fill in missing"),
        ("1,2\n3,red\n", "'red' in row 2, column 2"),
        ("a,b\n1,nan\n", "'nan' in row 2"),
        ("a,b\n1,1e99\n", "'1e99' in row 2"),
        ("1,2\n3\n", "equal length. Received: 1 cells in row 2"),
        ("a,b\n", "at least one row"),
        ("", "at least one row"),
    ],
)
def test_table_refuses_what_is_no_table_of_numbers(text, message, tmp_path):
    (tmp_path / "t.csv").write_text(text)
    with pytest.raises(ValueError, match=f"`path` must .*{message}"):
        datasets.table(tmp_path / "t.csv")


def test_table_refuses_other_paths(tmp_path):
    with pytest.raises(FileNotFoundError, match="`path` must be an existing file"):
        datasets.table(tmp_path / "absent.csv")


def test_load_holds_out_a_part_of_a_table(tmp_path):
    np.savetxt(tmp_path / "t.csv", np.arange(40.0).reshape(20, 2), delimiter=",")
    train, validation, test = datasets.load(str(tmp_path / "t.csv"))
    assert (train.shape, validation, test.shape) == ((18, 2), None, (2, 2))


def test_image_folder_reads_every_image(tmp_path):
    (tmp_path / "inner").mkdir()
    for name, value in (("a.png", 51), ("b.jpg", 102), ("inner/c.png", 255)):
        image = np.full((16, 24, 3), value)
        keras.utils.save_img(tmp_path / name, image, scale=False)
    x = datasets.image_folder(tmp_path, image_size=(8, 12))
    assert x.shape == (3, 8, 12, 3)
    assert x.dtype == np.float32
    np.testing.assert_allclose(x.mean(axis=(1, 2, 3)), [0.2, 0.4, 1.0], atol=1e-2)
    grey = datasets.image_folder(tmp_path, image_size=(8, 8), grayscale=True)
    assert grey.shape == (3, 8, 8, 1)
    batches = datasets.image_folder(tmp_path, image_size=(8, 12), batch_size=2)
    streamed = np.concatenate(list(batches.as_numpy_iterator()))
    np.testing.assert_array_equal(streamed, x)


def test_image_folder_keeps_the_aspect_ratio(tmp_path):
    image = np.zeros((8, 16, 3))
    image[:, 4:12] = 255
    keras.utils.save_img(tmp_path / "a.png", image, scale=False)
    x = datasets.image_folder(tmp_path, image_size=(8, 8))
    np.testing.assert_array_equal(x, np.ones((1, 8, 8, 3)))


def test_image_folder_refuses_what_holds_no_images(tmp_path):
    with pytest.raises(ValueError, match="`path` must be an existing folder"):
        datasets.image_folder(tmp_path / "nowhere")
    with pytest.raises(ValueError, match="No images found"):
        datasets.image_folder(tmp_path)
    (tmp_path / "a.png").write_bytes(b"no picture")
    with pytest.raises(ValueError, match="`path` must hold readable images"):
        datasets.image_folder(tmp_path)


# === Binarisation ===


def test_binarize_draws_with_the_given_probabilities():
    x = np.tile(np.linspace(0, 1, 11, dtype="float32"), (20000, 1))
    drawn = datasets.binarize(x)
    assert drawn.dtype == np.float32
    assert np.unique(drawn).tolist() == [0, 1]
    np.testing.assert_allclose(drawn.mean(axis=0), x[0], atol=5 * 0.5 / 20000**0.5)
    # Certain values stay certain.
    assert drawn[:, 0].max() == 0
    assert drawn[:, -1].min() == 1


def test_binarize_depends_on_the_seed_alone():
    x = np.full((10, 10), 0.5)
    np.testing.assert_array_equal(datasets.binarize(x, 1), datasets.binarize(x, 1))
    assert not np.array_equal(datasets.binarize(x, 1), datasets.binarize(x, 2))


@pytest.mark.parametrize(
    "binarise", [datasets.binarize, lambda x: datasets.dynamic_binarization(x, 2)]
)
@pytest.mark.parametrize("value", [-0.1, 1.1, 255, np.nan])
def test_binarisation_refuses_values_outside_of_0_to_1(binarise, value):
    with pytest.raises(ValueError, match=r"`x` must be in \[0, 1\].* Received: values"):
        binarise(np.array([[0.5, value]]))


def epochs(dataset, num):
    return [list(dataset.as_numpy_iterator()) for _ in range(num)]


def test_dynamic_binarization_draws_anew_in_each_epoch():
    x = np.full((50, 40), 0.5)
    dataset = datasets.dynamic_binarization(x, 10, shuffle=False)
    batches = [batch for epoch in epochs(dataset, 4) for batch in epoch]
    agreement = [
        np.mean(a == b) for i, a in enumerate(batches) for b in batches[i + 1 :]
    ]
    # Independent fair bits agree half of the time: 0.5 with deviation 0.025.
    np.testing.assert_allclose(agreement, 0.5, atol=6 * 0.025)
    np.testing.assert_allclose(np.mean(agreement), 0.5, atol=0.01)


def test_dynamic_binarization_draws_with_the_given_probabilities():
    x = np.tile(np.linspace(0, 1, 11, dtype="float32"), (1001, 1))
    dataset = datasets.dynamic_binarization(x, 100)
    drawn = np.concatenate([b for epoch in epochs(dataset, 20) for b in epoch])
    assert drawn.shape == (20020, 11)
    np.testing.assert_allclose(drawn.mean(axis=0), x[0], atol=5 * 0.5 / 20020**0.5)


@pytest.mark.parametrize("shuffle", [False, True])
@pytest.mark.parametrize(
    ("drop_remainder", "sizes"), [(False, [4, 4, 2]), (True, [4, 4])]
)
def test_every_example_comes_once_an_epoch(shuffle, drop_remainder, sizes):
    # Binary values survive binarisation, here the bits of the number of the example.
    numbers = np.arange(10)
    x = numbers[:, None] >> np.arange(4) & 1
    dataset = datasets.dynamic_binarization(
        x, 4, shuffle=shuffle, drop_remainder=drop_remainder
    )
    assert int(dataset.cardinality()) == len(sizes)
    orders = []
    for epoch in epochs(dataset, 3):
        assert [len(batch) for batch in epoch] == sizes
        order = np.concatenate(epoch) @ 2 ** np.arange(4)
        assert set(order) <= set(numbers)
        assert len(set(order)) == sum(sizes)
        orders.append(order.tolist())
    assert (orders[0] != orders[1]) == shuffle
    assert (orders[1] != orders[2]) == shuffle


def test_dynamic_binarization_is_a_function_of_seed_and_epoch():
    x = np.full((20, 30), 0.5)
    first = epochs(datasets.dynamic_binarization(x, 8, seed=5), 3)
    again = epochs(datasets.dynamic_binarization(x, 8, seed=5), 3)
    resumed = epochs(datasets.dynamic_binarization(x, 8, seed=5, initial_epoch=2), 1)
    other = epochs(datasets.dynamic_binarization(x, 8, seed=6), 1)
    for a, b in zip(first, again, strict=True):
        np.testing.assert_array_equal(np.concatenate(a), np.concatenate(b))
    np.testing.assert_array_equal(np.concatenate(first[2]), np.concatenate(resumed[0]))
    assert not np.array_equal(np.concatenate(first[0]), np.concatenate(other[0]))


def test_fit_makes_one_pass_an_epoch():
    x = np.full((12, 3), 0.5)
    seen = []

    class Recorder(keras.Model):
        def train_step(self, data):
            tf.py_function(lambda d: seen.append(d.numpy()), [data], [])
            return {"loss": 0.0}

    model = Recorder()
    model.compile(jit_compile=False)
    dataset = datasets.dynamic_binarization(x, 4, seed=9)
    model.fit(dataset, epochs=3, shuffle=False, verbose=0)
    expected = epochs(datasets.dynamic_binarization(x, 4, seed=9), 3)
    np.testing.assert_array_equal(seen, np.concatenate(expected))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            {"batch_size": 0},
            "`batch_size` must be a positive integer. Received: batch_size=0",
        ),
        ({"batch_size": 2.0}, "`batch_size` must be a positive integer"),
        ({"batch_size": True}, "`batch_size` must be a positive integer"),
        (
            {"batch_size": 2, "initial_epoch": -1},
            "`initial_epoch` must be an integer, at least 0",
        ),
        ({"batch_size": 2, "seed": -1}, "`seed` must be"),
        (
            {"batch_size": 9, "drop_remainder": True},
            "`x` must hold at least one",
        ),
    ],
)
def test_dynamic_binarization_refuses(arguments, message):
    with pytest.raises(ValueError, match=message):
        datasets.dynamic_binarization(np.ones((4, 2)), **arguments)


def test_dynamic_binarization_refuses_no_examples():
    with pytest.raises(ValueError, match=r"`x` must hold .* Received: x.shape=\(0,"):
        datasets.dynamic_binarization(np.ones((0, 2)), 2)


# === Loading by name ===


def test_load_splits_digits():
    loaded = datasets.load("digits", test_fraction=0.1)
    assert loaded.validation is None
    assert loaded.event_shape == (8, 8, 1)
    np.testing.assert_array_equal(loaded.test, datasets.digits(test_fraction=0.1)[1])


def test_load_keeps_the_splits_of_a_known_data_set(data_dir):
    loaded = datasets.load("binarized_mnist", data_dir)
    assert [len(split) for split in loaded] == [50000, 10000, 10000]


def test_load_holds_out_a_part_of_an_array(tmp_path):
    x = np.arange(40).reshape(20, 2)
    np.save(tmp_path / "x.npy", x)
    loaded = datasets.load(str(tmp_path / "x.npy"), test_fraction=0.25)
    assert loaded.validation is None
    assert len(loaded.test) == 5
    both = np.concatenate([loaded.train, loaded.test])
    np.testing.assert_array_equal(np.sort(both, axis=0), x)


def test_load_keeps_the_split_of_an_archive(tmp_path):
    splits = {name: np.full((3, 2), i) for i, name in enumerate(("train", "test"))}
    np.savez(tmp_path / "two.npz", **splits)
    np.savez(tmp_path / "three.npz", **splits, valid=np.full((3, 2), 2))
    two = datasets.load(tmp_path / "two.npz")
    three = datasets.load(tmp_path / "three.npz")
    assert two.validation is None
    np.testing.assert_array_equal(two.test, splits["test"])
    np.testing.assert_array_equal(three.validation, np.full((3, 2), 2))


def test_load_reads_a_folder_of_images(tmp_path):
    for i in range(4):
        keras.utils.save_img(tmp_path / f"{i}.png", np.zeros((8, 8, 3)), scale=False)
    loaded = datasets.load(tmp_path, test_fraction=0.5, image_size=(4, 4))
    assert loaded.train.shape == loaded.test.shape == (2, 4, 4, 3)


def test_load_names_the_data_sets():
    with pytest.raises(ValueError, match="`name` must be .*'digits'.*name='digit'"):
        datasets.load("digit")

import gzip
import io
import os
import pickle
import zipfile

import keras
import numpy as np
import PIL.Image
import pytest
import sklearn.datasets
import tensorflow as tf

from keras_vae import datasets
from keras_vae.datasets import numpy_files
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
        (np.array([[1e300, 0]]), "Received: 1 other values"),
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


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"x": np.array([[1], [1, 2]], object)}, "it holds Python objects"),
        ({"x": np.ones(2)}, r"Received: shape \(2,\) in .*array 'x'"),
    ],
)
def test_arrays_beside_labels_say_what_is_wrong_with_them(arrays, message, tmp_path):
    np.savez(tmp_path / "x.npz", **arrays, y=np.arange(2))
    with pytest.raises(ValueError, match=f"`path` must .*{message}"):
        datasets.load(tmp_path / "x.npz")


def test_an_empty_archive_is_none_of_arrays(tmp_path):
    np.savez(tmp_path / "x.npz")
    with pytest.raises(ValueError, match="`path` must be a NumPy file.*no array"):
        datasets.load(tmp_path / "x.npz")


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
        ("a,b\n1,2\n3,\n", "'b' lacks 1 of 2 cells, the first in row 3.*Fill in"),
        ("1,2\n3,red\n", "'column_2' holds text, 'red' in row 2"),
        ("a,b\n1,nan\n", "'b' is empty"),
        ("a,b\n1,1e99\n", "'b' has 1e\\+99 in row 2, out of float32's range"),
        ("1e309,2\n1,2\n", "1 of 2 columns .*'column_1' (has|holds) .* in row 1"),
        ("1,2\n3\n", "equal length. Received: 1 cells in row 2"),
        ("1,2\n3,4,5\n", "equal length. Received: 3 cells in row 2"),
        ("a,b\n1,2,3\n", "equal length. Received: 3 cells in row 2"),
        (",a\n1.5,1\n1.5,2\n", "'column_1' has no name, and may be the index"),
        ("a,b\n1,2\n\0,3\n", "a text file.*zero bytes"),
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
    # To open a pipe would wait for another program.
    os.mkfifo(tmp_path / "pipe.csv")
    with pytest.raises(FileNotFoundError, match="`path` must be an existing file"):
        datasets.table(tmp_path / "pipe.csv")


ROWS = [[1.5, 2.0, 0.25], [3.0, 4.5, 0.5], [5.0, 6.0, 0.75]]
CELLS = "1.5,2,.25\n3,4.5,.5\n5,6,.75\n"


@pytest.mark.parametrize(
    ("text", "names", "said"),
    [
        ("0,1,2\n" + CELLS, "0,1,2", "names in the first row"),
        # A first row that counts like this one is data where others are whole too.
        (CELLS, "column_1,column_2,column_3", "no names in the first row"),
        (
            ",a,b,c\n0,1.5,2,.25\n3,3,4.5,.5\n7,5,6,.75\n",
            "a,b,c",
            "Column 1, which has no name, is left out as the index",
        ),
        (
            ",2019,2020,2021\n0,1.5,2,.25\n1,3,4.5,.5\n2,5,6,.75\n",
            "2019,2020,2021",
            "left out as the index",
        ),
        (
            "Unnamed: 0,a,b,c\nx,1.5,2,.25\ny,3,4.5,.5\nz,5,6,.75\n",
            "a,b,c",
            "left out as the index",
        ),
        (
            "a,b,c,\n1.5,2,.25,\n3,4.5,.5,\n5,6,.75,\n",
            "a,b,c",
            "Column 4, which has no name, is empty and left out",
        ),
        ("a|a|a\n" + CELLS.replace(",", "|"), "a,a.1,a.2", "separated by bars"),
        (
            "a;b;c\n" + CELLS.replace(",", ";").replace(".", ","),
            "a,b,c",
            "separated by semicolons, names in the first row, decimal commas",
        ),
        ("1.5 2 .25\n3  4.5 .5\n 5 6 .75\n", "column_1,column_2,column_3", "by spaces"),
        ("# a b c\n1.5 2 .25\n3 4.5 .5\n5 6 .75\n", "a,b,c", "names in the first row"),
        ("# b c\n1.5 2 .25\n3 4.5 .5\n5 6 .75\n", "#,b,c", "names in the first row"),
        # Last rows of spreadsheets.
        ("a,b,c\n" + CELLS + ",,\n, ,\n\n,,\n", "a,b,c", "3 rows, 3 columns"),
    ],
)
def test_tables_say_what_they_were_taken_for(text, names, said, tmp_path):
    (tmp_path / "t.csv").write_text(text)
    loaded = datasets.load(tmp_path / "t.csv", test_fraction=0.5)
    np.testing.assert_array_equal(np.sort([*loaded.train, *loaded.test], 0), ROWS)
    assert ",".join(loaded.columns) == names
    assert said in loaded.description


@pytest.mark.parametrize(
    "encoding", ["latin-1", "cp1252", "utf-8", "utf-8-sig", "utf-16"]
)
def test_tables_of_other_encodings_say_which(encoding, tmp_path):
    (tmp_path / "t.csv").write_bytes(f"größe,b,c\n{CELLS}".encode(encoding))
    loaded = datasets.load(tmp_path / "t.csv", test_fraction=0.5)
    assert loaded.columns == ("größe", "b", "c")
    named = {"cp1252": "latin-1", "utf-8-sig": "utf-8"}.get(encoding, encoding)
    assert (f"encoded as {named}" in loaded.description) == (named != "utf-8")


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("0,1\n.5,.3\n", "counts from 0"),
        ("0,1,2\n5,2,3\n", "counts from 0"),
        ("400,410,420\n.5,.3,.2\n", "whole numbers in equal steps"),
        ("abc,2\n1,2\n", "text and numbers"),
        ("country,2019,2020\nde,1.5,2\n", "text and numbers"),
    ],
)
def test_tables_ask_if_the_first_row_has_names(text, why, tmp_path):
    (tmp_path / "t.csv").write_text(text)
    with pytest.raises(ValueError, match=f"`header` must say.*{why}.*--header=true"):
        datasets.table(tmp_path / "t.csv")
    drop = ["country"] if "country" in text else []
    named = datasets.table(tmp_path / "t.csv", header=True, drop_columns=drop)
    numbers = [float(cell) for cell in text.split()[1].split(",")[len(drop) :]]
    assert named.tolist() == np.float32([numbers]).tolist()
    if "text" not in why:
        assert len(datasets.table(tmp_path / "t.csv", header=False)) == 2


MESSY = "name,date,x,constant,flag,id,count\n" + "".join(
    f"{'red' if i % 2 else 'blue'},2020-01-0{i + 1},{'?' if i == 3 else i / 2},"
    f"3,{i % 2 == 0},{i + 1},{10**8 * (i % 3)}\n"
    for i in range(6)
)


def test_tables_tell_of_all_bad_columns_and_of_each_good_one(tmp_path):
    (tmp_path / "t.csv").write_text(MESSY)
    with pytest.raises(ValueError, match="`path` must hold finite numbers") as error:
        datasets.table(tmp_path / "t.csv")
    for said in (
        "3 of 7 columns",
        "'name' holds text, 'blue' in row 2",
        "'date' holds dates, '2020-01-01' in row 2",
        "'x' lacks 1 of 6 cells, the first in row 5",
        "--drop_columns=name,date,x",
    ):
        assert said in str(error.value)
    assert "\n" not in str(error.value)
    loaded = datasets.load(tmp_path / "t.csv", drop_columns=["name", "date", "x"])
    assert loaded.columns == ("constant", "flag", "id", "count")
    lines = dict(line.split(None, 1) for line in loaded.description.splitlines())
    assert lines["constant"] == "always 3, which drop_columns would leave out"
    assert lines["flag"] == "True and False, read as 1 and 0"
    assert lines["id"].startswith("counts the rows from 1")
    assert lines["count"] == "whole numbers, 0 to 200000000, which float32 rounds"
    with pytest.raises(ValueError, match="`drop_columns` must be names.*'dat'.*'date'"):
        datasets.table(tmp_path / "t.csv", drop_columns=["dat"])


def test_tables_ask_what_commas_in_numbers_mean(tmp_path):
    (tmp_path / "t.csv").write_text("a;b\n1,500;2,250\n")
    with pytest.raises(ValueError, match="`decimal` must say how '1,500'.*be 1500"):
        datasets.table(tmp_path / "t.csv")
    x = datasets.table(tmp_path / "t.csv", decimal=",")
    assert x.tolist() == [[1.5, 2.25]]
    with pytest.raises(ValueError, match="'a' holds text, '1,500' in row 2"):
        datasets.table(tmp_path / "t.csv", decimal=".")
    with pytest.raises(ValueError, match="`decimal` must be .* decimal='comma'"):
        datasets.table(tmp_path / "t.csv", decimal="comma")


@pytest.mark.parametrize(
    ("text", "drop", "expected"),
    [
        ("a\n1,5\n2,25\n", [], [[1.5], [2.25]]),
        ("1,5\n2,25\n", [], [[1.5], [2.25]]),
        ("red;old;1,5\nblue;new;2,25\n", ["column_1", "column_2"], [[1.5], [2.25]]),
        ("a b\n1,5 2\n3 4\n", [], [[1.5, 2], [3, 4]]),
        # In quotes commas are no separators, and without decimals they may be.
        ('a,b\n"1,5","2,5"\n"3,5",4\n', [], [[1.5, 2.5], [3.5, 4]]),
        ("a,b\n1,2\n3,4\n", [], [[1, 2], [3, 4]]),
        ("1,2,3\n5,4,6\n", [], [[1, 2, 3], [5, 4, 6]]),
    ],
)
def test_decimal_commas_that_are_asked_for_separate_no_cells(
    text, drop, expected, tmp_path
):
    (tmp_path / "t.csv").write_text(text)
    x = datasets.table(tmp_path / "t.csv", decimal=",", drop_columns=drop)
    assert x.tolist() == expected


def test_separators_part_the_names_too(tmp_path):
    rows = "red;old;1,5\n" * 9
    (tmp_path / "t.csv").write_text(f"color;age;x\n{rows}")
    x = datasets.table(tmp_path / "t.csv", drop_columns=["color", "age"])
    assert x.tolist() == [[1.5]] * 9


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1.234,5;2\n6;-1.234.567,25\n", [[1234.5, 2], [6, -1234567.25]]),
        ("1.234;2,5\n1.234,5;3\n", [[1234, 2.5], [1234.5, 3]]),
        ("name;b\n1.234,5;2\n", [[1234.5, 2]]),
    ],
)
def test_points_beside_decimal_commas_part_thousands(text, expected, tmp_path):
    (tmp_path / "t.csv").write_text(text)
    for decimal in (None, ","):
        x, _, description = datasets.tables.read(tmp_path / "t.csv", decimal=decimal)
        np.testing.assert_array_equal(x, np.float32(expected))
        assert "points part thousands, as in 1.234" in description


def test_points_beside_decimal_commas_are_asked_about_or_refused(tmp_path):
    (tmp_path / "t.csv").write_text("a;b\n1.234;2,5\n5.678;3,5\n")
    message = "`decimal` must say how '1.234'.* ',' as 1234 or '.' as 1.234.*'2,5'"
    with pytest.raises(ValueError, match=message):
        datasets.table(tmp_path / "t.csv")
    x = datasets.table(tmp_path / "t.csv", decimal=",")
    assert x.tolist() == [[1234, 2.5], [5678, 3.5]]
    x = datasets.table(tmp_path / "t.csv", decimal=".", drop_columns=["b"])
    assert x.tolist() == np.float32([[1.234], [5.678]]).tolist()
    (tmp_path / "t.csv").write_text("a;b\n1.5;2,5\n1.234;3\n")
    message = r"'b' holds text, '2,5' in row 2 \(a number if `decimal` is ','\)"
    with pytest.raises(ValueError, match=message):
        datasets.table(tmp_path / "t.csv")
    message = r"1 of 2 columns.*'a' holds .*'1\.5' in row 2 \(a number .* is '\.'\)"
    with pytest.raises(ValueError, match=message):
        datasets.table(tmp_path / "t.csv", decimal=",")


def test_names_with_commas_are_quoted_where_a_flag_takes_them(tmp_path):
    (tmp_path / "t.csv").write_text('"a,b",c\nx,1\ny,2\n')
    with pytest.raises(ValueError, match="--drop_columns='\"a,b\"'"):
        datasets.table(tmp_path / "t.csv")
    assert datasets.table(tmp_path / "t.csv", drop_columns=["a,b"]).tolist() == [
        [1],
        [2],
    ]


@pytest.mark.parametrize("start", ["", "\n", " \n\n"])
@pytest.mark.parametrize("break_", ["\n", "\r\n"])
@pytest.mark.parametrize("separator", [",", ";", "\t", " "])
def test_names_of_several_lines_leave_the_first_row(separator, break_, start, tmp_path):
    text = f'{start}"length,\n\nin cm",b\n1.5,2\n3.5,4\n'.replace(
        '",b', f'"{separator}b'
    )
    text = text.replace("5,", f"5{separator}").replace("\n", break_)
    (tmp_path / "t.csv").write_bytes(text.encode())
    x, names, _ = datasets.tables.read(tmp_path / "t.csv")
    assert x.tolist() == [[1.5, 2], [3.5, 4]]
    assert names == ("length, in cm", "b")


def test_truth_beside_gaps_is_one_and_zero(tmp_path):
    (tmp_path / "t.csv").write_text("a,b\nTrue,2\n,5\nFALSE,1\n")
    with pytest.raises(ValueError, match="1 of 2 columns.*'a' lacks 1 of 3 cells"):
        datasets.table(tmp_path / "t.csv")
    x, _, text = datasets.tables.read(tmp_path / "t.csv", missing="nan")
    np.testing.assert_array_equal(x, [[1, 2], [np.nan, 5], [0, 1]])
    assert "True and False, read as 1 and 0; lacks 1 of 3 cells" in text


def test_empty_rows_among_others_are_gaps(tmp_path):
    (tmp_path / "t.csv").write_text("a,b\n1,2\n,\n3,5\n,\n")
    x = datasets.table(tmp_path / "t.csv", missing="nan")
    np.testing.assert_array_equal(x, [[1, 2], [np.nan, np.nan], [3, 5]])
    for rows in ("NA,NA\n", "3,\n"):
        (tmp_path / "t.csv").write_text(f"a,b\n1,2\n{rows}")
        assert len(datasets.table(tmp_path / "t.csv", missing="nan")) == 2
    (tmp_path / "t.csv").write_text("a,b\n,\n,\n")
    with pytest.raises(ValueError, match="'a' is empty; 'b' is empty"):
        datasets.table(tmp_path / "t.csv")


def test_numbers_of_rows_that_are_dates_are_told_in_full(tmp_path):
    (tmp_path / "t.csv").write_text("a,b\n20200101,2\n20200102,7\n20200103,1\n")
    text = datasets.load(tmp_path / "t.csv").description
    assert "counts the rows from 20200101, which float32 rounds; drop_columns" in text


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
    (tmp_path / "a.txt").write_text("")
    with pytest.raises(ValueError, match="must hold images .*which holds .txt files"):
        datasets.image_folder(tmp_path)


def save_image(path, height=6, width=5, seed=0):
    """Saves an image of noise; returns its bytes as an array."""
    path.parent.mkdir(parents=True, exist_ok=True)
    x = np.random.default_rng(seed).integers(0, 256, (height, width, 3), "uint8")
    lossless = {"lossless": True} if path.suffix == ".webp" else {}
    PIL.Image.fromarray(x).save(path, **lossless)
    return x


SUFFIXES = (".bmp", ".png", ".tif", ".tiff", ".webp")


def test_images_of_every_format_have_their_own_size(tmp_path):
    saved = [save_image(tmp_path / f"a{s}", seed=i) for i, s in enumerate(SUFFIXES)]
    np.testing.assert_allclose(
        datasets.image_folder(tmp_path), np.array(saved) / 255, rtol=1e-6
    )


def test_images_are_resized_as_keras_does(tmp_path):
    for i, (height, width) in enumerate(((6, 5), (20, 30))):
        save_image(tmp_path / f"{i}.png", height, width, seed=i)
    stock = keras.utils.image_dataset_from_directory(
        str(tmp_path),
        labels=None,
        image_size=(4, 7),
        shuffle=False,
        crop_to_aspect_ratio=True,
        verbose=False,
    )
    np.testing.assert_array_equal(
        datasets.image_folder(tmp_path, image_size=(4, 7)),
        np.concatenate(list(stock.as_numpy_iterator())) / 255,
    )
    with pytest.raises(ValueError, match="`image_size` .*2 sizes .*6 x 5 .*20 x 30 "):
        datasets.image_folder(tmp_path)
    for size in ((0, 7), 7, (7,), (7, 7, 3)):
        with pytest.raises(ValueError, match="`image_size` must be two positive"):
            datasets.image_folder(tmp_path, image_size=size)
    with pytest.raises(ValueError, match="`grayscale` must be True.*grayscale='no'"):
        datasets.image_folder(tmp_path, image_size=(4, 7), grayscale="no")


GREYS = np.random.default_rng(0).integers(0, 256, (6, 5), "uint8")


@pytest.mark.parametrize("suffix", [".bmp", ".gif", ".png", ".tif"])
def test_grey_images_have_one_channel(suffix, tmp_path):
    PIL.Image.fromarray(GREYS).save(tmp_path / f"a{suffix}")
    x = datasets.image_folder(tmp_path)
    np.testing.assert_allclose(x, GREYS[None, ..., None] / 255, rtol=1e-6)
    np.testing.assert_array_equal(datasets.image_folder(tmp_path, grayscale=True), x)
    in_color = datasets.image_folder(tmp_path, grayscale=False)
    np.testing.assert_array_equal(in_color, np.repeat(x, 3, axis=-1))
    PIL.Image.fromarray(GREYS[::-1]).save(tmp_path / "b.png")
    loaded = datasets.load(tmp_path, test_fraction=0.5)
    assert loaded.event_shape == (6, 5, 1)
    assert "grey images of 6 x 5" in loaded.description
    # One in color among them, and all are.
    save_image(tmp_path / "c.png")
    loaded = datasets.load(tmp_path)
    assert loaded.event_shape == (6, 5, 3)
    assert ": images of 6 x 5" in loaded.description
    assert datasets.load(tmp_path, grayscale=True).event_shape == (6, 5, 1)


@pytest.mark.parametrize("suffix", [*SUFFIXES, ".gif", ".jpg"])
def test_images_in_color_are_made_grey(suffix, tmp_path):
    colored = np.full((6, 5, 3), (255, 0, 0), "uint8")
    PIL.Image.fromarray(colored).save(tmp_path / f"a{suffix}")
    assert datasets.image_folder(tmp_path).shape == (1, 6, 5, 3)
    x = datasets.image_folder(tmp_path, grayscale=True)
    assert x.shape == (1, 6, 5, 1)
    assert 0.2 < x.min() == x.max() < 0.4


def test_palettes_are_colors(tmp_path):
    colors = np.array([[9, 9, 9], [250, 10, 60]], "uint8")
    image = PIL.Image.fromarray(GREYS % 2, "P")
    image.putpalette(colors.tobytes())
    for suffix in (".bmp", ".gif", ".png"):
        image.save(tmp_path / f"a{suffix}")
    x = datasets.image_folder(tmp_path)
    np.testing.assert_allclose(x, [colors[GREYS % 2] / 255] * 3, rtol=1e-6)


@pytest.mark.parametrize("suffix", [".png", ".webp", ".tiff"])
def test_images_that_are_damaged_are_named(suffix, tmp_path):
    for name in "abc":
        save_image(tmp_path / f"{name}{suffix}", 40, 40)
    content = (tmp_path / f"b{suffix}").read_bytes()
    # The header is whole, the pixels are not.
    (tmp_path / f"b{suffix}").write_bytes(content[: len(content) // 2])
    message = f"`path` must hold readable images only.*b{suffix}'"
    with pytest.raises(ValueError, match=message) as error:
        datasets.image_folder(tmp_path)
    assert f"c{suffix}" not in str(error.value)
    (tmp_path / f"b{suffix}").write_bytes(b"no picture")
    with pytest.raises(ValueError, match=message):
        datasets.image_folder(tmp_path)


def test_images_of_more_than_bytes_are_refused(tmp_path):
    deep = np.full((4, 4), 40000, "uint16")
    PIL.Image.fromarray(deep).save(tmp_path / "deep.tiff")
    with pytest.raises(ValueError, match="deep.tiff' .*mode I;16.*save 8 bits"):
        datasets.image_folder(tmp_path)
    # TensorFlow takes the upper half of those of PNG.
    PIL.Image.fromarray(deep).save(tmp_path / "deep.png")
    (tmp_path / "deep.tiff").unlink()
    x = datasets.image_folder(tmp_path)
    np.testing.assert_allclose(x, np.full((1, 4, 4, 1), 40000 // 256 / 255), rtol=1e-6)


def test_what_is_no_image_is_counted_and_hangs_nothing(tmp_path):
    for i in range(3):
        save_image(tmp_path / f"{i}.png")
    (tmp_path / "notes.txt").write_text("")
    (tmp_path / ".hidden.png").write_text("")
    save_image(tmp_path / ".checkpoints" / "0.png")
    os.mkfifo(tmp_path / "pipe.png")
    os.symlink("nowhere", tmp_path / "link.png")
    os.symlink(tmp_path, tmp_path / "loop")
    loaded = datasets.load(tmp_path)
    assert [len(loaded.train), len(loaded.test)] == [2, 1]
    kinds = ".txt files", "hidden files", "hidden folders", "pipes", "links to nothing"
    for said in (*kinds, "links to folders"):
        assert said in loaded.description
    assert loaded.description.count("(1)") == 6


def test_folders_of_splits_are_the_splits(tmp_path):
    for i, part in enumerate(("train/cats", "train/dogs", "Test", "val", "other")):
        save_image(tmp_path / part / "a.png", seed=i)
    train, validation, test = loaded = datasets.load(tmp_path)
    assert [len(train), len(validation), len(test)] == [2, 1, 1]
    np.testing.assert_array_equal(test, datasets.image_folder(tmp_path / "Test"))
    assert "outside of the folders of the splits (1)" in loaded.description
    save_image(tmp_path / "Test" / "b.png", 9, 9)
    with pytest.raises(ValueError, match="`image_size` must be given"):
        datasets.load(tmp_path)


@pytest.mark.parametrize("beside", ["", "cats"])
def test_images_beside_a_folder_of_a_split_are_those_for_training(beside, tmp_path):
    trained = [save_image(tmp_path / beside / f"{i}.png", seed=i) for i in range(3)]
    tested = save_image(tmp_path / "test" / "a.png", seed=3)
    (tmp_path / "test" / "notes.txt").write_text("")
    train, validation, test = loaded = datasets.load(tmp_path)
    np.testing.assert_allclose(train, np.array(trained) / 255, rtol=1e-6)
    np.testing.assert_allclose(test, tested[None] / 255, rtol=1e-6)
    assert validation is None
    assert "3 for train, 1 for test.\nLeft out: .txt files (1)." in loaded.description
    # Of two folders of one split the first is it.
    save_image(tmp_path / "dev" / "b.png", seed=4)
    save_image(tmp_path / "val" / "c.png", seed=5)
    loaded = datasets.load(tmp_path)
    assert [len(x) for x in loaded] == [3, 1, 1]
    assert "outside of the folders of the splits (1)" in loaded.description


def test_folders_of_splits_below_others_are_told_of(tmp_path):
    for i, part in enumerate(("train", "test")):
        save_image(tmp_path / "images" / part / "a.png", seed=i)
    text = datasets.load(tmp_path, test_fraction=0.5).description
    assert "No splits, since only folders at the top are: 'images/test'" in text
    text = datasets.load(tmp_path / "images").description
    assert "No splits" not in text


def test_a_folder_of_a_split_alone_is_named(tmp_path):
    save_image(tmp_path / "test" / "a.png")
    save_image(tmp_path / "val" / "a.png")
    with pytest.raises(ValueError, match="for training.*'test' and 'val' alone. Pass"):
        datasets.load(tmp_path)


def test_folders_of_splits_may_be_links(tmp_path):
    for i, part in enumerate(("train", "test")):
        save_image(tmp_path / "else" / part / "a.png", seed=i)
        (tmp_path / "here").mkdir(exist_ok=True)
        os.symlink(tmp_path / "else" / part, tmp_path / "here" / part)
    loaded = datasets.load(tmp_path / "here")
    assert [len(loaded.train), len(loaded.test)] == [1, 1]
    assert "Left out" not in loaded.description


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


def test_dynamic_binarization_waits_for_no_thread_that_tunes_it():
    dataset = datasets.dynamic_binarization(np.zeros((4, 2)), 2)
    assert dataset.options().autotune.enabled is False


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


def test_dynamic_binarization_takes_what_stands_beside_the_values_along():
    x, number = np.repeat(np.linspace(0, 1, 7)[:, None], 4, axis=1), np.arange(7)
    alone, both = (
        list(datasets.dynamic_binarization(data, 3, seed=2).as_numpy_iterator())
        for data in (x, {"x": x, "number": number})
    )
    for values, batch in zip(alone, both, strict=True):
        np.testing.assert_array_equal(batch["x"], values)
    numbers = np.concatenate([batch["number"] for batch in both])
    assert sorted(numbers) == list(number)
    assert list(numbers) != list(number)
    values = np.concatenate([batch["x"] for batch in both])
    assert not values[numbers == 0].any()
    assert values[numbers == 6].all()


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


def zeros(number, width=2):
    return np.zeros((number, width))


@pytest.mark.parametrize(
    ("contents", "sizes", "said"),
    [
        ({"train": 5, "test": 3, "val": 2}, [5, 2, 3], "'val' for validation"),
        ({"train": 5, "test": 3, "validation": 2}, [5, 2, 3], "'test' for test"),
        (
            {"x_train": 5, "y_train": 5, "x_test": 3, "y_test": 3},
            [5, 0, 3],
            "'x_train' for train, 'x_test' for test; left out: 'y_train', 'y_test'",
        ),
        ({"train_images": 5, "test_images": 3, "train_labels": 5}, [5, 0, 3], "labels"),
        ({"X": 10, "labels": 10}, [9, 0, 1], "'X' for train; left out: 'labels'"),
        ({"data": 10, "noise": 10}, [9, 0, 1], "1 of 10 examples, drawn at random"),
        ({"x_train": 10, "x_val": 4}, [9, 4, 1], "'x_val' for validation"),
        ({"x": 5, "x_test": 3}, [5, 0, 3], "'x' for train, 'x_test' for test."),
        ({"x": 10, "y": 10, "x_val": 4}, [9, 4, 1], "'x_val' for validation"),
        ({"mine": 5, "test": 3, "X_val": 2}, [5, 2, 3], "'mine' for train"),
        ({"x": 10, "test": 0}, [9, 0, 1], "left out: 'test'"),
        ({"x_test": 10, "y_test": 10}, [9, 0, 1], "'x_test' for train"),
    ],
)
def test_load_knows_the_arrays_of_an_archive_by_their_names(
    contents, sizes, said, tmp_path
):
    # Of no examples, a mask of ten.
    arrays = {name: zeros(n) if n else np.ones(10) for name, n in contents.items()}
    np.savez(tmp_path / "x.npz", **arrays)
    loaded = datasets.load(tmp_path / "x.npz")
    assert [0 if x is None else len(x) for x in loaded] == sizes
    assert said in loaded.description


def test_load_takes_the_array_of_a_key_and_refuses_unlike_splits(tmp_path):
    np.savez(tmp_path / "x.npz", train=zeros(5), test=zeros(3, 1), b=zeros(8) + 1)
    with pytest.raises(ValueError, match=r"one shape. .*train \(2,\), test \(1,\)"):
        datasets.load(tmp_path / "x.npz")
    loaded = datasets.load(tmp_path / "x.npz", key="b")
    assert loaded.train.tolist() == [[1, 1]] * 7
    with pytest.raises(ValueError, match=r"`key` .*'c', and 'train' \(5, 2\).*--key"):
        datasets.load(tmp_path / "x.npz", key="c")


def test_load_asks_which_array_is_for_training_beside_that_of_a_split(tmp_path):
    np.savez(tmp_path / "x.npz", a=zeros(5), b=zeros(5), x_test=zeros(3))
    with pytest.raises(ValueError, match=r"`key` must name one .*'a', 'b', 'x_test'"):
        datasets.load(tmp_path / "x.npz")
    np.savez(tmp_path / "x.npz", test=zeros(5), x_test=zeros(5), y=np.ones(5))
    with pytest.raises(ValueError, match=r"`key` must name one .*'test', 'x_test'"):
        datasets.load(tmp_path / "x.npz")


@pytest.mark.parametrize(
    ("key", "names", "expected"),
    [
        ("x_test", "x_train y_train x_test y_test", "y_test"),
        ("test", "x_train y_train test labels_test", "labels_test"),
        ("x_train", "x_train y_train x_test y_test", "y_train"),
        ("more_val", "x y_train more_val y_val", "y_val"),
        ("x", "x y x_test y_test", "y"),
        ("x_test", "x y x_test", None),
        ("x_train", "x_train y x_test", "y"),
        # Labels of other arrays.
        ("more", "x_train y_train more", None),
        ("more", "more y label", None),
        (None, "x_test y_test", "y_test"),
        (None, "x y_train", "y_train"),
    ],
)
def test_labels_are_those_of_the_array_of_a_key(key, names, expected, tmp_path):
    x = np.arange(20.0).reshape(10, 2)
    arrays = {
        name: 100 * i + x[:, 0] if name[0] in "yl" else 100 * i + x
        for i, name in enumerate(names.split())
    }
    np.savez(tmp_path / "x.npz", **arrays)
    key_or_none = {} if key is None else {"key": key}
    loaded = datasets.load(tmp_path / "x.npz", **key_or_none)
    found, labels = numpy_files.arrays_and_labels(tmp_path / "x.npz", key)
    np.testing.assert_array_equal(found, arrays[key or names.split()[0]])
    if expected is None:
        assert (loaded.labels, labels) == ({}, None)
        return
    np.testing.assert_array_equal(labels, arrays[expected])
    offset = arrays[expected][0] - found[0, 0]
    assert f"{expected!r} for the labels of train" in loaded.description
    for part in ("train", "test"):
        x = getattr(loaded, part)
        np.testing.assert_array_equal(loaded.labels[part], x[:, 0] + offset)


def test_load_refuses_a_single_example_and_arguments_of_other_files(tmp_path):
    np.save(tmp_path / "x.npy", zeros(1))
    with pytest.raises(ValueError, match="two examples or more.* Received: 1 of shape"):
        datasets.load(tmp_path / "x.npy")
    with pytest.raises(ValueError, match=r"`key` must be left out .*for \.npz.*'a'"):
        datasets.load(tmp_path / "x.npy", key="a")
    with pytest.raises(ValueError, match=r"`header` must be left out.*\.csv, \.tsv"):
        datasets.load("digits", header=True)


def archive(**members):
    """Returns the bytes of an archive of members that need not be arrays."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as file:
        for name, content in members.items():
            file.writestr(f"{name}.npy", content)
    return bytearray(stream.getvalue())


def array_file(shape, content):
    """Returns the bytes of an array that claims a shape."""
    stream = io.BytesIO()
    header = {"descr": "<f8", "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(stream, header)
    return stream.getvalue() + content


def damaged(kind):
    if kind == "claim":
        return array_file((10**15, 4), bytes(64))
    if kind == "negative":
        return array_file((-1, 4), bytes(64))
    if kind == "member":
        return archive(x=b"hello")
    if kind == "claim of a member":
        return archive(x=array_file((10**9, 2), bytes(64)))
    noise = np.random.default_rng(0).integers(0, 9, 500).astype(float).tobytes()
    content = archive(x=array_file((250, 2), noise))
    if kind == "compressed":
        content[200:220] = b"\xff" * 20
    elif kind == "encrypted":
        for mark, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
            content[content.find(mark) + offset] |= 1
    return content


@pytest.mark.parametrize(
    ("kind", "why"),
    [
        ("claim", r"claims shape \(1000000000000000, 4\).*in 64 bytes"),
        ("negative", r"claims shape \(-1, 4\)"),
        ("member", "reading magic string"),
        ("claim of a member", r"claims shape \(1000000000, 2\).*in 64 bytes"),
        ("compressed", "decompressing|CRC"),
        ("encrypted", "encrypted"),
    ],
)
def test_arrays_that_are_damaged_are_documented_errors(kind, why, tmp_path):
    path = tmp_path / ("x.npy" if kind in ("claim", "negative") else "x.npz")
    path.write_bytes(damaged(kind))
    with pytest.raises(ValueError, match=f"`path` must be a NumPy file.*{why}"):
        datasets.load(path)


def test_archives_grow_to_a_limit(tmp_path):
    np.savez_compressed(tmp_path / "x.npz", x=np.zeros((1000, 1000), "uint8"))
    assert (tmp_path / "x.npz").stat().st_size < 2000
    message = "`max_bytes` must be at least 4000000 .*Received: max_bytes=3999999"
    with pytest.raises(ValueError, match=message):
        datasets.load(tmp_path / "x.npz", max_bytes=3999999)
    assert datasets.load(tmp_path / "x.npz", max_bytes=4000000).event_shape == (1000,)
    # What a file holds in full is its own measure.
    np.save(tmp_path / "x.npy", np.zeros((1000, 1000), "uint8"))
    assert datasets.load(tmp_path / "x.npy", max_bytes=1).event_shape == (1000,)


def test_load_reads_a_folder_of_images(tmp_path):
    for i in range(4):
        keras.utils.save_img(tmp_path / f"{i}.png", np.zeros((8, 8, 3)), scale=False)
    loaded = datasets.load(tmp_path, test_fraction=0.5, image_size=(4, 4))
    assert loaded.train.shape == loaded.test.shape == (2, 4, 4, 3)


@pytest.mark.parametrize("name", ["digit", ""])
def test_load_names_the_data_sets(name):
    with pytest.raises(ValueError, match=f"`name` must be .*'digits'.*name='{name}'"):
        datasets.load(name)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("t.xlsx", "a file of another kind. Save a table with pandas, to_csv"),
        ("t.parquet", "a file of another kind"),
        ("t.json", "a file of another kind"),
        ("t", "a file of another kind"),
        ("t.PNG", "an image. Pass the folder"),
    ],
)
def test_load_says_what_to_do_with_files_of_other_kinds(name, message, tmp_path):
    (tmp_path / name).write_text("a,b")
    with pytest.raises(ValueError, match=f"`name` must be .*{name}', {message}"):
        datasets.load(tmp_path / name)

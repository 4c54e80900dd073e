"""Data sets as arrays that `fit` takes: float32, in [0, 1], with a channel axis.

Files are looked for in `data_dir`, or in the directory that the environment variable
`KERAS_VAE_DATA` names, and only read:

    <data_dir>/mnist/{train,t10k}-{images-idx3,labels-idx1}-ubyte.gz
    <data_dir>/fashion_mnist/          the same four names
    <data_dir>/binarized_mnist/binarized_mnist_uint8.npz
    <data_dir>/dsprites/dsprites_subset.npz
    <data_dir>/dsprites/dsprites_ndarray_co1sh3sc6or40x32y32_64x64.npz

Nothing is ever unpickled.
"""

import contextlib
import csv
import functools
import gzip
import hashlib
import os
import pathlib
import typing
import zipfile

import keras
import numpy as np
import tensorflow as tf

from keras_vae import random

_VARIABLE = "KERAS_VAE_DATA"

# The published MD5 of each file; those of the two archives without a published one
# were taken from the copies that the project's figures were measured on.
_MD5 = {
    "mnist/train-images-idx3-ubyte.gz": "f68b3c2dcbeaaa9fbdd348bbdeb94873",
    "mnist/train-labels-idx1-ubyte.gz": "d53e105ee54ea40749a09fcbcd1e9432",
    "mnist/t10k-images-idx3-ubyte.gz": "9fb629c4189551a2d022fa330f9573f3",
    "mnist/t10k-labels-idx1-ubyte.gz": "ec29112dd5afa0611ce80d1b7f02629c",
    "fashion_mnist/train-images-idx3-ubyte.gz": "8d4fb7e6c68d591d4c3dfef9ec88bf0d",
    "fashion_mnist/train-labels-idx1-ubyte.gz": "25c81989df183df01b3e8a0aad5dffbe",
    "fashion_mnist/t10k-images-idx3-ubyte.gz": "bef4ecab320f06d8554ea6380940ec79",
    "fashion_mnist/t10k-labels-idx1-ubyte.gz": "bb300cfdad3c16e7a12a480ee83cd310",
    "binarized_mnist/binarized_mnist_uint8.npz": "95e21dd54a2e283bd1d9987b3b72152a",
    "dsprites/dsprites_subset.npz": "bbc77fb34afc89a384056b53f474ccdd",
    "dsprites/dsprites_ndarray_co1sh3sc6or40x32y32_64x64.npz": (
        "7da33b31b13a06f4b04a70402ce90c2e"
    ),
}

# The draws of this module are those of replicas that no machine has, so that a model of
# the same seed shares none of them.
_STATIC, _SHUFFLE, _DYNAMIC = range(2**20, 2**20 + 3)


class Dataset(typing.NamedTuple):
    """Splits of a data set, each an array of shape (n, *event_shape) or None.

    Args:
        train: Array to fit.
        validation: Array to choose by, None where the data set has no such split.
        test: Array to report on.

    Example:
    >>> kv.datasets.load("digits").event_shape
    (8, 8, 1)
    """

    train: np.ndarray
    validation: np.ndarray | None
    test: np.ndarray

    @property
    def event_shape(self):
        """Shape of one example."""
        return self.train.shape[1:]


def load(name, data_dir=None, **kwargs):
    """Loads a data set by name or path.

    Args:
        name: One of "digits", "mnist", "fashion_mnist", "binarized_mnist" and
            "dsprites", or the path of an `.npy` or `.npz` file (see `arrays`), of a
            `.csv` file (see `table`) or of a folder of images (see `image_folder`).
        data_dir: Directory with the files of a named data set. Defaults to the
            environment variable `KERAS_VAE_DATA`.
        **kwargs: Passed to the function that reads the data set. Where the data have no
            split of their own, `test_fraction` (0.1) and `seed` (0) say which examples
            are held out.

    Returns:
        A `Dataset`. An `.npz` file with arrays `train` and `test`, and perhaps `valid`,
        keeps this split.

    Raises:
        ValueError: If `name` is unknown or the data cannot be used.
        FileNotFoundError: If a file is missing.

    Example:
    >>> train, validation, test = kv.datasets.load("digits", test_fraction=0.5)
    >>> train.shape, validation, test.shape
    ((898, 8, 8, 1), None, (899, 8, 8, 1))
    """
    path = pathlib.Path(name)
    if name in _LOADERS:
        return _LOADERS[name](data_dir=data_dir, **kwargs)
    if path.suffix in (".npy", ".npz"):
        return _load_arrays(path, **kwargs)
    if path.suffix == ".csv":
        return _load_unsplit(functools.partial(table, path), **kwargs)
    if path.is_dir():
        return _load_unsplit(functools.partial(image_folder, path), **kwargs)
    raise ValueError(
        f"`name` must be one of {sorted(_LOADERS)}, the path of an .npy, .npz or .csv "
        f"file or an existing folder of images. Received: name={str(name)!r}"
    )


def digits(test_fraction=0.2, seed=0, labels=False):
    """Returns the 1,797 scans of handwritten digits that scikit-learn carries.

    Grey values 0 to 16 are divided by 16. The split is stratified by digit.

    Args:
        test_fraction: Float in (0, 1), the share held out. Defaults to 0.2.
        seed: Integer, the seed of the split. Defaults to 0.
        labels: Boolean, whether to return the labels too. Defaults to False.

    Returns:
        `(x_train, x_test)`, float32 of shape (n, 8, 8, 1) in [0, 1]; with labels
        `((x_train, y_train), (x_test, y_test))`, y int64 of shape (n,).

    Raises:
        ValueError: If `test_fraction` is not in (0, 1).

    Example:
    >>> x_train, x_test = kv.datasets.digits()
    >>> x_train.shape, x_test.shape, float(x_train.max())
    ((1437, 8, 8, 1), (360, 8, 8, 1), 1.0)
    """
    from sklearn.datasets import load_digits

    _check_fraction(test_fraction)
    scans, y = load_digits(return_X_y=True)
    x = (scans / 16).astype("float32").reshape(-1, 8, 8, 1)
    x_train, x_test, y_train, y_test = _split(
        x, y, test_fraction=test_fraction, seed=seed, stratify=y
    )
    return ((x_train, y_train), (x_test, y_test)) if labels else (x_train, x_test)


def mnist(data_dir=None, labels=False):
    """Returns MNIST, 60,000 and 10,000 grey images of handwritten digits.

    Without a directory the files are downloaded and cached by Keras.

    Args:
        data_dir: Directory that holds `mnist/` with the four original IDX files.
            Defaults to the environment variable `KERAS_VAE_DATA`.
        labels: Boolean, whether to return the labels too. Defaults to False.

    Returns:
        `(x_train, x_test)`, float32 of shape (n, 28, 28, 1) in [0, 1]; with labels
        `((x_train, y_train), (x_test, y_test))`, y int64 of shape (n,).

    Raises:
        FileNotFoundError: If a file is missing or cannot be downloaded.
        ValueError: If a file is not the published one.

    Example:
    >>> x_train, x_test = kv.datasets.mnist()  # doctest: +SKIP
    >>> x_train.shape  # doctest: +SKIP
    (60000, 28, 28, 1)
    """
    return _idx_images("mnist", data_dir, labels)


def fashion_mnist(data_dir=None, labels=False):
    """Returns Fashion-MNIST, 60,000 and 10,000 grey images of clothes.

    Without a directory the files are downloaded and cached by Keras.

    Args:
        data_dir: Directory that holds `fashion_mnist/` with the four original IDX
            files. Defaults to the environment variable `KERAS_VAE_DATA`.
        labels: Boolean, whether to return the labels too. Defaults to False.

    Returns:
        As `mnist`.

    Raises:
        FileNotFoundError: If a file is missing or cannot be downloaded.
        ValueError: If a file is not the published one.

    Example:
    >>> x_train, x_test = kv.datasets.fashion_mnist()  # doctest: +SKIP
    >>> x_train.shape  # doctest: +SKIP
    (60000, 28, 28, 1)
    """
    return _idx_images("fashion_mnist", data_dir, labels)


def binarized_mnist(data_dir=None):
    """Returns MNIST in Larochelle's static binarisation.

    This is the version of the tables of log-likelihoods on "static MNIST"; on freshly
    binarised images (see `dynamic_binarization`) the same model scores about 2 nats
    better, so that figures must not be compared across the two.

    Args:
        data_dir: Directory that holds `binarized_mnist/binarized_mnist_uint8.npz` with
            arrays `train`, `valid` and `test` of zeros and ones, (n, 784). Defaults to
            the environment variable `KERAS_VAE_DATA`.

    Returns:
        `(x_train, x_valid, x_test)`, float32 of zeros and ones, of shapes
        (50000, 28, 28, 1), (10000, 28, 28, 1) and (10000, 28, 28, 1).

    Raises:
        FileNotFoundError: If the file is missing.
        ValueError: If the file is not the known one.

    Example:
    >>> x_train, x_valid, x_test = kv.datasets.binarized_mnist()  # doctest: +SKIP
    >>> x_train.shape  # doctest: +SKIP
    (50000, 28, 28, 1)
    """
    path = _find("binarized_mnist/binarized_mnist_uint8.npz", data_dir)
    return tuple(
        _read(path, key).astype("float32").reshape(-1, 28, 28, 1)
        for key in ("train", "valid", "test")
    )


def dsprites(data_dir=None, subset=True, factors=False, dtype="float32"):
    """Returns dSprites, binary images of shapes that vary in five factors.

    Args:
        data_dir: Directory that holds `dsprites/`. Defaults to the environment
            variable `KERAS_VAE_DATA`.
        subset: Boolean, whether to read `dsprites_subset.npz`, some tens of thousands
            of images, rather than the 737,280 of the official file. Defaults to True.
        factors: Boolean, whether to return the factors too. Defaults to False.
        dtype: "float32" or "uint8", a quarter of the memory: all images take 12 GB as
            float32. Defaults to "float32".

    Returns:
        `x` of shape (n, 64, 64, 1) and values 0 and 1; with factors `(x, classes)`,
        classes int64 of shape (n, 5): shape, scale, orientation, x and y, counted
        from 0.

    Raises:
        FileNotFoundError: If the file is missing.
        ValueError: If the file is not the known one or `dtype` is another.

    Example:
    >>> x, classes = kv.datasets.dsprites(factors=True)  # doctest: +SKIP
    >>> x.shape, classes.shape  # doctest: +SKIP
    ((20000, 64, 64, 1), (20000, 5))
    """
    if dtype not in ("float32", "uint8"):
        raise ValueError(
            f'`dtype` must be "float32" or "uint8". Received: dtype={dtype!r}'
        )
    file = (
        "dsprites_subset.npz"
        if subset
        else "dsprites_ndarray_co1sh3sc6or40x32y32_64x64.npz"
    )
    path = _find(f"dsprites/{file}", data_dir)
    x = _read(path, "imgs")[..., None].astype(dtype, copy=False)
    if not factors:
        return x
    # The official file counts the colour, always white, as a first factor.
    return x, _read(path, "latents_classes")[:, -5:]


def arrays(path, key=None):
    """Returns the array of an `.npy` or `.npz` file of one's own.

    Values are not rescaled.

    Args:
        path: Path of the file.
        key: String, the name of an array in an `.npz` file. May be left out where it
            holds only one.

    Returns:
        A float32 array of shape (n, *event_shape).

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If an `.npz` file has no array `key`, or the array cannot be used:
            pickled objects, text, complex or non-finite values, no examples, no event
            axes.

    Example:
    >>> np.save("blobs.npy", np.eye(4))
    >>> kv.datasets.arrays("blobs.npy").shape
    (4, 4)
    """
    path = pathlib.Path(path)
    if path.suffix not in (".npy", ".npz"):
        raise ValueError(
            f"`path` must end in .npy or .npz. Received: path={str(path)!r}"
        )
    if not path.is_file():
        raise FileNotFoundError(
            f"`path` must be an existing file. Received: path={str(path)!r}"
        )
    x = _read(path, key)
    if x.dtype.kind not in "biuf":
        raise ValueError(
            f"`path` must hold real numbers. Received: an array of {x.dtype} in "
            f"{str(path)!r}. Convert it, for example with x.astype('float32')."
        )
    if x.ndim < 2 or x.size == 0:
        raise ValueError(
            f"`path` must hold an array of shape (examples, ...) with something in it. "
            f"Received: shape {x.shape} in {str(path)!r}"
        )
    x = x.astype("float32")
    if not np.isfinite(x).all():
        raise ValueError(
            f"`path` must hold finite numbers that float32 can represent. Received: "
            f"{np.count_nonzero(~np.isfinite(x))} that are not in {str(path)!r}. "
            "Remove or fill in these values."
        )
    return x


def table(path):
    """Returns the numbers of a `.csv` file, of which each row is an example.

    Cells are separated by commas, semicolons or tabs. A first row with anything but
    numbers in it is taken for the names of the columns. Values are not rescaled.

    Args:
        path: Path of the file.

    Returns:
        A float32 array of shape (rows, columns).

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If a cell is empty, no number or not finite, or rows differ in
            length.

    Example:
    >>> np.savetxt("sizes.csv", [[5.1, 3.5], [4.9, 3.0]], "%g", ",", header="a,b")
    >>> kv.datasets.table("sizes.csv").shape
    (2, 2)
    """
    path = pathlib.Path(path)
    if not path.is_file():
        raise FileNotFoundError(
            f"`path` must be an existing file. Received: path={str(path)!r}"
        )
    with open(path, newline="", encoding="utf-8-sig") as file:
        first = file.readline()
        delimiter = max(",;\t", key=first.count)
        names = next(csv.reader([first], delimiter=delimiter), [])
        rows = [] if all(map(_is_number, names)) else [names]
        file.seek(0)
        cells = [row for row in csv.reader(file, delimiter=delimiter) if row]
    cells = cells[len(rows) :]
    for i, row in enumerate(cells):
        line = i + 1 + len(rows)
        if len(row) != len(names):
            raise ValueError(
                f"`path` must hold rows of equal length. Received: {len(row)} cells in "
                f"row {line} of {str(path)!r}, and {len(names)} in the first"
            )
        for j, cell in enumerate(row):
            if not _is_number(cell):
                column = repr(names[j]) if rows else j + 1
                raise ValueError(
                    "`path` must hold finite numbers. Received: "
                    f"{cell!r} in row {line}, column {column} of {str(path)!r}. Fill "
                    "in missing cells, and remove columns of text or code them as "
                    "numbers."
                )
    if not cells:
        raise ValueError(
            f"`path` must hold at least one row of numbers. Received: {str(path)!r}"
        )
    return np.array(cells, np.float64).astype("float32")


def _is_number(cell):
    try:
        return abs(float(cell)) <= float(np.finfo(np.float32).max)
    except ValueError:
        return False


def image_folder(path, image_size=(64, 64), grayscale=False, batch_size=None):
    """Returns the PNG, JPEG, BMP and GIF images under a folder.

    Images are read by `keras.utils.image_dataset_from_directory`, in the order of
    their names, cropped to the aspect ratio of `image_size` around their centre,
    resized bilinearly and divided by 255.

    Args:
        path: Path of the folder; folders within it are searched too.
        image_size: Tuple (height, width). Defaults to (64, 64).
        grayscale: Boolean, whether to return one channel instead of three. Defaults
            to False.
        batch_size: Integer for images that do not fit into memory: they are then read
            while training. Defaults to None.

    Returns:
        A float32 array of shape (n, height, width, channels) in [0, 1], or, with a
        `batch_size`, a `tf.data.Dataset` of such batches.

    Raises:
        ValueError: If there is no such folder, or no image or a broken one in it.

    Example:
    >>> import os
    >>> os.makedirs("faces")
    >>> keras.utils.save_img("faces/one.png", np.zeros((48, 64, 3)))
    >>> kv.datasets.image_folder("faces", image_size=(32, 32)).shape
    (1, 32, 32, 3)
    """
    if not os.path.isdir(path):
        raise ValueError(
            f"`path` must be an existing folder. Received: path={str(path)!r}"
        )
    images = keras.utils.image_dataset_from_directory(
        str(path),
        labels=None,
        color_mode="grayscale" if grayscale else "rgb",
        batch_size=batch_size or 256,
        image_size=image_size,
        shuffle=False,
        crop_to_aspect_ratio=True,
        verbose=False,
    ).map(lambda batch: batch / 255)
    if batch_size is not None:
        return images
    try:
        return np.concatenate(list(images.as_numpy_iterator()))
    except tf.errors.InvalidArgumentError as error:
        raise ValueError(
            f"`path` must hold readable images only. Received: path={str(path)!r}, "
            f"where decoding failed with: {error.message}"
        ) from error


def binarize(x, seed=0):
    """Draws each value once from a Bernoulli with that probability.

    Use it where the draw has to stay the same, as in validation and tests.

    Args:
        x: Array of values in [0, 1], of any shape.
        seed: Integer in [0, 2**31). Defaults to 0.

    Returns:
        A float32 array of zeros and ones of the shape of `x`.

    Raises:
        ValueError: If `x` has values outside of [0, 1] or `seed` is no such integer.

    Example:
    >>> x = np.full((1000, 8), 0.25, "float32")
    >>> bool(abs(kv.datasets.binarize(x).mean() - 0.25) < 0.02)
    True
    """
    x = _probabilities(x)
    key = random.key(random.check_seed(seed), replica=_STATIC)
    return (random.uniform(x.shape, key).numpy() < x).astype("float32")


def dynamic_binarization(
    x, batch_size, seed=0, shuffle=True, drop_remainder=False, initial_epoch=0
):
    """Makes an input pipeline that binarises anew in each epoch.

    Every value is drawn from a Bernoulli with that probability, as Burda et al. (2016)
    train. Order and draws of the e-th pass over the data set are a function of
    (seed, e) alone.

    Args:
        x: Array of values in [0, 1] and shape (n, *event_shape).
        batch_size: Positive integer.
        seed: Integer in [0, 2**31). Defaults to 0.
        shuffle: Boolean, whether each epoch has an order of its own. Defaults to True.
        drop_remainder: Boolean, whether to leave out a last batch that is not full.
            Defaults to False.
        initial_epoch: Integer, the number of the first pass; a resumed run that passes
            the number of finished epochs continues with the draws it would have made.
            Defaults to 0.

    Returns:
        A `tf.data.Dataset` of float32 batches (batch, *event_shape) of zeros and ones,
        of known length, for `fit(batches, shuffle=False)`: Keras warns of its default
        `shuffle=True`.

    Raises:
        ValueError: If an argument is not of the form above.

    Example:
    >>> batches = kv.datasets.dynamic_binarization(np.full((5, 4), 0.5), batch_size=2)
    >>> [batch.shape for batch in batches.as_numpy_iterator()]
    [(2, 4), (2, 4), (1, 4)]

    References:
        Importance Weighted Autoencoders, https://arxiv.org/abs/1509.00519
    """
    x = _probabilities(x)
    seed = random.check_seed(seed)
    _check_count("batch_size", batch_size, 1)
    _check_count("initial_epoch", initial_epoch, 0)
    num_examples = len(x) if x.ndim else 0
    num_batches = (
        num_examples // batch_size if drop_remainder else -(-num_examples // batch_size)
    )
    if num_batches == 0:
        raise ValueError(
            f"`x` must hold an example, and a whole batch with `drop_remainder`. "
            f"Received: x of shape {x.shape}, batch_size={batch_size}"
        )
    with tf.device("CPU"):
        x = tf.constant(x)
        passes = tf.Variable(initial_epoch, dtype=tf.int64, trainable=False)

    def next_pass(_):
        return passes.assign_add(1) - 1

    def batches(epoch):
        order = tf.range(num_examples)
        if shuffle:
            key = random.key(seed, epoch, _SHUFFLE)
            order = tf.argsort(random.uniform([num_examples], key), stable=True)

        def draw(batch):
            rows = order[batch * batch_size : (batch + 1) * batch_size]
            rows = tf.ensure_shape(rows, [batch_size if drop_remainder else None])
            probabilities = tf.gather(x, rows)
            key = random.key(seed, epoch * num_batches + batch, _DYNAMIC)
            noise = random.uniform(tf.shape(probabilities), key)
            return tf.cast(noise < probabilities, tf.float32)

        return tf.data.Dataset.range(num_batches).map(draw, tf.data.AUTOTUNE)

    # The number of the pass is read when an iterator starts, hence inside the pipeline.
    epochs = tf.data.Dataset.range(1).map(next_pass)
    length = tf.data.experimental.assert_cardinality(num_batches)
    return epochs.flat_map(batches).apply(length).prefetch(tf.data.AUTOTUNE)


def _load_digits(data_dir=None, **kwargs):
    train, test = digits(**kwargs)
    return Dataset(train, None, test)


def _load_mnist(data_dir=None):
    train, test = mnist(data_dir)
    return Dataset(train, None, test)


def _load_fashion_mnist(data_dir=None):
    train, test = fashion_mnist(data_dir)
    return Dataset(train, None, test)


def _load_binarized_mnist(data_dir=None):
    return Dataset(*binarized_mnist(data_dir))


def _load_dsprites(data_dir=None, **kwargs):
    return _load_unsplit(functools.partial(dsprites, data_dir), **kwargs)


_LOADERS = {
    "binarized_mnist": _load_binarized_mnist,
    "digits": _load_digits,
    "dsprites": _load_dsprites,
    "fashion_mnist": _load_fashion_mnist,
    "mnist": _load_mnist,
}


def _load_arrays(path, key=None, **kwargs):
    if key is None and path.suffix == ".npz" and path.is_file():
        names = _keys(path)
        if {"train", "test"} <= names:
            valid = arrays(path, "valid") if "valid" in names else None
            return Dataset(arrays(path, "train"), valid, arrays(path, "test"))
    return _load_unsplit(functools.partial(arrays, path, key), **kwargs)


def _load_unsplit(read, test_fraction=0.1, seed=0, **kwargs):
    _check_fraction(test_fraction)
    train, test = _split(read(**kwargs), test_fraction=test_fraction, seed=seed)
    return Dataset(train, None, test)


def _split(*arrays, test_fraction, seed, stratify=None):
    # Most programs never split data with scikit-learn, which takes long to import.
    from sklearn.model_selection import train_test_split

    return train_test_split(
        *arrays, test_size=test_fraction, random_state=seed, stratify=stratify
    )


def _find(file, data_dir):
    """Returns the checked path of a known file."""
    directory = data_dir or os.environ.get(_VARIABLE)
    if not directory:
        raise FileNotFoundError(
            f"`data_dir` must name the directory that holds {file}. Received: "
            f"data_dir={data_dir!r}, and {_VARIABLE} is not set. Place the file as "
            f"<data_dir>/{file} and pass <data_dir>."
        )
    path = pathlib.Path(directory, file)
    if not path.is_file():
        raise FileNotFoundError(
            f"`data_dir` must hold {file}. Received: data_dir={str(directory)!r}, "
            "which does not. Place the file there."
        )
    with open(path, "rb") as stream:
        digest = _md5(stream)
    if digest != _MD5[file]:
        raise ValueError(
            f"`data_dir` must hold {file} as published, with MD5 {_MD5[file]}. "
            f"Received: {path} with MD5 {digest}. Replace the file: it is damaged or "
            "another one."
        )
    return path


def _md5(stream):
    digest = hashlib.md5(usedforsecurity=False)
    while block := stream.read(2**20):
        digest.update(block)
    return digest.hexdigest()


def _read(path, key=None):
    """Returns one array of an `.npy` or `.npz` file without unpickling."""
    with open(path, "rb") as stream:
        with _explained(path):
            content = np.load(stream, allow_pickle=False)
        if isinstance(content, np.ndarray):
            return content
        if key is None and len(content.files) == 1:
            key = content.files[0]
        if key not in content.files:
            raise ValueError(
                f"`key` must name one of the arrays {sorted(content.files)} of "
                f"{str(path)!r}. Received: key={key!r}"
            )
        with _explained(path):
            return content[key]


def _keys(path):
    with open(path, "rb") as stream, _explained(path):
        return set(np.load(stream, allow_pickle=False).files)


@contextlib.contextmanager
def _explained(path):
    try:
        yield
    except (EOFError, ValueError, zipfile.BadZipFile) as error:
        raise ValueError(
            f"`path` must be a NumPy file of plain arrays; pickled objects are not "
            f"read, since they can run code. Received: {str(path)!r}, which NumPy "
            f"refuses: {error}. Save the numbers with np.save or np.savez."
        ) from error


def _idx_images(name, data_dir, labels):
    if data_dir or os.environ.get(_VARIABLE):
        splits = [
            (
                _read_idx(_find(f"{name}/{part}-images-idx3-ubyte.gz", data_dir)),
                _read_idx(_find(f"{name}/{part}-labels-idx1-ubyte.gz", data_dir)),
            )
            for part in ("train", "t10k")
        ]
    else:
        splits = _download(name)
    splits = [
        (x.astype("float32")[..., None] / 255, y.astype("int64")) for x, y in splits
    ]
    return tuple(splits) if labels else tuple(x for x, _ in splits)


def _download(name):
    try:
        return getattr(keras.datasets, name).load_data()
    # Keras reports a failed download by a plain Exception.
    except Exception as error:
        raise FileNotFoundError(
            f"`data_dir` must name the directory that holds {name}/ where there is no "
            f"network. Received: data_dir=None, {_VARIABLE} is not set, and the "
            f"download failed: {error}. Place the four *-ubyte.gz files of {name} in "
            f"<data_dir>/{name}/ and pass <data_dir>."
        ) from error


def _read_idx(path):
    """Returns the uint8 array of a gzipped IDX file, of which the MD5 is checked."""
    with gzip.open(path) as stream:
        content = stream.read()
    # Two zeros, the type (8 is uint8), the number of axes, then the size of each.
    num_axes = content[3]
    shape = np.frombuffer(content, ">i4", count=num_axes, offset=4)
    return np.frombuffer(content, np.uint8, offset=4 + 4 * num_axes).reshape(shape)


def _probabilities(x):
    x = np.asarray(x, "float32")
    # Written so that NaN fails too.
    if not ((x >= 0) & (x <= 1)).all():
        raise ValueError(
            f"`x` must be in [0, 1] to be binarised. Received: values from {x.min()} "
            f"to {x.max()}. Divide 8-bit images by 255."
        )
    return x


def _check_fraction(test_fraction):
    if not 0 < test_fraction < 1:
        raise ValueError(
            f"`test_fraction` must be in (0, 1). Received: test_fraction="
            f"{test_fraction!r}"
        )


def _check_count(name, value, least):
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)):
        raise ValueError(f"`{name}` must be an integer. Received: {name}={value!r}")
    if value < least:
        raise ValueError(
            f"`{name}` must be at least {least}. Received: {name}={value!r}"
        )

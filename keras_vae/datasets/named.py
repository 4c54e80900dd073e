"""Data sets with names, from published files or packages."""

import keras

from keras_vae.datasets import grammars
from keras_vae.datasets import idx_files
from keras_vae.datasets import numpy_files
from keras_vae.datasets import published
from keras_vae.datasets import splits
from keras_vae.datasets import text


def digits(test_fraction=0.2, seed=0, labels=False):
    """Returns the 1,797 scans of handwritten digits of scikit-learn.

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

    splits.check_fraction(test_fraction)
    scans, y = load_digits(return_X_y=True)
    x = (scans / 16).astype("float32").reshape(-1, 8, 8, 1)
    x_train, x_test, y_train, y_test = splits.split(
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
    """Returns MNIST in Larochelle's static binarization.

    Published log-likelihoods on "static MNIST" refer to this version. On images that
    are binarized anew in each epoch (see `dynamic_binarization`) the same model scores
    about 2 nats better, so results on the two versions are not comparable.

    Args:
        data_dir: Directory that holds `binarized_mnist/binarized_mnist_uint8.npz` with
            arrays `train`, `valid` and `test` of zeros and ones, (n, 784). Defaults to
            the environment variable `KERAS_VAE_DATA`.

    Returns:
        `(x_train, x_valid, x_test)`, float32 of zeros and ones, of shapes
        (50000, 28, 28, 1), (10000, 28, 28, 1) and (10000, 28, 28, 1).

    Raises:
        FileNotFoundError: If the file is missing.
        ValueError: If the file is not the published one.

    Example:
    >>> x_train, x_valid, x_test = kv.datasets.binarized_mnist()  # doctest: +SKIP
    >>> x_train.shape  # doctest: +SKIP
    (50000, 28, 28, 1)
    """
    path = published.find("binarized_mnist/binarized_mnist_uint8.npz", data_dir)
    return tuple(
        numpy_files.read_array(path, key).astype("float32").reshape(-1, 28, 28, 1)
        for key in ("train", "valid", "test")
    )


def dsprites(data_dir=None, subset=True, factors=False, dtype="float32"):
    """Returns dSprites, binary images of shapes that vary in five factors.

    Args:
        data_dir: Directory that holds `dsprites/`. Defaults to the environment
            variable `KERAS_VAE_DATA`.
        subset: Boolean, whether to read the subset `dsprites_subset.npz`, some tens of
            thousands of images, instead of the official file with 737,280 images.
            Defaults to True.
        factors: Boolean, whether to return the factors too. Defaults to False.
        dtype: "float32", or "uint8" for a quarter of the memory: as float32 all images
            take 12 GB. Defaults to "float32".

    Returns:
        `x` of shape (n, 64, 64, 1) with values 0 and 1. With factors `(x, classes)`,
        where classes is int64 of shape (n, 5): shape, scale, orientation, x and y,
        counted from 0.

    Raises:
        FileNotFoundError: If the file is missing.
        ValueError: If the file is not the published one or `dtype` is invalid.

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
    path = published.find(f"dsprites/{file}", data_dir)
    x = numpy_files.read_array(path, "imgs")[..., None].astype(dtype, copy=False)
    if not factors:
        return x
    # The official file has the color, always white, as an additional first factor.
    return x, numpy_files.read_array(path, "latents_classes")[:, -5:]


def ptb(data_dir=None, max_length=None):
    """Returns the Penn Treebank as Mikolov prepared it, for models of language.

    Its 10,000 words hold `<unk>`, and the end of a sentence.

    Args:
        data_dir: Directory that holds `ptb/` with `ptb.train.txt`, `ptb.valid.txt` and
            `ptb.test.txt`. Defaults to the environment variable `KERAS_VAE_DATA`.
        max_length: Integer, the most words of a sentence, longer ones are left out; or
            None for all.

    Returns:
        `(train, validation, test)`, arrays of 42,068, 3,370 and 3,761 strings. The test
        split has 82,430 words with the ends of sentences.

    Raises:
        FileNotFoundError: If a file is missing.
        ValueError: If a file is not the published one.

    Example:
    >>> train, validation, test = kv.datasets.ptb()  # doctest: +SKIP
    >>> test[0]  # doctest: +SKIP
    "no it was n't black monday"

    Reference:
        [Recurrent neural network based language model](
        https://doi.org/10.21437/Interspeech.2010-343)
    """
    return tuple(_load_ptb(data_dir, max_length))


def _load_ptb(data_dir=None, max_length=None):
    paths = [
        published.find(f"ptb/ptb.{part}.txt", data_dir)
        for part in ("train", "valid", "test")
    ]
    read = [text.read(path, max_length) for path in paths]
    description = "\n".join(lines for _, lines in read)
    return splits.Dataset(*(x for x, _ in read), description=description)


def _load_grammar(data_dir=None, **kwargs):
    return grammars.load(**kwargs)


def _idx_images(name, data_dir, labels):
    if published.directory(data_dir):
        parts = [
            [
                idx_files.read_idx(
                    published.find(f"{name}/{part}-{kind}-ubyte.gz", data_dir)
                )
                for kind in ("images-idx3", "labels-idx1")
            ]
            for part in ("train", "t10k")
        ]
    else:
        parts = _download(name)
    parts = [
        (x.astype("float32")[..., None] / 255, y.astype("int64")) for x, y in parts
    ]
    return tuple(parts) if labels else tuple(x for x, _ in parts)


def _download(name):
    try:
        return getattr(keras.datasets, name).load_data()
    # Keras reports a failed download with a plain Exception.
    except Exception as error:
        raise FileNotFoundError(
            f"`data_dir` must name the directory that holds {name}/ if there is no "
            f"network. Received: data_dir=None, {published.VARIABLE} is not set, and "
            f"the download failed: {error}. Place the four *-ubyte.gz files of {name} "
            f"in <data_dir>/{name}/ and pass <data_dir>."
        ) from error


def _labelled(train, test):
    labels = {"train": train[1], "test": test[1]}
    return splits.Dataset(train[0], None, test[0], labels=labels)


def _load_digits(data_dir=None, **kwargs):
    return _labelled(*digits(**kwargs, labels=True))


def _load_mnist(data_dir=None):
    return _labelled(*mnist(data_dir, labels=True))


def _load_fashion_mnist(data_dir=None):
    return _labelled(*fashion_mnist(data_dir, labels=True))


def _load_binarized_mnist(data_dir=None):
    return splits.Dataset(*binarized_mnist(data_dir))


def _load_dsprites(data_dir=None, test_fraction=0.1, seed=0, **kwargs):
    return splits.hold_out(dsprites(data_dir, **kwargs), test_fraction, seed)


# Loaders of `load` by name.
LOADERS = {
    "binarized_mnist": _load_binarized_mnist,
    "digits": _load_digits,
    "dsprites": _load_dsprites,
    "fashion_mnist": _load_fashion_mnist,
    "grammar": _load_grammar,
    "mnist": _load_mnist,
    "ptb": _load_ptb,
}

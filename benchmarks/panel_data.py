"""The data sets of `benchmarks.panel`: real, made, small, wide, binary and grey."""

import numpy as np
import sklearn.datasets

from keras_vae import datasets

_SEED = 0


def _table(name):
    return getattr(sklearn.datasets, f"load_{name}")().data


def _digits(data_dir):
    train, test = datasets.digits()
    return np.concatenate([train, test])


def _grey(data_dir):
    train, _ = datasets.mnist(data_dir)
    return np.random.default_rng(_SEED).permutation(train)[:12_000]


def _binary(data_dir):
    return datasets.binarized_mnist(data_dir)


def _dsprites(data_dir):
    images = datasets.dsprites(data_dir)
    return np.random.default_rng(_SEED).permutation(images)[:5000]


def _seasonal(data_dir):
    """Windows of 24 hours of a load with a daily and a weekly season."""
    generator = np.random.default_rng(_SEED)
    hours = np.arange(24 * 1500)
    daily = np.sin(2 * np.pi * hours / 24 + 0.3 * np.sin(2 * np.pi * hours / 168))
    level = np.cumsum(generator.normal(scale=0.05, size=len(hours) // 24)).repeat(24)
    weekend = 1 - 0.4 * (hours // 24 % 7 >= 5)
    series = weekend * (2 + daily) + level + 0.1 * generator.normal(size=len(hours))
    return series.reshape(-1, 24)


def _counts(data_dir):
    """Poisson counts of 20 kinds that follow three causes."""
    generator = np.random.default_rng(_SEED)
    causes = generator.normal(size=(2000, 3))
    log_rate = 1.5 + 0.6 * causes @ generator.normal(size=(3, 20))
    return generator.poisson(np.exp(np.minimum(log_rate, 5.0))).astype("float64")


def _patches(data_dir):
    """Patches of 8 x 8 pixels of scikit-learn's two photos, grey."""
    generator = np.random.default_rng(_SEED)
    found = []
    for photo in sklearn.datasets.load_sample_images().images:
        grey = photo.mean(axis=-1) / 255
        rows = generator.integers(0, grey.shape[0] - 8, 3000)
        columns = generator.integers(0, grey.shape[1] - 8, 3000)
        found += [
            grey[row : row + 8, column : column + 8, None]
            for row, column in zip(rows, columns, strict=True)
        ]
    return np.float32(generator.permutation(np.stack(found)))


def _linear(noise):
    """Three causes in ten numbers."""

    def make(data_dir):
        generator = np.random.default_rng(_SEED)
        causes = generator.normal(size=(1000, 3))
        kernel = generator.normal(size=(3, 10))
        return causes @ kernel + noise * generator.normal(size=(1000, 10))

    return make


SETS = {
    "digits": _digits,
    "wine": lambda data_dir: _table("wine"),
    "breast_cancer": lambda data_dir: _table("breast_cancer"),
    "diabetes": lambda data_dir: _table("diabetes"),
    "iris": lambda data_dir: _table("iris"),
    "mnist_grey": _grey,
    "mnist_binary": _binary,
    "dsprites": _dsprites,
    "seasonal": _seasonal,
    "counts": _counts,
    "patches": _patches,
    "low_noise": _linear(0.05),
    "high_noise": _linear(3.0),
}


def write(name, directory, data_dir, split=0):
    """Writes a set as the programs read it.

    Args:
        name: String, of `SETS`.
        directory: `pathlib.Path`.
        data_dir: Directory of the data sets that must be there, or None.
        split: Integer. The programs choose the test split by place, so that each order
            of the rows of a table has a split of its own.

    Returns:
        `pathlib.Path` of a table or of arrays.
    """
    found = SETS[name](data_dir)
    if isinstance(found, tuple):
        path = directory / f"{name}.npz"
        splits = dict(zip(("train", "validation", "test"), found, strict=True))
        np.savez(path, **splits)
    elif found.ndim == 2:
        path = directory / (f"{name}-{split}.csv" if split else f"{name}.csv")
        if split:
            found = np.random.default_rng(split).permutation(found)
        header = ",".join(f"x{i}" for i in range(found.shape[1]))
        np.savetxt(path, found, "%.10g", ",", header=header, comments="")
    else:
        path = directory / f"{name}.npy"
        np.save(path, found)
    return path

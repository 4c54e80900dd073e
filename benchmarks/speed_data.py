"""Data on which `benchmarks.speed` measures."""

import pathlib

import numpy as np


def binary_images(size, data_dir=None):
    """Binarised MNIST, or draws of as many pixels that depend on ten numbers."""
    if data_dir:
        path = pathlib.Path(data_dir, "binarized_mnist", "binarized_mnist_uint8.npz")
        with np.load(path) as archive:
            x = np.concatenate([archive["train"], archive["valid"], archive["test"]])
        return x[:size].astype("float32")
    generator = np.random.default_rng(0)
    directions = generator.normal(size=(10, 784))
    logits = generator.normal(size=(size, 10)) @ directions - 2
    return (generator.logistic(size=logits.shape) < logits).astype("float32")


def shapes(size, data_dir=None):
    """Images of dSprites, or squares at random places."""
    if data_dir:
        with np.load(pathlib.Path(data_dir, "dsprites", "dsprites_subset.npz")) as data:
            return data["imgs"][:size].astype("float32")
    generator = np.random.default_rng(0)
    corner = generator.integers(0, 40, (2, size, 1))
    side = generator.integers(8, 24, (size, 1))
    place = np.arange(64)
    rows, columns = ((place >= c) & (place < c + side) for c in corner)
    return (rows[:, :, None] & columns[:, None, :]).astype("float32")


def sentences(size, words=30, vocabulary=10_000):
    """Words that are as frequent as 1 over their rank."""
    frequencies = 1 / np.arange(1, vocabulary + 1)
    generator = np.random.default_rng(0)
    frequencies /= frequencies.sum()
    return generator.choice(vocabulary, (size, words), p=frequencies).astype("int32")


def uneven_sentences(size, longest=40):
    """The same of 5 to 40 words, whose ids begin at 1; 0 is padding."""
    x = sentences(size, longest, 9_999) + 1
    lengths = np.random.default_rng(1).integers(5, longest + 1, size)
    return np.where(np.arange(longest) < lengths[:, None], x, 0)


def save(path, array):
    """Writes an array and returns its path, a string."""
    np.save(path, array)
    return str(path)

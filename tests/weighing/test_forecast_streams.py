"""The forecast from batches against that from an array, and against eigenvalues."""

import keras
import numpy as np
import oracle
import pytest
import tensorflow as tf

import keras_vae as kv
from keras_vae.linear import moments

X, _ = oracle.data(size=500)
X = np.float32(X + 100)
BATCH = 3


class Sequence(keras.utils.PyDataset):
    """Batches (x, y), of which the last is smaller."""

    def __len__(self):
        return -(-len(X) // BATCH)

    def __getitem__(self, place):
        part = X[place * BATCH : (place + 1) * BATCH]
        return part, np.full(len(part), 1e6)


class Endless(Sequence):
    num_batches = None


class Repeatable:
    def __iter__(self):
        return (X[start : start + BATCH] for start in range(0, len(X), BATCH))


def dataset(x=X):
    return tf.data.Dataset.from_tensor_slices(x)


STREAMS = {
    "x": lambda: dataset().batch(BATCH),
    "(x,)": lambda: dataset((X,)).batch(BATCH),
    "(x, y)": lambda: dataset((X, np.arange(500))).batch(BATCH),
    "PyDataset": Sequence,
    "generator": lambda: (batch for batch in Repeatable()),
    "iterable": Repeatable,
    "unknown length": lambda: dataset().filter(lambda x: True).batch(BATCH),
}


@pytest.mark.parametrize("name", STREAMS)
def test_batches_give_the_forecast_of_the_array(name):
    expected = kv.linear_forecast(X, latent_dim=4)
    found = kv.linear_forecast(STREAMS[name](), latent_dim=4)
    for one in ("beta", "rate", "distortion", "noise", "closing_weights"):
        np.testing.assert_allclose(
            getattr(found, one), getattr(expected, one), rtol=1e-6, atol=1e-6
        )


@pytest.mark.parametrize(
    "data", [Endless(), dataset().repeat().batch(BATCH)], ids=["PyDataset", "tf.data"]
)
def test_so_many_steps_are_read(data):
    found = kv.linear_forecast(data, 3, betas=[1.0], steps=100)
    expected = kv.linear_forecast(X[: 100 * BATCH], 3, betas=[1.0])
    np.testing.assert_allclose(found.negative_elbo, expected.negative_elbo, rtol=1e-6)
    with pytest.raises(ValueError, match="`steps` must be given"):
        kv.linear_forecast(data, 3)


def planted(examples, size=120):
    """Three directions above noise, in a mean far from 0."""
    generator = np.random.default_rng(0)
    maps = generator.normal(size=(3, size)) * [[2.0], [1.0], [0.5]]
    z = generator.normal(size=(examples, 3))
    noise = generator.normal(size=(examples, size)) * np.linspace(0.5, 1.5, size)
    return np.float32(z @ maps + noise + 50)


@pytest.mark.parametrize(
    ("few", "examples"),
    [(200, 900), (200, 60), (40, 900), (40, 35)],
    ids=["covariance", "few examples", "many of both", "wide and few"],
)
@pytest.mark.parametrize("likelihood", ["normal", "poisson"])
def test_components_are_those_of_the_covariance(monkeypatch, few, examples, likelihood):
    monkeypatch.setattr(moments, "FEW", few)
    x = planted(examples)
    batches = dataset(x).batch(32)
    found = kv.linear.components(batches, 3, likelihood)
    array = kv.linear.components(x, 3, likelihood)
    mean = np.float64(x).mean(0)
    y = (x - mean) / np.sqrt(mean if likelihood == "poisson" else 1.0)
    values, vectors = np.linalg.eigh(y.T @ y / len(x))
    for one in (found, array):
        np.testing.assert_allclose(one.eigenvalues, values[:-4:-1], rtol=1e-4)
        np.testing.assert_allclose(one.total, values.sum(), rtol=1e-6)
        overlap = np.linalg.svd(one.vectors.T @ vectors[:, -3:])[1]
        np.testing.assert_allclose(overlap, 1, atol=1e-4)


@pytest.mark.parametrize("latent_dim", [1, 2, 5])
def test_directions_that_are_found_one_after_another(monkeypatch, latent_dim):
    monkeypatch.setattr(moments, "FEW", 40)
    x = planted(900) * np.float32(np.geomspace(1, 1e-3, 120))
    found = kv.linear.components(x, latent_dim)
    values = np.linalg.eigvalsh(np.cov(np.float64(x).T, bias=True))[::-1]
    np.testing.assert_allclose(found.eigenvalues, values[:latent_dim], rtol=1e-4)


def test_what_can_be_read_once_must_be_small_in_one_way(monkeypatch):
    monkeypatch.setattr(moments, "FEW", 40)
    x = planted(60)
    few = kv.linear.components(iter([x[:10], x[10:40]]), 3, "poisson")
    np.testing.assert_allclose(
        few.eigenvalues, kv.linear.components(x[:40], 3, "poisson").eigenvalues
    )
    with pytest.raises(ValueError, match="`x` must be data that can be read several"):
        kv.linear.components(iter([x]), 3)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (dataset(), "`x` must yield batches, .* and not single examples"),
        (dataset().batch(BATCH).take(0), "`x` must hold at least one batch"),
        (iter([]), "`x` must yield at least one batch"),
        (iter([X, X[:, :4]]), r"`x` must yield batches of one shape, \(batch, 5\)"),
        (iter([X, X * np.nan]), "`x` must be finite"),
        (iter([{"x": X}]), "`x` must be an array of numbers"),
        (X[:0], "`x` must hold at least one example"),
        (7, "`x` must be an array or yield batches of arrays"),
    ],
)
def test_bad_data(data, message):
    with pytest.raises(ValueError, match=message):
        kv.linear_forecast(data, latent_dim=2)


def test_an_array_is_read_whole():
    with pytest.raises(ValueError, match="`steps` must be None for an array"):
        kv.linear_forecast(X, latent_dim=2, steps=3)

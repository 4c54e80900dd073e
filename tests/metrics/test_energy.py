"""The energy distance against SciPy's and a closed form."""

import numpy as np
import pytest
import scipy.stats

import keras_vae as kv


def test_it_is_scipys_without_the_distances_of_points_to_themselves():
    generator = np.random.default_rng(0)
    x, y = generator.normal(size=(30, 1)), generator.normal(1.0, 2.0, size=(40, 1))
    pairs = [np.abs(v - v.T).mean() * n / (n - 1) for v, n in ((x, 30), (y, 40))]
    own = [np.abs(v - v.T).mean() for v in (x, y)]
    expected = scipy.stats.energy_distance(x[:, 0], y[:, 0]) ** 2 / 2
    expected -= (sum(pairs) - sum(own)) / 2
    assert kv.metrics.energy_distance(x, y) == pytest.approx(expected)


def test_it_is_unbiased_for_equal_distributions():
    generator = np.random.default_rng(1)
    found = [
        kv.metrics.energy_distance(*generator.normal(size=(2, 20, 3, 2)))
        for _ in range(200)
    ]
    assert abs(np.mean(found)) < 3 * np.std(found) / np.sqrt(200)
    assert min(found) < 0 < max(found)


@pytest.mark.parametrize(
    ("x", "y"), [(np.eye(1), np.eye(1)), (np.eye(3), np.eye(2)), (1.0, np.eye(2))]
)
def test_draws_that_cannot_be_compared_are_refused(x, y):
    with pytest.raises(ValueError, match="`x` and `y` must hold two draws or more"):
        kv.metrics.energy_distance(x, y)

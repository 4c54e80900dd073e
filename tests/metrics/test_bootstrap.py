import numpy as np
import pytest
import scipy.stats

from keras_vae import metrics


def test_intervals_cover_the_mean_as_often_as_they_say():
    # Skewed, as distortions are.
    generator = np.random.default_rng(0)
    trials, size = 400, 200
    values = generator.exponential(3.0, size=(trials, size))
    covered = 0
    for i, row in enumerate(values):
        means = metrics.bootstrap_means(row, 400, seed=i)
        low, high = np.percentile(means, [2.5, 97.5])
        covered += low <= 3.0 <= high
    # 95%, less what a percentile interval loses at this size; four standard errors.
    assert 0.90 < covered / trials < 0.985


def test_spread_is_the_standard_error():
    values = np.random.default_rng(1).normal(size=(2, 500))
    means = metrics.bootstrap_means(values, 4000)
    assert means.shape == (4000, 2)
    np.testing.assert_allclose(
        means.std(axis=0), scipy.stats.sem(values, axis=1, ddof=0), rtol=0.06
    )
    np.testing.assert_allclose(means.mean(axis=0), values.mean(axis=1), atol=4e-3)


def test_equal_seeds_pair_examples():
    values = np.random.default_rng(2).normal(size=100)
    first, second = (metrics.bootstrap_means(v, 50, seed=3) for v in (values, values))
    np.testing.assert_array_equal(first, second)
    shifted = metrics.bootstrap_means(values + 2.0, 50, seed=3)
    np.testing.assert_allclose(shifted - first, 2.0)
    assert not np.array_equal(first, metrics.bootstrap_means(values, 50, seed=4))


@pytest.mark.parametrize(("values", "number"), [([], 10), (1.0, 10), ([1.0], 0)])
def test_invalid_arguments(values, number):
    with pytest.raises(ValueError, match="`values` must hold at least one example"):
        metrics.bootstrap_means(values, number)

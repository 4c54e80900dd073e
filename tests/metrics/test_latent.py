import numpy as np
import pytest
import tensorflow as tf
import tensorflow_probability as tfp

from keras_vae.metrics import latent

tfd = tfp.distributions


def alternating(*amplitudes, examples=100):
    signs = np.where(np.arange(examples) % 2, 1.0, -1.0)
    return signs[:, None] * np.array(amplitudes)


def test_active_units_compare_the_variance_of_the_means():
    # The variance of +-a is a^2, and that of a constant is 0 whatever its value.
    mean = alternating(0.0, 0.099, 0.101, 1.0) + [5.0, 0.0, 0.0, -3.0]
    number, mask = latent.active_units(mean)
    assert number == 2
    assert mask.tolist() == [False, False, True, True]
    assert latent.active_units(mean, threshold=0.5).number == 1
    assert latent.active_units(mean, threshold=0.0).number == 3


def test_active_units_need_more_than_the_threshold():
    assert latent.active_units(alternating(0.5), threshold=0.25).number == 0


def test_active_units_use_the_population_variance():
    # Two examples at +-0.1: 0.01 with 1/n, 0.02 with 1/(n - 1).
    assert latent.active_units([[0.1], [-0.1]], threshold=0.015).number == 0


def test_kl_by_hand():
    kl = latent.kl_to_standard_normal([[0.0, 3.0, 0.0]], [[1.0, 1.0, np.e]])
    np.testing.assert_allclose(kl, [[0.0, 4.5, (np.e**2 - 3) / 2]], rtol=1e-12)


def test_kl_agrees_with_tfp_and_takes_tensors():
    rng = np.random.default_rng(0)
    mean, stddev = rng.normal(size=(7, 3)), rng.uniform(0.01, 2, (7, 3))
    expected = tfd.kl_divergence(tfd.Normal(mean, stddev), tfd.Normal(0.0 * mean, 1.0))
    np.testing.assert_allclose(
        latent.kl_to_standard_normal(tf.constant(mean), tf.constant(stddev)),
        expected,
        rtol=1e-12,
    )


def test_collapse_counts_the_examples_below_epsilon():
    # A mean of 0.1 costs 0.005 nats and one of 1 costs 0.5 nats.
    mean = np.full((100, 3), 0.1)
    mean[:1, 1] = 1.0
    mean[:2, 2] = 1.0
    number, mask = latent.collapsed_units(mean, np.ones_like(mean))
    assert number == 2
    assert mask.tolist() == [True, True, False]
    assert latent.collapsed_units(mean, np.ones_like(mean), delta=0.02).number == 3
    assert latent.collapsed_units(mean, np.ones_like(mean), delta=0.0).number == 1
    assert latent.collapsed_units(mean, np.ones_like(mean), epsilon=0.004).number == 0
    assert latent.collapsed_units(mean, np.ones_like(mean), epsilon=0.6).number == 3


@pytest.mark.parametrize("exceptions", range(1, 100, 7))
def test_collapse_includes_its_boundary(exceptions):
    mean = np.zeros((100, 1))
    mean[:exceptions] = 1.0
    delta = float(f"0.{exceptions:02d}")
    assert latent.collapsed_units(mean, np.ones_like(mean), delta=delta).number == 1


def test_a_unit_can_be_inactive_and_not_collapsed():
    # The same narrow posterior for every example: costly, and useless.
    mean, stddev = np.zeros((10, 1)), np.full((10, 1), 0.1)
    assert latent.active_units(mean).number == 0
    assert latent.collapsed_units(mean, stddev).number == 0


def test_the_gap_of_normal_data_is_that_of_normals():
    rng = np.random.default_rng(0)
    covariance = np.array([[4.0, 0.8], [0.8, 0.5]])
    mean = rng.multivariate_normal([1.0, 0.0], covariance, size=200_000)
    stddev = np.full(mean.shape, 0.5)
    total = covariance + 0.25 * np.eye(2)
    expected = (np.trace(total) + 1 - 2 - np.log(np.linalg.det(total))) / 2
    assert latent.aggregate_gap(mean, stddev) == pytest.approx(expected, rel=0.01)


def test_gap_of_more_units_than_examples():
    rng = np.random.default_rng(4)
    mean, stddev = 3.0 * rng.normal(size=(5, 9)) + 1.0, rng.uniform(0.2, 0.9, (5, 9))
    between = np.cov(mean, rowvar=False, ddof=0)
    total = between + np.diag(np.mean(stddev**2, axis=0))
    centre = mean.mean(axis=0)
    whole = np.trace(total) + centre @ centre - 9 - np.log(np.linalg.det(total))
    part = np.diag(between) / np.diag(total)
    chance = (part.sum() ** 2 + (part**2).sum()) / 4 + part.sum() / 2
    expected = whole / 2 - chance / 5
    assert expected > 1
    assert latent.aggregate_gap(mean, stddev) == pytest.approx(expected, rel=1e-9)


def test_there_is_no_gap_under_the_prior_at_few_examples():
    rng = np.random.default_rng(1)
    gaps = []
    for _ in range(300):
        mean = rng.normal(size=(100, 8)) * np.sqrt(0.75)
        # Without the correction 8 * 11 / 400 and more.
        gaps.append(latent.aggregate_gap(mean, np.full((100, 8), 0.5)))
    assert np.mean(gaps) < 0.05


def test_information_of_a_linear_channel():
    # z = a x + noise: log(1 + a^2 / s^2) / 2 for each unit.
    rng = np.random.default_rng(2)
    x = rng.normal(size=(3000, 2)) * [1.0, 2.0]
    z = x + 0.5 * rng.normal(size=x.shape)
    densities = -((z[:, None] - x[None]) ** 2).sum(-1) / (2 * 0.25)
    expected = 0.5 * np.log(1 + np.array([1.0, 4.0]) / 0.25).sum()
    assert latent.mutual_information(densities) == pytest.approx(expected, abs=0.06)


def test_information_is_bounded_by_the_number_of_examples():
    nothing = latent.mutual_information(np.zeros((20, 20)))
    assert nothing == pytest.approx(0.0, abs=1e-12)
    apart = np.where(np.eye(20, dtype=bool), -3.0, -900.0)
    assert latent.mutual_information(apart) == pytest.approx(np.log(20))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: latent.active_units([1.0]), r"`mean` must have .*mean.shape=\(1,\)"),
        (lambda: latent.active_units(np.ones((0, 3))), r"`mean`.*\(0, 3\)"),
        (lambda: latent.active_units([[np.nan, 1.0]]), "`mean` must be finite.*: 1 "),
        (
            lambda: latent.kl_to_standard_normal(np.ones((2, 3)), np.ones((2, 1))),
            r"`stddev` .*stddev.shape=\(2, 1\), mean.shape=\(2, 3\)",
        ),
        (
            lambda: latent.kl_to_standard_normal([[0.0]], [[0.0]]),
            "`stddev` must be pos",
        ),
        (lambda: latent.aggregate_gap([[0.0]], [[0.0]]), "`stddev` must be positive"),
        (lambda: latent.mutual_information(np.ones((2, 3))), "`log_densities` must b"),
        (
            lambda: latent.collapsed_units([[0.0]], [[1.0]], delta=2),
            "`delta` must be in",
        ),
    ],
)
def test_invalid_arguments(call, message):
    with pytest.raises(ValueError, match=message):
        call()

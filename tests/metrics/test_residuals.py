import numpy as np
import oracle
import pytest

from keras_vae import metrics


def left_by_optimal_code(theta, latents, size=4000):
    """What the means of a linear VAE at its optimum leave of the data."""
    x, vectors = oracle.data(size=size)
    values = np.array(oracle.EIGENVALUES[:latents])
    basis = vectors[:, :latents]
    kept = np.maximum(values - theta, 0) / values
    return x - x @ basis * kept @ basis.T


@pytest.mark.parametrize("theta", [0.3, 1.5, 3.0, 5.0])
def test_an_optimal_code_misses_nothing(theta):
    assert metrics.missing_rate(left_by_optimal_code(theta, 5), theta) == 0.0


def test_what_a_collapsed_code_misses_is_the_rate_of_water_filling():
    x, _ = oracle.data(size=4000)
    edge = (1 + np.sqrt(5 / 4000)) ** 2
    for theta in (0.1, 0.375, 1.5):
        for units in (2, 3):
            expected = oracle.water_filling(theta * edge, units).kl.sum()
            assert metrics.missing_rate(x, theta, units) == pytest.approx(expected)
    assert metrics.missing_rate(x, 5.0) == 0.0


def test_learned_noise_is_that_of_probabilistic_pca():
    x, _ = oracle.data(size=4000)
    edge = (1 + np.sqrt(5 / 4000)) ** 2
    for units, noise in ((3, 0.375), (2, 1.75 / 3), (1, 3.75 / 4)):
        expected = oracle.water_filling(noise * edge, units).kl.sum()
        found = metrics.missing_rate(x, None, units)
        assert found == pytest.approx(expected)
    assert metrics.missing_rate(x, None) > metrics.missing_rate(x, None, 3)
    white = np.random.default_rng(3).normal(size=(500, 40))
    assert metrics.missing_rate(white, None) == pytest.approx(0.0, abs=0.05)
    assert metrics.missing_rate(np.zeros((4, 3)), None) == 0.0


def test_it_is_the_same_whichever_matrix_is_smaller():
    wide = np.random.default_rng(0).normal(size=(40, 6, 20)) * 3
    rows = wide.reshape(40, -1)
    covariance = np.cov(rows, rowvar=False, ddof=0)
    edge = (1 + np.sqrt(120 / 40)) ** 2
    above = np.maximum(np.linalg.eigvalsh(covariance) / edge, 1)
    expected = np.log(above).sum() / 2
    assert metrics.missing_rate(wide) == pytest.approx(expected)
    assert expected > 1


@pytest.mark.parametrize("shape", [(50, 200), (200, 200), (2000, 20)])
def test_noise_misses_next_to_nothing(shape):
    noise = np.random.default_rng(1).normal(size=shape)
    assert metrics.missing_rate(noise) < 0.05


@pytest.mark.parametrize(
    ("residuals", "noise"), [([[1.0]], 1.0), ([1.0, 2.0], 1.0), (np.eye(3), 0.0)]
)
def test_invalid_arguments(residuals, noise):
    with pytest.raises(ValueError, match="`residuals` must have the shape"):
        metrics.missing_rate(residuals, noise)

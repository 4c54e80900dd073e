"""The variance of residuals that a further latent unit could explain."""

import numpy as np


def missing_rate(
    residuals, noise: float | None = 1.0, units: int | None = None
) -> float:
    """Rate that reverse water-filling would still spend on the residuals.

    A linear VAE spends `log(lambda / theta) / 2` nats on each direction of variance
    lambda above theta, the noise variance times the weight of the KL, and nothing on
    the others; at its optimum no direction of its residuals is above theta. So a rate
    is missing if residuals still have such directions. White residuals, or residuals
    below the noise, miss nothing, however many units are unused.

    Of N examples of D numbers, pure noise has directions up to `(1 + sqrt(D / N))^2`
    times its variance (the edge of Marchenko and Pastur). Only variances above
    that count.

    Args:
        residuals: (examples, ...) array, data minus reconstructions, each number
            in units of the noise.
        noise: Float, theta in these units, or None for the noise that probabilistic PCA
            learns: the mean variance of the directions that are not coded. Defaults
            to 1.
        units: Integer, how many directions may count, None for all. Defaults to None.

    Returns:
        Float, nats.

    Raises:
        ValueError: If `residuals` holds fewer than two examples or `noise` is not
            positive.

    Example:
        >>> white = np.random.default_rng(0).normal(size=(1000, 5))
        >>> kv.metrics.missing_rate(white)
        0.0
        >>> round(kv.metrics.missing_rate(white * [3.0, 1, 1, 1, 1]), 1)
        1.0

    Reference:
        [Don't Blame the ELBO!](https://arxiv.org/abs/1911.02469)
    """
    residuals = np.asarray(residuals, np.float64)
    positive = noise is None or noise > 0
    if residuals.ndim < 2 or len(residuals) < 2 or not positive:
        raise ValueError(
            "`residuals` must have the shape (examples, ...) with two examples or "
            f"more, and `noise` must be positive. Received: residuals.shape="
            f"{residuals.shape}, {noise=}"
        )
    rows = residuals.reshape(len(residuals), -1)
    rows = rows - rows.mean(axis=0)
    size, numbers = rows.shape
    # The smaller of covariance and Gram matrix has the same eigenvalues above 0.
    product = rows @ rows.T if size < numbers else rows.T @ rows
    variances = np.linalg.eigvalsh(product)[::-1] / size
    edge = (1 + np.sqrt(numbers / size)) ** 2
    if noise is None:
        noise = _left_noise(variances, numbers, edge, units)
    above = np.maximum(variances[:units] / (noise * edge), 1)
    return float(np.log(above).sum() / 2)


def _left_noise(variances, numbers, edge, units):
    """Learned noise: the mean variance of the directions that are not above it.

    Args:
        variances: Array, eigenvalues of the residuals' covariance, falling; those that
            are left out are 0.
        numbers: Integer, the number of directions.
        edge: Float, a direction is above the noise if its variance exceeds this times
            the noise.
        units: Integer, the most directions above the noise, or None for no limit.
    """
    limit = min(numbers - 1, len(variances)) if units is None else units
    coded, noise = -1, variances.sum() / numbers
    while True:
        following = min(np.count_nonzero(variances > noise * edge), limit)
        if following <= coded or following >= numbers:
            return max(noise, np.finfo(np.float64).tiny)
        coded, noise = following, variances[following:].sum() / (numbers - following)

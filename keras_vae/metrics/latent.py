"""Measures of the latent units, on encoded data.

The functions take the means of q(z|x), and most also its standard deviations, with one
row per example. `Posterior.mean_and_stddev` returns both.
"""

from typing import NamedTuple

import numpy as np


class Units(NamedTuple):
    """Latent units that meet a criterion.

    Attributes:
        number: Integer, the number of these units.
        mask: (latent,) bool array, whether each unit is one of them.
    """

    number: int
    mask: np.ndarray


def active_units(mean, threshold: float = 0.01) -> Units:
    """Units whose posterior mean varies with the data (Burda et al., 2015).

    Unit u is active if `Var_x(E_q(u|x)[u]) > threshold` (section 5.2; the paper uses
    0.01). The variance divides by the number of examples, not by one less.

    Args:
        mean: (examples, latent) array, the posterior means.
        threshold: Float, the variance that an active unit exceeds. Defaults to 0.01.

    Returns:
        `Units`: the active ones.

    Raises:
        ValueError: If `mean` is not a matrix of finite numbers.

    Example:
        >>> number, mask = kv.metrics.active_units([[1.0, 0.0], [-1.0, 0.0]])
        >>> number, mask.tolist()
        (1, [True, False])

    References:
        Importance Weighted Autoencoders, https://arxiv.org/abs/1509.00519
    """
    return _units(_moments(mean=mean)["mean"].var(axis=0) > threshold)


def kl_to_standard_normal(mean, stddev):
    """KL divergence of each unit's normal posterior from N(0, 1).

    `(mean^2 + stddev^2 - 1) / 2 - log(stddev)`, Kingma & Welling (2013), appendix B.

    Args:
        mean: (examples, latent) array, mu.
        stddev: (examples, latent) array, sigma.

    Returns:
        (examples, latent) float64 array, nats.

    Raises:
        ValueError: If the arguments are not matrices of finite numbers of one shape, or
            if `stddev` is not positive.

    Example:
        >>> kv.metrics.kl_to_standard_normal([[0.0, 2.0]], [[1.0, 1.0]]).tolist()
        [[0.0, 2.0]]

    References:
        Auto-Encoding Variational Bayes, https://arxiv.org/abs/1312.6114
    """
    mean, stddev = _moments(mean=mean, stddev=stddev).values()
    _check_positive(stddev)
    return (mean**2 + stddev**2 - 1) / 2 - np.log(stddev)


def collapsed_units(mean, stddev, epsilon: float = 0.01, delta: float = 0.01) -> Units:
    """Units that are (epsilon, delta)-collapsed (Lucas et al., 2019).

    Unit j is collapsed if `P_x(KL(q(z_j|x) || N(0, 1)) < epsilon) >= 1 - delta`: its
    posterior is the prior for nearly every example.

    Args:
        mean: (examples, latent) array, the posterior means.
        stddev: (examples, latent) array, the posterior standard deviations.
        epsilon: Float, nats. A unit with a smaller KL carries no information on an
            example. Defaults to 0.01.
        delta: Float in [0, 1], the fraction of examples that may have a larger KL.
            Defaults to 0.01.

    Returns:
        `Units`: the collapsed ones.

    Raises:
        ValueError: If the moments are invalid, see `kl_to_standard_normal`, or if
            `delta` is not in [0, 1].

    Example:
        >>> mean = [[2.0, 0.0], [-2.0, 0.1]]
        >>> number, mask = kv.metrics.collapsed_units(mean, np.ones((2, 2)))
        >>> number, mask.tolist()
        (1, [False, True])

    References:
        Don't Blame the ELBO!, https://arxiv.org/abs/1911.02469
    """
    if not 0 <= delta <= 1:
        raise ValueError(f"`delta` must be in [0, 1]. Received: {delta=}")
    # k / n rounds like the decimal `delta`, but 1 - delta may round differently.
    return _units(
        (kl_to_standard_normal(mean, stddev) >= epsilon).mean(axis=0) <= delta
    )


def aggregate_gap(mean, stddev) -> float:
    """Lower bound of KL(q(z) || N(0, I)) for the aggregate posterior q(z).

    Of all q(z) with mean m and covariance S the normal one has the smallest KL to a
    normal prior: `KL(N(m, S) || N(0, I)) <= KL(q(z) || N(0, I))`. The latter is the
    second term of the rate (Hoffman and Johnson, 2016): `E KL(q(z|x) || p(z)) =
    I(x; z) + KL(q(z) || p(z))`. The bias of N examples is subtracted, to second order
    `sum_jk f_j f_k (1 + [j = k]) / 4N + sum_j f_j / 2N`. Here f_j is the fraction of
    S_jj that the variance of the means contributes. Unlike a mixture over the examples,
    the bound needs no more examples if the rate is large.

    Args:
        mean: (examples, latent) array, the posterior means.
        stddev: (examples, latent) array, the posterior standard deviations.

    Returns:
        Float, nats, not negative.

    Raises:
        ValueError: If the moments are invalid, see `kl_to_standard_normal`.

    Example:
        >>> mean = np.random.default_rng(0).normal(size=(10_000, 2)) * 3.0
        >>> round(kv.metrics.aggregate_gap(mean, np.ones((10_000, 2))), 1)
        6.6

    Reference:
        [ELBO surgery: yet another way to carve up the variational evidence lower
        bound](http://approximateinference.org/accepted/HoffmanJohnson2016.pdf)
    """
    mean, stddev = _moments(mean=mean, stddev=stddev).values()
    _check_positive(stddev)
    size, units = mean.shape
    centre, within = mean.mean(axis=0), np.mean(stddev**2, axis=0)
    between = np.var(mean, axis=0)
    total = between + within
    log_det = np.log(within).sum() + _log_det_beside_one(
        (mean - centre) / np.sqrt(size * within)
    )
    divergence = (total.sum() + centre @ centre - units - log_det) / 2
    part = between / total
    chance = (part.sum() ** 2 + (part**2).sum()) / 4 + part.sum() / 2
    return float(max(divergence - chance / size, 0.0))


def mutual_information(log_densities) -> float:
    """Mutual information of z and the index of its example, among N examples.

    `I(x; z) = E log q(z_i|x_i) - log 1/N sum_k q(z_i|x_k)`, z_i ~ q(z|x_i). It is the
    first term of the rate (Hoffman and Johnson, 2016). The second is KL(q(z) || p(z)).
    The value never exceeds log N. A value within a nat of log N is only a lower bound
    of the information.

    Args:
        log_densities: (N, N) array, in row i and column k log q(z_i|x_k).

    Returns:
        Float, nats.

    Raises:
        ValueError: If `log_densities` is not a square matrix.

    Example:
        >>> far_apart = np.where(np.eye(8, dtype=bool), 0.0, -1e9)
        >>> bool(np.isclose(kv.metrics.mutual_information(far_apart), np.log(8)))
        True

    Reference:
        [ELBO surgery: yet another way to carve up the variational evidence lower
        bound](http://approximateinference.org/accepted/HoffmanJohnson2016.pdf)
    """
    log_densities = np.asarray(log_densities, np.float64)
    if log_densities.ndim != 2 or len(set(log_densities.shape)) != 1:
        raise ValueError(
            "`log_densities` must be a square matrix. Received: "
            f"log_densities.shape={log_densities.shape}"
        )
    aggregate = np.logaddexp.reduce(log_densities, axis=1) - np.log(len(log_densities))
    return float(np.mean(np.diag(log_densities) - aggregate))


def _log_det_beside_one(rows):
    """Returns log det(I + A^T A) = log det(I + A A^T), by the smaller matrix."""
    gram = rows @ rows.T if rows.shape[0] < rows.shape[1] else rows.T @ rows
    return np.linalg.slogdet(np.eye(len(gram)) + gram)[1]


def _check_positive(stddev):
    if (stddev <= 0).any():
        raise ValueError(
            f"`stddev` must be positive. Received: a smallest value of {stddev.min()}"
        )


def _units(mask):
    return Units(int(mask.sum()), mask)


def _moments(**moments):
    moments = {name: np.asarray(value, np.float64) for name, value in moments.items()}
    shape = moments["mean"].shape
    for name, value in moments.items():
        if value.ndim != 2 or not value.size or value.shape != shape:
            raise ValueError(
                f"`{name}` must have the shape (examples, latent) of one data set. "
                f"Received: {name}.shape={value.shape}"
                + (f", mean.shape={shape}" if name != "mean" else "")
            )
        if not np.isfinite(value).all():
            raise ValueError(
                f"`{name}` must be finite. Received: "
                f"{np.count_nonzero(~np.isfinite(value))} values that are not"
            )
    return moments

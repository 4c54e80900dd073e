"""How far two samples are from one distribution."""

import numpy as np
from scipy.spatial import distance


def energy_distance(x, y) -> float:
    """Estimates E|X - Y| - E|X - X'| / 2 - E|Y - Y'| / 2, 0 for equal distributions.

    The estimate is unbiased, so that it may be negative for equal distributions. Events
    are compared by their Euclidean distance.

    Args:
        x: (draws, ...) array, two draws or more.
        y: (other draws, ...) array, two draws or more of the same shape.

    Returns:
        Float, in the units of the data.

    Raises:
        ValueError: If there are too few draws, or their shapes differ.

    Example:
        >>> kv.metrics.energy_distance([[0.0], [0.0]], [[3.0], [3.0]])
        3.0

    Reference:
        [Energy statistics](https://doi.org/10.1016/j.jspi.2013.03.018)
    """
    x, y = np.asarray(x, np.float64), np.asarray(y, np.float64)
    if min(x.ndim, y.ndim) < 1 or min(len(x), len(y)) < 2 or x.shape[1:] != y.shape[1:]:
        raise ValueError(
            "`x` and `y` must hold two draws or more, of equal shape. Received: "
            f"x.shape={x.shape}, y.shape={y.shape}"
        )
    x, y = x.reshape(len(x), -1), y.reshape(len(y), -1)
    across = distance.cdist(x, y).mean()
    within = [distance.pdist(values).mean() for values in (x, y)]
    return float(across - within[0] / 2 - within[1] / 2)

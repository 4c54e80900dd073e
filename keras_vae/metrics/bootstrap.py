"""Bootstrap intervals for means over examples."""

import numpy as np


def bootstrap_means(values, num_resamples: int = 1000, seed: int = 0) -> np.ndarray:
    """Means over examples resampled with replacement.

    The percentiles of the means are Efron's percentile interval. All rows of `values`
    use the same resamples. So does another call with the same number of examples and
    seed: the differences of such means are paired.

    Args:
        values: (..., examples) array.
        num_resamples: Integer. Defaults to 1000.
        seed: Integer, seed of the draws. Defaults to 0.

    Returns:
        (num_resamples, ...) float64 array.

    Raises:
        ValueError: If there are no examples or no resamples.

    Example:
        >>> means = kv.metrics.bootstrap_means(np.arange(100.0))
        >>> [round(float(m)) for m in np.percentile(means, [2.5, 97.5])]
        [44, 55]
    """
    values = np.asarray(values, np.float64)
    size = values.shape[-1] if values.ndim else 0
    if size == 0 or num_resamples < 1:
        raise ValueError(
            "`values` must hold at least one example, and `num_resamples` must be "
            f"positive. Received: values.shape={values.shape}, {num_resamples=}"
        )
    generator = np.random.default_rng(seed)
    means = np.empty((num_resamples, *values.shape[:-1]))
    for i in range(num_resamples):
        drawn = generator.integers(size, size=size)
        means[i] = values @ (np.bincount(drawn, minlength=size) / size)
    return means

"""Variances of working residuals, by the mean of each element."""

import numpy as np

# Variances of a Bernoulli whose mean is further from 1/2 overstate the gain of a unit.
_BERNOULLI_MEANS = 0.2, 0.8
# The variance of a continuous Bernoulli is 1/12 at 1/2, and falls to 0 at both ends.
_CONTINUOUS_MEANS = 0.1, 0.9
_SMALLEST_MEAN = 1e-3


VARIANCES = {
    "normal": np.ones_like,
    "laplace": np.ones_like,
    "bernoulli": lambda mean: (
        np.clip(mean, *_BERNOULLI_MEANS) * (1 - np.clip(mean, *_BERNOULLI_MEANS))
    ),
    "continuous_bernoulli": lambda mean: _continuous_bernoulli_variance(mean),
    "poisson": lambda mean: np.maximum(mean, _SMALLEST_MEAN),
}


def _continuous_bernoulli_variance(mean):
    """Returns the variance of a continuous Bernoulli of a mean.

    With the logit h the mean is `1 / (1 - exp(-h)) - 1 / h` and the variance its
    derivative, `1 / h^2 - 1 / (4 sinh(h / 2)^2)`.
    """
    logits = np.linspace(-20.0, 20.0, 2000)  # An even number leaves out 0.
    means = 1 / -np.expm1(-logits) - 1 / logits
    variances = 1 / logits**2 - 1 / (4 * np.sinh(logits / 2) ** 2)
    return np.interp(np.clip(mean, *_CONTINUOUS_MEANS), means, variances)

"""Which weights of the KL are worth a look, before anything is trained."""

import numpy as np

from keras_vae import arguments
from keras_vae import linear
from keras_vae import normalization
from keras_vae.distributions import likelihoods

# Of likelihoods without a noise: around 1, the weight of the ELBO.
_AROUND_ONE = (0.01, 10.0)
_CLOSING = {
    likelihoods.Bernoulli: "bernoulli",
    likelihoods.ContinuousBernoulli: "continuous_bernoulli",
}
# So many examples show the variances.
_EXAMPLES = 1000


def beta_range(x, latent_dim, likelihood="unit_normal"):
    """Returns the smallest and the largest weight between which something happens.

    With a normal likelihood of fixed scale s the weight is a noise: beta s^2 is the
    variance of p(x|z). A linear model keeps no unit above the variance of the first
    principal component, and below the variance which `latent_dim` components leave over
    there is no noise: the range goes from a twentieth of that, since networks may
    leave less, to 1.5 times the first. Other likelihoods have no such scale and
    get 0.01 to 10; under a Bernoulli or a continuous Bernoulli less, if a linear model
    keeps no unit up to there: 1.5 times the weight at which its last one closes, and
    from a thousandth of that.

    Args:
        x: Array (examples, ...), training data in the units that the model sees, NaN
            where an element is missing.
        latent_dim: Integer.
        likelihood: A likelihood or its name. Defaults to "unit_normal".

    Returns:
        Two floats, in two digits.

    Raises:
        ValueError: If `latent_dim` is no positive integer, or `x` has no examples, or,
            with a normal likelihood of fixed scale, only equal ones.

    Example:
    >>> x = np.random.default_rng(0).normal(size=(500, 4)) * [3.0, 1.0, 0.1, 0.1]
    >>> kv.weighing.beta_range(x, latent_dim=2)
    (0.00052, 14.0)
    >>> kv.weighing.beta_range(x, latent_dim=2, likelihood="optimal_normal")
    (0.01, 10.0)

    Reference:
        [Don't Blame the ELBO!](https://arxiv.org/abs/1911.02469)
    """
    arguments.check_count("latent_dim", latent_dim)
    likelihood = likelihoods.get(likelihood)
    x = np.asarray(x)
    if not is_noise(likelihood):
        return _around_one(x, likelihood)
    if x.ndim < 2 or not x.size:
        raise ValueError(
            "`x` must be an array of examples, (examples, ...). Received: "
            f"x.shape={x.shape}"
        )
    x = np.asarray(likelihood.standardize(x[:_EXAMPLES])).reshape(
        min(len(x), _EXAMPLES), -1
    )
    total, left, first = _variances(x, latent_dim)
    if not first > 0:
        raise ValueError(
            "`x` must vary to tell of weights. Received: examples that are all equal"
        )
    left = left / max(1, x.shape[1] - latent_dim)
    limits = max(left, 1e-3 * total / x.shape[1]) / 20, 1.5 * first
    low, high = (
        float(f"{limit / likelihood.core().scale ** 2:.2g}") for limit in limits
    )
    return low, high


def _variances(x, latent_dim):
    """Returns all variance, what components leave over, and that of the first."""
    if np.isnan(x).any():
        found = linear.observed_components(x, latent_dim)
        return found.total, found.left_over(latent_dim), found.eigenvalues[0]
    x = np.asarray(x, np.float64) - x.mean(axis=0)
    variances = np.linalg.svd(x, compute_uv=False) ** 2 / len(x)
    return variances.sum(), variances[latent_dim:].sum(), variances[0]


def _around_one(x, likelihood):
    low, high = _AROUND_ONE
    kind = _CLOSING.get(type(likelihood))
    unknown = kind is None or x.ndim < 2 or len(x) < 2
    if unknown or np.nanmin(x) < 0 or np.nanmax(x) > 1:
        return low, high
    flat = x[:_EXAMPLES].reshape(min(len(x), _EXAMPLES), -1)
    if flat.shape[1] < 2 or not normalization.observed_moments(flat)[1].any():
        return low, high
    closing = linear.observed_components(flat, 1, kind).closing_weights(noise=1.0)[0]
    high = min(high, float(f"{1.5 * closing:.2g}"))
    return min(low, high / 1000), high


def betas_between(low, high, num_betas=13, with_one=True, digits=None):
    """Spreads weights evenly over the logarithm of a range, both ends included.

    Args:
        low: Positive float.
        high: Float above `low`.
        num_betas: Integer, at least 3.
        with_one: Boolean, whether 1, the weight of the ELBO, takes the place of the
            nearest one where the range holds it.
        digits: Integer, to which the weights between the ends are rounded, or None.

    Returns:
        List of floats, rising.

    Example:
    >>> kv.weighing.betas_between(0.01, 10.0, num_betas=7, digits=3)
    [0.01, 0.0316, 0.1, 0.316, 1.0, 3.16, 10.0]
    """
    low, high = float(low), float(high)
    between = np.geomspace(low, high, num_betas)[1:-1].tolist()
    if digits is not None:
        between = [float(f"{beta:.{digits}g}") for beta in between]
    # The curve of the ELBO itself is asked for most, and rounds to be missed.
    if with_one and low < 1 < high:
        between[int(np.argmin(np.abs(np.log(between))))] = 1.0
    return [low, *between, high]


def is_noise(likelihood):
    """Whether a weight is a noise: the likelihood is a normal of fixed scale."""
    core = likelihood.core()
    return isinstance(core, likelihoods.Normal) and isinstance(core.scale, float)

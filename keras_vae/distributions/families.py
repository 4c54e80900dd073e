"""Additions to TFP's distributions; `tfd` provides both."""

import tensorflow as tf
import tensorflow_probability as tfp

from keras_vae.distributions.softplus import softplus_terms

tfd = tfp.distributions
fill_triangular = tfp.math.fill_triangular


class StableBernoulli(tfd.Bernoulli):
    """TFP's `Bernoulli`, with one softplus per element instead of two."""

    def _log_prob(self, event):
        relu, rest = softplus_terms(self.logits)
        return self.logits * event - relu - rest


class Flow(tfd.Distribution):
    """A transformed distribution, by its density and by its moments.

    Args:
        base: `tfd.Distribution` of the same shapes.
        log_prob: Callable (..., units) -> (...), the density.
        moments: Callable that returns mean and standard deviation of each unit.
    """

    def __init__(self, base, log_prob, moments):
        parameters = {"base": base, "log_prob": log_prob, "moments": moments}
        super().__init__(
            dtype=base.dtype,
            reparameterization_type=base.reparameterization_type,
            validate_args=False,
            allow_nan_stats=True,
            parameters=parameters,
            name="Flow",
        )
        self._base, self._density, self._moments = base, log_prob, moments

    def _batch_shape(self):
        return self._base.batch_shape

    def _batch_shape_tensor(self):
        return self._base.batch_shape_tensor()

    def _event_shape(self):
        return self._base.event_shape

    def _event_shape_tensor(self):
        return self._base.event_shape_tensor()

    def _log_prob(self, z):
        return self._density(z)

    def _mean(self):
        return self._moments()[0]

    def _stddev(self):
        return self._moments()[1]

    def _variance(self):
        return tf.square(self._moments()[1])


def affine(distribution, scale, shift):
    """Returns the distribution of `scale * x + shift`, element by element."""
    bijector = tfp.bijectors.Shift(shift)(tfp.bijectors.Scale(scale))
    return tfd.TransformedDistribution(distribution, bijector)


def is_diagonal(distribution):
    """Whether a distribution of vectors is a normal with independent elements."""
    return (
        isinstance(distribution, tfd.Independent)
        and isinstance(distribution.distribution, tfd.Normal)
        and distribution.event_shape.rank == 1
    )


@tfd.RegisterKL(tfd.MultivariateNormalTriL, tfd.Independent)
def _kl_full_diagonal(q, p, name=None):
    _check_diagonal(p)
    with tf.name_scope(name or "kl_full_diagonal"):
        stddev = p.stddev()
        # Row i of T in units of p's scale i. The diagonal's contribution has the form
        # of the KL of two normals, which is exactly 0 if they are equal.
        rows = q.scale.to_dense() / stddev[..., None]
        log_ratio = tf.math.log(tf.linalg.diag_part(rows))
        below = tf.linalg.set_diag(rows, tf.zeros_like(log_ratio))
        per_latent = (
            0.5 * tf.math.expm1(2.0 * log_ratio)
            - log_ratio
            + 0.5 * tf.reduce_sum(tf.square(below), axis=-1)
            + 0.5 * tf.square((q.mean() - p.mean()) / stddev)
        )
        return tf.reduce_sum(per_latent, axis=-1)


@tfd.RegisterKL(tfd.Independent, tfd.MultivariateNormalTriL)
def _kl_diagonal_full(q, p, name=None):
    _check_diagonal(q)
    diagonal = tfd.MultivariateNormalDiag(q.mean(), q.stddev())
    return tfd.kl_divergence(diagonal, p, name=name)


def _check_diagonal(distribution):
    # The registry checks only the outer class, so any family may be inside.
    if not is_diagonal(distribution):
        raise NotImplementedError(
            "No KL divergence is registered between a MultivariateNormalTriL and "
            f"{distribution}"
        )

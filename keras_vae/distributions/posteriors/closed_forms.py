"""KL divergences of a posterior from a prior in closed form."""

from keras_vae.distributions import tfd


def kl_divergence(posterior, prior):
    """Computes KL(q || p) in closed form.

        KL(q || p) = E_q[log q(z) - log p(z)]

    Args:
        posterior: `tfd.Distribution` q.
        prior: `tfd.Distribution` p of the same event shape.

    Returns:
        A float32 tensor of the broadcast batch shape, in nats.

    Raises:
        ValueError: If the KL of the two families has no closed form.

    Example:
    >>> standard = kv.priors.StandardNormal()
    >>> standard.build_for(latent_dim=2)
    >>> params = tf.constant([[1.0, 2.0, 0.0, 0.0]])
    >>> q = kv.distributions.DiagonalNormal().distribution(params)
    >>> kv.distributions.kl_divergence(q, standard.distribution()).numpy()
    array([2.5], dtype=float32)

    Reference:
        [Auto-Encoding Variational Bayes](https://arxiv.org/abs/1312.6114), appendix B
    """
    try:
        return tfd.kl_divergence(posterior, prior)
    except NotImplementedError as error:
        raise ValueError(
            "`posterior` and `prior` must have a KL divergence in closed form; "
            'otherwise pass `kl="monte_carlo"` to estimate it. Received: '
            f"posterior={posterior}, prior={prior}"
        ) from error


def kl_per_dimension(posterior, prior):
    """Computes KL(q(z_j|x) || p(z_j)) of each latent.

    For a posterior with independent latents the sum over j is the whole KL. For a
    posterior with full covariance these are the KLs of its marginals, and the whole KL
    exceeds their sum by the total correlation of q(z|x).

    Args:
        posterior: `tfd.Independent(tfd.Normal)` or `tfd.MultivariateNormalTriL`.
        prior: `tfd.Independent(tfd.Normal)`.

    Returns:
        A float32 tensor (..., latent_dim), in nats.

    Raises:
        ValueError: If a family is not one of these.

    Example:
    >>> standard = kv.priors.StandardNormal()
    >>> standard.build_for(latent_dim=2)
    >>> params = tf.constant([[1.0, 2.0, 0.0, 0.0]])
    >>> q = kv.distributions.DiagonalNormal().distribution(params)
    >>> kv.distributions.kl_per_dimension(q, standard.distribution()).numpy()
    array([[0.5, 2. ]], dtype=float32)
    """
    full = isinstance(posterior, tfd.MultivariateNormalTriL)
    if not tfd.is_diagonal(prior) or not (full or tfd.is_diagonal(posterior)):
        raise ValueError(
            "`prior` must be a normal with independent latents and `posterior` a "
            "normal for the KL to have a closed form per dimension. Received: "
            f"posterior={posterior}, prior={prior}"
        )
    return tfd.kl_divergence(units_of(posterior), prior.distribution)


def units_of(distribution):
    """Returns the marginals of the latents of a normal, event shape ()."""
    if isinstance(distribution, tfd.MultivariateNormalTriL):
        return tfd.Normal(distribution.mean(), distribution.stddev())
    return distribution.distribution

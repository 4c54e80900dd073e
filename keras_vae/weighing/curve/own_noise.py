"""A model of a weight as a plain VAE of its own noise."""

import keras
import numpy as np

from keras_vae import snapshot
from keras_vae.arguments import check_number
from keras_vae.distributions import likelihoods
from keras_vae.objectives import ELBO
from keras_vae.weighing.curve.betas import is_noise


def with_own_noise(vae, beta):
    """Returns the VAE whose ELBO is what `vae` minimised at a weight.

    With a normal of fixed scale s, `SSE / (2 s^2) + beta KL` has the minima of the
    negative ELBO of a normal with the variance beta s^2.

    Args:
        vae: A built `keras_vae.VAE`.
        beta: Positive float, its weight.

    Returns:
        With a normal likelihood of fixed scale a compiled `keras_vae.VAE` of equal
        networks, whose noise has the variance beta s^2 and whose weight is 1; else
        `vae`, whose likelihood has no such noise.

    Raises:
        ValueError: If `beta` is not positive.

    Example:
    >>> vae = kv.VAE(
    ...     encoder=kv.networks.mlp_encoder([4]),
    ...     decoder=kv.networks.mlp_decoder([4], (6,)),
    ...     latent_dim=2,
    ...     likelihood=kv.distributions.Normal(scale=1.0),
    ...     objective=kv.ELBO(kl_weight=0.09),
    ... )
    >>> vae.build((None, 6))
    >>> own = kv.weighing.with_own_noise(vae, 0.09)
    >>> own.likelihood.scale, float(own.objective.kl_weight.value)
    (0.3, 1.0)

    Reference:
        [Simple and Effective VAE Training with Calibrated
        Decoders](https://arxiv.org/abs/2006.13202)
    """
    beta = check_number("beta", beta, positive=True)
    if not is_noise(vae.likelihood):
        return vae
    objective = ELBO(kl=vae.objective.kl, num_samples=vae.objective.num_samples)
    scale = vae.likelihood.core().scale * float(np.sqrt(beta))
    likelihood = vae.likelihood.with_core(likelihoods.Normal(scale=scale))
    calibrated = type(vae).from_config(
        {**vae.get_config(), "likelihood": likelihood, "objective": objective}
    )
    calibrated.build(vae.get_build_config()["input_shape"])
    for layer, own in zip(vae.layers, calibrated.layers, strict=True):
        if layer is not vae.likelihood and layer is not vae.objective:
            snapshot.copy_weights(layer, own)
    calibrated.compile(keras.optimizers.Adam())
    return calibrated

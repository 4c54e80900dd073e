"""Linear VAEs whose weights are set to the optimum of `oracle.water_filling`."""

import numpy as np
import oracle

import keras_vae as kv
from keras_vae.distributions.posteriors import inverse_soft_clip


def make(latents=3, scale=1.0, kl_weight=1.0, dimensions=5, **kwargs):
    """A linear VAE with a normal likelihood, built, its weights as Keras draws them."""
    vae = kv.VAE(
        encoder=kv.networks.mlp_encoder([]),
        decoder=kv.networks.mlp_decoder([], (dimensions,)),
        latent_dim=latents,
        **{
            "likelihood": kv.distributions.Normal(scale=scale),
            "objective": kv.ELBO(kl_weight=kl_weight),
            "seed": 0,
            **kwargs,
        },
    )
    vae.build((None, dimensions))
    return vae


def set_maps(vae, encoder, stddev, decoder):
    """Sets q(z|x) = N(encoder' x, stddev^2) and E[x|z] = decoder z.

    Args:
        vae: A linear VAE.
        encoder: (dimensions, latents) array.
        stddev: (latents,) array.
        decoder: (dimensions, latents) array.
    """
    posterior = vae.latent.posterior
    limits = posterior.min_scale, posterior.max_scale
    raw = [inverse_soft_clip(float(s), *limits) for s in stddev]
    raw = np.array(raw) - inverse_soft_clip(1.0, *limits)
    zeros = np.zeros_like(encoder)
    vae.latent.head.kernel.assign(np.concatenate([encoder, zeros], axis=1))
    vae.latent.head.bias.assign(np.concatenate([np.zeros(len(raw)), raw]))
    kernel, bias = vae.decoder.trainable_variables
    kernel.assign(decoder.T)
    bias.assign(np.zeros(bias.shape))
    return vae


def optimal(theta, vectors, latents=3, eigenvalues=oracle.EIGENVALUES, **kwargs):
    """The linear VAE that minimises SSE / (2 scale^2) + kl_weight KL.

    Args:
        theta: kl_weight times scale^2.
        vectors: Eigenvectors of the data's covariance, as `oracle.data` returns them.
        latents: Integer.
        eigenvalues: The eigenvalues.
        **kwargs: See `make`.
    """
    values = np.ones(latents)
    known = min(latents, len(eigenvalues))
    values[:known] = np.maximum(eigenvalues[:known], theta)
    basis = np.zeros((len(eigenvalues), latents))
    basis[:, :known] = vectors[:, :known]
    size = np.zeros(latents)
    size[:known] = np.sqrt(values[:known] - theta)
    stddev = np.where(size > 0, np.sqrt(theta / values), 1.0)
    vae = make(latents, dimensions=len(eigenvalues), **kwargs)
    return set_maps(vae, basis * size / values, stddev, basis * size)

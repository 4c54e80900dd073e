"""A model of standardised data as one of the data in their own units."""

import keras
import numpy as np

from keras_vae import checks
from keras_vae import normalization as normalizations
from keras_vae import snapshot
from keras_vae.distributions.likelihoods import Standardized
from keras_vae.models.vae import VAE
from keras_vae.networks import ConditionalSequential
from keras_vae.serialization import default_policy

_HALF = ("float16", "bfloat16")
_NETWORKS = ("encoder", "decoder")


def in_original_units(vae, normalization):
    """Returns the VAE of x from a VAE of `(x - mean) / scale`.

        q(z|x) = q0(z|(x - mean) / scale)
        log p(x|z) = log p0((x - mean) / scale | z) - sum_i log scale_i

    The encoder begins with the layer, and the likelihood is `Standardized`. So inputs,
    means and draws, `.keras` file and SavedModel are in the units of x, and -ELBO and
    log p(x) are those of x: they differ from those of `vae` by the sum of log scale.

    Args:
        vae: A built `VAE` that was trained on standardised data, with one input and a
            likelihood of real numbers. Of a Multi-Rate VAE pass `at(beta)`.
        normalization: `keras.layers.Normalization` that standardises x, adapted or
            built, or what `kv.normalization.layer(mean, stddev)` makes.

    Returns:
        A plain compiled `VAE`, or `HierarchicalVAE`, with copies of all weights. It
        computes in float32 before the encoder, whose layers keep their precision. A
        linear path is inside its encoder and its decoder.

    Raises:
        ValueError: If `vae` is of many weights, not built, or has several inputs or a
            likelihood of other numbers, or `normalization` does not fit its data.

    Example:
    >>> x = np.random.default_rng(0).normal(300.0, 20.0, size=(50, 6))
    >>> normalization = keras.layers.Normalization()
    >>> normalization.adapt(x)
    >>> vae = kv.VAE(
    ...     encoder=kv.networks.mlp_encoder([4]),
    ...     decoder=kv.networks.mlp_decoder([4], (6,)),
    ...     latent_dim=2,
    ...     likelihood="normal",
    ... )
    >>> vae.build((None, 6))
    >>> raw = kv.in_original_units(vae, normalization)
    >>> bool(200 < raw.generate(1, noise=True)[0, 0] < 400)
    True
    """
    input_shape = _check(vae)
    mean, stddev = normalizations.moments(normalization)
    for shape in (input_shape[1:], vae.event_shape):
        normalizations.check_shape(mean.shape, shape)
    # Half precision would round x before it is standardised.
    policy = "float32" if vae.compute_dtype in _HALF else vae.dtype_policy
    with default_policy(policy):
        encoder, decoder = (list(map(_copy, vae.stacks[n])) for n in _NETWORKS)
        layers = [*_layers(vae, mean, stddev), encoder[0]]
        kind = ConditionalSequential if vae.conditions else keras.Sequential
        raw = vae.with_networks(
            [kind(layers), *encoder[1:]],
            decoder,
            likelihood=Standardized(_copy(vae.likelihood), normalization),
            posterior=_copy(vae.latents[-1].posterior),
            prior=_copy(vae.latents[-1].prior),
            objective=_copy(vae.objective),
            seed=vae.latent.noise.seed,
            conditions=vae.conditions.get_config(),
            missing=vae.missing,
            name=vae.name,
        )
        raw.build(input_shape)
    made = [*encoder, *decoder, *raw.latents, raw.likelihood, raw.objective]
    stacks = [part for name in _NETWORKS for part in vae.stacks[name]]
    given = [*stacks, *vae.latents, vae.likelihood, vae.objective]
    for own, part in zip(made, given, strict=True):
        snapshot.copy_weights(part, own)
    raw.latents[-1].prior.rescale(mean, stddev)
    raw.compile(keras.optimizers.Adam())
    return raw


def _layers(vae, mean, stddev):
    """Returns the layers that standardise what the encoder sees."""
    if vae.missing == "nan_with_mask":
        # Behind x on the last axis stands which elements are there.
        shape = vae.event_shape
        parts = (mean, np.zeros(shape)), (stddev, np.ones(shape))
        mean, stddev = (
            np.concatenate([np.broadcast_to(own, shape), mask], axis=-1)
            for own, mask in parts
        )
    return normalizations.layers(mean, stddev)


def _copy(layer):
    config = keras.saving.serialize_keras_object(layer)
    return keras.saving.deserialize_keras_object(config)


def _check(vae):
    """Returns the shape of the input of a model that can be converted."""
    if not isinstance(vae, VAE) or not vae.built or vae.beta_range is not None:
        raise ValueError(
            "`vae` must be a built `keras_vae.VAE` of one weight, such as `at(beta)` "
            f"of a Multi-Rate VAE. Received: vae={vae!r}"
        )
    if vae.reads_target:
        raise ValueError(
            "`vae` must have a decoder that takes z alone: this one reads the target, "
            f"which would no longer be standardised. Received: vae={vae!r}"
        )
    shape = vae.get_build_config()["input_shape"]
    if not checks.is_shape(shape):
        raise ValueError(
            "`vae` must have one input, which `normalization` standardises. Received: "
            f"inputs of shape {shape}"
        )
    return tuple(shape)

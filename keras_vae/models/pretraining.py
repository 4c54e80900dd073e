"""A start from an autoencoder: its encoder, and a decoder that begins anew."""

import keras

from keras_vae import objectives
from keras_vae import snapshot
from keras_vae.models.vae import VAE


def with_new_decoder(vae, objective=None):
    """Returns a model with the encoder of another one, and a new decoder.

    The remedy of Li et al. (2019) against a KL that vanishes: train an autoencoder, at
    weight 0 of the KL; then throw its decoder away and train anew, with a weight that
    rises from 0 over 10 epochs, and with free bits. A decoder that begins anew has to
    use a code that is already good.

    Args:
        vae: `VAE` that is built, for example trained with `ELBO(kl_weight=0)`.
        objective: Name, config or objective of the new model, or None for one like that
            of `vae`.

    Returns:
        A model of the class of `vae`, not compiled. Encoder and q(z|x) have the weights
        of `vae`; all else has new ones.

    Raises:
        ValueError: If `vae` is no `VAE` that is built.

    Example:
    >>> x, _ = kv.datasets.digits()
    >>> autoencoder = kv.VAE(
    ...     encoder=kv.networks.mlp_encoder([16]),
    ...     decoder=kv.networks.mlp_decoder([16], x.shape[1:]),
    ...     latent_dim=4,
    ...     objective=kv.ELBO(kl_weight=0),
    ... )
    >>> autoencoder.build((None, *x.shape[1:]))  # and `fit`
    >>> vae = kv.models.with_new_decoder(autoencoder, kv.objectives.FreeBits(nats=0.5))
    >>> bool(np.all(vae.infer(x[:2])[0] == autoencoder.infer(x[:2])[0]))
    True

    Reference:
        [A Surprisingly Effective Fix for Deep Latent Variable Modeling of Text](
        https://arxiv.org/abs/1909.00868)
    """
    _check_built("vae", vae)
    config = vae.get_config()
    if objective is not None:
        new = objectives.get(objective)
        config["objective"] = keras.saving.serialize_keras_object(new)
    made = type(vae).from_config(config)
    if not made.built:
        made.build(vae.get_build_config()["input_shape"])
    copy_encoder(vae, made)
    return made


def copy_encoder(source, target):
    """Copies the weights of encoder and q(z|x) from one model to another.

    The second half of `with_new_decoder`, for a target that exists: it may have another
    class or objective, or stand at the start of a run that is resumed.

    Args:
        source: `VAE` that is built.
        target: `VAE` that is built, with equal networks.

    Raises:
        ValueError: If one of them is no `VAE` that is built.

    Example:
    >>> sentences = ["a cat sat", "a dog sat"]
    >>> vocabulary = kv.datasets.Vocabulary.of(sentences)
    >>> one, other = (kv.SentenceVAE(vocabulary, 2, units=4) for _ in range(2))
    >>> kv.models.copy_encoder(one, other)
    >>> bool(np.all(one.encode(sentences)[0] == other.encode(sentences)[0]))
    True

    Reference:
        [A Surprisingly Effective Fix for Deep Latent Variable Modeling of Text](
        https://arxiv.org/abs/1909.00868)
    """
    _check_built("source", source)
    _check_built("target", target)
    snapshot.copy_weights(source.encoder, target.encoder)
    # Not the prior, nor the count of the noise, which are new.
    snapshot.copy_weights(source.latent.head, target.latent.head)
    snapshot.copy_weights(source.latent.posterior, target.latent.posterior)


def _check_built(name, vae):
    if not isinstance(vae, VAE) or not vae.built:
        raise ValueError(
            f"`{name}` must be a `keras_vae.VAE` that is built: first call `fit` or "
            f"`build`. Received: {name}={vae!r}"
        )

"""A VAE of sentences that trains its encoder ahead of its decoder."""

import keras

from keras_vae.models.aggressive_vae import AggressiveVAE
from keras_vae.models.sentence_vae import SentenceVAE


@keras.saving.register_keras_serializable("keras_vae")
class AggressiveSentenceVAE(SentenceVAE, AggressiveVAE):
    """`SentenceVAE` with the step of `AggressiveVAE`.

    In the phase, `max_steps` or fewer updates of the encoder precede each one of the
    decoder. `callbacks.AggressiveStopping` takes ids: `vocabulary.encode(sentences)`.

    Args:
        vocabulary: See `SentenceVAE`.
        **kwargs: `window` and `max_steps`, see `AggressiveVAE`, and the arguments of
            `SentenceVAE`.

    Example:
    >>> sentences = ["a cat sat", "a dog sat", "the dog sat down"] * 8
    >>> vocabulary = kv.datasets.Vocabulary.of(sentences)
    >>> vae = kv.models.AggressiveSentenceVAE(
    ...     vocabulary, latent_dim=2, units=8, max_steps=3, seed=0
    ... )
    >>> vae.compile("adam")
    >>> history = vae.fit(sentences, batch_size=3, verbose=0)
    >>> int(vae.optimizer.iterations)  # One of four of the eight steps.
    2

    Reference:
        [Lagging Inference Networks and Posterior Collapse in Variational
        Autoencoders](https://arxiv.org/abs/1901.05534)
    """

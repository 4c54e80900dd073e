"""What counted words reach on held-out sentences: the floor of any model of them."""

import numpy as np

from keras_vae.datasets import Vocabulary
from keras_vae.datasets import vocabulary as ids_of


def sentence_baselines(train, x, vocabulary):
    """Measures models of counted words, beside which a `SentenceVAE` is to be seen.

        "independent": p(w) = (c(w) + 1) / (N + V)
        "bigram": p(w|v) = (c(v, w) + T(v) p(w)) / (c(v) + T(v)), Witten and Bell

    c(w) counts a word and c(v, w) it after the word v in the training sentences, of N
    words with their ends; V is the number of words of the vocabulary, unknown words and
    the end among them; T(v) is the number of different words after v. Both are -log
    p(x) of a sentence with its end, exact. A network that reads all words before should
    do better than "bigram".

    Args:
        train: List or array of strings, the sentences that are counted.
        x: List or array of strings, on which the models are measured.
        vocabulary: `keras_vae.datasets.Vocabulary`, that of the model.

    Returns:
        Dict, names to floats, nats per sentence.

    Raises:
        ValueError: If the arguments are no sentences, or no `Vocabulary`.

    Example:
    >>> train = ["a cat sat", "a dog sat", "a cat ran"]
    >>> vocabulary = kv.datasets.Vocabulary.of(train)
    >>> found = kv.sentence_baselines(train, ["a dog ran"], vocabulary)
    >>> {name: round(nats, 2) for name, nats in found.items()}
    {'independent': 7.62, 'bigram': 5.08}

    Reference:
        [The zero-frequency problem](https://doi.org/10.1109/18.87000)
    """
    if not isinstance(vocabulary, Vocabulary):
        raise ValueError(
            "`vocabulary` must be a `keras_vae.datasets.Vocabulary`. Received: "
            f"vocabulary={vocabulary!r}"
        )
    for name, sentences in (("train", train), ("x", x)):
        if not len(sentences) or not isinstance(sentences[0], str):
            raise ValueError(
                f"`{name}` must hold sentences, strings. Received: {name}="
                f"{type(sentences).__name__} of {len(sentences)}"
            )
    size = vocabulary.size
    before, words = _pairs(train, vocabulary)
    unigram = np.bincount(words, minlength=size) + 1.0
    unigram[[ids_of.PADDING, ids_of.BEGIN]] = 0.0
    unigram /= unigram.sum()
    pairs, counts = np.unique(before * size + words, return_counts=True)
    followers = np.bincount(pairs // size, minlength=size)
    totals = np.bincount(before, minlength=size)
    before, words = _pairs(x, vocabulary)
    asked = before * size + words
    place = np.minimum(np.searchsorted(pairs, asked), len(pairs) - 1)
    seen = np.where(pairs[place] == asked, counts[place], 0)
    mass = totals[before] + followers[before]
    # After a word that was never seen, and has no followers, stands p(w).
    bigram = np.where(
        mass > 0,
        (seen + followers[before] * unigram[words]) / np.maximum(mass, 1),
        unigram[words],
    )
    return {
        "independent": float(-np.log(unigram[words]).sum() / len(x)),
        "bigram": float(-np.log(bigram).sum() / len(x)),
    }


def _pairs(sentences, vocabulary):
    """Returns the ids before and of each word of sentences, without padding."""
    ids = np.int64(vocabulary.encode(list(sentences)))[..., 0]
    before = np.pad(ids[:, :-1], [(0, 0), (1, 0)], constant_values=ids_of.BEGIN)
    kept = ids != ids_of.PADDING
    return before[kept], ids[kept]

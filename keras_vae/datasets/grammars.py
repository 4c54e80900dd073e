"""Sentences made by a grammar: a language that needs no file."""

import numpy as np

from keras_vae.arguments import check_count
from keras_vae.datasets import splits
from keras_vae.random import check_seed

_WORDS = {
    "determiner": "the a this every".split(),
    "adjective": "old young small quiet clever tired happy strange".split(),
    "person": "farmer teacher doctor child painter sailor singer judge".split(),
    "thing": "house boat letter picture song table garden machine".split(),
    "sees": "sees finds likes draws watches remembers forgets buys".split(),
    "sleeps": "sleeps laughs waits sings leaves works".split(),
    "says": "says thinks knows hopes".split(),
    "place": "at in near behind".split(),
    "adverb": "today often quickly again slowly".split(),
}
# Of a sentence: another one within it; an object; a place; an adverb. Of a noun: an
# adjective.
_WITHIN, _OBJECT, _PLACE, _ADVERB, _ADJECTIVE = 0.15, 0.6, 0.35, 0.3, 0.4


def grammar(size=5000, seed=0):
    """Returns sentences of a small grammar of English, of 3 to some 20 words.

    Args:
        size: Integer, how many.
        seed: Integer in [0, 2**31).

    Returns:
        An array (size,) of strings.

    Example:
    >>> kv.datasets.grammar(1, seed=0).tolist()
    ['this doctor says that the sailor works']
    """
    check_count("size", size)
    generator = np.random.default_rng(check_seed(seed))
    return np.array([" ".join(_sentence(generator)) for _ in range(size)], object)


def load(size=5000, seed=0, test_fraction=0.1):
    """Returns the `Dataset` of such sentences."""
    text = f"{size} sentences of a grammar."
    return splits.hold_out(grammar(size, seed), test_fraction, seed, description=text)


def _sentence(generator):
    def word(kind):
        return [_WORDS[kind][generator.integers(len(_WORDS[kind]))]]

    def noun(kind):
        adjective = word("adjective") if generator.random() < _ADJECTIVE else []
        return [*word("determiner"), *adjective, *word(kind)]

    subject = noun("person")
    if generator.random() < _WITHIN:
        return [*subject, *word("says"), "that", *_sentence(generator)]
    if generator.random() < _OBJECT:
        subject += [*word("sees"), *noun("thing")]
    else:
        subject += word("sleeps")
    if generator.random() < _PLACE:
        subject += [*word("place"), *noun("thing")]
    return subject + (word("adverb") if generator.random() < _ADVERB else [])

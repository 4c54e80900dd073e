"""Models of counted words, beside which those of sentences are seen."""

import itertools

import numpy as np
import pytest

import keras_vae as kv

TRAIN = ["a b", "a b b", "b c"]


def test_probabilities_are_those_that_are_counted_by_hand():
    vocabulary = kv.datasets.Vocabulary.of(TRAIN)
    found = kv.sentence_baselines(TRAIN, ["a c"], vocabulary)
    # Words a 2, b 4, c 1, ends 3, unknown 0; one more of each.
    single = {"a": 3 / 15, "b": 5 / 15, "c": 2 / 15, "end": 4 / 15, "unk": 1 / 15}
    nats = -np.log([single["a"], single["c"], single["end"]]).sum()
    np.testing.assert_allclose(found["independent"], nats, rtol=1e-12)
    # After the begin a 2 and b 1; after a always b; after c always the end.
    pairs = (
        (2 + 2 * single["a"]) / (3 + 2),
        (0 + 1 * single["c"]) / (2 + 1),
        (1 + 1 * single["end"]) / (1 + 1),
    )
    np.testing.assert_allclose(found["bigram"], -np.log(pairs).sum(), rtol=1e-12)


def test_probabilities_of_all_sentences_sum_to_one_with_those_that_go_on():
    vocabulary = kv.datasets.Vocabulary.of(["a b", "b"])
    train = ["a b", "b", "b a a", "b zebra"]
    words, total = ["a", "b", "<unk>"], {"independent": 0.0, "bigram": 0.0}
    for length in range(5):
        for one in itertools.product(words, repeat=length):
            found = kv.sentence_baselines(train, [" ".join(one)], vocabulary)
            for name, nats in found.items():
                total[name] += np.exp(-nats)
    # The end has 5 of 16 counts with the ones that are added.
    np.testing.assert_allclose(total["independent"], 1 - (11 / 16) ** 5, rtol=1e-9)
    assert 0.8 < total["bigram"] < 1


def test_words_that_were_never_seen_are_possible_and_padding_is_none():
    vocabulary = kv.datasets.Vocabulary(["a", "b", "c"])
    short = kv.sentence_baselines(["a b"], ["c"], vocabulary)
    both = kv.sentence_baselines(["a b"], ["c", "a b a c c zebra"], vocabulary)
    assert np.isfinite(list(both.values())).all()
    long = kv.sentence_baselines(["a b"], ["a b a c c zebra"], vocabulary)
    for name in both:
        np.testing.assert_allclose(2 * both[name], short[name] + long[name])


def test_arguments_must_be_sentences_and_a_vocabulary():
    vocabulary = kv.datasets.Vocabulary.of(TRAIN)
    with pytest.raises(ValueError, match="`vocabulary` must be a"):
        kv.sentence_baselines(TRAIN, TRAIN, ["a"])
    with pytest.raises(ValueError, match="`x` must hold sentences"):
        kv.sentence_baselines(TRAIN, [], vocabulary)
    with pytest.raises(ValueError, match="`train` must hold sentences"):
        kv.sentence_baselines(np.zeros((3, 2)), TRAIN, vocabulary)

"""The synthetic language, where all sentences can be listed."""

import itertools

import numpy as np
from scipy import stats

from benchmarks import synthetic_text


def test_probabilities_add_up_and_are_those_of_the_draws():
    language = synthetic_text.Language(words=3, length=3, units=4)
    every = np.array(list(itertools.product(range(3), repeat=3)))
    probs = np.exp(language.log_prob(every))
    assert abs(probs.sum() - 1) < 1e-6
    drawn = language.sample(20000, seed=3)
    counts = np.bincount(drawn @ [9, 3, 1], minlength=27)
    assert stats.chisquare(counts, 20000 * probs / probs.sum()).pvalue > 1e-3

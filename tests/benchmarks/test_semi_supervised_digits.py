"""The program that learns to read digits from few labels."""

import sys

import numpy as np
import pytest
from absl import flags

from benchmarks import semi_supervised

LABELS = np.random.default_rng(0).permutation(np.arange(300) % 10)


def test_as_many_labels_of_each_class_are_kept():
    hidden = semi_supervised.hide_labels(LABELS, 50, seed=1)
    known = hidden >= 0
    np.testing.assert_array_equal(hidden[known], LABELS[known])
    np.testing.assert_array_equal(np.bincount(hidden[known]), [5] * 10)
    assert set(hidden[~known]) == {-1}
    other = semi_supervised.hide_labels(LABELS, 50, seed=2)
    assert (other != hidden).any()


def test_an_epoch_has_each_unlabelled_example_beside_balanced_labelled_ones():
    hidden = semi_supervised.hide_labels(LABELS, 50, seed=1)
    x = np.arange(300.0)[:, None]
    data = semi_supervised.batches(x, hidden, 50, 20, seed=0)
    epoch = list(data.as_numpy_iterator())
    assert len(epoch) == int(data.cardinality()) == 5
    seen = []
    for batch in epoch:
        assert len(batch["x"]) == 70
        np.testing.assert_array_equal(
            batch["label"], hidden[batch["x"][:, 0].astype(int)]
        )
        labelled = batch["label"] >= 0
        np.testing.assert_array_equal(np.bincount(batch["label"][labelled]), [2] * 10)
        seen.extend(batch["x"][~labelled, 0])
    np.testing.assert_array_equal(sorted(seen), np.flatnonzero(hidden < 0))


@pytest.mark.slow
def test_quick_run_prints_a_row(capsys, monkeypatch):
    values = flags.FlagValues()
    monkeypatch.setattr(semi_supervised.flags, "FLAGS", values)
    monkeypatch.setattr(semi_supervised, "FLAGS", values)
    semi_supervised.define_flags(values)
    values([sys.argv[0], "--quick", "--labels=100"])
    semi_supervised.main([])
    *_, row = capsys.readouterr().out.splitlines()
    assert row.startswith("| 100 |")
    assert row.count("%") == 2

"""The combinations of settings that are compared with stock Keras, and how."""

import differential
import numpy as np
import pairwise
import pytest

CASES, COVERING = pairwise.combinations(
    differential.AXES, differential.is_valid, number=600
)
QUICK = max(COVERING, 60)
# Two halves, of which each is a file of tests.
ARRAYS = differential.AXES["feed"][:5]
STREAMS = differential.AXES["feed"][5:]


def name_of(case):
    return "-".join(str(value) for value in case.values() if value is not None)


def parameters(*feeds):
    """Returns the cases with one of these feeds."""
    return [
        pytest.param(
            case,
            id=name_of(case),
            marks=[pytest.mark.slow] if place >= QUICK else [],
        )
        for place, case in enumerate(CASES)
        if case["feed"] in feeds
    ]


def reference(case):
    """The case that Keras trains rightly, if it does not train this one so."""
    if "unknown" not in case["feed"]:
        return case
    # Keras goes on for a part of a step when data of unknown length end: it counts an
    # update more, and trains and evaluates on a batch more if the batch's size is known
    # (https://github.com/keras-team/keras/issues/23084).
    size = case["size"]
    if "fixed" in case["feed"]:
        size = size // differential.BATCH * differential.BATCH
    return {**case, "feed": "dataset", "size": size}


def without_batches_that_never_came(calls, size):
    extra = ("on_train_batch_begin", [-(-size // differential.BATCH)])
    return [call for call in calls if call[:2] != extra]


def norm(array):
    return float(np.sqrt(np.sum(np.square(np.asarray(array, "float64")))))


def assert_equal_logs(mine, theirs, where):
    assert set(mine) == set(theirs), where
    for name, value in theirs.items():
        np.testing.assert_allclose(
            mine[name], value, rtol=1e-4, atol=1e-6, err_msg=f"{where}: {name}"
        )


def assert_equal_outcomes(mine, theirs, rtol):
    """Steps, files, lengths and calls are the same, and weights by their norm."""
    assert mine.iterations == theirs.iterations
    assert mine.files == theirs.files
    assert [call[:2] for call in mine.calls] == [call[:2] for call in theirs.calls]
    for one, other in zip(mine.calls, theirs.calls, strict=True):
        assert_equal_logs(one[2], other[2], one[:2])
    for one, other in zip(mine.histories, theirs.histories, strict=True):
        assert_equal_logs(one, other, "history")
    for one, other in zip(mine.weights, theirs.weights, strict=True):
        if not np.isfinite(np.asarray(other, "float64")).all():
            np.testing.assert_array_equal(np.isnan(one), np.isnan(other))
            continue
        difference = norm(np.asarray(one, "float64") - np.asarray(other, "float64"))
        assert difference <= rtol * norm(other) + 1e-9


def check(case, directory, monkeypatch):
    """Trains the case in both ways and compares."""
    (directory / "stock").mkdir()
    (directory / "auto").mkdir()
    with differential.stock(monkeypatch):
        theirs = differential.run(reference(case), {}, directory / "stock")
    with differential.short_blocks(monkeypatch):
        mine = differential.run(case, {}, directory / "auto")
    if "unknown" in case["feed"]:
        size = reference(case)["size"]
        mine.calls = without_batches_that_never_came(mine.calls, size)
    assert_equal_outcomes(mine, theirs, rtol=1e-5)

"""What "auto" may change: nothing but speed. Each case runs under Keras as well."""

import differential
import keras
import numpy as np
import pairwise
import pytest

import keras_vae as kv

CASES, COVERING = pairwise.combinations(
    differential.AXES, differential.is_valid, number=600
)
QUICK = max(COVERING, 60)


def name_of(case):
    return "-".join(str(value) for value in case.values() if value is not None)


def parameters():
    for place, case in enumerate(CASES):
        marks = [pytest.mark.slow] if place >= QUICK else []
        yield pytest.param(case, id=name_of(case), marks=marks)


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


@pytest.mark.filterwarnings("ignore:Limiting:UserWarning")
@pytest.mark.filterwarnings("ignore:Your input ran out of data:UserWarning")
@pytest.mark.parametrize("case", list(parameters()))
def test_auto_changes_nothing(case, tmp_path, monkeypatch):
    (tmp_path / "stock").mkdir()
    (tmp_path / "auto").mkdir()
    with differential.stock(monkeypatch):
        theirs = differential.run(reference(case), {}, tmp_path / "stock")
    with differential.short_blocks(monkeypatch):
        mine = differential.run(case, {}, tmp_path / "auto")
    if "unknown" in case["feed"]:
        size = reference(case)["size"]
        mine.calls = without_batches_that_never_came(mine.calls, size)
    assert_equal_outcomes(mine, theirs, rtol=1e-5)


OPTIMIZERS = sorted(
    name
    for name, item in vars(keras.optimizers).items()
    if isinstance(item, type)
    and issubclass(item, keras.optimizers.Optimizer)
    and item is not keras.optimizers.Optimizer
)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_every_optimizer_of_keras(name, monkeypatch):
    """Three steps, since rounding grows in those that divide by small numbers."""

    def train():
        keras.utils.set_random_seed(2)
        model = kv.VAE(
            kv.networks.mlp_encoder([5], activation="tanh"),
            kv.networks.mlp_decoder([5], (6,), activation="tanh"),
            latent_dim=2,
            seed=1,
        )
        optimizer = getattr(keras.optimizers, name)
        inner = keras.optimizers.Adam(1e-3)
        if name == "LossScaleOptimizer":
            optimizer = optimizer(inner)
        elif name == "MultiOptimizer":
            optimizer = optimizer([(inner, lambda variable: True)])
        else:
            optimizer = optimizer(1e-3)
        model.compile(optimizer)
        model.fit(differential.numbers(30)[0], batch_size=10, verbose=0)
        return [np.asarray(v.value) for v in model.trainable_variables]

    with differential.stock(monkeypatch):
        theirs = train()
    with differential.short_blocks(monkeypatch):
        monkeypatch.setattr("keras_vae.training.choice.SHORT", 0)
        mine = train()
    for one, other in zip(mine, theirs, strict=True):
        assert norm(one - other) <= 1e-4 * norm(other) + 1e-9

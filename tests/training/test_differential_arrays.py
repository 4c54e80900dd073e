"""What "auto" may change: nothing but speed. Arrays, data sets and optimizers."""

import comparison
import differential
import keras
import numpy as np
import pytest

import keras_vae as kv


@pytest.mark.filterwarnings("ignore:Limiting:UserWarning")
@pytest.mark.filterwarnings("ignore:Your input ran out of data:UserWarning")
@pytest.mark.parametrize("case", comparison.parameters(*comparison.ARRAYS))
def test_auto_changes_nothing(case, tmp_path, monkeypatch):
    comparison.check(case, tmp_path, monkeypatch)


OPTIMIZERS = sorted(
    name
    for name, item in vars(keras.optimizers).items()
    if isinstance(item, type)
    and issubclass(item, keras.optimizers.Optimizer)
    and item is not keras.optimizers.Optimizer
)


QUICK = ("SGD", "Adafactor", "MultiOptimizer")


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=[] if name in QUICK else [pytest.mark.slow])
        for name in OPTIMIZERS
    ],
)
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
            optimizer = optimizer(keras.optimizers.OptimizerMap(inner))
        else:
            optimizer = optimizer(1e-3)
        model.compile(optimizer)
        model.fit(differential.numbers(30)[0], batch_size=10, verbose=0)
        return [np.asarray(v.value) for v in model.trainable_variables]

    with differential.stock(monkeypatch):
        theirs = train()
    with differential.short_blocks(monkeypatch, short=0):
        mine = train()
    for one, other in zip(mine, theirs, strict=True):
        assert comparison.norm(one - other) <= 1e-4 * comparison.norm(other) + 1e-9

"""What is left in memory of a model that was trained and given up."""

import gc
import os
import pathlib
import subprocess
import sys
import weakref

import matrix
import numpy as np
import pytest
import tensorflow as tf

import keras_vae as kv

DATA = np.random.default_rng(0).random((40, 6)).astype("float32")

GROWTH = """
import gc, sys
import numpy as np, keras, psutil
import keras_vae as kv

class Blocks(kv.BlockTraining, keras.Sequential):
    pass

def train():
    sizes = [(64, "relu"), (8, None), (64, "relu"), (64, "sigmoid")]
    layers = [keras.layers.Dense(n, activation=name) for n, name in sizes]
    if sys.argv[1] == "stock":
        model = keras.Sequential(layers)
        model.compile("adam", "mse", jit_compile=sys.argv[2] == "xla")
    else:
        steps = {"steps_per_execution": int(sys.argv[3])}
        model = Blocks(layers)
        model.compile("adam", "mse", jit_compile=sys.argv[2] == "xla", **steps)
    model.fit(data, data, batch_size=20, verbose=0)

data = np.random.default_rng(0).random((200, 64)).astype("float32")
sizes = []
for _ in range(12):
    train()
    gc.collect()
    sizes.append(psutil.Process().memory_info().rss / 2**20)
print((sizes[-1] - sizes[3]) / 8)
"""


def _traced_graphs(work, **settings):
    """Returns weak references to all graphs in which a step of a VAE was traced."""
    graphs = []

    class Watched(kv.VAE):
        def train_step(self, data):
            graphs.append(weakref.ref(tf.compat.v1.get_default_graph()))
            return super().train_step(data)

        def test_step(self, data):
            graphs.append(weakref.ref(tf.compat.v1.get_default_graph()))
            return super().test_step(data)

        def estimate(self, *args, **kwargs):
            graphs.append(weakref.ref(tf.compat.v1.get_default_graph()))
            return super().estimate(*args, **kwargs)

    encoder, decoder = kv.networks.mlp_encoder([5]), kv.networks.mlp_decoder([5], (6,))
    model = Watched(encoder, decoder, 2, seed=1)
    model.compile("adam", **settings)
    work(model)
    return graphs


def _fit(model):
    model.fit(DATA, batch_size=10, verbose=0)


def _evaluate(model):
    model.evaluate(DATA, batch_size=10, verbose=0)


def _estimate(model):
    model.log_likelihood(DATA, num_samples=3, verbose=0)


@pytest.mark.parametrize("work", matrix.first(1, [_fit, _evaluate, _estimate]))
@pytest.mark.parametrize(
    ("jit_compile", "steps"), matrix.first(1, [(True, 4), (False, 1), (False, 4)])
)
def test_no_graph_outlives_its_model(work, jit_compile, steps):
    graphs = _traced_graphs(work, jit_compile=jit_compile, steps_per_execution=steps)
    assert len(graphs) > 0
    # The second frees what an entry of a weak dictionary held.
    gc.collect()
    gc.collect()
    assert [graph() for graph in graphs] == [None] * len(graphs)


def test_a_model_is_fitted_under_a_gradient_tape():
    encoder, decoder = kv.networks.mlp_encoder([5]), kv.networks.mlp_decoder([5], (6,))
    model = kv.VAE(encoder, decoder, 2, seed=1)
    model.compile("adam", jit_compile=False, steps_per_execution=4)
    with tf.GradientTape():
        _fit(model)
    assert int(model.optimizer.iterations) == 4


def _growth(*arguments):
    """Returns the MiB that a process grows by for each model it trains."""
    root = pathlib.Path(kv.__file__).parents[1]
    process = subprocess.run(
        [sys.executable, "-c", GROWTH, *arguments],
        env={**os.environ, "PYTHONPATH": str(root)},
        capture_output=True,
        text=True,
        check=True,
    )
    return float(process.stdout.split()[-1])


@pytest.mark.slow
def test_a_process_grows_by_no_more_than_with_keras():
    plain, compiled = _growth("stock", "plain"), _growth("stock", "xla")
    assert _growth("blocks", "plain", "5") < 0.6 * plain
    assert _growth("blocks", "xla", "5") < 1.25 * compiled

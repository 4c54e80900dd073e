import os
import subprocess
import sys

import numpy as np
import pytest

import keras_vae as kv

# Stands in for a backend that is not installed: what counts is what Keras says it is.
IMPORT = """
import os

wanted = os.environ.pop("KERAS_BACKEND")
os.environ["KERAS_BACKEND"] = "tensorflow"
import keras

keras.backend.backend = lambda: wanted
import keras_vae
"""

# What takes long to import and only some programs need. Keras itself loads parts of
# scikit-learn and matplotlib where they are installed.
LAZY = """
import sys
import keras

before = set(sys.modules)
import keras_vae

names = {"matplotlib", "pandas", "PIL", "sklearn", "tensorflow_probability", "tf_keras"}
print(sorted(m for m in set(sys.modules) - before if m.split(".")[0] in names))
"""
# Where the first use of a distribution is in the trace of a graph.
FIRST_USE = """
import keras_vae as kv
import tensorflow as tf

likelihood = kv.distributions.Bernoulli()
traced = tf.function(likelihood.log_prob, jit_compile=True)
zeros = tf.zeros((1, 1, 4))
for log_prob in (traced, likelihood.log_prob):
    print(float(log_prob(zeros, zeros[0])[0, 0]))
"""

FLAT_NAMES = [
    "VAE",
    "AggressiveVAE",
    "FactorVAE",
    "HierarchicalVAE",
    "SentenceVAE",
    "SemiSupervisedVAE",
    "in_original_units",
    "ELBO",
    "ImportanceWeighted",
    "AggressiveStopping",
    "CollapseMonitor",
    "DivergenceGuard",
    "EarlyStopping",
    "KLAnnealing",
    "ModelCheckpoint",
    "TensorBoard",
    "advise",
    "audit",
    "baselines",
    "diagnose",
    "linear_forecast",
    "rate_distortion",
    "Hyperparameter",
]
MODULES = [
    "callbacks",
    "datasets",
    "distributions",
    "layers",
    "losses",
    "metrics",
    "models",
    "networks",
    "objectives",
    "optimizers",
    "priors",
    "random",
    "replicas",
    "schedules",
]


def run(code, backend):
    environment = {**os.environ, "KERAS_BACKEND": backend, "TF_CPP_MIN_LOG_LEVEL": "3"}
    return subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True
    )


@pytest.mark.parametrize(
    "backend",
    [
        "jax",
        pytest.param("torch", marks=pytest.mark.slow),
        pytest.param("numpy", marks=pytest.mark.slow),
    ],
)
@pytest.mark.slow
def test_another_backend_is_a_clear_error(backend):
    result = run(IMPORT, backend)
    assert result.returncode == 1
    assert result.stderr.strip().splitlines()[-1] == (
        f"ImportError: keras_vae runs on Keras's TensorFlow backend. Received: "
        f"'{backend}'. Set the environment variable KERAS_BACKEND=tensorflow, or the "
        "entry 'backend' of ~/.keras/keras.json, before Keras is imported."
    )


@pytest.mark.slow
def test_the_tensorflow_backend_is_none():
    result = run("import keras_vae; print(keras_vae.__version__)", "tensorflow")
    assert result.returncode == 0, result.stderr
    assert result.stdout.strip() == kv.__version__


def test_the_import_loads_nothing_that_only_some_programs_need():
    result = run(LAZY, "tensorflow")
    assert result.returncode == 0, result.stderr
    assert result.stdout.strip() == "[]"


@pytest.mark.slow
def test_the_first_distribution_may_be_made_in_a_graph():
    result = run(FIRST_USE, "tensorflow")
    assert result.returncode == 0, result.stderr
    values = [float(value) for value in result.stdout.split()]
    np.testing.assert_allclose(values, 4 * np.log(0.5), rtol=1e-6)


@pytest.mark.parametrize("name", FLAT_NAMES + MODULES)
def test_flat_names(name):
    assert hasattr(kv, name)


def test_flat_names_are_those_of_their_modules():
    assert kv.ELBO is kv.objectives.ELBO
    assert kv.ImportanceWeighted is kv.objectives.ImportanceWeighted
    assert kv.KLAnnealing is kv.callbacks.KLAnnealing
    assert kv.TensorBoard is kv.callbacks.TensorBoard
    assert kv.objectives.get("elbo").__class__ is kv.ELBO

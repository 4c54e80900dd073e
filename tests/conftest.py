import os
import pathlib

# Before TensorFlow is imported, which reads it then.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import keras
import pytest
import tensorflow as tf

tf.config.experimental.enable_tensor_float_32_execution(False)
# Two devices, on which `tf.distribute` is tested; all else runs on the first.
tf.config.set_logical_device_configuration(
    tf.config.list_physical_devices("CPU")[0],
    [tf.config.LogicalDeviceConfiguration()] * 2,
)

_iterate = tf.data.Dataset.__iter__


def _without_autotune(dataset):
    options = tf.data.Options()
    options.autotune.enabled = False
    return _iterate(dataset.with_options(options))


# An iterator that is freed waits for its autotune thread, now and then for as long as
# it lived (docs/experiments.md, "Upstream bugs"). Autotuning changes no number.
tf.data.Dataset.__iter__ = _without_autotune


@pytest.fixture(autouse=True)
def _fresh_global_state():
    keras.utils.set_random_seed(0)
    yield
    keras.config.set_dtype_policy("float32")


@pytest.fixture(scope="session")
def data_dir():
    """Directory with the real data sets."""
    directory = os.environ.get("KERAS_VAE_DATA")
    if not directory:
        pytest.skip("needs the data sets: set KERAS_VAE_DATA to their directory")
    return pathlib.Path(directory)


@pytest.fixture(scope="session")
def strategy():
    """Two replicas."""
    # One for all tests: the collectives of several strategies mix up their keys.
    return tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])

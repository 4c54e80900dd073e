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

"""TFP's distributions and those of `families`, imported at the first use.

Importing TFP takes a third of the library's import time. A program with plain Keras
models, or one that only reads data or a schedule, does not need TFP.
"""

import importlib

import tensorflow as tf


def __getattr__(name):
    if name.startswith("__"):  # Tools look these up on every module.
        raise AttributeError(name)
    # The first use may be in a traced graph, which must not own TFP's tensors.
    with tf.init_scope():
        families = importlib.import_module("keras_vae.distributions.families")
    return getattr(families, name, None) or getattr(families.tfd, name)

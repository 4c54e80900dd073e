"""TFP's distributions and those of `families`, imported when one is asked for.

TFP takes a third of the library's time to import, and a program whose model is plain
Keras, or that only reads data or a schedule, needs none of it.
"""

import importlib

import tensorflow as tf


def __getattr__(name):
    if name.startswith("__"):  # Asked of every module, by whoever looks at modules.
        raise AttributeError(name)
    # The first use may be in the trace of a graph, which must not own TFP's tensors.
    with tf.init_scope():
        families = importlib.import_module("keras_vae.distributions.families")
    return getattr(families, name, None) or getattr(families.tfd, name)

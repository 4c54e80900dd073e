"""The choice behind `compile(jit_compile="auto", steps_per_execution="auto")`."""

import dataclasses
import math

import keras
import tensorflow as tf
from absl import logging

from keras_vae import _keras
from keras_vae.training.watching import watches_batches

AUTO = "auto"
# On two cores, compiling the block of a small dense VAE takes the time that some 500
# compiled steps save.
SHORT = 500
XLA_BLOCK = 64
# Resident batches need no stacking, so a long block costs only patience: the progress
# bar stands still and Ctrl-C waits until the block ends.
RESIDENT_BLOCK = 256
# Number of weights from which 256 steps take seconds.
LARGE = 2_000_000
GRAPH_BLOCK = 20

_LAYERS = [x for x in vars(keras.layers).values() if isinstance(x, type)]
CONVOLUTIONS = tuple(
    layer
    for layer in _LAYERS
    if "Conv" in layer.__name__ and "LSTM" not in layer.__name__
)
RECURRENT = (keras.layers.RNN, keras.layers.Bidirectional)


@dataclasses.dataclass(frozen=True)
class Choice:
    """How `fit` runs a model.

    Args:
        jit_compile: Boolean, whether XLA compiles the training step.
        steps: Integer, training steps per execution.
        reason: String, the reason, to follow "because".
    """

    jit_compile: bool
    steps: int
    reason: str


def choose(model, num_batches, num_steps, callbacks, jit_compile, steps, resident):
    """Chooses how `fit` runs a model on the device that it has.

    Args:
        model: A compiled `keras.Model`.
        num_batches: Integer, training steps per epoch, or None if unknown.
        num_steps: Integer, training steps of all epochs, or None if unknown.
        callbacks: List of the user's callbacks.
        jit_compile: The user's `jit_compile`: a boolean or "auto".
        steps: The user's `steps_per_execution`: an integer or "auto".
        resident: Boolean, whether the data would stay on the device.

    Returns:
        A `Choice`.
    """
    xla_block = RESIDENT_BLOCK if resident and not _is_large(model) else XLA_BLOCK
    auto = _choose(model, num_steps, xla_block)
    if jit_compile is True and (reason := _reason_of_optimizer(model.optimizer)):
        logging.warning("Weights of %s may become NaN, because %s.", model.name, reason)
    if jit_compile != AUTO and jit_compile != auto.jit_compile:
        block = xla_block if jit_compile else GRAPH_BLOCK
        auto = Choice(jit_compile, min(block, auto.steps), auto.reason)
    if steps != AUTO:
        return Choice(auto.jit_compile, steps, auto.reason)
    if auto.steps > 1 and any(watches_batches(callback) for callback in callbacks):
        # Starting an XLA program for a single step costs more time than it saves.
        jit_compile = auto.jit_compile if jit_compile != AUTO else False
        return Choice(jit_compile, 1, "a callback wants to see each batch")
    steps = even_blocks(auto.steps, num_batches)
    return Choice(auto.jit_compile, steps, auto.reason)


def reason_against_xla(model):
    """Returns why XLA would not speed up a model on this machine, or None.

    Args:
        model: A `keras.layers.Layer` or `keras.Model`.

    Returns:
        A string that follows "because", or None if XLA pays.

    Example:
    >>> kv.training.choice.reason_against_xla(kv.networks.conv_encoder((8, 8, 1)))
    'XLA runs convolutions slowly on a CPU'
    """
    if reason := getattr(model, "reason_against_xla", None):
        return reason
    layers = _keras.sublayers(model, keras.layers.Layer)
    if not all(layer.supports_jit for layer in layers):
        return "one of its layers does not support XLA"
    if any(isinstance(layer, CONVOLUTIONS) for layer in layers) and not _on_gpu():
        return "XLA runs convolutions slowly on a CPU"
    return None


def _reason_of_optimizer(optimizer):
    inner = getattr(optimizer, "inner_optimizer", optimizer)
    if isinstance(inner, keras.optimizers.Adafactor):
        # Adafactor divides by a product of two squares near its epsilon of 1e-30.
        return "XLA rounds Adafactor's divisor to zero"
    return None


def _is_large(model):
    sizes = [math.prod(weight.shape) for weight in model.trainable_weights]
    return sum(sizes) > LARGE


def _on_gpu():
    return bool(tf.config.list_logical_devices("GPU"))


def _choose(model, num_steps, xla_block):
    if model.run_eagerly:
        return Choice(False, 1, "it runs eagerly")
    if model.distribute_strategy.num_replicas_in_sync > 1:
        return Choice(False, 1, "several replicas train it")
    if num_steps is not None and num_steps < SHORT:
        return Choice(False, 1, f"{num_steps} steps do not repay compiling it")
    if reason := reason_against_xla(model) or _reason_of_optimizer(model.optimizer):
        return Choice(False, GRAPH_BLOCK, reason)
    if _keras.sublayers(model, RECURRENT):
        if _on_gpu():
            return Choice(False, GRAPH_BLOCK, "a GPU has kernels for recurrent layers")
        return Choice(True, 1, "XLA runs recurrent layers fastest step by step")
    return Choice(True, xla_block, "XLA runs dense layers fastest in blocks of steps")


def even_blocks(steps, num_batches):
    """Returns the number of steps, at most `steps`, that divides an epoch most evenly.

    Args:
        steps: Integer, the most steps of a block.
        num_batches: Integer, steps of an epoch, or None if unknown.

    Example:
    >>> kv.training.choice.even_blocks(64, 600)
    60
    """
    if not num_batches:
        return steps
    blocks = -(-num_batches // steps)
    return -(-num_batches // blocks)

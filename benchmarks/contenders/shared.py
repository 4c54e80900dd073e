"""What all contenders have in common: data, initial weights and sizes."""

import queue
import threading

import numpy as np

HIDDEN = 200
# Units and latents of each level of a hierarchy, that next to x first.
LEVELS = ((512, 64), (256, 32), (128, 16), (64, 8), (32, 4))
LATENTS = 50
LEARNING_RATE = 1e-3
FILTERS = (32, 32, 64, 64)
CONV_HIDDEN = (256, 256)
CONV_LATENTS = 10
VOCABULARY = 10_000
UNITS = EMBEDDING = 256
TEXT_LATENTS = 32
TEXT_DROPOUT = 0.5
# Sentences in a batch are padded to a multiple of it.
TEXT_WIDTH = 10


def load(path):
    """Returns the array of examples that the parent process has written."""
    return np.load(path)


def mlp_weights(pixels=784, latents=LATENTS):
    """Kernels and biases from which every dense contender starts.

    Returns:
        Six pairs: two layers of the encoder, the head, two layers of the decoder and
        the logits. He's normal where a ReLU follows, Glorot's uniform elsewhere, and
        zero for the scales: libraries map them in different ways, but all take 0 for
        a scale of 1, or near it.
    """
    generator = np.random.default_rng(0)

    def layer(rows, columns, relu):
        limit = np.sqrt(6 / (rows + columns))
        uniform = generator.uniform(-limit, limit, (rows, columns))
        normal = generator.normal(scale=np.sqrt(2 / rows), size=(rows, columns))
        kernel = normal if relu else uniform
        return kernel.astype("float32"), np.zeros(columns, "float32")

    kernel, bias = layer(HIDDEN, 2 * latents, False)
    kernel[:, latents:] = 0
    return [
        layer(pixels, HIDDEN, True),
        layer(HIDDEN, HIDDEN, True),
        (kernel, bias),
        layer(latents, HIDDEN, True),
        layer(HIDDEN, HIDDEN, True),
        layer(HIDDEN, pixels, False),
    ]


def batches(generator, size, batch_size):
    """Returns a new order of the examples, an int32 array (steps, batch_size)."""
    steps = size // batch_size
    order = generator.permutation(size)[: steps * batch_size]
    return order.astype("int32").reshape(steps, batch_size)


def epochs_of(fit, callback_class):
    """Returns a function that lets one epoch of a long `fit` pass.

    A `fit` for each epoch would not do: what it chooses may depend on its length.

    Args:
        fit: Callable that takes `epochs`, `callbacks` and `verbose`.
        callback_class: Keras's base class of callbacks.
    """
    allowed, losses = threading.Semaphore(0), queue.Queue()

    class Turnstile(callback_class):
        def on_epoch_begin(self, epoch, logs=None):
            allowed.acquire()

        def on_epoch_end(self, epoch, logs=None):
            losses.put(logs["loss"])

    def run():
        try:
            fit(epochs=10**6, callbacks=[Turnstile()], verbose=0)
        except Exception as error:
            losses.put(error)

    threading.Thread(target=run, daemon=True).start()

    def epoch():
        allowed.release()
        loss = losses.get()
        if isinstance(loss, Exception):
            raise loss
        return float(loss)

    return epoch

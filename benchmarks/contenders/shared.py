"""What all contenders have in common: data, initial weights and sizes."""

import numpy as np

HIDDEN = 200
LATENTS = 50
LEARNING_RATE = 1e-3
FILTERS = (32, 32, 64, 64)
CONV_HIDDEN = (256, 256)
CONV_LATENTS = 10
VOCABULARY = 10_000
UNITS = EMBEDDING = 256
TEXT_LATENTS = 32


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

"""The matrix products of a training step and nothing else, the ceiling of all others.

Two processes, each pinned to a core of its own, share the epoch.
"""

import contextlib
import multiprocessing
import os

from benchmarks.contenders import shared


def mlp(data, batch_size=100):
    examples, pixels = shared.load(data).shape
    context = multiprocessing.get_context("spawn")
    cores = sorted(os.sched_getaffinity(0))[:2]
    pipes = []
    for core in cores:
        here, there = context.Pipe()
        steps = examples // batch_size // len(cores)
        arguments = (there, core, steps, batch_size, pixels)
        context.Process(target=_multiply, args=arguments, daemon=True).start()
        pipes.append(here)
    for pipe in pipes:
        pipe.recv()

    def epoch():
        for pipe in pipes:
            pipe.send(True)
        for pipe in pipes:
            pipe.recv()

    return epoch


def _multiply(pipe, core, steps, batch_size, pixels):
    os.sched_setaffinity(0, [core])
    import tensorflow as tf

    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    shapes = [kernel.shape for kernel, _ in shared.mlp_weights(pixels)]
    # Variables are read in each step, so that no product can move out of the loop.
    layers = [
        [tf.Variable(tf.random.normal(s)) for s in ((batch_size, i), (i, o))]
        + [tf.Variable(tf.random.normal((batch_size, o)))]
        for i, o in shapes
    ]

    @tf.function(autograph=False)
    def run(steps):
        def step(i, total):
            products = []
            for number, (x, kernel, gradient) in enumerate(layers):
                products.append(tf.matmul(x, kernel))
                products.append(tf.matmul(x, gradient, transpose_a=True))
                if number:  # No gradient goes into the data.
                    products.append(tf.matmul(gradient, kernel, transpose_b=True))
            return i + 1, total + tf.add_n([product[0, 0] for product in products])

        return tf.while_loop(lambda i, _: i < steps, step, (0, 0.0))[1]

    run(tf.constant(1))
    pipe.send(None)
    with contextlib.suppress(EOFError):  # The parent has ended.
        while pipe.recv():
            run(tf.constant(steps)).numpy()
            pipe.send(None)

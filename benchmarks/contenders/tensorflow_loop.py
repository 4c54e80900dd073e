"""A whole epoch written by hand in one XLA program of TensorFlow."""

import numpy as np
import tensorflow as tf

from benchmarks.contenders import shared


def mlp(data, batch_size=100):
    x = tf.constant(shared.load(data))
    weights = shared.mlp_weights(x.shape[1])
    params = [tf.Variable(array) for pair in weights for array in pair]
    firsts = [tf.Variable(tf.zeros_like(p)) for p in params]
    seconds = [tf.Variable(tf.zeros_like(p)) for p in params]
    count = tf.Variable(0.0)
    generator = np.random.default_rng(0)

    @tf.function(jit_compile=True, autograph=False)
    def train(order):
        def step(i, total):
            with tf.GradientTape() as tape:
                loss = _loss(params, tf.gather(x, order[i]))
            gradients = tape.gradient(loss, params)
            count.assign_add(1.0)
            bias = tf.sqrt(1 - 0.999**count) / (1 - 0.9**count)
            for p, m, v, g in zip(params, firsts, seconds, gradients, strict=True):
                m.assign(0.9 * m + 0.1 * g)
                v.assign(0.999 * v + 0.001 * g * g)
                p.assign_sub(shared.LEARNING_RATE * bias * m / (tf.sqrt(v) + 1e-7))
            return i + 1, total + loss

        steps = tf.shape(order)[0]
        _, total = tf.while_loop(lambda i, _: i < steps, step, (0, 0.0))
        return total / tf.cast(steps, tf.float32)

    def epoch():
        return float(train(tf.constant(shared.batches(generator, len(x), batch_size))))

    return epoch


def _loss(params, x):
    pairs = list(zip(params[::2], params[1::2], strict=True))
    hidden = x
    for kernel, bias in pairs[:2]:
        hidden = tf.nn.relu(hidden @ kernel + bias)
    mean, log_variance = tf.split(hidden @ pairs[2][0] + pairs[2][1], 2, axis=1)
    noise = tf.random.normal(tf.shape(mean))
    hidden = mean + tf.exp(0.5 * log_variance) * noise
    for kernel, bias in pairs[3:5]:
        hidden = tf.nn.relu(hidden @ kernel + bias)
    logits = hidden @ pairs[5][0] + pairs[5][1]
    pixels = tf.nn.sigmoid_cross_entropy_with_logits(x, logits)
    per_unit = mean**2 + tf.exp(log_variance) - 1 - log_variance
    return tf.reduce_mean(
        tf.reduce_sum(pixels, axis=1) + 0.5 * tf.reduce_sum(per_unit, axis=1)
    )

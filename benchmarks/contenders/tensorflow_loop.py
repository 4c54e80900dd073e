"""A whole epoch written by hand in one XLA program of TensorFlow."""

import numpy as np
import tensorflow as tf

from benchmarks.contenders import shared


def mlp(data, batch_size=100):
    x = shared.load(data)
    weights = shared.mlp_weights(x.shape[1])
    return _epochs(x, [array for pair in weights for array in pair], _loss, batch_size)


def ladder(data, batch_size=100):
    x = shared.load(data)
    initializer = tf.initializers.HeNormal(seed=0)
    arrays = []
    for shape in _ladder_shapes(x.shape[1]):
        arrays += [initializer(shape), tf.zeros(shape[-1:])]
    return _epochs(x, arrays, _ladder_loss, batch_size)


def _epochs(x, arrays, loss_of, batch_size):
    """Returns a function that trains for an epoch.

    Args:
        x: Array (examples, size).
        arrays: List of arrays, what the parameters are at the start.
        loss_of: Callable, parameters and a batch -> loss.
        batch_size: Integer.
    """
    x = tf.constant(x)
    params = [tf.Variable(array) for array in arrays]
    firsts = [tf.Variable(tf.zeros_like(p)) for p in params]
    seconds = [tf.Variable(tf.zeros_like(p)) for p in params]
    count = tf.Variable(0.0)
    generator = np.random.default_rng(0)

    @tf.function(jit_compile=True, autograph=False)
    def train(order):
        def step(i, total):
            with tf.GradientTape() as tape:
                loss = loss_of(params, tf.gather(x, order[i]))
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


def _ladder_shapes(pixels):
    """Returns the shapes of the kernels of all dense layers, in order of their use."""
    shapes, below = [], pixels
    for hidden, latents in shared.LEVELS:
        shapes += [(below, hidden), (hidden, 2 * latents)]
        below = hidden
    for place, (hidden, latents) in reversed(list(enumerate(shared.LEVELS))):
        shapes.append((latents, hidden))
        shapes.append((hidden, 2 * shared.LEVELS[place - 1][1] if place else pixels))
    return shapes


def _ladder_loss(params, x):
    pairs = iter(zip(params[::2], params[1::2], strict=True))

    def dense(inputs):
        kernel, bias = next(pairs)
        return inputs @ kernel + bias

    def normal(raw):
        loc, raw = tf.split(raw, 2, axis=1)
        # 1 for a raw scale of 0.
        return loc, 1e-5 + tf.nn.softplus(raw + 0.5413)

    heads, hidden = [], x
    for _ in shared.LEVELS:
        hidden = tf.nn.relu(dense(hidden))
        heads.append(normal(dense(hidden)))
    rate, prior = 0.0, None
    for loc, scale in reversed(heads):
        if prior is None:
            prior_loc, prior_scale = tf.zeros_like(loc), tf.ones_like(scale)
        else:
            prior_loc, prior_scale = normal(prior)
            precision, prior_precision = scale**-2, prior_scale**-2
            total = precision + prior_precision
            loc = (loc * precision + prior_loc * prior_precision) / total
            scale = tf.math.rsqrt(total)
        ratio = scale / prior_scale
        squares = ratio**2 + ((loc - prior_loc) / prior_scale) ** 2
        per_unit = 0.5 * (squares - 1) - tf.math.log(ratio)
        rate += tf.reduce_sum(per_unit, axis=1)
        z = loc + scale * tf.random.normal(tf.shape(loc))
        prior = dense(tf.nn.relu(dense(z)))
    # What the lowest level puts out are the logits.
    pixels = tf.nn.sigmoid_cross_entropy_with_logits(x, prior)
    return tf.reduce_mean(tf.reduce_sum(pixels, axis=1) + rate)

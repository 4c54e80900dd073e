"""Training loops in JAX: one jitted step, and one scan over the epoch."""

import functools

import jax
import numpy as np
from jax import numpy as jnp

from benchmarks.contenders import shared


def mlp(data, batch_size=100, scan=False):
    x = jnp.asarray(shared.load(data))
    weights = shared.mlp_weights(x.shape[1])
    params = jax.tree.map(jnp.asarray, weights)
    # Each its own buffer, because the step reuses them.
    moments = [jax.tree.map(jnp.zeros_like, params) for _ in range(2)]
    state = (params, *moments, jnp.zeros((), "int32"))
    generator = np.random.default_rng(0)
    whole_epoch = functools.partial(_scan if scan else _steps, x)

    def epoch():
        nonlocal state
        order = shared.batches(generator, len(x), batch_size)
        state, loss = whole_epoch(state, order)
        return float(loss)

    return epoch


def _loss(params, x, key):
    *encoder, head = params[:3]
    *decoder, last = params[3:]
    hidden = x
    for kernel, bias in encoder:
        hidden = jax.nn.relu(hidden @ kernel + bias)
    mean, log_variance = jnp.split(hidden @ head[0] + head[1], 2, axis=1)
    noise = jax.random.normal(key, mean.shape)
    hidden = mean + jnp.exp(0.5 * log_variance) * noise
    for kernel, bias in decoder:
        hidden = jax.nn.relu(hidden @ kernel + bias)
    logits = hidden @ last[0] + last[1]
    cross_entropy = jnp.sum(jax.nn.softplus(logits) - x * logits, axis=1)
    per_unit = mean**2 + jnp.exp(log_variance) - 1 - log_variance
    return jnp.mean(cross_entropy + 0.5 * jnp.sum(per_unit, axis=1))


def _step(x, state, rows):
    params, first, second, count = state
    count = count + 1
    key = jax.random.fold_in(jax.random.key(0), count)
    loss, gradients = jax.value_and_grad(_loss)(params, x[rows], key)
    first = jax.tree.map(lambda m, g: 0.9 * m + 0.1 * g, first, gradients)
    second = jax.tree.map(lambda v, g: 0.999 * v + 0.001 * g * g, second, gradients)
    rate = shared.LEARNING_RATE * jnp.sqrt(1 - 0.999**count) / (1 - 0.9**count)
    params = jax.tree.map(
        lambda p, m, v: p - rate * m / (jnp.sqrt(v) + 1e-7), params, first, second
    )
    return (params, first, second, count), loss


_jitted_step = jax.jit(_step, donate_argnums=1)


def _steps(x, state, order):
    losses = []
    for rows in order:
        state, loss = _jitted_step(x, state, rows)
        losses.append(loss)
    return state, jnp.mean(jnp.stack(losses))


@functools.partial(jax.jit, donate_argnums=1)
def _scan(x, state, order):
    state, losses = jax.lax.scan(functools.partial(_step, x), state, order)
    return state, jnp.mean(losses)

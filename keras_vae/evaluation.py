"""Estimates of log p(x) that need more draws than memory holds."""

import dataclasses
import itertools
import math
import weakref

import keras
import numpy as np
import tensorflow as tf

from keras_vae import _keras
from keras_vae import checks
from keras_vae import metrics
from keras_vae import random
from keras_vae.training import choice

# Decoded rows at once: enough to keep the cores busy, few enough that what a block
# takes stays in the megabytes.
_MAX_ROWS, _MAX_PARAMS = 5000, 2**22
# With a single example in a block the encoder runs as often as the decoder.
_MAX_SAMPLES = 500

_functions = weakref.WeakKeyDictionary()


def log_likelihood(
    model,
    x,
    y=None,
    num_samples=5000,
    batch_size=None,
    seed=0,
    jit_compile="auto",
    verbose="auto",
):
    """Estimates log p(x) of each example by importance sampling.

    `log 1/K sum_k p(x|z_k) p(z_k) / q(z_k|x)`, z_k ~ q(z|x), L_K of Burda et al., where
    K is `num_samples`: a lower bound in expectation, which is tight for large K. The
    sum is kept as a logarithm and grows block by block, so that memory depends neither
    on K nor on the number of examples.

    Args:
        model: `VAE`.
        x: Array of shape (N, *event_shape), or a structure of arrays.
        y: Target where it is not `x`.
        num_samples: Integer, K, draws of z for each example. The usual 5000 compare
            with published figures.
        batch_size: Integer, draws that are decoded at once, of all examples together.
            Defaults to None: 5000, fewer for large events.
        seed: Integer in [0, 2**31), or None to draw one. Equal seeds, and equal other
            arguments, give equal draws.
        jit_compile: Boolean, whether to use XLA, or "auto": where it is faster.
        verbose: 0 for no progress bar; "auto", 1 or 2 as in `keras.utils.Progbar`.

    Returns:
        Float32 array of shape (N,), nats.

    Raises:
        ValueError: If the data do not fit the model, or an argument is out of range.

    Example:
    >>> vae = kv.VAE(
    ...     encoder=kv.networks.mlp_encoder([32]),
    ...     decoder=kv.networks.mlp_decoder([32], (8, 8, 1)),
    ...     latent_dim=4,
    ... )
    >>> x = np.zeros((3, 8, 8, 1), "float32")
    >>> vae.log_likelihood(x, num_samples=100, verbose=0).shape
    (3,)

    Reference:
        [Importance Weighted Autoencoders](https://arxiv.org/abs/1509.00519)
    """
    x, y = _check_arrays(model, x, y)
    settings = BlockSettings(num_samples, batch_size, seed, jit_compile, verbose)

    def start(size):
        return tf.fill([size], -np.inf)

    sums = over_blocks(model, (x, y), settings, _add_weights, start)
    return np.concatenate(list(sums)) - np.float32(np.log(num_samples))


def _add_weights(model, data, key, left, total, samples):
    estimate = model.estimate(*data, samples, key)
    block = tf.reduce_logsumexp(log_weights(estimate, left), axis=1)
    return tf.reduce_logsumexp(tf.stack([total, block]), axis=0)


def log_weights(estimate, left):
    """Returns log p(x|z_k) p(z_k) / q(z_k|x), (batch, samples), nats.

    Args:
        estimate: `keras_vae.objectives.Estimate` of a block.
        left: Integer tensor, how many of its draws count; the others weigh nothing.
    """
    weights = estimate.log_likelihood - estimate.log_ratio
    return tf.where(tf.range(weights.shape[1]) < left, weights, -np.inf)


def mutual_information(model, x, batch_size=256, seed=0):
    """Estimates I(x; z) by one draw of z per example, in blocks.

    Args:
        model: `VAE` with one latent.
        x: Array (examples, ...), or strings of a `SentenceVAE`.
        batch_size: Integer, examples of a block; the estimate of a block, see
            `metrics.mutual_information`, never exceeds log(batch_size).
        seed: Integer, seed of the noise.

    Returns:
        Float, nats, the mean over blocks weighted by their size.

    Example:
    >>> sentences = ["a cat sat", "a dog sat"]
    >>> vocabulary = kv.datasets.Vocabulary.of(sentences)
    >>> vae = kv.SentenceVAE(vocabulary, latent_dim=2, units=8, seed=0)
    >>> bool(kv.evaluation.mutual_information(vae, sentences) < np.log(2))
    True

    Reference:
        [ELBO surgery: yet another way to carve up the variational evidence lower
        bound](http://approximateinference.org/accepted/HoffmanJohnson2016.pdf)
    """
    starts = range(0, len(x), batch_size)
    blocks = [x[start : start + batch_size] for start in starts]

    def estimate(index, block):
        (params,) = model.infer(block)
        z = model.latent.sample(params, 1, random.key(seed, index))
        densities = model.latent.posterior.distribution(params).log_prob(z)
        return metrics.mutual_information(densities)

    # In this scope layers neither keep losses nor change their state.
    with keras.StatelessScope():
        values = [estimate(*block) for block in enumerate(blocks)]
    return float(np.average(values, weights=[len(block) for block in blocks]))


# === Blocks ===


@dataclasses.dataclass(frozen=True)
class BlockSettings:
    """How many draws are made, and how; see the arguments of `log_likelihood`."""

    num_samples: int
    batch_size: int | None
    seed: int | None
    jit_compile: bool | str
    verbose: int | str

    def __post_init__(self):
        """Checks the arguments."""
        checks.check_count("num_samples", self.num_samples)
        random.check_seed(self.seed)


def over_blocks(model, data, settings, add, start):
    """Adds up what draws of z tell of each example, block by block.

    Args:
        model: `VAE`.
        data: Structure of arrays (N, ...).
        settings: `BlockSettings`.
        add: Function of the module level, `(model, data, key, left, state, samples) ->
            state`, which is traced once: it makes `samples` draws, of which the first
            `left` count.
        start: Function of a number of examples that returns the first state, a
            structure of tensors (examples, ...).

    Yields:
        The state of consecutive examples after all draws.
    """
    size, num_samples = len(tf.nest.flatten(data)[0]), settings.num_samples
    seed = random.check_seed(settings.seed)
    batch_size = _check_batch_size(model, settings.batch_size, data)
    jit_compile = settings.jit_compile
    if jit_compile == "auto":
        jit_compile = choice.reason_against_xla(model) is None

    # Blocks of one shape, so that they are traced once.
    rounds = -(-num_samples // min(batch_size, _MAX_SAMPLES))
    samples = -(-num_samples // rounds)
    examples = min(size, max(1, batch_size // samples))
    options = {"jit_compile": bool(jit_compile)}
    if None in model.event_shape:
        options["reduce_retracing"] = True
    add_block = compiled(model, add, **options)
    progress = _progress(rounds * -(-size // examples), settings.verbose)
    blocks = itertools.count()
    for first in range(0, size, examples):
        # The last block repeats an example and drops what comes of it.
        index = np.minimum(np.arange(first, first + examples), size - 1)
        part = tf.nest.map_structure(lambda v, i=index: v[i], data)
        state = start(examples)
        for done in range(0, rounds * samples, samples):
            key = random.key(seed, next(blocks))
            left = tf.constant(num_samples - done)
            state = add_block(part, key, left, state, samples)
            progress.add(1)
        yield tf.nest.map_structure(lambda v, n=size - first: v[:n].numpy(), state)


def _progress(num_blocks, verbose):
    if verbose not in ("auto", 0, 1, 2):
        raise ValueError(
            f"`verbose` must be 'auto', 0, 1 or 2. Received: verbose={verbose!r}"
        )
    verbose = 1 if verbose == "auto" else verbose
    return keras.utils.Progbar(num_blocks, verbose=verbose, unit_name="block")


def _check_batch_size(model, batch_size, data):
    """Returns how many draws are decoded at once."""
    if batch_size is None:
        shape = model.event_shape
        if None in shape:
            shape = tf.nest.flatten(data)[0].shape[1:]
        params_size = math.prod(model.likelihood.params_shape(shape))
        largest = max(params_size, model.features_size)
        return min(_MAX_ROWS, max(1, _MAX_PARAMS // largest))
    return checks.check_count("batch_size", batch_size)


def _check_arrays(model, x, y):
    given = [part for part in (x, y) if part is not None]
    if not all(hasattr(v, "shape") or hasattr(v, "__getitem__") for v in given):
        raise ValueError(
            "`x` must be an array, or a structure of arrays. Received: a "
            f"{type(x).__name__}. Of a data set, pass one batch after the other."
        )
    checks.check_data(model, x, y)
    x, y = tf.nest.map_structure(
        lambda v: np.asarray(checks.as_array(v)), (x, x if y is None else y)
    )
    return x, y


def call_compiled(model, function, *args):
    """Calls a function of a model in a graph, which is traced once for all sizes.

    Args:
        model: `VAE`.
        function: See `compiled`.
        *args: Structures of tensors, and None.
    """
    if tf.executing_eagerly():
        return compiled(model, function, reduce_retracing=True)(*args)
    return function(model, *args)


def compiled(model, function, **options):
    """Returns a function traced for a model, made once for it.

    Args:
        model: `VAE`.
        function: Function of the module level, called as `function(model, *args)`. What
            its layers add to their losses is dropped.
        **options: See `tf.function`.

    Returns:
        A `tf.function` of `*args`.
    """
    functions = _functions.setdefault(model, {})
    name = function, *sorted(options.items())
    if name not in functions:
        # A function that held the model would keep its entry alive for ever.
        reference = weakref.ref(model)

        def call(*args):
            # Else what layers add to their losses would be tensors of this graph.
            with keras.StatelessScope():
                result = function(reference(), *args)
            _keras.forget_gradients()
            return result

        functions[name] = tf.function(call, autograph=False, **options)
    return functions[name]

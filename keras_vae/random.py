"""All noise of the library: counter-based, reproducible, fast with and without XLA.

A draw is a pure function of a key, and a key is a function of (seed, step, replica).
All draws of the library must use this module. The seeded samplers of Keras and TFP use
`tf.random.stateless_*`. Deriving Philox's key there costs many times the draw under XLA
on CPUs, and its conversion to floats differs between XLA and the graph. Here the kernel
gets key and counter directly. Its bits are the same everywhere, and ordinary operations
convert them to floats.
"""

import keras
import numpy as np
import tensorflow as tf

from keras_vae import replicas
from keras_vae.arguments import is_integer

PHILOX = tf.random.Algorithm.PHILOX.value


def _chebyshev(function):
    """Returns polynomial coefficients of f(x) in x^2 for |x| <= 1/2, highest first."""
    series = np.polynomial.Chebyshev.interpolate(
        lambda square: function(np.sqrt(square)), 4, domain=(0.0, 0.25)
    )
    return series.convert(kind=np.polynomial.Polynomial).coef[::-1].tolist()


_SINE = _chebyshev(lambda half: np.pi * np.sinc(half))  # Divided by its argument.
_COSINE = _chebyshev(lambda half: np.cos(np.pi * half))


def key(seed, step=0, replica=0):
    """Makes the key of one draw.

    Args:
        seed: Integer in [0, 2**31) or integer tensor of shape ().
        step: Integer or integer tensor of shape (), the number of the draw.
        replica: Integer or integer tensor of shape (), the replica that draws.

    Returns:
        An int64 tensor of shape (2,).

    Example:
    >>> kv.random.key(7, step=3).numpy()
    array([7, 3])
    """
    seed, step, replica = (tf.cast(v, tf.int64) for v in (seed, step, replica))
    return tf.stack([seed, step + replica * 2**40])


def fork(key, stream):
    """Makes the key of another draw of the same step.

    Args:
        key: Int64 tensor of shape (2,), see `key`.
        stream: Integer, at least 1, different for each further draw.

    Returns:
        An int64 tensor of shape (2,).

    Example:
    >>> kv.random.fork(kv.random.key(7), 1).numpy() - kv.random.key(7).numpy()
    array([8589934592,          0])
    """
    return key + tf.constant([stream * 2**33, 0], tf.int64)


def normal(shape, key):
    """Draws standard normal noise by Box and Muller's transform.

    Element i depends on `key` and i only, not on the shape. Eager, graph and XLA agree
    to float32 rounding.

    Args:
        shape: Shape of the draw, a tuple or an integer tensor.
        key: Int64 tensor of shape (2,), see `key`.

    Returns:
        A float32 tensor of shape `shape`.

    Example:
    >>> noise = kv.random.normal((2, 3), kv.random.key(0))
    >>> bool(tf.reduce_all(noise == kv.random.normal((2, 3), kv.random.key(0))))
    True

    Reference:
        [A Note on the Generation of Random Normal Deviates](
        https://doi.org/10.1214/aoms/1177706645)
    """
    size = tf.reduce_prod(shape)
    pairs = _uniform_pairs((size + 1) // 2, key)
    # The offset of half a step keeps the logarithm finite; the largest deviate is 5.9.
    radius = tf.sqrt(-2.0 * tf.math.log(pairs[:, 0] + 2.0**-25))
    cosine, sine = _cosine_and_sine(pairs[:, 1])
    deviates = tf.stack([radius * cosine, radius * sine], axis=1)
    return tf.reshape(tf.reshape(deviates, [-1])[:size], shape)


def uniform(shape, key):
    """Draws noise that is uniform on [0, 1), in steps of 2**-24.

    Args:
        shape: Shape of the draw, a tuple or an integer tensor.
        key: Int64 tensor of shape (2,), see `key`.

    Returns:
        A float32 tensor of shape `shape`.

    Example:
    >>> kv.random.uniform((2, 3), kv.random.key(0)).shape
    TensorShape([2, 3])
    """
    size = tf.reduce_prod(shape)
    pairs = _uniform_pairs((size + 1) // 2, key)
    return tf.reshape(tf.reshape(pairs, [-1])[:size], shape)


def check_seed(seed):
    """Returns `seed` as an integer; draws one if it is None.

    Args:
        seed: Integer in [0, 2**31) or None. For None the seed comes from NumPy's global
            generator, so `keras.utils.set_random_seed` determines it.

    Returns:
        A Python integer.

    Raises:
        ValueError: If `seed` is not an integer in this range.

    Example:
    >>> kv.random.check_seed(5)
    5
    """
    if seed is None:
        return int(np.random.randint(2**31 - 1))  # noqa: NPY002
    if not is_integer(seed):
        raise ValueError(f"`seed` must be an integer or None. Received: seed={seed!r}")
    if not 0 <= seed < 2**31:
        raise ValueError(f"`seed` must be in [0, 2**31). Received: seed={seed}")
    return int(seed)


@keras.saving.register_keras_serializable("keras_vae")
class Noise(keras.layers.Layer):
    """Source of training keys: the t-th key depends only on (seed, t, replica).

    The count of keys is a saved variable, so a resumed run has the same draws as an
    uninterrupted run.

    Args:
        seed: Integer in [0, 2**31), or None to draw one.

    Example:
    >>> noise = kv.random.Noise(seed=7)
    >>> noise.next_key().numpy(), noise.next_key().numpy()
    (array([7, 0]), array([7, 1]))
    """

    def __init__(self, seed=None, **kwargs):
        super().__init__(**kwargs)
        self.seed = check_seed(seed)
        self.count = self.add_weight(
            shape=(),
            initializer="zeros",
            dtype="int64",
            trainable=False,
            aggregation="only_first_replica",
            name="count",
        )
        self.built = True

    def next_key(self):
        """Returns the key of the next training draw and advances the count.

        Returns:
            An int64 tensor of shape (2,), different on each replica.
        """
        step = tf.identity(tf.convert_to_tensor(self.count))
        replicas.assign(self.count, step + 1)
        return key(self.seed, step, replicas.replica_id())

    def evaluation_key(self, step):
        """Returns a key that no training draw uses.

        Args:
            step: Integer or integer tensor of shape (), the number of the batch
                within the evaluation.

        Returns:
            An int64 tensor of shape (2,), different on each replica.
        """
        return key(self.seed + 2**32, step, replicas.replica_id())

    def get_config(self):
        """Returns the config; `from_config` makes an equal layer from it."""
        return {**super().get_config(), "seed": self.seed}


def _cosine_and_sine(turns):
    """Returns cos and sin of 2 pi `turns` for numbers in [0, 1), within 8e-7.

    XLA calls the C library's cosine and sine for each number, which takes as long as
    the rest of the draw. The half angle lies between -pi/2 and pi/2 and needs no range
    reduction, and its two Chebyshev polynomials run on vectors.
    """
    half = turns - 0.5
    square = half * half
    sine = half * tf.math.polyval(_SINE, square)
    cosine = tf.math.polyval(_COSINE, square)
    # Subtracting half a turn changed both signs.
    return (sine - cosine) * (sine + cosine), -2.0 * sine * cosine


def _uniform_pairs(size, key):
    seed, step = tf.unstack(tf.bitcast(key, tf.uint64))
    # 64-bit words, split in two, take half the time of 32-bit words under XLA.
    words = tf.raw_ops.StatelessRandomUniformFullIntV2(
        shape=size[None],
        key=seed[None],
        # The kernel uses the low word of the counter for the blocks of a draw.
        counter=tf.stack([tf.zeros_like(step), step]),
        alg=PHILOX,
        dtype=tf.uint64,
    )
    mantissas = tf.bitwise.right_shift(tf.bitcast(words, tf.uint32), np.uint32(8))
    return tf.cast(tf.bitcast(mantissas, tf.int32), tf.float32) * 2.0**-24

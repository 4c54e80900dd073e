"""What a decoder may read of the target, and the loop that finds x where it reads."""

import functools
import math

import tensorflow as tf

from keras_vae import checks
from keras_vae import conditions
from keras_vae import evaluation


def shifted(x):
    """Returns, at each place of an event, what stands at the place before it.

    The places are those of all axes but the last, its channels, in raster order. Before
    the first place stands 0.

    Args:
        x: Tensor (batch, *places, channels).

    Returns:
        A tensor of the shape of x.

    Example:
    >>> shifted(tf.constant([[[1], [2], [3]]]))[0, :, 0].numpy()
    array([0, 1, 2], dtype=int32)
    """
    shape = tf.shape(x)
    flat = tf.reshape(x, [shape[0], -1, x.shape[-1]])
    moved = tf.pad(flat[:, :-1], [[0, 0], [1, 0], [0, 0]])
    return tf.ensure_shape(tf.reshape(moved, shape), x.shape)


class ReadsTarget:
    """Mixin of `VAE` for decoders whose `call` has a parameter `previous`.

        p(x|z) = prod_t p(x_t | x_1 ... x_{t-1}, z)

    Such a decoder takes z and `previous`, the target shifted by `shifted`, and must use
    at each place only what `previous` holds up to there. It uses the model's `decoder`,
    `likelihood`, `missing`, `linear_path`, `event_shape` and `_decode`.
    """

    # Whether the decoder takes z; a model of language has none.
    uses_latent = True

    @property
    def reads_target(self):
        """Whether the decoder reads the target."""
        return conditions.takes(self.decoder, conditions.PREVIOUS)

    def as_numbers(self, x):
        """Returns data, or what it stands for if it is no array of numbers."""
        return x

    def readable(self, x, condition=conditions.NONE):
        """Returns all that the decoder takes beside z.

        Args:
            x: Tensor (batch, *event_shape), the target.
            condition: Dict of names to tensors, as the networks take them.

        Returns:
            A dict, with "previous" if the decoder reads the target.
        """
        if not self.reads_target:
            return condition
        x = tf.cast(checks.dense(x), self.likelihood.value_dtype)
        return {**condition, conditions.PREVIOUS: shifted(x)}

    def _readable_shapes(self, input_shape, shapes):
        """Returns the shapes of `readable`, batch axis first; checks the model."""
        if not self.reads_target:
            return shapes
        checks.check_reader(input_shape, self.missing, self.linear_path)
        return {**shapes, conditions.PREVIOUS: input_shape}

    def _decode_alone(self, latents, condition, key=None, beside=None):
        """Returns the mean of p(x|z) without a target, or a draw of x.

        Args:
            latents: List of tensors (batch, units), one for each latent.
            condition: Dict of names to tensors, as the networks take them.
            key: Key of the draw, or None for the mean. Where the decoder reads, the
                mean at a place is that given the most probable elements before it.
            beside: What the decoder takes beside the first z, if it is known, see
                `ForwardPass`.

        Returns:
            A float32 tensor (batch, *event_shape).
        """
        draws = [z[:, None] for z in latents]
        beside = self._beside(draws, condition) if beside is None else beside
        if self.reads_target:
            given = latents[0], dict(condition), dict(beside), key
            x = evaluation.call_compiled(self, _fill, *given)
            condition = self.readable(x, condition)
            if key is not None:
                return tf.cast(x, tf.float32)
        params = self._decode(draws[0], condition, beside)[:, 0]
        if key is None:
            return self.likelihood.mean(params)
        return tf.cast(self.likelihood.sample(params, key), tf.float32)


def _fill(model, z, condition, beside, key):
    """Returns x whose elements are chosen in order, each given those before it.

    A pass chooses all elements again, given those of the last pass. It makes one more
    place right for certain, and if it changes nothing, all of them are: no other x
    agrees with a causal decoder. So few passes do where most places agree early.
    """
    likelihood, event_shape = model.likelihood, model.event_shape
    choose = likelihood.mode
    if key is not None:
        # An element's noise depends on its place alone.
        choose = functools.partial(likelihood.sample, key=key)

    def choose_again(x, _):
        given = model.readable(x, condition)
        new = choose(model._decode(z[:, None], given, beside)[:, 0])
        new = tf.ensure_shape(tf.cast(new, x.dtype), x.shape)
        return new, tf.reduce_any(new != x)

    start = tf.zeros([tf.shape(z)[0], *event_shape], likelihood.value_dtype)
    start = tf.ensure_shape(start, [z.shape[0], *event_shape])
    x, _ = tf.while_loop(
        lambda x, changed: changed,
        choose_again,
        (start, tf.constant(True)),
        maximum_iterations=math.prod(event_shape[:-1]),
    )
    return x

"""Optimizers that leave out updates of exploding gradients."""

import keras
import tensorflow as tf

from keras_vae import replicas
from keras_vae.arguments import check_count
from keras_vae.arguments import check_number


@keras.saving.register_keras_serializable("keras_vae")
class SkippingAdam(keras.optimizers.Adam):
    """Adam that leaves out updates whose gradient is too large, but not for ever.

    As in the training of VDVAE, an update is skipped where the norm of all gradients
    together exceeds a threshold: a hierarchy of many latents has rare batches whose
    gradients are larger by orders of magnitude, and would undo what was learned. An
    update after `max_skips` skipped ones in a row is made whatever its norm, so that a
    threshold which is too low slows training down but cannot stop it. So is one of NaN
    that persists, after which the loss is NaN and can be seen. `global_clipnorm` bounds
    what is made.

    Skipped updates do not count in `iterations`, by which schedules go. They leave the
    moments as they are.

    Args:
        learning_rate: See `keras.optimizers.Adam`.
        skip_norm: Positive float, the largest norm of the gradient of an update that is
            made, in nats per unit of the weights.
        max_skips: Positive integer, the most updates skipped in a row.
        **kwargs: See `keras.optimizers.Adam`; `global_clipnorm` is a smaller norm to
            which the gradient is shortened.

    Attributes:
        skipped: Integer variable, how many updates were skipped.

    Example:
    >>> variable = keras.Variable(1.0)
    >>> adam = kv.optimizers.SkippingAdam(0.5, skip_norm=10.0, max_skips=2)
    >>> for gradient in (1.0, 11.0, 11.0, 11.0):
    ...     adam.apply([tf.constant(gradient)], [variable])
    >>> int(adam.skipped), int(adam.iterations)
    (2, 2)

    Reference:
        [Very Deep VAEs Generalize Autoregressive Models and Can Outperform Them on
        Images](https://arxiv.org/abs/2011.10650)
    """

    def __init__(self, learning_rate=1e-3, skip_norm=1000.0, max_skips=10, **kwargs):
        super().__init__(learning_rate, **kwargs)
        self.skip_norm = check_number("skip_norm", skip_norm, positive=True)
        self.max_skips = check_count("max_skips", max_skips)

    def build(self, variables):
        """Creates the state for these variables."""
        if self.built:
            return
        self.skipped = self._add_count("skipped")
        self._in_a_row = self._add_count("skipped_in_a_row")
        super().build(variables)

    def _add_count(self, name):
        options = {"dtype": "int64", "aggregation": "only_first_replica"}
        return self.add_variable((), initializer="zeros", name=name, **options)

    def apply(self, grads, trainable_variables=None):
        """Updates the variables, unless the gradients are too large; see the class."""
        if not self.built:
            self.build(list(trainable_variables))
        variables = self._trainable_variables
        if trainable_variables is not None:
            variables = list(trainable_variables)
        # Of several replicas each has a share, and their sum is no longer than this.
        norm = tf.linalg.global_norm([g for g in grads if g is not None])
        norm = replicas.sum_over_replicas(tf.cast(norm, tf.float32))
        # Negated, so that NaN is too large.
        is_large = ~(norm <= self.skip_norm)
        in_a_row = tf.identity(self._in_a_row.value)
        skips = is_large & (in_a_row < self.max_skips)
        count = tf.cast(skips, tf.int64)
        replicas.assign(self._in_a_row, count * (in_a_row + 1))
        replicas.assign(self.skipped, tf.identity(self.skipped.value) + count)
        replicas.update_if(~skips, super().apply, list(grads), variables)

    def get_config(self):
        """Returns the config; `from_config` makes an equal optimizer from it."""
        own = {"skip_norm": self.skip_norm, "max_skips": self.max_skips}
        return {**super().get_config(), **own}

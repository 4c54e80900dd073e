"""A VAE that trains its encoder ahead of its decoder, so the encoder does not lag."""

import keras
import tensorflow as tf

from keras_vae import checks
from keras_vae import replicas
from keras_vae.metrics.trackers import Gauge
from keras_vae.models.two_optimizers import TwoOptimizers


@keras.saving.register_keras_serializable("keras_vae")
class AggressiveVAE(TwoOptimizers):
    """VAE with the aggressive encoder training of He et al.

    In the aggressive phase each step of `fit` is one step of an inner loop. The loop
    updates the encoder, on a fresh batch in each step. It ends after `max_steps` steps,
    or once the mean loss over `window` steps is not below the mean loss over the
    `window` steps before. Then one step updates the decoder, and the loop begins again.
    The part that is not updated stays unchanged, including the moments of its
    optimizer. After the phase each step updates both, as in a `VAE` with two
    optimizers.

    A new model begins in the phase. `callbacks.AggressiveStopping` ends it once the
    mutual information of validation data falls; `model.aggressive = False` ends it too.

    The encoder comprises the encoder network, the posterior and its head. The decoder
    comprises all else, including the likelihood and the prior. Batch statistics are
    updated in all steps.

    `optimizer.iterations` counts the decoder's updates, as in the paper; so does t in
    `KLAnnealing` and other schedules. In the phase an epoch of `fit` has fewer updates
    of the decoder than steps, so a ramp needs a longer run or a `duration` in steps to
    end. `fit` also logs `aggressive`: 1 in the phase, then 0.

    Args:
        encoder: See `VAE`.
        decoder: See `VAE`.
        latent_dim: See `VAE`.
        window: Positive integer, encoder steps over which losses are averaged.
        max_steps: Positive integer, the most encoder steps in a row.
        **kwargs: See `VAE`.

    Example:
    >>> vae = kv.AggressiveVAE(
    ...     encoder=kv.networks.mlp_encoder([32]),
    ...     decoder=kv.networks.mlp_decoder([32], (8, 8, 1)),
    ...     latent_dim=4,
    ...     max_steps=3,
    ... )
    >>> vae.compile("adam")
    >>> history = vae.fit(np.zeros((64, 8, 8, 1)), batch_size=8, verbose=0).history
    >>> history["aggressive"], int(vae.optimizer.iterations)
    ([1.0], 2)

    Reference:
        [Lagging Inference Networks and Posterior Collapse in Variational
        Autoencoders](https://arxiv.org/abs/1901.05534)
    """

    second_optimizer_name = "encoder_optimizer"

    def __init__(
        self, encoder, decoder, latent_dim, window=15, max_steps=100, **kwargs
    ):
        super().__init__(encoder, decoder, latent_dim, **kwargs)
        self.inner_loop = InnerLoop(
            window, max_steps, name="inner_loop", dtype=self.dtype_policy
        )
        self._aggressive = Gauge(
            "aggressive", lambda: tf.cast(self.inner_loop.active.value, tf.float32)
        )

    @property
    def aggressive(self):
        """Whether the model is in the aggressive phase; can be assigned."""
        return bool(tf.convert_to_tensor(self.inner_loop.active))

    @aggressive.setter
    def aggressive(self, value):
        self.inner_loop.active.assign(int(value))

    @property
    def second_variables(self):
        """The encoder's trainable variables: network, head and posterior."""
        parts = (self.encoder, self.latent.head, self.latent.posterior)
        return [v for part in parts for v in part.trainable_variables]

    def compile(self, optimizer="adam", encoder_optimizer=None, **kwargs):
        """Configures the model for training.

        Args:
            optimizer: Name or `keras.optimizers.Optimizer` of the decoder.
            encoder_optimizer: Name or optimizer of the encoder, or None for a second
                optimizer like `optimizer`.
            **kwargs: See `VAE.compile`.

        Raises:
            ValueError: If both are the same optimizer, or as `VAE.compile`.
        """
        optimizer = keras.optimizers.get(optimizer)
        if encoder_optimizer is None:
            encoder_optimizer = type(optimizer).from_config(optimizer.get_config())
        self._compile(optimizer, encoder_optimizer, **kwargs)

    def train_step(self, data):
        """Updates the encoder, the decoder or both, as `InnerLoop` decides."""
        x, y, sample_weight = keras.utils.unpack_x_y_sample_weight(data)
        encodes, decodes = self.inner_loop.turns()
        optimizers = (self.encoder_optimizer, self.optimizer)
        scales = [optimizer.scale_loss(tf.constant(1.0)) for optimizer in optimizers]
        # An optimizer that adapts its loss scale notices an overflow only in an update.
        scale = tf.where(decodes, scales[1], scales[0])
        with tf.GradientTape() as tape:
            outputs, loss = self._forward(x, y, sample_weight)
            scaled = scale * loss
        encoder = self.second_variables
        others = {id(variable) for variable in encoder}
        decoder = [v for v in self.trainable_variables if id(v) not in others]
        gradients = tape.gradient(scaled, [encoder, decoder])
        for turn, optimizer, own, part, variables in zip(
            (encodes, decodes),
            optimizers,
            scales,
            gradients,
            (encoder, decoder),
            strict=True,
        ):
            # Both scales are powers of two, so this factor is exact.
            part = [
                g if g is None else tf.math.scalar_mul(tf.cast(own / scale, g.dtype), g)
                for g in part
            ]
            replicas.update_if(turn, optimizer.apply, part, variables)
        self.inner_loop.advance(replicas.sum_over_replicas(loss))
        return self.compute_metrics(x, y, outputs, sample_weight=sample_weight)

    def get_config(self):
        """Returns the config; `from_config` makes an equal model from it."""
        return {
            **super().get_config(),
            "window": self.inner_loop.window,
            "max_steps": self.inner_loop.max_steps,
        }


class InnerLoop(keras.layers.Layer):
    """State of the inner loop, in saved variables; see `AggressiveVAE`.

    Args:
        window: Positive integer.
        max_steps: Positive integer.
    """

    def __init__(self, window, max_steps, **kwargs):
        super().__init__(**kwargs)
        self.window = checks.check_count("window", window)
        self.max_steps = checks.check_count("max_steps", max_steps)
        self.active = self._add("active", "int64", 1)
        self.decodes = self._add("decodes", "int64", 0)
        self.steps = self._add("steps", "int64", 0)
        self.total = self._add("total", "float32", 0.0)
        self.last_mean = self._add("last_mean", "float32", 0.0)
        # `AggressiveStopping` keeps these here, so that they outlive an interruption.
        self.information = self._add("information", "float32", 0.0)
        self.measured_step = self._add("measured_step", "int64", 0)
        self.built = True

    def _add(self, name, dtype, value):
        return self.add_weight(
            shape=(),
            initializer=keras.initializers.Constant(value),
            dtype=dtype,
            autocast=False,
            trainable=False,
            aggregation="only_first_replica",
            name=name,
        )

    def turns(self):
        """Returns two booleans: whether to update the encoder, and the decoder."""
        joint = tf.equal(self.active.value, 0)
        decodes = tf.equal(self.decodes.value, 1)
        return joint | ~decodes, joint | decodes

    def advance(self, loss):
        """Records the loss of a step and decides the next update.

        Args:
            loss: Float32 scalar tensor, equal on all replicas.
        """
        steps = tf.identity(self.steps.value) + 1
        total = tf.identity(self.total.value) + loss
        last_mean = tf.identity(self.last_mean.value)
        mean = total / self.window
        is_full = tf.equal(steps % self.window, 0)
        # Negated, so that a NaN loss ends the loop.
        stops_falling = is_full & (steps > self.window) & ~(mean < last_mean)
        ends = stops_falling | (steps >= self.max_steps)
        _, restarts = self.turns()
        state = (
            (self.decodes, tf.cast(ends, tf.int64)),
            (self.steps, steps),
            (self.total, tf.where(is_full, 0.0, total)),
            (self.last_mean, tf.where(is_full, mean, last_mean)),
        )
        for variable, value in state:
            value = tf.where(restarts, tf.zeros_like(value), value)
            replicas.assign(variable, value)

    def get_config(self):
        """Returns the config; `from_config` makes an equal layer from it."""
        config = {"window": self.window, "max_steps": self.max_steps}
        return {**super().get_config(), **config}

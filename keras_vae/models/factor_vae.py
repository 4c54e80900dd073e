"""A VAE whose adversary estimates the total correlation of its latents."""

import keras
import tensorflow as tf

from keras_vae import checks
from keras_vae import networks
from keras_vae import random
from keras_vae.arguments import check_number
from keras_vae.hyperparameter import Hyperparameter
from keras_vae.metrics.trackers import CountedMean
from keras_vae.metrics.trackers import Gauge
from keras_vae.models.two_optimizers import TwoOptimizers
from keras_vae.objectives import BatchMean
from keras_vae.objectives.reduction import check_sample_weight


@keras.saving.register_keras_serializable("keras_vae")
class FactorVAE(TwoOptimizers):
    """VAE with a penalty on the total correlation, estimated by a discriminator.

        loss = -ELBO + gamma E[D_0(z) - D_1(z)]

    by Kim & Mnih. D_0 and D_1 are the logits of a discriminator that tells z ~ q(z)
    from a draw of `prod_j q(z_j)`; that draw permutes each unit of z over the batch.
    The difference of the logits estimates the log density ratio, and its mean the total
    correlation `KL(q(z) || prod_j q(z_j))` in nats. With `gamma=0` the loss is the
    VAE's exactly. `objectives.TotalCorrelation` estimates it without an adversary.

    In each step the VAE and then the discriminator take one step of their own
    optimizers, both from the same z. Codes are permuted within the batch of a replica,
    regardless of `sample_weight`, which weights the rows. `trainable_variables`
    excludes the discriminator.

    `fit` also logs `total_correlation_loss`, unweighted; `discriminator_loss`, which is
    log 2 for an uninformative discriminator; and `gamma`, which
    `callbacks.HyperparameterScheduler("gamma", schedule)` schedules.

    Args:
        encoder: See `VAE`.
        decoder: See `VAE`.
        latent_dim: See `VAE`.
        gamma: Non-negative float, the weight of the total correlation.
        discriminator: `keras.Model` or layer, (batch, latent_dim) -> logits (batch, 2),
            or None for six layers of 1000 leaky rectifiers.
        **kwargs: See `VAE`.

    Call arguments:
        inputs: Tensor of shape (batch, *event_shape).
        training: Boolean.

    Returns:
        The dict of `VAE`, with one more entry "discriminator": (batch, 2, 2) float32,
        the two logits of z and the two logits of the permuted codes.

    Raises:
        ValueError: If `gamma` or the shape of the discriminator's output is invalid.

    Example:
    >>> vae = kv.FactorVAE(
    ...     encoder=kv.networks.mlp_encoder([32]),
    ...     decoder=kv.networks.mlp_decoder([32], (8, 8, 1)),
    ...     latent_dim=4,
    ...     gamma=6.4,
    ...     discriminator=kv.networks.mlp_decoder([64, 64], (2,)),
    ... )
    >>> vae.compile("adam")
    >>> history = vae.fit(np.zeros((64, 8, 8, 1)), verbose=0).history
    >>> [name for name in sorted(history) if name not in ("kl_loss", "kl_weight")]
    ['discriminator_loss', 'gamma', 'loss', 'negative_elbo', 'reconstruction_loss',
     'total_correlation_loss']

    Reference:
        [Disentangling by Factorising](https://arxiv.org/abs/1802.05983)
    """

    second_optimizer_name = "discriminator_optimizer"
    network_arguments = (*TwoOptimizers.network_arguments, "discriminator")

    def __init__(
        self,
        encoder,
        decoder,
        latent_dim,
        gamma=10.0,
        discriminator=None,
        **kwargs,
    ):
        super().__init__(encoder, decoder, latent_dim, **kwargs)
        self.gamma = Hyperparameter(
            check_number("gamma", gamma), name="gamma", dtype=self.dtype_policy
        )
        if discriminator is None:
            discriminator = networks.mlp_decoder(
                [1000] * 6, (2,), activation="leaky_relu", name="discriminator"
            )
        self.discriminator = checks.check_network(discriminator, "discriminator")
        # A separate count leaves the draws of z equal to a `VAE`'s.
        self.permutations = random.Noise(
            self.latent.noise.seed, name="permutations", dtype=self.dtype_policy
        )
        self._total_correlation_loss = CountedMean("total_correlation_loss")
        self._discriminator_loss = CountedMean("discriminator_loss")
        self._gamma = Gauge("gamma", lambda: self.gamma.value)

    def build(self, input_shape):
        """Creates all weights; see `VAE.build`."""
        super().build(input_shape)
        shape = checks.build_network(
            self.discriminator, (None, self.latent_dim), "discriminator"
        )
        if shape[1:] != (2,):
            raise ValueError(
                "`discriminator` must put out two logits for each example, shape "
                f"(batch, 2). Received: shape {shape}"
            )

    @property
    def second_variables(self):
        """The discriminator's trainable variables."""
        return self.discriminator.trainable_variables

    @property
    def trainable_variables(self):
        """Variables that `optimizer` trains: all but the discriminator's."""
        return self._without_discriminator(super().trainable_variables)

    @property
    def trainable_weights(self):
        """Weights that `optimizer` trains: all but the discriminator's."""
        return self._without_discriminator(super().trainable_weights)

    def _without_discriminator(self, variables):
        others = {id(variable) for variable in self.discriminator.variables}
        return [variable for variable in variables if id(variable) not in others]

    def call(self, inputs, training=False):
        """See the class."""
        outputs = super().call(inputs, training=training)
        z = outputs["z"][:, 0]
        if training:
            key = self.permutations.next_key()
        else:
            key = self.permutations.evaluation_key(self._negative_elbo.batches)
        permuted = permute_units(tf.stop_gradient(z), random.fork(key, 3))
        logits = self.discriminator(tf.concat([z, permuted], axis=0))
        logits = tf.reshape(tf.cast(logits, tf.float32), [2, -1, 2])
        outputs["discriminator"] = tf.transpose(logits, [1, 0, 2])
        return outputs

    def compile(self, optimizer="adam", discriminator_optimizer=None, **kwargs):
        """Configures the model for training.

        Args:
            optimizer: Name or `keras.optimizers.Optimizer` of the VAE.
            discriminator_optimizer: Name or optimizer of the discriminator, or None for
                `Adam(1e-4, beta_1=0.5, beta_2=0.9)`.
            **kwargs: See `VAE.compile`.

        Raises:
            ValueError: If both are the same optimizer, or as `VAE.compile`.
        """
        if discriminator_optimizer is None:
            discriminator_optimizer = keras.optimizers.Adam(1e-4, 0.5, 0.9)
        self._compile(optimizer, discriminator_optimizer, **kwargs)

    def compute_loss(
        self, x=None, y=None, y_pred=None, sample_weight=None, training=True
    ):
        """Adds the total correlation to the terms of `VAE.compute_loss`."""
        logits = y_pred["discriminator"]
        mean = BatchMean(tf.shape(logits)[0], check_sample_weight(sample_weight))
        if training:
            self.gamma.advance()
        total_correlation = mean(logits[:, 0, 0] - logits[:, 0, 1])
        self.add_loss(self.gamma.value * total_correlation)
        self._total_correlation_loss.update(total_correlation, mean)
        self._discriminator_loss.update(discriminator_loss(logits, mean), mean)
        return super().compute_loss(x, y, y_pred, sample_weight, training)

    def train_step(self, data):
        """Takes a step of the VAE's optimizer and a step of the discriminator's."""
        x, y, sample_weight = keras.utils.unpack_x_y_sample_weight(data)
        adversary = self.discriminator_optimizer
        with tf.GradientTape(persistent=True) as tape:
            outputs, loss = self._forward(x, y, sample_weight)
            loss = self.optimizer.scale_loss(loss)
            logits = outputs["discriminator"]
            mean = BatchMean(tf.shape(logits)[0], check_sample_weight(sample_weight))
            # Divided by the replicas, as Keras divides the added losses.
            second_loss = discriminator_loss(logits, mean) / mean.replicas
            second_loss = adversary.scale_loss(second_loss)
        for optimizer, value, variables in (
            (self.optimizer, loss, self.trainable_variables),
            (adversary, second_loss, self.second_variables),
        ):
            gradients = tape.gradient(value, variables)
            optimizer.apply_gradients(zip(gradients, variables, strict=True))
        return self.compute_metrics(x, y, outputs, sample_weight=sample_weight)

    def get_config(self):
        """Returns the config; `from_config` makes an equal model from it."""
        return {
            **super().get_config(),
            "gamma": self.gamma.initial_value,
            "discriminator": keras.saving.serialize_keras_object(self.discriminator),
        }


def permute_units(z, key):
    """Permutes each unit over the batch, independently of the other units.

    Args:
        z: Tensor of shape (batch, latent).
        key: Int64 tensor of shape (2,), see `keras_vae.random.key`.

    Returns:
        Tensor of shape (batch, latent).

    Example:
    >>> z = tf.constant([[0.0, 10.0], [1.0, 11.0], [2.0, 12.0]])
    >>> permuted = permute_units(z, kv.random.key(0))
    >>> np.sort(permuted, axis=0).tolist()
    [[0.0, 10.0], [1.0, 11.0], [2.0, 12.0]]
    """
    units = tf.transpose(z)
    order = tf.argsort(random.uniform(tf.shape(units), key), axis=1)
    return tf.transpose(tf.gather(units, order, batch_dims=1))


def discriminator_loss(logits, mean):
    """Mean cross-entropy, in nats, of z as class 0 and permuted codes as class 1.

    Args:
        logits: Tensor of shape (batch, 2, 2), see `FactorVAE`.
        mean: `BatchMean` of the batch.
    """
    log_probs = tf.nn.log_softmax(logits)
    return -0.5 * mean(log_probs[:, 0, 0] + log_probs[:, 1, 1])

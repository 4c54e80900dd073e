"""A variational autoencoder that one `fit` trains for all weights of the rate."""

import math
import warnings

import keras
import tensorflow as tf

from keras_vae import checks
from keras_vae import conditions
from keras_vae import random
from keras_vae import snapshot
from keras_vae.arguments import check_count
from keras_vae.arguments import check_number
from keras_vae.distributions import likelihoods
from keras_vae.distributions import posteriors
from keras_vae.models.vae import VAE
from keras_vae.multi_rate.gated_network import GatedLatentVariable
from keras_vae.multi_rate.gated_network import GatedNetwork
from keras_vae.multi_rate.gates import LIMIT
from keras_vae.multi_rate.objective import MultiRateELBO
from keras_vae.objectives import ELBO
from keras_vae.serialization import default_policy


@keras.saving.register_keras_serializable("keras_vae")
class MultiRateVAE(VAE):
    """Variational autoencoder that one `fit` trains for every weight beta of the KL.

    Each training example draws a beta from `beta_range`, and the loss is the mean of
    `distortion + beta rate`, in nats. Gates let the networks depend on beta: they scale
    and shift the pre-activations of each dense and convolutional layer of the encoder,
    the posterior's head and the decoder. `at(beta)` folds them into ordinary weights.

    Bae et al.'s gates multiply by sigmoid(w u + b) in the encoder and by sqrt(max(1 -
    exp(w u + b), 0)) in the decoder. Here u is log beta, scaled to mean 0 and variance
    1; log beta is drawn uniformly. For these gates use `gates="original", rank=0,
    tilt=1.0`. The default "spline" gates differ in four ways. Their values are free at
    five knots of u. They also shift, which the posterior's log-scales need. Some
    directions of each dense kernel have strengths that depend on u. Each latent has a
    water level: above this beta it starts closed, both before and after z, as in a
    linear VAE, so high betas do not close the latents that low betas need. Finally,
    `tilt` draws low betas more often, because they learn more slowly.

    The networks are copied, including the weights of a network that is built. Dense,
    Conv1D to Conv3D and their transposes are gated. Layers without weights, and
    Embedding, GroupNormalization, LayerNormalization, Normalization and PReLU, are
    shared by all betas. Any other layer with weights is a ValueError.

    All other methods of a `VAE` (`evaluate`, `predict`, `encode`, `export`...) use the
    argument `beta`. For another beta use `at`.
    In the training logs, `reconstruction_loss`, `kl_loss` and their sum `negative_elbo`
    are means over the drawn betas; in the validation logs they are values at `beta`.
    `kl_weight` multiplies all betas; `KLAnnealing` may warm it up.

    All betas share a learned noise of the likelihood. With a `VampPrior` all examples
    of a batch share a beta, because its components depend on beta.

    Args:
        encoder: `keras.Sequential`, functional `keras.Model` or layer, as of a `VAE`.
        decoder: The same.
        latent_dim: Integer, dimensions of z.
        likelihood: Name, config or `Likelihood` p(x|z).
        posterior: Name, config or `Posterior` q(z|x).
        prior: Name, config or `Prior` p(z).
        beta_range: Pair of positive floats, the smallest and the largest beta.
        beta: Float within `beta_range`, at which the model itself evaluates, encodes
            and decodes. Defaults to 1, or the end of `beta_range` nearest to 1.
        gates: "spline" or "original".
        tilt: Float, at least 1. The relative position of log beta in its range is a
            uniform number to this power; 1 draws log beta uniformly.
        rank: Integer, at least 0, directions of each dense kernel with a strength that
            depends on beta; at most half the units on the kernel's smaller side.
        kl: "analytic" or "monte_carlo", how the rate is computed.
        num_samples: Integer, draws of z per example.
        seed: Integer, the seed of all noise, or None for a random one.
        **kwargs: `linear_path`, `conditions` and the arguments of `keras.Model`, see
            `VAE`.

    Raises:
        ValueError: If an argument is invalid or a layer cannot be gated.

    Example:
    >>> multi = kv.MultiRateVAE(
    ...     encoder=kv.networks.mlp_encoder([32]),
    ...     decoder=kv.networks.mlp_decoder([32], (8, 8, 1)),
    ...     latent_dim=4,
    ...     seed=0,
    ... )
    >>> multi.compile("adam")
    >>> history = multi.fit(np.zeros((64, 8, 8, 1)), epochs=1, verbose=0)
    >>> vae = multi.at(beta=0.1)
    >>> type(vae).__name__, vae.objective.kl_weight.initial_value
    ('VAE', 0.1)

    Reference:
        [Multi-Rate VAE: Train Once, Get the Full Rate-Distortion Curve](
        https://arxiv.org/abs/2212.03905)
    """

    def __init__(
        self,
        encoder,
        decoder,
        latent_dim,
        likelihood="bernoulli",
        posterior="diagonal_normal",
        prior="standard_normal",
        beta_range=(0.01, 10.0),
        gates="spline",
        tilt=1.5,
        rank=32,
        kl="analytic",
        num_samples=1,
        seed=None,
        beta=None,
        **kwargs,
    ):
        checks.check_output_activation(decoder, likelihoods.get(likelihood))
        posterior = check_posterior(posteriors.get(posterior))
        self.beta_range = check_beta_range(beta_range)
        self._beta = self._nearest_to_1() if beta is None else self._checked(beta)
        self.gates = check_gates(gates)
        self.tilt = check_tilt(tilt)
        self.rank = check_count("rank", rank, 0)
        # Layers that the model creates use its own policy; copies keep theirs.
        policy = keras.dtype_policies.get(kwargs.get("dtype"))
        encoder_gate, _, decoder_gate = GATES[gates]
        super().__init__(
            self._gated(encoder, encoder_gate, "encoder", policy),
            self._gated(decoder, decoder_gate, "decoder", policy),
            latent_dim,
            likelihood=likelihood,
            posterior=posterior,
            prior=prior,
            objective=MultiRateELBO(
                kl=kl, num_samples=num_samples, name="objective", dtype=policy
            ),
            seed=seed,
            **kwargs,
        )

    def _gated(self, network, gate, name, policy):
        network = checks.check_network(network, name)
        options = {"dtype": policy}
        default = self._u(self.beta)
        return GatedNetwork(network, gate, self.rank, default, options, name=name)

    def _make_latent(self, latent_dim, **kwargs):
        """See `VAE._make_latent`."""
        log_range = [math.log(limit) for limit in self.beta_range]
        return GatedLatentVariable(
            latent_dim,
            gate=GATES[self.gates][1],
            rank=self.rank,
            log_beta_range=log_range,
            default=self._u(self.beta),
            **kwargs,
        )

    @property
    def _plain_networks(self):
        """See `VAE._plain_networks`: the networks as given, without gates."""
        return {name: gated.plain_network for name, gated in self._networks.items()}

    @property
    def deep_decoder(self):
        """See `VAE.deep_decoder`: the layers within the gated network."""
        return self._networks["decoder"].network

    @property
    def beta(self):
        """The beta at which the model itself evaluates, encodes and decodes."""
        return self._beta

    def _nearest_to_1(self):
        low, high = self.beta_range
        return min(max(1.0, low), high)

    def _checked(self, beta):
        beta = check_number("beta", beta, positive=True)
        low, high = self.beta_range
        if low <= beta <= high:
            return beta
        raise ValueError(
            f"`beta` must lie in `beta_range`, [{low}, {high}], the range that the "
            f"model is trained for. Received: beta={beta}"
        )

    def _u(self, beta):
        low, high = (math.log(limit) for limit in self.beta_range)
        return LIMIT * (2.0 * (math.log(beta) - low) / (high - low) - 1.0)

    # === Forward pass ===

    def call(self, inputs, training=False):
        """See the class."""
        key = self._next_key(training)
        inputs, condition = self.conditions.split(inputs)
        batch = tf.shape(tf.nest.flatten(inputs)[0])[0]
        if not training:
            outputs = self._call_networks(inputs, condition, key)
            return {**outputs, "beta": tf.fill([batch], self.beta)}
        place = self._draw(batch, random.fork(key, 3))
        low, high = (math.log(limit) for limit in self.beta_range)
        u = LIMIT * (2.0 * place[:, None] - 1.0)
        outputs = self._call_networks(inputs, {**condition, "u": u}, key)
        beta = tf.exp(low + place * (high - low))
        return {**outputs, "beta": tf.broadcast_to(beta, [batch])}

    def _draw(self, batch, key):
        """Returns positions of log beta in its range, (batch,) or (1,), in [0, 1)."""
        start = random.uniform((1,), key)
        if self.latent.prior.calls_encoder:
            return start**self.tilt
        # Evenly spaced from a common random start: each position is uniform, and each
        # batch covers the range evenly.
        spacing = tf.range(batch, dtype=tf.float32) / tf.cast(batch, tf.float32)
        return tf.math.floormod(start + spacing, 1.0) ** self.tilt

    def _decode(self, z, condition=conditions.NONE, beside=conditions.NONE):
        u = condition.get("u")
        u = tf.constant([[self._u(self.beta)]]) if u is None else u
        scale = self.latent.z_scale(u)
        if scale is not None:
            z = z * scale[:, None]
        u = tf.broadcast_to(u, [tf.shape(z)[0], 1])
        return super()._decode(z, {**condition, "u": u}, beside)

    def _estimate(self, outputs, *args, **kwargs):
        estimate = super()._estimate(outputs, *args, **kwargs)
        # `MultiRateELBO` reads the weight of each example's rate here.
        estimate.beta = outputs.get("beta")
        return estimate

    # === Use ===

    def condition_of(self, beta):
        """Returns what makes `estimate` that of one beta, without a model of its own.

        Args:
            beta: Float within `beta_range`.

        Returns:
            Dict, the `condition` of `estimate`.

        Raises:
            ValueError: If beta lies outside `beta_range`.
        """
        return {"u": tf.constant([[self._u(self._checked(beta))]])}

    def at(self, beta):
        """Makes the plain VAE that equals this model at one beta.

        The gates become part of kernels and biases, so the VAE costs no more than a VAE
        trained at this beta alone. It owns its weights. It is compiled if this model
        is, unless Keras cannot copy the optimizer or a metric; then it warns.

        Args:
            beta: Float within `beta_range`.

        Returns:
            A `VAE` with `ELBO(kl_weight=beta)`.

        Raises:
            ValueError: If beta lies outside `beta_range` or the model is not built.
        """
        beta = self._checked(beta)
        self._require_built("at")
        u = self._u(beta)
        scale = self.latent.z_scale(tf.constant([[u]]))
        scale = None if scale is None else scale.numpy()[0]
        objective = ELBO(
            kl_weight=beta,
            kl=self.objective.kl,
            num_samples=self.objective.num_samples,
            dtype=self.dtype_policy,
        )
        with default_policy(self.dtype_policy):
            vae = VAE(
                **{
                    **super().get_config(),
                    "encoder": self._networks["encoder"].fold(u),
                    "decoder": self._networks["decoder"].fold(u, input_scale=scale),
                    "objective": objective,
                }
            )
            vae.build(self.get_build_config()["input_shape"])
        vae.latent.head.set_weights(self.latent.head.fold(u).get_weights())
        if self.linear_path:
            self._fold_linear_path(vae.decoder, scale)
        for part, own in zip(_parts(vae), _parts(self), strict=True):
            for variable, source in zip(part.variables, own.variables, strict=True):
                variable.assign(source)
        snapshot.refresh(vae)
        if self.compiled:
            _compile_like(self, vae)
        return vae

    def _fold_linear_path(self, plain, scale):
        """Assigns the linear map of z, multiplied by `scale` for each unit."""
        linear = self.decoder.linear
        kernel = linear.kernel if scale is None else linear.kernel * scale[:, None]
        plain.linear.kernel.assign(kernel)
        plain.linear.bias.assign(linear.bias)
        if self.decoder.declared:
            weights = self.decoder.of_conditions.get_weights()
            plain.of_conditions.set_weights(weights)

    def get_config(self):
        """Returns the config; `from_config` makes an equal model from it."""
        config = super().get_config()
        objective = self.objective.get_config()
        del config["objective"]
        return {
            **config,
            "beta_range": self.beta_range,
            "beta": self.beta,
            "gates": self.gates,
            "tilt": self.tilt,
            "rank": self.rank,
            "kl": objective["kl"],
            "num_samples": objective["num_samples"],
        }


# The gates of the encoder, of the posterior's head and of the decoder.
GATES = {
    "spline": ("spline", "head", "spline"),
    "original": ("sigmoid", "sigmoid", "root"),
}


def _parts(model):
    return model.likelihood, model.latent.posterior, model.latent.prior


def _compile_like(model, vae):
    try:
        vae.compile_from_config(model.get_compile_config())
    except (TypeError, ValueError) as error:
        # Losing the compile settings is better than losing the trained weights.
        warnings.warn(
            f"The VAE of `at` is not compiled, because Keras cannot copy the compile "
            f"settings of {model.name!r}: {str(error).splitlines()[0]} Decorate "
            "your own classes with `@keras.saving.register_keras_serializable()`, or "
            "call `compile` yourself.",
            stacklevel=3,
        )


def check_posterior(posterior):
    """Returns `posterior`; raises ValueError if it mixes the examples of a batch."""
    if isinstance(posterior, posteriors.BatchNormalizedNormal):
        raise ValueError(
            "`posterior` must not normalize over the batch, because its examples have "
            f"different betas. Received: posterior={posterior!r}"
        )
    return posterior


def check_gates(gates):
    """Returns `gates`; raises ValueError if no gates have that name."""
    if gates not in GATES:
        raise ValueError(
            f"`gates` must be one of {tuple(GATES)}. Received: gates={gates!r}"
        )
    return gates


def check_tilt(tilt):
    """Returns `tilt` as a float; raises ValueError if it is below 1."""
    number = check_number("tilt", tilt, positive=True)
    if number < 1:
        raise ValueError(f"`tilt` must be at least 1. Received: tilt={tilt!r}")
    return number


def check_beta_range(beta_range):
    """Returns `beta_range` as two floats; raises ValueError if it is not a range."""
    try:
        low, high = (
            check_number("beta_range", limit, positive=True) for limit in beta_range
        )
    except (TypeError, ValueError):
        low = high = 0.0
    if not low < high:
        raise ValueError(
            "`beta_range` must be a pair of positive floats (low, high) with low < "
            f"high. Received: beta_range={beta_range!r}"
        )
    return low, high

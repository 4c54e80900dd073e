"""A VAE with several levels of latents."""

import keras

from keras_vae import checks
from keras_vae import priors
from keras_vae import random
from keras_vae.arguments import check_number
from keras_vae.conditions import ABOVE
from keras_vae.conditions import takes
from keras_vae.distributions import posteriors
from keras_vae.layers.latent_variable import LatentVariable
from keras_vae.models.levels import Levels
from keras_vae.models.vae import VAE

# How the posteriors of the levels below the top take up the prior.
INFERENCE = {
    "bottom_up": None,
    "ladder": posteriors.PrecisionWeighted,
    "top_down": posteriors.Residual,
}


@keras.saving.register_keras_serializable("keras_vae")
class HierarchicalVAE(Levels, VAE):
    """Variational autoencoder with several levels of latents, one code together.

        p(x, z_1, ..., z_L) = p(x|z_1) p(z_1|z_2) ... p(z_L)
        -ELBO = E_q[-log p(x|z_1)] + sum_l E_q[KL(q(z_l|...) || p(z_l|z_l+1))]

    The decoder of a level turns its z into features, from which a linear head makes the
    normal prior of the level below; that of level 1 puts out the parameters of p(x|z).
    The encoders run upwards, each on the output of the one below it. The levels differ
    in what their posteriors see:

    | `inference` | q(z_l|...) |
    |---|---|
    | "bottom_up" | the encoder of level l sees z_l-1: q(z_1|x) q(z_2|z_1) ... |
    | "ladder" | features of x, times the prior: `PrecisionWeighted` |
    | "top_down" | features of x and those from above, on the prior: `Residual` |

    In the last two the encoders see features alone, and the draws run downwards. With
    one level the model is a `VAE`.

    Levels are called "level_1", "level_2"..., the first one next to x. What stands for
    all latents is a dict with these names: z of `decode`, and what `encode`,
    `sample_posterior` and the call return. The logs have the rate of each level,
    `level_1_kl_loss`..., besides `kl_loss`, their sum. `kl_weight`, schedules and
    targets act on the sum, or on single levels: `latent_weights` of objectives, a
    schedule of "level_2_kl_weight", `objectives.RateTarget({"level_2": 5.0})`. Floors
    act on units, or with `objectives.FreeBits(group_size="latent")` on levels.

    Args:
        encoder: List of `keras.Model`s or layers, one a level: the first one x ->
            features (batch, ...), the others the features below, or with "bottom_up" z
            below -> features.
        decoder: List of `keras.Model`s or layers, one a level: the first one z_1 ->
            parameters of p(x|z), the others z -> features for the level below. One
            whose inputs, or parameters of `call`, name "above" gets the features from
            above beside z.
        latent_dim: List of integers, the dimensions of z of each level. A tuple is the
            shape of a map, channels last, whose features have its height and width.
        inference: "bottom_up", "ladder" or "top_down".
        likelihood: Name, config or `Likelihood` p(x|z).
        posterior: Name, config or `Posterior` of all levels, with "ladder" and
            "top_down" of the top one; then it must be "diagonal_normal", whose limits
            of scales hold for all.
        prior: Name, config or `Prior` of the top level.
        **kwargs: `objective`, `seed`, `conditions`, `missing` and the arguments of
            `keras.Model`, see `VAE`.

    Raises:
        ValueError: If the lists differ in length, or an argument does not fit.

    Example:
    >>> vae = kv.HierarchicalVAE(
    ...     encoder=[kv.networks.mlp_encoder([32]), kv.networks.mlp_encoder([16])],
    ...     decoder=[
    ...         kv.networks.mlp_decoder([32], (8, 8, 1)),
    ...         kv.networks.mlp_encoder([16]),
    ...     ],
    ...     latent_dim=[4, 2],
    ...     seed=0,
    ... )
    >>> vae.compile("adam")
    >>> history = vae.fit(np.zeros((64, 8, 8, 1)), verbose=0).history
    >>> [name for name in sorted(history) if "kl_loss" in name]
    ['kl_loss', 'level_1_kl_loss', 'level_2_kl_loss']
    >>> mean, stddev = vae.encode(np.zeros((3, 8, 8, 1)))
    >>> mean["level_2"].shape
    TensorShape([3, 2])

    References:
        [Ladder Variational Autoencoders](https://arxiv.org/abs/1602.02282);
        [NVAE: A Deep Hierarchical Variational Autoencoder](
        https://arxiv.org/abs/2007.03898)
    """

    def __init__(
        self,
        encoder,
        decoder,
        latent_dim,
        inference="ladder",
        likelihood="bernoulli",
        posterior="diagonal_normal",
        prior="standard_normal",
        **kwargs,
    ):
        _check_levels(encoder, decoder, latent_dim)
        if inference not in INFERENCE:
            raise ValueError(
                f"`inference` must be one of {tuple(INFERENCE)}. Received: "
                f"inference={inference!r}"
            )
        self.inference = inference
        super().__init__(
            encoder,
            decoder,
            latent_dim,
            likelihood=likelihood,
            posterior=posterior,
            prior=prior,
            **kwargs,
        )
        if len(self.latents) > 1 and self.objective.needs_prior_samples:
            raise ValueError(
                "`objective` must not compare draws with those of the prior, which are "
                f"of several latents. Received: objective={self.objective!r}"
            )

    def _set_networks(self, encoder, decoder, likelihood):
        """See `VAE._set_networks`."""
        if self.linear_path and len(encoder) > 1:
            raise ValueError(
                "`linear_path` must be False with several levels: the best linear "
                "start is known for one level. Received: linear_path=True"
            )
        super()._set_networks(encoder[0], decoder[0], likelihood)
        self.upper_encoders, self.upper_decoders = (
            [
                checks.check_network(network, f"{part}[{place}]")
                for place, network in enumerate(networks[1:], 1)
            ]
            for part, networks in (("encoder", encoder), ("decoder", decoder))
        )
        if takes(decoder[-1], ABOVE):
            raise ValueError(
                "`decoder` of the top level must not take 'above': there is no level "
                f"above it. Received: decoder[{len(decoder) - 1}]={decoder[-1]!r}"
            )

    def _make_latent(self, latent_dim, posterior, prior, seed, name, dtype):
        """See `VAE._make_latent`: makes all levels, and returns the first one."""
        posterior, prior = posteriors.get(posterior), priors.get(prior)
        if len(latent_dim) > 1 and prior.calls_encoder:
            raise ValueError(
                "`prior` must not encode inputs of its own with several levels. "
                f"Received: prior={prior!r}"
            )
        seed, latents = random.check_seed(seed), []
        for number, units in enumerate(latent_dim, 1):
            is_top = number == len(latent_dim)
            above = priors.Conditional(conditions=[ABOVE], name=f"prior_{number}")
            latents.append(
                LatentVariable(
                    units,
                    posterior=self._posterior_of(posterior, is_top, number),
                    prior=prior if is_top else above,
                    seed=seed,
                    name=f"level_{number}",
                    dtype=dtype,
                )
            )
        self.upper_latents = latents[1:]
        return latents[0]

    def _posterior_of(self, given, is_top, number):
        merged, name = INFERENCE[self.inference], f"posterior_{number}"
        if is_top:
            return given
        if merged is None:
            return type(given).from_config({**given.get_config(), "name": name})
        if type(given) is not posteriors.DiagonalNormal:
            raise ValueError(
                "`posterior` must be 'diagonal_normal' with this `inference`, which "
                "merges normals; others go with inference='bottom_up'. Received: "
                f"posterior={given!r}, inference={self.inference!r}"
            )
        limits = {"min_scale": given.min_scale, "max_scale": given.max_scale}
        return merged(**limits, name=name)

    def with_networks(self, encoder, decoder, **parts):
        """See `VAE.with_networks`."""
        units = [latent.get_config()["units"] for latent in self.latents]
        return HierarchicalVAE(encoder, decoder, units, self.inference, **parts)

    # === Use ===

    def generate(
        self,
        n,
        seed=None,
        noise=False,
        condition=None,
        temperature=1.0,
        from_level="level_1",
    ):
        """Decodes draws from the prior; see `VAE.generate`.

        Args:
            n: See there.
            seed: See there.
            noise: See there.
            condition: See there.
            temperature: Non-negative float, the factor of the deviations of each z from
                the mean of its prior.
            from_level: Name of the lowest level that is drawn. Those below it are the
                means of their priors, so that the draws show what is above.

        Returns:
            Float32 tensor of shape (n, *event_shape).
        """
        check_number("temperature", temperature)
        (lowest,) = self._places([from_level], "from_level")
        options = {"temperature": float(temperature), "lowest": lowest}
        return self._generate(n, seed, noise, condition, **options)

    def reconstruct(self, x, condition=None, keep_levels=None):
        """Returns the mean of p(x|z) at the posterior means; see `VAE.reconstruct`.

        Args:
            x: See there.
            condition: See there.
            keep_levels: List of the names of the levels that are those of x, or None
                for all. The others are the means of their priors.

        Returns:
            Float32 tensor of shape (batch, *event_shape).
        """
        if keep_levels is None:
            return super().reconstruct(x, condition)
        kept = self._places(keep_levels, "keep_levels")
        parts = "encoder", "decoder", "prior"
        x, condition = self._data_and_conditions(x, condition, *parts)
        means = self._means(x, condition)
        return self._decode_finite(self._kept(means, kept, condition), condition)

    def _places(self, names, argument):
        """Returns the places of levels; errors name `argument`."""
        known = [latent.name for latent in self.latents]
        if isinstance(names, str):
            raise ValueError(
                f"`{argument}` must be a list of names. Received: {argument}={names!r}"
            )
        if unknown := [name for name in names if name not in known]:
            raise ValueError(
                f"`{argument}` must name levels, of {known}. Received: {unknown}"
            )
        return [known.index(name) for name in names]

    # === Config ===

    def get_config(self):
        """Returns the config; `from_config` makes an equal model from it."""
        config = super().get_config()
        configs = [latent.get_config() for latent in self.latents]
        serialize = keras.saving.serialize_keras_object
        return {
            **config,
            "encoder": [config["encoder"], *map(serialize, self.upper_encoders)],
            "decoder": [config["decoder"], *map(serialize, self.upper_decoders)],
            "latent_dim": [own["units"] for own in configs],
            "inference": self.inference,
            "posterior": configs[-1]["posterior"],
            "prior": configs[-1]["prior"],
        }


def _check_levels(encoder, decoder, latent_dim):
    given = {"encoder": encoder, "decoder": decoder, "latent_dim": latent_dim}
    for name, value in given.items():
        if not isinstance(value, list | tuple) or not value:
            raise ValueError(
                f"`{name}` must be a list with one entry for each level, that next to "
                f"x first. Received: {name}={value!r}"
            )
    numbers = {name: len(value) for name, value in given.items()}
    if len(set(numbers.values())) > 1:
        raise ValueError(
            "`encoder`, `decoder` and `latent_dim` must have one entry for each level. "
            f"Received: {numbers}"
        )

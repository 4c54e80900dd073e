"""The registry of small models on which `test_conformance.py` runs its whole suite.

A new variant is one more entry.
"""

import dataclasses

import keras
import numpy as np
import tensorflow as tf

import keras_vae as kv
from keras_vae import distributions
from keras_vae import priors

EXAMPLES = 32
EVENT_SHAPE = (4, 4, 1)
RECIPES = {}


@dataclasses.dataclass
class Recipe:
    """A model that is not compiled, and what it trains on."""

    model: keras.Model
    x: np.ndarray | dict
    y: np.ndarray | None = None
    loss: keras.losses.Loss | None = None
    # What `serve` of the SavedModel takes, if it is not x.
    served: np.ndarray | None = None
    # Whether Keras lets XLA compile it: not the LSTM that cuDNN may run.
    supports_xla: bool = True
    # Steps of `fit` in which each weight is updated once.
    steps_per_update: int = 1
    # Two where a factor of a product starts at zero, so that the others have to wait.
    updates_until_all_move: int = 1

    @property
    def data(self):
        return {"x": self.x, "y": self.y}

    def as_served(self, predicted):
        """Returns what `serve` gives for what `predict` gave."""
        if self.served is None:
            return predicted
        return self.model.vocabulary.decode(predicted)

    def build(self, model):
        """Builds a model for these data if it is not built."""
        if not model.built:
            model.build(tf.nest.map_structure(lambda v: (None, *v.shape[1:]), self.x))

    def compile(self, optimizer, **kwargs):
        """Compiles the model with its loss and returns it."""
        self.model.compile(optimizer, loss=self.loss, **kwargs)
        return self.model


def recipe(function):
    """Registers a function without arguments that returns a new `Recipe`."""
    RECIPES[function.__name__] = function
    return function


def make(name):
    """Makes the recipe `name`, each time with the same initial weights."""
    keras.utils.set_random_seed(1)
    return RECIPES[name]()


def grey_images(shape=EVENT_SHAPE):
    """Images in (0, 1) that vary along three directions."""
    generator = np.random.default_rng(0)
    directions = generator.normal(size=(3, *shape))
    places = generator.normal(size=(EXAMPLES, 3))
    return np.float32(1 / (1 + np.exp(-np.tensordot(places, directions, axes=1))))


def binary_images(shape=EVENT_SHAPE):
    return np.round(grey_images(shape))


def mlp(outputs=1, model=kv.VAE, conditions=None, **kwargs):
    """A VAE of small dense networks, with `outputs` numbers for each pixel."""
    options = {"activation": "tanh", "conditions": conditions}
    return model(
        encoder=kv.networks.mlp_encoder([16], **options),
        decoder=kv.networks.mlp_decoder([16], (*EVENT_SHAPE[:-1], outputs), **options),
        latent_dim=3,
        seed=7,
        conditions=conditions,
        **kwargs,
    )


def conditional_images():
    """Images, and conditions that tell something about them."""
    x = binary_images()
    places = x.mean(axis=(1, 2, 3))
    return {"x": x, "label": np.int64(3 * places), "age": np.float32(places)}


# === Likelihoods ===


@recipe
def bernoulli():
    return Recipe(mlp(likelihood="bernoulli"), binary_images())


@recipe
def continuous_bernoulli_beta():
    objective = kv.ELBO(kl_weight=4.0)
    model = mlp(likelihood="continuous_bernoulli", objective=objective)
    return Recipe(model, grey_images())


@recipe
def normal_fixed_many_samples():
    likelihood = distributions.Normal(scale=0.3)
    objective = kv.ELBO(kl="monte_carlo", num_samples=3)
    return Recipe(mlp(likelihood=likelihood, objective=objective), grey_images())


@recipe
def normal_shared_full_covariance():
    likelihood = distributions.Normal(scale="shared", initial_scale=0.5)
    model = mlp(likelihood=likelihood, posterior="full_covariance_normal")
    return Recipe(model, grey_images())


@recipe
def normal_per_output_learned_prior():
    likelihood = distributions.Normal(scale="per_output", initial_scale=0.5)
    model = mlp(outputs=2, likelihood=likelihood, prior="learned_normal")
    return Recipe(model, grey_images())


@recipe
def normal_optimal():
    return Recipe(mlp(likelihood=distributions.Normal(scale="optimal")), grey_images())


@recipe
def standardized_data_in_their_own_units():
    x = 300 + 50 * grey_images()
    normalization = kv.normalization.layer([[[325.0]]], [[[15.0]]])
    model = kv.VAE(
        keras.Sequential([normalization, kv.networks.mlp_encoder([16])]),
        kv.networks.mlp_decoder([16], EVENT_SHAPE),
        latent_dim=3,
        likelihood=distributions.Standardized(
            distributions.Normal(initial_scale=1.0), normalization
        ),
        seed=7,
    )
    return Recipe(model, np.float32(x))


@recipe
def laplace_denoising():
    clean = grey_images()
    noisy = clean + np.random.default_rng(1).normal(scale=0.1, size=clean.shape)
    likelihood = distributions.Laplace(scale="shared", initial_scale=0.5)
    return Recipe(mlp(likelihood=likelihood), np.float32(noisy), clean)


@recipe
def categorical_full_covariance_learned_prior():
    classes = 4
    model = mlp(
        outputs=classes,
        likelihood=distributions.Categorical(classes),
        posterior="full_covariance_normal",
        prior="learned_normal",
    )
    return Recipe(model, np.floor(classes * grey_images()))


# === Posteriors ===


@recipe
def committed_posterior():
    posterior = distributions.CommittedNormal(delta=0.2)
    return Recipe(mlp(posterior=posterior), binary_images())


@recipe
def batch_normalized_posterior():
    posterior = distributions.BatchNormalizedNormal(gamma=0.5)
    return Recipe(mlp(posterior=posterior), binary_images())


@recipe
def inverse_autoregressive_posterior():
    posterior = distributions.InverseAutoregressive(hidden_units=8, context_units=4)
    model = mlp(posterior=posterior, objective=kv.ELBO(kl="monte_carlo", num_samples=2))
    return Recipe(model, binary_images(), updates_until_all_move=2)


@recipe
def planar_posterior_importance_weighted():
    posterior = distributions.Planar(num_flows=2)
    objective = kv.ImportanceWeighted(num_samples=3, kl="monte_carlo")
    return Recipe(mlp(posterior=posterior, objective=objective), binary_images())


# === Priors ===


@recipe
def flow_prior():
    prior = priors.Flow(num_flows=2, hidden_units=8)
    model = mlp(prior=prior, objective=kv.ELBO(kl="monte_carlo"))
    return Recipe(model, binary_images(), updates_until_all_move=2)


@recipe
def gaussian_mixture():
    model = mlp(
        prior=priors.GaussianMixture(4, seed=2), objective=kv.ELBO(kl="monte_carlo")
    )
    return Recipe(model, binary_images())


@recipe
def vamp_prior():
    model = mlp(
        prior=priors.VampPrior(4, learned_weights=True, seed=2),
        objective=kv.ELBO(kl="monte_carlo", num_samples=2),
    )
    return Recipe(model, binary_images())


# === Objectives ===


@recipe
def importance_weighted():
    objective = kv.ImportanceWeighted(num_samples=5)
    return Recipe(mlp(objective=objective), binary_images())


@recipe
def importance_weighted_vamp_prior():
    model = mlp(
        likelihood=distributions.Normal(scale="optimal"),
        posterior="full_covariance_normal",
        prior=priors.VampPrior(4, seed=2),
        objective=kv.ImportanceWeighted(num_samples=4, kl_weight=0.5, kl="monte_carlo"),
    )
    return Recipe(model, grey_images())


@recipe
def free_bits():
    objective = kv.objectives.FreeBits(nats=0.2)
    return Recipe(mlp(objective=objective), binary_images())


@recipe
def distortion_target():
    objective = kv.objectives.DistortionTarget(distortion=5.0)
    return Recipe(mlp(objective=objective), binary_images())


@recipe
def total_correlation():
    objective = kv.objectives.TotalCorrelation(dataset_size=EXAMPLES)
    return Recipe(mlp(objective=objective), binary_images())


@recipe
def disentangled_inferred_prior():
    objective = kv.objectives.DisentangledInferredPrior("ii")
    return Recipe(mlp(objective=objective), binary_images())


@recipe
def maximum_mean_discrepancy_mixture():
    objective = kv.objectives.MaximumMeanDiscrepancy(kl="monte_carlo")
    prior = priors.GaussianMixture(3, seed=2)
    return Recipe(mlp(prior=prior, objective=objective), binary_images())


@recipe
def skew_jensen_shannon():
    objective = kv.objectives.SkewJensenShannon(skew=0.3)
    return Recipe(mlp(objective=objective), binary_images())


# === Missing elements ===


@recipe
def missing_elements():
    x = grey_images()
    x[np.random.default_rng(4).random(x.shape) < 0.3] = np.nan
    x[0] = np.nan
    likelihood = distributions.Normal(scale="shared", initial_scale=0.5)
    return Recipe(mlp(likelihood=likelihood, missing="nan_with_mask"), x)


# === Steps of their own ===


@recipe
def factor():
    discriminator = kv.networks.mlp_decoder([16], (2,), activation="leaky_relu")
    model = mlp(model=kv.FactorVAE, gamma=2.0, discriminator=discriminator)
    return Recipe(model, binary_images())


@recipe
def aggressive():
    # The encoder's step and the decoder's in turn.
    model = mlp(model=kv.AggressiveVAE, max_steps=1)
    return Recipe(model, binary_images(), steps_per_update=2)


# === Networks ===


@recipe
def convolutions():
    shape = (8, 8, 1)
    model = kv.VAE(
        encoder=kv.networks.conv_encoder(shape, filters=[4], hidden=[8]),
        decoder=kv.networks.conv_decoder(shape, filters=[4], hidden=[8]),
        latent_dim=2,
        seed=7,
    )
    return Recipe(model, binary_images(shape))


@recipe
def skip_connections_and_input_dropout():
    decoder = kv.networks.mlp_decoder([8, 8], EVENT_SHAPE, skip_connections=True)
    model = kv.VAE(
        encoder=kv.networks.mlp_encoder([16], activation="tanh"),
        decoder=keras.Sequential([kv.layers.InputDropout(0.2, seed=5), decoder]),
        latent_dim=3,
        seed=7,
    )
    return Recipe(model, binary_images())


# === Decoders that read the target ===


@recipe
def reading():
    shape = (8, 8, 1)
    x = binary_images(shape)
    model = kv.VAE(
        encoder=kv.networks.mlp_encoder([16], activation="tanh"),
        decoder=kv.networks.causal_decoder([6] * 4, shape, activation="tanh"),
        latent_dim=3,
        seed=7,
    )
    return Recipe(model, x)


@recipe
def reading_classes_and_conditions():
    classes = 3
    z, previous = keras.Input((2,), name="z"), keras.Input((2, 2, 1), name="previous")
    label = keras.Input((3,), name="label")
    flat = keras.layers.Reshape((4, 1))(previous)
    given = keras.layers.Concatenate()([z, label])
    given = keras.layers.RepeatVector(4)(keras.layers.Dense(3)(given))
    h = keras.layers.Concatenate()([flat, given])
    h = keras.layers.GRU(5, return_sequences=True)(h)
    params = keras.layers.Reshape((2, 2, classes))(keras.layers.Dense(classes)(h))
    model = kv.VAE(
        kv.networks.mlp_encoder([8], activation="tanh"),
        keras.Model({"z": z, "previous": previous, "label": label}, params),
        latent_dim=2,
        likelihood=distributions.Categorical(classes),
        objective=kv.ELBO(num_samples=2),
        conditions={"label": 3},
        seed=7,
    )
    x = np.floor(classes * grey_images((2, 2, 1)))
    return Recipe(model, {"x": x, "label": np.int64(x[:, 0, 0, 0])})


@recipe
def reading_sentences():
    return _sentences(kv.SentenceVAE)


@recipe
def aggressive_sentences():
    recipe = _sentences(kv.models.AggressiveSentenceVAE, max_steps=1)
    return dataclasses.replace(recipe, steps_per_update=2)


def _sentences(model, **kwargs):
    generator = np.random.default_rng(5)
    lengths = generator.integers(1, 7, size=EXAMPLES)
    sentences = [" ".join(generator.choice(list("abc"), n)) for n in lengths]
    vocabulary = kv.datasets.Vocabulary.of(sentences)
    settings = {"units": 6, "embedding_dim": 4, "max_length": 8, "seed": 7}
    model = model(vocabulary, latent_dim=3, **settings, **kwargs)
    ids = vocabulary.encode(sentences).numpy()
    return Recipe(model, ids, served=sentences, supports_xla=False)


# === Models ===


@recipe
def linear_path():
    return Recipe(mlp(linear_path=True), binary_images())


@recipe
def multi_rate():
    model = kv.MultiRateVAE(
        encoder=kv.networks.mlp_encoder([16], activation="tanh"),
        decoder=kv.networks.mlp_decoder([16], EVENT_SHAPE, activation="tanh"),
        latent_dim=3,
        seed=7,
    )
    return Recipe(model, binary_images(), updates_until_all_move=2)


@recipe
def multi_rate_convolutions():
    shape = (8, 8, 1)
    model = kv.MultiRateVAE(
        encoder=kv.networks.conv_encoder(shape, filters=[4], hidden=[8]),
        decoder=kv.networks.conv_decoder(shape, filters=[4], hidden=[8]),
        latent_dim=2,
        prior=priors.VampPrior(4, seed=2),
        gates="original",
        rank=0,
        kl="monte_carlo",
        num_samples=2,
        seed=7,
    )
    return Recipe(model, binary_images(shape))


# === Several latents ===


def levels(inference, latent_dim, **kwargs):
    """A hierarchy of small dense networks."""

    def hidden(units=8):
        return kv.networks.mlp_encoder([units], activation="tanh")

    above = [hidden() for _ in latent_dim[1:]]
    return kv.HierarchicalVAE(
        encoder=[hidden(16), *(hidden() for _ in latent_dim[1:])],
        decoder=[kv.networks.mlp_decoder([16], EVENT_SHAPE, "tanh"), *above],
        latent_dim=latent_dim,
        inference=inference,
        seed=7,
        **kwargs,
    )


@recipe
def two_levels():
    model = levels("bottom_up", [3, 2])
    return Recipe(model, binary_images(), updates_until_all_move=2)


@recipe
def ladder():
    objective = kv.objectives.FreeBits(nats=0.02, group_size="latent", num_samples=2)
    model = levels("ladder", [3, 2, 2], objective=objective)
    return Recipe(model, binary_images(), updates_until_all_move=2)


@recipe
def top_down_importance_weighted():
    objective = kv.ImportanceWeighted(3, latent_weights={"level_2": 0.5})
    model = levels("top_down", [3, 2], objective=objective, prior="learned_normal")
    return Recipe(model, binary_images(), updates_until_all_move=2)


@recipe
def conditional_levels_with_missing_elements():
    declared, data = {"label": 3, "age": None}, conditional_images()
    data["x"] = grey_images()
    data["x"][np.random.default_rng(4).random(data["x"].shape) < 0.3] = np.nan
    networks = kv.networks.mlp_levels([16, 8], EVENT_SHAPE, "tanh", conditions=declared)
    model = kv.HierarchicalVAE(
        *networks,
        latent_dim=[3, 2],
        likelihood=distributions.Normal(scale="shared", initial_scale=0.5),
        prior="conditional",
        conditions=declared,
        missing="nan_with_mask",
        seed=7,
    )
    return Recipe(model, data, updates_until_all_move=2)


@recipe
def maps_top_down():
    """Two levels of maps below a dense one, with a state that passes level 2."""
    shape, conv = (8, 8, 1), keras.layers.Conv2D
    z, above = keras.Input((2, 2, 2), name="z"), keras.Input((2, 2, 4), name="above")
    joined = conv(4, 1, activation="gelu")(z) + above
    up = keras.layers.Conv2DTranspose(4, 3, 2, "same", activation="gelu")(joined)
    model = kv.HierarchicalVAE(
        encoder=[
            conv(4, 3, 2, "same", activation="gelu"),
            conv(4, 3, 2, "same", activation="gelu"),
            kv.networks.mlp_encoder([6], activation="tanh"),
        ],
        decoder=[
            keras.layers.Conv2DTranspose(1, 3, 2, "same"),
            keras.Model({"z": z, "above": above}, up),
            keras.Sequential(
                [keras.layers.Dense(16, "tanh"), keras.layers.Reshape((2, 2, 4))]
            ),
        ],
        latent_dim=[(4, 4, 2), (2, 2, 2), 3],
        inference="top_down",
        seed=7,
    )
    return Recipe(model, binary_images(shape), updates_until_all_move=2)


@recipe
def maps_bottom_up():
    conv = keras.layers.Conv2D
    model = kv.HierarchicalVAE(
        encoder=[conv(4, 3, padding="same"), conv(4, 3, 2, "same", activation="gelu")],
        decoder=[
            conv(1, 3, padding="same"),
            keras.layers.Conv2DTranspose(4, 3, 2, "same", activation="gelu"),
        ],
        latent_dim=[(4, 4, 2), (2, 2, 2)],
        inference="bottom_up",
        seed=7,
    )
    return Recipe(model, binary_images(), updates_until_all_move=2)


@recipe
def residual_maps_ladder():
    declared = {"label": 3, "age": None}
    networks = kv.networks.resnet_levels(
        EVENT_SHAPE, levels=[2, 2], filters=[4, 6], conditions=declared
    )
    objective = kv.objectives.FreeBits(nats=0.02, group_size="latent")
    model = kv.HierarchicalVAE(
        *networks,
        inference="ladder",
        objective=objective,
        conditions=declared,
        seed=7,
    )
    return Recipe(model, conditional_images(), updates_until_all_move=2)


# === Conditions ===


@recipe
def conditional():
    prior = priors.Conditional(keras.layers.Dense(4, "tanh"), ["label"])
    model = mlp(conditions={"label": 3, "age": None}, prior=prior)
    return Recipe(model, conditional_images(), updates_until_all_move=2)


@recipe
def conditional_multi_rate():
    model = mlp(
        model=kv.MultiRateVAE,
        conditions={"label": 3, "age": None},
        prior="conditional",
    )
    return Recipe(model, conditional_images(), updates_until_all_move=2)


@recipe
def conditional_vamp_prior():
    model = mlp(
        conditions={"label": 3, "age": None},
        prior=priors.VampPrior(4, seed=2),
        objective=kv.ELBO(kl="monte_carlo"),
    )
    return Recipe(model, conditional_images(), updates_until_all_move=2)


@recipe
def semi_supervised():
    x = conditional_images()
    x["label"][::2] = -1
    model = mlp(
        model=kv.SemiSupervisedVAE,
        conditions={"label": 3, "age": None},
        classifier=keras.Sequential(
            [kv.networks.mlp_encoder([8], activation="tanh"), keras.layers.Dense(3)]
        ),
        class_probs=[0.5, 0.3, 0.2],
    )
    return Recipe(model, x)


# === Models of one's own ===


@recipe
def latent():
    x = keras.Input((16,))
    z = kv.layers.Latent(3, kl_weight=0.5, seed=7)(keras.layers.Dense(8, "tanh")(x))
    model = keras.Model(x, keras.layers.Dense(16)(z))
    data = binary_images((16,))
    return Recipe(model, data, data, kv.losses.NegativeLogLikelihood("bernoulli"))


@recipe
def latent_rate_target():
    x = keras.Input((16,))
    target = kv.objectives.RateTarget(rate=2.0, integral=0.01)
    z = kv.layers.Latent(3, objective=target, seed=7)(keras.layers.Dense(8, "tanh")(x))
    model = keras.Model(x, keras.layers.Dense(16)(z))
    data = binary_images((16,))
    return Recipe(model, data, data, kv.losses.NegativeLogLikelihood("bernoulli"))


@recipe
def latent_capacity():
    x = keras.Input((16,))
    capacity = kv.objectives.Capacity(capacity=1.0, gamma=1.0)
    z = kv.layers.Latent(3, objective=capacity, seed=7)(keras.layers.Dense(8)(x))
    model = keras.Model(x, keras.layers.Dense(16)(z))
    data = binary_images((16,))
    return Recipe(model, data, data, kv.losses.NegativeLogLikelihood("bernoulli"))


@recipe
def two_latents():
    x = keras.Input((16,))
    hidden = keras.layers.Dense(8, "tanh")(x)
    upper = kv.layers.Latent(2, prior="learned_normal", seed=7, name="upper")(hidden)
    lower = kv.layers.Latent(
        3,
        posterior="full_covariance_normal",
        prior=priors.VampPrior(3, value_range=None, seed=2),
        kl="monte_carlo",
        deterministic=True,
        seed=8,
        name="lower",
    )(hidden)
    decoded = keras.layers.Dense(32)(keras.layers.Concatenate()([upper, lower]))
    likelihood = distributions.Normal(scale="per_output", initial_scale=0.5)
    data = grey_images((16,))
    loss = kv.losses.NegativeLogLikelihood(likelihood)
    return Recipe(keras.Model(x, decoded), data, data, loss)


@recipe
def functional_ladder():
    x = keras.Input((16,))
    hidden = keras.layers.Dense(8, "tanh")(x)
    above = keras.layers.Dense(6, "tanh")(hidden)
    upper = kv.layers.Latent(2, seed=7, name="upper")(above)
    lower = kv.layers.Latent(
        3,
        posterior=distributions.PrecisionWeighted(),
        prior=priors.Conditional(),
        seed=8,
        name="lower",
    )
    z = lower(hidden, prior_features=keras.layers.Dense(5, "tanh")(upper))
    model = keras.Model(x, keras.layers.Dense(16)(z))
    data = binary_images((16,))
    loss = kv.losses.NegativeLogLikelihood("bernoulli")
    return Recipe(model, data, data, loss, updates_until_all_move=2)

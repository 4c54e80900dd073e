import dataclasses
import math

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_vae as kv
from keras_vae.weighing.units import Weight

RNG = np.random.default_rng(0)


def test_pytorch_vae_weight():
    """The 0.00025 of a well-known collection, at 64x64x3."""
    weight = Weight.from_mean_losses(0.00025, (64, 64, 3), 128)
    assert weight.event_size == 12288
    assert weight.beta == pytest.approx(3.072)
    assert weight.to("normal").beta == pytest.approx(1.536)
    assert weight.sigma == pytest.approx(1.2393547)
    text = str(weight)
    assert "mean-MSE + 0.00025 KL" in text
    assert "beta = 1.536 under a unit-variance Gaussian" in text
    assert "sigma = 1.24 at beta = 1" in text


@pytest.mark.parametrize(
    ("shape", "latent_dim", "beta"),
    [(784, 10, 7.84), ((64, 64, 1), 10, 40.96), ((64, 64, 3), 32, 38.4)],
)
def test_one_tenth_of_both_means(shape, latent_dim, beta):
    weight = Weight.from_mean_losses(0.1, shape, latent_dim, kl="mean")
    assert weight.beta == pytest.approx(beta)
    assert weight.sigma2 == pytest.approx(beta / 2)
    assert weight.beta_norm == pytest.approx(0.1)
    same = Weight.from_beta_norm(0.1, shape, latent_dim, "squared_error")
    assert weight.beta == pytest.approx(same.beta, rel=1e-12)


def test_unweighted_squared_error_is_half_variance():
    weight = Weight.from_summed_losses(1.0, 784, 10)
    assert weight.sigma2 == 0.5
    assert weight.to("normal").beta == 0.5
    assert weight.to("normal").to("squared_error") == weight


def losses_of(weight, sse, kl):
    """All forms of the table, as losses of one batch."""
    n, m = weight.event_size, weight.latent_dim
    values = [value for _, value, _ in weight.table()]
    return [
        sse + values[0] * kl,
        sse / 2 + values[1] * kl,
        sse / n + values[2] * kl,
        sse / n + values[3] * kl / m,
        sse / (2 * weight.sigma2) + values[4] * kl,
    ]


@pytest.mark.parametrize(
    "weight",
    [
        Weight.from_beta(4.0, 48, 5),
        Weight.from_beta(4.0, 48, 5, "squared_error"),
        Weight.from_beta_norm(0.3, 48, 5),
        Weight.from_sigma(0.2, 48, 5, beta=2.0),
        Weight.from_mean_losses(0.01, 48, 5, kl="mean"),
    ],
)
def test_all_rows_are_one_loss_up_to_a_factor(weight):
    sse, kl = RNG.uniform(1, 9, 6), RNG.uniform(1, 9, 6)
    rows = np.array(losses_of(weight, sse, kl))
    ratios = rows / rows[:1]
    np.testing.assert_allclose(ratios, ratios[:, :1] * np.ones(6), rtol=1e-12)
    assert all(exact.startswith("exact") for *_, exact in weight.table())


def test_from_sigma_is_its_own_elbo():
    weight = Weight.from_sigma(0.3, 10, 2)
    assert weight.sigma == pytest.approx(0.3)
    assert weight.beta == pytest.approx(0.09)
    assert Weight.from_sigma(0.3, 10, 2, beta=4.0).sigma == pytest.approx(0.6)


def test_bernoulli_has_no_sigma():
    weight = Weight.from_mean_losses(0.01, (28, 28), 20, "bce")
    assert weight.beta == pytest.approx(7.84)
    assert weight.reconstruction == "bernoulli"
    assert weight.mean_weight() == pytest.approx(0.01)
    assert weight.mean_weight("mean") == pytest.approx(0.2)
    assert not weight.exact
    assert "no parameter of the likelihood" in str(weight)
    with pytest.raises(ValueError, match="no parameter of the likelihood"):
        weight.sigma  # noqa: B018
    assert weight.table()[-1][1] is None


def vae(**kwargs):
    model = kv.VAE(
        kv.networks.mlp_encoder([4]),
        kv.networks.mlp_decoder([4], (6,)),
        latent_dim=3,
        **{"objective": kv.ELBO(kl_weight=2.0), **kwargs},
    )
    model.build((None, 6))
    return model


def test_from_model():
    weight = Weight.from_model(vae(likelihood=kv.distributions.Normal(scale=0.5)))
    assert weight == Weight(0.5, 6, 3, "normal")
    assert Weight.from_model(vae()) == Weight(2.0, 6, 3, "bernoulli")
    target = kv.objectives.DistortionTarget(5.0, initial_multiplier=50.0)
    assert Weight.from_model(vae(objective=target)).beta == pytest.approx(0.02)
    learned = Weight.from_model(vae(likelihood=kv.distributions.Normal(scale="shared")))
    assert learned.reconstruction == "learned"
    assert "learned" in learned.table()[0][2]
    with pytest.raises(ValueError, match="learned"):
        learned.to("squared_error")
    with pytest.raises(ValueError, match="Normal or Bernoulli"):
        Weight.from_model(vae(likelihood="laplace"))
    with pytest.raises(ValueError, match="`model` must be"):
        Weight.from_model(object())


def test_immutable():
    weight = Weight(1.0, 4, 2)
    with pytest.raises(dataclasses.FrozenInstanceError):
        weight.beta = 2.0


@pytest.mark.parametrize(
    ("make", "match"),
    [
        (lambda: Weight(-1.0, 4, 2), "`beta`"),
        (lambda: Weight(math.inf, 4, 2), "`beta`"),
        (lambda: Weight(True, 4, 2), "`beta`"),
        (lambda: Weight(1.0, (4, 0), 2), "`event_size`"),
        (lambda: Weight(1.0, 4, 2.5), "`latent_dim`"),
        (lambda: Weight(1.0, 4, 2, "mse"), "`reconstruction`"),
        (lambda: Weight(1.0, 4, 2).to("bernoulli"), "`reconstruction`"),
        (lambda: Weight(1.0, 4, 2).mean_weight("max"), "`kl`"),
        (lambda: Weight.from_sigma(0.0, 4, 2), "`sigma`"),
        (lambda: Weight.from_mean_losses(1.0, 4, 2, "sse"), "`reconstruction`"),
        (lambda: Weight.from_summed_losses(1.0, 4, 2, "mse"), "`reconstruction`"),
        (lambda: Weight.from_mean_losses(1.0, 4, 2, kl="max"), "`kl`"),
    ],
)
def test_errors_name_the_argument(make, match):
    with pytest.raises(ValueError, match=match):
        make()


# === A loss written by hand, and the same loss as a VAE ===

EVENT, UNITS, SEED = 6, 3, 5


def encoder_and_decoder():
    keras.utils.set_random_seed(2)
    encoder = kv.networks.mlp_encoder([8], (EVENT,), activation="tanh")
    return encoder, kv.networks.mlp_decoder([8], (EVENT,), activation="tanh")


class Sampling(keras.layers.Layer):
    """As many write it: all in means, the KL with a weight through `add_loss`."""

    def __init__(self, weight, kl_mean, **kwargs):
        super().__init__(**kwargs)
        self.weight, self.kl_mean = weight, kl_mean
        # The draws of the VAE, so that the weights can be compared.
        self.noise = kv.random.Noise(SEED)
        self.posterior = kv.distributions.DiagonalNormal()

    def call(self, params):
        mean, stddev = self.posterior.mean_and_stddev(params)
        kl = 0.5 * (mean**2 + stddev**2 - 1) - tf.math.log(stddev)
        kl = (
            tf.reduce_mean(kl) if self.kl_mean else tf.reduce_mean(tf.reduce_sum(kl, 1))
        )
        self.add_loss(self.weight * kl)
        shape = (tf.shape(mean)[0], 1, UNITS)
        return mean + stddev * kv.random.normal(shape, self.noise.next_key())[:, 0]


@pytest.mark.parametrize(
    ("reconstruction", "kl"),
    [
        ("mse", "mean"),
        ("bce", "sum"),
        pytest.param("mse", "sum", marks=pytest.mark.slow),
        pytest.param("bce", "mean", marks=pytest.mark.slow),
    ],
)
@pytest.mark.slow
def test_a_mean_reduced_loss_trains_like_the_vae_of_its_beta(reconstruction, kl):
    weight, learning_rate, steps = 0.1, 0.5, 5
    x = np.float32(RNG.uniform(size=(steps * 16, EVENT)))
    fit = {"batch_size": 16, "shuffle": False, "verbose": 0}

    encoder, decoder = encoder_and_decoder()
    head = keras.layers.Dense(2 * UNITS)
    inputs = keras.Input((EVENT,))
    z = Sampling(weight, kl == "mean")(head(encoder(inputs)))
    by_hand = keras.Model(inputs, decoder(z))
    losses = {"mse": "mse", "bce": keras.losses.BinaryCrossentropy(from_logits=True)}
    by_hand.compile(keras.optimizers.SGD(learning_rate), loss=losses[reconstruction])

    converted = Weight.from_mean_losses(weight, EVENT, UNITS, reconstruction, kl)
    likelihood, factor = kv.distributions.Bernoulli(), EVENT
    if reconstruction == "mse":
        # Half the squared error, a Gaussian of unit variance.
        likelihood, factor = kv.distributions.Normal(scale=1.0), EVENT / 2
        converted = converted.to("normal")
    vae = kv.VAE(
        *encoder_and_decoder(),
        UNITS,
        likelihood=likelihood,
        objective=kv.ELBO(kl_weight=converted.beta),
        seed=SEED,
    )
    vae.build((None, EVENT))
    vae.latent.head.set_weights(head.get_weights())
    # The summed loss is `factor` times the averaged one.
    vae.compile(keras.optimizers.SGD(learning_rate / factor))

    before = [v.copy() for v in vae.get_weights()]
    by_hand.fit(x, x, **fit)
    vae.fit(x, **fit)
    pairs = [
        (by_hand_part.get_weights(), part.get_weights())
        for by_hand_part, part in (
            (encoder, vae.encoder),
            (head, vae.latent.head),
            (decoder, vae.decoder),
        )
    ]
    for theirs, ours in pairs:
        for this, other in zip(theirs, ours, strict=True):
            np.testing.assert_allclose(this, other, rtol=1e-4, atol=1e-6)
    moved = np.abs(before[0] - vae.get_weights()[0]).max()
    assert moved > 1e-3

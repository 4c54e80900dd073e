"""What is assigned to a model or an objective moves its numbers, or is refused."""

import gc

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_vae as kv
from keras_vae import distributions
from keras_vae import objectives
from keras_vae import schedules

X = np.random.default_rng(0).integers(0, 2, (20, 6)).astype("float32")
Dense = keras.layers.Dense


def vae(model=kv.VAE, **kwargs):
    keras.utils.set_random_seed(0)
    model = model(
        kv.networks.mlp_encoder([4]),
        kv.networks.mlp_decoder([4], (6,)),
        latent_dim=2,
        seed=0,
        **kwargs,
    )
    model.compile("adam")
    return model


def losses(model):
    return model.fit(X, epochs=3, verbose=0).history["loss"]


def assign_to_objective(model, value):
    model.objective.kl_weight = value


def assign_to_model(model, value):
    model.kl_weight = value


def assign_to_value(model, value):
    model.objective.kl_weight.value = value


@pytest.mark.parametrize(
    "value", [0.25, np.float32(0.25), np.array(0.25), tf.constant(0.25)]
)
def test_a_number_becomes_the_weight(value):
    model = vae()
    model.objective.kl_weight = value
    assert float(model.objective.kl_weight.value) == 0.25
    assert model.get_config()["objective"]["config"]["kl_weight"] == 0.25


@pytest.mark.parametrize(
    "assign", [assign_to_objective, assign_to_model, assign_to_value]
)
@pytest.mark.slow
def test_a_weight_that_is_assigned_trains_like_one_that_is_given(assign):
    model, given = vae(), vae(objective=kv.ELBO(kl_weight=0.25))
    assign(model, 0.25)
    assert losses(model) == losses(given)
    # The step is traced by now, and the weight moves all the same.
    assign(model, 2.0)
    given.objective.kl_weight.value.assign(2.0)
    assert losses(model) == losses(given)
    assert model.objective.kl_weight.initial_value == 2.0


def test_a_weight_of_a_latent_layer():
    layer = kv.layers.Latent(2, seed=0)
    x = keras.Input((6,))
    model = keras.Model(x, Dense(6)(layer(x)))
    model.compile("adam", kv.losses.NegativeLogLikelihood("bernoulli"))
    reports = []
    for weight in (0.25, 2.0):
        layer.kl_weight = weight
        reports.append(model.evaluate(X, X, verbose=0, return_dict=True))
        assert reports[-1]["kl_weight"] == weight
        assert layer.get_config()["objective"]["config"]["kl_weight"] == weight
    difference = reports[1]["loss"] - reports[0]["loss"]
    assert difference == pytest.approx(1.75 * reports[0]["kl_loss"], rel=1e-5)


@pytest.mark.slow
def test_other_hyperparameters():
    model = vae(objective=objectives.Capacity(capacity=1.0))
    model.objective.capacity = 3.0
    given = vae(objective=objectives.Capacity(capacity=3.0))
    assert losses(model) == losses(given)
    networks = []
    for _ in range(2):
        keras.utils.set_random_seed(1)
        networks.append(kv.networks.mlp_decoder([4], (2,)))
        networks[-1].build((None, 2))
    model = vae(kv.FactorVAE, discriminator=networks[0])
    model.gamma = 2.0
    assert model.get_config()["gamma"] == 2.0
    given = vae(kv.FactorVAE, gamma=2.0, discriminator=networks[1])
    assert losses(model) == losses(given)


@pytest.mark.slow
def test_a_plain_number_counts_until_the_step_is_traced():
    model = vae(objective=objectives.Capacity(gamma=1.0))
    model.objective.gamma = 3.0
    assert losses(model) == losses(vae(objective=objectives.Capacity(gamma=3.0)))
    for name, value in (("gamma", 1.0), ("kl", "monte_carlo"), ("num_samples", 2)):
        message = f"`{name}` is a constant of the traced.*make another Capacity.*{name}"
        with pytest.raises(ValueError, match=message):
            setattr(model.objective, name, value)
    target = vae(objective=objectives.DistortionTarget(4.0))
    target.evaluate(X, verbose=0)
    with pytest.raises(ValueError, match="`distortion_target` is a constant of"):
        target.objective.distortion_target = 3.0


class Counting(kv.ELBO):
    """An objective with an attribute of its own."""

    def rate_loss(self, estimate, mean):
        self.calls = getattr(self, "calls", 0) + 1
        return super().rate_loss(estimate, mean)


@pytest.mark.slow
def test_attributes_of_a_class_of_ones_own():
    model = vae(objective=Counting())
    losses(model)
    assert model.objective.calls >= 1

    class Own(kv.VAE):
        def __init__(self, *args, **kwargs):
            super().__init__(*args, **kwargs)
            self.temperature = 2.0

    model = vae(Own)
    model.temperature = 3.0
    assert model.temperature == 3.0


NOT_A_WEIGHT = r"`kl_weight` must be a finite number that is not negative\. Received"
REFUSED = [
    (lambda m: setattr(m.objective, "kl_weight", -1.0), NOT_A_WEIGHT),
    (lambda m: setattr(m.objective, "kl_weight", np.nan), NOT_A_WEIGHT),
    (lambda m: setattr(m.objective, "kl_weight", "1"), NOT_A_WEIGHT),
    (lambda m: setattr(m.objective, "kl_weight", None), NOT_A_WEIGHT),
    (lambda m: setattr(m, "kl_weight", np.ones(2)), NOT_A_WEIGHT),
    (
        lambda m: setattr(m.objective, "kl_weight", schedules.linear(10)),
        r"`kl_weight` must be a number.*HyperparameterScheduler\('kl_weight', sched",
    ),
    (
        lambda m: setattr(m, "klweight", 0.25),
        r"`klweight` must be an attribute of a VAE.*`model.objective.kl_weight = 0.25`",
    ),
    (
        lambda m: setattr(m, "beta", 4),
        r"`beta` must be an attribute of a VAE.*`model.objective.kl_weight = 4`",
    ),
    (lambda m: setattr(m, "prior", "vamp_prior"), r"`prior` is fixed.*`VAE\(prior="),
    (lambda m: setattr(m, "seed", 3), r"`seed` is fixed.*`VAE\(seed=...\)`.*seed=3"),
    (lambda m: setattr(m, "latent_dim", 3), r"`latent_dim` is fixed.*latent_dim=3"),
    (lambda m: setattr(m, "event_shape", (3,)), r"`event_shape` of a VAE follows"),
    (
        lambda m: setattr(m, "likelihood", "normal"),
        r"`likelihood` is a part of the model.*`VAE\(likelihood=...\)`.*='normal'",
    ),
    (
        lambda m: setattr(m, "likelihood", distributions.Bernoulli()),
        r"`likelihood` is a part of the model and cannot be exchanged",
    ),
    (lambda m: setattr(m, "objective", kv.ELBO()), "`objective` is a part of the mo"),
]


@pytest.mark.parametrize(("assign", "message"), REFUSED)
def test_what_cannot_be_assigned(assign, message):
    model = vae()
    model.build((None, 6))
    with pytest.raises(ValueError, match=message):
        assign(model)
    assert float(model.objective.kl_weight.value) == 1.0


@pytest.mark.parametrize(
    ("make", "name", "message"),
    [
        (
            lambda: vae(objective=objectives.Capacity()),
            "capacity",
            r"`capacity` must be an attribute of a VAE.*`model.objective.capacity = 0",
        ),
        (
            lambda: vae(kv.FactorVAE, discriminator=kv.networks.mlp_decoder([4], (2,))),
            "gama",
            r"`gama` must be an attribute of a FactorVAE.*`model.gamma = 0.5`",
        ),
        (lambda: vae(kv.MultiRateVAE), "beta", "`beta` of a MultiRateVAE follows"),
        (
            lambda: vae(objective=objectives.RateTarget(2.0)),
            "kl_weight",
            "`kl_weight` is set by the objective itself.*train with `ELBO`",
        ),
    ],
)
def test_what_other_models_refuse(make, name, message):
    with pytest.raises(ValueError, match=message):
        setattr(make(), name, 0.5)


def test_the_state_of_a_controller_is_no_number():
    objective = objectives.DistortionTarget(4.0)
    with pytest.raises(ValueError, match=r"call `multiplier.assign\(...\)` on it"):
        objective.multiplier = 2.0


class AssignsInBetween(keras.callbacks.Callback):
    def on_epoch_end(self, epoch, logs=None):
        self.model.kl_weight = 0.5


def test_a_weight_that_follows_a_schedule_is_not_assigned():
    model = vae()
    callbacks = [kv.KLAnnealing(schedules.linear(2)), AssignsInBetween()]
    message = "`kl_weight` is set by a schedule.*assign it once `fit` has ended"
    with pytest.raises(ValueError, match=message):
        model.fit(X, epochs=4, verbose=0, callbacks=callbacks)
    model.kl_weight = 0.5
    assert float(model.objective.kl_weight.value) == 0.5


# === One objective, one model ===

TAKEN = (
    r"`objective` must not be shared: it belongs to '\w+'.*another one, for example "
    r"`ELBO.from_config\(objective.get_config\(\)\)`"
)


def latent(objective):
    return kv.layers.Latent(2, objective=objective)


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (lambda e: vae(objective=e), lambda e: vae(objective=e)),
        (lambda e: vae(objective=e), latent),
        (latent, lambda e: vae(objective=e)),
        (latent, latent),
    ],
)
def test_an_objective_of_two_models_is_refused(first, second):
    objective = kv.ELBO()
    kept = first(objective)
    with pytest.raises(ValueError, match=TAKEN):
        second(objective)
    other = second(kv.ELBO.from_config(objective.get_config()))
    other.kl_weight = 0.5
    assert float(kept.kl_weight.value) == 1.0


@pytest.mark.slow
def test_an_objective_of_a_model_that_is_gone():
    objective = kv.ELBO(kl_weight=3.0)
    gc.disable()
    try:
        for _ in range(2):
            model = vae(objective=objective)
            losses(model)
            del model
    finally:
        gc.enable()


@pytest.mark.parametrize("model", [kv.VAE, kv.MultiRateVAE, kv.AggressiveVAE])
def test_copies_of_a_model_have_objectives_of_their_own(model):
    one = vae(model)
    one.build((None, 6))
    copies = [
        keras.models.clone_model(one),
        type(one).from_config(one.get_config()),
        *([one.at(0.5)] if model is kv.MultiRateVAE else []),
    ]
    for copy in copies:
        copy.kl_weight = 0.125
        assert float(one.kl_weight.value) == 1.0


@pytest.mark.slow
def test_networks_may_be_shared():
    encoder = kv.networks.mlp_encoder([4])
    models = [
        kv.VAE(encoder, kv.networks.mlp_decoder([4], (6,)), latent_dim=2, seed=0)
        for _ in range(2)
    ]
    for model in models:
        model.compile("adam")
    before = losses(models[0])[0]
    assert losses(models[1])[0] != before
    assert models[0].encoder is models[1].encoder

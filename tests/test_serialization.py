"""Names of papers, where they are taken, and what those say who look elsewhere."""

import keras
import pytest

import keras_vae as kv
from keras_vae import distributions
from keras_vae import objectives
from keras_vae.distributions import posteriors


@pytest.mark.parametrize(
    ("identifier", "kind", "attributes"),
    [
        ("iwae", objectives.ImportanceWeighted, {"num_samples": 5}),
        ("info_vae", objectives.MaximumMeanDiscrepancy, {"mmd_weight": 10.0}),
        ("dip_vae_i", objectives.DisentangledInferredPrior, {"kind": "i"}),
        ("dip_vae_ii", objectives.DisentangledInferredPrior, {"kind": "ii"}),
        (("control_vae", {"rate": 8.0}), objectives.RateTarget, {"rate_target": 8.0}),
        (
            ("geco", {"distortion": 80.0, "speed": 0.1}),
            objectives.DistortionTarget,
            {"distortion_target": 80.0, "speed": 0.1},
        ),
        (
            ("beta_tcvae", {"dataset_size": 50}),
            objectives.TotalCorrelation,
            {"dataset_size": 50.0},
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_objectives_have_the_names_of_papers(identifier, kind, attributes):
    if isinstance(identifier, tuple):
        identifier = dict(zip(("class_name", "config"), identifier, strict=True))
    found = objectives.get(identifier)
    assert type(found) is kind
    assert {name: getattr(found, name) for name in attributes} == attributes


def test_weights_of_named_objectives():
    beta_vae = {"class_name": "beta_vae", "config": {"kl_weight": 4.0}}
    assert objectives.get(beta_vae).kl_weight.initial_value == 4.0
    assert objectives.get("wae_mmd").kl_weight.initial_value == 0.0


def test_other_parts_have_the_names_of_papers():
    assert type(posteriors.get("delta_vae")) is posteriors.CommittedNormal
    assert type(posteriors.get("bn_vae")) is posteriors.BatchNormalizedNormal
    assert distributions.likelihoods.get("sigma_vae").scale == "shared"
    assert distributions.likelihoods.get("optimal_sigma_vae").scale == "optimal"
    five = {"class_name": "categorical", "config": {"num_classes": 5}}
    assert distributions.likelihoods.get(five).num_classes == 5


@pytest.mark.parametrize(
    ("name", "missing"),
    [
        ("beta_vae", "kl_weight"),
        ("beta_tcvae", "dataset_size"),
        ("control_vae", "rate"),
        ("geco", "distortion"),
    ],
)
def test_names_that_need_an_argument_say_which(name, missing):
    message = f"`objective` '{name}' needs `{missing}`: pass the object, or objective="
    with pytest.raises(ValueError, match=message):
        objectives.get(name)


@pytest.mark.parametrize(
    ("get", "name", "message"),
    [
        (objectives.get, "delta_vae", "'delta_vae' is a posterior"),
        (objectives.get, "factor_vae", "'factor_vae' is the model"),
        (posteriors.get, "beta_vae", "'beta_vae' is an objective"),
        (kv.priors.get, "sigma_vae", "'sigma_vae' is a likelihood"),
        (objectives.get, "cyclical", "'cyclical' is a schedule"),
    ],
)
def test_names_in_the_wrong_place_say_where_they_belong(get, name, message):
    with pytest.raises(ValueError, match=message):
        get(name)


def test_a_model_takes_a_named_objective():
    dense = keras.layers.Dense
    objective = {"class_name": "control_vae", "config": {"rate": 3.0}}
    model = kv.VAE(dense(2), dense(4), 2, objective=objective)
    assert model.objective.rate_target == 3.0
    copy = kv.VAE.from_config(model.get_config())
    assert copy.objective.rate_target == 3.0

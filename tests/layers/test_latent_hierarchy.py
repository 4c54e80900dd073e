"""Functional models whose latents depend on latents above."""

import keras
import numpy as np
import pytest
import recipes
import tensorflow as tf

import keras_vae as kv


@pytest.fixture(scope="module")
def ladder():
    recipe = recipes.make("functional_ladder")
    model = recipe.compile("adam", jit_compile=False)
    model.fit(**recipe.data, epochs=3, verbose=0)
    return recipe


def closed_form(loc, scale, prior_loc, prior_scale):
    ratio = (scale / prior_scale) ** 2
    shift = ((loc - prior_loc) / prior_scale) ** 2
    return np.sum(ratio + shift - 1 - np.log(ratio), axis=-1) / 2


def test_losses_are_the_rates_given_what_is_above(ladder):
    model, x = ladder.model, tf.constant(ladder.x)
    upper, lower = model.get_layer("upper"), model.get_layer("lower")
    tensors = [upper.output, lower.input[0], *tf.nest.flatten(lower.input)[1:]]
    inside = keras.Model(model.input, [*tensors, upper.input])
    z, features, above, seen = inside(x)
    moments = kv.distributions.DiagonalNormal().mean_and_stddev
    prior = moments(lower.prior.params(condition={"above": above}))
    loc, scale = moments(lower.head(features))
    precisions = scale**-2, prior[1] ** -2
    variance = 1 / (precisions[0] + precisions[1])
    mean = variance * (loc * precisions[0] + prior[0] * precisions[1])
    expected = [
        closed_form(*moments(upper.head(seen)), 0.0, 1.0),
        closed_form(mean, variance**0.5, *prior),
    ]
    assert np.std(prior[0], axis=0).min() > 0
    model(x)
    found = sorted(map(float, model.losses))
    np.testing.assert_allclose(found, sorted(np.mean(expected, 1)), rtol=1e-5)


def test_audit_and_diagnosis_see_both_levels(ladder):
    audit = kv.audit(ladder.model, ladder.x, ladder.x)
    assert not audit.findings
    diagnosis = kv.diagnose(ladder.model, (ladder.x, ladder.x), audit=False)
    levels = diagnosis.evidence["levels"]
    assert set(levels) == {"upper", "lower"}
    rate = sum(level["rate"] for level in levels.values())
    np.testing.assert_allclose(rate, diagnosis.evidence["rate"], rtol=1e-5)
    logs = ladder.model.evaluate(**ladder.data, verbose=0, return_dict=True)
    np.testing.assert_allclose(rate, logs["kl_loss"], rtol=0.05)


def test_a_prior_that_takes_nothing_is_refused():
    x = keras.Input((4,))
    with pytest.raises(ValueError, match="`prior` must be a .*Conditional"):
        kv.layers.Latent(2)(x, prior_features=x)
    with pytest.raises(ValueError, match="a `Latent` needs `prior_features`"):
        kv.layers.Latent(2, prior="conditional")(x)


def test_a_latent_of_maps():
    x = keras.Input((2, 3, 5))
    layer = kv.layers.Latent((2, 3, 4), seed=1, deterministic=True)
    model = keras.Model(x, layer(x))
    values = np.random.default_rng(0).normal(size=(6, 2, 3, 5)).astype("float32")
    assert model.output_shape == (None, 2, 3, 4)
    z = model(values)
    loc, _ = kv.distributions.DiagonalNormal().mean_and_stddev(layer.head.dense(values))
    np.testing.assert_allclose(z, loc, rtol=1e-5, atol=1e-6)

import keras
import numpy as np
import pytest
import recipes

import keras_vae as kv


@pytest.mark.parametrize("name", ["bernoulli", "linear_path", "reading_sentences"])
def test_the_encoder_stays_and_the_decoder_is_new(name):
    recipe = recipes.make(name)
    old = recipe.compile(keras.optimizers.Adam(0.01), jit_compile=False)
    old.fit(recipe.x, epochs=1, verbose=0)
    new = kv.models.with_new_decoder(old, kv.objectives.FreeBits(nats=0.5))
    assert type(new) is type(old)
    assert new.objective.nats.initial_value == 0.5
    np.testing.assert_array_equal(new.infer(recipe.x)[0], old.infer(recipe.x)[0])
    kernels = [
        (one.numpy(), other.numpy())
        for one, other in zip(
            new.decoder.trainable_weights, old.decoder.trainable_weights, strict=True
        )
        if len(one.shape) > 1
    ]
    assert all(np.abs(one - other).max() > 1e-3 for one, other in kernels)
    assert not {id(v) for v in new.variables} & {id(v) for v in old.variables}
    assert type(kv.models.with_new_decoder(old).objective) is type(old.objective)


def test_prior_and_noise_are_new_too():
    parts = kv.networks.mlp_encoder([4]), kv.networks.mlp_decoder([4], (6,))
    old = kv.VAE(*parts, 2, prior="learned_normal", seed=0)
    old.compile(keras.optimizers.Adam(0.1), jit_compile=False)
    old.fit(np.eye(6, dtype="float32"), epochs=3, verbose=0)
    new = kv.models.with_new_decoder(old)
    assert np.abs(old.latent.prior.get_weights()[0]).max() > 0.01
    np.testing.assert_array_equal(new.latent.prior.get_weights()[0], 0.0)
    assert int(old.latent.noise.count) > int(new.latent.noise.count) == 0


def test_pretraining_and_free_bits_keep_a_code_at_the_bound():
    """Six equal bits, for a decoder that could copy all but the first without z."""
    generator = np.random.default_rng(0)
    first = generator.integers(0, 2, size=(512, 1, 1))
    x = np.float32(np.repeat(first, 6, axis=1))

    def make(objective):
        keras.utils.set_random_seed(2)
        return kv.VAE(
            kv.networks.mlp_encoder([8], activation="tanh"),
            kv.networks.causal_decoder([8], (6, 1), activation="tanh"),
            latent_dim=1,
            objective=objective,
            seed=0,
        )

    def fit(model, epochs, **kwargs):
        model.compile(keras.optimizers.Adam(0.01), jit_compile=False)
        logs = model.fit(x, batch_size=32, epochs=epochs, verbose=0, **kwargs).history
        return logs["kl_loss"][-1], logs["negative_elbo"][-1]

    assert fit(make(kv.ELBO()), 8)[0] < 0.1
    autoencoder = make(kv.ELBO(kl_weight=0.0))
    assert fit(autoencoder, 4)[0] > 1
    free_bits = kv.objectives.FreeBits(nats=0.5)
    rate, bound = fit(kv.models.with_new_decoder(autoencoder, free_bits), 4)
    assert rate > 0.3
    # The entropy of the data is log 2.
    assert bound < np.log(2) + 0.5


def test_it_needs_a_model_that_is_built():
    with pytest.raises(ValueError, match="`vae` must be"):
        kv.models.with_new_decoder(recipes.make("bernoulli").model)

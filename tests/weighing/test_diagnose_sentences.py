"""A sentence VAE whose decoder writes without z, and the cure that is named."""

import keras
import pytest

import keras_vae as kv

# Each word follows from the one before, so that z is worth little to the decoder.
X = [" ".join(x.split()[:6]) for x in kv.datasets.grammar(512, seed=1)]
HELD_OUT = X[:64]
VOCABULARY = kv.datasets.Vocabulary.of(X)


def make(objective=None, **kwargs):
    keras.utils.set_random_seed(3)
    settings = {"latent_dim": 4, "units": 24, "embedding_dim": 12, "seed": 0}
    return kv.SentenceVAE(
        VOCABULARY, objective=objective or kv.ELBO(), **settings, **kwargs
    )


def fit(model, epochs, **kwargs):
    model.compile(keras.optimizers.Adam(0.01), jit_compile=False)
    return model.fit(X, batch_size=32, epochs=epochs, verbose=0, **kwargs).history


@pytest.fixture(scope="module")
def collapsed():
    model = make()
    fit(model, 4)
    return model


def test_the_collapse_is_named_first(collapsed):
    diagnosis = kv.diagnose(collapsed, HELD_OUT)
    assert diagnosis.verdict == "posterior_collapse"
    assert diagnosis.evidence["rate"] < 0.5
    assert "with_new_decoder" in diagnosis.action
    assert "--pretraining=10 --free_bits=2 " in diagnosis.flag


def test_a_model_of_language_has_no_code_to_lose():
    diagnosis = kv.diagnose(make(uses_latent=False), HELD_OUT)
    assert "posterior_collapse" not in [item.name for item in diagnosis.findings]


@pytest.mark.slow
def test_the_action_cures(collapsed):
    """Literally what `action` says."""
    action = kv.diagnose(collapsed, HELD_OUT).action
    vae = make(objective=kv.ELBO(kl_weight=0.0))
    assert "`objective=kv.ELBO(kl_weight=0.0)`" in action
    fit(vae, 6)
    source = action.split("`")[3]
    cured = eval(source, {"kv": kv, "vae": vae})
    callbacks = eval(action.split("`callbacks=")[1].split("`")[0], {"kv": kv})
    logs = fit(cured, 6, callbacks=callbacks)
    assert logs["kl_weight"][-1] == 1
    assert logs["kl_loss"][-1] > 2
    diagnosis = kv.diagnose(cured, HELD_OUT)
    assert "posterior_collapse" not in [item.name for item in diagnosis.findings]

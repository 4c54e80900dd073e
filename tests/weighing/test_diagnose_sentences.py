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
    assert "RateTarget(6, kl_weight=0.1)" in diagnosis.action
    assert diagnosis.flag == "--schedule=none --kl_weight=0.1 --target_rate=6"


def test_a_model_of_language_has_no_code_to_lose():
    diagnosis = kv.diagnose(make(uses_latent=False), HELD_OUT)
    assert "posterior_collapse" not in [item.name for item in diagnosis.findings]


@pytest.mark.slow
def test_the_action_cures(collapsed):
    """Literally what `action` says."""
    action = kv.diagnose(collapsed, HELD_OUT).action
    source = action.split("`objective=")[1].split("`")[0]
    cured = make(objective=eval(source, {"kv": kv}))
    assert fit(cured, 12)["kl_loss"][-1] > 2
    diagnosis = kv.diagnose(cured, HELD_OUT)
    assert "posterior_collapse" not in [item.name for item in diagnosis.findings]

"""After `adapt` a conditional VAE is the best linear one: regression, then pPCA."""

import keras
import matrix
import numpy as np
import oracle
import pytest
import tensorflow as tf

import keras_vae as kv

NOISE = 0.375
GENERATOR = np.random.default_rng(0)
LABEL = GENERATOR.integers(0, 4, 500)
AGE = GENERATOR.normal(size=500).astype("float32")
MEANS = GENERATOR.normal(scale=3.0, size=(4, 5))
X = np.float32(
    1.0 + oracle.data(size=500)[0] + MEANS[LABEL] + AGE[:, None] * [1, 0, -2, 0, 1]
)
DATA = {"x": X, "label": LABEL, "age": AGE}
CONDITIONS = {"label": 4, "age": None}


def residuals():
    """What least squares on the conditions leaves, by NumPy."""
    design = np.concatenate([np.eye(4)[LABEL], AGE[:, None]], axis=1)
    return X - design @ np.linalg.lstsq(design, np.float64(X), rcond=None)[0]


def best(theta, latents=3):
    values = np.linalg.eigvalsh(np.cov(residuals().T, ddof=0))[::-1]
    return oracle.water_filling(theta, latents, values)


def make(kl_weight=1.0, model=kv.VAE, hidden=(8,), conditions=CONDITIONS, **kwargs):
    keras.utils.set_random_seed(0)
    objective = {} if model is not kv.VAE else {"objective": kv.ELBO(kl_weight)}
    return model(
        kv.networks.mlp_encoder(list(hidden), conditions=conditions),
        kv.networks.mlp_decoder(list(hidden), (5,), conditions=conditions),
        latent_dim=3,
        conditions=conditions,
        seed=0,
        **objective,
        **{
            "likelihood": kv.distributions.Normal(scale=NOISE**0.5),
            "linear_path": True,
            **kwargs,
        },
    )


def assert_best(vae, theta, kernel=None):
    """SSE within 0.1 % and KL within 0.002 nats of the optimum, in closed form."""
    mean, stddev = (np.float64(value) for value in vae.encode(DATA))
    condition = {"label": LABEL, "age": AGE}
    error = np.square(X - vae.decode(np.float32(mean), condition)).sum(axis=1)
    kernel = np.float64(vae.decoder.linear.kernel) if kernel is None else kernel
    sse = np.mean(error + np.square(stddev) @ np.square(kernel).sum(axis=1))
    rate = oracle.standard_normal_kl(mean, stddev).mean(axis=0).sum()
    optimum = best(theta)
    np.testing.assert_allclose(sse, optimum.sse, rtol=1e-3)
    np.testing.assert_allclose(rate, optimum.kl.sum(), atol=2e-3)


@pytest.mark.parametrize("beta", matrix.first(1, [1.0, 0.2, 5.0, 20.0]))
def test_start_is_the_optimum_of_the_residuals(beta):
    vae = make(beta)
    vae.adapt(DATA)
    assert_best(vae, beta * NOISE)


def test_a_data_set_starts_as_arrays_do():
    vae, other = make(), make()
    vae.adapt(DATA)
    other.adapt(tf.data.Dataset.from_tensor_slices(DATA).batch(77))
    for this, that in zip(vae.weights, other.weights, strict=True):
        np.testing.assert_allclose(this, that, atol=2e-4, err_msg=this.path)


def test_learned_noise_is_that_of_the_residuals():
    vae = make(likelihood="normal")
    vae.adapt(DATA)
    values = np.linalg.eigvalsh(np.cov(residuals().T, ddof=0))
    noise = float(
        tf.square(vae.likelihood.distribution(tf.zeros((1, 5)), 1).stddev()[0, 0])
    )
    np.testing.assert_allclose(noise, values[:2].mean(), rtol=1e-3)


def test_one_model_of_all_weights_starts_at_all_optima():
    multi = make(model=kv.MultiRateVAE, beta_range=(0.05, 40.0))
    multi.adapt(DATA)
    for beta in (0.2, 1.0, 5.0):
        assert_best(multi.at(beta), beta * NOISE)


@pytest.mark.parametrize("likelihood", matrix.first(1, ["bernoulli", "laplace"]))
def test_conditions_help_the_start_of_other_likelihoods(likelihood):
    x = np.float32(X > 0) if likelihood == "bernoulli" else X
    bounds = []
    for conditions, data in ((None, x), (CONDITIONS, {**DATA, "x": x})):
        vae = make(conditions=conditions, likelihood=likelihood)
        vae.adapt(data)
        bounds.append(np.mean(vae.elbo(data, num_samples=8)))
    assert bounds[1] > bounds[0] + 0.1


@pytest.mark.slow
def test_training_reaches_the_optimum_of_the_residuals():
    vae, steps = make(hidden=(), linear_path=False), 6000
    rate = keras.optimizers.schedules.CosineDecay(0.02, steps)
    vae.compile(keras.optimizers.Adam(rate))
    # Sixteen draws of z for each example, for less noise about the optimum.
    batch = {name: np.repeat(value, 16, axis=0) for name, value in DATA.items()}
    vae.fit(tf.data.Dataset.from_tensors(batch).cache().repeat(steps), verbose=0)
    kernel = np.float64(vae.decoder.trainable_variables[0])[:3]
    assert_best(vae, NOISE, kernel)


def test_what_cannot_start_is_an_error():
    vae = make()
    with pytest.raises(ValueError, match="`x` must be a dict with the keys"):
        vae.adapt(X)
    with pytest.raises(ValueError, match="`x` must be data that can be read several"):
        vae.adapt(iter([DATA]))
    with pytest.raises(ValueError, match="`steps` must be given for data without an"):
        vae.adapt(tf.data.Dataset.from_tensor_slices(DATA).batch(9).repeat())
    with pytest.raises(ValueError, match="`label` must be labels in"):
        vae.adapt({**DATA, "label": LABEL + 1})
    with pytest.raises(ValueError, match="`adapt` needs a linear path"):
        make(linear_path=False).adapt(DATA)
    other = kv.VAE(
        kv.networks.mlp_encoder([4]),
        kv.networks.mlp_decoder([4], (5,), conditions={"label": 4}),
        2,
        likelihood="normal",
        conditions={"label": 4},
        linear_path=True,
    )
    with pytest.raises(ValueError, match="`conditions` must be the same of encoder"):
        other.adapt({"x": X, "label": LABEL})

"""`adapt` from batches, and with a noise for each output."""

import numpy as np
import pytest
import sklearn.datasets
import sklearn.decomposition
import tensorflow as tf

import keras_vae as kv


def wine():
    x = sklearn.datasets.load_wine().data
    return np.float32((x - x.mean(0)) / x.std(0))


WINE = wine()


def make(likelihood, shape=(13,), latent_dim=3, beta=1.0, kind=kv.VAE, **kwargs):
    likelihood = kv.distributions.likelihoods.get(likelihood)
    if kind is kv.VAE:
        kwargs["objective"] = kv.ELBO(kl_weight=beta)
    return kind(
        kv.networks.mlp_encoder([8]),
        kv.networks.mlp_decoder([8], likelihood.params_shape(shape)),
        latent_dim,
        likelihood=likelihood,
        linear_path=True,
        seed=0,
        **kwargs,
    )


def own_noises(**kwargs):
    return make(kv.distributions.Normal(scale="per_output"), **kwargs)


def negative_elbo(vae, x):
    return -float(np.mean(np.float64(vae.elbo(x, num_samples=32))))


def batches(x, size=7):
    return tf.data.Dataset.from_tensor_slices((x, np.zeros(len(x)))).batch(size)


@pytest.mark.parametrize("likelihood", ["normal", "laplace", "bernoulli"])
def test_batches_start_the_model_where_the_array_does(likelihood):
    x = kv.datasets.digits()[0][:400]
    one, other = (make(likelihood, x.shape[1:], latent_dim=9) for _ in range(2))
    one.adapt(x)
    other.adapt(batches(x))
    for own, codes in zip(one.encode(x), other.encode(x), strict=True):
        np.testing.assert_allclose(own, codes, rtol=1e-4, atol=1e-4)
    assert negative_elbo(one, x) == pytest.approx(negative_elbo(other, x), abs=1e-3)


def test_endless_batches_need_steps():
    vae = make("normal")
    with pytest.raises(ValueError, match="`steps` must be given"):
        vae.adapt(batches(WINE).repeat())
    assert not vae.built
    vae.adapt(batches(WINE).repeat(), steps=10)
    np.testing.assert_allclose(
        vae.decoder.linear.bias, WINE[:70].mean(0), rtol=1e-5, atol=1e-6
    )


def test_examples_must_have_the_shape_of_the_model():
    vae = make("normal", (4, 13))
    vae.build((None, 4, 13))
    with pytest.raises(ValueError, match="`x` must have shape .*, 4, 13"):
        vae.adapt(tf.data.Dataset.from_tensor_slices(np.ones((6, 4, 13))))


@pytest.mark.parametrize("latent_dim", [2, 6])
def test_own_noises_start_at_factor_analysis(latent_dim):
    best = sklearn.decomposition.FactorAnalysis(
        latent_dim, tol=1e-3, max_iter=2000, svd_method="lapack"
    ).fit(WINE)
    nats = -best.score(WINE)
    for data in (WINE, batches(WINE)):
        vae = own_noises(latent_dim=latent_dim)
        vae.adapt(data)
        assert negative_elbo(vae, WINE) == pytest.approx(nats, abs=0.05)
    pca = kv.linear_forecast(WINE, latent_dim, betas=[1.0]).negative_elbo[0]
    assert nats < pca - 0.3
    multi = own_noises(latent_dim=latent_dim, kind=kv.MultiRateVAE)
    multi.adapt(WINE)
    assert negative_elbo(multi, WINE) == pytest.approx(nats, abs=0.05)


def test_own_noises_are_those_of_the_weight():
    """At the optimum the variance of an output is its expected squared error."""
    vae = own_noises(beta=4.0)
    vae.adapt(WINE)
    mean, stddev = (np.float64(v) for v in vae.encode(WINE))
    kernel = np.float64(vae.decoder.linear.kernel)[:, :13]
    error = np.square(WINE - vae.reconstruct(WINE).numpy()).mean(0)
    error += np.square(stddev).mean(0) @ np.square(kernel)
    params = vae.decoder(tf.zeros([1, 3]))
    scale = vae.likelihood.distribution(params, 1).stddev()[0]
    np.testing.assert_allclose(np.square(scale), error, rtol=0.02)


def test_own_noises_of_many_elements(monkeypatch):
    monkeypatch.setattr(kv.linear.noises, "FEW", 5)
    shared = make("normal")
    shared.adapt(WINE)
    own = own_noises()
    own.adapt(WINE)
    assert negative_elbo(own, WINE) < negative_elbo(shared, WINE) - 0.2


def test_own_noises_help_a_laplace_likelihood():
    shared = make("laplace")
    shared.adapt(WINE)
    own = make(kv.distributions.Laplace(scale="per_output"))
    own.adapt(WINE)
    assert negative_elbo(own, WINE) < negative_elbo(shared, WINE) - 0.3


def test_own_noises_keep_to_images_and_to_the_limits_of_the_scale():
    generator = np.random.default_rng(0)
    x = generator.normal(size=(200, 3, 3, 2)) * [1.0, 1e-4]
    vae = own_noises(shape=(3, 3, 2))
    vae.adapt(np.float32(x))
    params = vae.decoder(tf.zeros([1, 3]))
    scale = vae.likelihood.distribution(params, 1).stddev()[0].numpy()
    low = vae.likelihood.min_scale
    assert (scale[..., 1] > low).all()
    np.testing.assert_allclose(scale[..., 1], low, rtol=1e-2)
    assert (np.abs(scale[..., 0] - 0.8) < 0.3).all()


def classes(kind, number, examples=1500, size=12):
    """Class ids that two latents tell, ordered or not."""
    generator = np.random.default_rng(0)
    z = generator.normal(size=(examples, 2))
    if kind == "ordered":
        score = z @ generator.normal(size=(2, size))
        score += generator.normal(size=score.shape)
        limits = np.quantile(score, np.arange(1, number) / number, axis=0)
        return sum(np.int64(score > limit) for limit in limits)
    logits = z @ generator.normal(size=(2, size * number)) * 2
    logits += generator.gumbel(size=logits.shape)
    return logits.reshape(examples, size, number).argmax(axis=-1)


@pytest.mark.parametrize(
    ("kind", "number", "gain"), [("ordered", 5, 1.5), ("unordered", 4, 2.5)]
)
def test_classes_start_far_below_independent_ones(kind, number, gain):
    x = classes(kind, number)
    likelihood = kv.distributions.Categorical(number)
    independent = kv.baselines(x, x, 3, likelihood)["independent"]
    found = []
    for data in (x, batches(x, 200)):
        vae = make(likelihood, (12,), beta=1.0)
        vae.adapt(data)
        found.append(negative_elbo(vae, np.float32(x)))
    assert found[0] < independent - gain
    assert found[1] == pytest.approx(found[0], abs=1e-3)


def test_two_classes_start_as_a_bernoulli_does():
    x = np.float32(classes("ordered", 2))
    one, other = make(kv.distributions.Categorical(2), (12,)), make("bernoulli", (12,))
    for vae in (one, other):
        vae.adapt(x)
    logits = one.decoder(one.encode(x)[0]).numpy().reshape(-1, 12, 2)
    straight = other.decoder(other.encode(x)[0])
    np.testing.assert_allclose(logits[..., 1] - logits[..., 0], straight, atol=1e-3)


def test_one_model_of_classes_for_all_weights():
    x = classes("ordered", 4)
    likelihood = kv.distributions.Categorical(4)
    multi = make(likelihood, (12,), kind=kv.MultiRateVAE, beta_range=(0.1, 10.0))
    multi.adapt(x)
    one = make(likelihood, (12,), beta=1.5)
    one.adapt(x)
    x = np.float32(x)
    assert negative_elbo(multi.at(1.5), x) == pytest.approx(
        negative_elbo(one, x), abs=0.02
    )


def test_ids_must_be_those_of_classes():
    vae = make(kv.distributions.Categorical(3), (12,))
    with pytest.raises(ValueError, match="`x` must hold the class ids 0 to num_class"):
        vae.adapt(classes("ordered", 4))
    with pytest.raises(ValueError, match="`x` must vary"):
        vae.adapt(np.ones((5, 12)))

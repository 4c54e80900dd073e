import dataclasses

import absl.flags
import keras
import numpy as np
import pytest
import scipy.stats
import tensorflow as tf

import keras_vae as kv
from keras_vae.distributions import posteriors
from trainers import _flags
from trainers import _resolve

SIZE, UNITS = 5, (3, 2)
NOISE = 0.8
X = np.random.default_rng(0).normal(size=(4, SIZE)).astype("float32")
KINDS = ("bottom_up", "ladder", "top_down")


def linear(inference, **kwargs):
    """A hierarchy of two levels whose distributions are linear and normal."""
    keras.utils.set_random_seed(3)
    vae = kv.HierarchicalVAE(
        encoder=[kv.networks.mlp_encoder([]), kv.networks.mlp_encoder([])],
        decoder=[kv.networks.mlp_decoder([], (SIZE,)), kv.networks.mlp_encoder([])],
        latent_dim=UNITS,
        inference=inference,
        likelihood=kv.distributions.Normal(scale=NOISE),
        seed=5,
        **kwargs,
    )
    vae.build((None, SIZE))
    generator = np.random.default_rng(1)
    for weight in vae.trainable_variables:
        weight.assign(generator.normal(scale=0.2, size=weight.shape))
    return vae


def weights(vae):
    """Weights as float64, by what they are."""
    parts = {
        "encode_1": vae.latents[0].head,
        "encode_2": vae.latents[1].head,
        "prior": vae.latents[0].prior,
        "decode": vae.decoder,
    }
    return {
        f"{name} {kind}": weight
        for name, part in parts.items()
        for kind, weight in zip(
            ("kernel", "bias"), part.trainable_variables, strict=True
        )
    }


def dense(theta, name, inputs):
    """Means and standard deviations of a head."""
    loc, raw = np.split(
        inputs @ theta[f"{name} kernel"] + theta[f"{name} bias"], 2, axis=-1
    )
    low, high = 1e-5, 1e3
    raw = raw + posteriors.inverse_soft_clip(1, low, high)
    above = low + np.logaddexp(0, raw - low)
    return loc, above - np.logaddexp(0, above - high)


@dataclasses.dataclass
class Terms:
    """What SciPy makes of one draw: arrays (batch, samples)."""

    distortion: np.ndarray
    rates: list
    densities: list
    latents: list


def terms(inference, theta, noises):
    """Distortion and rates of both levels, of draws with these standard normals."""
    x, (noise_1, noise_2) = np.float64(X)[:, None], noises
    normal = scipy.stats.norm
    if inference == "bottom_up":
        loc_1, scale_1 = dense(theta, "encode_1", x)
        z_1 = loc_1 + scale_1 * noise_1
        loc_2, scale_2 = dense(theta, "encode_2", z_1)
        z_2 = loc_2 + scale_2 * noise_2
        prior = dense(theta, "prior", z_2)
    else:
        loc_2, scale_2 = dense(theta, "encode_2", x)
        z_2 = loc_2 + scale_2 * noise_2
        prior = loc, scale = dense(theta, "prior", z_2)
        seen = x
        if inference == "top_down":
            x = np.repeat(x, z_2.shape[1], axis=1)
            seen = np.concatenate([x, z_2], axis=-1)
        loc_1, scale_1 = dense(theta, "encode_1", seen)
        if inference == "ladder":
            precisions = scale_1**-2, scale**-2
            loc_1 = loc_1 * precisions[0] + loc * precisions[1]
            scale_1 = sum(precisions) ** -0.5
            loc_1 = loc_1 * scale_1**2
        else:
            loc_1, scale_1 = loc + loc_1, scale * scale_1
        z_1 = loc_1 + scale_1 * noise_1
    mean = z_1 @ theta["decode kernel"] + theta["decode bias"]
    densities = [
        normal.logpdf(z_1, loc_1, scale_1) - normal.logpdf(z_1, *prior),
        normal.logpdf(z_2, loc_2, scale_2) - normal.logpdf(z_2),
    ]
    rates = [closed_form(loc_1, scale_1, *prior), closed_form(loc_2, scale_2, 0, 1)]
    if inference == "bottom_up":
        rates[0] = densities[0]
    densities, rates = ([v.sum(-1) for v in part] for part in (densities, rates))
    distortion = -normal.logpdf(x, mean, NOISE).sum(-1)
    return Terms(distortion, rates, densities, [z_1, z_2])


def closed_form(loc, scale, prior_loc, prior_scale):
    ratio = (scale / prior_scale) ** 2
    return (ratio + ((loc - prior_loc) / prior_scale) ** 2 - 1 - np.log(ratio)) / 2


def drawn_noises(inference, theta, latents):
    """The standard normals behind some draws, one level after the other."""
    order = (0, 1) if inference == "bottom_up" else (1, 0)
    noises = [np.zeros_like(z) for z in latents]
    for place in order:
        ones = [np.ones_like(n) if i == place else n for i, n in enumerate(noises)]
        low = terms(inference, theta, noises).latents[place]
        high = terms(inference, theta, ones).latents[place]
        noises[place] = (latents[place] - low) / (high - low)
    return noises


@pytest.mark.parametrize("inference", KINDS)
def test_terms_and_gradients_are_those_of_scipy(inference):
    vae, samples = linear(inference), 3
    variables = weights(vae)
    theta = {name: np.float64(value) for name, value in variables.items()}
    with tf.GradientTape() as tape:
        outputs = vae.draw(tf.constant(X), samples, kv.random.key(2))
        estimate = vae.scored(outputs, X)
        loss = tf.reduce_mean(estimate.distortion + estimate.rate())
    latents = [np.float64(outputs["z"][name]) for name in ("level_1", "level_2")]
    noises = drawn_noises(inference, theta, latents)
    expected = terms(inference, theta, noises)
    np.testing.assert_allclose(expected.latents[0], latents[0], rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(
        estimate.distortion, expected.distortion.mean(1), rtol=1e-5
    )
    for own, rate, log_ratio in zip(
        estimate.latents, expected.rates, expected.densities, strict=True
    ):
        rate = np.broadcast_to(rate, log_ratio.shape).mean(1)
        np.testing.assert_allclose(own.rate(), rate, rtol=1e-5, atol=1e-5)
        np.testing.assert_allclose(own.log_ratio, log_ratio, rtol=1e-5, atol=1e-5)
        np.testing.assert_allclose(
            tf.reduce_sum(own.rate_per_unit, 1), own.rate(), rtol=1e-5, atol=1e-5
        )

    def negative_elbo():
        found = terms(inference, theta, noises)
        return np.mean(found.distortion + found.rates[0] + found.rates[1])

    np.testing.assert_allclose(loss, negative_elbo(), rtol=1e-5)
    gradients = tape.gradient(loss, list(variables.values()))
    for name, gradient in zip(variables, gradients, strict=True):
        numeric = np.zeros(theta[name].shape)
        for place in np.ndindex(numeric.shape):
            for sign in (1, -1):
                theta[name][place] += sign * 1e-5
                numeric[place] += sign * negative_elbo() / 2e-5
                theta[name][place] -= sign * 1e-5
        np.testing.assert_allclose(gradient, numeric, rtol=1e-5, atol=2e-5)


def set_to_the_true_posterior(vae, inference, wider=1.0, is_dead=False):
    """Sets a model whose posteriors are the true ones, but wider by a factor.

    The decoder's rows are orthogonal, so that all posteriors are diagonal: z_2 ~ N(0,
    I), z_1 ~ N(slope' z_2, diag(spread)), x ~ N(rows' z_1, NOISE^2 I). If level 2 is
    dead its slope is 0, and the spread of z_1 makes up for it.

    Returns:
        The marginal p(x) of SciPy.
    """
    slope = np.eye(2, 3) * (0.0 if is_dead else 0.8)
    prior_variance = np.array([1.13, 1.13, 0.49])
    told = np.append(np.diag(slope) ** 2, 0.0)
    spread = prior_variance - told
    generator = np.random.default_rng(1)
    rows = 0.9 * np.linalg.qr(generator.normal(size=(SIZE, 3)))[0].T
    # x tells of z_1 what rows x / .81 does, a normal draw around it of this variance.
    error = NOISE**2 / 0.81
    seen = rows.T / 0.81
    above = 1 / (1 + told / (error + spread))[:2]
    gain = spread / (spread + error)
    if inference == "bottom_up":
        variances = 1 / (1 / prior_variance + 1 / error)
        own = [seen * variances / error, variances]
        variance = 1 / (1 + told / spread)[:2]
        top = [slope.T * variance / spread[:2], variance]
    else:
        top = [seen @ slope.T * above / (error + spread)[:2], above]
        own = [seen, [error] * 3]
    if inference == "top_down":
        kernel = np.concatenate([seen, -slope]) * gain
        own = [kernel, error / (spread + error)]

    def head(kernel, variances, factor=1.0):
        limits = 1e-5, 1e3
        raw = [
            posteriors.inverse_soft_clip(factor * float(v) ** 0.5, *limits)
            - posteriors.inverse_soft_clip(1.0, *limits)
            for v in variances
        ]
        kernel = np.concatenate([kernel, np.zeros_like(kernel)], axis=1)
        return kernel, np.concatenate([np.zeros(len(raw)), raw])

    values = {
        "encode_1": head(*own, wider),
        "encode_2": head(*top, wider),
        "prior": head(slope, spread),
        "decode": (rows, np.zeros(SIZE)),
    }
    variables = weights(vae)
    for name, pair in values.items():
        for kind, value in zip(("kernel", "bias"), pair, strict=True):
            variables[f"{name} {kind}"].assign(value)
    covariance = rows.T * prior_variance @ rows + NOISE**2 * np.eye(SIZE)
    return scipy.stats.multivariate_normal(np.zeros(SIZE), covariance)


@pytest.mark.parametrize("inference", KINDS)
def test_importance_sampling_finds_the_marginal(inference):
    vae = linear(inference)
    options = {"verbose": 0, "jit_compile": False}
    marginal = set_to_the_true_posterior(vae, inference)
    # Then the weights are all equal, and the ELBO is tight.
    few = vae.log_likelihood(X, num_samples=2, **options)
    np.testing.assert_allclose(few, marginal.logpdf(X), atol=2e-5)
    set_to_the_true_posterior(vae, inference, wider=1.1)
    assert np.mean(vae.elbo(X, num_samples=500)) < marginal.logpdf(X).mean() - 0.01
    found = vae.log_likelihood(X, num_samples=5000, **options)
    np.testing.assert_allclose(found, marginal.logpdf(X), atol=0.01)


@pytest.mark.parametrize("inference", KINDS)
def test_the_optimum_is_that_of_probabilistic_pca_also_if_level_2_is_dead(inference):
    """As Dang et al. (2024) say of levels whose posteriors learn their variances.

    https://arxiv.org/abs/2306.05023
    """
    vae, totals, rates = linear(inference), [], []
    for is_dead in (False, True):
        marginal = set_to_the_true_posterior(vae, inference, is_dead=is_dead)
        # Data with the covariance of the model, of which it is the optimum.
        x = np.random.default_rng(4).normal(size=(40, SIZE))
        x -= x.mean(axis=0)
        x = x @ np.linalg.inv(np.linalg.cholesky(x.T @ x / len(x))).T
        x = x @ np.linalg.cholesky(marginal.cov).T
        estimate = vae.estimate(np.float32(x), np.float32(x), 4, kv.random.key(0))
        draws = estimate.log_likelihood - estimate.log_ratio
        totals.append(-float(np.mean(draws)))
        rates.append(float(np.mean(estimate.latents[1].rate())))
        components = kv.linear.components(x, 3)
        expected = -kv.linear.log_likelihood(components, x).mean()
        assert totals[-1] == pytest.approx(expected, rel=1e-5)
    assert rates[0] > 0.1
    assert abs(rates[1]) < 1e-6


@pytest.mark.parametrize("inference", KINDS)
def test_one_level_is_a_vae(inference):
    def parts():
        keras.utils.set_random_seed(0)
        return kv.networks.mlp_encoder([4]), kv.networks.mlp_decoder([4], (SIZE,))

    encoder, decoder = parts()
    options = {"likelihood": "normal", "seed": 3, "prior": "learned_normal"}
    options["objective"] = kv.ELBO(num_samples=2)
    vae = kv.VAE(encoder, decoder, latent_dim=3, **options)
    encoder, decoder = parts()
    options["objective"] = kv.ELBO(num_samples=2)
    own = kv.HierarchicalVAE([encoder], [decoder], [3], inference, **options)
    for model in (vae, own):
        model.compile("adam", jit_compile=False)
        model.fit(X, epochs=2, batch_size=2, verbose=0)
    results = [
        [
            *model.get_weights(),
            *model.encode(X),
            model.reconstruct(X),
            model.generate(3, seed=1),
            model.elbo(X, num_samples=2),
            model.log_likelihood(X, num_samples=20, verbose=0, jit_compile=False),
            *model.evaluate(X, verbose=0),
        ]
        for model in (vae, own)
    ]
    for one, other in zip(*results, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-6, atol=1e-6)
    assert own.metrics_names == vae.metrics_names


def test_one_level_takes_a_prior_that_encodes():
    def parts():
        keras.utils.set_random_seed(0)
        return kv.networks.mlp_encoder([4]), kv.networks.mlp_decoder([4], (SIZE,))

    options = {"likelihood": "normal", "seed": 3}
    models = []
    for make in (kv.VAE, kv.HierarchicalVAE):
        encoder, decoder = parts()
        given = encoder, decoder, 3
        if make is kv.HierarchicalVAE:
            given = [encoder], [decoder], [3]
        prior, objective = kv.priors.VampPrior(2), kv.ELBO(kl="monte_carlo")
        model = make(*given, prior=prior, objective=objective, **options)
        model.compile("adam", jit_compile=False)
        model.fit(X, epochs=2, batch_size=2, verbose=0)
        models.append(model)
    vae, own = models
    for one, other in zip(vae.get_weights(), own.get_weights(), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(vae.generate(3, seed=1), own.generate(3, seed=1), 1e-5)
    cold = own.generate(2, seed=1, temperature=0.0)
    np.testing.assert_allclose(cold[0], cold[1], rtol=1e-6)


def test_the_ladder_multiplies_two_normals():
    generator = np.random.default_rng(0)
    own, prior = generator.normal(size=(2, 4, 6)).astype("float32")
    posterior = kv.distributions.PrecisionWeighted()
    merged = posterior.distribution(posterior.with_prior(own, tf.constant(prior)))
    normal = kv.distributions.DiagonalNormal()
    z = generator.normal(size=(7, 4, 3)).astype("float32")
    product = sum(normal.distribution(p).log_prob(z) for p in (own, prior))
    constant = merged.log_prob(z) - product
    np.testing.assert_allclose(constant, np.tile(constant[:1], (7, 1)), atol=2e-5)
    (loc, scale), (prior_loc, prior_scale) = map(normal.mean_and_stddev, (own, prior))
    variance = 1 / (scale**-2 + prior_scale**-2)
    np.testing.assert_allclose(merged.stddev(), variance**0.5, rtol=1e-5)
    mean = variance * (loc / scale**2 + prior_loc / prior_scale**2)
    np.testing.assert_allclose(merged.mean(), mean, rtol=1e-5, atol=1e-6)


def test_the_residual_has_the_rate_of_nvae():
    generator = np.random.default_rng(0)
    own, prior = generator.normal(size=(2, 4, 6)).astype("float32")
    posterior = kv.distributions.Residual()
    normal = kv.distributions.DiagonalNormal()
    q = posterior.distribution(posterior.with_prior(own, tf.constant(prior)))
    rate = kv.distributions.kl_divergence(q, normal.distribution(prior))
    (shift, width), (_, scale) = map(normal.mean_and_stddev, (own, prior))
    # Equation 5 of Vahdat and Kautz.
    terms = shift**2 / scale**2 + width**2 - np.log(width**2) - 1
    np.testing.assert_allclose(rate, np.sum(terms, axis=1) / 2, rtol=1e-5)


# === Use ===


@pytest.fixture(scope="module")
def vae():
    """A ladder of two levels that a decoder reads both of."""
    return linear("ladder")


def test_levels_are_decoded_one_from_the_other(vae):
    theta = {name: np.float64(value) for name, value in weights(vae).items()}
    cold = vae.generate(50, seed=1, temperature=0.0)
    loc, _ = dense(theta, "prior", np.zeros(UNITS[1]))
    expected = loc @ theta["decode kernel"] + theta["decode bias"]
    np.testing.assert_allclose(cold, np.tile(expected, (50, 1)), rtol=1e-4, atol=1e-5)
    # Level 1 at its mean: what is left lies in the plane of the two units above.
    from_above = vae.generate(50, seed=1, from_level="level_2") - expected
    assert np.linalg.matrix_rank(from_above, tol=1e-4) == 2
    drawn = vae.generate(4000, seed=1, temperature=2.0)
    slope = theta["prior kernel"][:, : UNITS[0]]
    # The scale of level 1 follows z_2 little.
    np.testing.assert_array_less(
        np.abs(np.mean(drawn, 0) - expected), 6 * np.std(drawn, 0) / np.sqrt(1000)
    )
    wide = vae.generate(4000, seed=1, from_level="level_2", temperature=2.0)
    covariance = slope.T @ slope
    np.testing.assert_allclose(
        np.cov(wide, rowvar=False),
        4 * theta["decode kernel"].T @ covariance @ theta["decode kernel"],
        rtol=0.1,
        atol=0.05,
    )


def test_what_each_level_holds(vae):
    theta = {name: np.float64(value) for name, value in weights(vae).items()}
    names = ["level_1", "level_2"]
    whole = vae.reconstruct(X)
    np.testing.assert_allclose(vae.reconstruct(X, keep_levels=names), whole, rtol=1e-6)
    nothing = vae.reconstruct(X, keep_levels=[])
    np.testing.assert_allclose(nothing, vae.generate(4, seed=0, temperature=0.0))
    top = vae.reconstruct(X, keep_levels=["level_2"])
    z_2, _ = dense(theta, "encode_2", np.float64(X))
    z_1, _ = dense(theta, "prior", z_2)
    expected = z_1 @ theta["decode kernel"] + theta["decode bias"]
    np.testing.assert_allclose(top, expected, rtol=1e-4, atol=1e-5)
    mean, _ = vae.encode(X)
    np.testing.assert_allclose(vae.decode(mean), whole, rtol=1e-5)
    np.testing.assert_allclose(mean["level_2"], z_2, rtol=1e-4, atol=1e-5)
    line = vae.interpolate(X[:2], X[2:], steps=3)
    np.testing.assert_allclose(line[:, 0], whole[:2], rtol=1e-5)
    np.testing.assert_allclose(line[:, 2], whole[2:], rtol=1e-5)


def test_logs_have_the_rate_of_each_level():
    vae = linear("top_down", objective=kv.ELBO(num_samples=2))
    vae.compile("adam", jit_compile=False)
    logs = vae.evaluate(X, verbose=0, return_dict=True)
    levels = [logs[f"level_{number}_kl_loss"] for number in (1, 2)]
    assert min(levels) > 0
    np.testing.assert_allclose(sum(levels), logs["kl_loss"], rtol=1e-5)


@pytest.mark.parametrize("inference", KINDS)
def test_free_bits_of_levels(inference):
    vae = linear(inference)
    estimate = vae.estimate(X, X, 8, kv.random.key(0))
    mean = kv.objectives.BatchMean(len(X))
    rates = [float(np.mean(latent.rate())) for latent in estimate.latents]
    for nats in (0.0, np.mean(rates), 100.0):
        objective = kv.objectives.FreeBits(nats=nats, group_size="latent")
        expected = sum(max(nats, rate) for rate in rates)
        np.testing.assert_allclose(
            objective.rate_loss(estimate, mean), expected, rtol=1e-5
        )


def test_the_verdict_names_a_dead_level(vae):
    dead = linear("top_down")
    # A residual of nothing is the prior.
    head = dead.latents[0].head
    head.set_weights([0 * weight for weight in head.get_weights()])
    x = np.random.default_rng(3).normal(size=(300, SIZE)).astype("float32")
    diagnosis = kv.diagnose(dead, x, audit=False)
    levels = diagnosis.evidence["levels"]
    assert abs(levels["level_1"]["rate"]) < 1e-6 < 0.1 < levels["level_2"]["rate"]
    assert [levels[f"level_{n}"]["active_units"] for n in (1, 2)] == [0, 2]
    (finding,) = [f for f in diagnosis.findings if f.name == "dead_level"]
    assert finding.evidence["dead"] == ["level_1"]
    assert 'group_size="latent"' in finding.fix
    alive = kv.diagnose(vae, x, audit=False)
    assert "dead_level" not in [finding.name for finding in alive.findings]


def shifted(inference, **kwargs):
    """A hierarchy whose codes of level 2 lie beside the prior."""
    vae = linear(inference, **kwargs)
    head = vae.latents[1].head
    head.bias.assign(head.bias + np.float32([6.0, 6.0, 0.0, 0.0]))
    return vae


@pytest.mark.parametrize("inference", ["ladder", "top_down"])
def test_remedies_are_those_of_a_hierarchy(inference):
    x = np.random.default_rng(3).normal(size=(300, SIZE)).astype("float32")
    diagnosis = kv.diagnose(shifted(inference), x, audit=False)
    found = {finding.name: finding for finding in diagnosis.findings}
    remedy = found["prior_holes"]
    assert remedy.fix.startswith("`prior=kv.priors.GaussianMixture")
    # What is advised can be made.
    mixture = kv.priors.GaussianMixture(num_components=100)
    linear(inference, prior=mixture, objective=kv.ELBO(kl="monte_carlo"))
    behind = found["behind_linear"]
    assert "linear_path" not in behind.fix + behind.flag
    assert ("more epochs" in behind.fix, "fewer epochs" in behind.fix) == (True, False)
    for finding in found.values():
        values = absl.flags.FlagValues()
        _flags.define_train(values)
        given = f"train --model={inference} --dataset=digits {finding.flag}".split()
        values(given)
        _resolve.train(values)


def test_the_remedy_of_a_dead_level_keeps_what_the_model_has():
    def remedy(**kwargs):
        vae = linear(**kwargs)
        for weight in vae.latents[1].head.weights:
            weight.assign(0 * weight)
        x = np.random.default_rng(3).normal(size=(300, SIZE)).astype("float32")
        findings = kv.diagnose(vae, x, audit=False).findings
        (found,) = [f for f in findings if f.name == "dead_level"]
        return found

    flag = "--batch_normalization --schedule=linear --warmup=50%"
    assert remedy(inference="bottom_up").flag == f"--model=ladder {flag}"
    found = remedy(inference="top_down")
    assert found.flag == f"--model=top_down {flag}"
    assert "FreeBits" in found.fix
    # A floor needs the closed form.
    found = remedy(inference="ladder", objective=kv.ELBO(kl="monte_carlo"))
    assert "FreeBits" not in found.fix


def test_a_wide_posterior_is_named_by_its_level():
    vae = linear("bottom_up")
    head = vae.latents[1].head
    head.bias.assign(head.bias + np.float32([0.0, 0.0, 0.0, 5.0]))
    (finding,) = [
        finding
        for finding in kv.diagnose(vae, X, audit=False).findings
        if finding.name == "posterior_variance_explodes"
    ]
    assert finding.message.startswith("the posterior of z1 of level_2 is ")


def test_noise_of_the_level_below_is_no_signal():
    vae = linear("bottom_up")
    # What is drawn of level 1 says nothing of x, and level 2 sees it alone.
    head = vae.latents[0].head
    head.set_weights([0 * weight for weight in head.get_weights()])
    x = np.random.default_rng(3).normal(size=(300, SIZE)).astype("float32")
    estimates = vae.estimate_latents(x, 1, kv.random.key(0))
    assert np.var(estimates[1].moments[0], axis=0).min() > 0.01
    assert np.var(vae.signals(estimates, x), axis=0).max() < 1e-9
    curve = kv.rate_distortion([vae], x, num_resamples=10)
    levels = kv.diagnose(vae, x, audit=False).evidence["levels"]
    active = [levels[f"level_{n}"]["active_units"] for n in (1, 2)]
    assert (curve.active_units.tolist(), active) == ([0], [0, 0])


@pytest.mark.parametrize(
    ("inference", "is_known"), [(kind, kind == "bottom_up") for kind in KINDS]
)
def test_information_of_levels_that_are_drawn_downwards_is_not_known(
    inference, is_known
):
    vae = linear(inference)
    x = np.random.default_rng(3).normal(size=(300, SIZE)).astype("float32")
    evidence = kv.diagnose(vae, x, audit=False).evidence
    assert ("mutual_information" in evidence) == is_known
    curve = kv.rate_distortion([vae], x, num_resamples=10)
    assert np.isfinite(curve.gap).all() == is_known
    if is_known:
        gap = evidence["rate"] - evidence["mutual_information"]
        assert curve.gap[0] == pytest.approx(gap, abs=0.2)
        return
    with pytest.raises(ValueError, match="drawn downwards.*Pass `num_generated`"):
        curve.recommend("samples")


def test_the_verdict_knows_the_weights_of_levels():
    weights = {"latent_weights": {"level_1": 50.0, "level_2": 3.0}}
    vae = linear("ladder", objective=kv.ELBO(kl_weight=0.5, **weights))
    assert kv.diagnose(vae, X, audit=False).evidence["kl_weight"] == 25.0
    one = linear("ladder", objective=kv.ELBO(latent_weights={"level_1": 0.1}))
    assert kv.diagnose(one, X, audit=False).evidence["kl_weight"] == 1.0
    one.compile("adam", jit_compile=False)
    callback = kv.callbacks.HyperparameterScheduler(
        "level_1_kl_weight", kv.schedules.linear(1000)
    )
    with pytest.warns(UserWarning, match="ends at step 1000"):
        one.fit(X, verbose=0, callbacks=[callback])
    (finding,) = kv.diagnose(one, X, audit=False).findings[:1]
    assert finding.name == "ramp_not_finished"
    assert finding.message.startswith("`level_1_kl_weight` is 0 on its way to 1")


def named_inputs(**units):
    return {name: keras.Input((number,), name=name) for name, number in units.items()}


def test_a_condition_of_an_upper_decoder_is_one_of_encoding(tmp_path):
    inputs = named_inputs(z=2, label=3)
    joined = keras.layers.Concatenate()([inputs["z"], inputs["label"]])
    upper = keras.Model(inputs, keras.layers.Dense(4)(joined))
    vae = kv.HierarchicalVAE(
        [kv.networks.mlp_encoder([4]), kv.networks.mlp_encoder([3])],
        [kv.networks.mlp_decoder([4], (SIZE,)), upper],
        [3, 2],
        likelihood="normal",
        conditions={"label": 3},
        seed=0,
    )
    vae.compile("adam", jit_compile=False)
    data = {"x": X, "label": np.arange(4) % 3}
    vae.fit(data, verbose=0)
    for call in (vae.encode, vae.infer, lambda x: vae.sample_posterior(x, seed=0)):
        with pytest.raises(ValueError, match="label"):
            call(X)
    vae.export(tmp_path / "vae", verbose=False)
    loaded = tf.saved_model.load(tmp_path / "vae")
    served = loaded.encode(**data)
    mean, _ = vae.encode(data)
    np.testing.assert_allclose(served["level_1_mean"], mean["level_1"], rtol=1e-5)


def test_draws_of_maps_are_decoded_in_smaller_blocks():
    networks = kv.networks.resnet_levels((8, 8, 1), levels=[1, 1], filters=[4, 6])
    vae = kv.HierarchicalVAE(*networks, inference="top_down")
    vae.build((None, 8, 8, 1))
    assert vae.features_size == 8 * 8 * 4


@pytest.mark.parametrize("posterior", ["PrecisionWeighted", "Residual"])
def test_what_merges_a_prior_needs_one(posterior):
    posterior = getattr(kv.distributions, posterior)
    parts = kv.networks.mlp_encoder([4]), kv.networks.mlp_decoder([4], (SIZE,))
    vae = kv.VAE(*parts, 2, likelihood="normal", posterior=posterior())
    message = "takes up the prior that latents above give"
    with pytest.raises(ValueError, match=message):
        vae.encode(np.zeros((12, SIZE)))
    latent = kv.layers.Latent(4, posterior=posterior())
    with pytest.raises(ValueError, match=message):
        latent(np.zeros((12, SIZE)))


def maps(change=None):
    encoder, decoder, shapes = kv.networks.resnet_levels(
        (8, 8, 1), levels=[2, 2], filters=[4, 6]
    )
    if change is not None:
        decoder[1] = change
    vae = kv.HierarchicalVAE(encoder, decoder, shapes, inference="ladder")
    vae.build((None, 8, 8, 1))
    return vae


def test_errors_say_which_network_is_wrong():
    forgotten = keras.Sequential([keras.layers.Conv2D(4, 1)])
    with pytest.raises(ValueError, match=r"`decoder\[1\]` must put out maps.*\(8, 8\)"):
        maps(forgotten)
    with pytest.raises(ValueError, match=r"`decoder\[1\]` does not take inputs"):
        maps(keras.Sequential([keras.layers.Conv3D(4, 1)]))
    inputs = named_inputs(z=2, above=3)
    top = keras.Model(inputs, keras.layers.Concatenate()(list(inputs.values())))
    encoder, decoder = kv.networks.mlp_levels([4, 3], (SIZE,))
    with pytest.raises(ValueError, match="must not take 'above'.*decoder\\[1\\]"):
        kv.HierarchicalVAE(encoder, [decoder[0], top], [3, 2])
    with pytest.raises(ValueError, match=r"`encoder\[1\]` must be a `keras.Model`"):
        kv.HierarchicalVAE([encoder[0], "mlp"], decoder, [3, 2])
    # 4 x 4, 2 x 2, 1 x 1: two halvings.
    kv.networks.resnet_levels((4, 4, 1), levels=[2] * 3, filters=[4] * 3)
    with pytest.raises(ValueError, match="Pass at most 3"):
        kv.networks.resnet_levels((4, 4, 1), levels=[2] * 4, filters=[4] * 4)


def test_a_ladder_stays_a_ladder(vae):
    with pytest.raises(ValueError, match="`inference` is fixed when the model is made"):
        vae.inference = "top_down"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"encoder": keras.layers.Dense(3)}, "`encoder` must be a list"),
        ({"latent_dim": [2]}, "must have one entry for each level"),
        ({"inference": "sideways"}, "`inference` must be one of"),
        ({"posterior": "planar"}, "`posterior` must be 'diagonal_normal'"),
        ({"prior": "vamp_prior"}, "`prior` must not encode"),
        ({"linear_path": True}, "`linear_path` must be False"),
        ({"objective": "mmd"}, "`objective` must not compare draws"),
    ],
)
def test_what_is_no_hierarchy(change, message):
    encoder, decoder = kv.networks.mlp_levels([4, 3], (SIZE,))
    arguments = {"encoder": encoder, "decoder": decoder, "latent_dim": [3, 2]}
    with pytest.raises(ValueError, match=message):
        kv.HierarchicalVAE(**{**arguments, **change})


def test_names_of_levels_are_checked(vae):
    with pytest.raises(ValueError, match="`keep_levels` must name levels"):
        vae.reconstruct(X, keep_levels=["level_3"])
    with pytest.raises(ValueError, match="must be a list.*keep_levels='level_1'"):
        vae.reconstruct(X, keep_levels="level_1")
    with pytest.raises(ValueError, match="`z` must be a dict with a tensor for each"):
        vae.decode({"level_1": np.zeros((2, 3))})
    total = kv.objectives.TotalCorrelation(dataset_size=4)
    other = linear("ladder", objective=total)
    other.compile("adam", run_eagerly=True)
    with pytest.raises(ValueError, match="several latents"):
        other.fit(X, verbose=0)

"""Conditions beside x and z: what they do to numbers, and what data they come from."""

import keras
import matrix
import numpy as np
import pytest
import scipy.stats
import tensorflow as tf

import keras_vae as kv

GENERATOR = np.random.default_rng(0)
LABEL = np.arange(48) % 3
AGE = GENERATOR.normal(size=48).astype("float32")
X = (GENERATOR.random((48, 6)) < 0.2 + 0.3 * LABEL[:, None]).astype("float32")
DATA = {"x": X, "label": LABEL}
CONDITIONS = {"label": 3}
BATCH = {"batch_size": 16, "shuffle": False, "verbose": 0}


def make(model=kv.VAE, conditions=CONDITIONS, hidden=(8,), **kwargs):
    keras.utils.set_random_seed(0)
    return model(
        kv.networks.mlp_encoder(list(hidden), conditions=conditions),
        kv.networks.mlp_decoder(list(hidden), (6,), conditions=conditions),
        latent_dim=2,
        conditions=conditions,
        seed=0,
        **kwargs,
    )


def trained(data=DATA, y=None, model=None, settings=None, **kwargs):
    model = model or make()
    model.compile(keras.optimizers.Adam(1e-2), jit_compile=False, **(settings or {}))
    model.fit(data, y, **{**BATCH, "epochs": 2, **kwargs})
    return model


def assert_equal_weights(model, other):
    for this, that in zip(model.weights, other.weights, strict=True):
        np.testing.assert_array_equal(this, that, err_msg=this.path)


@pytest.fixture(scope="module")
def vae():
    return trained()


# === Numbers ===


def plain_at(vae, label):
    """The VAE without conditions that equals a dense one at a class."""
    plain = make(conditions=None)
    plain.build((None, 6))
    for own, part in ((plain.encoder, vae.encoder), (plain.decoder, vae.decoder)):
        (kernel, bias, *rest), values = own.weights, part.get_weights()
        size = kernel.shape[0]
        kernel.assign(values[0][:size])
        bias.assign(values[1] + values[0][size + label])
        for variable, value in zip(rest, values[2:], strict=True):
            variable.assign(value)
    plain.latent.head.set_weights(vae.latent.head.get_weights())
    return plain


@pytest.mark.parametrize("label", matrix.first(1, [2, 0, 1]))
@pytest.mark.slow
def test_a_class_is_a_bias_of_the_first_layers(vae, label):
    plain, condition = plain_at(vae, label), {"label": label}
    ours = vae.elbo(X, num_samples=4, condition=condition)
    np.testing.assert_allclose(ours, plain.elbo(X, num_samples=4), rtol=1e-5)
    for name in ("generate", "reconstruct"):
        argument = 5 if name == "generate" else X
        options = {"seed": 3} if name == "generate" else {}
        ours = getattr(vae, name)(argument, **options, condition=condition)
        theirs = getattr(plain, name)(argument, **options)
        np.testing.assert_allclose(ours, theirs, rtol=1e-5)
    ours = vae.interpolate(X[:2], X[2:4], condition=condition)
    np.testing.assert_allclose(ours, plain.interpolate(X[:2], X[2:4]), rtol=1e-5)


def test_all_ways_to_pass_a_condition_agree(vae):
    by_dict = vae.elbo(DATA).numpy()
    np.testing.assert_array_equal(vae.elbo(X, condition={"label": LABEL}), by_dict)
    column = {"label": LABEL[:, None]}
    np.testing.assert_array_equal(vae.elbo(X, condition=column), by_dict)
    ones = {"label": np.ones(48, int)}
    np.testing.assert_array_equal(
        vae.encode(X, condition={"label": 1})[0], vae.encode(X, condition=ones)[0]
    )
    z = vae.sample_posterior(DATA, seed=1)
    np.testing.assert_array_equal(
        vae.decode(z, {"label": 1}), vae.decode(z, condition=ones)
    )
    vae.reset_metrics()
    np.testing.assert_array_equal(vae.predict(DATA, verbose=0), vae.reconstruct(DATA))


def test_log_likelihood_of_a_linear_model_is_that_of_its_normal():
    likelihood = kv.distributions.Normal(scale=1.0)
    vae = make(hidden=(), likelihood=likelihood, prior="conditional")
    vae.build((None, 6))
    kernel, bias = vae.decoder.weights
    kernel.assign(GENERATOR.normal(scale=0.4, size=kernel.shape))
    head = vae.latent.prior.trainable_variables[0]
    head.assign(GENERATOR.normal(scale=0.3, size=head.shape))
    # With q = N(0, I), near the prior, few draws do.
    vae.latent.head.kernel.assign(np.zeros(vae.latent.head.kernel.shape))
    loc, scale = (
        value.numpy()
        for value in vae.latent.posterior.mean_and_stddev(
            vae.latent.prior.params(condition={"label": tf.eye(3)})
        )
    )
    w, v = np.split(np.float64(kernel), [2])
    ours = vae.log_likelihood(DATA, num_samples=20000, verbose=0)
    for label in range(3):
        mean = loc[label] @ w + v[label] + np.float64(bias)
        covariance = (w.T * scale[label] ** 2) @ w + np.eye(6)
        of_class = scipy.stats.multivariate_normal(mean, covariance)
        here = LABEL == label
        expected = of_class.logpdf(X[here])
        np.testing.assert_allclose(ours[here].mean(), expected.mean(), atol=0.02)


def test_conditional_prior_has_a_closed_kl_and_its_own_draws_for_each_class():
    vae = make(prior="conditional")
    vae.build((None, 6))
    head = vae.latent.prior.trainable_variables[0]
    head.assign(GENERATOR.normal(size=head.shape))
    params = vae.latent.prior.params(condition={"label": tf.eye(3)})
    loc, scale = (v.numpy() for v in vae.latent.posterior.mean_and_stddev(params))
    mean, stddev = (value.numpy() for value in vae.encode(DATA))
    p, s = loc[LABEL], scale[LABEL]
    kl = np.log(s / stddev) + (stddev**2 + (mean - p) ** 2) / (2 * s**2) - 0.5
    rate = vae.estimate(DATA, X, 1, kv.random.key(0)).rate()
    np.testing.assert_allclose(rate, kl.sum(axis=1), rtol=1e-4)
    labels = np.arange(3).repeat(4000)
    condition = {"label": tf.one_hot(labels, 3)}
    params = vae.latent.prior_params(None, condition)
    z = vae.latent.sample_prior(12000, kv.random.key(1), params).numpy()
    for label in range(3):
        drawn = z[labels == label]
        np.testing.assert_allclose(drawn.mean(axis=0), loc[label], atol=0.1)
        np.testing.assert_allclose(drawn.std(axis=0), scale[label], rtol=0.05)


def test_the_network_of_a_prior_keeps_its_batch_statistics():
    layers = [keras.layers.Dense(4), keras.layers.BatchNormalization()]
    network = keras.Sequential(layers)
    trained(model=make(prior=kv.priors.Conditional(network)), epochs=20)
    given = np.eye(3)[LABEL] @ layers[0].kernel + layers[0].bias
    # The kernel moves while the statistics follow it.
    np.testing.assert_allclose(
        layers[1].moving_variance, 0.99**60 + (1 - 0.99**60) * given.var(0), rtol=0.1
    )
    assert np.abs(layers[1].moving_mean).max() > 0.01


def test_conditions_without_weight_change_no_number():
    vae, plain = make(prior="standard_normal"), make(conditions=None)
    for model in (vae, plain):
        model.build((None, 6))
    pairs = zip(vae.trainable_weights, plain.trainable_weights, strict=True)
    for this, that in pairs:
        value = np.zeros(this.shape, "float32")
        value[: len(np.asarray(that))] = np.asarray(that)
        this.assign(value)
    np.testing.assert_allclose(vae.elbo(DATA), plain.elbo(X), rtol=1e-6)


# === Networks ===


class Subclassed(keras.layers.Layer):
    """An encoder that names its condition in the signature of `call`."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.dense = keras.layers.Dense(8, "relu")
        self.built = True

    def call(self, x, label):
        return self.dense(keras.ops.concatenate([x, label], axis=-1))


def functional(main, size, outputs, as_dict):
    inputs = [keras.Input((size,), name=main), keras.Input((3,), name="label")]
    h = keras.layers.Dense(8, "relu")(keras.layers.Concatenate()(inputs))
    h = keras.layers.Dense(outputs)(h) if main == "z" else h
    named = dict(zip((main, "label"), inputs, strict=True))
    return keras.Model(named if as_dict else inputs, h)


@pytest.mark.parametrize("kind", matrix.first(1, ["dict", "subclass", "list"]))
def test_any_network_takes_the_conditions_that_it_names(vae, kind):
    as_dict = kind == "dict"
    encoder = Subclassed() if kind == "subclass" else functional("x", 6, 8, as_dict)
    decoder = functional("z", 2, 6, as_dict)
    other = kv.VAE(encoder, decoder, 2, conditions=CONDITIONS, seed=0)
    other.build((None, 6))
    for own, part in ((other.encoder, vae.encoder), (other.decoder, vae.decoder)):
        own.set_weights(part.get_weights())
    other.latent.head.set_weights(vae.latent.head.get_weights())
    np.testing.assert_allclose(other.elbo(DATA), vae.elbo(DATA), rtol=1e-6)


def test_each_network_takes_what_it_names_and_no_more():
    vae = kv.VAE(
        kv.networks.mlp_encoder([4]),
        kv.networks.mlp_decoder([4], (6,), conditions={"age": None}),
        latent_dim=2,
        prior=kv.priors.Conditional(conditions=["label"]),
        conditions={"label": 3, "age": None},
        seed=0,
    )
    trained({**DATA, "age": AGE}, model=vae)
    mean, _ = vae.encode(X)
    assert vae.decode(mean, {"age": AGE}).shape == X.shape
    with pytest.raises(ValueError, match="must hold 'label', which the prior or"):
        vae.generate(2, condition={"age": 0.5})
    young = vae.generate(2, seed=0, condition={"age": 0.5, "label": 1})
    old = vae.generate(2, seed=0, condition={"age": [0.5, 2.0], "label": 1})
    np.testing.assert_allclose(young[0], old[0], rtol=1e-6)
    assert np.abs(young[1] - old[1]).max() > 1e-3


@pytest.mark.parametrize("kind", matrix.first(1, ["ready", "functional"]))
@pytest.mark.parametrize("linear_path", matrix.first(1, [True, False]))
@pytest.mark.slow
def test_folded_model_of_all_weights_is_the_gated_one(kind, linear_path):
    if kind == "ready":
        multi = make(kv.MultiRateVAE, prior="conditional", linear_path=linear_path)
    else:
        networks = functional("x", 6, 8, True), functional("z", 2, 6, False)
        multi = kv.MultiRateVAE(
            *networks, 2, conditions=CONDITIONS, linear_path=linear_path, seed=0
        )
    multi.compile(keras.optimizers.Adam(1e-2), jit_compile=False)
    multi.fit(DATA, epochs=3, **BATCH)
    plain = multi.at(multi.beta)
    assert type(plain) is kv.VAE
    np.testing.assert_allclose(plain.elbo(DATA), multi.elbo(DATA), rtol=1e-5)
    options = {"seed": 1, "condition": {"label": [0, 1, 2]}}
    np.testing.assert_allclose(
        plain.generate(3, **options), multi.generate(3, **options), rtol=1e-5
    )


def with_pseudo_inputs(number):
    vae = make(
        conditions={"label": 3, "age": None},
        prior=kv.priors.VampPrior(number),
        objective=kv.ELBO(kl="monte_carlo"),
    )
    vae.build((None, 6))
    return vae


def test_a_pseudo_input_has_conditions_of_its_own():
    vae, data = with_pseudo_inputs(1), {**DATA, "age": AGE}
    prior, one = vae.latent.prior, {name: v[5:6] for name, v in data.items()}
    prior.pseudo_inputs.assign(one["x"])
    prior.pseudo_conditions["age"].assign(one["age"][:, None])
    prior.pseudo_conditions["label"].assign(50 * np.eye(3)[one["label"]])
    estimate = vae.estimate(data, X, 2, kv.random.key(0))
    q = vae.latent.posterior.distribution(vae.infer(one)[0])
    np.testing.assert_allclose(
        estimate.prior.log_prob(estimate.z), q.log_prob(estimate.z), rtol=1e-5
    )
    # What an example is given does not change p(z).
    other = vae.estimate({**data, "age": -AGE}, X, 2, kv.random.key(0))
    z = estimate.z
    np.testing.assert_array_equal(other.prior.log_prob(z), estimate.prior.log_prob(z))


def test_pseudo_inputs_start_at_labelled_examples():
    vae = with_pseudo_inputs(30)
    prior = vae.latent.prior
    started = np.argmax(prior.pseudo_conditions["label"], axis=1)
    np.testing.assert_array_equal(np.bincount(started), [10, 10, 10])
    assert not np.any(prior.pseudo_conditions["age"])
    prior.initialize({**DATA, "age": AGE})
    values = np.asarray(prior.pseudo_conditions["age"])[:, 0]
    rows = [int(np.flatnonzero(value == AGE)[0]) for value in values]
    assert len(set(rows)) == 30
    np.testing.assert_array_equal(prior.pseudo_inputs, X[rows])
    labels = np.argmax(prior.pseudo_conditions["label"], axis=1)
    np.testing.assert_array_equal(labels, LABEL[rows])


# === Data ===


class Batches(keras.utils.PyDataset):
    def __len__(self):
        return 3

    def __getitem__(self, index):
        rows = slice(16 * index, 16 * index + 16)
        return ({name: value[rows] for name, value in DATA.items()},)


def finite():
    for _ in range(2):
        yield from Batches()


KINDS = {
    "data set": lambda: {"data": tf.data.Dataset.from_tensor_slices(DATA).batch(16)},
    "equal weights": lambda: {"sample_weight": np.ones(48)},
    "PyDataset": lambda: {"data": Batches()},
    "generator": lambda: {"data": finite(), "steps_per_epoch": 3},
    "itself as the target": lambda: {"y": X},
    "validation": lambda: {"validation_data": (DATA,)},
    "blocks": lambda: {"settings": {"steps_per_execution": 3}},
}


@pytest.mark.parametrize("name", matrix.first(2, KINDS))
@pytest.mark.filterwarnings("ignore:.shuffle=True. was passed:UserWarning")
def test_all_kinds_of_data_train_alike(vae, name):
    assert_equal_weights(trained(**KINDS[name]()), vae)


def test_weight_zero_leaves_an_example_out():
    weights = np.ones(48)
    weights[::2] = 0
    half = {name: value[1::2] for name, value in DATA.items()}
    model = make()
    model.compile("adam")
    # The noise is by place in the batch, but the rate has a closed form.
    rates = [
        model.evaluate(data, batch_size=48, verbose=0, return_dict=True, **options)
        for data, options in ((half, {}), (DATA, {"sample_weight": weights}))
    ]
    np.testing.assert_allclose(*[rate["kl_loss"] for rate in rates], rtol=1e-5)


@pytest.mark.slow
def test_another_target_and_metrics(vae):
    model = make()
    model.compile("adam", metrics=["mae"], jit_compile=False)
    history = model.fit(DATA, 1 - X, validation_split=0.25, **BATCH).history
    assert 0 < history["val_mae"][0] < 1
    losses = [vae.evaluate(DATA, y, verbose=0)[0] for y in (None, X, 1 - X)]
    assert losses[0] == losses[1] < losses[2]


def test_a_label_that_is_no_class_in_a_later_batch_shows_as_nan(vae):
    labels = LABEL.copy()
    labels[40] = 7
    data = tf.data.Dataset.from_tensor_slices({"x": X, "label": labels}).batch(16)
    predicted = vae.predict(data, verbose=0)
    assert np.isnan(predicted[40]).all()
    assert np.isfinite(np.delete(predicted, 40, axis=0)).all()
    assert np.isnan(vae.evaluate(data, verbose=0)[0])


# === Use ===


def test_exported_endpoints_name_their_conditions(vae, tmp_path):
    vae.export(tmp_path / "vae", verbose=False)
    loaded = tf.saved_model.load(tmp_path / "vae")
    inputs = {
        name: set(function.structured_input_signature[1])
        for name, function in loaded.signatures.items()
    }
    assert inputs["encode"] == inputs["serve"] == {"x", "label"}
    assert inputs["decode"] == {"z", "label"}
    assert inputs["generate"] == {"n", "seed", "label"}
    np.testing.assert_allclose(
        loaded.generate(n=3, seed=5, label=[2, 0, 1]),
        vae.generate(3, seed=5, condition={"label": [2, 0, 1]}),
        rtol=1e-6,
    )
    np.testing.assert_allclose(
        loaded.negative_elbo(x=X, label=LABEL, seed=5), -vae.elbo(DATA, seed=5), 1e-5
    )


@pytest.mark.slow
@pytest.mark.parametrize("model", [kv.VAE, kv.MultiRateVAE])
def test_curve_of_a_conditional_model(model):
    vae = trained(model=make(model))
    betas = None if model is kv.VAE else [0.5, 1.0]
    curve = kv.rate_distortion(
        vae if betas else [vae], DATA, betas=betas, num_generated=40
    )
    at_one = vae.at(1.0) if betas else vae
    np.testing.assert_allclose(
        curve.rate[-1],
        at_one.estimate(DATA, X, 1, kv.random.key(0)).rate().numpy().mean(),
        1e-4,
    )
    assert np.isfinite(curve.sample_distance).all()


# === Mistakes ===

KEYS = r"`x` must be a dict with the keys \['x', 'label'\].*Received: "
FIT = {
    "no dict": (X, KEYS + "a ndarray"),
    "missing": ({"x": X}, KEYS + r"a dict without \['label'\]"),
    "misspelt": ({"x": X, "lable": LABEL}, KEYS + r".*the unknown \['lable'\]"),
    "extra": ({**DATA, "age": AGE}, KEYS + r".*the unknown \['age'\]"),
    "range": (
        {"x": X, "label": LABEL + 1},
        r"`label` must be labels in \[0, 3\).*to 3",
    ),
    "negative": ({"x": X, "label": LABEL - 1}, r"`label` must be labels.*from -1 to 1"),
    "floats": ({"x": X, "label": LABEL * 1.0}, "`label` must be integer labels.*float"),
    "length": (
        {"x": X, "label": LABEL[:5]},
        r"`label` must have shape \(48,\).*\(5,\)",
    ),
    "one": ({"x": X, "label": 1}, r"`label` must have shape \(48,\).*label.shape=\(\)"),
    "one-hot": ({"x": X, "label": np.eye(3)[LABEL]}, r"`label` must have.*\(48, 3\)"),
}


@pytest.mark.parametrize("name", FIT)
def test_wrong_data_are_an_error_before_training(name):
    data, message = FIT[name]
    model = make()
    model.compile("adam")
    for method in (model.fit, model.evaluate, model.predict):
        with pytest.raises(ValueError, match=message):
            method(data, verbose=0)
    with pytest.raises(
        ValueError, match="`validation_data` cannot be used: " + message
    ):
        model.fit(DATA, validation_data=(data,), verbose=0)
    assert int(model.optimizer.iterations) == 0


def test_nan_in_a_real_condition_is_an_error():
    conditions = {"age": None, "place": (2,)}
    model = make(conditions=conditions)
    model.compile("adam")
    data = {"x": X, "age": AGE.copy(), "place": np.zeros((48, 2))}
    data["age"][3] = np.nan
    with pytest.raises(ValueError, match="`age` must be finite. Received: 1 values"):
        model.fit(data)
    with pytest.raises(ValueError, match=r"`place` must have shape \(48, 2\).*\(48,\)"):
        model.fit({**data, "age": AGE, "place": AGE})


USES = {
    "encode": lambda vae: vae.encode(X),
    "decode": lambda vae: vae.decode(np.zeros((2, 2), "float32")),
    "generate": lambda vae: vae.generate(2),
    "elbo": lambda vae: vae.elbo(X),
    "reconstruct": lambda vae: vae.reconstruct(X),
}


@pytest.mark.parametrize("name", USES)
def test_a_use_without_its_condition_names_it(vae, name):
    with pytest.raises(ValueError, match="`condition` must hold 'label', which the"):
        USES[name](vae)


def test_a_use_with_a_wrong_condition_names_it(vae):
    for condition, message in (
        ({"lable": 1}, r"declares, \['label'\]. Received: 'lable'"),
        ({"label": 3}, "`label` must be labels in"),
        ({"label": [0, 1]}, r"`label` must have shape \(3,\)"),
        ([1, 2, 0], "`condition` must be a dict"),
    ):
        with pytest.raises(ValueError, match=message):
            vae.generate(3, condition=condition)
    with pytest.raises(ValueError, match=r"declares, \[\]. Received: 'label'"):
        make(conditions=None).encode(X, condition={"label": 1})


def vae_with(conditions, of_networks=CONDITIONS, **kwargs):
    return kv.VAE(
        kv.networks.mlp_encoder([4], conditions=of_networks),
        kv.networks.mlp_decoder([4], (6,)),
        2,
        conditions=conditions,
        **kwargs,
    )


class EncodesAlone(kv.priors.StandardNormal):
    calls_encoder = True


MODELS = {
    "taken by none": (
        lambda: vae_with({"label": 3, "age": None}),
        "`conditions` declares 'age', which neither encoder nor decoder nor prior",
    ),
    "list": (lambda: vae_with(["label"]), "`conditions` must be a dict of names"),
    "name": (lambda: vae_with({"x": 3}), "`conditions` must have names.*the name 'x'"),
    "kind": (lambda: vae_with({"label": 1}), "`conditions` must give 'label' a number"),
    "not declared": (
        lambda: vae_with(None).build((None, 6)),
        "`conditions` of the model must declare 'label'",
    ),
    "other size": (
        lambda: vae_with({"label": 4}).build((None, 6)),
        r"`conditions` of the model must declare 'label'.*Received: shape \(None, 4\)",
    ),
    "input without a condition": (
        lambda: kv.VAE(
            functional("x", 6, 8, True),
            kv.networks.mlp_decoder([4], (6,), conditions={"age": None}),
            2,
            conditions={"age": None},
        ),
        "`encoder` must have one input for the data.*named \\['x', 'label'\\]",
    ),
    "pseudo-inputs": (
        lambda: vae_with(CONDITIONS, prior=EncodesAlone()),
        "`prior` EncodesAlone encodes inputs of its own, which have no conditions",
    ),
    "prior without conditions": (
        lambda: vae_with(None, None, prior="conditional").build((None, 6)),
        "`prior` Conditional needs a model that declares `conditions`",
    ),
    "network of the prior": (
        lambda: kv.priors.Conditional([4]),
        r"`network` must be.*Received: network=\[4\]",
    ),
}


@pytest.mark.parametrize("name", MODELS)
def test_networks_and_conditions_that_do_not_fit_are_an_error(name):
    function, message = MODELS[name]
    with pytest.raises(ValueError, match=message):
        function()


def test_conditions_cannot_be_exchanged(vae):
    with pytest.raises(
        ValueError, match="`conditions` is fixed when the model is made"
    ):
        vae.conditions = {"label": 4}

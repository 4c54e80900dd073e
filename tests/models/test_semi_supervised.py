"""Labels that may be unknown: exact sums over classes, and what the classifier gets."""

import keras
import numpy as np
import pytest
import scipy.special
import scipy.stats
import tensorflow as tf

import keras_vae as kv

GENERATOR = np.random.default_rng(0)
CLASS = np.arange(48) % 3
X = (GENERATOR.random((48, 6)) < 0.2 + 0.3 * CLASS[:, None]).astype("float32")
LABEL = np.where(np.arange(48) % 4 < 2, CLASS, -1)
DATA = {"x": X, "label": LABEL}
ROWS = {"x": X.repeat(3, axis=0), "label": np.tile(np.arange(3), 48)}
CONDITIONS = {"label": 3}
PRIOR = np.array([0.5, 0.3, 0.2])


def networks(hidden=(8,), conditions=CONDITIONS):
    keras.utils.set_random_seed(0)
    return {
        "encoder": kv.networks.mlp_encoder(list(hidden), conditions=conditions),
        "decoder": kv.networks.mlp_decoder(list(hidden), (6,), conditions=conditions),
        "latent_dim": 2,
        "conditions": conditions,
        "seed": 0,
    }


def classifier(outputs=3):
    return keras.Sequential(
        [keras.layers.Dense(8, "tanh"), keras.layers.Dense(outputs)]
    )


def make(hidden=(8,), **kwargs):
    options = {"class_probs": PRIOR, "classifier": classifier(), "alpha": 1.0}
    options |= kwargs
    vae = kv.SemiSupervisedVAE(**networks(hidden), **options)
    vae.build((None, 6))
    return vae


def conditional_of(vae):
    """The conditional VAE of the same weights."""
    other = kv.VAE(**networks())
    other.build((None, 6))
    for part in ("encoder", "decoder", "latent"):
        getattr(other, part).set_weights(getattr(vae, part).get_weights())
    return other


def parts(vae):
    return [
        np.asarray(v)
        for p in (vae.encoder, vae.decoder, vae.latent.head)
        for v in p.weights
    ]


@pytest.fixture(scope="module")
def vae():
    model = make()
    model.compile(keras.optimizers.Adam(1e-2), jit_compile=False)
    model.fit(DATA, batch_size=16, epochs=2, shuffle=False, verbose=0)
    return model


# === Numbers ===


def test_bounds_are_those_of_every_class_summed_by_hand(vae):
    by_class = conditional_of(vae).elbo(ROWS, num_samples=3, seed=4)
    log_joint = by_class.numpy().reshape(48, 3) + np.log(PRIOR)
    log_q = np.log(vae.classify(X))
    joint = np.take_along_axis(log_joint, np.maximum(LABEL, 0)[:, None], axis=1)[:, 0]
    summed = np.sum(np.exp(log_q) * (log_joint - log_q), axis=1)
    bounds = vae.elbo(DATA, num_samples=3, seed=4)
    np.testing.assert_allclose(bounds, np.where(LABEL < 0, summed, joint), rtol=1e-5)
    # The best q(y|x) is proportional to p(y) exp(ELBO(x, y)).
    best = scipy.special.log_softmax(log_joint, axis=1)
    gap = np.sum(np.exp(log_q) * (log_q - best), axis=1)
    unlabelled = vae.elbo(X, num_samples=3, seed=4)
    log_sum = scipy.special.logsumexp(log_joint, axis=1)
    np.testing.assert_allclose(unlabelled, log_sum - gap, rtol=1e-5)


def expected_terms(vae, data):
    """The terms of the loss of each example, in NumPy from what `call` returns."""
    vae.reset_metrics()
    outputs = vae(data)
    logits = outputs["likelihood"].numpy()[:, 0]
    x = data["x"].repeat(3, axis=0)
    distortion = (np.logaddexp(0, logits) - x * logits).sum(axis=1).reshape(-1, 3)
    mean, stddev = vae.latent.posterior.mean_and_stddev(outputs["posterior"])
    kl = scipy.stats.norm(mean, stddev).entropy()
    kl = 0.5 * (np.square(mean) + np.square(stddev) + np.log(2 * np.pi)) - kl
    log_q = outputs["class_log_probs"].numpy()
    known = data["label"][:, None] == np.arange(3)
    probs = np.where(data["label"][:, None] < 0, np.exp(log_q), known)
    return {
        "distortion": (probs * distortion).sum(axis=1),
        "rate": (probs * kl.sum(axis=1).reshape(-1, 3)).sum(axis=1)
        + (scipy.special.xlogy(probs, probs) - probs * np.log(PRIOR)).sum(axis=1),
        "classification": -(known * log_q).sum(axis=1),
        "right": (known * (log_q == log_q.max(axis=1, keepdims=True))).sum(axis=1),
    }


@pytest.mark.parametrize("weighted", [False, True])
def test_loss_and_logs_of_labelled_beside_unlabelled(vae, weighted):
    weights = GENERATOR.integers(0, 3, 48) if weighted else np.ones(48, int)
    terms = expected_terms(vae, DATA)
    options = {"sample_weight": weights} if weighted else {}
    logs = vae.evaluate(DATA, batch_size=48, verbose=0, return_dict=True, **options)

    def mean(values, weights=weights):
        return np.average(values, weights=weights)

    of_known = weights * (LABEL >= 0)
    expected = {
        "reconstruction_loss": mean(terms["distortion"]),
        "kl_loss": mean(terms["rate"]),
        "negative_elbo": mean(terms["distortion"] + terms["rate"]),
        "loss": mean(terms["distortion"] + terms["rate"] + terms["classification"]),
        "classification_loss": mean(terms["classification"], of_known),
        "accuracy": mean(terms["right"], of_known),
        "alpha": 1.0,
    }
    for name, value in expected.items():
        np.testing.assert_allclose(logs[name], value, rtol=1e-5, err_msg=name)


def test_labelled_examples_move_a_conditional_vae_and_a_classifier():
    vae, labelled = make(alpha=2.5), {"x": X, "label": CLASS}
    vae.compile(keras.optimizers.SGD(0.5), run_eagerly=True)
    alone, net = conditional_of(vae), classifier()
    net.build((None, 6))
    net.set_weights(vae.classifier.get_weights())
    vae.train_on_batch(labelled)
    # Of the same draws those of other classes weigh nothing.
    alone.compile(keras.optimizers.SGD(0.5), run_eagerly=True)
    alone.train_on_batch(ROWS, sample_weight=np.eye(3)[CLASS].ravel())
    for ours, theirs in zip(parts(vae), parts(alone), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-6)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    net.compile(keras.optimizers.SGD(0.5 * 2.5), loss)
    net.train_on_batch(X, CLASS)
    for ours, theirs in zip(vae.classifier.weights, net.weights, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-6)


def test_unlabelled_examples_move_the_classifier_to_the_classes_that_explain_them():
    objective = kv.ELBO(num_samples=200)
    vae, data = make(objective=objective), {"x": X, "label": np.full(48, -1)}
    vae.compile(keras.optimizers.SGD(0.5), run_eagerly=True)
    joint = np.asarray(conditional_of(vae).elbo(ROWS, num_samples=500))
    log_joint = tf.constant(joint.reshape(48, 3) + np.log(PRIOR), tf.float32)
    with tf.GradientTape() as tape:
        log_q = tf.nn.log_softmax(vae.classifier(X))
        loss = tf.reduce_sum(tf.exp(log_q) * (log_q - log_joint), axis=1)
        loss = tf.reduce_mean(loss)
    before = vae.classifier.get_weights()
    gradients = tape.gradient(loss, vae.classifier.trainable_variables)
    vae.train_on_batch(data)
    for old, new, gradient in zip(
        before, vae.classifier.weights, gradients, strict=True
    ):
        np.testing.assert_allclose((old - new) / 0.5, gradient, atol=0.01)


def test_terms_of_two_replicas_are_those_of_the_global_batch(vae, strategy):
    data = {name: value[:7] for name, value in DATA.items()}
    expected = expected_terms(vae, data)
    with strategy.scope():
        model = make()
        model.compile(keras.optimizers.SGD(0.0), jit_compile=False)
        model.set_weights(vae.get_weights())
        model.optimizer.build(model.trainable_variables)

    @tf.function
    def step(shard):
        strategy.run(model.train_step, args=((shard,),))

    def shard(context):
        # The labels are 0, 1, then -1, -1, 1, 2, -1.
        rows = [slice(2), slice(2, 7)][context.replica_id_in_sync_group]
        return {name: tf.constant(value[rows]) for name, value in data.items()}

    step(strategy.experimental_distribute_values_from_function(shard))
    logs = {
        k: float(tf.convert_to_tensor(v)) for k, v in model.get_metrics_result().items()
    }
    known = data["label"] >= 0
    for name, value in {
        "kl_loss": expected["rate"].mean(),
        "classification_loss": expected["classification"][known].mean(),
        "accuracy": expected["right"][known].mean(),
    }.items():
        np.testing.assert_allclose(logs[name], value, rtol=1e-5, err_msg=name)


def test_log_likelihood_of_a_linear_model_is_that_of_a_mixture_of_normals():
    vae = make((), likelihood=kv.distributions.Normal(scale=1.0))
    kernel, bias = vae.decoder.weights
    kernel.assign(GENERATOR.normal(scale=0.4, size=kernel.shape))
    # With q = N(0, I), the prior, few draws do.
    vae.latent.head.kernel.assign(np.zeros(vae.latent.head.kernel.shape))
    w, v = np.split(np.float64(kernel), [2])
    covariance = w.T @ w + np.eye(6)
    log_joint = np.stack(
        [
            scipy.stats.multivariate_normal(v[c] + bias, covariance).logpdf(X)
            + np.log(PRIOR[c])
            for c in range(3)
        ],
        axis=1,
    )
    joint = np.take_along_axis(log_joint, np.maximum(LABEL, 0)[:, None], axis=1)[:, 0]
    exact = np.where(LABEL < 0, scipy.special.logsumexp(log_joint, axis=1), joint)
    ours = vae.log_likelihood(DATA, num_samples=5000, verbose=0)
    np.testing.assert_allclose(ours, exact, atol=0.2)
    np.testing.assert_allclose(ours.mean(), exact.mean(), atol=0.02)
    bounds = vae.elbo(DATA, num_samples=500)
    assert np.all(bounds < exact + 0.1)
    assert exact.mean() - 5 < np.mean(bounds) < exact.mean() - 0.1


# === Use ===


def test_the_most_probable_class_stands_for_an_unknown_one(vae):
    best = np.argmax(vae.classify(X), axis=1)
    assert len(set(best)) > 1
    filled = {"label": np.where(LABEL < 0, best, LABEL)}
    for method in (vae.encode, vae.reconstruct):
        np.testing.assert_array_equal(method(DATA), method(X, filled))
        np.testing.assert_array_equal(method(X), method(X, {"label": best}))
    vae.reset_metrics()
    np.testing.assert_allclose(
        vae.predict(DATA, verbose=0), vae.reconstruct(X, filled), rtol=1e-6
    )
    np.testing.assert_array_equal(vae.given(DATA)["label"], filled["label"])
    estimate = vae.estimate(DATA, X, 1, kv.random.key(0))
    np.testing.assert_array_equal(
        estimate.z, vae.estimate({"x": X, **filled}, X, 1, kv.random.key(0)).z
    )


def test_exported_model_classifies_and_takes_unknown_labels(vae, tmp_path):
    vae.export(tmp_path / "vae", verbose=False)
    loaded = tf.saved_model.load(tmp_path / "vae")
    np.testing.assert_allclose(loaded.classify(x=X), vae.classify(X), rtol=1e-6)
    served = loaded.serve(x=X, label=LABEL)
    np.testing.assert_allclose(served, vae.reconstruct(DATA), rtol=1e-6)
    bounds = loaded.negative_elbo(x=X, label=LABEL, seed=5)
    np.testing.assert_allclose(bounds, -vae.elbo(DATA, seed=5), rtol=1e-5)


def test_other_conditions_may_be_one_value_for_all():
    conditions = {"label": 3, "age": None}
    vae = kv.SemiSupervisedVAE(
        **networks(conditions=conditions), classifier=classifier()
    )
    age = {"age": np.full(48, 0.5)}
    np.testing.assert_array_equal(
        vae.elbo(X, condition={"age": 0.5}), vae.elbo({**DATA, **age, "label": -1})
    )
    np.testing.assert_array_equal(vae.encode(X, {"age": 0.5}), vae.encode(X, age))


def test_linear_start_is_that_of_the_conditional_vae_and_needs_all_labels():
    vae = kv.SemiSupervisedVAE(**networks(), classifier=classifier(), linear_path=True)
    alone, labelled = kv.VAE(**networks(), linear_path=True), {"x": X, "label": CLASS}
    vae.adapt(labelled)
    alone.adapt(labelled)
    for ours, theirs in (
        (vae.decoder.linear.kernel, alone.decoder.linear.kernel),
        (vae.decoder.of_conditions.kernel, alone.decoder.of_conditions.kernel),
    ):
        assert np.any(ours)
        np.testing.assert_array_equal(ours, theirs)
    with pytest.raises(ValueError, match=r"`label` must be labels in \[0, 3\),"):
        vae.adapt(DATA)


ARGUMENTS = {
    "`classifier` must put out a logit for each class": {"classifier": classifier(4)},
    "`classifier` must tell the label": {
        "classifier": kv.networks.mlp_encoder([3], conditions=CONDITIONS)
    },
    "`classifier` must be a `keras.Model`": {"classifier": 3},
    "`class_probs` must be 3 positive numbers": {"class_probs": [0.5, 0.5]},
    "`label` must name the condition": {"label": "age"},
    "`alpha` must be": {"alpha": -1.0},
}


@pytest.mark.parametrize("message", ARGUMENTS)
def test_invalid_arguments(message):
    with pytest.raises(ValueError, match=message):
        make(**ARGUMENTS[message])


def test_methods_that_need_a_class_refuse_an_unknown_one(vae):
    for call in (
        lambda: vae.decode(np.zeros((2, 2)), {"label": -1}),
        lambda: vae.generate(2, condition={"label": [0, -1]}),
    ):
        with pytest.raises(ValueError, match=r"`label` must be labels in \[0, 3\),"):
            call()
    with pytest.raises(ValueError, match="-1 where they are unknown"):
        vae.fit({"x": X, "label": LABEL - 1})

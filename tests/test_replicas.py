"""Training on two replicas is training on the global batch."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from test_coefficient import EVENT
from test_coefficient import MAKERS
from test_coefficient import WEIGHT
from test_coefficient import data
from test_coefficient import flat
from test_coefficient import make

import keras_vae as kv

SHARDS = {
    "16": (8, 8),
    "100": (50, 50),
    "last 5, uneven": (3, 2),
    "last 5, one empty": (5, 0),
}


def reference_gradient(model, latent, shards):
    """Gradient of the mean over the global batch, on one device."""
    vae = isinstance(model, kv.VAE)
    total = sum(len(shard) for shard in shards)
    with tf.GradientTape() as tape:
        loss = 0.0
        for replica, x in enumerate(shards):
            if not len(x):
                continue
            features = (model.encoder if vae else model.layers[1])(x)
            params = latent.infer(features)
            z = latent.sample(params, 1, kv.random.key(3, 0, replica))[:, 0]
            logits = model.decoder(z) if vae else model.layers[4](model.layers[3](z))
            q = latent.posterior.distribution(params).distribution
            kl = 0.5 * (q.loc**2 + q.scale**2 - 1.0) - tf.math.log(q.scale)
            cross_entropy = tf.nn.sigmoid_cross_entropy_with_logits(x, logits)
            loss += tf.reduce_sum(cross_entropy) + WEIGHT * tf.reduce_sum(kl)
        loss /= total
    gradient = tape.gradient(loss, [v.value for v in model.trainable_variables])
    return float(loss), flat(gradient)


def run_step(strategy, model, values):
    """One training step on given shards; returns the logs of the first replica."""

    @tf.function
    def step(value):
        return strategy.run(model.train_step, args=(value,))

    shards = strategy.experimental_distribute_values_from_function(
        lambda context: tf.nest.map_structure(
            tf.constant, values[context.replica_id_in_sync_group]
        )
    )
    step(shards)
    return {
        k: float(tf.convert_to_tensor(v)) for k, v in model.get_metrics_result().items()
    }


def weights_of(model):
    return flat([tf.convert_to_tensor(v).numpy() for v in model.trainable_variables])


@pytest.mark.parametrize("sizes", SHARDS.values(), ids=SHARDS)
@pytest.mark.parametrize("kind", MAKERS)
def test_step_is_that_of_the_global_batch(kind, sizes, strategy):
    x = data(sum(sizes))
    shards = np.split(x, [sizes[0]])
    alone, latent = make(kind)
    loss, gradient = reference_gradient(alone, latent, shards)
    with strategy.scope():
        model, _ = make(kind, optimizer=keras.optimizers.SGD(1.0))
        model.optimizer.build(model.trainable_variables)
    before = weights_of(model)
    logs = run_step(strategy, model, [(shard, shard) for shard in shards])
    np.testing.assert_allclose(
        before - weights_of(model), gradient, rtol=1e-4, atol=1e-6
    )
    assert np.isfinite(list(logs.values())).all()
    if kind == "vae":
        assert logs["loss"] == pytest.approx(loss, rel=1e-6)


def test_sample_weight_divides_by_the_sum_over_replicas(strategy):
    x = data(5)
    weights = np.array([1.0, 0.0, 2.0, 0.0, 0.5], "float32")
    with strategy.scope():
        model, _ = make("vae")
        model.optimizer.build(model.trainable_variables)
    shards = [(x[:3], x[:3], weights[:3]), (x[3:], x[3:], weights[3:])]
    logs = run_step(strategy, model, shards)
    alone, latent = make("vae")
    total = 0.0
    for replica, (part, _, w) in enumerate(shards):
        params = latent.infer(alone.encoder(part))
        z = latent.sample(params, 1, kv.random.key(3, 0, replica))[:, 0]
        likelihood = tf.nn.sigmoid_cross_entropy_with_logits(part, alone.decoder(z))
        total += float(tf.reduce_sum(w * tf.reduce_sum(likelihood, axis=1)))
    expected = total / weights.sum()
    assert logs["reconstruction_loss"] == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("kind", MAKERS)
def test_fit_keeps_copies_equal_and_follows_the_schedule(kind, strategy):
    x = data(21)
    with strategy.scope():
        model, latent = make(kind)
    batches = tf.data.Dataset.from_tensor_slices((x, x)).batch(16)
    history = model.fit(
        batches,
        epochs=2,
        verbose=0,
        shuffle=False,
        callbacks=[kv.KLAnnealing(kv.schedules.linear(3))],
    )
    assert np.isfinite(history.history["loss"]).all()
    assert history.history["kl_weight"] == pytest.approx([1 / 3, 1])
    for variable in model.variables:
        copies = strategy.experimental_local_results(variable.value)
        assert len(copies) == 2
        np.testing.assert_array_equal(copies[0].numpy(), copies[1].numpy())
    count = latent.noise.count
    assert int(strategy.experimental_local_results(count.value)[1]) == 4


def test_layers_that_assign_variables_do_not_mix_the_losses(strategy):
    """Batch normalisation meets the other replica in the middle of the call."""
    x = data(16)
    with strategy.scope():
        model = kv.VAE(
            keras.Sequential(
                [keras.layers.Dense(8), keras.layers.BatchNormalization()]
            ),
            keras.Sequential([keras.layers.Dense(EVENT)]),
            latent_dim=2,
            objective=kv.ELBO(kl_weight=WEIGHT),
            seed=0,
        )
        model.build((None, EVENT))
        model.compile("sgd")
        model.optimizer.build(model.trainable_variables)
    logs = run_step(strategy, model, [(x[:8],), (x[8:],)])
    expected = logs["reconstruction_loss"] + WEIGHT * logs["kl_loss"]
    assert logs["loss"] == pytest.approx(expected, rel=1e-6)


def test_a_multi_rate_model_keeps_copies_equal(strategy):
    x = data(21)
    with strategy.scope():
        model = kv.MultiRateVAE(
            kv.networks.mlp_encoder([4]),
            kv.networks.mlp_decoder([4], (EVENT,)),
            latent_dim=2,
            seed=3,
        )
        model.compile("sgd")
    batches = tf.data.Dataset.from_tensor_slices((x, x)).batch(16)
    history = model.fit(batches, epochs=2, verbose=0, shuffle=False).history
    assert np.isfinite(history["loss"]).all()
    for variable in model.variables:
        copies = strategy.experimental_local_results(variable.value)
        np.testing.assert_array_equal(copies[0].numpy(), copies[1].numpy())


def test_eager_step_on_several_replicas_is_an_error(strategy):

    def step():
        return kv.replicas.sum_over_replicas(tf.constant(1.0))

    with pytest.raises(RuntimeError, match="run_eagerly=False"):
        strategy.run(step)


def test_sum_over_replicas_and_its_gradient(strategy):

    @tf.function
    def step():
        def replica():
            context = tf.distribute.get_replica_context()
            x = tf.cast(context.replica_id_in_sync_group, tf.float32) + 2.0
            with tf.GradientTape() as tape:
                tape.watch(x)
                y = kv.replicas.sum_over_replicas(x) ** 2
            return y, tape.gradient(y, x)

        return strategy.run(replica)

    totals, gradients = step()
    # y = (2 + 3)^2 on both; each of the two y depends on x by 2 (2 + 3).
    assert [float(v) for v in strategy.experimental_local_results(totals)] == [25, 25]
    assert [float(v) for v in strategy.experimental_local_results(gradients)] == [
        20,
        20,
    ]

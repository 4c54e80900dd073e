"""A VAE of TensorFlow Probability's layers on tf_keras."""

import functools

import tensorflow as tf
import tensorflow_probability as tfp
import tf_keras

from benchmarks.contenders import shared

tfd, tfpl = tfp.distributions, tfp.layers


def mlp(data, batch_size=100):
    x = shared.load(data)
    pixels, latents = x.shape[1], shared.LATENTS
    prior = tfd.Independent(tfd.Normal(tf.zeros(latents), tf.ones(latents)), 1)
    dense = tf_keras.layers.Dense
    inputs = tf_keras.Input((pixels,))
    hidden = dense(shared.HIDDEN, "relu")(inputs)
    hidden = dense(shared.HIDDEN, "relu")(hidden)
    params = dense(tfpl.IndependentNormal.params_size(latents))(hidden)
    # A sum over the batch, which its weight makes a mean. As an `activity_regularizer`
    # the divergence would count twice.
    add_divergence = tfpl.KLDivergenceAddLoss(
        prior, use_exact_kl=True, weight=1 / batch_size
    )
    z = add_divergence(tfpl.IndependentNormal(latents)(params))
    hidden = dense(shared.HIDDEN, "relu")(z)
    hidden = dense(shared.HIDDEN, "relu")(hidden)
    likelihood = tfpl.IndependentBernoulli((pixels,), tfd.Bernoulli.logits)
    model = tf_keras.Model(inputs, likelihood(dense(pixels)(hidden)))
    model.set_weights([a for pair in shared.mlp_weights(pixels) for a in pair])
    model.compile(
        tf_keras.optimizers.Adam(shared.LEARNING_RATE),
        loss=lambda x, likelihood: -likelihood.log_prob(x),
    )

    fit = functools.partial(model.fit, x, x, batch_size=batch_size)
    return shared.epochs_of(fit, tf_keras.callbacks.Callback)

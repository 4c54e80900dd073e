"""Weighs rates that need no search: of this library's layers, and of a callable."""

import dataclasses

import numpy as np
import tensorflow as tf

from keras_vae import _keras
from keras_vae.layers.latent_variable import LatentVariable
from keras_vae.models.vae import VAE
from keras_vae.objectives import ELBO
from keras_vae.objectives import BatchMean
from keras_vae.objectives import Estimate
from keras_vae.weighing.auditing.probe import trainable
from keras_vae.weighing.auditing.solve import flat
from keras_vae.weighing.auditing.solve import project
from keras_vae.weighing.auditing.solve import relative
from keras_vae.weighing.auditing.solve import terms


@dataclasses.dataclass
class Solved:
    """A known rate and its coefficient.

    Args:
        latent: `LatentVariable`, or None for the callable.
        coefficient: Float.
        residual: Float, what of the gradient is no multiple of the rate's; infinite
            where the rate is at its minimum and has no gradient.
        terms: List of (`Added`, coefficient in it).
        asked: The weight that the layer was given, or None.
    """

    latent: object
    coefficient: float
    residual: float
    terms: list
    asked: float | None


@dataclasses.dataclass
class _LayerRate:
    latent: object
    params: tf.Tensor
    value: tf.Tensor
    asked: float | None


def layer_rates(model, step):
    """Computes the rates of this library's layers, under the tape of the step.

    Args:
        model: The model.
        step: `Step`.

    Returns:
        List of rates, one for each latent variable and call.
    """
    rates = []
    with step.tape:
        for latent in _keras.sublayers(model, LatentVariable):
            for params, z, prior, objective in _draws(model, latent, step):
                estimate = Estimate(
                    latent.posterior.distribution(params),
                    latent.prior.distribution(prior, latent.posterior),
                    z,
                )
                value = BatchMean(step.batch.size)(objective.rate(estimate))
                plain = type(objective) is ELBO
                # After the step, which moves a scheduled weight before it applies it.
                asked = float(objective.kl_weight.value) if plain else None
                rates.append(_LayerRate(latent, params, value, asked))
    return rates


def _draws(model, latent, step):
    """Yields posterior's params, z (batch, samples, units), prior's and objective."""
    if isinstance(model, VAE) and latent is model.latent:
        outputs = step.trace.results[id(model), 0]
        yield outputs["posterior"], outputs["z"], outputs.get("prior"), model.objective
        return
    outputs = step.trace.outputs
    heads = [seen.tensor for seen in outputs if seen.layer is latent.head]
    heads = [params for params in heads if params.shape[0] == step.batch.size]
    zs = [seen.tensor for seen in outputs if seen.layer is latent]
    for params, z in zip(heads, zs, strict=False):
        prior = latent.prior.params(latent.infer)
        yield params, z[:, None], prior, latent.objective


def solve_layers(step, loss, rates):
    """Solves for the coefficients of all rates at once.

    In a hierarchy the rate of one latent depends on the parameters of another.

    Args:
        step: `Step`.
        loss: The loss, a tensor.
        rates: What `layer_rates` returned.

    Returns:
        List of `Solved`.
    """
    params = [rate.params for rate in rates]
    matrix = np.stack([flat(step.gradient(r.value, params)) for r in rates], axis=1)
    gradient = flat(step.gradient(loss, params))
    coefficients = np.linalg.lstsq(matrix, gradient, rcond=None)[0]
    residual = relative(gradient - matrix @ coefficients, gradient)
    solved = []
    for rate, c in zip(rates, coefficients, strict=True):
        reference = step.gradient(rate.value, rate.params).numpy()
        within = terms(step, [(rate.params, reference, slice(None))])
        rest = residual if np.any(reference) else np.inf
        solved.append(Solved(rate.latent, float(c), rest, within, rate.asked))
    return solved


def solve_callable(model, step, loss, kl):
    """Solves for the coefficient of a KL that is given as a function.

    Args:
        model: The model, on whose trainable weights gradients are compared.
        step: `Step`.
        loss: The loss, a tensor.
        kl: See `audit`.

    Returns:
        A `Solved`.

    Raises:
        ValueError: If `kl` returns another shape or depends on no weight.
    """
    weights = trainable(model)
    with tf.GradientTape() as tape:
        values = kl(step.batch.x)
        if tuple(values.shape) != (step.batch.size,):
            raise ValueError(
                "`kl` must return one number per example, shape (batch,). "
                f"Received: shape={tuple(values.shape)}"
            )
        value = tf.reduce_mean(values)
    zeros = tf.UnconnectedGradients.ZERO
    references = tape.gradient(value, weights, unconnected_gradients=zeros)
    gradients = step.gradient(loss, weights)
    # Where the KL has no say, other terms may.
    pairs = zip(gradients, references, strict=True)
    pairs = [(g, r) for g, r in pairs if np.any(r)]
    if not pairs:
        raise ValueError("`kl` must depend on the trainable weights of `model`.")
    c, residual = project(*map(flat, zip(*pairs, strict=True)))
    return Solved(None, float(c), residual, [], None)

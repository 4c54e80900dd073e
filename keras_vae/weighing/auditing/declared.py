"""Measures KLs that are known: of this library's layers, and of a callable."""

import numpy as np
import tensorflow as tf

from keras_vae.weighing.auditing import solve
from keras_vae.weighing.auditing.probe import trainable
from keras_vae.weighing.auditing.terms import MeasuredKL


def of_layers(audited, step, loss):
    """Solves for the coefficients of the KLs of all latent variables at once.

    In a hierarchy the KL of one latent depends on the parameters of another.

    Args:
        audited: `AuditedModel`.
        step: `Step`.
        loss: The loss, a tensor.

    Returns:
        List of `MeasuredKL`s, one for each latent variable and call.
    """
    with step.tape:
        mean = audited.mean(step)
        draws = [
            (latent, objective, params, mean(objective.rate(estimate)))
            for latent, objective, params, estimate in audited.draws(step)
        ]
    if not draws:
        return []
    params = [draw[2] for draw in draws]
    columns = [solve.flat(step.gradient(rate, params)) for *_, rate in draws]
    matrix = np.stack(columns, axis=1)
    gradient = solve.flat(step.gradient(loss, params))
    coefficients = np.linalg.lstsq(matrix, gradient, rcond=None)[0]
    residual = solve.relative(gradient - matrix @ coefficients, gradient)
    kls = []
    for index, (latent, objective, params, rate) in enumerate(draws):
        reference = step.gradient(rate, params).numpy()
        plain = objective.is_weighted_sum and not objective.is_controlled
        # Read after the step, which moves a scheduled weight before it applies it.
        form, asked = ("layer", objective.weight) if plain else ("objective", None)
        rest = residual if np.any(reference) else np.inf
        terms = solve.weigh_in_added(step, [(params, reference, slice(None))])
        kl = index, latent.name, form, latent.units, float(coefficients[index]), rest
        kls.append(MeasuredKL(*kl, asked=asked, terms=terms))
    return kls


def of_callable(model, step, loss, kl):
    """Solves for the coefficient of a KL that is given as a function.

    Args:
        model: The model. Gradients by its trainable weights are compared.
        step: `Step`.
        loss: The loss, a tensor.
        kl: See `audit`.

    Returns:
        A `MeasuredKL`.

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
    # Other terms may move the weights on which the KL does not depend.
    pairs = zip(step.gradient(loss, weights), references, strict=True)
    pairs = [pair for pair in pairs if np.any(pair[1])]
    if not pairs:
        raise ValueError("`kl` must depend on the trainable weights of `model`.")
    fit = solve.project(*map(solve.flat, zip(*pairs, strict=True)))
    return MeasuredKL("`kl`", "`kl`", "callable", 1, *fit)

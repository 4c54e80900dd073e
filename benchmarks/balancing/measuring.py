"""Trains and measures one method."""

import time

import keras
import numpy as np

import keras_vae as kv

_EVALUATED_AT_ONCE = 500


def build(method, problem):
    """Makes and compiles the network that all rows share, with one method."""
    keras.utils.set_random_seed(problem.seed)
    event_shape = problem.train.shape[1:]
    likelihood = method.likelihood()
    model = method.model(
        kv.networks.mlp_encoder(problem.hidden, event_shape, activation="tanh"),
        method.decoder(
            problem.hidden[::-1],
            likelihood.params_shape(event_shape),
            activation="tanh",
            output_bias=likelihood.initial_bias(problem.train.mean(axis=0)),
        ),
        problem.latent_dim,
        likelihood=likelihood,
        seed=problem.seed,
        **method.parts(problem),
    )
    steps = problem.epochs * -(-len(problem.train) // problem.batch_size)
    rate = keras.optimizers.schedules.CosineDecay(problem.learning_rate, steps)
    model.compile(keras.optimizers.Adam(rate))
    return model


def run(method, problem, progress):
    """Trains and measures one method.

    Args:
        method: `Method`.
        problem: `Problem`.
        progress: `tqdm.tqdm` that counts epochs.

    Returns:
        A dict of numbers, nats per example.
    """
    start = time.perf_counter(), time.process_time()
    progress.set_postfix_str(method.name)
    model = build(method, problem)
    model.fit(
        problem.train,
        batch_size=problem.batch_size,
        epochs=problem.epochs,
        verbose=0,
        callbacks=[*method.callbacks(problem), _Progress(progress)],
    )
    row = _terms(model, problem.test)
    parts = range(0, len(problem.test), _EVALUATED_AT_ONCE)
    means = [model.encode(problem.test[i : i + _EVALUATED_AT_ONCE])[0] for i in parts]
    row["active_units"] = kv.metrics.active_units(np.concatenate(means)).number
    if method.target is not None:
        row["target"] = getattr(problem, f"{method.target}_target")
        # The target is one of the training data.
        row["reached"] = _terms(model, problem.train)[method.target]
    row["nll"] = row["negative_elbo"] - bound_gap(model, problem)
    row["seconds"] = time.perf_counter() - start[0]
    row["processor_seconds"] = time.process_time() - start[1]
    return row


def _terms(model, x):
    logs = model.evaluate(x, batch_size=_EVALUATED_AT_ONCE, verbose=0, return_dict=True)
    return {
        "rate": logs["kl_loss"],
        "distortion": logs["reconstruction_loss"],
        "negative_elbo": logs["negative_elbo"],
    }


def bound_gap(model, problem):
    """Returns how far -ELBO lies above -log p(x), the mean over `nll_images`."""
    objective = kv.ImportanceWeighted(problem.importance_samples, kl=model.objective.kl)
    config = keras.saving.serialize_keras_object(objective)
    # Subclasses have further terms in their loss.
    parts = kv.VAE.get_config(model)
    evaluator = kv.VAE.from_config({**parts, "objective": config})
    evaluator.build((None, *problem.test.shape[1:]))
    for part in ("encoder", "decoder", "latent", "likelihood"):
        getattr(evaluator, part).set_weights(getattr(model, part).get_weights())
    evaluator.compile(jit_compile=True)
    logs = evaluator.evaluate(
        problem.test[: problem.nll_images],
        # A few thousand decoded images at a time are as fast as more.
        batch_size=max(1, 5000 // problem.importance_samples),
        verbose=0,
        return_dict=True,
    )
    return logs["negative_elbo"] - logs["loss"]


class _Progress(keras.callbacks.Callback):
    def __init__(self, progress):
        super().__init__()
        self._progress = progress

    def on_epoch_end(self, epoch, logs=None):
        self._progress.update()

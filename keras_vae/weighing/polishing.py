"""Training of one weight to the end, from the best of several starts."""

import dataclasses
import math

import keras
import numpy as np
import tensorflow as tf

from keras_vae import checks
from keras_vae.arguments import check_count
from keras_vae.arguments import check_number
from keras_vae.conditions import MAIN
from keras_vae.models import VAE

# So many draws of z, over all examples, tell one epoch from another.
_DRAWS = 500
# The same in all evaluations, because the draws of z are numbered by batches.
_AT_ONCE = 100


@dataclasses.dataclass(frozen=True)
class Polished:
    """A model of one weight, and what its last training gained.

    Args:
        model: The `VAE`.
        start: String, the name of the candidate from which it was trained.
        losses: Dict, names of the candidates to their loss on validation data, nats.
        loss: Float, that of the model.
        epochs: Integer, epochs after which it was best; 0 if none was better than the
            start.
    """

    model: VAE
    start: str
    losses: dict
    loss: float
    epochs: int

    @property
    def gain(self):
        """Nats of validation loss that the training gained."""
        return self.losses[self.start] - self.loss


def polish(
    candidates,
    x,
    validation,
    epochs,
    learning_rate=2e-3,
    batch_size=100,
    callbacks=(),
    verbose=0,
    shuffle=True,
):
    """Trains the best of some VAEs of one weight on, and keeps its best epoch.

    One model for all weights is a little behind a VAE of one weight. Some epochs at
    that weight, with a learning rate that falls to 0 by a cosine, close the distance.
    The best candidate and the best epoch are those of the least loss on validation
    data, so the result is never behind any candidate there.

    Args:
        candidates: Dict, names to `VAE`s with equal likelihoods and objectives, such
            as `multi.at(beta)` and a `VAE` after `adapt`. The best one is compiled
            anew and trained in place.
        x: Training data, an array or what `fit` takes that has a length in batches.
        validation: Array (examples, ...), not trained on, or a dict of it as "x" and of
            conditions.
        epochs: Integer, 0 to choose only.
        learning_rate: Float, Adam's at the start.
        batch_size: Integer, of arrays.
        callbacks: Iterable of callbacks for `fit`.
        verbose: As of `fit`.
        shuffle: As of `fit`.

    Returns:
        A `Polished`.

    Raises:
        ValueError: If there is no candidate, or an argument is out of its range.

    Example:
    >>> x, x_test = kv.datasets.digits()
    >>> vae = kv.VAE(
    ...     encoder=kv.networks.mlp_encoder([16]),
    ...     decoder=kv.networks.mlp_decoder([16], (8, 8, 1)),
    ...     latent_dim=4,
    ...     seed=0,
    ... )
    >>> found = kv.weighing.polish({"mine": vae}, x[:500], x_test, epochs=1)
    >>> found.start, found.epochs, found.gain > 0
    ('mine', 1, True)
    """
    check_count("epochs", epochs, 0)
    check_number("learning_rate", learning_rate, positive=True)
    if not candidates:
        raise ValueError("`candidates` must hold a model. Received: none")
    validation = _repeated(validation)
    losses = {}
    for name, vae in candidates.items():
        vae.compile("adam")
        losses[name] = _loss(vae, validation)
    start = min(losses, key=losses.get)
    model, kept = candidates[start], (losses[start], 0)
    if epochs:
        before = model.get_weights()
        is_array = hasattr(x, "shape") or isinstance(x, dict)
        size = len(model.conditions.main(x)) if is_array else len(x) * batch_size
        steps = math.ceil(size / batch_size)
        decay = keras.optimizers.schedules.CosineDecay(learning_rate, epochs * steps)
        model.compile(keras.optimizers.Adam(decay))
        settings = {"batch_size": batch_size if is_array else None, "shuffle": shuffle}
        settings |= {"validation_batch_size": _AT_ONCE, "verbose": verbose}
        settings |= {"validation_data": (validation,), "callbacks": list(callbacks)}
        loss, epoch = _fit_to_best(model, x, epochs, settings)
        if loss < losses[start]:
            kept = loss, epoch
        else:
            model.set_weights(before)
    return Polished(model, start, losses, *kept)


def _repeated(validation):
    """Returns the data so many times that there are `_DRAWS` draws of z."""
    is_dict = isinstance(validation, dict)
    x = checks.check_examples(validation[MAIN] if is_dict else validation, "nan")
    repeats = math.ceil(_DRAWS / len(x))
    whole = {**validation, MAIN: x} if is_dict else x
    return tf.nest.map_structure(lambda v: np.concatenate([v] * repeats), whole)


def _fit_to_best(model, x, epochs, settings):
    """Leaves the model at its best epoch; returns the loss there and its number."""
    best = keras.callbacks.EarlyStopping(
        "val_loss", mode="min", patience=epochs, restore_best_weights=True
    )
    settings["callbacks"].append(best)
    model.fit(x, epochs=epochs, **settings)
    return float(best.best), best.best_epoch + 1


def _loss(vae, x):
    logs = vae.evaluate(x, batch_size=_AT_ONCE, verbose=0, return_dict=True)
    loss = logs["loss"]
    return loss if math.isfinite(loss) else math.inf

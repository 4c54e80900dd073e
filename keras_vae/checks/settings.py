"""Checks of the arguments of a model's `compile`, `fit` and other methods."""

import tensorflow as tf

from keras_vae import random
from keras_vae.arguments import check_count

# The least value of each count of `fit`, `evaluate` and `predict`. With 0 epochs Keras
# trains nothing, as asked; it replaces any other zero with its default.
_LEAST = {
    "batch_size": 1,
    "epochs": 0,
    "initial_epoch": 0,
    "steps": 1,
    "steps_per_epoch": 1,
    "validation_batch_size": 1,
    "validation_steps": 1,
}


def check_compile(loss, loss_weights):
    """Raises ValueError if `compile` got a loss or loss weights."""
    if loss is not None:
        raise ValueError(
            "`loss` must be None: the likelihood is the loss. Choose it with "
            "`VAE(likelihood=...)`, for example 'bernoulli' for binary data. "
            f"Received: loss={loss!r}"
        )
    if loss_weights is not None:
        raise ValueError(
            "`loss_weights` must be None: weigh the KL with "
            "`VAE(objective=keras_vae.ELBO(kl_weight=...))`. "
            f"Received: loss_weights={loss_weights!r}"
        )


def check_fit(validation_split=0.0, class_weight=None, validation_freq=1, **kwargs):
    """Raises ValueError if Keras would misread an argument of `fit`."""
    if class_weight is not None:
        # Keras would take the largest value of each target for its class.
        raise ValueError(
            "`class_weight` must be None, because a VAE knows no classes: pass "
            "`sample_weight`, one weight per example. "
            f"Received: class_weight={class_weight!r}"
        )
    if not 0 <= (validation_split or 0.0) < 1:
        raise ValueError(
            "`validation_split` must be in [0, 1). "
            f"Received: validation_split={validation_split!r}"
        )
    if not isinstance(validation_freq, list | tuple | set | range):
        check_count("validation_freq", validation_freq)
    check_counts(**kwargs)


def check_counts(**kwargs):
    """Raises ValueError if a number of batches, steps or epochs is invalid.

    Args:
        **kwargs: Arguments of `fit`, `evaluate` or `predict`; those that are not counts
            are ignored.
    """
    for name, least in _LEAST.items():
        # Keras replaces None with a default, except for epochs.
        if kwargs.get(name) is not None or name in ("epochs", "initial_epoch"):
            check_count(name, kwargs.get(name, least), least)


def check_seed(seed):
    """Returns a seed: a tensor as it is, an integer checked, for None a drawn one."""
    return seed if tf.is_tensor(seed) else random.check_seed(seed)

"""Which batches the callbacks of a `fit` want to see, and which of them act there."""

import keras

from keras_vae import _keras

BATCH_HOOKS = (
    "on_train_batch_begin",
    "on_train_batch_end",
    "on_batch_begin",
    "on_batch_end",
)
# Their hooks of batches read the logs alone, or do nothing.
_READERS = (
    keras.callbacks.Callback,
    keras.callbacks.LambdaCallback,
    keras.callbacks.ProgbarLogger,
    keras.callbacks.TerminateOnNaN,
)
_COUNTERS = (keras.callbacks.ModelCheckpoint, keras.callbacks.BackupAndRestore)


def watches_batches(callback):
    """Whether a callback may read the model at any batch, so that none may be trained.

    That is each one with a hook of batches of which nothing else is known. A callback
    that has a method `steps_until_action()` says itself after how many further batches
    its hook reads the model next, an integer, or None if it does not in this epoch.

    Args:
        callback: A `keras.callbacks.Callback`.
    """
    # `LambdaCallback` takes its hooks as attributes.
    if any(hook in vars(callback) for hook in BATCH_HOOKS):
        return True
    if hasattr(callback, "steps_until_action"):
        return False
    owners = _owners(callback) - set(_READERS) - set(_COUNTERS)
    if owners == {keras.callbacks.TensorBoard}:
        # Summaries that layers write, the time of a batch, and its trace.
        return (
            callback.update_freq != "epoch"
            or callback.write_steps_per_second
            or _keras.traces_batches(callback)
        )
    return bool(owners)


def steps_until_action(callback):
    """Returns after how many further batches a callback reads or writes the model.

    Args:
        callback: A `keras.callbacks.Callback` that does not watch each batch.

    Returns:
        A positive integer, or None if nothing is due.
    """
    if hasattr(callback, "steps_until_action"):
        return callback.steps_until_action()
    owners = _owners(callback)
    if owners & set(_COUNTERS):
        return _keras.batches_until_save(callback)
    return None


def ends_blocks_at_nan(callback):
    """Whether a block ends after a loss that is not finite, so that a callback can act.

    A callback asks for it by the attribute `ends_blocks_at_nan`.

    Args:
        callback: A `keras.callbacks.Callback`.
    """
    is_keras = isinstance(callback, keras.callbacks.TerminateOnNaN)
    return is_keras or getattr(callback, "ends_blocks_at_nan", False)


def _owners(callback):
    """Returns the classes that define the hooks of batches of a callback."""
    return {
        next(owner for owner in type(callback).__mro__ if hook in vars(owner))
        for hook in BATCH_HOOKS
    }

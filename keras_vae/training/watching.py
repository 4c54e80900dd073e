"""Batches that the callbacks of a `fit` must see, and batches at which they act."""

import keras

from keras_vae import _keras

BATCH_HOOKS = (
    "on_train_batch_begin",
    "on_train_batch_end",
    "on_batch_begin",
    "on_batch_end",
)
# The batch hooks of these classes only read the logs, or do nothing.
_READERS = (
    keras.callbacks.Callback,
    keras.callbacks.LambdaCallback,
    keras.callbacks.ProgbarLogger,
    keras.callbacks.TerminateOnNaN,
)
_COUNTERS = (keras.callbacks.ModelCheckpoint, keras.callbacks.BackupAndRestore)


def watches_batches(callback):
    """Whether a callback may read the model at any batch, which rules out blocks.

    A batch hook of an unknown class may do so. A callback with a method
    `steps_until_action()` announces the number of further batches until its hook reads
    the model: an integer, or None if the hook does not read it in this epoch.

    Args:
        callback: A `keras.callbacks.Callback`.
    """
    # `LambdaCallback` stores its hooks as attributes.
    if any(hook in vars(callback) for hook in BATCH_HOOKS):
        return True
    if hasattr(callback, "steps_until_action"):
        return False
    owners = _owners(callback) - set(_READERS) - set(_COUNTERS)
    if owners == {keras.callbacks.TensorBoard}:
        # Layer summaries, the time of a batch and its trace each need every batch.
        return (
            callback.update_freq != "epoch"
            or callback.write_steps_per_second
            or _keras.traces_batches(callback)
        )
    return bool(owners)


def steps_until_action(callback):
    """Returns the number of batches until a callback reads or writes the model.

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
    """Whether a block ends after a loss that is not finite, so a callback can act.

    A callback requests this with the attribute `ends_blocks_at_nan = True`.

    Args:
        callback: A `keras.callbacks.Callback`.
    """
    is_keras = isinstance(callback, keras.callbacks.TerminateOnNaN)
    return is_keras or getattr(callback, "ends_blocks_at_nan", False)


def _owners(callback):
    """Returns the classes that define a callback's batch hooks."""
    return {
        next(owner for owner in type(callback).__mro__ if hook in vars(owner))
        for hook in BATCH_HOOKS
    }

"""Kinds of data that Keras accepts in addition to arrays and tensors."""

import contextlib
import sys

import numpy as np
import tensorflow as tf

# Number of dense values in a block of sparse data.
_BLOCK = 2**24


def is_sparse(value):
    """Whether `value` is a `tf.SparseTensor` or a matrix of `scipy.sparse`."""
    return isinstance(value, tf.SparseTensor) or _is_of(value, "scipy.sparse")


def is_loader(value):
    """Whether `value` is another library's loader of batches that Keras accepts.

    Such loaders are a `DataLoader` of torch and the data sets of grain.
    """
    yields = hasattr(value, "__iter__") and not hasattr(value, "shape")
    return yields and (_is_of(value, "torch.utils.data") or _is_of(value, "grain"))


def dense(value):
    """Returns a `tf.SparseTensor` as a dense tensor, and all else as it is."""
    if not isinstance(value, tf.SparseTensor):
        return value
    return tf.sparse.to_dense(value)


def as_array(value):
    """Returns a NumPy array, unless `value` is one or a dense tensor already.

    Args:
        value: Array or tensor of any library, data frame, sparse matrix or list.
    """
    if isinstance(value, np.ndarray) or tf.is_tensor(value):
        return dense(value)
    if is_sparse(value):
        return value.toarray()
    if hasattr(value, "detach"):
        # A tensor of torch may be on another device, or have a gradient.
        value = value.detach().cpu()
    return np.asarray(value)


def stored(value):
    """Returns the stored values of an array: all, or the non-zeros of a sparse one."""
    if isinstance(value, tf.SparseTensor):
        return value.values
    return value.tocoo().data if is_sparse(value) else value


def in_order(value):
    """Returns a matrix of `scipy.sparse` as Keras takes it, and all else as it is.

    Keras expects its numbers row by row, each place once.
    """
    if isinstance(value, tf.SparseTensor) or not is_sparse(value):
        return value
    rows = value.tocsr()
    if not rows.has_canonical_format:
        rows = rows.copy()
        rows.sum_duplicates()
    return rows


def blocks(value):
    """Yields an array in dense parts that fit the memory.

    Args:
        value: Array, tensor or sparse matrix of shape (examples, ...).
    """
    if not is_sparse(value) or isinstance(value, tf.SparseTensor):
        yield np.asarray(as_array(value))
        return
    size, width = value.shape
    rows, step = value.tocsr(), max(1, _BLOCK // max(width, 1))
    for start in range(0, size, step):
        yield rows[start : start + step].toarray()


def first_batch(loader):
    """Returns the first batch of a loader and leaves its random generators unchanged.

    Args:
        loader: Iterable, see `is_loader`.

    Raises:
        StopIteration: If the loader has no batch.
    """
    torch = sys.modules.get("torch")
    with contextlib.ExitStack() as stack:
        if torch is not None:
            stack.enter_context(torch.random.fork_rng(devices=[]))
        generator = getattr(loader, "generator", None)
        state = generator.get_state() if generator is not None else None
        batch = next(iter(loader))
        if state is not None:
            generator.set_state(state)
    return batch


def _is_of(value, package):
    modules = [kind.__module__ for kind in type(value).__mro__]
    return any(f"{module}.".startswith(f"{package}.") for module in modules)

"""Files that appear complete or not at all."""

import contextlib
import os

import tensorflow as tf


@contextlib.contextmanager
def replaced(path):
    """Yields the path of a new file that replaces `path` once it is complete.

    If the program is killed before that, the old file stays unchanged.

    Args:
        path: `pathlib.Path`, or string, which may name an object in an object store.

    Yields:
        The path to write to, in the same directory, of the type of `path`.

    Raises:
        OSError: If the file cannot be written; its `filename` is set.

    Example:
    >>> import pathlib, tempfile
    >>> with tempfile.TemporaryDirectory() as directory:
    ...     path = pathlib.Path(directory, "notes.txt")
    ...     with kv.files.replaced(path) as partial:
    ...         _ = partial.write_text("complete")
    ...     path.read_text()
    'complete'
    """
    directory, name = os.path.split(os.fspath(path))
    # A prefix, because Keras checks the suffix of the name.
    partial = os.path.join(directory, f".partial-{name}")
    try:
        yield type(path)(partial)
        tf.io.gfile.rename(partial, os.fspath(path), overwrite=True)
    except OSError as error:
        # Errors during a write do not carry the name of the file.
        if error.errno is not None and error.filename is None:
            error.filename = os.fspath(path)
        raise
    finally:
        if tf.io.gfile.exists(partial):
            tf.io.gfile.remove(partial)

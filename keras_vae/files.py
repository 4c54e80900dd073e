"""Files that appear complete or not at all."""

import contextlib
import os

import tensorflow as tf


@contextlib.contextmanager
def replaced(path):
    """Gives the path of a new file that takes the place of `path` once complete.

    A program that is killed meanwhile leaves the file as it was.

    Args:
        path: `pathlib.Path`, or string, which may be that of an object store.

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
    # In front, because Keras looks at the end of the name.
    partial = os.path.join(directory, f".partial-{name}")
    try:
        yield type(path)(partial)
        tf.io.gfile.rename(partial, os.fspath(path), overwrite=True)
    except OSError as error:
        # What fails in the midst of a file does not know its name.
        if error.errno is not None and error.filename is None:
            error.filename = os.fspath(path)
        raise
    finally:
        if tf.io.gfile.exists(partial):
            tf.io.gfile.remove(partial)

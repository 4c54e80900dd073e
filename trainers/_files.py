"""Files of a run: written whole or not at all, and named where that fails."""

import contextlib
import errno
import json
import os
import re
import zipfile

_WRITABLE = "Make it writable, or choose another --run_dir."
_SPACE = (
    "Free space there, then continue with the same command and --resume, or choose "
    "another --run_dir."
)
_FAULTS = {
    errno.ENOSPC: ("the disk is full", _SPACE),
    errno.EDQUOT: ("the quota of the disk is used up", _SPACE),
    errno.EFBIG: ("files may not become so large here", _SPACE),
    errno.EROFS: ("the file system is read-only", _WRITABLE),
    errno.EACCES: ("there is no permission", _WRITABLE),
    errno.EPERM: ("there is no permission", _WRITABLE),
    errno.EIO: ("the device fails", "Choose another --run_dir."),
}


class FileError(Exception):
    """A file of a run that cannot be read, with what to do about it."""


@contextlib.contextmanager
def replaced(path):
    """Gives the path of a new file that takes the place of `path` once complete.

    Args:
        path: `pathlib.Path`.
    """
    # In front, because Keras looks at the end of the name.
    partial = path.with_name(f".partial-{path.name}")
    try:
        yield partial
        os.replace(partial, path)
    except OSError as error:
        # What fails in the midst of a file does not know its name.
        if error.errno is not None and error.filename is None:
            error.filename = str(path)
        raise
    finally:
        partial.unlink(missing_ok=True)


def read_json(path, kind, remedy):
    """Reads a JSON file.

    Args:
        path: `pathlib.Path`.
        kind: Type of the content, `dict` or `list`.
        remedy: String, a sentence: what to do where it cannot be read.

    Returns:
        The content, or None if there is no such file.

    Raises:
        FileError: If it cannot be read.
    """
    if not path.is_file():
        return None
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise _unreadable(path, error, remedy) from error
    if not isinstance(content, kind) or not content:
        found = f"it holds {json.dumps(content)[:40]}"
        raise _unreadable(path, found, remedy)
    return content


def read_flags(run_dir):
    """Reads the flags with which a run was begun.

    Args:
        run_dir: `pathlib.Path`.

    Returns:
        Dict of names to values, or None where there is no run.

    Raises:
        FileError: If they cannot be read.
    """
    remedy = "Choose another --name: it holds the flags of the run."
    return read_json(run_dir / "config.json", dict, remedy)


def check_model(path, remedy):
    """Checks that the file of a model, if there is one, is complete.

    Args:
        path: `pathlib.Path` of a `.keras` file.
        remedy: String, a sentence: what to do where it is not.

    Raises:
        FileError: If it is not.
    """
    if path.is_file() and not is_model(path):
        raise _unreadable(path, "it is incomplete or no model", remedy)


def is_model(path):
    """Returns whether a file is a complete `.keras` archive."""
    try:
        with zipfile.ZipFile(path) as archive:
            return archive.testzip() is None
    except (OSError, ValueError, NotImplementedError, zipfile.BadZipFile):
        return False


def _unreadable(path, reason, remedy):
    reason = " ".join(str(reason).split())
    return FileError(f"{path} cannot be read: {reason}. {remedy}")


def in_one_line(error, directory):
    """Says which file could not be written, why, and what to do.

    Args:
        error: Exception of Python, h5py or TensorFlow.
        directory: String, the directory of the run, named where the file is unknown.

    Returns:
        String, or None if the error is of another kind.
    """
    text = str(error)
    code = getattr(error, "errno", None)
    if code not in _FAULTS:
        # h5py and TensorFlow put the cause into words.
        codes = [c for c in _FAULTS if os.strerror(c).lower() in text.lower()]
        code = codes[0] if codes else None
    if code is None:
        return None
    path = getattr(error, "filename2", None) or getattr(error, "filename", None)
    if path is None:
        found = re.search(r"(/[^\s;:,'\"]+)", text)
        path = found[1] if found else directory
    reason, remedy = _FAULTS[code]
    return f"{path} cannot be written: {reason}. {remedy}"

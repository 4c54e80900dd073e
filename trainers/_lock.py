"""One program at a time in the directory of a run."""

import contextlib
import os

from trainers import _settings

try:
    import fcntl
except ImportError:  # Not on Windows, where nothing is locked.
    fcntl = None

NAME = ".lock"


@contextlib.contextmanager
def held(directory):
    """Holds the lock of a directory, which must exist, and removes it at any exit.

    The operating system holds it, so that it ends with the process, however that ends;
    the file itself says which process it is.

    Args:
        directory: `pathlib.Path`.

    Yields:
        String, the process that died and left its lock behind, or None.

    Raises:
        _settings.FlagError: If another process holds it.
    """
    path = directory / NAME
    with _locked(path, "a+") as file:
        file.seek(0)
        before = file.read().strip()
        file.truncate(0)
        file.write(f"{os.getpid()}\n")
        file.flush()
        try:
            yield before or None
        finally:
            # Before it is let go, or it could be another process's by now.
            path.unlink(missing_ok=True)


def check_free(directory):
    """Checks that no process holds the lock of a directory; nothing is written.

    Args:
        directory: `pathlib.Path`.

    Raises:
        _settings.FlagError: If one does.
    """
    with contextlib.suppress(FileNotFoundError, NotADirectoryError, PermissionError):
        _locked(directory / NAME, "r").close()


def _locked(path, mode):
    """Opens and locks a file."""
    while True:
        file = open(path, mode, encoding="utf-8")
        try:
            if fcntl is not None:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            file.seek(0)
            process = file.read().strip()
            file.close()
            raise _settings.FlagError(
                f"`--run_dir` must not be in use. Received: {path.parent}, in which "
                f"process {process or '(of unknown id)'} runs. Wait for that, stop it, "
                "or choose another --name."
            ) from error
        except OSError:
            return file  # Of a file system without locks.
        # Who held it may have removed it since it was opened here.
        with contextlib.suppress(FileNotFoundError):
            if os.path.samestat(os.fstat(file.fileno()), os.stat(path)):
                return file
        file.close()

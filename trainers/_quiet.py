"""TensorFlow's import without the lines with which it greets."""

import contextlib
import importlib
import os
import re
import sys
import tempfile

_LEVEL = "TF_CPP_MIN_LOG_LEVEL"
# What the level leaves out once TensorFlow has read it: I, W and E, no fatal errors.
_GREETING = re.compile(
    rb"WARNING: All log messages before absl::InitializeLog\(\)|[IWE]\d{4} \d\d:\d\d:"
)


def import_tensorflow():
    """Imports TensorFlow; shows none of its messages unless a level is set for them.

    The level is read from the environment on import, and on a machine without a GPU the
    missing driver would be reported as an error. Before it has read the level,
    TensorFlow writes some lines past Python, which are taken out of standard error.
    """
    level = os.environ.setdefault(_LEVEL, "3")
    if "tensorflow" in sys.modules:
        return
    with without_greetings() if level == "3" else contextlib.nullcontext():
        importlib.import_module("tensorflow")


@contextlib.contextmanager
def without_greetings():
    """Holds back what native code writes to standard error; all of it after an error.

    A file and no pipe: nothing has to read it meanwhile.
    """
    try:
        kept = os.dup(2)
    except OSError:
        # There is no standard error.
        yield
        return
    greeted = False
    with tempfile.TemporaryFile() as held:
        os.dup2(held.fileno(), 2)
        try:
            yield
            greeted = True
        finally:
            if sys.stderr is not None:
                sys.stderr.flush()
            os.dup2(kept, 2)
            os.close(kept)
            held.seek(0)
            for line in held:
                if not (greeted and _GREETING.match(line)):
                    os.write(2, line)

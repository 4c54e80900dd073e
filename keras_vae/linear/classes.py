"""Principal components of classes."""

import dataclasses

import numpy as np

from keras_vae.arguments import check_count
from keras_vae.linear.components import Components
from keras_vae.linear.components import check_sizes
from keras_vae.linear.moments import largest

# Classes that are rarer overstate the gain of a unit.
_SMALLEST_SHARE = 0.1
# Of the largest eigenvalue: directions in which class ids hardly vary tell nothing.
_SMALLEST_VARIANCE = 1e-6


@dataclasses.dataclass(frozen=True)
class ClassComponents(Components):
    """Components of what class ids tell linearly of the classes.

    Args:
        shares: (size, num_classes) array, the share of each class of each element.
        of_ids: (size, latent_dim) array that maps class ids to coordinates.
    """

    shares: np.ndarray
    of_ids: np.ndarray

    @property
    def directions(self):
        """See `Components.directions`."""
        return self.of_ids


def class_components(x, latent_dim, likelihood):
    """Finds the principal components of classes, as far as class ids tell them.

    The working residuals of class k of element i are `y_ik = (1[x_i = k] - p_ik) /
    sqrt(p_ik)`, whose squares add up to Pearson's chi-square. The encoder sees the ids
    alone, so that the linear VAE codes the part of y that is linear in them,
    `C_yx C_xx^-1 (x - mean)`: all of two classes, and most of ordered ones. Independent
    elements leave unit variance in each direction of y.

    Args:
        x: `Batches` of class ids, read once.
        latent_dim: Integer.
        likelihood: `Categorical`.

    Returns:
        `ClassComponents`.

    Raises:
        ValueError: If x holds anything but class ids, or too few examples or elements.
    """
    count, shares, with_ids = _moments(x, likelihood)
    classes, size = shares.shape
    number = check_sizes(check_count("latent_dim", latent_dim), count, size)
    ids = np.arange(classes)
    of_ids = np.tensordot(ids, with_ids, 1)
    variance = np.maximum(shares, _SMALLEST_SHARE).T.ravel()
    of_y = with_ids.transpose(1, 0, 2).reshape(-1, size) / np.sqrt(variance)[:, None]
    values, vectors = np.linalg.eigh(of_ids)
    known = values > _SMALLEST_VARIANCE * values[-1]
    if not known.any():
        raise ValueError("`x` must vary. Received: examples that are all equal")
    whitened = vectors[:, known] / np.sqrt(values[known])
    explained = of_y @ whitened
    number = min(number, explained.shape[1])
    found, rotation = largest(explained.T @ explained, number)
    # A direction of no eigenvalue gets no vector.
    roots = np.sqrt(np.maximum(found, 1e-12 * found[0]))
    eigenvalues = np.full(latent_dim, 1e-9 * found[0])
    eigenvalues[:number] = np.maximum(found, eigenvalues[:number])
    columns = np.zeros((len(of_y), latent_dim))
    columns[:, :number] = explained @ rotation / roots
    directions = np.zeros((size, latent_dim))
    directions[:, :number] = whitened @ rotation * roots
    return ClassComponents(
        ids @ shares,
        variance,
        eigenvalues,
        columns,
        float(np.square(explained).sum()),
        shares.T,
        directions,
    )


def _moments(x, likelihood):
    """Returns examples, shares of classes and their covariances with the ids.

    The arrays are (num_classes, size) and (num_classes, size, size).
    """
    size, classes = int(np.prod(x.example_shape)), likelihood.num_classes
    count, counts, products = 0, np.zeros((classes, size)), 0.0
    for batch in x:
        likelihood.check_data(batch)
        ids = np.float64(batch.reshape(len(batch), size))
        ones = [np.float64(ids == k) for k in range(classes)]
        count += len(ids)
        counts += [one.sum(axis=0) for one in ones]
        products = products + np.stack([one.T @ ids for one in ones])
    count = max(count, 1)
    shares = counts / count
    means = np.arange(classes) @ shares
    return count, shares, products / count - shares[:, :, None] * means

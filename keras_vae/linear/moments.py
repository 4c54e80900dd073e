"""Mean and covariance of data that are read in batches, and its eigenvectors."""

import dataclasses
import math
import warnings

import numpy as np

from keras_vae.checks import Batches

# A covariance of so many elements, or so many examples, costs seconds and 32 MiB.
FEW = 2048
# Numbers of float64 in a temporary array.
_BLOCK = 2**22
# Of the block eigensolver: it has converged by then, or its eigenvalues are nearly
# equal, so that any of their directions will do.
_ITERATIONS = 8
_MARGIN = 64


@dataclasses.dataclass(frozen=True)
class Moments:
    """Mean and covariance of data.

    Args:
        count: Integer, examples.
        mean: (size,) array.
        variance: (size,) array.
        covariance: (size, size) array, divided by count, or None if the elements are
            more than 2048 or than the examples.
        rows: (rows, size) array, the first examples: all of them, or the first 2048, or
            None if the covariance is known.
        batches: `Batches` of the data.
    """

    count: int
    mean: np.ndarray
    variance: np.ndarray
    covariance: np.ndarray | None
    rows: np.ndarray | None
    batches: Batches

    @classmethod
    def of(cls, x, steps=None):
        """Reads data, unless they are `Moments` already.

        Args:
            x: See `Batches`.
            steps: See `Batches`.
        """
        if isinstance(x, cls):
            return x
        sums = _Sums()
        batches = Batches.of(x, steps)
        for batch in batches:
            if len(batch):
                sums.add(batch.reshape(len(batch), -1))
        return cls(*sums.moments(math.prod(batches.example_shape)), batches)

    @property
    def size(self):
        """Number of elements of x."""
        return len(self.mean)

    def equal_rows(self):
        """Returns few examples that have this mean and this covariance."""
        if self.covariance is None:
            return np.asarray(self.rows, np.float64)
        values, vectors = np.linalg.eigh(self.covariance)
        root = np.sqrt(np.maximum(values, 0.0) * self.size)[:, None] * vectors.T
        return self.mean + np.concatenate([root, -root])

    def largest(self, number, variance):
        """Finds eigenvalues of the covariance of `y = (x - mean) / sqrt(variance)`.

        They are exact if elements or examples are at most 2048. Otherwise those of the
        first 1024 examples are the start of a block eigensolver (Knyazev 2001), each
        step of which reads the data once.

        Args:
            number: Integer, less than the examples and the elements.
            variance: (size,) array.

        Returns:
            (number,) array, falling, and (size, number) array of orthonormal columns.
            The largest number of each column is positive.

        Raises:
            ValueError: If the data must be read again but cannot be.
        """
        scale = np.sqrt(variance)
        if self.covariance is not None:
            values, vectors = largest(self.covariance / np.outer(scale, scale), number)
        elif len(self.rows) == self.count:
            values, vectors = _of_rows(self.rows, self.mean, scale, number)
        else:
            values, vectors = self._of_passes(number, scale)
        places = np.abs(vectors).argmax(axis=0)
        return values, vectors * np.sign(vectors[places, np.arange(number)])

    def _of_passes(self, number, scale):
        # Slow to import.
        from scipy.sparse import linalg

        if not self.batches.can_be_read_again:
            raise ValueError(
                f"`x` must be data that can be read several times if it has more than "
                f"{FEW} elements and examples: pass an array, a `tf.data.Dataset` or a "
                "`keras.utils.PyDataset`, or fewer `steps`. Received: an iterator over "
                f"{self.count} examples of {self.size} elements"
            )
        block = max(number, min(2 * number, number + _MARGIN, (self.size - 1) // 5))
        first = self.rows[: max(FEW // 2, 2 * block)]
        values, start = _of_rows(first, self.mean, scale, block)
        covariance = linalg.LinearOperator(
            (self.size, self.size),
            matvec=lambda q: self._product(q.reshape(-1, 1), scale)[:, 0],
            matmat=lambda q: self._product(q, scale),
            dtype=np.float64,
        )
        with warnings.catch_warnings():
            # It need not converge where eigenvalues are nearly equal.
            warnings.simplefilter("ignore", UserWarning)
            values, vectors = linalg.lobpcg(
                covariance,
                start,
                maxiter=_ITERATIONS,
                tol=1e-3 * values[number - 1],
            )
        order = np.argsort(-values)[:number]
        return values[order], vectors[:, order]

    def _product(self, q, scale):
        """Returns the covariance of y times q; reads the data once."""
        total, count = np.zeros(q.shape), 0
        for batch in self.batches:
            x = batch.reshape(len(batch), -1)
            kind = np.result_type(x.dtype, np.float32)
            y = (x - self.mean.astype(kind)) / scale.astype(kind)
            total += y.T @ (y @ q.astype(kind))
            count += len(x)
        return total / count


class _Sums:
    """Sums over examples, relative to the first: equal examples have no variance."""

    def __init__(self):
        self.count = 0
        self.scatter = None
        self.rows = []

    def add(self, x):
        """Adds examples (examples, size)."""
        if not self.count:
            self.origin = np.float64(x[0])
            self.sums, self.squares = np.zeros((2, x.shape[1]))
            self.few = min(x.shape[1], FEW)
        y = x - self.origin
        self.sums += y.sum(axis=0)
        self.squares += np.einsum("ni,ni->i", y, y)
        held, self.count = self.count, self.count + len(x)
        if self.scatter is not None:
            self.scatter += y.T @ y
            return
        if held <= self.few:
            self.rows.append(x)
        if self.count > self.few == x.shape[1]:
            self.scatter = sum(r.T @ r for r in (x - self.origin for x in self.rows))
            self.rows = []

    def moments(self, size):
        """Returns the first fields of `Moments`."""
        if not self.count:
            return 0, np.zeros(size), np.zeros(size), None, np.zeros((0, size))
        shift = self.sums / self.count
        variance = np.maximum(self.squares / self.count - np.square(shift), 0.0)
        mean = self.origin + shift
        if self.scatter is not None:
            covariance = self.scatter / self.count - np.outer(shift, shift)
            return self.count, mean, variance, covariance, None
        rows = self.rows[0] if len(self.rows) == 1 else np.concatenate(self.rows)
        if self.count > self.few:
            rows = rows[: self.few]
        return self.count, mean, variance, None, rows


def _of_rows(rows, mean, scale, number):
    """Finds eigenvalues of the covariance of rows by that of their products."""
    size = rows.shape[1]
    step = max(1, _BLOCK // len(rows))
    parts = [slice(start, start + step) for start in range(0, size, step)]

    def residuals(part):
        return (rows[:, part] - mean[part]) / scale[part]

    products = sum(y @ y.T for y in map(residuals, parts)) / len(rows)
    values, weights = largest(products, number)
    vectors = np.concatenate([residuals(part).T @ weights for part in parts])
    # Directions without variance would not be orthogonal.
    return values, np.linalg.qr(vectors)[0]


def largest(matrix, number):
    """Finds the largest eigenvalues of a symmetric matrix and their eigenvectors.

    Args:
        matrix: (size, size) array.
        number: Integer.

    Returns:
        (number,) array, falling, and (size, number) array.
    """
    # Slow to import, and not needed for training.
    import scipy.linalg

    size = len(matrix)
    values, vectors = scipy.linalg.eigh(
        matrix, subset_by_index=[size - number, size - 1]
    )
    return values[::-1], vectors[:, ::-1]

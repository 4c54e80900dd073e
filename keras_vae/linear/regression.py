"""Linear regression of data on conditions."""

import dataclasses

import numpy as np


@dataclasses.dataclass(frozen=True)
class Regression:
    """Least squares of x on conditions c: `E[x|c] = E[x] + (c - mean) slopes`.

    Args:
        mean: (conditions,) array, the mean of c.
        slopes: (conditions, size) array, the shortest ones if c are dependent, as
            one-hot vectors are.
    """

    mean: np.ndarray
    slopes: np.ndarray

    @classmethod
    def of(cls, pairs):
        """Reads data once.

        Args:
            pairs: Iterable of arrays x (batch, ...) and c (batch, conditions).

        Example:
        >>> c = np.array([[0.0], [1.0], [2.0]])
        >>> kv.linear.Regression.of([(3 * c + 1, c)]).slopes.round(6)
        array([[3.]])
        """
        count, origin = 0, None
        for x, c in pairs:
            # Relative to the first example, as its moments are.
            rows = np.concatenate([c, x.reshape(len(x), -1)], axis=1, dtype=np.float64)
            if origin is None:
                origin, size = rows[0].copy(), c.shape[1]
                sums, products = np.zeros(len(origin)), np.zeros((size, len(origin)))
            rows -= origin
            sums += rows.sum(axis=0)
            products += rows[:, :size].T @ rows
            count += len(rows)
        mean = sums / count
        covariance = products / count - np.outer(mean[:size], mean)
        slopes = np.linalg.pinv(covariance[:, :size], hermitian=True)
        return cls(origin[:size] + mean[:size], slopes @ covariance[:, size:])

    def without(self, x, c):
        """Returns x, (batch, size), less what c tell of its distance from the mean."""
        flat = x.reshape(len(x), -1)
        return flat - ((c - self.mean) @ self.slopes).astype(flat.dtype)

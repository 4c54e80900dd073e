"""The difference of two curves."""

import dataclasses

import numpy as np

from keras_vae.weighing.curve import quantities
from keras_vae.weighing.curve.interpolation import Interpolation


@dataclasses.dataclass(frozen=True)
class Comparison:
    """How much more one curve costs than another at equal weights.

    Args:
        beta: (points,) array.
        excess: (points,) array, the difference of distortion + beta rate, nats. It is
            positive if the first curve is worse.
        error: (points, 2) array, the 95% interval of `excess`, or None if it is not
            known.
    """

    beta: np.ndarray
    excess: np.ndarray
    error: np.ndarray | None

    def table(self):
        """The excess at each weight as text."""
        rows = [["beta", "excess (nats)"]]
        for i, (beta, excess) in enumerate(zip(self.beta, self.excess, strict=True)):
            bounds = None if self.error is None else self.error[i]
            rows.append([f"{beta:.4g}", quantities.with_error(excess, bounds)])
        return quantities.aligned(rows)

    def __str__(self):
        """The table."""
        return self.table()


def compare(curve, other):
    """See `RateDistortionCurve.compare`."""
    inside = (other.beta >= curve.beta[0]) & (other.beta <= curve.beta[-1])
    if not inside.any():
        raise ValueError(
            "`other` must have weights in the range of this curve, "
            f"[{curve.beta[0]:.4g}, {curve.beta[-1]:.4g}]. "
            f"Received: other.beta={other.beta.tolist()}"
        )
    betas = other.beta[inside]
    ours, theirs = (
        Interpolation(one.beta, one.rate, one.distortion).losses(betas)
        for one in (curve, other)
    )
    return Comparison(betas, ours - theirs, _error(curve, other, betas))


def _error(curve, other, betas):
    """Returns the interval if both curves resample the same examples, else None."""
    if None in (curve.replicates, other.replicates):
        return None
    if curve.num_examples != other.num_examples:
        return None
    ours, theirs = (
        Interpolation(
            one.beta, one.replicates["rate"], one.replicates["distortion"]
        ).losses(betas)
        for one in (curve, other)
    )
    return quantities.interval(ours - theirs) if ours.shape == theirs.shape else None

"""Rate and distortion between the weights at which they were measured."""

import dataclasses
import numbers

import numpy as np


@dataclasses.dataclass(frozen=True)
class Point:
    """A point of the curve.

    Args:
        beta: Float, weight of the KL.
        rate: Float, E KL(q(z|x) || p(z)), nats.
        distortion: Float, -E log p(x|z), nats.
    """

    beta: float
    rate: float
    distortion: float

    @property
    def negative_elbo(self):
        """Rate + distortion, nats."""
        return self.rate + self.distortion

    @property
    def loss(self):
        """The loss of training at `beta`, distortion + beta rate, nats."""
        return self.distortion + self.beta * self.rate


class Interpolation:
    """Interpolates rates and distortions as `RateDistortionCurve` says.

    Args:
        beta: (points,) array, rising.
        rate: (..., points) array, nats; (points,) for `crossings` and `knee`.
        distortion: Array of the same shape, nats.
    """

    def __init__(self, beta, rate, distortion):
        self.beta, self.rate, self.distortion = beta, rate, distortion

    def at(self, betas):
        """Returns rates and distortions (..., betas) at weights in range."""
        last = len(self.beta) - 1
        i = np.clip(np.searchsorted(self.beta, betas) - 1, 0, max(last - 1, 0))
        j = np.minimum(i + 1, last)
        low, high = self.beta[i], self.beta[j]
        # A single point is both ends.
        logarithmic = np.log(betas / low) / np.where(i == j, 1.0, np.log(high / low))
        linear = (betas - low) / np.where(i == j, 1.0, high - low)
        return [
            (1 - share) * heights[..., i] + share * heights[..., j]
            for heights, share in ((self.rate, logarithmic), (self.distortion, linear))
        ]

    def losses(self, betas):
        """Returns distortion + beta rate (..., betas), nats."""
        rate, distortion = self.at(betas)
        return distortion + betas * rate

    def crossings(self, name, target):
        """Returns the weights at which "rate" or "distortion" has a value.

        Raises:
            ValueError: If no weight has that value.
        """
        places = np.log(self.beta) if name == "rate" else self.beta
        heights = getattr(self, name)
        self._check_several(f"a target {name}")
        low, high = heights.min(), heights.max()
        if not isinstance(target, numbers.Real) or not low <= target <= high:
            raise ValueError(
                f"`target` must be a {name} in [{low:.4g}, {high:.4g}] nats, which the "
                f"curve reaches at betas in [{self.beta[0]:.4g}, {self.beta[-1]:.4g}]: "
                f"measure more betas for others. Received: target={target!r}"
            )
        found = []
        for i, (first, second) in enumerate(
            zip(heights[:-1], heights[1:], strict=True)
        ):
            if min(first, second) <= target <= max(first, second):
                share = 0.0 if first == second else (target - first) / (second - first)
                place = places[i] + share * (places[i + 1] - places[i])
                beta = np.exp(place) if name == "rate" else place
                found.append(float(np.clip(beta, self.beta[i], self.beta[i + 1])))
        return found

    def of_rate(self, rate):
        """Returns the weight of a rate in nats; of several, the least distortion."""
        betas = np.array(self.crossings("rate", rate))
        return float(betas[np.argmin(self.at(betas)[1])])

    def of_distortion(self, distortion):
        """Returns the weight of a distortion in nats; of several, the least rate."""
        betas = np.array(self.crossings("distortion", distortion))
        return float(betas[np.argmin(self.at(betas)[0])])

    def knee(self):
        """Returns the weight of the knee; see `RateDistortionCurve.knee`.

        Raises:
            ValueError: If the rate does not fall.
        """
        self._check_several("a knee")
        betas = np.geomspace(self.beta[0], self.beta[-1], 40 * len(self.beta) + 1)
        betas = np.clip(betas, self.beta[0], self.beta[-1])
        rate, distortion = self.at(betas)
        if not rate[0] > rate[-1]:
            raise ValueError(
                "A knee needs a rate that falls as beta grows. Received: rates from "
                f"{rate[0]:.4g} to {rate[-1]:.4g} nats"
            )
        slope = (distortion[-1] - distortion[0]) / (rate[0] - rate[-1])
        return float(betas[np.argmin(distortion + slope * rate)])

    def _check_several(self, what):
        if len(self.beta) < 2:
            raise ValueError(
                f"`betas` must hold two weights or more for {what}. "
                f"Received: beta={self.beta.tolist()}"
            )

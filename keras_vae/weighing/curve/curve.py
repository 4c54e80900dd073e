"""The rate-distortion curve: measured values at each weight, and its methods."""

import numbers

import numpy as np

from keras_vae import figures
from keras_vae.weighing.curve import comparison
from keras_vae.weighing.curve import quantities
from keras_vae.weighing.curve import recommendation
from keras_vae.weighing.curve import table
from keras_vae.weighing.curve.interpolation import Interpolation
from keras_vae.weighing.curve.interpolation import Point
from keras_vae.weighing.curve.reading import Reading


class RateDistortionCurve:
    """Rate and distortion of a family of models over the weight of the KL.

    Between two weights the rate is taken as linear in log beta and the distortion as
    linear in beta. The two agree with each other, since the slope of an optimal curve
    is `d distortion / d rate = -beta`, and are exact for a linear VAE between the
    weights at which a unit collapses.

    Args:
        beta: (points,) array of positive floats, in any order.
        values: Dict, "rate" and "distortion" to (points,) arrays in nats, and perhaps
            "negative_log_likelihood" and "gap", KL(q(z) || p(z)), in nats;
            "squared_error", the mean over numbers of the squared error of the means of
            p(x|z); and "sample_distance", the energy distance of generated events and
            data, in units of x. NaN where one could not be measured.
        active_units: (points,) array of integers.
        latent_dim: Integer.
        num_examples: Integer, on how many examples it was measured.
        replicates: Dict, the names in `values` to (resamples, points) arrays: the same
            on examples drawn anew; or None.
        intervals: Dict, names to (points, 2) arrays, 95% intervals where there are no
            replicates; or None.
        meaning: `Meaning`, the likelihood and the size of an event, or None where they
            are not known; see `reading`.

    Example:
    >>> curve = kv.weighing.RateDistortionCurve(
    ...     beta=[0.1, 1.0, 10.0],
    ...     values={"rate": [30.0, 20.0, 5.0], "distortion": [60.0, 64.0, 110.0]},
    ...     active_units=[8, 8, 3],
    ...     latent_dim=8,
    ...     num_examples=1000,
    ... )
    >>> print(curve.recommend("rate", 10.0))
    beta = 4.642 for rate: a rate of 10 nats has a distortion of 82.61 nats there

    Reference:
        [Fixing a Broken ELBO](https://arxiv.org/abs/1711.00464)
    """

    def __init__(
        self,
        beta,
        values,
        active_units,
        latent_dim,
        num_examples,
        replicates=None,
        intervals=None,
        meaning=None,
    ):
        beta = np.asarray(beta, np.float64)
        if beta.ndim != 1 or not beta.size or not np.all(np.isfinite(beta)):
            raise ValueError(f"`beta` must hold weights. Received: beta={beta!r}")
        if np.any(beta <= 0) or len(set(beta.tolist())) != beta.size:
            raise ValueError(
                "`beta` must hold positive weights, each once: at 0 the rate has no "
                f"price and no limit. Received: beta={beta.tolist()}"
            )
        order = np.argsort(beta)
        self.beta = beta[order]
        self.latent_dim, self.num_examples = int(latent_dim), int(num_examples)
        self.active_units = np.asarray(active_units, np.int64)[order]
        self.meaning = meaning
        for name in ("gap", "squared_error", "sample_distance"):
            measured = values.get(name, np.full(beta.size, np.nan))
            setattr(self, name, np.asarray(measured, np.float64)[order])
        known = quantities.known(values)
        self._values = quantities.with_elbo(
            {n: np.asarray(v, np.float64)[order] for n, v in known.items()}
        )
        self._keep_intervals(replicates, intervals, order)

    def _keep_intervals(self, replicates, intervals, order):
        self.replicates = None
        if replicates is not None:
            known = quantities.known(replicates)
            self.replicates = quantities.with_elbo(
                {n: v[:, order] for n, v in known.items()}
            )
            intervals = {n: quantities.interval(v) for n, v in self.replicates.items()}
        elif intervals is not None:
            intervals = {n: np.asarray(v)[order] for n, v in intervals.items()}
        self.intervals = intervals

    @property
    def rate(self):
        """(points,) array, E KL(q(z|x) || p(z)), nats."""
        return self._values["rate"]

    @property
    def distortion(self):
        """(points,) array, -E log p(x|z), nats."""
        return self._values["distortion"]

    @property
    def negative_elbo(self):
        """(points,) array, rate + distortion, nats."""
        return self._values["negative_elbo"]

    @property
    def negative_log_likelihood(self):
        """(points,) array, -log p(x) by importance sampling, nats, or None."""
        return self._values.get("negative_log_likelihood")

    @property
    def reading(self):
        """What the weights mean, a `Reading`, or None without a `meaning`."""
        return None if self.meaning is None else Reading(self)

    # === Between the points ===

    def at(self, beta):
        """Interpolates.

        Args:
            beta: Float within the measured weights.

        Returns:
            A `Point`.

        Raises:
            ValueError: If `beta` is outside of them.
        """
        low, high = self.beta[0], self.beta[-1]
        if not isinstance(beta, numbers.Real) or not low <= beta <= high:
            raise ValueError(
                f"`beta` must be in [{low:.4g}, {high:.4g}], the measured range. "
                f"Received: beta={beta!r}"
            )
        return Point(float(beta), *map(float, self._lines.at(beta)))

    def at_rate(self, rate):
        """Finds the `Point` of a rate in nats; of several, the least distortion."""
        return self.at(self._lines.of_rate(rate))

    def at_distortion(self, distortion):
        """Finds the `Point` of a distortion in nats; of several, the least rate."""
        return self.at(self._lines.of_distortion(distortion))

    @property
    def knee(self):
        """The `Point` farthest below the straight line between the ends of the curve.

        There beta equals the slope of that line: a nat of rate saves as much
        distortion as on average. The knee depends on the range of measured weights.
        """
        return self.at(self._lines.knee())

    def collapses(self):
        """Finds the weights between which the number of active units falls.

        Returns:
            List of (beta below, beta above, units below, units above).
        """
        units = self.active_units.tolist()
        return [
            (float(self.beta[i]), float(self.beta[i + 1]), units[i], units[i + 1])
            for i in range(len(units) - 1)
            if units[i + 1] < units[i]
        ]

    @property
    def _lines(self):
        return Interpolation(self.beta, self.rate, self.distortion)

    # === Which weight ===

    def recommend(self, purpose, target=None):
        """Recommends a weight for a purpose.

        | purpose | the weight | `target` |
        |---|---|---|
        | "likelihood" | at which the loss is a likelihood's bound, see below | |
        | "rate" | at which a code costs that much | nats |
        | "distortion" | at which data are lost that much | nats |
        | "active_units" | the largest that still uses the units | how many; all |
        | "code" | the largest at which z still carries so much | nats; 5 |
        | "knee" | see `knee` | |
        | "samples" | whose generated events are nearest to the data | |
        | "samples" | the smallest whose gap, KL(q(z), p(z)), is small | nats; 1 |

        For "likelihood" the likelihood tells. Under a normal of fixed scale s beta s^2
        is a noise, best where it equals the mean squared error; the loss of all others
        bounds -log p(x) at beta = 1, but for the cross-entropy of grey values, which is
        read as a normal. A curve without `meaning`, such as one from a CSV file, takes
        the least -log p(x) or -ELBO that was measured, and says so.

        For "samples" generated events are compared where `rate_distortion` had
        `num_generated`, and no target is given. Else it is asked that the decoder sees
        from the prior what it was trained on, and among such weights for the least
        distortion. That needs a rate well below the log of the number of examples:
        beyond it no gap can be measured.

        `kv.advise` gives the same weights for all purposes at once, in all units.

        Args:
            purpose: String, see the table.
            target: Number, see the table.

        Returns:
            A `Recommendation`.

        Raises:
            ValueError: If the purpose is unknown, its target is missing or outside of
                the curve, a quantity that it needs was not measured, or a rate or
                distortion is not finite.
        """
        return recommendation.recommend(self, purpose, target)

    # === Against other curves ===

    def compare(self, other):
        """Compares the loss of both at the weights of `other`.

        The excess is `(D + beta R) - (D' + beta R')` at equal beta. Two points of one
        optimal curve have an excess of zero to first order. There is an interval, of
        paired examples, if both curves were measured on the same data with the same
        `num_resamples` and `seed`.

        Args:
            other: `RateDistortionCurve`, for example of models trained one by one.

        Returns:
            A `Comparison` at the weights of `other` in the range of this curve.

        Raises:
            ValueError: If no weight of `other` is in that range.
        """
        return comparison.compare(self, other)

    # === Out ===

    def table(self):
        """The curve as text, nats, with the half width of 95% intervals."""
        return table.text(self._columns())

    def __str__(self):
        """The table."""
        return self.table()

    def plot(self, path=None, others=None):
        """Draws distortion over rate, and all quantities over beta.

        Args:
            path: String or path of a PNG to write, or None.
            others: Dict, names to further `RateDistortionCurve`s, or None.

        Returns:
            A `matplotlib.figure.Figure`.
        """
        curves = {"": self, **(others or {})}
        return figures.rate_distortion(
            {name: curve._columns() for name, curve in curves.items()}, path
        )

    def _columns(self):
        """Returns all arrays (points,) by name; see the module `table`."""
        columns = {"beta": self.beta, **self._values}
        for name, bounds in (self.intervals or {}).items():
            columns[f"{name}_low"], columns[f"{name}_high"] = bounds.T
        columns["active_units"], columns["gap"] = self.active_units, self.gap
        columns["latent_dim"] = np.full(self.beta.shape, self.latent_dim)
        columns["num_examples"] = np.full(self.beta.shape, self.num_examples)
        return columns

    def to_csv(self, path):
        """Writes a line for each weight; `from_csv` reads it back.

        Args:
            path: String or path.
        """
        table.write(self._columns(), path)

    @classmethod
    def from_csv(cls, path, meaning=None):
        """Reads what `to_csv` wrote: the same columns, without the replicates.

        Args:
            path: String or path.
            meaning: `Meaning` of the curve, which the file does not hold, or None.

        Returns:
            A `RateDistortionCurve`.

        Raises:
            ValueError: If `to_csv` did not write the file.
        """
        columns = table.read(path)
        return cls(
            columns["beta"],
            columns,
            columns["active_units"],
            columns["latent_dim"][0],
            columns["num_examples"][0],
            intervals=table.intervals(columns) or None,
            meaning=meaning,
        )

"""Rate against distortion over the weight of the KL, and which weight to take."""

import csv
import dataclasses
import math
import numbers
import os

import numpy as np

from keras_vae import figures
from keras_vae import metrics
from keras_vae import objectives
from keras_vae.models import VAE
from keras_vae.weighing import measuring

# Weights of a model that has them all, if none are named.
_NUM_BETAS = 13
_CONFIDENCE = 0.95
# Nats of -log p(x) or of the aggregate posterior's gap that make no difference.
_GAP = 1.0

# What a curve holds for each weight, and the name in the table.
_MEASURED = {
    "rate": "rate",
    "distortion": "distortion",
    "negative_elbo": "-ELBO",
    "negative_log_likelihood": "-log p(x)",
}
PURPOSES = ("likelihood", "rate", "distortion", "active_units", "knee", "samples")


@dataclasses.dataclass(frozen=True)
class Point:
    """A place on the curve.

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
        """What training at `beta` minimises, distortion + beta rate, nats."""
        return self.distortion + self.beta * self.rate


@dataclasses.dataclass(frozen=True)
class Recommendation:
    """A weight for a purpose.

    Args:
        purpose: String, see `RateDistortionCurve.recommend`.
        beta: Float, the weight.
        reason: String, why, with the numbers.
        point: `Point` of the curve at `beta`.
        interval: Pair of floats, the weights between which it lies with 95%
            confidence, or None where that is not known.
    """

    purpose: str
    beta: float
    reason: str
    point: Point
    interval: tuple | None = None

    def __str__(self):
        """One sentence."""
        return f"beta = {self.beta:.4g} for {self.purpose}: {self.reason}"


@dataclasses.dataclass(frozen=True)
class Comparison:
    """How much more one curve costs than another at equal weights.

    Args:
        beta: (points,) array.
        excess: (points,) array, the difference of distortion + beta rate, nats;
            positive where the first curve is worse.
        error: (points, 2) array, the 95% interval of `excess`, or None where it is
            not known.
    """

    beta: np.ndarray
    excess: np.ndarray
    error: np.ndarray | None

    def table(self):
        """The excess at each weight as text."""
        lines = [f"{'beta':>10}  {'excess (nats)':>16}"]
        for i, (beta, excess) in enumerate(zip(self.beta, self.excess, strict=True)):
            bounds = None if self.error is None else self.error[i]
            lines.append(f"{beta:>10.4g}  {_with_error(excess, bounds):>16}")
        return "\n".join(lines)

    def __str__(self):
        """The table."""
        return self.table()


class RateDistortionCurve:
    """Rate and distortion of a family of models over the weight of the KL.

    Between two weights the rate is taken as linear in log beta and the distortion as
    linear in beta. The two agree with each other, since the slope of an optimal curve
    is `d distortion / d rate = -beta`, and are exact for a linear VAE between the
    weights at which a unit collapses.

    Args:
        beta: (points,) array of positive floats, in any order.
        values: Dict, "rate" and "distortion" to (points,) arrays in nats, and perhaps
            "negative_log_likelihood" and "gap", KL(q(z) || p(z)), NaN where it could
            not be measured.
        active_units: (points,) array of integers.
        latent_dim: Integer.
        num_examples: Integer, on how many examples it was measured.
        replicates: Dict, the names in `values` to (resamples, points) arrays: the same
            on examples drawn anew; or None.
        intervals: Dict, names to (points, 2) arrays, 95% intervals where there are no
            replicates; or None.

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
        self.gap = np.asarray(values.get("gap", np.full(beta.size, np.nan)))[order]
        self._values = _with_elbo(
            {n: np.asarray(v, np.float64)[order] for n, v in _known(values).items()}
        )
        self.replicates = None
        if replicates is not None:
            self.replicates = _with_elbo(
                {n: v[:, order] for n, v in _known(replicates).items()}
            )
            intervals = {n: _interval(v) for n, v in self.replicates.items()}
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
        self._check_beta(beta)
        return Point(float(beta), *map(float, self._between(self._values, beta)))

    def at_rate(self, rate):
        """Finds the `Point` of a rate in nats; of several, that of least distortion."""
        found = [self.at(b) for b in self._crossings(self._values, "rate", rate)]
        return min(found, key=lambda point: point.distortion)

    def at_distortion(self, distortion):
        """Finds the `Point` of a distortion in nats; of several, that of least rate."""
        betas = self._crossings(self._values, "distortion", distortion)
        return min((self.at(b) for b in betas), key=lambda point: point.rate)

    @property
    def knee(self):
        """The `Point` farthest below the straight line between the ends of the curve.

        There beta is the slope of that line: a nat of rate buys what it buys on
        average. It depends on the range of weights that was measured.
        """
        self._check_several("a knee")
        return self.at(self._knee(self._values))

    def collapses(self):
        """Where the number of active units falls.

        Returns:
            List of (beta below, beta above, units below, units above).
        """
        units = self.active_units.tolist()
        return [
            (float(self.beta[i]), float(self.beta[i + 1]), units[i], units[i + 1])
            for i in range(len(units) - 1)
            if units[i + 1] < units[i]
        ]

    def _check_beta(self, beta):
        low, high = self.beta[0], self.beta[-1]
        if not isinstance(beta, numbers.Real) or not low <= beta <= high:
            raise ValueError(
                f"`beta` must be in [{low:.4g}, {high:.4g}], where the curve was "
                f"measured. Received: beta={beta!r}"
            )

    def _check_several(self, what):
        if len(self.beta) < 2:
            raise ValueError(
                f"`betas` must hold two weights or more for {what}. "
                f"Received: beta={self.beta.tolist()}"
            )

    def _between(self, values, betas):
        """Rates and distortions (..., betas) at weights, of (..., points) arrays."""
        last = len(self.beta) - 1
        i = np.clip(np.searchsorted(self.beta, betas) - 1, 0, max(last - 1, 0))
        j = np.minimum(i + 1, last)
        low, high = self.beta[i], self.beta[j]
        # Of a single point both ends are the same.
        logarithmic = np.log(betas / low) / np.where(i == j, 1.0, np.log(high / low))
        linear = (betas - low) / np.where(i == j, 1.0, high - low)
        return [
            (1 - share) * values[name][..., i] + share * values[name][..., j]
            for name, share in (("rate", logarithmic), ("distortion", linear))
        ]

    def _crossings(self, values, name, target):
        """The weights at which rate or distortion has a value."""
        places = np.log(self.beta) if name == "rate" else self.beta
        heights = values[name]
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

    def _knee(self, values):
        betas = np.geomspace(self.beta[0], self.beta[-1], 40 * len(self.beta) + 1)
        betas = np.clip(betas, self.beta[0], self.beta[-1])
        rate, distortion = self._between(values, betas)
        if not rate[0] > rate[-1]:
            raise ValueError(
                "A knee needs a rate that falls as beta grows. Received: rates from "
                f"{rate[0]:.4g} to {rate[-1]:.4g} nats"
            )
        slope = (distortion[-1] - distortion[0]) / (rate[0] - rate[-1])
        return float(betas[np.argmin(distortion + slope * rate)])

    # === Which weight ===

    def recommend(self, purpose, target=None):
        """Says which weight serves a purpose.

        | purpose | the weight | `target` |
        |---|---|---|
        | "likelihood" | of the least -log p(x), else of the least -ELBO | |
        | "rate" | at which a code costs that much | nats |
        | "distortion" | at which data are lost that much | nats |
        | "active_units" | the largest that still uses the units | how many; all |
        | "knee" | see `knee` | |
        | "samples" | the smallest whose gap, KL(q(z), p(z)), is small | nats; 1 |

        "samples" asks that the decoder sees from the prior what it was trained on, and
        among such weights for the least distortion. It needs a rate well below the log
        of the number of examples: beyond that no gap can be measured.

        Args:
            purpose: String, see the table.
            target: Number, see the table.

        Returns:
            A `Recommendation`.

        Raises:
            ValueError: If the purpose is unknown, its target is missing or out of the
                curve's reach, or what it needs was not measured.
        """
        if purpose not in PURPOSES:
            raise ValueError(
                f"`purpose` must be one of {PURPOSES}. Received: purpose={purpose!r}"
            )
        if purpose in ("rate", "distortion") and target is None:
            raise ValueError(
                f"`target` must be given for the purpose {purpose!r}, in nats. "
                "Received: target=None"
            )
        return getattr(self, f"_recommend_{purpose}")(target)

    def _recommend_likelihood(self, _):
        name = "negative_log_likelihood"
        if name not in self._values:
            name = "negative_elbo"
        heights = self._values[name]
        best = int(np.argmin(heights))
        reason = f"the least {_MEASURED[name]} of the measured weights, " + (
            f"{_with_error(heights[best], self._bounds(name, best))} nats"
        )
        interval = None
        if self.replicates is not None:
            above = self.replicates[name] - self.replicates[name][:, best : best + 1]
            equal = np.percentile(above, 100 * (1 - _CONFIDENCE), axis=0) <= 0
            interval = tuple(float(b) for b in self.beta[equal][[0, -1]])
            if np.count_nonzero(equal) > 1:
                reason += (
                    f"; between {interval[0]:.4g} and {interval[1]:.4g} the examples "
                    "are too few to tell weights apart"
                )
        return self._recommendation("likelihood", self.beta[best], reason, interval)

    def _recommend_rate(self, target):
        point = self.at_rate(target)
        return self._recommendation(
            "rate",
            point.beta,
            f"a rate of {target:.4g} nats has a distortion of {point.distortion:.4g} "
            "nats there",
            self._interval_of(lambda values: self._crossings(values, "rate", target)),
        )

    def _recommend_distortion(self, target):
        point = self.at_distortion(target)
        return self._recommendation(
            "distortion",
            point.beta,
            f"a distortion of {target:.4g} nats costs a rate of {point.rate:.4g} nats "
            "there",
            self._interval_of(
                lambda values: self._crossings(values, "distortion", target)
            ),
        )

    def _recommend_active_units(self, target):
        most = int(self.active_units.max())
        wanted = most if target is None else target
        if not isinstance(wanted, numbers.Integral) or not 1 <= wanted <= most:
            raise ValueError(
                f"`target` must be a number of units from 1 to {most}, the most that "
                f"the curve has active. Received: target={target!r}"
            )
        beta = float(self.beta[self.active_units >= wanted].max())
        following = self.beta[self.beta > beta]
        reason = f"the largest weight with {wanted} of {self.latent_dim} units active"
        interval = None
        if following.size:
            units = int(self.active_units[self.beta == following[0]][0])
            reason += f"; at {following[0]:.4g} there are {units}"
            interval = beta, float(following[0])
        return self._recommendation("active_units", beta, reason, interval)

    def _recommend_knee(self, _):
        self._check_several("a knee")
        return self._recommendation(
            "knee",
            self._knee(self._values),
            "below it a nat of rate buys less distortion than on average over the "
            f"weights from {self.beta[0]:.4g} to {self.beta[-1]:.4g}, above it more",
            self._interval_of(lambda values: [self._knee(values)]),
        )

    def _recommend_samples(self, target):
        target = _GAP if target is None else target
        measured = np.isfinite(self.gap)
        if not measured.any():
            raise ValueError(
                "`purpose` cannot be 'samples' here: KL(q(z) || p(z)) was not measured "
                "at any weight, because the rate is not well below the log of the "
                f"number of examples. Rates: {np.round(self.rate, 1).tolist()} nats. "
                "Measure on more data (up to 512 examples are paired) or larger betas, "
                "or take 'likelihood'."
            )
        good = measured & (np.nan_to_num(self.gap, nan=np.inf) <= target)
        if not good.any():
            least = np.nanmin(self.gap)
            raise ValueError(
                f"`target` must be a gap of at least {least:.3g} nats, the least that "
                f"was measured. Received: target={target}"
            )
        place = int(np.flatnonzero(good)[0])
        return self._recommendation(
            "samples",
            self.beta[place],
            f"the smallest weight at which KL(q(z) || p(z)) is at most {target:.3g} "
            f"nats ({self.gap[place]:.2g}): draws from the prior are what the decoder "
            "was trained on",
        )

    def _recommendation(self, purpose, beta, reason, interval=None):
        return Recommendation(purpose, float(beta), reason, self.at(beta), interval)

    def _interval_of(self, solve):
        """The 95% interval of a weight over the replicates that have one."""
        if self.replicates is None:
            return None
        found = []
        for i in range(len(self.replicates["rate"])):
            values = {name: v[i] for name, v in self.replicates.items()}
            try:
                found.append(np.median(solve(values)))
            except ValueError:
                # The target lies outside of this replicate.
                continue
        if not found:
            return None
        return tuple(map(float, _interval(np.array(found)[:, None])[0]))

    # === Against other curves ===

    def compare(self, other):
        """Compares the loss of both at the weights of `other`.

        The excess is `(D + beta R) - (D' + beta R')` at equal beta, in which being
        elsewhere on the same optimal curve costs nothing to first order. The interval
        is that of paired examples where both curves were measured on the same data
        with the same `num_resamples` and `seed`.

        Args:
            other: `RateDistortionCurve`, for example of models trained one by one.

        Returns:
            A `Comparison` at the weights of `other` which this curve covers.

        Raises:
            ValueError: If this curve covers none of them.
        """
        inside = (other.beta >= self.beta[0]) & (other.beta <= self.beta[-1])
        if not inside.any():
            raise ValueError(
                "`other` must have weights in the range of this curve, "
                f"[{self.beta[0]:.4g}, {self.beta[-1]:.4g}]. "
                f"Received: other.beta={other.beta.tolist()}"
            )
        betas = other.beta[inside]
        excess = self._losses(self._values, betas) - other._losses(other._values, betas)
        error, pair = None, (self.replicates, other.replicates)
        if None not in pair and self.num_examples == other.num_examples:
            ours, theirs = (
                curve._losses(curve.replicates, betas) for curve in (self, other)
            )
            if ours.shape == theirs.shape:
                error = _interval(ours - theirs)
        return Comparison(betas, excess, error)

    def _losses(self, values, betas):
        rate, distortion = self._between(values, betas)
        return distortion + betas * rate

    # === Out ===

    def table(self):
        """The curve as text, nats, with the half width of 95% intervals."""
        names = [name for name in _MEASURED if name in self._values]
        header = [f"{_MEASURED[name]:>18}" for name in names]
        lines = [f"{'beta':>10}" + "".join(header) + f"{'active units':>14}"]
        for i, beta in enumerate(self.beta):
            cells = [
                f"{_with_error(self._values[n][i], self._bounds(n, i)):>18}"
                for n in names
            ]
            units = f"{self.active_units[i]} of {self.latent_dim}"
            lines.append(f"{beta:>10.4g}" + "".join(cells) + f"{units:>14}")
        return "\n".join(lines)

    def __str__(self):
        """The table."""
        return self.table()

    def _bounds(self, name, place):
        return None if self.intervals is None else self.intervals[name][place]

    def plot(self, path=None, others=None):
        """Draws distortion over rate, and all over beta.

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
        """Everything by name: arrays (points,), of which those of errors are `_low`."""
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
        columns = self._columns()
        with open(os.fspath(path), "w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            writer.writerow(columns)
            writer.writerows(zip(*(v.tolist() for v in columns.values()), strict=True))

    @classmethod
    def from_csv(cls, path):
        """Reads what `to_csv` wrote: the same numbers, without the replicates.

        Args:
            path: String or path.

        Returns:
            A `RateDistortionCurve`.

        Raises:
            ValueError: If the file is of another kind.
        """
        with open(os.fspath(path), newline="", encoding="utf-8") as file:
            header, *rows = csv.reader(file)
        needed = {"beta", "rate", "distortion", "active_units", "latent_dim"}
        if missing := sorted(needed - set(header)):
            raise ValueError(
                f"`path` must be a file that `to_csv` wrote. Received: {path}, which "
                f"has no columns {missing}"
            )
        columns = dict(zip(header, np.array(rows, np.float64).T, strict=True))
        intervals = {
            name: np.stack([columns[f"{name}_low"], columns[f"{name}_high"]], axis=1)
            for name in _MEASURED
            if f"{name}_low" in columns
        }
        return cls(
            columns["beta"],
            columns,
            columns["active_units"],
            columns["latent_dim"][0],
            columns["num_examples"][0],
            intervals=intervals or None,
        )


def rate_distortion(
    models,
    data,
    betas=None,
    num_samples=1,
    importance_samples=0,
    num_resamples=1000,
    seed=0,
):
    """Measures rate and distortion over the weight of the KL.

    Intervals are of the bootstrap over examples, with the noise of z in them. The
    models are left as they are.

    Args:
        models: A Multi-Rate VAE, whose `at(beta)` is a `VAE`; a list of `VAE`s, whose
            objectives say their weights; or a dict, weight to `VAE`.
        data: Array x (examples, ...), or tuple (x, y), as for `fit`. Best of the
            validation set where a weight is to be chosen.
        betas: Weights to measure. Defaults to all models, and for a Multi-Rate VAE to
            13 weights over its `beta_range`, with 1 among them where that holds it.
        num_samples: Integer, draws of z per example.
        importance_samples: Integer, draws of z per example for -log p(x), or 0 to leave
            it out. Papers take 500 to 5,000, which costs as many decodings.
        num_resamples: Integer, of the bootstrap.
        seed: Integer, of all draws, which are the same for all models.

    Returns:
        A `RateDistortionCurve`.

    Raises:
        ValueError: If models, weights or data do not fit.

    Example:
    >>> x, _ = kv.datasets.digits()
    >>> def make(beta):
    ...     return kv.VAE(
    ...         encoder=kv.networks.mlp_encoder([16]),
    ...         decoder=kv.networks.mlp_decoder([16], (8, 8, 1)),
    ...         latent_dim=2,
    ...         objective=kv.ELBO(kl_weight=beta),
    ...         seed=0,
    ...     )
    >>> curve = kv.rate_distortion([make(0.1), make(1.0)], x[:100])
    >>> curve.beta.tolist(), curve.latent_dim
    ([0.10000000149011612, 1.0], 2)

    References:
        [Fixing a Broken ELBO](https://arxiv.org/abs/1711.00464);
        [Multi-Rate VAE](https://arxiv.org/abs/2212.03905)
    """
    models = _by_beta(models, betas)
    columns, active = [], []
    for _, make in models:
        model = make()
        x, y = measuring.split(model, data)
        terms = measuring.measure(model, x, y, num_samples, importance_samples, seed)
        columns.append(terms)
        active.append(metrics.active_units(terms.mean).number)
    per_example = {
        "rate": [terms.rate for terms in columns],
        "distortion": [terms.distortion for terms in columns],
    }
    if importance_samples:
        per_example["negative_log_likelihood"] = [
            -terms.log_likelihood for terms in columns
        ]
    gap = [
        max(terms.rate.mean() - terms.mutual_information.value, 0.0)
        if terms.mutual_information.is_measured
        else np.nan
        for terms in columns
    ]
    # One call, so that all are resampled alike.
    stacked = np.stack(list(per_example.values()))
    replicates = metrics.bootstrap_means(stacked, num_resamples, seed)
    return RateDistortionCurve(
        [beta for beta, _ in models],
        {
            **{n: np.mean(v, axis=1) for n, v in per_example.items()},
            "gap": gap,
        },
        active,
        columns[0].mean.shape[1],
        len(columns[0].rate),
        replicates={n: replicates[:, i] for i, n in enumerate(per_example)},
    )


def beta_of(model):
    """Returns the weight of the KL against the log-likelihood that a `VAE` has now.

    Args:
        model: A `keras_vae.VAE`.

    Returns:
        Float.

    Raises:
        ValueError: If its objective is no weighted sum of rate and distortion.
    """
    objective = model.objective
    known = (objectives.ELBO, objectives.RateTarget, objectives.DistortionTarget)
    if type(objective) not in known:
        raise ValueError(
            "`models` must be a dict, beta to model, where the objective is no plain "
            f"sum of distortion and beta times rate. Received: objective={objective!r}"
        )
    return measuring.weight_of(objective)


def _by_beta(models, betas):
    """Returns a list of (beta, callable that returns the model)."""
    if hasattr(models, "beta_range"):
        chosen = _betas_in(models.beta_range) if betas is None else betas
        return [(float(b), lambda b=b: models.at(float(b))) for b in chosen]
    if isinstance(models, VAE):
        models = [models]
    if not isinstance(models, dict):
        models = [(beta_of(_check_vae(model)), model) for model in models]
    pairs = list(models.items() if isinstance(models, dict) else models)
    if betas is not None:
        pairs = [_nearest(pairs, beta) for beta in betas]
    if not pairs:
        raise ValueError("`models` must hold at least one model. Received: none")
    return [(float(b), lambda m=m: _check_vae(m)) for b, m in pairs]


def _nearest(pairs, beta):
    for pair in pairs:
        # Weights are kept in float32.
        if math.isclose(pair[0], beta, rel_tol=1e-6):
            return pair
    raise ValueError(
        "`betas` must be weights of `models`, which were trained one by one. "
        f"Received: {beta}, which is not among {[b for b, _ in pairs]}"
    )


def _betas_in(beta_range):
    low, high = (float(b) for b in beta_range)
    betas = np.geomspace(low, high, _NUM_BETAS)
    # The curve of the ELBO itself is asked for most, and rounds to be missed.
    if low < 1 < high:
        betas[np.argmin(np.abs(np.log(betas)))] = 1.0
    # Rounding may lead out of the range.
    return np.clip(betas, low, high).tolist()


def _check_vae(model):
    if not isinstance(model, VAE):
        raise ValueError(
            "`models` must be a Multi-Rate VAE, or a list or dict of `keras_vae.VAE`s. "
            f"Received: {model!r}"
        )
    return model


def _known(values):
    names = [n for n in _MEASURED if n in values and n != "negative_elbo"]
    return {name: np.asarray(values[name]) for name in names}


def _with_elbo(values):
    return {**values, "negative_elbo": values["rate"] + values["distortion"]}


def _interval(replicates):
    """The percentile interval of (resamples, points), shape (points, 2)."""
    outside = 100 * (1 - _CONFIDENCE) / 2
    return np.percentile(replicates, [outside, 100 - outside], axis=0).T


def _with_error(value, bounds):
    if bounds is None:
        return f"{value:.2f}"
    return f"{value:.2f} +-{(bounds[1] - bounds[0]) / 2:.2f}"

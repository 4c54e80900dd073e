"""What a measured curve says about the weight of the KL, purpose by purpose."""

import dataclasses
import math
import textwrap

import numpy as np
import scipy.spatial.distance

import keras_vae as kv
from trainers import _data
from trainers import _sources

_LOG_2PI = math.log(2 * math.pi)
# Draws and examples whose distances are compared.
_COMPARED = 500
_DECODED = 1000
_BISECTIONS = 4
_RESAMPLES = 400
_WIDTH = 80
_CONFIDENCE = (2.5, 97.5)


@dataclasses.dataclass(frozen=True)
class Advice:
    """A weight for a purpose.

    Args:
        purpose: String.
        beta: Float, or None where there is none to advise.
        reason: String, a sentence.
        units: `Units` of the weight, or None where there is none.
        interval: Pair of floats, the 95% interval of beta, or None.
    """

    purpose: str
    beta: float | None
    reason: str
    units: "Units | None" = None
    interval: tuple | None = None

    def __str__(self):
        """A paragraph."""
        head = f"{self.purpose}: "
        if self.beta is None:
            return "\n    ".join(textwrap.wrap(f"{head}{self.reason}", _WIDTH))
        head += f"beta = {self.beta:.4g}"
        if self.interval is not None and self.interval[0] < self.interval[1]:
            head += f" (95%: {self.interval[0]:.4g} to {self.interval[1]:.4g})"
        lines = textwrap.wrap(f"{self.reason}.", _WIDTH)
        lines += textwrap.wrap(f"= {self.units}", _WIDTH, subsequent_indent="  ")
        return head + textwrap.indent("".join(f"\n{line}" for line in lines), "    ")


@dataclasses.dataclass(frozen=True)
class Units:
    """A weight as others write it.

    Args:
        beta_norm: Float, beta M / N.
        mean_weight: Float, the weight beside a mean squared error or cross-entropy, or
            None.
        sigma: Float, the noise of a normal whose ELBO it trains, or None.
        data_sigma: Float, the same in the units of the file, or None.
        remark: String, what is exact.
    """

    beta_norm: float
    mean_weight: float | None
    sigma: float | None
    data_sigma: float | None
    remark: str

    def __str__(self):
        """A phrase."""
        parts = [f"beta_norm {self.beta_norm:.4g}"]
        if self.sigma is not None:
            sigma = f"sigma {self.sigma:.4g}"
            if self.data_sigma is not None:
                sigma += f" ({self.data_sigma:.4g} in the units of the data)"
            parts += [sigma, f"mean squared error + {self.mean_weight:.4g} KL"]
        elif self.mean_weight is not None:
            parts.append(f"mean cross-entropy + {self.mean_weight:.4g} KL")
        return f"{', '.join(parts)}: {self.remark}"


class Reading:
    """A curve, and what its weights mean under the likelihood that was trained.

    Under a normal of unit variance `SSE / 2 + beta KL` is beta times the negative ELBO
    of a normal with the variance beta, up to a constant: weights are noises, each with
    a bound of its own, and the best of them is where the noise is what the decoder
    leaves over, `beta = mean squared error`. The cross-entropy of values between 0 and
    1 is no likelihood; there the means are read as those of a normal with the most
    likely noise.

    Args:
        chosen: Namespace from `_weigh_flags.settings`.
        data: `_data.Data`.
        source: `_sources.OneForAll` or `_sources.OneForEach`.
    """

    def __init__(self, chosen, data, source):
        self._chosen, self._data, self._source = chosen, data, source
        self.betas = _sources.betas(chosen)
        self.curve = self._measure(self.betas)
        self.event_size = math.prod(data.train.shape[1:])
        self.is_normal = chosen.likelihood == "normal"
        binary = chosen.binarize != "none" or _data.is_binary(data)
        self.is_grey = chosen.likelihood == "bernoulli" and not binary
        self.error = self._squared_error()
        self.bound = self._bound(
            self.curve.rate, self.curve.distortion, self.error, self.curve.beta
        )

    def _measure(self, betas):
        return measure(self._chosen, self._data, self._source, betas)

    # === Noise ===

    def _squared_error(self):
        """The mean squared error of each value at each weight, (points,), or None."""
        if self.is_normal:
            return self._error_of(self.curve.distortion)
        if not self.is_grey:
            return None
        x, errors = self._data.held_out[:_DECODED], []
        for beta in self.betas:
            vae = self._source.at(beta)
            z = vae.sample_posterior(x, self._chosen.seed)
            errors.append(np.square(vae.decode(z).numpy() - x).mean())
        return np.array(errors, np.float64)

    def _error_of(self, distortion):
        """The mean squared error of a distortion under unit variance."""
        return 2 * distortion / self.event_size - _LOG_2PI

    def _bound(self, rate, distortion, error, beta):
        """-ELBO of a likelihood, nats, of (..., points) arrays."""
        if error is None:
            return rate + distortion
        noise = beta if self.is_normal else error
        return rate + self.event_size / 2 * (np.log(noise) + error / noise + _LOG_2PI)

    @property
    def sigma(self):
        """(points,) array, the noise of each weight, or None."""
        if self.is_normal:
            return np.sqrt(self.curve.beta)
        return np.sqrt(self.error) if self.is_grey else None

    @property
    def bound_replicates(self):
        """(resamples, points) array of `bound`, or None where there are none."""
        if self.is_grey:
            return None
        values = self.curve.replicates
        error = self._error_of(values["distortion"]) if self.is_normal else None
        return self._bound(values["rate"], values["distortion"], error, self.curve.beta)

    def units(self, beta):
        """Returns the `Units` of a weight."""
        chosen, latents = self._chosen, self.curve.latent_dim
        name = "normal" if self.is_normal else "bernoulli"
        weight = kv.weighing.Weight(beta, self.event_size, latents, name)
        if self.is_normal:
            scaling = self._data.scaling
            one_scale = scaling is not None and not scaling.scale.ndim
            return Units(
                weight.beta_norm,
                weight.mean_weight(),
                weight.sigma,
                weight.sigma * float(scaling.scale) if one_scale else None,
                "all exact, beta is the variance of p(x|z)",
            )
        is_bernoulli = chosen.likelihood == "bernoulli"
        family = chosen.likelihood.replace("_", " ")
        return Units(
            weight.beta_norm,
            weight.mean_weight() if is_bernoulli else None,
            None,
            None,
            f"exact; there is no sigma, a {family} has no scale",
        )

    # === Advice ===

    def advise(self):
        """Returns the `Advice` for all purposes, that for likelihood first."""
        found = [self._likelihood(), self._samples()]
        if self._chosen.target_rate is not None:
            found.append(self._target("rate", "rate", self._chosen.target_rate))
        if self._chosen.target_distortion is not None:
            target = self._chosen.target_distortion
            found.append(self._target("distortion", "distortion", target))
        if self._chosen.target_rmse is not None:
            distortion = self.event_size / 2 * (self._chosen.target_rmse**2 + _LOG_2PI)
            found.append(self._target("rmse", "distortion", distortion))
        return [*found, self._active_units(), self._collapse()]

    def _advice(self, purpose, beta, reason, interval=None):
        nearest = float(self._source.nearest(beta))
        if not math.isclose(nearest, beta, rel_tol=1e-3):
            reason += f". The nearest weight with a model is {nearest:.4g}"
        return Advice(purpose, float(beta), reason, self.units(beta), interval)

    def _likelihood(self):
        purpose = "Best likelihood"
        if self.is_normal:
            return self._noise(purpose)
        if self.is_grey:
            place = int(np.argmin(self.bound))
            return self._advice(
                purpose,
                self.curve.beta[place],
                "the cross-entropy of values between 0 and 1 is no likelihood, so that "
                "1 is a weight like any other. With the decoder's means read as "
                f"a normal of noise {self.sigma[place]:.3g}, -ELBO is least here, "
                f"{self.bound[place]:.2f} nats. Better train --likelihood=normal, "
                "whose noise is the weight, or --likelihood=continuous_bernoulli, "
                "--binarize=dynamic",
            )
        beta = float(min(max(1.0, self.curve.beta[0]), self.curve.beta[-1]))
        reason = (
            "the loss bounds -log p(x) at beta = 1 and nowhere else"
            if beta == 1
            else "beta = 1 bounds -log p(x); this is the nearest that was trained"
        )
        return self._advice(purpose, beta, reason + self._evidence(beta))

    def _evidence(self, beta):
        """What the held-out data say of a weight that follows from theory."""
        one = int(np.argmin(np.abs(np.log(self.curve.beta / beta))))
        best = int(np.argmin(self.bound))
        value = f"; -ELBO there is {self.bound[one]:.2f} nats"
        if best == one:
            return value + ", the least of all measured"
        gain = self.bound_replicates[:, one] - self.bound_replicates[:, best]
        low, high = np.percentile(gain, _CONFIDENCE)
        other = self.curve.beta[best]
        if low <= 0:
            return value + ", which no other weight betters significantly"
        cause = (
            "the model overfits: use more data, smaller networks or fewer epochs"
            if other > 1
            else "it is not trained to the end: use more epochs"
        )
        return value + (
            f". Held-out data have {low:.2f} to {high:.2f} nats less at "
            f"{other:.4g}: {cause}"
        )

    def _noise(self, purpose):
        """The weight that is the squared error: the noise that a normal learns."""
        beta = self._crossing(self.error)
        ends = {self.curve.beta[0]: "below", self.curve.beta[-1]: "above"}
        if beta in ends:
            return self._advice(
                purpose,
                beta,
                f"the best noise lies {ends[beta]} the weights that were trained; "
                "widen --beta_range",
            )
        errors = self._error_of(self.curve.replicates["distortion"])
        interval = np.percentile([self._crossing(e) for e in errors], _CONFIDENCE)
        reason = (
            "beta is the variance of the noise, and here it equals the mean squared "
            "error of held-out values: the noise that the likelihood itself would "
            "learn. -ELBO is least there" + self._bound_near(beta)
        )
        if self._data.scaling is None and _data.is_unit_interval(self._data):
            reason += (
                ". (A cross-entropy of grey values would be no likelihood, and "
                "beta = 1 would mean nothing there)"
            )
        return self._advice(purpose, beta, reason, tuple(map(float, interval)))

    def _bound_near(self, beta):
        if not self._source.is_continuous:
            return ""
        curve = self._measure([beta])
        rate, distortion = curve.rate[0], curve.distortion[0]
        bound = self._bound(rate, distortion, self._error_of(distortion), beta)
        return f", {bound:.2f} nats"

    def _crossing(self, error):
        """Where the error equals beta; the end next to it where it does nowhere."""
        places = np.log(self.curve.beta)
        heights = np.log(np.maximum(error, 1e-30)) - places
        falls = np.flatnonzero((heights[:-1] > 0) & (heights[1:] <= 0))
        if not falls.size:
            return self.curve.beta[-1 if heights[-1] > 0 else 0]
        i = falls[0]
        share = heights[i] / (heights[i] - heights[i + 1])
        return float(np.exp(places[i] + share * (places[i + 1] - places[i])))

    def _samples(self):
        """The weight whose draws look most like data that were not trained on."""
        purpose = "Best samples"
        if self._chosen.likelihood == "categorical":
            # Numbers of classes have no distance.
            try:
                found = self.curve.recommend("samples")
            except ValueError as error:
                return Advice(purpose, None, f"unknown. {error}")
            return self._advice(purpose, found.beta, found.reason)
        real = _flat(self._data.held_out[:_COMPARED])
        distances = np.array(
            [
                energy_distance(_flat(self._samples_of(beta)), real)
                for beta in self.curve.beta
            ]
        )
        best = int(np.argmin(distances))
        data = self._data
        other = data.train if data.validation is None else data.test
        floor = energy_distance(_flat(other[:_COMPARED]), real)
        return self._advice(
            purpose,
            self.curve.beta[best],
            "what `generate` returns is nearest to held-out data: energy distance "
            f"{distances[best]:.3g}, from {distances.min():.3g} to "
            f"{distances.max():.3g} over all weights; other data are at {floor:.3g}",
        )

    def _samples_of(self, beta):
        # The same z at all weights.
        return self._source.at(beta).generate(_COMPARED, seed=self._chosen.seed).numpy()

    def _target(self, name, purpose, target):
        title = f"Target {name}"
        try:
            found = self.curve.recommend(purpose, target)
        except ValueError as error:
            value = getattr(self._chosen, f"target_{name}")
            return Advice(title, None, f"`--target_{name}`={value:g}: {error}")
        point = found.point
        reason = f"rate {point.rate:.4g} nats, distortion {point.distortion:.4g} nats"
        if self.is_normal:
            rmse = math.sqrt(max(self._error_of(point.distortion), 0.0))
            reason = f"rate {point.rate:.4g} nats, root mean squared error {rmse:.3g}"
        reason += " there, on held-out data"
        return self._advice(title, found.beta, reason, found.interval)

    def _active_units(self):
        if not self.curve.active_units.any():
            return Advice("Most active units", None, "no weight keeps any")
        found = self.curve.recommend("active_units")
        return self._advice("Most active units", found.beta, found.reason)

    def _collapse(self):
        title = "Units begin to collapse"
        falls = self.curve.collapses()
        if not falls:
            low, high = self.curve.beta[[0, -1]]
            return Advice(title, None, f"nowhere from beta = {low:.4g} to {high:.4g}")
        low, high, before, after = falls[0]
        if self._source.is_continuous:
            low, high, after = self._bisect(low, high, before, after)
        beta = math.sqrt(low * high)
        reason = (
            f"{before} of {self.curve.latent_dim} units are active at {low:.4g}, "
            f"{after} at {high:.4g}"
        )
        return self._advice(title, beta, reason)

    def _bisect(self, low, high, before, after):
        for _ in range(_BISECTIONS):
            middle = math.sqrt(low * high)
            units = int(self._measure([middle]).active_units[0])
            if units < before:
                high, after = middle, units
            else:
                low = middle
        return low, high, after

    # === Out ===

    def distortion(self):
        """Returns the distortions of the curve, of a normal without its constant."""
        constant = self.event_size / 2 * _LOG_2PI if self.is_normal else 0.0
        return self.curve.distortion - constant, self.curve.intervals[
            "distortion"
        ] - constant

    def columns(self):
        """Returns what the curve file has beside the curve: names to (points,)."""
        columns = {"bound": self.bound}
        if self.error is not None:
            columns |= {"sigma": self.sigma, "rmse": np.sqrt(self.error)}
        return columns

    def table(self):
        """Returns the curve as text, and what its columns are."""
        curve = self.curve
        half = None
        if self.bound_replicates is not None:
            low, high = np.percentile(self.bound_replicates, _CONFIDENCE, axis=0)
            half = (high - low) / 2
        names = ["beta", "rate", "distortion", "-ELBO", "active units"]
        if self.error is not None:
            names[2:3] = ["sigma", "rms error"]
        lines = ["".join(f"{name:>16}" for name in names)]
        for i, beta in enumerate(curve.beta):
            bound = f"{self.bound[i]:.2f}"
            bound += "" if half is None else f" +-{half[i]:.2f}"
            cells = [f"{beta:.4g}", f"{curve.rate[i]:.2f}"]
            if self.error is None:
                cells.append(f"{curve.distortion[i]:.2f}")
            else:
                cells += [f"{self.sigma[i]:.4g}", f"{math.sqrt(self.error[i]):.4g}"]
            cells += [bound, f"{curve.active_units[i]} of {curve.latent_dim}"]
            lines.append("".join(f"{cell:>16}" for cell in cells))
        split = "test" if self._data.validation is None else "validation"
        title = (
            f"Held-out data ({split} split, {curve.num_examples} examples), nats per "
            "example"
        )
        if self.is_normal:
            title += ";\nsigma = sqrt(beta), the noise with which -ELBO is that of x"
        if self.is_grey:
            title += (
                ";\nsigma is the most likely normal noise, with which -ELBO is of x"
            )
        return "\n".join([title, *lines])


def measure(chosen, data, source, betas):
    """Measures the curve of some weights on the data that choose.

    Args:
        chosen: Namespace from `_weigh_flags.settings`.
        data: `_data.Data`.
        source: `_sources.OneForAll` or `_sources.OneForEach`.
        betas: List of floats, of which there are models.

    Returns:
        `keras_vae.weighing.RateDistortionCurve`.
    """
    return kv.rate_distortion(
        {beta: source.at(beta) for beta in betas},
        data.held_out,
        num_samples=chosen.eval_samples,
        num_resamples=_RESAMPLES,
        seed=chosen.seed,
    )


def energy_distance(x, y):
    """Returns E|X - Y| - E|X - X'| / 2 - E|Y - Y'| / 2, 0 for equal distributions.

    Args:
        x: (draws, numbers) array.
        y: (other draws, numbers) array.
    """

    def within(values):
        return scipy.spatial.distance.pdist(values).mean()

    across = scipy.spatial.distance.cdist(x, y).mean()
    return float(across - within(x) / 2 - within(y) / 2)


def _flat(x):
    return np.asarray(x, np.float64).reshape(len(x), -1)

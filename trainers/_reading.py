"""What the weights of a measured curve mean under the likelihood that was trained."""

import dataclasses
import math

import numpy as np

import keras_vae as kv
from trainers import _data
from trainers import _sources

_LOG_2PI = math.log(2 * math.pi)
_DECODED = 1000
_RESAMPLES = 400
CONFIDENCE = (2.5, 97.5)


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
        self.chosen, self.data, self.source = chosen, data, source
        self.betas = _sources.betas(chosen)
        self.curve = self.measure(self.betas)
        self.event_size = math.prod(data.train.shape[1:])
        self.is_normal = chosen.likelihood == "normal"
        binary = chosen.binarize != "none" or _data.is_binary(data)
        self.is_grey = chosen.likelihood == "bernoulli" and not binary
        self.error = self._squared_error()
        self.bound = self._bound(
            self.curve.rate, self.curve.distortion, self.error, self.curve.beta
        )

    def measure(self, betas):
        """Returns the curve of other weights; see the function `measure`."""
        return measure(self.chosen, self.data, self.source, betas)

    # === Noise ===

    def _squared_error(self):
        """The mean squared error of each value at each weight, (points,), or None."""
        if self.is_normal:
            return self.error_of(self.curve.distortion)
        if not self.is_grey:
            return None
        x, errors = self.data.held_out[:_DECODED], []
        for beta in self.betas:
            vae = self.source.at(beta)
            z = vae.sample_posterior(x, self.chosen.seed)
            errors.append(np.square(vae.decode(z).numpy() - x).mean())
        return np.array(errors, np.float64)

    def error_of(self, distortion):
        """Returns the mean squared error of a distortion under unit variance."""
        return 2 * distortion / self.event_size - _LOG_2PI

    def distortion_of(self, error):
        """Returns the distortion of a mean squared error under unit variance."""
        return self.event_size / 2 * (error + _LOG_2PI)

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
        error = self.error_of(values["distortion"]) if self.is_normal else None
        return self._bound(values["rate"], values["distortion"], error, self.curve.beta)

    def bound_of_noise(self, beta):
        """Measures -ELBO of a normal, nats, at a weight beside those of the curve."""
        curve = self.measure([beta])
        rate, distortion = curve.rate[0], curve.distortion[0]
        return self._bound(rate, distortion, self.error_of(distortion), beta)

    def units(self, beta):
        """Returns the `Units` of a weight."""
        chosen, latents = self.chosen, self.curve.latent_dim
        name = "normal" if self.is_normal else "bernoulli"
        weight = kv.weighing.Weight(beta, self.event_size, latents, name)
        if self.is_normal:
            scaling = self.data.scaling
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
            low, high = np.percentile(self.bound_replicates, CONFIDENCE, axis=0)
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
        split = "test" if self.data.validation is None else "validation"
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

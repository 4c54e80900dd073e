"""The advice: a weight for each purpose, by the rules of the curve."""

import dataclasses
import math

import numpy as np

from keras_vae import metrics
from keras_vae.arguments import check_number
from keras_vae.conditions import MAIN
from keras_vae.weighing import measuring
from keras_vae.weighing.advising.family import Family
from keras_vae.weighing.advising.report import Advice
from keras_vae.weighing.advising.report import AdviceReport
from keras_vae.weighing.advising.translation import units_of
from keras_vae.weighing.curve import RateDistortionCurve
from keras_vae.weighing.curve import recommendation

# Draws and examples whose distances are compared.
_COMPARED = 500
_BISECTIONS = 4
_NO_CODE = (
    "none. At no weight is a unit of z active, so no weight serves a purpose. Start "
    "from the linear optimum, `linear_path=True` and `vae.adapt(x)`, or warm up the "
    "weight with `KLAnnealing`, or train longer"
)


def advise(
    models,
    data=None,
    betas=None,
    target_rate=None,
    target_distortion=None,
    target_rmse=None,
    reference=None,
    data_scale=None,
    num_samples=1,
    num_resamples=1000,
    seed=0,
):
    """Says which weight of the KL serves which purpose, why, and how to write it.

    | purpose | the weight |
    |---|---|
    | "likelihood" | with which the loss bounds -log p(x) best |
    | "samples" | whose generated events are nearest to the data |
    | "rate", "distortion", "rmse" | that reaches a target, where one is given |
    | "active_units" | the largest that keeps most units of z active |
    | "collapse" | above which units begin to collapse |

    All but "rmse" and "collapse" are what `curve.recommend` says of the curve, which is
    the report's `curve`. The models are left as they are.

    Args:
        models: A Multi-Rate VAE; a list of `VAE`s, whose objectives say their weights;
            a dict, weight to `VAE`; or a `RateDistortionCurve`, of which all is said
            that needs no model.
        data: Array x (examples, ...), or tuple (x, y), as for `fit`: examples that were
            not trained on. None for a curve.
        betas: Weights to measure. Defaults to all models, and for a Multi-Rate VAE to
            13 weights over its `beta_range`.
        target_rate: Float, nats, or None.
        target_distortion: Float, nats, or None.
        target_rmse: Float, root mean squared error of a number, in units of x, or None.
            Under a normal of fixed scale.
        reference: Array (other examples, ...), by which is told how far data are from
            data, or None.
        data_scale: Float, by which the data were divided before the models saw them, or
            None: for sigma in the units of the data.
        num_samples: Integer, draws of z per example.
        num_resamples: Integer, of the bootstrap over examples.
        seed: Integer, of all draws, which are the same for all models.

    Returns:
        An `AdviceReport`, a list of `Advice`: `print` it, or take
        `report["likelihood"].beta`. Each has `beta`, `reason`, a 95% `interval` over
        examples where beta is measured and no theory gives it, and `units`: beta_norm,
        sigma in units of x, and the line of code that is the loss.

    Raises:
        ValueError: If models, weights or data do not fit, or a target does not suit the
            likelihood.

    Example:
    >>> curve = kv.weighing.RateDistortionCurve(
    ...     beta=[0.1, 0.25, 1.0],
    ...     values={"rate": [3.0, 2.0, 1.0], "distortion": [4.2, 4.3, 4.6]},
    ...     active_units=[2, 2, 1],
    ...     latent_dim=2,
    ...     num_examples=100,
    ...     meaning=kv.weighing.Meaning("unit_normal", 4),
    ... )
    >>> report = kv.advise(curve, target_rate=1.5)
    >>> round(report["likelihood"].beta, 3), round(report["rate"].beta, 3)
    (0.341, 0.5)
    >>> print(report["rate"])
    Target rate: beta = 0.5
        In your own code, kl summed over latents, averaged over the batch:
          loss = keras.ops.mean((x - x_hat) ** 2) + 0.25 * kl
        Then the noise sigma of x is 0.7071.
        Why: rate 1.5 nats, root mean squared error 0.602 there, on held-out data.

    References:
        [Fixing a Broken ELBO](https://arxiv.org/abs/1711.00464);
        [Simple and Effective VAE Training with Calibrated
        Decoders](https://arxiv.org/abs/2006.13202);
        [Energy statistics](https://doi.org/10.1016/j.jspi.2013.03.018)
    """
    targets = {"rate": target_rate, "distortion": target_distortion}
    targets |= {"rmse": target_rmse}
    targets = {
        name: check_number(f"target_{name}", target, signed=name == "distortion")
        for name, target in targets.items()
        if target is not None
    }
    if data_scale is not None:
        data_scale = check_number("data_scale", data_scale, positive=True)
    settings = {"num_samples": num_samples, "num_resamples": num_resamples}
    settings["seed"] = seed
    family, floor = None, None
    if isinstance(models, RateDistortionCurve):
        curve = models
    else:
        family = Family(models)
        curve = family.measure(data, betas, num_generated=_COMPARED, **settings)
        if reference is not None:
            floor = _floor(data, reference)
    advisor = _Advisor(curve, family, data, settings, data_scale, floor)
    _check_rmse(targets, curve)
    return AdviceReport(advisor.all(targets), curve, family, data_scale)


def _floor(data, reference):
    """Returns the energy distance of other examples and the data, None of one."""
    x, y = measuring.unpack(data)
    target = x if y is None else y
    target = np.asarray(target[MAIN] if isinstance(target, dict) else target)
    target, reference = target[:_COMPARED], np.asarray(reference)[:_COMPARED]
    if min(len(target), len(reference)) < 2:
        return None
    return metrics.energy_distance(reference, target)


def _check_rmse(targets, curve):
    if "rmse" in targets and (curve.meaning is None or not curve.meaning.is_noise):
        family = "unknown" if curve.meaning is None else curve.meaning.family
        raise ValueError(
            "`target_rmse` must be left out unless the likelihood is a normal of fixed "
            "scale; see `target_distortion`. Received: "
            f"target_rmse={targets['rmse']:g} and a likelihood that is {family}"
        )


@dataclasses.dataclass
class _Advisor:
    """A curve, its models where there are any, and how more of them is measured."""

    curve: RateDistortionCurve
    family: Family | None
    data: object
    settings: dict
    data_scale: float | None
    floor: float | None

    def all(self, targets):
        """Yields `Advice`s."""
        if not self.curve.active_units.any():
            yield Advice("likelihood", "Best likelihood", None, _NO_CODE)
            return
        yield self._likelihood()
        yield self._samples()
        for name, target in targets.items():
            yield self._target(name, target)
        yield self._active_units()
        yield self._collapse()

    # === A purpose each ===

    def _likelihood(self):
        bound_at = self._bound_at if self._is_continuous else None
        found = recommendation.recommend(self.curve, "likelihood", None, bound_at)
        return self._advice(
            "likelihood", "Best likelihood", found.beta, found.reason, found.interval
        )

    def _bound_at(self, beta):
        return self._measure(beta).reading.bound[0]

    def _samples(self):
        purpose, title = "samples", "Best samples"
        try:
            found = self.curve.recommend(purpose)
        except ValueError as error:
            return Advice(purpose, title, None, f"unknown. {error}")
        reason = found.reason
        if self.floor is not None and np.isfinite(self.curve.sample_distance).all():
            reason += f"; other data are at {self.floor:.3g}"
        return self._advice(purpose, title, found.beta, reason)

    def _target(self, name, target):
        title, reading = f"Target {name}", self.curve.reading
        measured, value = name, target
        if name == "rmse":
            measured, value = "distortion", reading.distortion_of(target**2)
        try:
            found = self.curve.recommend(measured, value)
        except ValueError as error:
            return Advice(name, title, None, f"`target_{name}`={target:g}: {error}")
        point = found.point
        lost = f"distortion {point.distortion:.4g} nats"
        if reading is not None and reading.is_noise:
            rmse = math.sqrt(max(reading.error_of(point.distortion), 0.0))
            lost = f"root mean squared error {rmse:.3g}"
        reason = f"rate {point.rate:.4g} nats, {lost} there, on held-out data"
        return self._advice(name, title, found.beta, reason, found.interval)

    def _active_units(self):
        purpose, title = "active_units", "Most active units"
        found = self.curve.recommend(purpose)
        return self._advice(purpose, title, found.beta, found.reason)

    def _collapse(self):
        purpose, title = "collapse", "Units begin to collapse"
        falls = self.curve.collapses()
        if not falls:
            low, high = self.curve.beta[[0, -1]]
            nowhere = f"nowhere from beta = {low:.4g} to {high:.4g}"
            return Advice(purpose, title, None, nowhere)
        low, high, before, after = falls[0]
        if self._is_continuous:
            low, high, after = self._bisect(low, high, before, after)
        reason = (
            f"{before} of {self.curve.latent_dim} units are active at {low:.4g}, "
            f"{after} at {high:.4g}"
        )
        return self._advice(purpose, title, math.sqrt(low * high), reason)

    def _bisect(self, low, high, before, after):
        for _ in range(_BISECTIONS):
            middle = math.sqrt(low * high)
            units = int(self._measure(middle).active_units[0])
            if units < before:
                high, after = middle, units
            else:
                low = middle
        return low, high, after

    # === What all stand on ===

    @property
    def _is_continuous(self):
        return self.family is not None and self.family.is_continuous

    def _measure(self, beta):
        return self.family.measure(self.data, [beta], **self.settings)

    def _advice(self, purpose, title, beta, reason, interval=None):
        beta = float(beta)
        nearest = beta if self.family is None else float(self.family.nearest(beta))
        if not math.isclose(nearest, beta, rel_tol=1e-3):
            reason += f". The nearest weight with a model is {nearest:.4g}"
        units, meaning = None, self.curve.meaning
        if meaning is not None:
            units = units_of(beta, meaning, self.curve.latent_dim, self.data_scale)
        return Advice(purpose, title, beta, reason, units, interval)

"""Conversions of the weight of the KL between the units of losses."""

import dataclasses
import math

import numpy as np

from keras_vae.arguments import check_count
from keras_vae.arguments import check_number
from keras_vae.distributions import likelihoods

# Reconstruction terms, all summed over the event, without the Gaussian's constants.
_TERMS = {
    "normal": "half the squared error (a Gaussian of unit variance)",
    "squared_error": "squared error",
    "bernoulli": "cross-entropy (a Bernoulli)",
    "learned": "-log p(x|z) with a learned scale",
}
_NOT_SIGMA = {
    "bernoulli": "a Bernoulli has no scale: beta is no parameter of the likelihood",
    "learned": "the scale is learned and moves with beta",
}


@dataclasses.dataclass(frozen=True)
class Weight:
    """Weight of the KL against the reconstruction, with conversions of its unit.

    With N numbers per event, M latents, SSE the squared error summed over the event
    and KL summed over the latents, these losses have the same minima:

        SSE + beta KL                             reconstruction="squared_error"
        SSE / 2 + (beta / 2) KL                   reconstruction="normal"
        SSE / (2 sigma^2) + KL, sigma^2 = beta/2  a Gaussian decoder, its ELBO
        SSE / N + (beta / N) KL                   mean squared error, summed KL
        SSE / N + (beta M / N) KL / M             all means: the weight is beta_norm

    For a Gaussian of fixed variance the weight *is* the variance, and the conversion is
    exact. Under a Bernoulli sums and means convert likewise, but only beta = 1 is the
    ELBO of a likelihood.

    Args:
        beta: Non-negative float, the weight of the summed KL, in nats, against
            `reconstruction`.
        event_size: Integer N, or the shape of one event.
        latent_dim: Integer M.
        reconstruction: "normal", half the squared error; "squared_error";
            "bernoulli", the cross-entropy; or "learned", a likelihood whose scale is
            learned. All are summed over the event.

    Example:
    >>> weight = kv.weighing.Weight.from_mean_losses(0.00025, (64, 64, 3), 128)
    >>> weight.to("normal").beta
    1.536
    >>> round(weight.sigma, 2)
    1.24

    Reference:
        [beta-VAE](https://openreview.net/forum?id=Sy2fzU9gl)
    """

    beta: float
    event_size: int
    latent_dim: int
    reconstruction: str = "normal"

    def __post_init__(self):
        object.__setattr__(self, "beta", check_number("beta", self.beta))
        object.__setattr__(self, "event_size", count_of(self.event_size))
        check_count("latent_dim", self.latent_dim)
        if self.reconstruction not in _TERMS:
            raise ValueError(
                f"`reconstruction` must be one of {', '.join(map(repr, _TERMS))}. "
                f"Received: reconstruction={self.reconstruction!r}"
            )

    # === From the weight of a loss ===

    @classmethod
    def from_beta(cls, beta, event_size, latent_dim, reconstruction="normal"):
        """Returns the weight of summed losses; see the class."""
        return cls(beta, event_size, latent_dim, reconstruction)

    @classmethod
    def from_beta_norm(cls, beta_norm, event_size, latent_dim, reconstruction="normal"):
        """Returns the weight of beta M / N.

        Args:
            beta_norm: Non-negative float.
            event_size: Integer N, or the shape of one event.
            latent_dim: Integer M.
            reconstruction: See the class.

        Returns:
            A `Weight`.

        Example:
        >>> kv.weighing.Weight.from_beta_norm(0.5, 784, 10, "squared_error").beta
        39.2
        """
        unit = cls(1.0, event_size, latent_dim, reconstruction)
        beta_norm = check_number("beta_norm", beta_norm)
        return unit._with_beta(beta_norm * unit.event_size / unit.latent_dim)

    @classmethod
    def from_sigma(cls, sigma, event_size, latent_dim, beta=1.0):
        """Returns the weight of a Gaussian of fixed scale: SSE/(2 sigma^2) + beta KL.

        Args:
            sigma: Positive float, standard deviation of p(x|z).
            event_size: Integer N, or the shape of one event.
            latent_dim: Integer M.
            beta: Non-negative float, weight of the KL against that likelihood.

        Returns:
            A `Weight` against half the squared error.

        Raises:
            ValueError: If `sigma` is not positive.
        """
        sigma = check_number("sigma", sigma)
        if sigma == 0:
            raise ValueError("`sigma` must be positive. Received: sigma=0")
        return cls(check_number("beta", beta) * sigma**2, event_size, latent_dim)

    @classmethod
    def from_mean_losses(
        cls, kl_weight, event_size, latent_dim, reconstruction="mse", kl="sum"
    ):
        """Returns the weight beside a mean over the event, as in Keras's losses.

        Args:
            kl_weight: Non-negative float, the weight in that loss.
            event_size: Integer N, or the shape of one event.
            latent_dim: Integer M.
            reconstruction: "mse" or "bce", averaged over the event.
            kl: "sum" or "mean" over the latents.

        Returns:
            A `Weight` against the squared error or the cross-entropy.
        """
        if reconstruction not in _SUMMED:
            raise ValueError(
                '`reconstruction` must be "mse" or "bce"; for summed losses see '
                f"`from_summed_losses`. Received: reconstruction={reconstruction!r}"
            )
        weight = cls.from_summed_losses(
            kl_weight, event_size, latent_dim, _SUMMED[reconstruction], kl
        )
        return weight._with_beta(weight.beta * weight.event_size)

    @classmethod
    def from_summed_losses(
        cls, kl_weight, event_size, latent_dim, reconstruction="sse", kl="sum"
    ):
        """Returns the weight beside a reconstruction summed over the event.

        Args:
            kl_weight: Non-negative float, the weight in that loss.
            event_size: Integer N, or the shape of one event.
            latent_dim: Integer M.
            reconstruction: "sse" or "bce", summed over the event.
            kl: "sum" or "mean" over the latents.

        Returns:
            A `Weight` against the squared error or the cross-entropy.

        Raises:
            ValueError: If `reconstruction` or `kl` has another value.
        """
        if reconstruction not in _KERAS_TERMS:
            raise ValueError(
                '`reconstruction` must be "sse" or "bce"; for averaged losses see '
                f"`from_mean_losses`. Received: reconstruction={reconstruction!r}"
            )
        if kl not in ("sum", "mean"):
            raise ValueError(
                f'`kl` must be "sum" or "mean", over the latents. Received: kl={kl!r}'
            )
        kl_weight = check_number("kl_weight", kl_weight)
        divisor = 1 if kl == "sum" else check_count("latent_dim", latent_dim)
        return cls(
            kl_weight / divisor, event_size, latent_dim, _KERAS_TERMS[reconstruction]
        )

    @classmethod
    def from_model(cls, model):
        """Returns the current weight of a `VAE` against its likelihood.

        Args:
            model: A built `keras_vae.VAE`; of a Multi-Rate VAE it is its `beta`.

        Returns:
            A `Weight`.

        Raises:
            ValueError: If the model is not built.
        """
        if not getattr(model, "built", False) or not hasattr(model, "event_shape"):
            raise ValueError(
                "`model` must be a built `keras_vae.VAE`: call `fit`, or "
                f"`build((None, *event_shape))`, first. Received: model={model!r}"
            )
        beta = model.objective.weight if model.beta_range is None else model.beta
        sizes = model.event_shape, model.latent_dim
        weight = of_likelihood(model.likelihood, beta, *sizes)
        if weight is None:
            raise ValueError(
                "`model` must have a Normal or Bernoulli likelihood: only these "
                "convert to squared errors and cross-entropies. "
                f"Received: likelihood={model.likelihood!r}"
            )
        return weight

    # === To other units ===

    @property
    def exact(self):
        """Whether the weight is the variance of the likelihood."""
        return self.reconstruction not in _NOT_SIGMA

    @property
    def beta_norm(self):
        """Beta M / N, the weight if reconstruction and KL are both averaged."""
        return self.beta * self.latent_dim / self.event_size

    @property
    def sigma2(self):
        """Variance of the Gaussian decoder whose ELBO is the loss, at beta = 1.

        Raises:
            ValueError: If the reconstruction is no Gaussian of fixed variance.
        """
        return self.to("normal").beta

    @property
    def sigma(self):
        """Standard deviation of that decoder, in the units of the data."""
        return math.sqrt(self.sigma2)

    def to(self, reconstruction):
        """Returns the same weight against another reconstruction term.

        Args:
            reconstruction: "normal" or "squared_error".

        Returns:
            A `Weight`. Its loss has the same minima.

        Raises:
            ValueError: If the reconstruction does not convert.

        Example:
        >>> kv.weighing.Weight(2.0, 784, 10, "squared_error").to("normal").beta
        1.0
        """
        if reconstruction == self.reconstruction:
            return self
        if not self.exact:
            raise ValueError(
                f"`{self.reconstruction}` does not convert to {reconstruction!r}: "
                f"{_NOT_SIGMA[self.reconstruction]}. Received: {self!r}"
            )
        factor = {"normal": 0.5, "squared_error": 2.0}.get(reconstruction)
        if factor is None:
            raise ValueError(
                '`reconstruction` must be "normal" or "squared_error" for a Gaussian. '
                f"Received: reconstruction={reconstruction!r}"
            )
        return dataclasses.replace(
            self, beta=factor * self.beta, reconstruction=reconstruction
        )

    def mean_weight(self, kl="sum"):
        """Returns the weight to write beside an event-averaged "mse" or "bce".

        Args:
            kl: "sum" or "mean" over the latents.

        Returns:
            Float.
        """
        if kl not in ("sum", "mean"):
            raise ValueError(f'`kl` must be "sum" or "mean". Received: kl={kl!r}')
        weight = self.to("squared_error") if self.exact else self
        return weight.beta_norm if kl == "mean" else weight.beta / weight.event_size

    def table(self):
        """Returns a list of rows (loss, weight w, words on exactness)."""
        if self.reconstruction == "learned":
            return [
                (
                    "-log p(x|z) + w KL",
                    self.beta,
                    f"no other unit: {_NOT_SIGMA['learned']}",
                )
            ]
        if self.reconstruction == "bernoulli":
            name, summed = "BCE", self
            exact = "same minima; a likelihood's ELBO only at w = 1 of the first line"
        else:
            name, summed, exact = "MSE", self.to("squared_error"), "exact"
        rows = [
            ("mean-" + name + " + w KL", summed.mean_weight(), exact),
            ("mean-" + name + " + w mean-KL", summed.mean_weight("mean"), exact),
        ]
        if self.reconstruction == "bernoulli":
            sigma = ("sigma of a Gaussian", None, _NOT_SIGMA["bernoulli"])
            return [("summed BCE + w KL", self.beta, exact), *rows, sigma]
        half = ("SSE / 2 + w KL (Gaussian, sigma = 1)", self.sigma2, exact)
        own = (
            f"SSE / (2 sigma^2) + w KL at sigma = {self.sigma:.4g}",
            1.0,
            "exact for a fixed sigma; if sigma is learned, w = 1 is the ELBO",
        )
        return [("SSE + w KL", summed.beta, exact), half, *rows, own]

    def __str__(self):
        """The weight in one sentence, and the table."""
        sizes = f"{self.event_size} numbers per event and {self.latent_dim} latents"
        if self.exact:
            zero = self.beta == 0
            words = (
                f"mean-MSE + {self.mean_weight():.4g} KL at {sizes} is "
                f"beta = {self.sigma2:.4g} under a unit-variance Gaussian, or "
                f"sigma = {self.sigma:.3g} at beta = 1"
                + (", which is no VAE" if zero else "")
            )
        else:
            words = (
                f"beta = {self.beta:.4g} against {_TERMS[self.reconstruction]} at "
                f"{sizes}; {_NOT_SIGMA[self.reconstruction]}"
            )
        lines = [words + "."]
        for loss, value, exact in self.table():
            shown = "-" if value is None else f"{value:.4g}"
            lines.append(f"  {loss:<42} w = {shown:<10} {exact}")
        return "\n".join(lines)

    def _with_beta(self, beta):
        return dataclasses.replace(self, beta=beta)


def count_of(event_size):
    """Returns how many numbers an event has, of its size or its shape.

    Raises:
        ValueError: If it is neither a positive integer nor several.
    """
    shape = np.atleast_1d(event_size)
    return math.prod(check_count("event_size", n) for n in shape)


def of_likelihood(likelihood, beta, event_size, latent_dim):
    """Returns the weight of the KL against -log p(x|z) of a likelihood.

    Args:
        likelihood: A likelihood of this library, or None.
        beta: Non-negative float.
        event_size: Integer N, or the shape of one event.
        latent_dim: Integer M.

    Returns:
        A `Weight`, or None unless the likelihood is Normal or Bernoulli.
    """
    sizes = event_size, latent_dim
    likelihood = None if likelihood is None else likelihood.core()
    if isinstance(likelihood, likelihoods.Bernoulli):
        return Weight(beta, *sizes, "bernoulli")
    if not isinstance(likelihood, likelihoods.Normal):
        return None
    if isinstance(likelihood.scale, float):
        return Weight.from_sigma(likelihood.scale, *sizes, beta=beta)
    return Weight(beta, *sizes, "learned")


_SUMMED = {"mse": "sse", "bce": "bce"}
_KERAS_TERMS = {"sse": "squared_error", "bce": "bernoulli"}

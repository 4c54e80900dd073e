"""A weight as it is written in one's own code, and every word of it."""

import dataclasses

from keras_vae.distributions import likelihoods


@dataclasses.dataclass(frozen=True)
class Units:
    """A weight as others write it; `print` shows it.

    With N numbers per event and M latent units:

    Args:
        beta_norm: Float, beta M / N, under a normal of scale s beta s^2 M / N.
        mean_weight: Float, the weight of the summed KL beside a mean squared error or
            mean cross-entropy, or None for other likelihoods.
        sigma: Float, the noise of the normal whose ELBO the weight trains, in units of
            x as the model sees it, or None where there is none.
        data_sigma: Float, the same in units of the data before they were scaled, or
            None.
        remark: String, what is exact.
        loss: String, the line of Python that is the loss; see `words`.
    """

    beta_norm: float
    mean_weight: float | None
    sigma: float | None
    data_sigma: float | None
    remark: str
    loss: str

    def __str__(self):
        """The line of code, and the numbers."""
        parts = [f"beta_norm {self.beta_norm:.4g}"]
        if self.sigma is not None:
            sigma = f"sigma {self.sigma:.4g}"
            if self.data_sigma is not None:
                sigma += f" ({self.data_sigma:.4g} in the units of the data)"
            parts.append(sigma)
        return f"{self.loss}\n{', '.join(parts)}; {self.remark}"


def units_of(beta, meaning, latent_dim, data_scale=None):
    """Returns the `Units` of a weight.

    Args:
        beta: Float.
        meaning: `Meaning` of the curve.
        latent_dim: Integer.
        data_scale: Float, by which the data were divided, or None.
    """
    weight = meaning.weight(beta, latent_dim)
    if meaning.is_noise:
        mean_weight = weight.mean_weight()
        scale = meaning.likelihood.scale
        name = "beta" if scale == 1 else f"beta times {scale:.4g} squared"
        return Units(
            weight.beta_norm,
            mean_weight,
            weight.sigma,
            None if data_scale is None else weight.sigma * float(data_scale),
            f"all exact, {name} is the variance of p(x|z)",
            f"loss = keras.ops.mean((x - x_hat) ** 2) + {mean_weight:.4g} * kl",
        )
    mean_weight, loss = None, f"loss = negative_log_likelihood + {beta:.4g} * kl"
    if _is_bernoulli(meaning):
        mean_weight = weight.mean_weight()
        cross_entropy = "keras.ops.mean(keras.losses.binary_crossentropy(x, x_hat))"
        loss = f"loss = {cross_entropy} + {mean_weight:.4g} * kl"
    own = getattr(meaning.likelihood, "scale", None)
    remark = (
        f"exact; there is no sigma, a {meaning.family} has no scale"
        if own is None
        else f"exact beside a {meaning.family} likelihood with scale={own!r}"
    )
    beta_norm = beta * latent_dim / meaning.event_size
    return Units(beta_norm, mean_weight, None, None, remark, loss)


def words(meaning, latent_dim):
    """Returns what each word of an advice means, names to phrases.

    Args:
        meaning: `Meaning` of the curve.
        latent_dim: Integer.
    """
    size = f"the {meaning.event_size} numbers of an event"
    units = f"the {latent_dim} units of z"
    found = {
        "beta": _weight_words(meaning, size),
        "distortion": f"-log p(x|z) in nats, summed over {size}, mean over the data",
        "rate": f"KL(q(z|x) || p(z)) in nats, summed over {units}, mean over the data",
        "-ELBO": "distortion + rate in nats, at least the mean of -log p(x)"
        + _noise_words(meaning),
        "kl": "the rate of a batch, a scalar",
        "x, x_hat": "a batch, and the decoder's mean of it at one draw of z each",
        "negative_log_likelihood": "the distortion of a batch, a scalar, such as of "
        "keras_vae.losses.NegativeLogLikelihood",
        "beta_norm": f"beta x {latent_dim} / {meaning.event_size}, the weight beside "
        "means over numbers and units",
        "sigma": "standard deviation of the noise of a normal p(x|z), whose -ELBO "
        "times sigma squared is minimised, up to a constant",
        "active unit": "unit of z whose posterior mean has a variance over the data "
        "above 0.01",
        "95%": "interval over data drawn anew, for the models as they are",
    }
    has_means = meaning.is_noise or _is_bernoulli(meaning)
    left_out = {
        "x, x_hat": not has_means,
        "negative_log_likelihood": has_means,
        "sigma": not meaning.is_noise,
    }
    return {name: text for name, text in found.items() if not left_out.get(name)}


def _weight_words(meaning, size):
    if not meaning.is_noise:
        return "weight of the KL: distortion + beta rate is minimised"
    scale = meaning.likelihood.scale
    squares = "SSE / 2" if scale == 1 else f"SSE / (2 x {scale:.4g} squared)"
    return (
        f"weight of the KL: {squares} + beta rate is minimised, SSE the squared error "
        f"summed over {size}"
    )


def _noise_words(meaning):
    if meaning.is_noise:
        return ", under the noise sigma"
    return ", x being read as normal" if meaning.is_grey else ""


def _is_bernoulli(meaning):
    return isinstance(meaning.likelihood, likelihoods.Bernoulli)

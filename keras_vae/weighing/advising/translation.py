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
        """The line of code, what the KL in it is, and the noise."""
        return self.as_text("In your own code")

    def as_text(self, where):
        """Returns what `print` shows.

        Args:
            where: String, the words before the line of code.
        """
        text = (
            f"{where}, kl summed over latents, averaged over the batch:\n  {self.loss}"
        )
        if self.sigma is None:
            return text
        noise = f"{self.sigma:.4g}"
        if self.data_sigma is not None:
            noise += f" ({self.data_sigma:.4g} in the units of the data)"
        return f"{text}\nThen the noise sigma of x is {noise}."


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
            f"exact; {name} is the variance of p(x|z)",
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
    size = f"the {meaning.event_size} numbers of an example"
    gaps = ""
    if meaning.share < 1:
        size = f"those of {size} that are there"
        gaps = "; where an element is missing, put x in place of x_hat"
    found = {
        "beta": _weight_words(meaning, size),
        "rate": f"KL(q(z|x) || p(z)), nats: what z says about x, summed over the "
        f"{latent_dim} latents, averaged over the data",
        "distortion": "-log p(x|z), nats: what z leaves open of x, summed over "
        f"{size}, averaged over the data",
        "-ELBO": f"rate + distortion{_noise_words(meaning)}, nats: an upper bound of "
        "-log p(x), so less is better",
        "nats": "information, or -log of a probability; 1 nat is 1.44 bits",
        "kl": "the rate of a batch, one number",
        "x, x_hat": "a batch, and the decoder's output for it: the mean of p(x|z) at "
        f"one draw of z for each example{gaps}",
        "negative_log_likelihood": "the distortion of a batch, one number, such as of "
        f"keras_vae.losses.NegativeLogLikelihood{_likelihood_words(meaning)}",
        "sigma": "standard deviation of x around x_hat",
        "active": "a unit of z, or latent, is active if its posterior mean has a "
        "variance over the data above 0.01",
        "energy distance": "how far generated examples are from the data: 0 if they "
        "are alike",
        "95%": "interval for other data of the same kind, with the same models",
        "beta_norm": f"beta x {latent_dim} / {meaning.event_size}, the weight beside "
        "means over numbers and latents",
    }
    has_means = meaning.is_noise or _is_bernoulli(meaning)
    left_out = {
        "x, x_hat": not has_means,
        "negative_log_likelihood": has_means,
        "sigma": not (meaning.is_noise or meaning.is_grey),
    }
    return {name: text for name, text in found.items() if not left_out.get(name)}


def _weight_words(meaning, size):
    if not meaning.is_noise:
        return "weight of the KL: training minimises distortion + beta x rate"
    scale = meaning.likelihood.scale
    squares = "half the squared error"
    if scale != 1:
        squares = f"the squared error / (2 x {scale:.4g} squared)"
    return (
        f"weight of the KL: training minimises {squares}, summed over {size}, "
        "+ beta x rate"
    )


def _noise_words(meaning):
    if meaning.is_noise:
        return " under the noise sigma"
    return " of a normal with the noise sigma" if meaning.is_grey else ""


def _likelihood_words(meaning):
    scale = getattr(meaning.likelihood, "scale", None)
    return "" if scale is None else f" of a {meaning.family} with scale={scale!r}"


def _is_bernoulli(meaning):
    return isinstance(meaning.likelihood, likelihoods.Bernoulli)

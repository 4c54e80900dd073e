"""The objective of a model trained for all weights of the rate at once."""

import keras

from keras_vae.objectives.elbo import ELBO


@keras.saving.register_keras_serializable("keras_vae")
class MultiRateELBO(ELBO):
    """Distortion plus rate, with a separate rate weight for each example.

    `loss = mean_x (distortion(x) + kl_weight beta(x) rate(x))`. The model draws beta(x)
    for each example; `kl_weight` multiplies all of them, for a warm-up.

    Args:
        **kwargs: See `ELBO`.
    """

    def rate_loss(self, estimate, mean):
        """See `ELBO.rate_loss`."""
        return self.kl_weight.value * mean(estimate.beta * self.rate(estimate))

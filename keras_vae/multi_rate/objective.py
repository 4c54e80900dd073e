"""The objective of a model that is trained for all weights of the rate at once."""

import keras

from keras_vae.objectives.elbo import ELBO


@keras.saving.register_keras_serializable("keras_vae")
class MultiRateELBO(ELBO):
    """Distortion plus rate, where each example has its own weight of the rate.

    `loss = mean_x (distortion(x) + kl_weight beta(x) rate(x))`, where beta(x) is what
    the model drew for the example; `kl_weight` multiplies all of them, for a warm-up.

    Args:
        **kwargs: See `ELBO`.
    """

    def rate_loss(self, estimate, mean):
        """See `ELBO.rate_loss`."""
        return self.kl_weight.value * mean(estimate.beta * self.rate(estimate))

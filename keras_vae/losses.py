"""Losses for `compile` beside `layers.Latent`."""

import keras
import tensorflow as tf

from keras_vae import _keras
from keras_vae.distributions import likelihoods
from keras_vae.objectives import BatchMean
from keras_vae.objectives.reduction import check_sample_weight


@keras.saving.register_keras_serializable("keras_vae")
class NegativeLogLikelihood(keras.losses.Loss):
    """Distortion of a decoder's output: -log p(x|z) in nats.

    Summed over the event, averaged over the global batch with `sample_weight`, which
    makes it the partner of `layers.Latent`: together they are the negative ELBO.

    Elements that the mask of `y_pred` leaves out add nothing, as in Keras's own losses:
    the padding behind `Embedding(mask_zero=True)`, say. The batch's mean still counts
    an example of which nothing is left.

    Args:
        likelihood: Name, config or `Likelihood` without learned numbers, which would
            not be among the weights of the model.
        name: String, name of the loss.

    Call arguments:
        y_true: Tensor of shape (batch, *event_shape), x.
        y_pred: Tensor of shape (batch, *params_shape), the decoder's raw output:
            logits for a Bernoulli.
        sample_weight: Tensor of shape (batch,) or None.

    Returns:
        Scalar float32 tensor, nats per example.

    Example:
    >>> loss = kv.losses.NegativeLogLikelihood("bernoulli")
    >>> x, logits = np.ones((2, 784)), np.zeros((2, 784))
    >>> round(float(loss(x, logits)), 2)  # 784 log(2)
    543.43
    """

    def __init__(self, likelihood="bernoulli", name="negative_log_likelihood"):
        super().__init__(name=name, dtype="float32")
        self.likelihood = likelihoods.get(likelihood)
        if self.likelihood.weights:
            raise ValueError(
                "`likelihood` must not own weights, because a loss's weights are not "
                "trained by Keras. Fix the scale, let the decoder put it out "
                '(`scale="per_output"`), or use `keras_vae.VAE`. '
                f"Received: likelihood={likelihood!r}"
            )

    def call(self, y_true, y_pred):
        """Returns the loss of each example, shape (batch,), nats."""
        y_true, params = tf.convert_to_tensor(y_true), tf.convert_to_tensor(y_pred)
        event_shape = self.likelihood.event_shape(tuple(params.shape[1:]))
        if not y_true.shape.is_compatible_with((params.shape[0], *event_shape)):
            raise ValueError(
                "`y_true` must be what the decoder reconstructs, of shape (batch, "
                f"{', '.join(map(str, event_shape))}) for y_pred.shape="
                f"{tuple(params.shape)}. Received: y_true.shape={tuple(y_true.shape)}. "
                "Pass `fit(x, x)`, not labels, or reshape one of them."
            )
        # Likelihoods of one's own need not know masks where there are none.
        mask = _keras.mask_of(y_pred)
        options = {} if mask is None else {"mask": mask}
        return -self.likelihood.log_prob(params[:, None], y_true, **options)[:, 0]

    def __call__(self, y_true, y_pred, sample_weight=None):
        """See the class."""
        values = self.call(y_true, y_pred)
        mean = BatchMean(tf.shape(values)[0], check_sample_weight(sample_weight))
        # Keras scales added losses by the number of replicas, compiled ones not.
        return mean(values) / mean.replicas

    def get_config(self):
        """Returns the config, from which `from_config` makes an equal loss."""
        return {
            "likelihood": keras.saving.serialize_keras_object(self.likelihood),
            "name": self.name,
        }

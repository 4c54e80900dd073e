"""Losses to `compile` together with `layers.Latent`."""

import keras
import tensorflow as tf

from keras_vae import _keras
from keras_vae import checks
from keras_vae.distributions import likelihoods
from keras_vae.objectives import BatchMean
from keras_vae.objectives.reduction import check_sample_weight


@keras.saving.register_keras_serializable("keras_vae")
class NegativeLogLikelihood(keras.losses.Loss):
    """Distortion of a decoder's output: -log p(x|z) in nats.

    Summed over the event and averaged over the global batch with `sample_weight`.
    Together with `layers.Latent` this is the negative ELBO.

    As in Keras's own losses, elements masked out by the mask of `y_pred` contribute
    nothing, for example the padding of `Embedding(mask_zero=True)`. The mean over the
    batch still counts an example whose elements are all masked out.

    Args:
        likelihood: Name, config or `Likelihood` without learned numbers: these would
            not be among the weights of the model.
        name: String, name of the loss.

    Call arguments:
        y_true: Tensor of shape (batch, *event_shape), x.
        y_pred: Tensor of shape (batch, *params_shape), the decoder's raw output:
            logits for a Bernoulli.
        sample_weight: Tensor of shape (batch,) or None.

    Returns:
        Scalar float32 tensor, nats per example.

    Raises:
        ValueError: If the likelihood owns weights. On a call, if shapes do not fit, or
            if a sigmoid or softmax is seen at the end of the decoder, whose output is
            taken for logits.

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
                "`likelihood` must not own weights, because Keras does not train the "
                "weights of a loss. Fix the scale, let the decoder output it "
                '(`scale="per_output"`), or use `keras_vae.VAE`. '
                f"Received: likelihood={likelihood!r}"
            )

    def call(self, y_true, y_pred):
        """Returns the loss of each example, shape (batch,), nats."""
        self.check_output(y_pred)
        y_true, params = tf.convert_to_tensor(y_true), tf.convert_to_tensor(y_pred)
        event_shape = self.likelihood.event_shape(tuple(params.shape[1:]))
        if not y_true.shape.is_compatible_with((params.shape[0], *event_shape)):
            raise ValueError(
                "`y_true` must have the shape that the decoder reconstructs, (batch, "
                f"{', '.join(map(str, event_shape))}) for y_pred.shape="
                f"{tuple(params.shape)}. Received: y_true.shape={tuple(y_true.shape)}. "
                "Pass `fit(x, x)`, not labels, or reshape one of them."
            )
        # A user's likelihood need not accept masks, so `mask` is passed only if there
        # is one.
        mask = _keras.mask_of(y_pred)
        options = {} if mask is None else {"mask": mask}
        return -self.likelihood.log_prob(params[:, None], y_true, **options)[:, 0]

    def check_output(self, y_pred):
        """Raises ValueError if `y_pred` has passed an activation that must not end it.

        Seen are Keras's own activations, and in a graph all of TensorFlow's.
        """
        checks.check_no_activation(y_pred, self.likelihood)

    def __call__(self, y_true, y_pred, sample_weight=None):
        """See the class."""
        values = self.call(y_true, y_pred)
        mean = BatchMean(tf.shape(values)[0], check_sample_weight(sample_weight))
        # Keras scales added losses by the number of replicas, but not compiled ones.
        return mean(values) / mean.replicas

    def get_config(self):
        """Returns the config; `from_config` makes an equal loss from it."""
        return {
            "likelihood": keras.saving.serialize_keras_object(self.likelihood),
            "name": self.name,
        }

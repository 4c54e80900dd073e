"""The drop-in latent layer."""

import keras
import tensorflow as tf

from keras_vae import objectives
from keras_vae.arguments import warn_of_half_precision
from keras_vae.conditions import ABOVE
from keras_vae.layers.latent_variable import LatentVariable
from keras_vae.metrics.trackers import RateReport
from keras_vae.objectives import BatchMean
from keras_vae.objectives import Estimate
from keras_vae.objectives.reduction import check_sample_weight


@keras.saving.register_keras_serializable("keras_vae")
class Latent(LatentVariable):
    """Latent variable for any Keras model: samples z and adds its own KL loss.

    A dense head turns features into the parameters of q(z|x). The layer returns z ~
    q(z|x) and adds `kl_weight KL(q(z|x) || p(z))` with `add_loss`, in nats, summed over
    units and averaged over the global batch. The matching reconstruction loss is
    `keras_vae.losses.NegativeLogLikelihood`, in the same units. Keras's `"mse"` is a
    mean over pixels, which in effect multiplies the KL by the number of pixels.

    Outside training the noise of z depends only on the seed and on the position in the
    batch, so two calls agree. With `deterministic=True` z is then the posterior mean.

    The layer logs `kl_loss`, unweighted, and `kl_weight`. With several layers in one
    model, their sum is logged as `kl_loss`, and each logs `<name>_kl_loss` and
    `<name>_kl_weight`. If a model calls a layer several times, as `TimeDistributed`
    does, the KLs of all calls add up.

    A prior that depends on what is above, as in a hierarchy of latents, is a
    `keras_vae.priors.Conditional`. It takes `prior_features`, what a network makes of
    the z above, and so may the posterior, see `PrecisionWeighted` and `Residual`.

    Args:
        units: Integer, dimensions of the latent space, or a tuple, the shape of a map,
            channels last.
        kl_weight: Non-negative float, the weight of the KL; 1 is the ELBO.
        posterior: Name, config or `Posterior` q(z|x).
        prior: Name, config or `Prior` p(z). The pseudo-inputs of a `VampPrior` lie in
            the space of the features.
        kl: "analytic" or "monte_carlo".
        objective: Objective that provides `rate_loss`, in place of `ELBO(kl_weight,
            kl)`.
        deterministic: Boolean, whether z is the posterior mean outside training.
        seed: Integer or None, see `keras_vae.random.Noise`.

    Call arguments:
        inputs: Tensor of shape (batch, ...), features.
        sample_weight: Tensor of shape (batch,) or None. Keras passes the weights of
            `fit` to compiled losses only. To weight the KL too, feed the weights as an
            input of the model and pass them here.
        training: Boolean.
        mask: Boolean tensor of shape (batch,) or None, as `TimeDistributed` passes it
            for each time of a sequence. Masked examples have a KL of 0. A mask with
            further axes is not used.
        prior_features: Tensor of shape (batch, ...), features of the latents above, or
            None. They must not depend on this z, or the KL would be wrong.

    Returns:
        Tensor of shape (batch, units), or of that of the map, in the layer's
        `compute_dtype`.

    Example:
    >>> x = keras.Input((64,))
    >>> z = kv.layers.Latent(8, kl_weight=0.5, seed=0)(x)
    >>> model = keras.Model(x, keras.layers.Dense(64)(z))
    >>> model(np.zeros((2, 64))).shape
    TensorShape([2, 64])
    >>> len(model.losses)
    1

    Reference:
        [Auto-Encoding Variational Bayes](https://arxiv.org/abs/1312.6114)
    """

    def __init__(
        self,
        units,
        kl_weight=1.0,
        posterior="diagonal_normal",
        prior="standard_normal",
        kl="analytic",
        objective=None,
        deterministic=False,
        seed=None,
        **kwargs,
    ):
        super().__init__(units, posterior=posterior, prior=prior, seed=seed, **kwargs)
        if objective is None:
            objective = objectives.ELBO(kl_weight=kl_weight, kl=kl, name="objective")
        elif (kl_weight, kl) != (1.0, "analytic"):
            raise ValueError(
                "`objective` owns `kl_weight` and `kl`: pass them to the objective. "
                f"Received: objective={objective!r}, kl_weight={kl_weight}, kl={kl!r}"
            )
        self.objective = objectives.get(objective)
        if (
            not self.objective.separable
            or self.objective.num_samples != 1
            or self.objective.needs_prior_samples
        ):
            raise ValueError(
                "`objective` must be a sum of rate and distortion with one sample, "
                "because `Latent` only has the rate; use `keras_vae.VAE`. "
                f"Received: objective={objective!r}"
            )
        self.objective.check_latents([self.name])
        self.deterministic = bool(deterministic)
        self.report = RateReport(self)
        self.objective.belong_to(self)

    @property
    def kl_weight(self):
        """The objective's `Hyperparameter`; a number may be assigned to it."""
        return self.objective.kl_weight

    @kl_weight.setter
    def kl_weight(self, value):
        self.objective.kl_weight = value

    def build(self, inputs_shape, prior_features_shape=None):
        """Creates the weights from the shapes of the features."""
        warn_of_half_precision([self])
        above = {} if prior_features_shape is None else {ABOVE: prior_features_shape}
        if above and not self.prior.takes_condition(ABOVE):
            raise ValueError(
                "`prior` must be a `keras_vae.priors.Conditional` to take "
                f"`prior_features`. Received: prior={self.prior!r}"
            )
        self.build_from_features(inputs_shape, inputs_shape, above)

    def call(
        self,
        inputs,
        sample_weight=None,
        training=False,
        mask=None,
        prior_features=None,
    ):
        """See the class."""
        params, prior = self._params(inputs, prior_features)
        if training:
            self.objective.advance()
            key = self.noise.next_key()
        else:
            key = self.noise.evaluation_key(0)
        z, density = self.draw(params, 1, key)
        estimate = Estimate.of([self.estimate(params, prior, z, **density)])
        sample_weight = check_sample_weight(sample_weight)
        mean = BatchMean(tf.shape(params)[0], sample_weight, example_mask(mask))
        # Keras adds losses in its default dtype and cannot add two dtypes.
        loss = self.objective.rate_loss(estimate, mean)
        self.add_loss(tf.cast(loss, keras.config.floatx()))
        self.report.update(mean(self.objective.rate(estimate)), mean)
        if training:
            self.objective.control(estimate, mean)
        elif self.deterministic:
            z = self.posterior.mean_and_stddev(params)[0][:, None]
        z = z[:, 0] if len(self.shape) == 1 else self.shaped(z)
        return tf.cast(z, self.compute_dtype)

    def _params(self, inputs, prior_features):
        """Returns the parameters of q(z|x) and p(z)."""
        if prior_features is None:
            params = self.infer(inputs)
            return params, self.prior.params(self.infer)
        prior = self.prior_params(self.infer, {ABOVE: prior_features})
        return self.infer(inputs, prior_params=prior), prior

    def compute_output_shape(self, inputs_shape, **kwargs):
        """Returns (batch, units), or the shape of a batch of maps."""
        return (inputs_shape[0], *self.shape)

    def get_config(self):
        """Returns the config; `from_config` makes an equal layer from it."""
        return {
            **super().get_config(),
            "objective": keras.saving.serialize_keras_object(self.objective),
            "deterministic": self.deterministic,
        }


def example_mask(mask):
    """Returns a mask of examples, or None for a mask of parts of their features."""
    return mask if mask is not None and len(mask.shape) == 1 else None

"""The variational autoencoder."""

import keras
import tensorflow as tf

from keras_vae import _keras
from keras_vae import checks
from keras_vae import objectives
from keras_vae import replicas
from keras_vae.arguments import warn_of_half_precision
from keras_vae.conditions import Conditions
from keras_vae.distributions import likelihoods
from keras_vae.hyperparameter import Hyperparameter
from keras_vae.layers.latent_variable import LatentVariable
from keras_vae.layers.linear_path import beside
from keras_vae.metrics.trackers import CountedMean
from keras_vae.metrics.trackers import Gauge
from keras_vae.models import observed
from keras_vae.models.assignments import GuardsAttributes
from keras_vae.models.checked_data import CheckedData
from keras_vae.models.forward import ForwardPass
from keras_vae.models.inference import Inference
from keras_vae.models.saved import SavedWhole
from keras_vae.objectives import BatchMean
from keras_vae.objectives.reduction import check_sample_weight
from keras_vae.training import BlockTraining


@keras.saving.register_keras_serializable("keras_vae")
class VAE(
    GuardsAttributes,
    CheckedData,
    SavedWhole,
    Inference,
    ForwardPass,
    BlockTraining,
    keras.Model,
):
    """Variational autoencoder from any Keras encoder and decoder.

    The encoder turns x into features, and a dense head turns the features into the
    parameters of q(z|x). The decoder turns z into the parameters of p(x|z) (for a
    Bernoulli: logits, no sigmoid). `compile` takes no loss: the likelihood is the loss.
    Losses are in nats, summed over events and latents, averaged over the global batch.

    `fit(x)` reconstructs x; `fit(x, y)` reconstructs y from x. `fit` and `evaluate` log
    `loss`, `reconstruction_loss` and `kl_loss` (unweighted), `negative_elbo` (their
    sum, which is comparable across weights and time) and `kl_weight`. `evaluate` draws
    from fixed noise, so that two calls agree; `predict` decodes the posterior mean.
    Padding is left out of every sum and mean. The Keras mask of the decoder's output
    marks it, or the mask of features as long as the target.

    Args:
        encoder: `keras.Model` or layer, x -> features (batch, ...).
        decoder: `keras.Model` or layer, (batch, latent_dim) -> parameters of p(x|z),
            shape (batch, *likelihood.params_shape(event_shape)). One that also takes
            `previous` reads the target, see `keras_vae.models.reading.ReadsTarget`.
        latent_dim: Integer, dimensions of z, or a tuple, the shape of a map, channels
            last, whose features have its height and width.
        likelihood: Name, config or `Likelihood` p(x|z).
        posterior: Name, config or `Posterior` q(z|x).
        prior: Name, config or `Prior` p(z).
        objective: Name, config or objective; `ELBO(kl_weight=beta)` is a beta-VAE.
        seed: Integer, the seed of all noise, or None for a random one.
        linear_path: Boolean, whether linear maps stand beside encoder and decoder: the
            head of q(z|x) takes x beside the features, and `W z + b` is added to the
            decoder's output. `adapt` sets them from data.
        conditions: Dict of names to what stands beside x, or None: an integer is the
            number of classes of integer labels (N,), a tuple the shape of real values
            (N, *shape), None one real number (N,). Encoder, decoder and prior each take
            the conditions that their inputs name, labels as one-hot vectors, or none.
            `fit` and all other methods then take a dict of "x" and each condition:
            `fit({"x": x, "label": label})`, q(z|x, label) and p(x|z, label).
        missing: None, or "nan" if NaN elements are missing: all sums, means and
            densities are of the others, and the encoder sees 0 for them. With
            "nan_with_mask" it sees 1 or 0 too, on twice the last axis: there or not.
            With "padding" elements that are 0 are left out.

    Call arguments:
        inputs: Tensor of shape (batch, *event_shape), or a dict of it as "x" and of
            each condition.
        training: Boolean.

    Returns:
        A dict with the inputs of the objective: "posterior" (batch, params_size), "z"
        (batch, samples, latent_dim) and "likelihood" (batch, samples, *params_shape),
        float32; "prior" if the prior computes parameters with the encoder,
        "log_posterior" (batch, samples) if the posterior is a flow. A model with
        several latents has a dict by their names in place of each but "likelihood".

    Example:
    >>> vae = kv.VAE(
    ...     encoder=kv.networks.mlp_encoder([32]),
    ...     decoder=kv.networks.mlp_decoder([32], (8, 8, 1)),
    ...     latent_dim=4,
    ...     seed=0,
    ... )
    >>> vae.compile("adam")
    >>> history = vae.fit(np.zeros((64, 8, 8, 1)), epochs=1, verbose=0)
    >>> sorted(history.history)
    ['kl_loss', 'kl_weight', 'loss', 'negative_elbo', 'reconstruction_loss']
    >>> vae.generate(3, seed=1).shape
    TensorShape([3, 8, 8, 1])

    Reference:
        [Auto-Encoding Variational Bayes](https://arxiv.org/abs/1312.6114)
    """

    # If True, `Latent` layers in the encoder and decoder log under their own names.
    reports_elbo = True
    # The smallest and the largest KL weight, if one `fit` trains for a range of them.
    beta_range = None

    def __init__(
        self,
        encoder,
        decoder,
        latent_dim,
        likelihood="bernoulli",
        posterior="diagonal_normal",
        prior="standard_normal",
        objective="elbo",
        seed=None,
        linear_path=False,
        conditions=None,
        missing=None,
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.conditions = Conditions(conditions)
        likelihood = likelihoods.get(likelihood)
        self.linear_path = bool(linear_path)
        self.missing = observed.check_missing(missing)
        self._set_networks(encoder, decoder, likelihood)
        self.likelihood = likelihood
        self.objective = objectives.get(objective)
        self.latent = self._make_latent(
            latent_dim,
            posterior=posterior,
            prior=prior,
            seed=seed,
            name="latent",
            dtype=self.dtype_policy,
        )
        self._check_conditions()
        self.objective.check_latents([latent.name for latent in self.latents])
        self._make_trackers()
        self.objective.belong_to(self)

    def _set_networks(self, encoder, decoder, likelihood):
        """Keeps the networks, with the linear path beside them where there is one."""
        encoder = checks.check_network(encoder, "encoder")
        decoder = checks.check_network(decoder, "decoder")
        checks.check_output_activation(decoder, likelihood)
        if self.linear_path:
            has_mask = self.missing == "nan_with_mask"
            encoder, decoder = beside(encoder, decoder, self.conditions, has_mask)
        self.encoder, self.decoder = encoder, decoder

    def _make_trackers(self):
        # Keras's own mean of the loss weights batches by their size. This one weights
        # them by the sum of `sample_weight`, comes later in `metrics` and replaces it.
        self._loss_mean = CountedMean("loss")
        self._reconstruction_loss = CountedMean("reconstruction_loss")
        self._kl_loss = CountedMean("kl_loss")
        self._negative_elbo = CountedMean("negative_elbo")
        self._kl_weight = Gauge("kl_weight", lambda: self.objective.kl_weight.value)
        names = [latent.name for latent in self.latents]
        several = names if len(names) > 1 else []
        self._kl_losses = [CountedMean(f"{name}_kl_loss") for name in several]
        self._latent_weights = [
            Gauge(weight.name, lambda weight=weight: weight.value)
            for weight in self.objective.latent_weights.values()
        ]

    def _make_latent(self, *args, **kwargs):
        """Returns a `LatentVariable` made with these arguments."""
        return LatentVariable(*args, **kwargs)

    def with_networks(self, encoder, decoder, **parts):
        """Returns a plain model with latents of the same shapes, which is not built.

        Args:
            encoder: List of networks, see `stacks`.
            decoder: Likewise.
            **parts: Further arguments of a `VAE`.
        """
        (units,) = [latent.get_config()["units"] for latent in self.latents]
        return VAE(*encoder, *decoder, latent_dim=units, **parts)

    @property
    def deep_decoder(self):
        """The decoder without the linear path beside it."""
        return self._networks["decoder"]

    @property
    def _networks(self):
        """Encoder and decoder without the linear path, by name."""
        networks = {"encoder": self.encoder, "decoder": self.decoder}
        if not self.linear_path:
            return networks
        return {name: beside.network for name, beside in networks.items()}

    @property
    def _plain_networks(self):
        """The networks as `__init__` takes them, by name."""
        return self._networks

    @property
    def event_shape(self):
        """Shape of one x as the likelihood sees it; known once the model is built."""
        return self._event_shape

    def build(self, input_shape):
        """Creates all weights and checks that the networks fit the likelihood."""
        input_shape, shapes = self.conditions.main(input_shape), self.conditions.shapes
        seen_shape = observed.seen_shape(input_shape, self.missing)
        features_shape = checks.build_network(
            self.encoder, seen_shape, "encoder", shapes
        )
        further = self._build_latents(features_shape, input_shape, shapes)
        shapes = self._readable_shapes(input_shape, shapes)
        params_shape = checks.build_network(
            self.decoder,
            (None, *self.latent.shape),
            "decoder",
            {**shapes, **further},
        )[1:]
        checks.check_params_shape(params_shape, input_shape, self.likelihood)
        self._event_shape = tuple(self.likelihood.event_shape(params_shape))
        latent, zeros = self.latents[-1], self.conditions.zeros()
        checks.check_closed_form(latent, self.objective, zeros)
        self.built = True

    # === Forward pass ===

    def call(self, inputs, training=False):
        """See the class."""
        return self._call_networks(
            *self.conditions.split(inputs), self._next_key(training)
        )

    def _next_key(self, training):
        if training:
            return self.latent.noise.next_key()
        return self.latent.noise.evaluation_key(self._negative_elbo.batches)

    # === Training ===

    def compile(self, optimizer="adam", loss=None, loss_weights=None, **kwargs):
        """Configures the model for training.

        Args:
            optimizer: Name or `keras.optimizers.Optimizer`.
            loss: Must be None: the likelihood is the loss.
            loss_weights: Must be None: see `ELBO(kl_weight=...)`.
            **kwargs: See `keras.Model.compile`, and `BlockTraining` for the defaults
                of `jit_compile` and `steps_per_execution`, "auto". `metrics` compare
                the target with the likelihood's mean.

        Raises:
            ValueError: If a loss or loss weights are given.
        """
        checks.check_compile(loss, loss_weights)
        warn_of_half_precision(_keras.sublayers(self, keras.layers.Layer))
        super().compile(optimizer=optimizer, **kwargs)

    @property
    def losses(self):
        """Losses added since the last call, and the losses of weight regularizers."""
        # Keras cannot sum losses of several dtypes, which mixed precision makes.
        return [tf.cast(v, tf.float32) for v in replicas.own_losses(super().losses)]

    def _build_optimizers(self):
        # An optimizer without variables cannot load its state.
        optimizer = getattr(self, "optimizer", None)
        if self.built and optimizer is not None and not optimizer.built:
            optimizer.build(self.trainable_variables)

    def compute_loss(
        self, x=None, y=None, y_pred=None, sample_weight=None, training=True
    ):
        """Adds the objective's terms with `add_loss` and returns their sum."""
        x = self.conditions.main(x)
        target = checks.dense(checks.check_target(x, y, self.event_shape))
        sample_weight = check_sample_weight(sample_weight)
        mean = BatchMean(tf.shape(target)[0], sample_weight)
        if training:
            self.objective.advance()
        estimate = self._estimate(y_pred, target, mean, training)
        for term in self.objective.losses(estimate, mean).values():
            self.add_loss(term)
        loss = super().compute_loss(y_pred=y_pred, training=training)

        reconstruction_loss = mean(estimate.distortion)
        kl_loss = mean(self.objective.rate(estimate))
        self._reconstruction_loss.update(reconstruction_loss, mean)
        self._kl_loss.update(kl_loss, mean)
        for tracker, latent in zip(self._kl_losses, estimate.latents, strict=False):
            tracker.update(mean(self.objective.rate(latent)), mean)
        self._negative_elbo.update(reconstruction_loss + kl_loss, mean)
        self._loss_mean.update(loss * mean.replicas, mean)
        if training:
            self.objective.control(estimate, mean)
        return loss

    def compute_metrics(self, x, y, y_pred, sample_weight=None):
        """Compares the target with the likelihood's mean in compiled metrics."""
        x = self.conditions.main(x)
        target = checks.dense(x if y is None else y)
        target = observed.marked(target, self.missing)
        means = tf.reduce_mean(self.likelihood.mean(y_pred["likelihood"]), axis=1)
        mask = observed.mask_of_outputs(y_pred, target)
        given = target, means, mask, sample_weight, self.missing
        return super().compute_metrics(x, *observed.as_keras_compares(*given))

    def predict_step(self, data):
        """Returns the likelihood's mean at the posterior mean."""
        x, _, _ = keras.utils.unpack_x_y_sample_weight(data)
        return self.reconstruct(x)

    def fit(self, x=None, y=None, batch_size=None, epochs=1, **kwargs):
        """Trains the model on checked data; see `keras.Model.fit`.

        Arrays are checked whole, data sets and generators by their first batch.
        """
        checks.check_fit(batch_size=batch_size, epochs=epochs, **kwargs)
        if isinstance(x, tf.data.Dataset):
            # Keras cannot shuffle a data set, and warns if it is asked to.
            kwargs.setdefault("shuffle", False)
        data = checks.check_data(self, x, y, kwargs.pop("sample_weight", None))
        if kwargs.get("validation_data") is not None:
            kwargs["validation_data"] = checks.check_validation_data(
                self, kwargs["validation_data"]
            )
        try:
            return super().fit(batch_size=batch_size, epochs=epochs, **data, **kwargs)
        finally:
            self._release_schedules()

    def _release_schedules(self):
        # An interrupted `fit` does not end its callbacks: the schedule would stay
        # attached in a later `fit` without annealing.
        for item in _keras.sublayers(self, Hyperparameter):
            item.release()

    # === Config ===

    def get_config(self):
        """Returns the config; `from_config` makes an equal model from it."""
        latent = self.latent.get_config()
        return {
            **super().get_config(),
            **{
                name: keras.saving.serialize_keras_object(network)
                for name, network in self._plain_networks.items()
            },
            "latent_dim": latent["units"],
            "likelihood": keras.saving.serialize_keras_object(self.likelihood),
            "posterior": latent["posterior"],
            "prior": latent["prior"],
            "objective": keras.saving.serialize_keras_object(self.objective),
            "seed": latent["seed"],
            "linear_path": self.linear_path,
            "conditions": self.conditions.get_config(),
            "missing": self.missing,
        }

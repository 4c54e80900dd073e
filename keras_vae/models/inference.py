"""Methods of a VAE outside training: encode, generate, bound, export."""

import numpy as np
import tensorflow as tf

from keras_vae import checks
from keras_vae import conditions
from keras_vae import evaluation
from keras_vae import export
from keras_vae import imputation
from keras_vae import random
from keras_vae.models import conditional_start
from keras_vae.models import linear_start
from keras_vae.models.conditional import TakesConditions
from keras_vae.models.reading import ReadsTarget


class Inference(TakesConditions, ReadsTarget):
    """Mixin of `VAE` with the methods that use a model without training it.

    It uses the model's `latents`, `likelihood`, `objective` and `event_shape`, and its
    `ForwardPass`. What stands for all latents is one tensor, or of several a dict of
    tensors by their names.
    """

    # Endpoints of `export` beside those of any `VAE`: names to pairs of a function of x
    # and of named conditions, and the part that takes these.
    further_endpoints = conditions.NONE

    def infer(self, x, condition=None):
        """Returns the parameters of q(z|x); `latents` make distributions from them.

        Args:
            x: Tensor of shape (batch, *event_shape), or a dict of it as "x" and of
                conditions.
            condition: Dict of names to the conditions that the encoder takes, arrays
                (batch, ...) or one value for all, or None.

        Returns:
            A list with a float32 tensor (batch, params_size) for each of `latents`,
            with NaN for examples that are not finite. It carries the Keras mask of the
            features.
        """
        x, condition = self._data_and_conditions(x, condition, "encoder")
        return self._posteriors(x, condition, self._marker(x, condition))

    def adapt(self, x, steps=None):
        """Starts the linear path at the best linear VAE of data, before training.

        It sets linear path, output bias and noise. The equations, and what the model
        must consist of, stand at `keras_vae.models.linear_start.adapt`. At beta = 1 and
        with a normal likelihood the untrained model is probabilistic PCA, with
        `scale="per_output"` factor analysis.

        Args:
            x: Array (examples, *event_shape), `tf.data.Dataset`,
                `keras.utils.PyDataset`, or any iterable of batches x, (x,), (x, y) or
                (x, y, sample_weight), of which only x counts. An iterator is read to
                its end. A list is an array. With conditions a dict of arrays, or
                batches of dicts, as for `fit`, that can be read twice. With a
                `missing="nan"` NaN is a missing element; data that lack some are held
                in memory, and have neither conditions nor classes.
            steps: Integer, batches to read at most, or None to read all. Data without
                an end need it.

        Raises:
            ValueError: If the model cannot start there, or the data are empty, not
                batched, not of its shape or without an end. If examples and elements
                are both more than 2048, the data are read about ten times, so that an
                iterator is an error.

        Example:
        >>> x, _ = kv.datasets.digits()
        >>> vae = kv.VAE(
        ...     kv.networks.mlp_encoder([16]),
        ...     kv.networks.mlp_decoder([16], x.shape[1:]),
        ...     latent_dim=4,
        ...     linear_path=True,
        ... )
        >>> vae.adapt(tf.data.Dataset.from_tensor_slices(x).batch(100))
        >>> bool(np.mean(vae.elbo(x)) > -28)
        True
        """
        linear_start.check_linear_path(self)
        regression = None
        if self.conditions:
            pairs = conditional_start.ConditionalBatches(self, x, steps)
            x, steps = conditional_start.Residuals(pairs), None
            regression = x.regression if self.decoder.declared else None
        data = checks.Batches(x, steps, missing=self.missing)
        if not self.built:
            self.build((None, *data.example_shape))
        linear_start.adapt(self, data, regression)

    def encode(self, x, condition=None):
        """Returns mean and standard deviation of q(z|x).

        Args:
            x: See `infer`.
            condition: See `infer`.

        Returns:
            Two float32 tensors of shape (batch, latent_dim).
        """
        moments = [
            map(latent.shaped, latent.posterior.mean_and_stddev(params))
            for latent, params in zip(
                self.latents, self.infer(x, condition), strict=True
            )
        ]
        return tuple(map(self._by_name, zip(*moments, strict=True)))

    def sample_posterior(self, x, seed, condition=None):
        """Draws one z ~ q(z|x) for each example.

        Args:
            x: See `infer`.
            seed: Integer or integer tensor of shape (); equal seeds give equal draws.
            condition: See `infer`.

        Returns:
            Float32 tensor of shape (batch, latent_dim).
        """
        key = random.key(checks.check_seed(seed))
        x, condition = self._data_and_conditions(x, condition, "encoder")
        mark = self._marker(x, condition)
        draws, _ = self._draw_latents(x, condition, 1, key, mark)
        pairs = zip(self.latents, draws, strict=True)
        return self._by_name([latent.shaped(draw["z"]) for latent, draw in pairs])

    def decode(self, z, condition=None):
        """Returns the mean of p(x|z).

        Args:
            z: Tensor of shape (batch, latent_dim).
            condition: Dict of names to the conditions that the decoder takes, arrays
                (batch, ...) or one value for all, or None.

        Returns:
            Float32 tensor of shape (batch, *event_shape): probabilities for a
            Bernoulli.
        """
        self._require_built("decode")
        latents = self._checked_latents(z)
        size = latents[0].shape[0], tf.shape(latents[0])[0]
        condition = self._standard(condition, size, "decoder")
        return self._decode_finite(latents, condition)

    def reconstruct(self, x, condition=None):
        """Returns the mean of p(x|z) at the posterior mean, without noise.

        Args:
            x: See `infer`.
            condition: Dict of names to the conditions that encoder and decoder take,
                arrays (batch, ...) or one value for all, or None.

        Returns:
            Float32 tensor of shape (batch, *event_shape).
        """
        x, condition = self._data_and_conditions(x, condition, "encoder", "decoder")
        return self._decode_finite(self._means(x, condition), condition)

    def generate(self, n, seed=None, noise=False, condition=None):
        """Decodes draws from the prior.

        Args:
            n: Integer or integer tensor of shape (), the number of draws.
            seed: Integer or integer tensor of shape (), or None to draw one; equal
                seeds give equal draws.
            noise: Boolean, whether to draw x ~ p(x|z), which spreads as the data do,
                and not its mean, which is smooth. The draws of z are the same.
            condition: Dict of names to the conditions that prior and decoder take,
                arrays (n, ...) or one value for all, or None.

        Returns:
            Float32 tensor of shape (n, *event_shape), means of p(x|z) or draws of x.
        """
        return self._generate(n, seed, noise, condition)

    def _generate(self, n, seed, noise, condition, **options):
        """Generates as `generate` does; the options are those of `_draw_priors`."""
        self._require_built("generate")
        checks.check_count("n", n)
        seed = checks.check_seed(seed)
        if not isinstance(noise, bool):
            raise ValueError(
                f"`noise` must be True or False. Received: noise={noise!r}"
            )
        size = None if tf.is_tensor(n) else n, n
        condition = self._standard(condition, size, "prior", "decoder")
        key = random.key(seed)
        latents, beside = self._draw_priors(n, key, condition, **options)
        if not noise:
            means = self._decode_alone(latents, condition, beside=beside)
            return self._with_nan(means, condition, *latents)
        x = self._decode_alone(latents, condition, random.fork(key, 4), beside)
        return self._with_nan(x, condition)

    def interpolate(self, start, end, steps=8, condition=None):
        """Decodes the straight line between the posterior means of two inputs.

        Args:
            start: Tensor of shape (batch, *event_shape).
            end: Tensor of shape (batch, *event_shape).
            steps: Integer, at least 2, points on the line, both ends included.
            condition: See `reconstruct`; that of all points.

        Returns:
            Float32 tensor of shape (batch, steps, *event_shape).
        """
        parts = "encoder", "decoder"
        start, given = self._data_and_conditions(start, condition, *parts)
        end, _ = self._data_and_conditions(end, condition, *parts)
        lines = self._line(start, end, steps, given)
        rows = [tf.reshape(z, [-1, z.shape[-1]]) for z in lines]
        given = {name: tf.repeat(v, steps, axis=0) for name, v in given.items()}
        means = self._decode_alone(rows, given)
        return tf.reshape(means, [-1, steps, *means.shape[1:]])

    def _line(self, start, end, steps, condition=conditions.NONE):
        """Returns points between posterior means, a list of (batch, steps, units)."""
        checks.check_count("steps", steps, 2)
        starts, ends = (self._means(x, condition) for x in (start, end))
        if starts[0].shape != ends[0].shape:
            raise ValueError(
                "`start` and `end` must have the same number of examples. Received: "
                f"{starts[0].shape[0]} and {ends[0].shape[0]}"
            )
        place = np.linspace(0.0, 1.0, steps, dtype="float32")[:, None]
        return [
            start[:, None] + place * (end - start)[:, None]
            for start, end in zip(starts, ends, strict=True)
        ]

    def elbo(self, x, y=None, num_samples=1, seed=0, condition=None):
        """Estimates the unweighted ELBO of each example, regardless of the objective.

        Args:
            x: See `infer`.
            y: Target, or None if it is `x`.
            num_samples: Integer, draws of z per example.
            seed: Integer or integer tensor of shape (); equal seeds give equal draws.
            condition: Dict of names to all conditions, arrays (batch, ...) or one value
                for all, or None.

        Returns:
            Float32 tensor of shape (batch,), nats.
        """
        checks.check_count("num_samples", num_samples)
        seed = checks.check_seed(seed)
        parts = "encoder", "prior", "decoder"
        x, condition = self._data_and_conditions(x, condition, *parts)
        y = None if y is None else self._tensor(y, "y")
        target = checks.check_target(x, y, self.event_shape)
        if tf.executing_eagerly():
            checks.check_read_target(self, x, y)
            checks.check_support(self, target, y)
        key = random.key(seed)
        estimate = self._estimate_at(x, target, num_samples, key, condition)
        return -estimate.distortion - self.objective.rate(estimate)

    def estimate(self, x, y, num_samples, key, condition=conditions.NONE):
        """Draws from q(z|x) and evaluates all densities at the draws, outside training.

        Args:
            x: Tensor of shape (batch, *event_shape), or what `fit` takes as x.
            y: Target, which may be `x`.
            num_samples: Integer, draws of z per example.
            key: Int64 tensor of shape (2,), see `keras_vae.random`.
            condition: Dict of names to tensors, further ones that the networks take as
                they are, see `MultiRateVAE.condition_of`.

        Returns:
            A `keras_vae.objectives.Estimate`.
        """
        y = self.conditions.main(y)
        x, own = self.split(x)
        return self._estimate_at(x, y, num_samples, key, {**own, **condition})

    def _estimate_at(self, x, y, num_samples, key, condition):
        return self.scored(self.draw(x, num_samples, key, condition), y)

    def draw(self, x, num_samples, key, condition=conditions.NONE):
        """Draws from q(z|x) and decodes the draws, outside training.

        Args:
            x: Tensor of shape (batch, *event_shape).
            num_samples: Integer, draws of z per example.
            key: Int64 tensor of shape (2,), see `keras_vae.random`.
            condition: Dict of names to tensors, as the networks take them.

        Returns:
            A dict, as `call` returns it.
        """
        mark = self._marker(x, condition)
        return self._outputs(x, condition, num_samples, key, mark)

    def estimate_latents(self, x, num_samples, key, condition=conditions.NONE):
        """Draws from q(z|x) without decoding, outside training; see `draw`.

        Returns:
            A list with a `keras_vae.objectives.LatentEstimate` for each of `latents`.
        """
        mark = self._marker(x, condition)
        draws, _ = self._draw_latents(x, condition, num_samples, key, mark)
        self._add_priors(draws, condition)
        return self.latent_estimates(draws)

    def scored(self, outputs, y):
        """Returns the `keras_vae.objectives.Estimate` of `outputs` and their target."""
        return self._estimate(outputs, y)

    def log_likelihood(self, x, y=None, num_samples=5000, condition=None, **kwargs):
        """Estimates log p(x) by importance sampling, regardless of the objective.

        Args:
            x: Array of shape (N, *event_shape), of any length, or a dict of it as "x"
                and of conditions.
            y: Target, or None if it is `x`.
            num_samples: Integer, draws of z per example.
            condition: Dict of names to conditions, arrays (N, ...), or None.
            **kwargs: See `keras_vae.evaluation.log_likelihood`.

        Returns:
            Float32 array of shape (N,), nats.
        """
        if condition is not None:
            x = {**(x if isinstance(x, dict) else {"x": x}), **condition}
        return evaluation.log_likelihood(self, x, y, num_samples, **kwargs)

    def impute(self, x, num_samples=1000, seed=0, **kwargs):
        """Fills in missing elements by importance sampling, given the others.

        Args:
            x: Array of shape (N, *event_shape), of any length, NaN where an element is
                missing.
            num_samples: Integer, draws of z per example.
            seed: Integer in [0, 2**31), or None to draw one.
            **kwargs: See `keras_vae.imputation.impute`: `num_imputations`, and how.

        Returns:
            Array like x, the missing elements replaced by their means; with
            `num_imputations` an array of draws, (num_imputations, N, *event_shape).
        """
        return imputation.impute(self, x, num_samples, seed=seed, **kwargs)

    def endpoints(self):
        """Returns the endpoints of the SavedModel; see `keras_vae.export.endpoints`."""
        return export.endpoints(self)

    def export(self, filepath, **kwargs):
        """Writes a SavedModel with named endpoints; see `keras_vae.export.export`."""
        return export.export(self, filepath, **kwargs)

    def _marker(self, x, condition):
        """Returns the `mark` of `ForwardPass` for a batch of x."""

        def mark(params):
            return self._with_nan(checks.with_nan(params, x, self.missing), condition)

        return mark

    def _means(self, x, condition):
        """Returns the means of q(z|x), a list of tensors (batch, units)."""
        mark = self._marker(x, condition)
        draws, _ = self._draw_latents(x, condition, 1, None, mark)
        return [draw["z"][:, 0] for draw in draws]

    def _decode_finite(self, latents, condition=conditions.NONE):
        return self._with_nan(
            self._decode_alone(latents, condition), condition, *latents
        )

    def _tensor(self, x, name="x"):
        x = tf.nest.map_structure(lambda v: tf.convert_to_tensor(checks.as_array(v)), x)
        if tf.executing_eagerly():
            tf.nest.map_structure(
                lambda v: checks.check_array(v, name, self.missing), x
            )
        if not self.built:
            self.build(tf.nest.map_structure(lambda v: (None, *v.shape[1:]), x))
        return x

    def _require_built(self, method):
        if not self.built:
            raise ValueError(
                f"`{method}` needs a model with known shapes: first call `fit` or "
                "`build((None, *event_shape))`."
            )

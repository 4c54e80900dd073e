"""The way of a batch through a model: from x to draws of z, and to p(x|z)."""

import contextlib
import functools

import keras
import tensorflow as tf

from keras_vae import _keras
from keras_vae import checks
from keras_vae import conditions as named
from keras_vae import random
from keras_vae.models import observed
from keras_vae.objectives import Estimate

# What a draw of a latent consists of, as `call` returns it.
_OF_A_DRAW = ("posterior", "prior", "z", "prior_z", "log_posterior")


class ForwardPass:
    """Mixin of `VAE` that draws all latents and decodes them.

    It uses the model's networks, `latent`, `likelihood` and `objective`. A model with
    several latents overrides `latents`, `_build_latents`, `_draw_latents`,
    `_posteriors`, `_draw_priors` and `_beside`. `_decode` gets the draw of the first
    latent, and what stands beside it.
    """

    # Numbers of the largest features of which each draw of z has its own.
    features_size = 0

    @property
    def latents(self):
        """List of the `LatentVariable`s, the one that the decoder reads first."""
        return [self.latent]

    @property
    def latent_dim(self):
        """Dimensions of z, those of all latents together."""
        return sum(latent.units for latent in self.latents)

    def _build_latents(self, features_shape, input_shape, condition_shapes):
        """Creates the weights of all latents.

        Args:
            features_shape: Shape of the encoder's output, batch axis first.
            input_shape: Shape of x, batch axis first.
            condition_shapes: Dict of names to shapes, batch axis first.

        Returns:
            A dict of such shapes, of what the decoder takes beside the first z.
        """
        kinds = self.conditions.get_config() or {}
        taken = {n: v for n, v in kinds.items() if named.takes(self.encoder, n)}
        self.latent.build_from_features(
            features_shape, input_shape, condition_shapes, taken
        )
        return named.NONE

    def _call_networks(self, inputs, condition, key):
        """Returns the outputs of `call`; the networks also take `condition`."""
        mark = functools.partial(self._with_nan, condition=condition)
        samples = self.objective.num_samples
        outputs = self._outputs(inputs, condition, samples, key, mark)
        if self.objective.needs_prior_samples:
            key, size = random.fork(key, 2), tf.shape(outputs["likelihood"])[0]
            prior = outputs.get("prior")
            outputs["prior_z"] = self.latent.sample_prior(size, key, prior)
        return outputs

    def _outputs(self, inputs, condition, num_samples, key, mark):
        """Draws all latents and decodes them.

        Args:
            inputs: Batch of x.
            condition: Dict of names to tensors, as the networks take them.
            num_samples: Integer, draws of z per example.
            key: Int64 tensor (2,), see `keras_vae.random`.
            mark: Function of posterior parameters that returns them with NaN for
                examples that are not finite.

        Returns:
            A dict, as `call` returns it.
        """
        draws, beside = self._draw_latents(inputs, condition, num_samples, key, mark)
        given = self.readable(inputs, condition)
        outputs = {"likelihood": self._decode(draws[0]["z"], given, beside)}
        self._add_priors(draws, condition)
        for name in _OF_A_DRAW:
            values = [draw.get(name) for draw in draws]
            if any(value is not None for value in values):
                outputs[name] = self._by_name(values)
        return outputs

    def _add_priors(self, draws, condition):
        """Adds the parameters of the priors that the draws lack."""
        for latent, draw in zip(self.latents, draws, strict=True):
            if "prior" not in draw:
                # Pseudo-inputs are not data: encoding them must not update batch
                # statistics or add losses a second time.
                aside = latent.prior.calls_encoder
                with keras.StatelessScope() if aside else contextlib.nullcontext():
                    draw["prior"] = self.prior_params(latent, condition)

    def prior_params(self, latent, condition):
        """Returns what `sample_prior` and `estimate` of a latent need of its prior.

        Args:
            latent: One of `latents`.
            condition: See `_outputs`.
        """

        def encode(x, own=named.NONE):
            return self._infer(x, {**condition, **own})

        return latent.prior_params(encode, condition)

    def _draw_latents(self, inputs, condition, num_samples, key, mark):
        """Draws all latents.

        Args:
            inputs: See `_outputs`.
            condition: See `_outputs`.
            num_samples: See `_outputs`.
            key: See `_outputs`; None for the means of q(z|x), one draw per example.
            mark: See `_outputs`.

        Returns:
            A list with a dict for each latent, "posterior", "z" (batch, samples, units)
            and what else `LatentVariable.estimate` takes; and a dict of names to
            tensors (batch * samples, ...) that the decoder takes beside the first z.
        """
        (params,) = self._posteriors(inputs, condition, mark)
        z, density = self.latent.draw(params, num_samples, key)
        return [{"posterior": params, "z": z, **density}], named.NONE

    def _posteriors(self, inputs, condition, mark):
        """Returns the parameters of q(z|x) of each latent, at the others' means."""
        params = self._infer(inputs, condition)
        return [_keras.with_mask(mark(params), _keras.mask_of(params))]

    def _draw_priors(self, n, key, condition):
        """Draws all latents from the prior.

        Returns:
            A list of tensors (n, units), and what the decoder takes beside the first.
        """
        prior = self.latent.prior_params(self._infer, condition)
        return [self.latent.sample_prior(n, key, prior)], named.NONE

    def _beside(self, latents, condition):
        """Returns what the decoder takes beside the first of some latents.

        Args:
            latents: List of tensors (batch, samples, units).
            condition: See `_outputs`.
        """
        return named.NONE

    def _infer(self, inputs, condition=named.NONE):
        seen = observed.seen(inputs, self.missing, self.likelihood.origin)
        features = named.call(self.encoder, seen, condition)
        params = self.latent.infer(features, condition)
        return _keras.with_mask(params, _keras.mask_of(features))

    def _decode(self, z, condition=named.NONE, beside=named.NONE):
        # All samples of an example share its conditions.
        samples = z.shape[1]
        condition = {n: tf.repeat(v, samples, axis=0) for n, v in condition.items()}
        rows = self.latent.shaped(z)
        params = named.call(self.decoder, rows, {**condition, **beside})
        return observed.by_samples(params, z)

    def decode_params(self, latents, condition=named.NONE):
        """Returns the parameters of p(x|z), (batch, ...), float32, with their mask.

        Args:
            latents: List of tensors (batch, units), one for each of `latents`.
            condition: Dict of names to tensors, as the networks take them.
        """
        draws = [z[:, None] for z in latents]
        params = self._decode(draws[0], condition, self._beside(draws, condition))
        mask = _keras.mask_of(params)
        return _keras.with_mask(params[:, 0], None if mask is None else mask[:, 0])

    def _estimate(self, outputs, target, mean=None, training=False):
        target = observed.marked(target, self.missing)
        scored = observed.score(
            self.likelihood, outputs, target, self.event_shape, mean, training
        )
        return Estimate.of(self.latent_estimates(self.draws(outputs)), **scored)

    def signals(self, estimates, x):
        """Returns what each unit says of x: it is active if that varies over the data.

        The means of q(z|x). Where the prior depends on the draws of a latent above they
        are in units of it, see `LatentEstimate.moments`.

        Args:
            estimates: What `estimate_latents` returned for x.
            x: Batch, as for `infer`.

        Returns:
            Float32 tensor (batch, latent_dim), the units of several latents one after
            the other.
        """
        return tf.concat([estimate.moments[0] for estimate in estimates], axis=1)

    def latent_estimates(self, draws):
        """Returns a list of the `LatentEstimate` of each latent.

        Args:
            draws: List of dicts, see `draws`.
        """
        return [
            latent.estimate(rest.pop("posterior"), rest.pop("prior", None), **rest)
            for latent, draw in zip(self.latents, draws, strict=True)
            for rest in [dict(draw)]
        ]

    # === One latent or several ===

    def draws(self, outputs):
        """Returns a list with a dict of its tensors for each latent.

        Args:
            outputs: Dict, as `call` returns it.
        """
        found = [{} for _ in self.latents]
        for name in _OF_A_DRAW:
            if name in outputs:
                values = self._listed(outputs[name])
                for draw, value in zip(found, values, strict=True):
                    if value is not None:
                        draw[name] = value
        return found

    def _by_name(self, values):
        """Returns the only value, or of several latents a dict by their names."""
        if len(self.latents) == 1:
            return values[0]
        pairs = zip(self.latents, values, strict=True)
        return {latent.name: value for latent, value in pairs if value is not None}

    def _listed(self, given):
        """Returns a list with a value for each latent; the inverse of `_by_name`."""
        if len(self.latents) == 1:
            return [given]
        return [given.get(latent.name) for latent in self.latents]

    def _checked_latents(self, given):
        """Returns a list of tensors (batch, units), one for each latent."""
        names = [latent.name for latent in self.latents]
        if len(names) > 1 and (not isinstance(given, dict) or set(given) != set(names)):
            raise ValueError(
                f"`z` must be a dict with a tensor for each of {names}. Received: "
                f"{list(given) if isinstance(given, dict) else type(given).__name__}"
            )
        found = []
        for latent, z in zip(self.latents, self._listed(given), strict=True):
            z, shape = tf.convert_to_tensor(z), latent.shape
            if not z.shape.is_compatible_with((None, *shape)):
                raise ValueError(
                    f"`z` must have shape (batch, {checks.shape_text(shape)}). "
                    f"Received: z.shape={tuple(z.shape)}"
                )
            if tf.executing_eagerly():
                checks.check_array(z, "z")
            found.append(tf.reshape(z, [-1, latent.units]))
        return found

"""The way of a batch through a model with several levels of latents."""

import functools
import math

import keras
import tensorflow as tf

from keras_vae import _keras
from keras_vae import checks
from keras_vae import conditions as named
from keras_vae import random
from keras_vae.conditions import ABOVE
from keras_vae.models import observed

# Stream of the noise of the second level, beside those of other draws.
_NOISE = 16


class Levels:
    """Mixin of a `VAE` whose latents are levels: each sets the prior of the next one.

    It uses the model's `latent`, `upper_latents`, its networks and `inference`, see
    `HierarchicalVAE`, and overrides methods of `ForwardPass`.
    """

    @property
    def latents(self):
        """List of the `LatentVariable`s, the one next to x first."""
        return [self.latent, *self.upper_latents]

    @property
    def encoders(self):
        """List of the encoders, that of x first."""
        return [self.encoder, *self.upper_encoders]

    @property
    def decoders(self):
        """List of the decoders, that of x first."""
        return [self.decoder, *self.upper_decoders]

    @property
    def stacks(self):
        """Lists of the networks of a part, that next to x first."""
        return {"encoder": self.encoders, "decoder": self.decoders}

    def _build_latents(self, features_shape, input_shape, condition_shapes):
        """See `ForwardPass._build_latents`."""
        if not self.upper_latents:
            return super()._build_latents(features_shape, input_shape, condition_shapes)
        shapes = [features_shape]
        for place, encoder in enumerate(self.upper_encoders, 1):
            sees_z = self.inference == "bottom_up"
            below = (None, *self.latents[place - 1].shape) if sees_z else shapes[-1]
            name = f"encoder[{place}]"
            shapes.append(checks.build_network(encoder, below, name, condition_shapes))
        above = {}
        for index in reversed(range(len(shapes))):
            latent, shape = self.latents[index], shapes[index]
            _check_map(latent, index, above)
            if above and self.inference == "top_down":
                symbols = map(keras.KerasTensor, (shape, above[ABOVE]))
                shape = _joined(latent, *symbols).shape
            with keras.name_scope(latent.name):
                latent.build_from_features(shape, None, above or condition_shapes)
            if above:
                zeros = {ABOVE: tf.zeros((1, *above[ABOVE][1:]))}
                checks.check_closed_form(latent, self.objective, zeros)
            if index:
                given = {**condition_shapes, **above}
                network, z_shape = self.decoders[index], (None, *latent.shape)
                name = f"decoder[{index}]"
                shape = checks.build_network(network, z_shape, name, given)
                shapes.append(shape)
                above = {ABOVE: shape}
        self.features_size = max(math.prod(shape[1:]) for shape in shapes)
        return above

    # === Forward pass ===

    def _draw_latents(self, inputs, condition, num_samples, key, mark):
        """See `ForwardPass._draw_latents`."""
        rows = _repeated(condition, num_samples)
        draw = functools.partial(self._draw, samples=num_samples, key=key, mark=mark)
        make = self._upwards if self.inference == "bottom_up" else self._downwards
        draws, choose = make(inputs, condition, rows, draw)
        beside = self._descend(choose, rows)
        return draws, beside

    def _upwards(self, inputs, condition, rows, draw):
        """Draws each level from the one below; the priors come with the descent."""
        seen, draws = observed.seen(inputs, self.missing, self.likelihood.origin), []
        for index, (encoder, latent) in enumerate(
            zip(self.encoders, self.latents, strict=True)
        ):
            features = named.call(encoder, seen, rows if index else condition)
            draws.append(draw(index, features, is_first=not index))
            if not index:
                _carry_mask(draws, features)
            seen = latent.shaped(draws[-1]["z"])

        def choose(index, above):
            draw = draws[index]
            if above:
                prior = self._prior(index, above)
                draw["prior"] = _by_samples(prior, draw["z"].shape[1])
            return draw["z"]

        return draws, choose

    def _downwards(self, inputs, condition, rows, draw):
        """Encodes upwards; the levels are drawn in the descent."""
        seen = observed.seen(inputs, self.missing, self.likelihood.origin)
        features, draws = [], [None] * len(self.latents)
        for encoder in self.encoders:
            seen = named.call(encoder, seen, condition)
            features.append(seen)

        def choose(index, above):
            draws[index] = draw(index, features[index], above=above, is_first=not above)
            if not index:
                _carry_mask(draws, features[0])
            return draws[index]["z"]

        return draws, choose

    def _draw(self, index, features, samples, key, mark, is_first, above=named.NONE):
        """Draws one level.

        Args:
            index: Integer, the place of the level.
            features: Tensor (batch, ...), what its head sees, or of one that is not the
                first of "bottom_up" (batch * samples, ...).
            samples: Integer, draws per example.
            key: See `ForwardPass._outputs`.
            mark: See `ForwardPass._outputs`.
            is_first: Boolean, whether it depends on the draws of no other level.
            above: Dict with the features from above (batch * samples, ...), if any.
        """
        latent, draw = self.latents[index], {}
        key = key if key is None or not index else random.fork(key, _NOISE + index)
        prior = None
        if above:
            features = tf.repeat(features, samples, axis=0)
            if self.inference == "top_down":
                features = _joined(latent, features, above[ABOVE])
            prior = self._prior(index, above)
            draw["prior"] = _by_samples(prior, samples)
        params = latent.infer(features, prior_params=prior)
        if is_first:
            draw["posterior"] = mark(params)
            z, density = latent.draw(draw["posterior"], samples, key)
            return {**draw, "z": z, **density}
        draw["posterior"] = mark(_by_samples(params, samples))
        params = tf.reshape(draw["posterior"], [-1, params.shape[-1]])
        z, density = latent.draw(params, 1, key)
        density = {n: tf.reshape(value, [-1, samples]) for n, value in density.items()}
        return {**draw, "z": _by_samples(z[:, 0], samples), **density}

    def _descend(self, choose, condition):
        """Goes from the top level down to the first.

        Args:
            choose: Function of the place of a level, and of a dict with the features
                from above if there are some, that returns z (..., units).
            condition: Dict of names to tensors, with as many rows.

        Returns:
            A dict with the features from above for the decoder of x, if there are some.
        """
        above = named.NONE
        for index in reversed(range(len(self.latents))):
            z = self.latents[index].shaped(choose(index, above))
            if index:
                given = {**condition, **above}
                above = {ABOVE: named.call(self.decoders[index], z, given)}
        return above

    def latent_estimates(self, draws):
        """See `ForwardPass.latent_estimates`."""
        estimates = super().latent_estimates(draws)
        if self.inference == "bottom_up":
            for estimate in estimates[:-1]:
                estimate.prior_sees_z = True
        return estimates

    def signals(self, estimates, x):
        """See `ForwardPass.signals`; drawn upwards, the means at the means below."""
        if self.inference != "bottom_up":
            return super().signals(estimates, x)
        # The means at draws would follow the noise of these.
        pairs = zip(self.latents, self.infer(x), strict=True)
        means = [v.posterior.mean_and_stddev(params)[0] for v, params in pairs]
        return tf.concat(means, axis=1)

    @property
    def _takers(self):
        """See `TakesConditions`; to draw levels takes the decoders between them."""
        takers = super()._takers
        return {**takers, "encoder": [*takers["encoder"], *self.upper_decoders]}

    def _posteriors(self, inputs, condition, mark):
        """See `ForwardPass._posteriors`."""
        draws, _ = self._draw_latents(inputs, condition, 1, None, mark)
        params = [draw["posterior"] for draw in draws]
        mask = _keras.mask_of(params[0])
        params = [tf.reshape(value, [-1, value.shape[-1]]) for value in params]
        return [_keras.with_mask(params[0], mask), *params[1:]]

    def _beside(self, latents, condition):
        """See `ForwardPass._beside`."""
        rows = _repeated(condition, latents[0].shape[1])
        return self._descend(lambda index, above: latents[index], rows)

    def _draw_priors(self, n, key, condition, temperature=1.0, lowest=0):
        """See `ForwardPass._draw_priors`.

        Args:
            n: See there.
            key: See there.
            condition: See there.
            temperature: Float, the factor of the standard deviation of each prior.
            lowest: Integer, the place of the lowest level that is drawn: below it the
                means stand for the draws.
        """
        found = [None] * len(self.latents)

        def choose(index, above):
            latent = self.latents[index]
            prior = self._prior(index, above, condition)
            own = random.fork(key, _NOISE + index) if index else key
            z = latent.sample_prior(n, own, prior)
            factor = temperature if index >= lowest else 0.0
            if factor != 1.0:
                mean = self._prior_mean(index, prior)
                z = mean + factor * (z - mean)
            found[index] = z
            return z

        beside = self._descend(choose, condition)
        return found, beside

    def _kept(self, means, kept, condition):
        """Returns latents of which some are given, the others the means of their prior.

        Args:
            means: List of tensors (batch, units).
            kept: List of the places of those that are given.
            condition: See `ForwardPass._outputs`.
        """
        found = list(means)

        def choose(index, above):
            if index not in kept:
                prior = self._prior(index, above, condition)
                mean = self._prior_mean(index, prior)
                found[index] = tf.broadcast_to(mean, tf.shape(means[index]))
            return found[index]

        self._descend(choose, condition)
        return found

    def _prior(self, index, above, condition=named.NONE):
        """Returns the parameters of the prior of a level.

        Args:
            index: Integer, the place of the level.
            above: Dict with the features from above, {} at the top.
            condition: See `ForwardPass._outputs`; those that the top prior takes.
        """
        latent = self.latents[index]
        if above:
            return latent.prior_params(None, above)
        return self.prior_params(latent, condition)

    def _prior_mean(self, index, prior):
        latent = self.latents[index]
        return latent.prior.distribution(prior, latent.posterior).mean()


def _check_map(latent, index, above):
    """Raises ValueError if features from above do not fit a level that is a map."""
    sides = latent.shape[:-1]
    if above and sides and tuple(above[ABOVE][1:-1]) != sides:
        raise ValueError(
            f"`decoder[{index + 1}]` must put out maps of the height and width of z of "
            f"{latent.name}, {sides}. Received: an output of shape {above[ABOVE]}"
        )


def _repeated(condition, samples):
    """Returns conditions with a row for each sample of an example."""
    return {
        name: tf.repeat(value, samples, axis=0) for name, value in condition.items()
    }


def _by_samples(values, samples):
    """Returns rows (batch * samples, n) as (batch, samples, n)."""
    return tf.reshape(values, [-1, samples, values.shape[-1]])


def _carry_mask(draws, features):
    """Passes the mask of the first features on, which says what is padding."""
    params = draws[0]["posterior"]
    draws[0]["posterior"] = _keras.with_mask(params, _keras.mask_of(features))


def _joined(latent, features, above):
    """Returns what the head of a level sees in "top_down"."""
    parts = [keras.ops.cast(part, "float32") for part in (features, above)]
    if len(latent.shape) == 1:
        parts = [keras.ops.reshape(p, (-1, math.prod(p.shape[1:]))) for p in parts]
    return keras.ops.concatenate(parts, axis=-1)

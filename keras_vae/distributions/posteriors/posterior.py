"""What all posteriors q(z|x) have in common."""

import math

import keras

from keras_vae.distributions import limits


class Posterior(keras.layers.Layer):
    """Base of the families for q(z|x): what the numbers of an encoder stand for.

    A subclass defines `params_size`, `distribution`, `sample` and `mean_and_stddev`.
    Everything is computed in float32, whatever the dtype of the parameters.

    Args:
        min_scale: Float in (0, 1), below which no scale falls.
        max_scale: Float above 1, which no scale exceeds.
    """

    def __init__(self, min_scale=1e-5, max_scale=1e3, **kwargs):
        super().__init__(**kwargs)
        if not 0 < min_scale < 1 < max_scale < math.inf:
            raise ValueError(
                "`min_scale` and `max_scale` must be finite and satisfy "
                "0 < min_scale < 1 < max_scale. Received: "
                f"min_scale={min_scale}, max_scale={max_scale}"
            )
        self.min_scale = float(min_scale)
        self.max_scale = float(max_scale)
        self.built = True

    def params_size(self, latent_dim):
        """Returns how many numbers per example describe `latent_dim` latents."""
        raise NotImplementedError

    def build_for(self, latent_dim):
        """Creates the weights of layers that `transform` calls; here there are none."""

    def transform(self, raw):
        """Turns what the head puts out into parameters; here that is what they are.

        This is the place for layers that a family calls, such as a normalisation.

        Args:
            raw: Float tensor (batch, params_size).

        Returns:
            A tensor of the same shape.
        """
        return raw

    def distribution(self, params):
        """Builds q(z|x).

        Args:
            params: Float tensor (..., params_size).

        Returns:
            A float32 `tfd.Distribution` of batch shape (...), event (latent_dim,).
        """
        raise NotImplementedError

    def sample(self, params, num_samples, key):
        """Draws z = loc + scale * noise, differentiable in `params`.

        Args:
            params: Float tensor (batch, params_size).
            num_samples: Integer, draws per example.
            key: Int64 tensor (2,), see `keras_vae.random`.

        Returns:
            A float32 tensor (batch, num_samples, latent_dim).
        """
        raise NotImplementedError

    def mean_and_stddev(self, params):
        """Returns the moments of each latent by itself.

        Args:
            params: Float tensor (..., params_size).

        Returns:
            Two float32 tensors (..., latent_dim).
        """
        raise NotImplementedError

    def get_config(self):
        """Returns the config, from which `from_config` makes an equal layer."""
        return {
            **super().get_config(),
            "min_scale": self.min_scale,
            "max_scale": self.max_scale,
        }

    def _scale(self, raw):
        return limits.bounded_scale(raw, self.min_scale, self.max_scale)


def sample_shape(loc, num_samples):
    """Returns the shape of `num_samples` draws beside each example."""
    *batch, latent_dim = keras.ops.shape(loc)
    return (*batch, num_samples, latent_dim)

"""Base class of all posteriors q(z|x)."""

import math

import keras

from keras_vae.distributions import limits


class Posterior(keras.layers.Layer):
    """Base class of the families for q(z|x), which interpret an encoder's output.

    A subclass defines `params_size`, `distribution`, `sample` and `mean_and_stddev`,
    and `draw` where a draw knows its density.
    All computation is in float32 for any dtype of the parameters.

    Attributes:
        is_normal: Boolean, whether q(z|x) is a normal, so that KLs have closed forms.

    Args:
        min_scale: Float in (0, 1), lower limit of the scales.
        max_scale: Float above 1, upper limit of the scales.
    """

    is_normal = True

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
        """Returns the number of parameters per example for `latent_dim` latents."""
        raise NotImplementedError

    def head_size(self, latent_dim):
        """Returns how many of these parameters come from the head; by default all."""
        return self.params_size(latent_dim)

    def build_for(self, latent_dim):
        """Creates the weights of layers that `transform` calls; by default none."""

    def transform(self, raw):
        """Turns the head's output into parameters; by default the output is unchanged.

        A family that needs layers, such as a normalization, calls them here.

        Args:
            raw: Float tensor (batch, params_size).

        Returns:
            A tensor of the same shape.
        """
        return raw

    def with_prior(self, params, prior_params):
        """Takes up the parameters of a prior of the same example; by default none.

        Args:
            params: Float tensor (batch, head_size), the output of `transform`.
            prior_params: Float tensor (batch, ...), see `Prior.params`, or None.

        Returns:
            A tensor (batch, params_size).
        """
        return params

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

    def draw(self, params, num_samples, key):
        """Draws z as `sample` does, with the density where the draw knows it.

        Args:
            params: Float tensor (batch, params_size).
            num_samples: Integer, draws per example.
            key: Int64 tensor (2,), see `keras_vae.random`.

        Returns:
            z, a float32 tensor (batch, num_samples, latent_dim), and log q(z|x), a
            float32 tensor (batch, num_samples) in nats, or None if `distribution` is to
            be asked.
        """
        return self.sample(params, num_samples, key), None

    def mean_and_stddev(self, params):
        """Returns the moments of each latent.

        Args:
            params: Float tensor (..., params_size).

        Returns:
            Two float32 tensors (..., latent_dim).
        """
        raise NotImplementedError

    def get_config(self):
        """Returns the config; `from_config` makes an equal layer from it."""
        return {
            **super().get_config(),
            "min_scale": self.min_scale,
            "max_scale": self.max_scale,
        }

    def _scale(self, raw):
        return limits.bounded_scale(raw, self.min_scale, self.max_scale)


def sample_shape(loc, num_samples):
    """Returns the shape of `num_samples` draws for each example."""
    *batch, latent_dim = keras.ops.shape(loc)
    return (*batch, num_samples, latent_dim)

"""Base class of the priors p(z)."""

import keras


class Prior(keras.layers.Layer):
    """Base class of the priors p(z).

    A subclass defines `distribution` and `sample`. If it owns weights, it extends
    `build`, calling this class's `build` first. If it calls layers, it defines
    `params`.
    """

    # Whether `params` calls `encode`.
    calls_encoder = False
    # Whether it has conditions for an `encode` that takes some.
    encodes_conditions = False
    # The layer whose output `params` returns, a row for each example, if there is one.
    head = None

    def takes_condition(self, name):
        """Whether `params` takes a condition, see `keras_vae.conditions`."""
        return False

    def build_for(
        self, latent_dim, input_shape=None, posterior=None, condition_shapes=None
    ):
        """Creates the weights; a second call with the same `latent_dim` does nothing.

        Args:
            latent_dim: Integer, number of latents.
            input_shape: Shape of the input of `encode`, batch axis first. Only priors
                that call `encode` need it.
            posterior: `Posterior` of the same latents, for priors that depend on it.
            condition_shapes: Dict of names to shapes of the conditions, batch axis
                first, for priors that take some.

        Raises:
            ValueError: If the prior was built for another `latent_dim`.
        """
        if not self.built:
            self.build(latent_dim, input_shape)
        elif self.latent_dim != latent_dim:
            raise ValueError(
                f"`prior` is built for {self.latent_dim} latents and cannot be used "
                f"for another number. Received: latent_dim={latent_dim}"
            )

    def build(self, latent_dim, input_shape=None):
        """Creates the weights, see `build_for`."""
        self.latent_dim = latent_dim

    def params(self, encode=None):
        """Makes all layer calls that the prior needs.

        Args:
            encode: Callable that maps a batch of inputs to posterior parameters. If the
                encoder takes conditions, it takes a dict of these as the networks get
                them, names to tensors, as its second argument.
                A prior that takes conditions gets them as `condition`, a dict of names
                to tensors.

        Returns:
            A tensor to pass on to `distribution`, or None.
        """
        return None

    def rescale(self, shift, scale):
        """Moves what the prior holds of x to the units of `shift + scale * x`.

        Args:
            shift: Float array that broadcasts with an example.
            scale: Float array likewise.

        Raises:
            ValueError: If the prior holds something of x and defines no such step.
        """
        if self.calls_encoder:
            raise ValueError(
                f"`prior` {type(self).__name__} calls the encoder and must define "
                "`rescale` to move its inputs to other units. Received: no such method"
            )

    def distribution(self, params=None, posterior=None):
        """Builds p(z), without layer calls.

        Args:
            params: Output of `params(encode)`.
            posterior: `Posterior` that interprets these parameters.

        Returns:
            A float32 `tfd.Distribution` of batch shape (), or (batch,) if the prior
            takes conditions, and event shape (latent_dim,).
        """
        raise NotImplementedError

    def sample(self, num_samples, key, params=None, posterior=None):
        """Draws z from p(z), differentiable in the parameters of the drawn components.

        Args:
            num_samples: Integer.
            key: Int64 tensor (2,), see `keras_vae.random`.
            params: Output of `params(encode)`.
            posterior: `Posterior` that interprets these parameters.

        Returns:
            A float32 tensor (num_samples, latent_dim).
        """
        raise NotImplementedError

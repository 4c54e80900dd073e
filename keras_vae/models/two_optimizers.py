"""Base of models that train some weights with a second optimizer."""

import keras

from keras_vae.models.vae import VAE


class TwoOptimizers(VAE):
    """A VAE with a second optimizer; a subclass defines the step that uses both.

    The second optimizer is saved, loss-scaled and resumed like the first.

    Attributes:
        second_optimizer_name: String, name of the argument of `compile` and of the
            attribute.
    """

    second_optimizer_name = None

    @property
    def second_optimizer(self):
        """The second optimizer, or None before `compile`."""
        return getattr(self, self.second_optimizer_name, None)

    @property
    def second_variables(self):
        """List of the variables that the second optimizer updates."""
        raise NotImplementedError

    def _compile(self, optimizer, second_optimizer, auto_scale_loss=True, **kwargs):
        optimizer = keras.optimizers.get(optimizer)
        second_optimizer = keras.optimizers.get(second_optimizer)
        if second_optimizer is optimizer:
            raise ValueError(
                f"`{self.second_optimizer_name}` must not be `optimizer` itself, "
                "because each counts its own updates: pass a second one. "
                f"Received: {optimizer!r} twice"
            )
        scaled = keras.optimizers.LossScaleOptimizer
        if (
            auto_scale_loss
            and self.dtype_policy.name == "mixed_float16"
            and not isinstance(second_optimizer, scaled)
        ):
            second_optimizer = scaled(second_optimizer)
        super().compile(optimizer, auto_scale_loss=auto_scale_loss, **kwargs)
        setattr(self, self.second_optimizer_name, second_optimizer)

    def get_compile_config(self):
        """Returns the config; `compile_from_config` compiles an equal model from it."""
        config = super().get_compile_config()
        if self.second_optimizer is not None:
            config[self.second_optimizer_name] = keras.saving.serialize_keras_object(
                self.second_optimizer
            )
        return config

    def compile_from_config(self, config):
        """Compiles the model as it was when `get_compile_config` was called."""
        super().compile_from_config(config)
        self._build_optimizers()

    def make_train_function(self, force=False):
        """Makes the function of a step; see `keras.Model.make_train_function`."""
        # With several replicas, no variable can be created within the step.
        with self.distribute_strategy.scope():
            self._build_optimizers()
        super().make_train_function(force=force)

    def _build_optimizers(self):
        super()._build_optimizers()
        second = self.second_optimizer
        if self.built and second is not None and not second.built:
            second.build(self.second_variables)

    def _forward(self, x, y, sample_weight):
        """Returns the outputs and the loss of a training step."""
        outputs = self(x, training=True)
        self._build_optimizers()
        loss = self.compute_loss(
            x=x, y=y, y_pred=outputs, sample_weight=sample_weight, training=True
        )
        return outputs, loss

"""A model of a list of layers, saved with them."""

import keras


class Stack(keras.Model):
    """A model of a list of layers; the `call` of a subclass says how they are joined.

    Args:
        layers: List of `keras.layers.Layer`.
        **kwargs: See `keras.Model`.
    """

    def __init__(self, layers, **kwargs):
        super().__init__(**kwargs)
        self.stack = list(layers)

    def get_config(self):
        """Returns the config; `from_config` makes an equal model from it."""
        layers = [keras.saving.serialize_keras_object(layer) for layer in self.stack]
        return {**super().get_config(), "layers": layers}

    @classmethod
    def from_config(cls, config, custom_objects=None):
        """Makes a model from the output of `get_config`."""
        layers = [
            keras.saving.deserialize_keras_object(layer, custom_objects=custom_objects)
            for layer in config["layers"]
        ]
        return cls(**{**config, "layers": layers})

"""Guards against losing weights silently when a model is saved or loaded."""

from keras_vae import _keras
from keras_vae.serialization import HoldsNetworks
from keras_vae.serialization import default_policy

_LEGACY = (".h5", ".hdf5")


class SavedWhole(HoldsNetworks):
    """Mixin for a `keras.Model`: it is saved and loaded completely, or not at all."""

    network_arguments = ("encoder", "decoder")

    def save(self, filepath, *args, **kwargs):
        """Saves the model as a `.keras` file; see `keras.Model.save`.

        Raises:
            ValueError: If `filepath` names an HDF5 file, which could not be loaded.
        """
        if str(filepath).endswith(_LEGACY):
            raise ValueError(_no_legacy_file(self, filepath))
        super().save(filepath, *args, **kwargs)

    def get_config(self):
        """Returns the config; `from_config` makes an equal model from it."""
        if _keras.is_saving_legacy_file():
            raise ValueError(_no_legacy_file(self, "an HDF5 file"))
        return super().get_config()

    @classmethod
    def from_config(cls, config, custom_objects=None):
        """Makes a model from the output of `get_config`."""
        with default_policy(config.get("dtype")):
            return super().from_config(config, custom_objects)

    def build_from_config(self, config):
        """Creates the weights of a loaded model.

        Raises:
            ValueError: If the networks do not take inputs of the saved shape.
        """
        # Keras would only warn and use weights that were never loaded.
        input_shape = (config or {}).get("input_shape")
        try:
            if input_shape is None:
                raise ValueError("there is no shape")
            self.build(input_shape)
        except (TypeError, ValueError) as error:
            raise ValueError(
                "`input_shape` of the saved `build_config` must be the shape for which "
                f"{self.name!r} was built: the file was changed or is damaged. "
                f"Received: build_config={config!r}; {error}"
            ) from error
        self._build_shapes_dict = config

    def load_weights(self, filepath, *args, **kwargs):
        """Loads weights; see `keras.Model.load_weights`.

        The optimizer is built first: without variables it would drop its step, and with
        it the position in every schedule.
        """
        self._build_optimizers()
        super().load_weights(filepath, *args, **kwargs)

    def load_own_variables(self, store):
        """Loads the model's own variables; see `keras.layers.Layer`.

        Raises:
            ValueError: If the model is not built but the store holds its weights.
        """
        if not self.built and _keras.holds_weights(store, "latent/head"):
            raise ValueError(
                f"{self.name!r} must be built before its weights are loaded: call "
                "`build((None, *event_shape))` first. A saved model without a "
                "`build_config` was changed or is damaged. Received: weights for a "
                "model that is not built"
            )
        super().load_own_variables(store)


def _no_legacy_file(model, filepath):
    return (
        f"`filepath` must end in '.keras', because Keras could not load a "
        f"{type(model).__name__} from HDF5: use `save('model.keras')`. Weights alone "
        f"may be HDF5: `save_weights('model.weights.h5')`. Received: {str(filepath)!r}"
    )

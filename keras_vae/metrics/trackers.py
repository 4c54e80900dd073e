"""Metrics that `fit` logs."""

import weakref

import keras
import tensorflow as tf

from keras_vae import _keras


class Gauge(keras.metrics.Metric):
    """Reports a current value without accumulating it.

    Args:
        name: String, name in the logs.
        read: Callable without arguments that returns a scalar tensor. It is a callable,
            because a metric resets variables among its attributes.
    """

    def __init__(self, name, read):
        super().__init__(name=name)
        self._read = read

    def update_state(self, *args, **kwargs):
        """Does nothing: there is no state."""

    def result(self):
        """Returns the value."""
        return tf.identity(tf.convert_to_tensor(self._read()))


class CountedMean(keras.metrics.Mean):
    """A mean over examples that also counts batches.

    The count numbers the batches of an evaluation and determines their noise. The state
    is always float32, also within a layer of mixed precision.
    """

    def __init__(self, name):
        super().__init__(name=name, dtype="float32")
        self._batches = self.add_variable((), "zeros", dtype="int64", name="batches")

    def add_variable(
        self, shape, initializer, dtype=None, aggregation="sum", name=None
    ):
        """See `keras.metrics.Metric.add_variable`."""
        with keras.name_scope(self.name.replace("/", ">")):
            # The caller makes it an attribute, which tracks it.
            return keras.Variable(
                initializer=initializer,
                shape=shape,
                dtype=dtype,
                trainable=False,
                autocast=False,
                aggregation=aggregation,
                synchronization="on_read",
                name=name,
            )

    @property
    def batches(self):
        """Number of batches since the last reset, an int64 scalar."""
        return tf.convert_to_tensor(self._batches)

    def update(self, value, mean):
        """Adds the mean of one batch.

        Args:
            value: Scalar tensor returned by `mean`, or a sum of such tensors.
            mean: The `BatchMean`.
        """
        self.update_state(value, sample_weight=mean.weight)
        self._batches.assign(self._batches + 1)

    def add(self, value, mean):
        """Adds a further term to the mean of the batch that `update` got last.

        Args:
            value: Scalar tensor returned by `mean`.
            mean: The `BatchMean`.
        """
        self.total.assign_add(value * mean.weight)

    def reset_state(self):
        """Resets the mean and the count."""
        super().reset_state()
        self._batches.assign(0)


class RateReport(CountedMean):
    """Unweighted rate and weight of one `Latent`, and the sum over its siblings.

    The rates of all calls of the layer within one call of the model add up, as in the
    loss.

    In Keras the metrics of a model overwrite each other if their names are equal, so
    the first of several `Latent`s reports the sum for all.

    Args:
        layer: The `Latent` whose rate is reported.
    """

    def __init__(self, layer):
        super().__init__(name=f"{layer.name}_report")
        # Closures, because a metric tracks objects in its attributes.
        self._layer = lambda: layer
        self._model = lambda: layer
        self._weights = weakref.WeakKeyDictionary()

    def update(self, value, mean):
        """Adds the rate of the running call of the layer.

        Args:
            value: Scalar tensor returned by `mean`.
            mean: The `BatchMean`.
        """
        running = _keras.outermost_call(self._layer())
        model = running.entry_layer
        self._model = lambda: model
        if running in self._weights:
            self.total.assign_add(self._weights[running] * value)
        else:
            self._weights[running] = mean.weight
            super().update(value, mean)

    def result(self):
        """Returns the entries for the logs."""
        layer, model = self._layer(), self._model()
        siblings = _keras.sublayers(model, type(layer))
        own = {
            "kl_loss": super().result(),
            "kl_weight": layer.objective.kl_weight.value,
        }
        own = {name: tf.convert_to_tensor(value) for name, value in own.items()}
        in_vae = getattr(model, "reports_elbo", False)
        if len(siblings) == 1 and not in_vae:
            return own
        entries = {f"{layer.name}_{name}": value for name, value in own.items()}
        if layer is siblings[0] and not in_vae:
            means = [keras.metrics.Mean.result(item.report) for item in siblings]
            entries["kl_loss"] = tf.add_n(means)
        return entries

"""Saving and restoring the complete training state of a model in memory."""

import keras
import numpy as np

from keras_vae import _keras
from keras_vae import learning_rates


def variables(model, with_metrics=True):
    """Returns all variables of a model, its optimizers and its metrics.

    Args:
        model: A compiled and built `keras.Model`.
        with_metrics: Boolean, whether to include the variables of metrics.

    Returns:
        List of `keras.Variable`, each once, in the same order for equal models.

    Example:
    >>> model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    >>> model.compile(keras.optimizers.SGD(momentum=0.9))
    >>> model.optimizer.build(model.trainable_variables)
    >>> found = kv.snapshot.variables(model, with_metrics=False)
    >>> len(found)  # Kernel and bias, their momenta, step and learning rate.
    6
    """
    found = [*model.variables, *(model.metrics_variables if with_metrics else [])]
    for optimizer in optimizers(model):
        found += optimizer.variables
    return list({id(variable): variable for variable in found}.values())


def optimizers(model):
    """Returns the optimizers of a model; some models have two.

    Args:
        model: A compiled `keras.Model`.
    """
    kind = keras.optimizers.Optimizer
    found = [model.optimizer, *vars(model).values()]
    found = [item for item in found if isinstance(item, kind)]
    return list({id(optimizer): optimizer for optimizer in found}.values())


def copy_weights(source, target):
    """Copies the weights of a layer to an equal one, and what layers derive from them.

    Args:
        source: Built `keras.layers.Layer`.
        target: Built layer with weights of the same shapes in the same order.

    Example:
    >>> source = keras.layers.Normalization()
    >>> source.adapt(np.array([[1.0], [3.0]]))
    >>> target = keras.layers.Normalization()
    >>> target.build((None, 1))
    >>> kv.snapshot.copy_weights(source, target)
    >>> target(np.array([[4.0]])).numpy()
    array([[2.]], dtype=float32)
    """
    target.set_weights(source.get_weights())
    refresh(target)


def refresh(layer):
    """Lets the preprocessing layers within a layer take up weights that were assigned.

    Args:
        layer: Built `keras.layers.Layer`.
    """
    for part in _keras.sublayers(layer, keras.layers.Normalization):
        part.finalize_state()


class Snapshot:
    """The state of a model at one time, in the memory of the host.

    Args:
        model: A compiled and built `keras.Model`.
    """

    def __init__(self, model):
        self._values = [
            # A copy: TensorFlow may return the memory of the variable itself.
            (variable, np.array(variable.numpy()))
            for variable in variables(model)
        ]
        self._scales = [
            (optimizer, learning_rates.scale(optimizer))
            for optimizer in optimizers(model)
        ]

        self._metrics = {id(variable) for variable in model.metrics_variables}

    def restore(self, with_metrics=True):
        """Restores all numbers.

        Args:
            with_metrics: Boolean, whether to restore the state of metrics too.
        """
        for variable, value in self._values:
            if with_metrics or id(variable) not in self._metrics:
                variable.assign(value)
        for optimizer, scale in self._scales:
            if learning_rates.scale(optimizer) != scale:
                learning_rates.set_scale(optimizer, scale)


def first_not_finite(model):
    """Returns the name of the first layer with a non-finite weight, or None.

    Args:
        model: A built `keras.Model`.

    Returns:
        String, the path of the layer, such as "vae/encoder/dense", or None.
    """
    for variable in model.weights:
        value = variable.numpy()
        if value.dtype.kind == "V":  # bfloat16, unknown to NumPy.
            value = value.astype("float32")
        if value.dtype.kind == "f" and not np.isfinite(value).all():
            return variable.path.rpartition("/")[0] or variable.name
    return None

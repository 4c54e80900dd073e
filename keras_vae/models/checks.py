"""Checks of arguments and data, all of which run before the first training step."""

import types

import keras
import numpy as np
import tensorflow as tf

from keras_vae import random

NO_LABELS = (
    "A VAE reconstructs `y` where it is given: for labels pass only `fit(x)`, for "
    "denoising `fit(noisy, clean)`."
)
PEEKABLE = (tf.data.Dataset, keras.utils.PyDataset)


def check_network(network, name):
    """Returns `network`; raises ValueError where it is not a layer or model."""
    if not isinstance(network, keras.layers.Layer):
        raise ValueError(
            f"`{name}` must be a `keras.Model` or `keras.layers.Layer`. "
            f"Received: {name}={network!r}"
        )
    return network


def check_output_activation(decoder, likelihood):
    """Raises ValueError where the decoder squashes what should be logits."""
    last = decoder
    while steps := getattr(last, "operations", None) or getattr(last, "layers", None):
        shaping = keras.layers.Reshape | keras.layers.Flatten
        last = next((x for x in reversed(steps) if not isinstance(x, shaping)), None)
    # An operation such as `keras.ops.sigmoid` is named by its class.
    activation = getattr(last, "activation", type(last))
    name = getattr(activation, "__name__", "").lower()
    if name in likelihood.invalid_activations:
        raise ValueError(
            f"`decoder` ends in a {name}, but {type(likelihood).__name__} takes "
            f"logits. Remove the activation of {last.name!r}; `decode` and `predict` "
            "apply it. "
            f"Received: activation={name!r}"
        )


def check_compile(loss, loss_weights):
    """Raises ValueError where `compile` was given a loss."""
    if loss is not None:
        raise ValueError(
            "`loss` must be None: the likelihood is the loss. Choose it with "
            "`VAE(likelihood=...)`, for example 'bernoulli' for binary data. "
            f"Received: loss={loss!r}"
        )
    if loss_weights is not None:
        raise ValueError(
            "`loss_weights` must be None: weigh the KL with "
            "`VAE(objective=keras_vae.ELBO(kl_weight=...))`. "
            f"Received: loss_weights={loss_weights!r}"
        )


def build_network(network, input_shape, name):
    """Builds a network and returns the shape of its output, batch axis first."""

    def symbolic(shape):
        if is_shape(shape):
            return keras.KerasTensor(tuple(shape), dtype=keras.config.floatx())
        if isinstance(shape, dict):
            return {name: symbolic(part) for name, part in shape.items()}
        return type(shape)(symbolic(part) for part in shape)

    try:
        output = network(symbolic(input_shape))
    except ValueError as error:
        raise ValueError(
            f"`{name}` does not take inputs of shape {input_shape}: {error}"
        ) from error
    if not hasattr(output, "shape"):
        raise ValueError(
            f"`{name}` must put out one tensor: concatenate its outputs. Received: "
            f"a {type(output).__name__} of {len(output)}"
        )
    return tuple(output.shape)


def check_params_shape(params_shape, input_shape, likelihood):
    """Raises ValueError where the decoder's output does not fit the likelihood.

    Args:
        params_shape: Shape of the decoder's output for one example.
        input_shape: Shape of x, batch axis first, or a structure of such.
        likelihood: The `Likelihood`.
    """
    name, needed = type(likelihood).__name__, None
    if is_shape(input_shape) and None not in tuple(input_shape)[1:]:
        x_shape = tuple(input_shape)[1:]
        needed = tuple(likelihood.params_shape(x_shape))
    advice = (
        f" Data of shape {x_shape} need shape {needed}: build it with "
        f"`output_shape={needed}`."
        if needed
        else ""
    )
    try:
        event_shape = tuple(likelihood.event_shape(params_shape))
    except ValueError as error:
        raise ValueError(
            f"`decoder` puts out shape {params_shape} for each example, which does "
            f"not fit the {name} likelihood: {error}.{advice}"
        ) from error
    # A target `y` of another shape than x is legitimate, so that only a decoder which
    # forgot the likelihood's further parameters is known to be wrong here.
    if needed and event_shape != x_shape and tuple(params_shape) == x_shape:
        raise ValueError(
            f"`decoder` puts out shape {params_shape} for each example, which does "
            f"not fit the {name} likelihood.{advice}"
        )


def check_closed_form(latent, objective):
    """Raises ValueError before training where the rate has no closed form."""
    if objective.kl != "analytic":
        return
    size = latent.posterior.params_size(latent.units)
    prior = latent.prior.params(lambda x: tf.zeros((x.shape[0], size)))
    z = tf.zeros((1, 1, latent.units))
    objective.rate(latent.estimate(tf.zeros((1, size)), prior, z))


def check_target(x, y, event_shape):
    """Returns what is to be reconstructed.

    Args:
        x: Input of the model.
        y: Target, or None where the input is the target.
        event_shape: Shape of one target.

    Raises:
        ValueError: If the target does not have this shape.
    """
    check_structure(x, y)
    target = x if y is None else y
    if not hasattr(target, "shape"):
        raise ValueError(
            f"`y` must be one tensor of shape (batch, {shape_text(event_shape)}). "
            f"Received: a {type(target).__name__}"
        )
    if not tf.TensorShape(target.shape).is_compatible_with((None, *event_shape)):
        name = "x" if y is None else "y"
        advice = (
            f"Reshape the data, or give the decoder the output shape of {name}."
            if y is None
            else NO_LABELS
        )
        raise ValueError(
            f"`{name}` must have shape (batch, {shape_text(event_shape)}) to be "
            f"reconstructed by the decoder. Received: {name}.shape="
            f"{tuple(target.shape)}. {advice}"
        )
    return target


def check_data(model, x, y=None, sample_weight=None, name="x"):
    """Checks arrays whole and the first batch of a data set, and builds the model.

    Args:
        model: The `VAE`.
        x: What `fit` got as `x`.
        y: What `fit` got as `y`.
        sample_weight: What `fit` got as `sample_weight`.
        name: Name of `x` in errors.

    Returns:
        A dict of the arguments "x", "y" and "sample_weight" for Keras.

    Raises:
        ValueError: If the data cannot be trained on.
    """
    data = {"x": x, "y": y, "sample_weight": sample_weight}
    if isinstance(x, types.GeneratorType):
        first, data["x"] = peek_generator(x, name)
        x, y, sample_weight = keras.utils.unpack_x_y_sample_weight(first)
    elif isinstance(x, PEEKABLE):
        is_py_dataset = isinstance(x, keras.utils.PyDataset)
        x, y, sample_weight = keras.utils.unpack_x_y_sample_weight(peek(x, name))
        if is_py_dataset and y is None and sample_weight is not None:
            raise ValueError(
                "`x` must yield targets where it yields weights, because Keras takes "
                "no None from a PyDataset: yield (x, x, sample_weight). Received: "
                "(x, None, sample_weight)"
            )
    elif hasattr(x, "__next__") or hasattr(x, "__dataloader__"):
        return data  # It cannot be looked at without losing what was seen.
    elif x is None:
        raise ValueError(f"`{name}` must be given. Received: {name}=None")
    elif sample_weight is not None:
        data["sample_weight"] = sample_weight = np.asarray(sample_weight)
        if y is None:
            # Keras drops the weights of data without `y`.
            data["y"] = x
        if not np.any(sample_weight):
            raise ValueError(
                "`sample_weight` must weigh at least one example. Received: all zero"
            )
    check_no_lists(x, name)
    check_no_lists(y, "y")
    check_structure(x, y)
    inputs = tf.nest.map_structure(lambda v: check_array(v, name), x)
    y = None if y is None else check_array(y, "y")
    size = check_sizes(inputs, y, name)
    if sample_weight is not None:
        check_weights(sample_weight, size)
    with model.distribute_strategy.scope():
        if not model.built:
            model.build(tf.nest.map_structure(lambda v: (None, *v.shape[1:]), inputs))
    check_support(model, check_target(inputs, y, model.event_shape), y)
    return data


def check_sizes(inputs, y, name):
    """Returns the number of examples; raises ValueError where there is not one."""
    sizes = {len(v) for v in tf.nest.flatten((inputs, [] if y is None else y))}
    if len(sizes) != 1:
        raise ValueError(
            f"`{name}` and `y` must have the same number of examples. "
            f"Received: {sorted(sizes)} examples"
        )
    (size,) = sizes
    if size == 0:
        raise ValueError(f"`{name}` must hold at least one example. Received: 0")
    return size


def check_validation_data(model, data):
    """Checks `validation_data`, and returns it as Keras takes it."""
    parts = tuple(data) if isinstance(data, tuple | list) else (data,)
    if not 1 <= len(parts) <= 3:
        raise ValueError(
            "`validation_data` must be (x,), (x, y), (x, y, sample_weight) or a data "
            f"set. Received: {len(parts)} entries"
        )
    try:
        checked = check_data(model, *parts)
    except ValueError as error:
        raise ValueError(f"`validation_data` cannot be used: {error}") from error
    return tuple(checked.values()) if isinstance(data, tuple | list) else checked["x"]


def check_fit(validation_split=0.0, class_weight=None, **kwargs):
    """Raises ValueError where an argument of `fit` would be misunderstood."""
    if class_weight is not None:
        # Keras would take the largest value of each target for its class.
        raise ValueError(
            "`class_weight` must be None, because a VAE knows no classes: pass "
            "`sample_weight`, one weight per example. "
            f"Received: class_weight={class_weight!r}"
        )
    if not 0 <= (validation_split or 0.0) < 1:
        raise ValueError(
            "`validation_split` must be in [0, 1). "
            f"Received: validation_split={validation_split!r}"
        )


def check_count(value, name, least):
    """Raises ValueError where a number that is no tensor is no count."""
    is_integer = isinstance(value, int | np.integer) and not isinstance(value, bool)
    if not tf.is_tensor(value) and not (is_integer and value >= least):
        raise ValueError(
            f"`{name}` must be an integer, at least {least}. Received: {name}={value!r}"
        )


def check_seed(seed):
    """Returns a seed; one that is no tensor is checked, or drawn for None."""
    return seed if tf.is_tensor(seed) else random.check_seed(seed)


def check_no_lists(value, name):
    """Raises ValueError where numbers are in lists, which Keras takes for inputs."""
    for part in tf.nest.flatten(value):
        if part is not None and not hasattr(part, "shape"):
            raise ValueError(
                f"`{name}` must be an array or tensor: convert lists of numbers with "
                f"`np.asarray`. Received: {type(part).__name__} within "
                f"{type(value).__name__}"
            )


def check_structure(x, y):
    """Raises ValueError where nothing says which tensor is to be reconstructed."""
    if y is None and not hasattr(x, "shape"):
        raise ValueError(
            "`y` must be given where `x` is a structure of several tensors: pass "
            "`fit(x, y)` with the tensor that is to be reconstructed as `y`. "
            f"Received: x is a {type(x).__name__}, y=None"
        )


def check_support(model, target, y=None):
    """Raises ValueError where the target cannot occur under the likelihood."""
    try:
        model.likelihood.check_data(np.asarray(target))
    except ValueError as error:
        if y is None:
            raise
        raise ValueError(
            f"`y` cannot be reconstructed by the likelihood, to which it is x: {error}"
        ) from error


def peek_generator(generator, name):
    """Returns the first batch of a generator, and a generator of all its batches."""
    try:
        first = next(generator)
    except StopIteration as error:
        raise ValueError(
            f"`{name}` must yield at least one batch. Received: none"
        ) from error

    def all_batches():
        yield first
        yield from generator

    return first, all_batches()


def peek(data, name):
    """Returns the first batch of a data set."""
    if isinstance(data, keras.utils.PyDataset):
        if not data.num_batches:
            raise ValueError(f"`{name}` must hold at least one batch. Received: none")
        return data[0]
    for batch in data.take(1):
        return batch
    raise ValueError(f"`{name}` must hold at least one batch. Received: none")


def check_array(value, name):
    """Returns `value` as it is, or as an array where it is a list of numbers."""
    if not hasattr(value, "shape") or not hasattr(value, "dtype"):
        value = np.asarray(value)
    dtype = tf.as_dtype(value.dtype) if value.dtype != object else None
    if dtype is None or not (dtype.is_floating or dtype.is_integer or dtype.is_bool):
        raise ValueError(
            f"`{name}` must be an array of numbers. Received: dtype={value.dtype}"
        )
    if len(value.shape) < 2:
        raise ValueError(
            f"`{name}` must have a batch axis and at least one more. "
            f"Received: shape={tuple(value.shape)}"
            + (f". {NO_LABELS}" if name == "y" else "")
        )
    if dtype.is_floating:
        # Float64 beyond float32 is infinite to the model.
        with np.errstate(over="ignore"):
            bad = int(np.count_nonzero(~np.isfinite(np.asarray(value, "float32"))))
        if bad:
            raise ValueError(
                f"`{name}` must be finite. Received: {bad} values that are NaN or "
                "infinite. Impute them, or leave these examples out."
            )
    return value


def check_examples(data):
    """Returns the `data` of a callback as an array; raises ValueError where empty."""
    data = np.asarray(check_array(data, "data"))
    if not data.size:
        raise ValueError(
            f"`data` must hold at least one example. Received: data.shape={data.shape}"
        )
    return data


def check_input_shape(model, data):
    """Raises ValueError where a model that is built does not take `data`."""
    shape = model.get_build_config()["input_shape"]
    if not is_shape(shape) or not tf.TensorShape(
        (None, *tuple(shape)[1:])
    ).is_compatible_with(data.shape):
        raise ValueError(
            "`data` must have the shape of the model's input, "
            f"{shape}. Received: data.shape={data.shape}"
        )


def check_weights(sample_weight, size):
    """Raises ValueError where the weights cannot weigh examples."""
    weights = np.asarray(sample_weight)
    if weights.dtype.kind not in "biuf":
        raise ValueError(
            "`sample_weight` must be an array of numbers. "
            f"Received: dtype={weights.dtype}"
        )
    if weights.shape not in ((size,), (size, 1)):
        raise ValueError(
            "`sample_weight` must hold one weight per example, shape "
            f"({size},). Received: shape={weights.shape}"
        )
    if not np.all(np.isfinite(weights)) or np.any(weights < 0):
        raise ValueError(
            "`sample_weight` must be finite and not negative. "
            f"Received: values in [{weights.min()}, {weights.max()}]"
        )


def is_shape(shape):
    """Whether `shape` is one shape and not a structure of several."""
    return isinstance(shape, tuple | list | tf.TensorShape) and all(
        size is None or isinstance(size, int) for size in shape
    )


def shape_text(shape):
    """Returns the axes of a shape as text."""
    return ", ".join(map(str, shape))

"""Checks of arguments and data, all of which run before the first training step."""

import keras
import numpy as np
import tensorflow as tf

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
    while getattr(last, "layers", None):
        last = last.layers[-1]
        if isinstance(last, keras.layers.Reshape | keras.layers.Flatten):
            break
    activation = getattr(last, "activation", None)
    name = getattr(activation, "__name__", None)
    if name in likelihood.invalid_activations:
        raise ValueError(
            f"`decoder` ends in a {name}, but {type(likelihood).__name__} takes "
            f"logits. Remove the activation of layer {last.name!r}; `decode` and "
            "`predict` apply it. "
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


def build_network(network, input_shape):
    """Builds a network and returns the shape of its output, batch axis first."""
    if not network.built:
        network.build(input_shape)
    return tuple(network.compute_output_shape(input_shape))


def check_params_shape(params_shape, input_shape, likelihood):
    """Raises ValueError where the decoder's output does not fit the likelihood.

    Args:
        params_shape: Shape of the decoder's output for one example.
        input_shape: Shape of x, batch axis first, or a structure of such.
        likelihood: The `Likelihood`.
    """
    name = type(likelihood).__name__
    try:
        event_shape = tuple(likelihood.event_shape(params_shape))
    except ValueError as error:
        raise ValueError(
            f"`decoder` puts out shape {params_shape} for each example, which does "
            f"not fit the {name} likelihood: {error}"
        ) from error
    if not is_shape(input_shape) or None in tuple(input_shape)[1:]:
        return
    # A target `y` of another shape than x is legitimate, so that only a decoder which
    # forgot the likelihood's further parameters is known to be wrong here.
    x_shape = tuple(input_shape)[1:]
    needed = tuple(likelihood.params_shape(x_shape))
    if event_shape != x_shape and tuple(params_shape) == x_shape:
        raise ValueError(
            f"`decoder` puts out shape {params_shape} for each example, but the {name} "
            f"likelihood of data of shape {x_shape} needs shape {needed}. Build it "
            f"with `output_shape={needed}`."
        )


def check_closed_form(latent, objective):
    """Raises ValueError before training where the rate has no closed form."""
    if objective.kl != "analytic":
        return
    params = tf.zeros((1, latent.posterior.params_size(latent.units)))
    prior = latent.prior.params(lambda x: params)
    z = tf.zeros((1, 1, latent.units))
    objective.rate(latent.estimate(params, prior, z))


def check_target(x, y, event_shape):
    """Returns what is to be reconstructed.

    Args:
        x: Input of the model.
        y: Target, or None where the input is the target.
        event_shape: Shape of one target.

    Raises:
        ValueError: If the target does not have this shape.
    """
    if y is None and not hasattr(x, "shape"):
        raise ValueError(
            "`y` must be given where `x` is a structure of several tensors: pass "
            "`fit(x, y)` with the tensor that is to be reconstructed as `y`."
        )
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
            else "A VAE reconstructs `y` where it is given: for labels pass only "
            "`fit(x)`, for denoising `fit(noisy, clean)`."
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
    if isinstance(x, PEEKABLE):
        x, y, sample_weight = keras.utils.unpack_x_y_sample_weight(peek(x, name))
    elif hasattr(x, "__next__") or hasattr(x, "__dataloader__"):
        return data  # A generator cannot be looked at without losing what was seen.
    elif x is None:
        raise ValueError(f"`{name}` must be given. Received: {name}=None")
    elif y is None and sample_weight is not None:
        # Keras drops the weights of data without `y`.
        data["y"] = x
    inputs = tf.nest.map_structure(lambda v: check_array(v, name), x)
    sizes = {len(v) for v in tf.nest.flatten(inputs)}
    if y is not None:
        y = check_array(y, "y")
        sizes.add(len(y))
    if len(sizes) != 1:
        raise ValueError(
            f"`{name}` and `y` must have the same number of examples. "
            f"Received: {sorted(sizes)} examples"
        )
    (size,) = sizes
    if size == 0:
        raise ValueError(f"`{name}` must hold at least one example. Received: 0")
    if sample_weight is not None:
        check_weights(sample_weight, size)
    with model.distribute_strategy.scope():
        if not model.built:
            model.build(tf.nest.map_structure(lambda v: (None, *v.shape[1:]), inputs))
    target = check_target(inputs, y, model.event_shape)
    model.likelihood.check_data(np.asarray(target))
    return data


def check_validation_data(model, data):
    """Checks `validation_data`, and returns it as Keras takes it."""
    if not isinstance(data, tuple | list):
        return check_data(model, data, name="validation_data")["x"]
    parts = keras.utils.unpack_x_y_sample_weight(tuple(data))
    checked = check_data(model, *parts, name="validation_data")
    return tuple(checked.values())


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
        )
    if dtype.is_floating:
        bad = int(np.count_nonzero(~np.isfinite(np.asarray(value, "float32"))))
        if bad:
            raise ValueError(
                f"`{name}` must be finite. Received: {bad} values that are NaN or "
                "infinite. Impute them, or leave these examples out."
            )
    return value


def check_weights(sample_weight, size):
    """Raises ValueError where the weights cannot weigh examples."""
    weights = np.asarray(sample_weight)
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

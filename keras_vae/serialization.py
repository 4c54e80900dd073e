"""How a name, a config or an object becomes an object, as in Keras."""

import contextlib

import keras


def get(identifier, base, makers, argument):
    """Resolves an identifier to an instance of `base`.

    Args:
        identifier: An instance of `base`, which is returned as it is; a name in
            `makers`; or the dict that `keras.saving.serialize_keras_object` made.
        base: The class of which the result has to be an instance.
        makers: Dict of names to callables that make an instance of `base` with its
            default arguments.
        argument: Name of the argument, for the error message.

    Returns:
        An instance of `base`.

    Raises:
        ValueError: If `identifier` is none of these.
    """
    found = identifier
    if isinstance(identifier, str) and identifier in makers:
        found = makers[identifier]()
    elif isinstance(identifier, dict):
        found = keras.saving.deserialize_keras_object(identifier)
    if isinstance(found, base):
        return found
    names = ", ".join(repr(name) for name in makers)
    raise ValueError(
        f"`{argument}` must be a {base.__name__}, its serialized config or one of "
        f"{names}. Received: {argument}={identifier!r}"
    )


@contextlib.contextmanager
def default_policy(dtype):
    """Gives layers that know of no dtype policy this one instead of the global one.

    Keras saves none with a `Sequential` or functional model, which then would round its
    inputs as the process that loads it happens to.

    Args:
        dtype: `keras.DTypePolicy`, its name or its config; None changes nothing.
    """
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(keras.dtype_policies.get(dtype))
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)

"""How `get` turns a name, a config or an object into an object, as in Keras."""

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

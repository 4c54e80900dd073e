"""Objects from names and configs, as in Keras."""

import contextlib
import inspect

import keras

# Names that users pass as the wrong argument, and their right place.
_ELSEWHERE = {
    "aggressive_vae": "the model `keras_vae.AggressiveVAE`",
    "bn_vae": "a posterior, posterior='bn_vae'",
    "delta_vae": "a posterior, posterior='delta_vae'",
    "factor_vae": "the model `keras_vae.FactorVAE`",
    "multi_rate_vae": "the model `keras_vae.MultiRateVAE`",
    "sigma_vae": "a likelihood, likelihood='sigma_vae'",
    "vamp_prior": "a prior, prior='vamp_prior'",
    **dict.fromkeys(
        ("beta_vae", "control_vae", "geco", "info_vae", "iwae"), "an objective"
    ),
    **dict.fromkeys(
        ("cyclical", "linear", "sigmoid"),
        "a schedule, for `fit(callbacks=[keras_vae.KLAnnealing(...)])`",
    ),
}


def get(identifier, base, makers, argument):
    """Resolves an identifier to an instance of `base`.

    Args:
        identifier: An instance of `base`, which is returned unchanged; a name in
            `makers`; a dict with such a name as "class_name" and its arguments as
            "config"; or a dict from `keras.saving.serialize_keras_object`.
        base: Class, the required type of the result.
        makers: Dict of names to callables that make an instance of `base`.
        argument: Name of the argument, for the error message.

    Returns:
        An instance of `base`.

    Raises:
        ValueError: If `identifier` is none of these, or lacks an argument.
    """
    found = identifier
    if isinstance(identifier, str) and identifier in makers:
        found = _make(identifier, {}, makers, argument)
    elif isinstance(identifier, dict) and identifier.get("class_name") in makers:
        name, config = identifier["class_name"], identifier.get("config", {})
        found = _make(name, config, makers, argument)
    elif isinstance(identifier, dict):
        found = keras.saving.deserialize_keras_object(identifier)
    if isinstance(found, base):
        return found
    names = ", ".join(repr(name) for name in makers)
    elsewhere = _ELSEWHERE.get(identifier) if isinstance(identifier, str) else None
    hint = f". {identifier!r} is {elsewhere}" if elsewhere else ""
    raise ValueError(
        f"`{argument}` must be a {base.__name__}, its serialized config or one of "
        f"{names}. Received: {argument}={identifier!r}{hint}"
    )


def _make(name, config, makers, argument):
    parameters = inspect.signature(makers[name]).parameters.values()
    missing = [
        parameter.name
        for parameter in parameters
        if parameter.default is parameter.empty
        and parameter.kind is parameter.POSITIONAL_OR_KEYWORD
        and parameter.name not in config
    ]
    if missing:
        config = ", ".join(f"{part!r}: ..." for part in missing)
        raise ValueError(
            f"`{argument}` {name!r} needs `{'`, `'.join(missing)}`: pass the object, "
            f"or {argument}={{'class_name': {name!r}, 'config': {{{config}}}}}. "
            f"Received: {argument}={name!r}"
        )
    return makers[name](**config)


@contextlib.contextmanager
def default_policy(dtype):
    """Sets the dtype policy of layers whose config has none.

    Keras saves no policy with a `Sequential` or functional model. Without this context
    the global policy of the loading process would determine how the model rounds
    inputs.

    Args:
        dtype: `keras.DTypePolicy`, its name or its config; None changes nothing.
    """
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(keras.dtype_policies.get(dtype))
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)


class HoldsNetworks:
    """Mixin of a Keras class whose config holds networks.

    Attributes:
        network_arguments: Tuple of the names of these arguments.
    """

    network_arguments = ("network",)

    @classmethod
    def from_config(cls, config, custom_objects=None):
        """Makes an equal object from the output of `get_config`."""
        networks = {
            name: keras.saving.deserialize_keras_object(
                config[name], custom_objects=custom_objects
            )
            for name in cls.network_arguments
        }
        return cls(**{**config, **networks})

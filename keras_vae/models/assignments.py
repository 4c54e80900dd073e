"""What may be assigned to a model, and the remedy where something may not."""

import difflib
import numbers

import keras

from keras_vae import _keras
from keras_vae.hyperparameter import Hyperparameter
from keras_vae.hyperparameter import OwnsHyperparameters

# What a model keeps, of the arguments with which it is made.
_PARTS = ("encoder", "decoder", "likelihood", "objective", "latent")
_ARGUMENTS = ("latent_dim", "posterior", "prior", "seed")


class GuardsAttributes(OwnsHyperparameters):
    """Mixed into a model that would go on as before after a mistaken assignment."""

    @property
    def kl_weight(self):
        """The objective's `Hyperparameter`; a number may be assigned to it."""
        return self.objective.kl_weight

    @kl_weight.setter
    def kl_weight(self, value):
        self.objective.kl_weight = value

    def __setattr__(self, name, value):
        # Nothing is mistaken before all parts are there.
        if "objective" in vars(self):
            _check(self, name, value)
        super().__setattr__(name, value)


def _check(model, name, value):
    kind = type(model).__name__
    if name in _PARTS and name in vars(model):
        is_part = isinstance(value, keras.layers.Layer)
        if vars(model)[name] is not value and (model.built or not is_part):
            raise ValueError(
                f"`{name}` is a part of the model, which cannot be exchanged: make "
                f"another one, `{kind}({name}=...)`. Received: {name}={value!r}"
            )
    elif name in _ARGUMENTS:
        raise ValueError(
            f"`{name}` is fixed when the model is made: make another one, "
            f"`{kind}({name}=...)`. Received: {name}={value!r}"
        )
    elif _is_read_only(model, name):
        raise ValueError(
            f"`{name}` of a {kind} follows from the arguments with which it is made, "
            f"and cannot be assigned. Received: {name}={value!r}"
        )
    elif _is_unknown_number(model, name, value):
        names = {item.name for item in _keras.sublayers(model, Hyperparameter)}
        # Above, users' own names for the weight.
        guesses = {"beta": "kl_weight", "weight": "kl_weight", **{n: n for n in names}}
        close = difflib.get_close_matches(name, guesses, n=1)
        owned = guesses[close[0]] if close else "kl_weight"
        raise ValueError(
            f"`{name}` is no attribute of a {kind}. What moves are the hyperparameters "
            f"{sorted(names)}: assign for example "
            f"`model{_path(model, owned)}.{owned} = {value!r}`. "
            f"Received: {name}={value!r}"
        )


def _is_read_only(model, name):
    found = getattr(type(model), name, None)
    return isinstance(found, property) and found.fset is None


def _path(model, name):
    return "" if name in vars(model) else ".objective"


def _is_unknown_number(model, name, value):
    """Whether a number is given a name that nothing in the model reads."""
    is_number = isinstance(value, numbers.Real) and not isinstance(value, bool)
    # A class of one's own may have attributes of its own.
    is_ours = type(model).__module__.partition(".")[0] == __name__.partition(".")[0]
    is_public = not name.startswith("_")
    return (
        is_number
        and is_ours
        and is_public
        and not hasattr(type(model), name)
        and (name not in vars(model))
    )

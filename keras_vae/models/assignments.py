"""Mistaken assignments to a model, each rejected with a remedy."""

import difflib
import numbers

import keras

from keras_vae import _keras
from keras_vae.hyperparameter import Hyperparameter
from keras_vae.hyperparameter import OwnsHyperparameters

# Parts of a model, and the arguments that make them.
_PARTS = ("encoder", "decoder", "classifier", "likelihood", "objective", "latent")
_ARGUMENTS = ("latent_dim", "posterior", "prior", "seed", "conditions")
# Arguments of some models; on others users may put such attributes.
_ARGUMENTS_OF_SOME = ("inference",)


class GuardsAttributes(OwnsHyperparameters):
    """Mixin that rejects assignments which the model would ignore."""

    @property
    def kl_weight(self):
        """The objective's `Hyperparameter`; a number may be assigned to it."""
        return self.objective.kl_weight

    @kl_weight.setter
    def kl_weight(self, value):
        self.objective.kl_weight = value

    def __setattr__(self, name, value):
        # An assignment can be mistaken only once all parts are there.
        if "objective" in vars(self):
            _check(self, name, value)
        super().__setattr__(name, value)


def _check(model, name, value):
    kind = type(model).__name__
    if name in _PARTS and name in vars(model):
        is_part = isinstance(value, keras.layers.Layer)
        if vars(model)[name] is not value and (model.built or not is_part):
            raise ValueError(
                f"`{name}` is a part of the model and cannot be exchanged: make "
                f"a new model with `{kind}({name}=...)`. Received: {name}={value!r}"
            )
    elif name in _ARGUMENTS or (name in _ARGUMENTS_OF_SOME and name in vars(model)):
        raise ValueError(
            f"`{name}` is fixed when the model is made: make a new model with "
            f"`{kind}({name}=...)`. Received: {name}={value!r}"
        )
    elif _is_read_only(model, name):
        raise ValueError(
            f"`{name}` of a {kind} follows from the arguments of its constructor "
            f"and cannot be assigned. Received: {name}={value!r}"
        )
    elif _is_unknown_number(model, name, value):
        names = {item.name for item in _keras.sublayers(model, Hyperparameter)}
        # Besides the names themselves, users' own names for the weight.
        guesses = {"beta": "kl_weight", "weight": "kl_weight", **{n: n for n in names}}
        close = difflib.get_close_matches(name, guesses, n=1)
        owned = guesses[close[0]] if close else "kl_weight"
        raise ValueError(
            f"`{name}` must be an attribute of a {kind}. The adjustable attributes are "
            f"its hyperparameters {sorted(names)}: assign for example "
            f"`model{_path(model, owned)}.{owned} = {value!r}`. "
            f"Received: {name}={value!r}"
        )


def _is_read_only(model, name):
    found = getattr(type(model), name, None)
    return isinstance(found, property) and found.fset is None


def _path(model, name):
    return "" if name in vars(model) else ".objective"


def _is_unknown_number(model, name, value):
    """Whether a number is assigned to a name that the model does not read."""
    is_number = isinstance(value, numbers.Real) and not isinstance(value, bool)
    # A user's subclass may define further attributes.
    is_ours = type(model).__module__.partition(".")[0] == __name__.partition(".")[0]
    is_public = not name.startswith("_")
    return (
        is_number
        and is_ours
        and is_public
        and not hasattr(type(model), name)
        and (name not in vars(model))
    )

"""The heads of a Keras model: its outputs, each with its target and compiled loss."""

import dataclasses

from keras_vae.losses import NegativeLogLikelihood


@dataclasses.dataclass(frozen=True)
class Head:
    """One output of a model.

    Args:
        name: String, the output's name, "" if it has none.
        index: Integer, its place in a list of outputs.
        target: Array (examples, ...), or None.
        loss: What `compile` got for it: an object, a name or None.
    """

    name: str
    index: int
    target: object
    loss: object

    @property
    def likelihood(self):
        """The `Likelihood` that it trains with, or None."""
        if isinstance(self.loss, NegativeLogLikelihood):
            return self.loss.likelihood
        return None

    def of(self, outputs):
        """Returns this head's part of the outputs of the model."""
        return _part(outputs, self.name, self.index)


def heads_of(model, y):
    """Returns the list of the `Head`s of a model that have a target.

    Args:
        model: A Keras model.
        y: Array of targets; a list or dict of arrays for several outputs, as for `fit`.
    """
    names = getattr(model, "output_names", None) or []
    if isinstance(y, dict):
        names = names if set(names) == set(y) else sorted(y)
    else:
        number = len(y) if isinstance(y, list | tuple) else 1
        names = names if len(names) == number else [""] * number
    loss = getattr(model, "loss", None)
    return [
        Head(name, index, _part(y, name, index), _part(loss, name, index))
        for index, name in enumerate(names)
    ]


def _part(values, name, index):
    if isinstance(values, dict):
        return values.get(name)
    return values[index] if isinstance(values, list | tuple) else values

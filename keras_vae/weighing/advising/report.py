"""What `advise` says, as a list, in words and as dicts."""

import collections.abc
import dataclasses
import re
import textwrap

from keras_vae.weighing.advising import translation

_WIDTH = 80
# What to do with a weight that none should take.
_WHERE = {"collapse": "Stay below this in your own code"}


@dataclasses.dataclass(frozen=True)
class Advice:
    """A weight for a purpose.

    Args:
        purpose: String, see `advise`.
        title: String, the purpose in words.
        beta: Float, or None where there is none to advise.
        reason: String, a sentence.
        units: `Units` of the weight, or None where there is none or the likelihood is
            not known.
        interval: Pair of floats, the 95% interval of beta, or None.
    """

    purpose: str
    title: str
    beta: float | None
    reason: str
    units: translation.Units | None = None
    interval: tuple | None = None

    def to_dict(self):
        """Returns a dict as JSON takes it."""
        return dataclasses.asdict(self)

    def __str__(self):
        """A paragraph."""
        head = f"{self.title}: "
        if self.beta is None:
            return "\n    ".join(textwrap.wrap(f"{head}{self.reason}", _WIDTH))
        head += f"beta = {self.beta:.4g}"
        if self.interval is not None and self.interval[0] < self.interval[1]:
            head += f" (95%: {self.interval[0]:.4g} to {self.interval[1]:.4g})"
        lines = []
        if self.units is not None:
            where = _WHERE.get(self.purpose, "In your own code")
            lines += self.units.as_text(where).splitlines()
        lines += textwrap.wrap(f"Why: {self.reason.rstrip('.')}.", _WIDTH)
        return head + textwrap.indent("".join(f"\n{line}" for line in lines), "    ")


class AdviceReport(collections.abc.Sequence):
    """A list of `Advice`, that for likelihood first; `print` shows all of it.

    Args:
        advice: Iterable of `Advice`.
        curve: `RateDistortionCurve` that it is read from.
        family: The models, with `nearest(beta)` and `at(beta)`, or None.
        data_scale: Float, by which the data were divided, or None.

    Attributes:
        curve: See above.
    """

    def __init__(self, advice, curve, family=None, data_scale=None):
        self._advice, self.curve = tuple(advice), curve
        self._family, self._data_scale = family, data_scale

    def __getitem__(self, key):
        """Returns the advice of a place or a purpose, such as "likelihood"."""
        if not isinstance(key, str):
            return self._advice[key]
        for item in self._advice:
            if item.purpose == key:
                return item
        raise KeyError(
            f"A purpose must be one of {[item.purpose for item in self._advice]}. "
            f"Received: {key!r}"
        )

    def __len__(self):
        return len(self._advice)

    def nearest(self, beta):
        """Returns the weight next to `beta` of which there is a model."""
        return beta if self._family is None else self._family.nearest(beta)

    def at(self, beta):
        """Returns the `VAE` of a weight as it was trained; see `with_own_noise`.

        Args:
            beta: Float, one that `nearest` returns.

        Raises:
            ValueError: If only a curve was given.
        """
        if self._family is None:
            raise ValueError(
                "`models` must have been given to `advise`, not only their curve, to "
                f"return one. Received: beta={beta!r}"
            )
        return self._family.at(beta)

    def units(self, beta):
        """Returns the `Units` of a weight, None where the likelihood is not known."""
        meaning = self.curve.meaning
        if meaning is None:
            return None
        latents = self.curve.latent_dim
        return translation.units_of(beta, meaning, latents, self._data_scale)

    @property
    def has_code(self):
        """Whether a unit of z is active at some weight; else nothing is advised."""
        return bool(self.curve.active_units.any())

    @property
    def words(self):
        """Dict, each word of the report to what it means."""
        meaning = self.curve.meaning
        if meaning is None:
            return {}
        return translation.words(meaning, self.curve.latent_dim)

    def to_dict(self):
        """Returns {"advice": list of dicts, "words": dict} as JSON takes it."""
        return {"advice": [item.to_dict() for item in self], "words": self.words}

    def __str__(self):
        """The advice as a list, and what its words mean."""
        advice = "\n".join(["Advice", *(f"* {item}" for item in self)])
        used = _used(self.words, advice)
        lines = ["Words"] if used else []
        for word, text in used.items():
            indent = {"initial_indent": "  ", "subsequent_indent": "    "}
            lines += textwrap.wrap(f"{word}: {text}", _WIDTH, **indent)
        return "\n".join([advice, *lines])


def _used(words, text):
    """Returns the words that a text holds, and those by which these are defined."""
    found = {}
    while True:
        more = {
            word: meaning
            for word, meaning in words.items()
            if word not in found and _holds(text, word)
        }
        if not more:
            return {word: words[word] for word in words if word in found}
        found |= more
        text = " ".join(more.values())


def _holds(text, words):
    return any(
        re.search(rf"(?<![\w-]){re.escape(word)}(?!\w)", text)
        for word in words.split(", ")
    )

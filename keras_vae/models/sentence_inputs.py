"""What the methods of a model of sentences do with strings."""

import numpy as np
import tensorflow as tf


class TakesSentences:
    """Mixin of `SentenceVAE`: strings stand for the ids (batch, words, 1) of words.

    It uses the model's `vocabulary` and `latent`.
    """

    def _tensor(self, x, name="x"):
        return super()._tensor(self._ids(x), name)

    def as_numbers(self, x):
        """Returns the ids (batch, words, 1) of strings as an array, others as is."""
        return self._ids(x).numpy() if are_strings(x) else x

    def _ids(self, x):
        """Returns ids (batch, words, 1) of strings; other inputs stay as they are."""
        return self.vocabulary.encode(x) if are_strings(x) else x

    def _batched(self, x, batch_size, **kwargs):
        """Returns the arguments x and batch_size of Keras for sentences."""
        if not are_strings(x):
            return x, batch_size
        size = 32 if batch_size is None else batch_size
        seed = self.latent.noise.seed
        return self.vocabulary.batches(x, size, seed, **kwargs), None

    def fit(self, x=None, y=None, batch_size=None, epochs=1, **kwargs):
        """Trains the model; see `VAE.fit`.

        Args:
            x: List, array or tensor of strings, or what `VAE.fit` takes of ids.
            y: Must be None: the decoder reads x.
            batch_size: Integer, sentences in a batch, 32 by default.
            epochs: Integer.
            **kwargs: See `VAE.fit`; `validation_data` may be strings too. Strings have
                neither weights nor a `validation_split`.
        """
        _check_kwargs(x, y, **kwargs)
        held_out = kwargs.get("validation_data")
        if isinstance(held_out, tuple) and not isinstance(held_out[0], str | bytes):
            parts = dict(zip(("x", "y", "sample_weight"), held_out, strict=False))
            if are_strings(parts["x"]):
                _check_kwargs(**parts)
                held_out = parts["x"]
        if are_strings(held_out):
            size = kwargs.pop("validation_batch_size", None)
            size = batch_size if size is None else size
            options = {"shuffle": False, "needs_known": False}
            kwargs["validation_data"], _ = self._batched(held_out, size, **options)
        options = {"initial_epoch": kwargs.get("initial_epoch", 0)}
        options["shuffle"] = bool(kwargs.get("shuffle", True))
        x, batch_size = self._batched(x, batch_size, **options)
        return super().fit(x, y, batch_size, epochs, **kwargs)

    def evaluate(self, x=None, y=None, batch_size=None, **kwargs):
        """Evaluates the model on strings, or on ids; see `VAE.evaluate`."""
        _check_kwargs(x, y, **kwargs)
        options = {"shuffle": False, "needs_known": False}
        x, batch_size = self._batched(x, batch_size, **options)
        return super().evaluate(x, y, batch_size, **kwargs)

    def predict(self, x, *args, **kwargs):
        """Returns ids (batch, max_length) of the reconstructions; see `VAE.predict`."""
        return super().predict(self.as_numbers(x), *args, **kwargs)

    def train_on_batch(self, x, *args, **kwargs):
        """Trains on one batch of strings or ids; see `VAE.train_on_batch`."""
        return super().train_on_batch(self.as_numbers(x), *args, **kwargs)

    def test_on_batch(self, x, *args, **kwargs):
        """Evaluates one batch of strings or ids; see `VAE.test_on_batch`."""
        return super().test_on_batch(self.as_numbers(x), *args, **kwargs)


def are_strings(x):
    """Whether x holds sentences as strings.

    Args:
        x: Anything that a method takes as x.

    Raises:
        ValueError: If x is a single string, an empty list, or a `tf.data.Dataset` of
            strings.
    """
    if isinstance(x, str | bytes):
        raise ValueError(f"`x` must be a list of sentences. Received: the string {x!r}")
    if isinstance(x, tf.data.Dataset):
        specs = tf.nest.flatten(x.element_spec)
        if any(getattr(spec, "dtype", None) == tf.string for spec in specs):
            raise ValueError(
                "`x` must be a list of sentences, or batches of their ids, "
                "`model.vocabulary.batches(sentences)`. Received: a tf.data.Dataset "
                "of strings"
            )
        return False
    if tf.is_tensor(x):
        return x.dtype == tf.string
    if isinstance(x, np.ndarray):
        return x.dtype.kind in "OSU"
    if not isinstance(x, list | tuple):
        return False
    if not x:
        raise ValueError("`x` must hold at least one sentence. Received: none")
    return any(isinstance(value, str | bytes) for value in x)


def _check_kwargs(x, y=None, sample_weight=None, validation_split=0.0, **kwargs):
    """Raises ValueError for what cannot stand beside strings."""
    if not are_strings(x):
        return
    given = {"y": y, "sample_weight": sample_weight}
    if unfit := [name for name, value in given.items() if value is not None]:
        raise ValueError(
            f"`{unfit[0]}` must be None with strings, which are batched by length. "
            "Pass ids, `model.vocabulary.encode(x)`, with weights. Received: "
            f"{unfit[0]} of type {type(given[unfit[0]]).__name__}"
        )
    if validation_split:
        raise ValueError(
            "`validation_split` must be 0 with strings: pass `validation_data`. "
            f"Received: validation_split={validation_split}"
        )

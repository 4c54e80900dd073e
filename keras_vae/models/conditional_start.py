"""Data with conditions, for the linear start of a model."""

import itertools

import keras
import numpy as np

from keras_vae import checks
from keras_vae import linear
from keras_vae.conditions import MAIN

_AT_ONCE = 4096


class ConditionalBatches:
    """Batches of x and of flat conditions, read anew by each `iter`.

    Args:
        model: `VAE` with `linear_path=True`, which is built if it is not.
        data: Dict of arrays, as for `fit`, or data set of batches of such.
        steps: Integer, batches to read at most, or None to read all.

    Raises:
        ValueError: If the data have no conditions, no end, or can be read only once.
    """

    def __init__(self, model, data, steps):
        if hasattr(data, "__next__"):
            raise ValueError(
                "`x` must be data that can be read several times for `adapt` with "
                "conditions: pass a dict of arrays, a `tf.data.Dataset` or a "
                f"`keras.utils.PyDataset`. Received: x={data!r}"
            )
        self.model, self.data, self.steps = model, data, steps
        if isinstance(data, dict) or not hasattr(data, "__iter__"):
            checks.check_data(model, data)
        checks.check_has_end(data, steps, "x")

    def __iter__(self):
        """Yields arrays (batch, *event_shape) and (batch, size of the conditions)."""
        declared = self.model.conditions
        for batch in itertools.islice(self._batches(), self.steps):
            x, given = checks.split_inputs(declared, checks.unpack(batch)[0], "x")
            x = self._whole(x)
            checks.check_conditions(declared, given, len(x), all_known=True)
            encoded = {n: declared.encode(n, v).numpy() for n, v in given.items()}
            taken = self.model.decoder.declared
            flat = [np.zeros((len(x), 0))]
            flat += [encoded[name].reshape(len(x), -1) for name in taken]
            yield x, np.concatenate(flat, axis=1)

    def _whole(self, x):
        x = checks.check_array(x, "x", self.model.missing)
        x = np.asarray(checks.as_array(x))
        if x.dtype.kind == "f" and np.isnan(x).any():
            raise ValueError(
                "`x` must be whole for `adapt` with conditions, on which its elements "
                "are regressed: pass the examples that are, or those that `impute` "
                "filled in. Received: x with NaN"
            )
        return x

    def _batches(self):
        data = self.data
        if isinstance(data, dict):
            size = len(data[MAIN])
            for start in range(0, size, _AT_ONCE):
                rows = slice(start, start + _AT_ONCE)
                yield {name: value[rows] for name, value in data.items()}
        elif isinstance(data, keras.utils.PyDataset):
            number = self.steps if data.num_batches is None else data.num_batches
            yield from (data[place] for place in range(number))
        else:
            yield from data


class Residuals:
    """Batches of x less what its conditions tell of it, read anew by each `iter`.

    Args:
        pairs: `ConditionalBatches`.

    Attributes:
        regression: `keras_vae.linear.Regression`.
    """

    def __init__(self, pairs):
        self.pairs = pairs
        self.regression = linear.Regression.of(pairs)

    def __iter__(self):
        """Yields arrays (batch, *event_shape)."""
        for x, c in self.pairs:
            x = x if x.dtype.kind == "f" else x.astype("float32")
            yield self.regression.without(x, c).reshape(x.shape)

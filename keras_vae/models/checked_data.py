"""Methods of a model that check their data first."""

import tensorflow as tf

from keras_vae import checks


class CheckedData:
    """Mixin for a `keras.Model` that reports faulty data in one line.

    Arrays are checked whole, data sets and generators by their first batch.
    """

    def __call__(self, inputs, *args, **kwargs):
        """See `keras.Model`; a sparse tensor becomes dense: its zeros are data too."""
        inputs = tf.nest.map_structure(checks.dense, inputs)
        return super().__call__(inputs, *args, **kwargs)

    def evaluate(self, x=None, y=None, batch_size=None, **kwargs):
        """Evaluates the model on checked data; see `keras.Model.evaluate`."""
        checks.check_counts(batch_size=batch_size, **kwargs)
        data = {"x": x, "y": y, "sample_weight": kwargs.pop("sample_weight", None)}
        if not kwargs.get("_use_cached_eval_dataset"):
            data = checks.check_data(self, **data)
        return super().evaluate(batch_size=batch_size, **data, **kwargs)

    def predict(self, x, batch_size=None, verbose="auto", steps=None, **kwargs):
        """Decodes the posterior mean; see `keras.Model.predict`.

        The data are checked first, as in `fit`. If a later batch of a data set holds an
        example that is not finite, the result for that example is NaN.
        """
        settings = {"batch_size": batch_size, "steps": steps}
        checks.check_counts(**settings)
        x = checks.check_inputs(self, x)
        return super().predict(x, verbose=verbose, **settings, **kwargs)

    def train_on_batch(self, x, y=None, sample_weight=None, **kwargs):
        """Trains on one batch after checking it; see `keras.Model.train_on_batch`."""
        checks.check_fit(**kwargs)
        data = checks.check_batch(self, x, y, sample_weight)
        return super().train_on_batch(**data, **kwargs)

    def test_on_batch(self, x, y=None, sample_weight=None, **kwargs):
        """Evaluates one batch after checking it; see `keras.Model.test_on_batch`."""
        data = checks.check_batch(self, x, y, sample_weight)
        return super().test_on_batch(**data, **kwargs)

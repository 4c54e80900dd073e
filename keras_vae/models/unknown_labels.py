"""What the methods of a model do with labels that are unknown."""

import numpy as np
import tensorflow as tf

from keras_vae import checks
from keras_vae import conditions as named


class TakesUnknownLabels:
    """Mixin of `SemiSupervisedVAE` with the methods that use it without training it.

    It uses the model's `conditions`, `label`, `class_probs` and `_class_log_probs`.
    """

    def classify(self, x, condition=None):
        """Returns q(y|x), the probability of each class.

        Args:
            x: Tensor of shape (batch, *event_shape), or a dict of it as "x" and of
                conditions.
            condition: Dict of names to the conditions that the classifier takes, or
                None.

        Returns:
            Float32 tensor of shape (batch, classes), NaN for examples that are not
            finite.
        """
        return tf.exp(self._log_probs_of(x, condition))

    def _log_probs_of(self, x, condition):
        x, given = self._given(x, condition)
        given = {n: value for n, value in given.items() if n != self.label}
        x, condition = super()._data_and_conditions(x, given, "classifier")
        log_probs = self._class_log_probs(x, condition)
        log_probs = checks.with_nan(log_probs, x, self.missing)
        return self._with_nan(log_probs, condition)

    @property
    def further_endpoints(self):
        """See `VAE`."""
        return {"classify": (lambda x, **c: self.classify(x, c), "classifier")}

    def given(self, inputs):
        """See `VAE`; the most probable class stands for a label that is unknown."""
        return self._with_labels(*self._given(inputs, None))

    def split(self, inputs):
        """See `VAE`; the most probable class stands for a label that is unknown."""
        x = self.conditions.main(inputs)
        return super().split({named.MAIN: x, **self.given(inputs)})

    def _data_and_conditions(self, x, condition, *parts):
        x, given = self._given(x, condition)
        if self.takes(self.label, *parts):
            given = self._with_labels(x, given)
        return super()._data_and_conditions(x, given, *parts)

    def _with_labels(self, x, given):
        """Returns conditions with the most probable class where no label is known."""
        x, given = self._tensor(x), self._with_label(x, given)
        unknown = is_unknown(given[self.label])
        if tf.executing_eagerly() and not tf.reduce_any(unknown):
            return given
        label = tf.cast(tf.reshape(given[self.label], [-1]), tf.int32)
        best = most_probable(self._log_probs_of(x, given))
        return {**given, self.label: tf.where(unknown, best, label)}

    def _with_label(self, x, given):
        """Returns conditions with a label, which is -1 where there is none."""
        given = {self.label: named.UNKNOWN, **given}
        size = tf.nest.flatten(x)[0].shape[0]
        if tf.executing_eagerly():
            label = {self.label: given[self.label]}
            checks.check_conditions(self.conditions, label, size, one_for_all=True)
        return given

    def elbo(self, x, y=None, num_samples=1, seed=0, condition=None):
        """Estimates a bound on log p(x, y), or on log p(x) where y is unknown.

        Args:
            x: See `infer`.
            y: Target, or None if it is `x`.
            num_samples: Integer, draws of z per example and class.
            seed: Integer or integer tensor of shape (); equal seeds give equal draws.
            condition: See `VAE.elbo`; the label may be -1 or left out.

        Returns:
            Float32 tensor of shape (batch,), nats.
        """
        x, given = self._given(x, condition)
        log_probs = self._log_probs_of(x, given)
        x, given = self._tensor(x), self._with_label(x, given)
        size = tf.shape(log_probs)[0]
        inputs = {n: self.conditions.for_each(n, v, size) for n, v in given.items()}
        y = None if y is None else self._repeat(self._tensor(y, "y"))
        rows = self._for_each_class({named.MAIN: x, **inputs})
        bounds = super().elbo(rows, y, num_samples, seed)
        probs, rate = self._posterior_of_label(inputs[self.label], log_probs)
        bounds = tf.reshape(bounds, tf.shape(probs))
        return tf.reduce_sum(tf.math.multiply_no_nan(bounds, probs), axis=1) - rate

    def log_likelihood(self, x, y=None, num_samples=5000, condition=None, **kwargs):
        """Estimates log p(x, y), or log p(x) where y is unknown; see the `VAE`'s.

        Args:
            x: Array of shape (N, *event_shape), of any length, or a dict of it as "x"
                and of conditions.
            y: Target, or None if it is `x`.
            num_samples: Integer, draws of z per example and class.
            condition: Dict of names to conditions, arrays (N, ...), or None; the label
                may be -1 or left out.
            **kwargs: See `keras_vae.evaluation.log_likelihood`.

        Returns:
            Float32 array of shape (N,), nats.
        """
        x, given = self._given(x, condition)
        given = self._with_label(x, given)
        size = len(tf.nest.flatten(x)[0])
        label = np.asarray(checks.as_array(given.pop(self.label))).ravel()
        label = np.broadcast_to(label, [size])
        times = np.where(label == named.UNKNOWN, self._num_classes, 1)
        starts = np.cumsum(times) - times
        rows = np.repeat(np.arange(size), times)
        classes = np.where(
            times[rows] > 1, np.arange(len(rows)) - starts[rows], label[rows]
        )

        def take(value):
            return np.asarray(checks.as_array(value))[rows]

        x, given = tf.nest.map_structure(take, (x, given))
        y = None if y is None else take(y)
        given[self.label] = classes
        found = super().log_likelihood(x, y, num_samples, given, **kwargs)
        return np.logaddexp.reduceat(found + self._log_prior[classes], starts)


def is_unknown(label):
    """Returns which labels are unknown, (batch,), or (1,) for one label."""
    return tf.reshape(tf.cast(label, tf.int32), [-1]) == named.UNKNOWN


def most_probable(log_probs):
    """Returns the class of the largest of probabilities (batch, classes)."""
    return tf.argmax(log_probs, axis=1, output_type=tf.int32)

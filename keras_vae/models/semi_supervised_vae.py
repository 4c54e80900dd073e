"""A conditional VAE whose labels may be unknown."""

import keras
import numpy as np
import tensorflow as tf

from keras_vae import _keras
from keras_vae import checks
from keras_vae import conditions as named
from keras_vae.arguments import check_number
from keras_vae.conditions import Conditions
from keras_vae.hyperparameter import Hyperparameter
from keras_vae.metrics.trackers import CountedMean
from keras_vae.metrics.trackers import Gauge
from keras_vae.models import observed
from keras_vae.models.unknown_labels import TakesUnknownLabels
from keras_vae.models.unknown_labels import is_unknown
from keras_vae.models.unknown_labels import most_probable
from keras_vae.models.vae import VAE
from keras_vae.objectives import BatchMean
from keras_vae.objectives.reduction import check_sample_weight


@keras.saving.register_keras_serializable("keras_vae")
class SemiSupervisedVAE(TakesUnknownLabels, VAE):
    """Conditional VAE that learns from examples with and without a label: M2.

        labelled:    -ELBO(x, y) - log p(y) - alpha log q(y|x)
        unlabelled:  sum_y q(y|x) (-ELBO(x, y) - log p(y)) - H[q(y|x)]

    by Kingma et al., equations 6 to 9, summed exactly over the classes y. q(y|x) is the
    classifier, ELBO(x, y) the bound on log p(x|y) of the conditional VAE, and H the
    entropy. Without the term of alpha the loss is the negative of a bound on log p(x,
    y) of the labelled and on log p(x) of the unlabelled examples. The paper's weight is
    `alpha = 0.1 / s` in batches of which a share s is labelled. The objective replaces
    -ELBO(x, y), under its own weight; the other terms keep the weight 1.

    The label -1 says that a label is unknown. Both kinds may stand in one batch: each
    example is decoded once for each class, so a step costs as much as one of `classes`
    times as many examples.

    `kl_loss` contains KL(q(y|x) || p(y)), -log p(y) of a labelled example. Of the
    labelled `fit` also logs `accuracy` and `classification_loss`, the mean of -log
    q(y|x); and it logs `alpha`, which `callbacks.HyperparameterScheduler("alpha",
    schedule)` schedules. `encode`, `reconstruct` and `predict` take the most probable
    class where a label that a network takes is -1 or left out. `elbo` and
    `log_likelihood` sum over the classes there, and are of log p(x, y) where the label
    is known.

    Args:
        encoder: See `VAE`.
        decoder: See `VAE`. It takes the label.
        latent_dim: See `VAE`.
        classifier: `keras.Model` or layer, x -> logits (batch, classes) of q(y|x). It
            may take the other conditions.
        conditions: See `VAE`; one is the label, a number of classes.
        label: String, the name of the label, or None for the only condition of classes.
        class_probs: List of positive floats, p(y), or None for equal ones.
        alpha: Non-negative float, the weight of -log q(y|x) of the labelled.
        **kwargs: See `VAE`.

    Call arguments:
        inputs: Dict of "x" and of each condition.
        training: Boolean.

    Returns:
        The dict of `VAE` for each example and class, example by example, so that its
        batch is `classes` times as long; with one more entry "class_log_probs", log
        q(y|x), (batch, classes), float32.

    Raises:
        ValueError: If an argument is invalid, or the classifier takes the label or does
            not put out a number for each class.

    Example:
    >>> x, label = np.zeros((6, 8, 8, 1)), np.array([0, 1, 2, -1, -1, -1])
    >>> options = {"conditions": {"label": 3}}
    >>> vae = kv.SemiSupervisedVAE(
    ...     encoder=kv.networks.mlp_encoder([32], **options),
    ...     decoder=kv.networks.mlp_decoder([32], (8, 8, 1), **options),
    ...     latent_dim=4,
    ...     classifier=keras.Sequential(
    ...         [kv.networks.mlp_encoder([32]), keras.layers.Dense(3)]
    ...     ),
    ...     **options,
    ... )
    >>> vae.compile("adam")
    >>> history = vae.fit({"x": x, "label": label}, verbose=0).history
    >>> "accuracy" in history, vae.classify(x).shape
    (True, TensorShape([6, 3]))
    >>> vae.generate(2, seed=1, condition={"label": [0, 2]}).shape
    TensorShape([2, 8, 8, 1])

    Reference:
        [Semi-supervised learning with deep generative models](
        https://arxiv.org/abs/1406.5298)
    """

    network_arguments = (*VAE.network_arguments, "classifier")

    def __init__(
        self,
        encoder,
        decoder,
        latent_dim,
        classifier,
        conditions,
        label=None,
        class_probs=None,
        alpha=10.0,
        **kwargs,
    ):
        declared = Conditions(conditions)
        label = _check_label(label, declared)
        declared = Conditions(declared, unknown=label)
        super().__init__(encoder, decoder, latent_dim, conditions=declared, **kwargs)
        self.label, self._num_classes = label, declared.num_classes(label)
        self.classifier = checks.check_network(classifier, "classifier")
        if named.takes(classifier, label):
            raise ValueError(
                f"`classifier` must tell the label from x and not take it. Received: "
                f"a network that takes {label!r}"
            )
        self._class_probs = _check_probs(class_probs, self._num_classes)
        self.alpha = Hyperparameter(
            check_number("alpha", alpha), name="alpha", dtype=self.dtype_policy
        )
        self._accuracy = CountedMean("accuracy")
        self._classification_loss = CountedMean("classification_loss")
        self._alpha = Gauge("alpha", lambda: self.alpha.value)

    @property
    def class_probs(self):
        """The probabilities p(y), a list of floats."""
        return list(self._class_probs)

    @property
    def _log_prior(self):
        return np.log(self._class_probs, dtype="float32")

    def build(self, input_shape):
        """Creates all weights; see `VAE.build`."""
        super().build(input_shape)
        shape = observed.seen_shape(self.conditions.main(input_shape), self.missing)
        shapes = self.conditions.shapes
        shape = checks.build_network(self.classifier, shape, "classifier", shapes)
        if shape[1:] != (self._num_classes,):
            raise ValueError(
                "`classifier` must put out a logit for each class, shape (batch, "
                f"{self._num_classes}). Received: shape {shape}"
            )

    @property
    def _takers(self):
        return {**super()._takers, "classifier": [self.classifier]}

    # === Training ===

    def call(self, inputs, training=False):
        """See the class."""
        outputs = super().call(self._for_each_class(inputs), training=training)
        outputs["class_log_probs"] = self._class_log_probs(
            *self.conditions.split(inputs)
        )
        return outputs

    def _class_log_probs(self, x, condition):
        """Returns log q(y|x), (batch, classes), nats."""
        seen = observed.seen(x, self.missing, self.likelihood.origin)
        logits = named.call(self.classifier, seen, condition)
        return tf.nn.log_softmax(tf.cast(logits, tf.float32))

    def _for_each_class(self, inputs):
        """Returns inputs with each example once for each class, labelled so."""
        inputs = self._repeat(inputs)
        labels = inputs[self.label]
        size = tf.size(labels) // self._num_classes
        classes = tf.tile(tf.range(self._num_classes), [size])
        return {**inputs, self.label: tf.reshape(classes, tf.shape(labels))}

    def _repeat(self, values):
        """Returns each example of a structure of tensors once for each class."""

        def repeat(value):
            mask = _keras.mask_of(value)
            value = tf.repeat(value, self._num_classes, axis=0)
            return value if mask is None else _keras.with_mask(value, repeat(mask))

        return tf.nest.map_structure(repeat, values)

    def _posterior_of_label(self, label, log_probs):
        """Returns q(y|x), or 1 for the class that is known, and its rate in nats.

        Args:
            label: Integer tensor (batch,), -1 where it is unknown.
            log_probs: Tensor (batch, classes), log q(y|x).

        Returns:
            Tensors (batch, classes) and (batch,): the probabilities, NaN for a label
            that is no class, and their KL from p(y).
        """
        unknown = is_unknown(label)[:, None]
        known = self.conditions.encode(self.label, label)
        probs = tf.where(unknown, tf.exp(log_probs), known)
        log_ratio = tf.where(unknown, log_probs, 0.0) - self._log_prior
        return probs, tf.reduce_sum(probs * log_ratio, axis=1)

    def compute_loss(
        self, x=None, y=None, y_pred=None, sample_weight=None, training=True
    ):
        """Adds the terms of the label to those of `VAE.compute_loss`, see the class."""
        label, log_probs = x[self.label], y_pred["class_log_probs"]
        weights = check_sample_weight(sample_weight)
        mean = BatchMean(tf.shape(log_probs)[0], weights)
        _, rate = self._posterior_of_label(label, log_probs)
        rate = mean(rate)
        if training:
            self.alpha.advance()
        self.add_loss(rate)
        self.add_loss(self._classification(label, log_probs, weights, mean))
        x, y, sample_weight = self.rows(x, y, y_pred, sample_weight)
        loss = super().compute_loss(x, y, y_pred, sample_weight, training)
        self._kl_loss.add(rate, mean)
        self._negative_elbo.add(rate, mean)
        return loss

    def _classification(self, label, log_probs, weights, mean):
        """Returns the weighted loss of the classifier, and reports on it."""
        unknown = is_unknown(label)
        known = self.conditions.encode(self.label, label)
        known = tf.where(unknown[:, None], 0.0, known)
        loss = -tf.reduce_sum(known * log_probs, axis=1)
        is_known = tf.cast(~unknown, tf.float32)
        if weights is not None:
            is_known *= tf.cast(weights, tf.float32)
        labelled = BatchMean(tf.shape(label)[0], is_known)
        best = tf.reduce_sum(
            known * tf.one_hot(most_probable(log_probs), known.shape[1]), axis=1
        )
        self._classification_loss.update(labelled(loss), labelled)
        self._accuracy.update(labelled(best), labelled)
        return self.alpha.value * mean(loss)

    def rows(self, x, y, y_pred, sample_weight=None):
        """Returns data with each example once for each class, as `call` scores them.

        Args:
            x: Dict of tensors (batch, ...), see `call`.
            y: Target (batch, ...), or None.
            y_pred: What `call` returned of x.
            sample_weight: Tensor (batch,), or None.

        Returns:
            x and y, (batch * classes, ...), and weights (batch * classes,): those of
            the examples times q(y|x), or 1 for the class that is known.
        """
        label, log_probs = x[self.label], y_pred["class_log_probs"]
        weights, _ = self._posterior_of_label(label, log_probs)
        if sample_weight is not None:
            sample_weight = tf.cast(check_sample_weight(sample_weight), tf.float32)
            weights *= sample_weight[:, None]
        y = None if y is None else self._repeat(y)
        return self._repeat(x), y, tf.reshape(weights, [-1])

    def compute_metrics(self, x, y, y_pred, sample_weight=None):
        """Compares the target with the mean of each class, weighted by q(y|x)."""
        x, y, sample_weight = self.rows(x, y, y_pred, sample_weight)
        return super().compute_metrics(x, y, y_pred, sample_weight)

    def get_config(self):
        """Returns the config; `from_config` makes an equal model from it."""
        return {
            **super().get_config(),
            "classifier": keras.saving.serialize_keras_object(self.classifier),
            "label": self.label,
            "class_probs": self.class_probs,
            "alpha": self.alpha.initial_value,
        }


def _check_label(label, declared):
    """Returns the name of the condition of classes that is the label."""
    classes = [name for name in declared if declared.num_classes(name)]
    if label is None and len(classes) == 1:
        return classes[0]
    if label not in classes:
        raise ValueError(
            "`label` must name the condition whose labels may be unknown, one with a "
            f"number of classes in `conditions`: {classes}. Received: label={label!r}"
        )
    return label


def _check_probs(class_probs, number):
    """Returns p(y) as a list of floats."""
    if class_probs is None:
        return [1.0 / number] * number
    probs = np.asarray(class_probs, "float64")
    if probs.shape != (number,) or not np.all(probs > 0) or abs(probs.sum() - 1) > 1e-6:
        raise ValueError(
            f"`class_probs` must be {number} positive numbers that sum to 1, one for "
            f"each class. Received: class_probs={class_probs!r}"
        )
    return probs.tolist()

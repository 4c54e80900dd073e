"""The audit: checks its arguments, measures two batches and judges."""

import contextlib

import numpy as np
import tensorflow as tf

from keras_vae.models import VAE
from keras_vae.weighing import measuring
from keras_vae.weighing.auditing import probe
from keras_vae.weighing.auditing.adapters import adapt
from keras_vae.weighing.auditing.judge import judge
from keras_vae.weighing.auditing.measurement import averaged_sizes
from keras_vae.weighing.auditing.measurement import measure_batch
from keras_vae.weighing.auditing.pairing import Pair
from keras_vae.weighing.auditing.report import AuditReport

BATCH_SIZES = (7, 13)


def audit(
    model, x, y=None, sample_weight=None, kl_weight=None, posterior=None, kl=None
):
    """Measures with which coefficient KL and reconstruction reach the gradient.

    The model's own `train_step` runs on two batch sizes, without the optimiser. The
    audit takes its loss L and differentiates it by the outputs of the layers. With R
    the reconstruction summed over the event, KL summed over the latents, both averaged
    over the batch, and p the decoder's output

        dL/dp = a dR/dp,        dL/d(mean, scale) at fixed p = b dKL/d(mean, scale)

    are solved for a and b. Both equations hold for any code of the loss and for any
    noise. The second one finds the layers that put out mean and scale, for a standard
    normal prior. Weights, metrics and optimiser are restored.

    A weight is no fault in itself. `audit` reports terms that depend on the batch size
    or on the number of pixels or latents, count twice, are lost, or have the wrong
    sign. If you pass the weight that you meant as `kl_weight`, it also reports a
    different measured weight.

    Args:
        model: Compiled Keras model: functional, subclassed or with a `train_step` of
            its own. Models of `tf_keras`, which TFP's layers need, work as well.
        x: Array or structure of arrays (examples, ...), as for `fit`. Some 13 differing
            examples are enough. A tuple (x, y) for a model that takes a target.
        y: Target, as for `fit`; a list or dict for several outputs, all of which are
            measured.
        sample_weight: Array (examples,), as for `fit`: examples of weight 0 are left
            out. The coefficients are those of examples of equal weight.
        kl_weight: Float, the beta that was meant, relative to the summed
            reconstruction in nats (half the squared error, or the cross-entropy), or
            None.
        posterior: Names of the layers that put out mean and scale of q(z|x), for
            example `("z_mean", "z_log_var")`, or name of one layer that puts out both;
            None to find them.
        kl: Callable, x -> KL(q(z|x) || p(z)), a tensor (batch,) in nats, without noise,
            for posteriors and priors that the audit cannot find. Its gradient by the
            trainable weights is compared.

    Returns:
        An `AuditReport`.

    Raises:
        ValueError: If the model is not compiled or arguments do not fit.
        RuntimeError: If the training step takes no gradient with `tf.GradientTape`.

    Example:
    >>> inputs = keras.Input((64,))
    >>> z = kv.layers.Latent(8, seed=0)(inputs)
    >>> model = keras.Model(inputs, keras.layers.Dense(64)(z))
    >>> model.compile("adam", loss="mse")
    >>> x = np.random.default_rng(0).uniform(size=(13, 64)).astype("float32")
    >>> report = kv.weighing.audit(model, x, x)
    >>> report.findings[0].name
    'reconstruction_averaged_over_event'
    >>> round(report.weight.to("normal").beta, 3)
    32.0
    """
    x, y = _examples(model, x, y, sample_weight)
    _check_arguments(model, x, y)
    _check_options(model, kl_weight, posterior, kl)
    if not model.built:
        # Inference moves no statistics. A model without `call` has built parts.
        with contextlib.suppress(NotImplementedError):
            model(probe.take_batch(x, y, 1).x)
    audited = adapt(model)
    names = [posterior] if isinstance(posterior, str) else posterior
    small, large = (probe.take_batch(x, y, size) for size in BATCH_SIZES)
    with probe.restored(model), _unchecked(audited):
        # Builds all layers before anything is measured.
        probe.run_step(model, small)
        first = measure_batch(audited, small, names, kl)
        second = measure_batch(audited, large, names, kl, like=first)
        averaged, notes = averaged_sizes(model, small, first)
    pair = Pair(first, second, averaged, kl_weight, named=bool(posterior or kl))
    findings, remarks = judge(pair)
    notes = (*notes, *pair.notes, *remarks)
    terms = pair.reconstruction, pair.kls, pair.weight, pair.reconstructions
    return AuditReport(findings, notes, pair.sizes, *terms)


def _examples(model, x, y, sample_weight):
    """Returns x and y, without examples of weight 0."""
    takes_target = getattr(model, "loss", None) is not None or isinstance(model, VAE)
    if y is None and takes_target and isinstance(x, tuple):
        x, y = measuring.unpack(x, "x")
    if sample_weight is not None:
        # The batches take too few examples to tell weights apart.
        weights = np.asarray(sample_weight) > 0
        x, y = measuring.take_weighted(x, y, weights, weights.size)
    return x, y


@contextlib.contextmanager
def _unchecked(audited):
    """Returns a context in which losses take what they would refuse."""
    with contextlib.ExitStack() as stack:
        for loss in audited.losses():
            probe.replace_method(stack, loss, "check_output", lambda *_: None)
        yield


def _check_arguments(model, x, y):
    if not hasattr(model, "train_step") or not getattr(model, "optimizer", None):
        raise ValueError(
            "`model` must be a compiled Keras model: call `model.compile(...)` first. "
            f"Received: model={model!r}"
        )
    if y is None and getattr(model, "loss", None) is not None:
        raise ValueError(
            "`y` must be given if the model was compiled with a loss: for an "
            f"autoencoder `audit(model, x, x)`. Received: loss={model.loss!r}, y=None"
        )
    sizes = {len(values) for values in tf.nest.flatten((x, y)) if values is not None}
    if len(sizes) != 1 or 0 in sizes:
        raise ValueError(
            "`x` and `y` must hold the same number of examples, at least one. "
            f"Received: {sorted(sizes)}"
        )


def _check_options(model, kl_weight, posterior, kl):
    if kl_weight is not None and not kl_weight > 0:
        raise ValueError(
            f"`kl_weight` must be positive or None. Received: kl_weight={kl_weight}"
        )
    if kl is not None and (not callable(kl) or posterior is not None):
        raise ValueError(
            "`kl` must be a callable, and given instead of `posterior`. "
            f"Received: kl={kl!r}, posterior={posterior!r}"
        )
    names = (posterior,) if isinstance(posterior, str) else posterior or ()
    have = {layer.name for layer in probe.layers(model)}
    if missing := [name for name in names if name not in have]:
        raise ValueError(
            "`posterior` must name layers of the model. "
            f"Received: {missing}; layers: {sorted(have)}"
        )

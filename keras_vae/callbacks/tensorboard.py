"""A VAE's rate, distortion, latent units and pictures in TensorBoard."""

import math
import os

import keras
import numpy as np
import tensorflow as tf
from tensorboard.plugins.custom_scalar import layout_pb2
from tensorboard.plugins.custom_scalar import summary as custom_scalar

from keras_vae import checks
from keras_vae import figures
from keras_vae import random
from keras_vae.arguments import check_count
from keras_vae.callbacks import embedding
from keras_vae.callbacks.level_pictures import rates_over_time
from keras_vae.callbacks.level_pictures import what_each_level_adds
from keras_vae.conditions import MAIN
from keras_vae.metrics import latent
from keras_vae.models import VAE

# Number of examples encoded at once, pixels below which images are enlarged, and the
# units, steps and limit of the traversals.
_BATCH_SIZE = 512
_MIN_PIXELS = 32
# Units that the projector gets; it reads text.
_PROJECTED = 512
_MAX_UNITS, _NUM_STEPS, _LIMIT = 10, 9, 2.5
# Logs that are drawn in the plane, and the chart of all that is balanced.
_PLANE = ("kl_loss", "reconstruction_loss", "val_kl_loss", "val_reconstruction_loss")
_PATH = (*_PLANE, "kl_weight")
_CHART = "rate, distortion, weight"
_CHARTED = ("epoch_kl_loss", "epoch_reconstruction_loss", "epoch_kl_weight")


class TensorBoard(keras.callbacks.TensorBoard):
    """Writes rate, distortion and weight, measures of the latent units, and pictures.

    Adds measures to Keras's callback that show whether a `VAE` balances KL and
    reconstruction. It does not change the run: the final weights are equal with and
    without it, for any block size, compilation or precision.

    | tag | run | unit | requires |
    |---|---|---|---|
    | `epoch_negative_elbo`, unweighted | train, validation | nats | |
    | `epoch_reconstruction_loss`, distortion | train, validation | nats | |
    | `epoch_kl_loss`, rate, unweighted | train, validation | nats | |
    | `epoch_loss`, weighted | train, validation | nats | |
    | `epoch_kl_weight` | train | 1 | |
    | a chart of rate, distortion and weight under CUSTOM SCALARS | train | | |
    | `latent/kl_per_unit`, histogram over units | latent | nats | `data` |
    | `latent/active_units` | latent | units | `data` |
    | posterior means under PROJECTOR, with `labels` | latent | | `data` |
    | `images/rate_distortion`, the plane over the epochs | latent | nats | |
    | `images/reconstructions` | latent | | `data` |
    | `images/samples`, of the prior | latent | | |
    | `images/traversals`, of one latent | latent | | |
    | `images/levels`, of a hierarchy, what each adds | latent | | `data` |
    | `images/kl_of_units`, of its levels over time | latent | nats | `data` |

    The scalars are the logs of the epoch, and Keras writes them in each epoch. A model
    with `Latent` layers that is not a `VAE` gets only these. What Keras would write
    twice stands once: the weight of validation, which is that of training, and the
    validation logs over optimiser steps. All other tags are written to
    `<log_dir>/latent`, every `images_freq` epochs and in the last epoch. The KL of a
    unit is the mean over `data` of the KL of its marginal posterior. It is not defined,
    and not written, for a prior whose units are not independent normals (a mixture, a
    VampPrior). Pictures need events that are images, see `keras_vae.figures.is_image`.
    Grey values outside [0, 1] are scaled by the range of `data`, or clipped without
    `data`.

    The traversals show the units with the largest KL, largest first, or without `data`
    the first units.

    With conditions, examples are reconstructed under their own. With one condition of
    classes the samples stand in a column for each class, and the traversals are of the
    first example's class, or of class 0; with others both are under those of `data`.

    Args:
        log_dir: String or path, the directory of the run.
        data: Array of shape (N, *event_shape), examples to encode, preferably of the
            validation set, which a callback cannot see. Of a model with conditions a
            dict, as for `fit`. Without `data` the tags that require it are not written.
        labels: Sequence of N labels of `data`, by which the projector colors the
            posterior means, or None.
        images_freq: Integer, epochs between two writes of these tags; 0 for none.
        num_images: Integer, number of examples and of samples in a picture.
        seed: Integer in [0, 2**31), seed of the samples; all epochs use the same noise.
        **kwargs: See `keras.callbacks.TensorBoard`.

    Raises:
        ValueError: If an argument is out of range, `data` is not an array of numbers
            or has not one of `labels` for each example.
            At the start of `fit`, if `data` does not have the model's input shape or
            the model is not a `VAE`.

    Example:
    >>> _, (x, labels) = kv.datasets.digits(labels=True)
    >>> callback = kv.callbacks.TensorBoard("runs/digits", data=x, labels=labels)

    Reference:
        [Importance Weighted Autoencoders](https://arxiv.org/abs/1509.00519), section
        5.2, for active units
    """

    def __init__(
        self,
        log_dir="logs",
        data=None,
        images_freq=1,
        num_images=16,
        seed=0,
        labels=None,
        **kwargs,
    ):
        super().__init__(log_dir=log_dir, **kwargs)
        self._inputs = data
        if isinstance(data, dict):
            data = data.get(MAIN)
        # Whether the model takes NaN is not known yet.
        self.data = None if data is None else checks.check_examples(data, missing="nan")
        self.labels = embedding.checked_labels(labels, self.data)
        self.images_freq = check_count("images_freq", images_freq, 0)
        self.num_images = check_count("num_images", num_images, 1)
        self.seed = check_count("seed", seed, 0)
        self._in_fit, self._path, self._rates = False, {}, {}

    def on_train_begin(self, logs=None):
        """Checks that the model can encode the data."""
        if self.data is not None:
            _check_model(self.model, self.data, self._inputs)
        super().on_train_begin(logs)
        self._in_fit, self._path, self._rates = True, {}, {}
        if isinstance(self.model, VAE):
            with self._writers["train"].as_default(step=0):
                with tf.summary.record_if(True):
                    tf.summary.experimental.write_raw_pb(_layout().SerializeToString())

    def on_train_end(self, logs=None):
        """Closes the files."""
        self._in_fit = False
        super().on_train_end(logs)

    def on_test_end(self, logs=None):
        """Writes the logs of `evaluate`; within `fit` those of the epoch hold them."""
        super().on_test_end({} if self._in_fit else logs)

    def on_epoch_end(self, epoch, logs=None):
        """Writes the logs, and the measures and pictures if they are due."""
        kept = [n for n in logs or {} if n[:4] != "val_" or not n.endswith("kl_weight")]
        logs = {name: logs[name] for name in kept}
        for name in _PATH if self._is_of_one_weight else _PLANE[:2]:
            if name in logs:
                self._path.setdefault(name, []).append(float(logs[name]))
        # With a number as `update_freq`, Keras leaves `record_if` of the last batch in
        # force, and most epochs would not be recorded.
        with tf.summary.record_if(True):
            super().on_epoch_end(epoch, logs)
            if isinstance(self.model, VAE) and self._is_due(epoch):
                with self._latent_writer.as_default(step=epoch):
                    self._write_model(epoch)
        # Without a flush, nothing shows before the writers have filled their buffers.
        for writer in self._writers.values():
            writer.flush()

    def _is_due(self, epoch):
        if not self.images_freq:
            return False
        is_last = epoch + 1 == self.params.get("epochs") or self.model.stop_training
        return is_last or epoch % self.images_freq == 0

    @property
    def _latent_writer(self):
        # One of Keras's own writers, so that Keras closes it with the others.
        if "latent" not in self._writers:
            self._writers["latent"] = tf.summary.create_file_writer(
                os.path.join(self.log_dir, "latent")
            )
        return self._writers["latent"]

    def _write_model(self, epoch):
        model = self.model
        # In this scope layers neither keep losses nor change their state.
        with keras.StatelessScope():
            units = range(model.latent_dim)
            if self.data is not None:
                units = self._write_units(model, epoch)
            if figures.is_image(model.event_shape):
                self._write_pictures(model, list(units)[:_MAX_UNITS])
        self._write_plane()

    def _write_plane(self):
        drawn = figures.rate_distortion_path(self._path)
        tf.summary.image(
            "images/rate_distortion",
            figures.pixels(drawn)[None],
            description="Distortion over rate in nats, a point for each epoch of this "
            "`fit`. Of a Multi-Rate VAE those of training, means over all weights.",
        )
        if self._is_of_one_weight:
            tf.summary.image(
                "images/annealing",
                figures.pixels(figures.annealing(self._path))[None],
                description="The KL in nats, and its weight, by the epochs of this "
                "`fit`.",
            )

    @property
    def _is_of_one_weight(self):
        # Validation of a Multi-Rate VAE is of one weight, its training of all.
        return getattr(self.model, "beta_range", None) is None

    def _write_units(self, model, epoch):
        """Writes measures of the units; returns the units by falling KL."""
        means, kl = [], []
        for start in range(0, len(self.data), _BATCH_SIZE):
            rows = slice(start, start + _BATCH_SIZE)
            *pair, kl_per_unit = _encode(model, self._rows(rows))
            means.append(pair)
            kl.append(kl_per_unit)
        means, signals = map(np.concatenate, zip(*means, strict=True))
        if not np.isfinite(means).all():
            # The model has diverged: the scalars show it, and this callback must not
            # end training.
            return range(model.latent_dim)
        tf.summary.scalar(
            "latent/active_units",
            latent.active_units(signals).number,
            description="Units whose posterior mean varies by more than 0.01.",
        )
        if kl[0] is None:
            self._write_means(means[:, :_PROJECTED])
            return range(model.latent_dim)
        kl = np.concatenate(kl).mean(axis=0)
        units = np.argsort(-kl, kind="stable")
        self._write_means(means[:, np.sort(units[:_PROJECTED])])
        tf.summary.histogram(
            "latent/kl_per_unit",
            kl,
            description="KL of each unit from the prior in nats, mean over the data.",
        )
        if len(model.latents) > 1:
            self._rates[epoch + 1] = kl
            drawn = rates_over_time(model, self._rates)
            about = (
                "KL of each unit in nats, mean over the data, by epochs of this `fit`."
            )
            tf.summary.image("images/kl_of_units", drawn[None], description=about)
        return units.tolist()

    def _write_means(self, means):
        directory = os.path.join(self.log_dir, "latent")
        embedding.write_means(directory, means, self.labels)

    def _write_pictures(self, model, units):
        number = self.num_images
        side = math.ceil(math.sqrt(number))
        if self.data is not None:
            originals = self.data[:number]
            if len(model.latents) > 1:
                few = slice(min(number, _MAX_UNITS))
                self._write_picture(
                    "images/levels",
                    *what_each_level_adds(model, self._rows(few), originals[few]),
                    "Data, and decoded from the top level alone, the top two...",
                )
            decoded = model.reconstruct(self._rows(slice(number))).numpy()
            self._write_picture(
                "images/reconstructions",
                *_above_each_other(originals, decoded, side),
                "Rows of data, each above the row of its reconstructions.",
            )
        condition, columns = self._condition_of_draws(model, number)
        if condition is None:
            return
        number = len(next(iter(condition.values()), range(number)))
        samples = model.generate(number, seed=self.seed, condition=condition).numpy()
        self._write_picture(
            "images/samples", samples, columns or side, "Decoded draws from the prior."
        )
        if len(model.latents) > 1:
            return
        condition = {name: value[0] for name, value in condition.items()}
        latents = figures.traversal(model.latent_dim, _NUM_STEPS, _LIMIT, units)
        self._write_picture(
            "images/traversals",
            model.decode(latents, condition).numpy(),
            _NUM_STEPS,
            f"One unit in each row, from -{_LIMIT} to {_LIMIT} with the others at 0. "
            f"From the top: {', '.join(f'z{unit}' for unit in units)}.",
        )

    def _rows(self, rows):
        """Returns some of the data, as the model takes them."""
        if not isinstance(self._inputs, dict):
            return self.data[rows]
        return {name: np.asarray(value)[rows] for name, value in self._inputs.items()}

    def _condition_of_draws(self, model, number):
        """Returns conditions of the samples, None if none are known, and columns."""
        names = list(model.conditions)
        if len(names) == 1 and (classes := model.conditions.num_classes(names[0])):
            number = math.ceil(number / classes) * classes
            return {names[0]: np.arange(number) % classes}, classes
        if names and self.data is None:
            return None, None
        rows = np.arange(number) % len(self.data) if names else slice(number)
        return model.given(self._rows(rows) if names else {}), None

    def _write_picture(self, name, events, columns, description):
        low, high = 0.0, 1.0
        if self.data is not None:
            low = min(low, float(np.nanmin(self.data)))
            high = max(high, float(np.nanmax(self.data)))
        grid = figures.image_grid((events - low) / (high - low), columns)
        # A browser would blur a small image when it enlarges it.
        scale = max(1, _MIN_PIXELS // min(events.shape[1:3]))
        grid = grid.repeat(scale, axis=0).repeat(scale, axis=1)
        tf.summary.image(name, grid[None], description=description)


def _layout():
    """Returns the summary that asks for one chart of what is balanced."""
    tags = [f"^{name}$" for name in _CHARTED]
    multiline = layout_pb2.MultilineChartContent(tag=tags)
    chart = layout_pb2.Chart(title=_CHART, multiline=multiline)
    category = layout_pb2.Category(title="balance", chart=[chart])
    return custom_scalar.pb(layout_pb2.Layout(category=[category]))


def _encode(model, batch):
    """Encodes one batch.

    Returns:
        Three arrays (batch, units) of all latents: the means of q(z|x), `VAE.signals`,
        and the KL of each unit, or None.
    """
    x, condition = model.split(batch)
    means = [
        variable.posterior.mean_and_stddev(params)[0]
        for variable, params in zip(model.latents, model.infer(batch), strict=True)
    ]
    # Of a hierarchy the rates depend on the draws.
    estimates = model.estimate_latents(x, 1, random.key(0), condition)
    means = np.concatenate(means, axis=1)
    signals = model.signals(estimates, batch)
    try:
        kl = np.concatenate([one.rate_per_unit for one in estimates], axis=1)
    except ValueError:
        return means, signals, None  # A mixture.
    return means, signals, kl


def _above_each_other(originals, decoded, columns):
    """Returns alternating rows of originals and reconstructions, and the columns."""
    if originals.shape != decoded.shape:
        return decoded, columns  # The target is not the input.
    # Missing elements are white, and the last row is filled up with white.
    originals = np.where(np.isnan(originals), np.inf, originals)
    columns = min(columns, len(originals))
    missing = -len(originals) % columns
    pairs = np.full(
        (2, len(originals) + missing, *originals.shape[1:]), np.inf, np.float32
    )
    pairs[0, : len(originals)], pairs[1, : len(originals)] = originals, decoded
    rows = pairs.reshape(2, -1, columns, *originals.shape[1:]).swapaxes(0, 1)
    return rows.reshape(-1, *originals.shape[1:]), columns


def _check_model(model, data, inputs):
    if not isinstance(model, VAE):
        raise ValueError(
            "`model` must be a `keras_vae.VAE` to encode and decode `data`. Leave "
            f"`data` out to write the logs alone. Received: a {type(model).__name__}"
        )
    checks.check_input(model, data)
    _, given = checks.split_inputs(model.conditions, inputs, "data")
    checks.check_conditions(model.conditions, given, len(data))

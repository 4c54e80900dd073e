"""What a VAE learns, in TensorBoard while it learns."""

import math
import os

import keras
import numpy as np
import tensorflow as tf

from keras_vae import checks
from keras_vae import figures
from keras_vae.arguments import check_count
from keras_vae.distributions import posteriors
from keras_vae.metrics import latent
from keras_vae.models import VAE

# Examples encoded at once, pixels below which events are enlarged, and the extent of
# the traversals: units, steps and where they end.
_BATCH_SIZE = 512
_MIN_PIXELS = 32
_MAX_UNITS, _NUM_STEPS, _LIMIT = 10, 9, 2.5


class TensorBoard(keras.callbacks.TensorBoard):
    """Writes rate, distortion and weight, what the latent units do, and pictures.

    Adds to Keras's callback what shows whether a `VAE` balances KL and
    reconstruction. It looks at the model without a trace: a run ends in the same
    weights with and without it, whatever the block size, compilation or precision.

    | tag | run | unit | needs |
    |---|---|---|---|
    | `epoch_negative_elbo`, unweighted | train, validation | nats | |
    | `epoch_reconstruction_loss`, distortion | train, validation | nats | |
    | `epoch_kl_loss`, rate, unweighted | train, validation | nats | |
    | `epoch_loss`, weighted | train, validation | nats | |
    | `epoch_kl_weight` | train, validation | 1 | |
    | `latent/kl_per_unit`, histogram over units | latent | nats | `data` |
    | `latent/active_units` | latent | units | `data` |
    | `images/reconstructions` | latent | | `data` |
    | `images/samples`, of the prior | latent | | |
    | `images/traversals` | latent | | |

    The scalars are the logs of the epoch, which Keras writes in each epoch; a model
    that is no `VAE` but holds `Latent`s gets these alone. The others are written every
    `images_freq` epochs and in the last one, to `<log_dir>/latent`. The KL of a unit
    is the mean over `data` of the KL of its marginal posterior; under a prior whose
    units are not independent normals (a mixture, a VampPrior) there is none. Pictures
    need events that are images, see `keras_vae.figures.is_image`. Grey values outside
    [0, 1] are scaled by the range of `data`, or clipped where there are no data.

    The units of the traversals are those with the largest KL, largest first, where
    there are data, else the first ones.

    Args:
        log_dir: String or path, the directory of the run.
        data: Array of shape (N, *event_shape), examples to encode, best of the
            validation set, which a callback cannot see. Without them only the tags
            are written that need none.
        images_freq: Integer, epochs between two looks at the model; 0 for none.
        num_images: Integer, examples and samples in a picture.
        seed: Integer in [0, 2**31), of the samples, which are thus draws from the same
            noise in all epochs.
        **kwargs: See `keras.callbacks.TensorBoard`.

    Raises:
        ValueError: If an argument is out of range, if `data` are no array of numbers,
            and at the start of `fit`, if they are not of the model's input shape or
            the model is no `VAE`.

    Example:
    >>> _, x_test = kv.datasets.digits()
    >>> callback = kv.callbacks.TensorBoard("runs/digits", data=x_test, images_freq=5)

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
        **kwargs,
    ):
        super().__init__(log_dir=log_dir, **kwargs)
        self.data = None if data is None else checks.check_examples(data)
        self.images_freq = check_count("images_freq", images_freq, 0)
        self.num_images = check_count("num_images", num_images, 1)
        self.seed = check_count("seed", seed, 0)

    def on_train_begin(self, logs=None):
        """Checks that the model can encode the data."""
        if self.data is not None:
            _check_model(self.model, self.data)
        super().on_train_begin(logs)

    def on_epoch_end(self, epoch, logs=None):
        """Writes the logs, and looks at the model where it is time to."""
        # Keras leaves `record_if` of the last batch in force where `update_freq` is a
        # number, under which most epochs would not be recorded.
        with tf.summary.record_if(True):
            super().on_epoch_end(epoch, logs)
            if isinstance(self.model, VAE) and self._is_due(epoch):
                with self._latent_writer.as_default(step=epoch):
                    self._write_model()
        # Else nothing is to be seen before the writers have filled their buffers.
        for writer in self._writers.values():
            writer.flush()

    def _is_due(self, epoch):
        if not self.images_freq:
            return False
        is_last = epoch + 1 == self.params.get("epochs") or self.model.stop_training
        return is_last or epoch % self.images_freq == 0

    @property
    def _latent_writer(self):
        # Among Keras's own writers, so that it is closed with them.
        if "latent" not in self._writers:
            self._writers["latent"] = tf.summary.create_file_writer(
                os.path.join(self.log_dir, "latent")
            )
        return self._writers["latent"]

    def _write_model(self):
        model = self.model
        # Layers called in this scope neither keep losses nor move their state.
        with keras.StatelessScope():
            units = range(model.latent_dim)
            if self.data is not None:
                units = self._write_units(model)
            if figures.is_image(model.event_shape):
                self._write_pictures(model, list(units)[:_MAX_UNITS])

    def _write_units(self, model):
        """Writes what the units do; returns them by falling KL."""
        means, kl = [], []
        for start in range(0, len(self.data), _BATCH_SIZE):
            mean, kl_per_unit = _encode(model, self.data[start : start + _BATCH_SIZE])
            means.append(mean)
            kl.append(kl_per_unit)
        means = np.concatenate(means)
        if not np.isfinite(means).all():
            # A model that has diverged: the scalars say so, and training is not ours
            # to end.
            return range(model.latent_dim)
        tf.summary.scalar(
            "latent/active_units",
            latent.active_units(means).number,
            description="Units whose posterior mean varies by more than 0.01.",
        )
        if kl[0] is None:
            return range(model.latent_dim)
        kl = np.concatenate(kl).mean(axis=0)
        tf.summary.histogram(
            "latent/kl_per_unit",
            kl,
            description="KL of each unit from the prior in nats, mean over the data.",
        )
        return np.argsort(-kl, kind="stable").tolist()

    def _write_pictures(self, model, units):
        number = self.num_images
        side = math.ceil(math.sqrt(number))
        if self.data is not None:
            originals = self.data[:number]
            decoded = model.reconstruct(originals).numpy()
            self._write_picture(
                "images/reconstructions",
                *_above_each_other(originals, decoded, side),
                "Rows of data, each above the row of its reconstructions.",
            )
        samples = model.generate(number, seed=self.seed).numpy()
        self._write_picture(
            "images/samples", samples, side, "Decoded draws from the prior."
        )
        latents = figures.traversal(model.latent_dim, _NUM_STEPS, _LIMIT, units)
        self._write_picture(
            "images/traversals",
            model.decode(latents).numpy(),
            _NUM_STEPS,
            f"One unit in each row, from -{_LIMIT} to {_LIMIT} with the others at 0. "
            f"From the top: {', '.join(f'z{unit}' for unit in units)}.",
        )

    def _write_picture(self, name, events, columns, description):
        low, high = 0.0, 1.0
        if self.data is not None:
            low = min(low, float(np.min(self.data)))
            high = max(high, float(np.max(self.data)))
        grid = figures.image_grid((events - low) / (high - low), columns)
        # A browser would smooth what it enlarges.
        scale = max(1, _MIN_PIXELS // min(events.shape[1:3]))
        grid = grid.repeat(scale, axis=0).repeat(scale, axis=1)
        tf.summary.image(name, grid[None], description=description)


def _encode(model, batch):
    """Returns posterior means and the KL of each unit, or None, of one batch."""
    (variable,), (params,) = model.latents, model.infer(batch)
    mean = variable.posterior.mean_and_stddev(params)[0].numpy()
    if variable.prior.params(lambda x: model.infer(x)[0]) is not None:
        return mean, None  # A mixture of posteriors.
    try:
        kl = posteriors.kl_per_dimension(
            variable.posterior.distribution(params), variable.prior.distribution()
        )
    except ValueError:
        return mean, None
    return mean, kl.numpy()


def _above_each_other(originals, decoded, columns):
    """Returns originals and reconstructions in turn, row by row, and the columns."""
    if originals.shape != decoded.shape:
        return decoded, columns  # A target that is not the input.
    # Rows are filled with white; all but the last are full.
    columns = min(columns, len(originals))
    missing = -len(originals) % columns
    pairs = np.full(
        (2, len(originals) + missing, *originals.shape[1:]), np.inf, np.float32
    )
    pairs[0, : len(originals)], pairs[1, : len(originals)] = originals, decoded
    rows = pairs.reshape(2, -1, columns, *originals.shape[1:]).swapaxes(0, 1)
    return rows.reshape(-1, *originals.shape[1:]), columns


def _check_model(model, data):
    if not isinstance(model, VAE):
        raise ValueError(
            "`data` are encoded and decoded, which takes a `keras_vae.VAE`. Leave "
            f"`data` out to write the logs alone. Received: a {type(model).__name__}"
        )
    checks.check_input_shape(model, data)

"""Learns to read digits from few labels, among many digits without one.

    python -m benchmarks.semi_supervised --data_dir=DATA
    python -m benchmarks.semi_supervised --quick

A `SemiSupervisedVAE` of MNIST, M2 of Kingma et al. (2014), gets the labels of
`--labels` training digits, as many of each class. A batch holds `--unlabelled` digits
without a label beside `--labelled` with one, as many of each class. The classifier is a
network of convolutions, encoder and decoder are dense. The accuracy on the test digits
is printed beside that of the same classifier trained on the labels alone; after each
epoch too, but nothing is chosen by it. `--quick` takes small scans of digits and tiny
budgets, to try it.
"""

import time

import keras
import numpy as np
import tensorflow as tf
from absl import app
from absl import flags

import keras_vae as kv

_CLASSES = 10
_CONDITIONS = {"label": _CLASSES}

FLAGS = flags.FLAGS


def define_flags(values=flags.FLAGS):
    """Defines the flags of the program."""

    def integer(name, default, text):
        options = {"lower_bound": 1, "flag_values": values}
        flags.DEFINE_integer(name, default, text, **options)

    common = {"flag_values": values}
    flags.DEFINE_string("data_dir", None, "Directory that holds mnist/.", **common)
    integer("labels", 1000, "Digits whose label is known, of all classes together.")
    integer("epochs", 20, "Epochs over the digits without a label.")
    integer("unlabelled", 200, "Digits without a label in a batch.")
    integer("labelled", 50, "Digits with a label in a batch.")
    flags.DEFINE_float(
        "alpha", 20.0, "The weight of the classifier's loss.", lower_bound=0, **common
    )
    flags.DEFINE_float(
        "learning_rate", 1e-3, "Adam's, which falls to 0.", lower_bound=0, **common
    )
    flags.DEFINE_integer("seed", 0, "Seed of all weights and noise.", **common)
    flags.DEFINE_bool("quick", False, "Small scans, and one epoch.", **common)


def hide_labels(labels, number, seed):
    """Returns labels that are -1 but for some, as many of each class.

    Args:
        labels: Integer array (N,).
        number: Integer, how many labels to keep.
        seed: Integer.
    """
    order = np.random.default_rng(seed).permutation(len(labels))
    hidden = np.full(len(labels), -1)
    for one in range(_CLASSES):
        kept = order[labels[order] == one][: number // _CLASSES]
        hidden[kept] = one
    return hidden


def batches(x, labels, unlabelled, labelled, seed):
    """Returns a data set whose epoch has each example without a label once.

    Args:
        x: Array (N, ...).
        labels: Integer array (N,), -1 where it is unknown.
        unlabelled: Integer, examples without a label in a batch.
        labelled: Integer, examples with one, rounded to as many of each class.
        seed: Integer.
    """
    x, labels = tf.constant(x), tf.constant(labels)
    unknown = np.flatnonzero(labels == -1)
    # A row holds one example of each class.
    rows = np.stack([np.flatnonzero(labels == one) for one in range(_CLASSES)], axis=1)
    known = tf.data.Dataset.from_tensor_slices(rows).shuffle(len(rows), seed).repeat()
    known = known.batch(max(1, labelled // _CLASSES))
    unknown = tf.data.Dataset.from_tensor_slices(unknown).shuffle(len(unknown), seed)
    unknown = unknown.batch(unlabelled, drop_remainder=True)

    def take(unknown, known):
        places = tf.concat([unknown, tf.reshape(known, [-1])], axis=0)
        return {"x": tf.gather(x, places), "label": tf.gather(labels, places)}

    return tf.data.Dataset.zip(unknown, known).map(take).prefetch(2)


def make_classifier(shape):
    """Returns a network of images, not compiled, that puts out a logit a class."""
    return keras.Sequential(
        [
            keras.Input(shape),
            keras.layers.Conv2D(32, 3, padding="same", activation="relu"),
            keras.layers.MaxPooling2D(),
            keras.layers.Conv2D(32, 3, padding="same", activation="relu"),
            keras.layers.MaxPooling2D(),
            keras.layers.Flatten(),
            keras.layers.Dropout(0.5),
            keras.layers.Dense(128, activation="relu"),
            keras.layers.Dropout(0.5),
            keras.layers.Dense(_CLASSES),
        ]
    )


def make_vae(shape, alpha, seed):
    """Returns a semi-supervised VAE of images, not compiled."""
    hidden = [256, 256]
    return kv.SemiSupervisedVAE(
        kv.networks.mlp_encoder(hidden, shape, conditions=_CONDITIONS),
        kv.networks.mlp_decoder(hidden, shape, conditions=_CONDITIONS),
        latent_dim=32,
        classifier=make_classifier(shape),
        conditions=_CONDITIONS,
        alpha=alpha,
        seed=seed,
    )


def accuracy_of_labels_alone(train, test, steps, batch_size):
    """Returns the accuracy of the classifier trained on the labelled alone."""
    x, labels = train
    model = make_classifier(x.shape[1:])
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.Adam(1e-3), loss, metrics=["accuracy"])
    data = tf.data.Dataset.from_tensor_slices((x, labels)).shuffle(len(x)).repeat()
    data = data.batch(batch_size)
    model.fit(data, steps_per_epoch=steps, shuffle=False, verbose=0)
    return model.evaluate(*test, verbose=0)[1]


class PrintAccuracy(keras.callbacks.Callback):
    """Prints the accuracy on some examples after each epoch.

    Args:
        x: Array (N, ...).
        labels: Integer array (N,).
    """

    def __init__(self, x, labels):
        super().__init__()
        self.x, self.labels, self.start = x, labels, time.monotonic()

    def on_epoch_end(self, epoch, logs=None):
        """Prints a line."""
        minutes = (time.monotonic() - self.start) / 60
        share = accuracy(self.model, self.x, self.labels)
        print(
            f"epoch {epoch + 1}: {share:.2%} of the test digits, -ELBO "
            f"{logs['negative_elbo']:.2f}, {minutes:.1f} minutes",
            flush=True,
        )


def accuracy(vae, x, labels):
    """Returns the share of images whose most probable class is their label."""
    parts = np.array_split(np.arange(len(x)), -(-len(x) // 1000))
    found = [np.argmax(vae.classify(x[part]), axis=1) for part in parts]
    return float(np.mean(np.concatenate(found) == labels))


def main(argv):
    """Trains both, and prints the table."""
    del argv
    keras.utils.set_random_seed(FLAGS.seed)
    if FLAGS.quick:
        (x, labels), test = kv.datasets.digits(labels=True)
    else:
        (x, labels), test = kv.datasets.mnist(FLAGS.data_dir, labels=True)
    hidden = hide_labels(labels, FLAGS.labels, FLAGS.seed)
    start = time.monotonic()
    data = batches(x, hidden, FLAGS.unlabelled, FLAGS.labelled, FLAGS.seed)
    epochs = 1 if FLAGS.quick else FLAGS.epochs
    steps = epochs * int(data.cardinality())
    known = hidden >= 0
    alone = accuracy_of_labels_alone(
        (x[known], labels[known]), test, min(steps, 3000), FLAGS.labelled
    )
    print(f"labels alone: {alone:.2%}", flush=True)
    vae = make_vae(x.shape[1:], FLAGS.alpha, FLAGS.seed)
    rate = keras.optimizers.schedules.CosineDecay(FLAGS.learning_rate, steps)
    vae.compile(keras.optimizers.Adam(rate))
    vae.fit(data, epochs=epochs, callbacks=[PrintAccuracy(*test)], verbose=0)
    minutes = (time.monotonic() - start) / 60
    print("| labels | accuracy of labels alone | accuracy | minutes |")
    print("|---|---|---|---|")
    share = accuracy(vae, *test)
    print(f"| {known.sum()} | {alone:.2%} | {share:.2%} | {minutes:.1f} |")


if __name__ == "__main__":
    define_flags()
    app.run(main)

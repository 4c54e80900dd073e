"""Asks a conditional VAE for digits of given classes, and reads what it draws.

    python -m benchmarks.conditional --data_dir=DATA
    python -m benchmarks.conditional --quick

A VAE of MNIST with p(x|z, label) and q(z|x, label), dense layers 512-512 on both sides
and 16 latents under a Bernoulli, generates `--number` digits, as many of each class. A
classifier of convolutions, trained on the same images, reads them. Its accuracy on the
test digits is printed beside the share that it reads as asked. `--quick` takes small
scans of digits and tiny budgets, to try it.
"""

import time

import keras
import numpy as np
from absl import app
from absl import flags

import keras_vae as kv

_CLASSES = 10
_BATCH = 250
_CONDITIONS = {"label": _CLASSES}

FLAGS = flags.FLAGS


def define_flags(values=flags.FLAGS):
    """Defines the flags of the program."""
    common = {"flag_values": values}
    flags.DEFINE_string("data_dir", None, "Directory that holds mnist/.", **common)
    flags.DEFINE_integer("epochs", 15, "Epochs of the VAE.", lower_bound=1, **common)
    flags.DEFINE_integer(
        "classifier_epochs", 4, "Of the classifier.", lower_bound=1, **common
    )
    flags.DEFINE_float(
        "kl_weight", 2.5, "The weight of the KL.", lower_bound=0, **common
    )
    flags.DEFINE_integer(
        "number", 1000, "Digits to generate.", lower_bound=_CLASSES, **common
    )
    flags.DEFINE_integer("seed", 0, "Seed of all weights and noise.", **common)
    flags.DEFINE_bool("quick", False, "Small scans, and one epoch each.", **common)


def make_vae(shape, kl_weight, seed):
    """Returns a conditional VAE of images, not compiled."""
    hidden = [512, 512]
    return kv.VAE(
        kv.networks.mlp_encoder(hidden, shape, conditions=_CONDITIONS),
        kv.networks.mlp_decoder(hidden, shape, conditions=_CONDITIONS),
        latent_dim=16,
        objective=kv.ELBO(kl_weight=kl_weight),
        conditions=_CONDITIONS,
        seed=seed,
    )


def train_classifier(train, epochs):
    """Returns a network that reads images, trained on x and labels."""
    x, labels = train
    model = keras.Sequential(
        [
            keras.Input(x.shape[1:]),
            keras.layers.Conv2D(16, 3, strides=2, padding="same", activation="relu"),
            keras.layers.Conv2D(32, 3, strides=2, padding="same", activation="relu"),
            keras.layers.Flatten(),
            keras.layers.Dropout(0.3),
            keras.layers.Dense(128, activation="relu"),
            keras.layers.Dense(_CLASSES),
        ]
    )
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile("adam", loss)
    model.fit(x, labels, batch_size=_BATCH // 2, epochs=epochs, verbose=2)
    return model


def share_read_as(classifier, images, labels):
    """Returns the share of images that a classifier gives these labels."""
    read = classifier.predict(images, batch_size=_BATCH, verbose=0).argmax(axis=-1)
    return float(np.mean(read == labels))


def main(argv):
    """Trains both, and prints the table."""
    del argv
    keras.utils.set_random_seed(FLAGS.seed)
    if FLAGS.quick:
        train, test = kv.datasets.digits(labels=True)
    else:
        train, test = kv.datasets.mnist(FLAGS.data_dir, labels=True)
    start = time.monotonic()
    classifier = train_classifier(train, 1 if FLAGS.quick else FLAGS.classifier_epochs)
    vae = make_vae(train[0].shape[1:], FLAGS.kl_weight, FLAGS.seed)
    epochs = 1 if FLAGS.quick else FLAGS.epochs
    steps = epochs * (len(train[0]) // _BATCH)
    rate = keras.optimizers.schedules.CosineDecay(2e-3, steps)
    vae.compile(keras.optimizers.Adam(rate))
    inputs = {"x": train[0], "label": train[1]}
    vae.fit(inputs, batch_size=_BATCH, epochs=epochs, verbose=2)
    asked = np.arange(FLAGS.number) % _CLASSES
    drawn = vae.generate(FLAGS.number, FLAGS.seed, condition={"label": asked})
    elbo = vae.elbo(test[0], condition={"label": test[1]}).numpy().mean()
    minutes = (time.monotonic() - start) / 60
    print("| test digits read right | digits read as asked | -ELBO | minutes |")
    print("|---|---|---|---|")
    print(
        f"| {share_read_as(classifier, *test):.1%} "
        f"| {share_read_as(classifier, drawn, asked):.1%} "
        f"| {-elbo:.2f} | {minutes:.1f} |"
    )


if __name__ == "__main__":
    define_flags()
    app.run(main)

"""A run that is interrupted and goes on ends as one that was not, bit by bit."""

import keras
import numpy as np
import pytest

import keras_vae as kv

EPOCHS, STEPS, BATCH = 10, 80, 8


class Kill(keras.callbacks.Callback):
    def on_epoch_begin(self, epoch, logs=None):
        if epoch == 8:
            raise KeyboardInterrupt


class Recurrent(kv.BlockTraining, keras.Model):
    """A functional model with a layer that loops."""


def dense():
    model = kv.VAE(
        kv.networks.mlp_encoder([16]), kv.networks.mlp_decoder([16], (36,)), 3, seed=1
    )
    model.build((None, 36))
    model.compile("adam")
    return model


def convolutional():
    shape = (6, 6, 1)
    model = kv.VAE(
        keras.Sequential([keras.layers.Reshape(shape), keras.layers.Conv2D(2, 3)]),
        kv.networks.mlp_decoder([8], (36,)),
        latent_dim=2,
        seed=1,
    )
    model.build((None, 36))
    model.compile("adam")
    return model


def recurrent():
    inputs = keras.Input((36,))
    steps = keras.layers.Reshape((6, 6))(inputs)
    z = kv.layers.Latent(2, seed=1)(keras.layers.LSTM(4)(steps))
    model = Recurrent(inputs, keras.layers.Dense(36)(z))
    model.compile("adam", kv.losses.NegativeLogLikelihood("bernoulli"))
    return model


@pytest.mark.parametrize(
    "make",
    [
        dense,
        pytest.param(convolutional, marks=pytest.mark.slow),
        pytest.param(recurrent, marks=pytest.mark.slow),
    ],
)
def test_a_run_that_goes_on_ends_in_the_same_weights(make, tmp_path, caplog):
    generator = np.random.default_rng(0)
    x = np.float32(generator.random((STEPS * BATCH, 36)) < 0.3)
    data = {"x": x} if isinstance(make(), kv.VAE) else {"x": x, "y": x}

    def fit(*callbacks):
        keras.utils.set_random_seed(3)
        model = make()
        arguments = {"batch_size": BATCH, "epochs": EPOCHS, "verbose": 0}
        model.fit(**data, **arguments, callbacks=list(callbacks))
        return [variable.numpy() for variable in model.variables]

    whole = fit()
    backup = keras.callbacks.BackupAndRestore
    caplog.set_level("INFO", logger="absl")
    with pytest.raises(KeyboardInterrupt):
        fit(backup(tmp_path), Kill())
    resumed = fit(backup(tmp_path))
    reasons = {
        line.split("because")[-1] for line in caplog.messages if "trains" in line
    }
    assert len(reasons) == 1
    assert "repay" not in reasons.pop()
    for one, other in zip(resumed, whole, strict=True):
        np.testing.assert_array_equal(one, other)


def test_a_saved_model_goes_on_from_its_epoch(tmp_path):
    """As `trainers.train --resume` does, without `BackupAndRestore`."""
    x = np.float32(np.random.default_rng(0).random((STEPS * BATCH, 36)) < 0.3)
    arguments = {"batch_size": BATCH, "shuffle": False, "verbose": 0}

    keras.utils.set_random_seed(3)
    whole, cut = dense(), dense()
    cut.set_weights(whole.get_weights())
    whole.fit(x, epochs=EPOCHS, **arguments)
    with pytest.raises(KeyboardInterrupt):
        cut.fit(x, epochs=EPOCHS, callbacks=[Kill()], **arguments)
    cut.save(tmp_path / "cut.keras")
    resumed = keras.saving.load_model(tmp_path / "cut.keras")
    resumed.fit(x, epochs=EPOCHS, initial_epoch=8, **arguments)

    for one, other in zip(resumed.variables, whole.variables, strict=True):
        np.testing.assert_array_equal(one, other)

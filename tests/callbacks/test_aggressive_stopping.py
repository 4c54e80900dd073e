"""When the aggressive phase ends."""

import keras
import numpy as np
import pytest
import recipes
import tensorflow as tf

import keras_vae as kv
from keras_vae.callbacks.hyperparameter_scheduler import number

FIT = {"batch_size": 8, "shuffle": False, "verbose": 0}
X = recipes.binary_images()


def make(model=kv.AggressiveVAE):
    keras.utils.set_random_seed(1)
    built = recipes.mlp(model=model)
    built.build((None, *recipes.EVENT_SHAPE))
    built.compile(keras.optimizers.Adam(1e-2), jit_compile=False)
    return built


class Script(kv.AggressiveStopping):
    """Takes its measurements from a list, by the epoch."""

    def __init__(self, measurements, **kwargs):
        super().__init__(X, **kwargs)
        self.measurements = measurements

    def mutual_information(self):
        steps = number(self.model.latent.noise.count)
        return self.measurements[steps // 4 - 1]


def test_the_phase_ends_after_the_first_epoch_that_falls(capsys):
    model = make()
    script = Script([1.0, 1.5, 1.5, 1.25, 3.0, 0.0], verbose=1)
    history = model.fit(X, epochs=6, callbacks=[script], **FIT).history
    assert history["aggressive"] == [1.0, 1.0, 1.0, 1.0, 0.0, 0.0]
    assert history["mutual_information"] == [1.0, 1.5, 1.5, 1.25]
    text = "after 16 steps: the mutual information fell from 1.5000 to 1.2500 nats."
    assert capsys.readouterr().out.count(text) == 1
    # The decoder has no turn in the 16 steps but one, after 15 that did not fall.
    assert 8 <= int(model.optimizer.iterations) <= 9


@pytest.mark.slow
def test_it_measures_every_period():
    model = make()
    script = Script([9.0, 1.0, 8.0, 2.0, 7.0, 1.5], period=2)
    history = model.fit(X, epochs=7, callbacks=[script], **FIT).history
    assert history["mutual_information"] == [1.0, 2.0, 1.5]
    assert history["aggressive"] == [1.0] * 6 + [0.0]


def test_the_estimate_is_that_of_the_definition():
    model = make()
    # Well apart, so that the estimate is neither 0 nor the logarithm of the batch.
    model.latent.head.kernel.assign(4 * model.latent.head.kernel)
    callback = kv.AggressiveStopping(X, batch_size=20, seed=3)
    callback.set_model(model)
    total = 0.0
    for index, batch in enumerate((X[:20], X[20:])):
        mean, stddev = (np.float64(v) for v in model.encode(batch))
        shape = (len(batch), 1, 3)
        noise = kv.random.normal(shape, kv.random.key(3, index))[:, 0]
        z = mean + stddev * np.float64(noise)
        # One axis for z, one for the posterior; constants of the density cancel.
        scaled = (z[:, None] - mean) / stddev
        log_densities = (-0.5 * scaled**2 - np.log(stddev)).sum(axis=2)
        mixture = np.log(np.exp(log_densities).mean(axis=1))
        total += np.sum(np.diag(log_densities) - mixture)
    assert 0.5 < total / len(X) < 2.5
    assert callback.mutual_information() == pytest.approx(total / len(X), rel=1e-5)


@pytest.mark.slow
def test_measuring_leaves_the_run_alone():
    weights = []
    for callbacks in ([], [kv.AggressiveStopping(X)]):
        model = make()
        model.fit(X, epochs=1, callbacks=callbacks, **FIT)
        weights.append([np.asarray(v) for v in model.trainable_variables])
    for this, other in zip(*weights, strict=True):
        np.testing.assert_array_equal(this, other)


@pytest.mark.slow
@pytest.mark.parametrize("order", [1, -1])
def test_a_resumed_run_ends_the_phase_at_the_same_epoch(order, tmp_path):
    measurements = [2.0, 1.0, 5.0, 6.0]

    def run(epochs, *others):
        model = make()
        callbacks = [Script(measurements), *others][::order]
        model.fit(X, epochs=epochs, callbacks=callbacks, **FIT)
        return model

    straight = run(4)
    assert not straight.aggressive
    for epochs in (2, 4):
        backup = keras.callbacks.BackupAndRestore(tmp_path, delete_checkpoint=False)
        resumed = run(epochs, backup)
    for part, other in (
        (resumed, straight),
        (resumed.optimizer, straight.optimizer),
        (resumed.encoder_optimizer, straight.encoder_optimizer),
    ):
        for this, that in zip(part.variables, other.variables, strict=True):
            np.testing.assert_array_equal(this, that, err_msg=this.path)


@pytest.mark.slow
def test_it_ends_the_phase_on_replicas(strategy):
    with strategy.scope():
        model = make()
    data = tf.data.Dataset.from_tensor_slices((X, X)).batch(8)
    script = Script([1.0, 0.5, 0.25])
    history = model.fit(data, epochs=3, callbacks=[script], verbose=0).history
    assert history["aggressive"] == [1.0, 1.0, 0.0]


def test_bad_arguments():
    with pytest.raises(ValueError, match="`data` must hold at least one example"):
        kv.AggressiveStopping(X[:0])
    with pytest.raises(ValueError, match="`period` must be a positive integer"):
        kv.AggressiveStopping(X, period=0)
    with pytest.raises(ValueError, match="`batch_size` must be an integer, at least 2"):
        kv.AggressiveStopping(X, batch_size=1)
    with pytest.raises(ValueError, match="`AggressiveStopping` needs a model"):
        make(kv.VAE).fit(X, callbacks=[kv.AggressiveStopping(X)], **FIT)
    with pytest.raises(ValueError, match="`data` must have the shape of the model's"):
        make().fit(X, callbacks=[kv.AggressiveStopping(X[:, :2])], **FIT)

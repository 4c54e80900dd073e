"""The logs of training within the epochs."""

import keras
import numpy as np
import pytest

import keras_vae as kv

X = np.random.default_rng(0).uniform(size=(70, 5)).astype("float32")


def make(jit_compile=False, steps_per_execution=1):
    keras.utils.set_random_seed(0)
    vae = kv.VAE(
        kv.networks.mlp_encoder([6]), kv.networks.mlp_decoder([6], (5,)), 2, seed=0
    )
    vae.compile(
        keras.optimizers.Adam(1e-2),
        jit_compile=jit_compile,
        steps_per_execution=steps_per_execution,
    )
    vae.build((None, 5))
    return vae


class EachStep(keras.callbacks.Callback):
    """The running means of Keras after each step, and the weight that it was at."""

    def __init__(self):
        super().__init__()
        self.means, self.weights = [], []

    def on_train_batch_end(self, batch, logs=None):
        if not batch:
            self.means.append([])
        self.means[-1].append(logs["kl_loss"])
        self.weights.append(float(self.model.objective.kl_weight.value))


def fit(vae, callbacks, epochs=2, end=10, **kwargs):
    annealing = kv.KLAnnealing(kv.schedules.linear(end - 1))
    return vae.fit(
        X,
        batch_size=10,
        epochs=epochs,
        callbacks=[annealing, *callbacks],
        verbose=0,
        **kwargs,
    )


def test_what_is_no_mean_is_the_value_at_the_end_of_the_span():
    class Errors(keras.callbacks.Callback):
        found = ()

        def on_train_batch_end(self, batch, logs=None):
            self.found += (float(self.model.objective.error),)

    errors, spans = Errors(), kv.callbacks.StepHistory(every=3)
    keras.utils.set_random_seed(0)
    vae = kv.VAE(
        kv.networks.mlp_encoder([6]),
        kv.networks.mlp_decoder([6], (5,)),
        latent_dim=2,
        objective=kv.objectives.RateTarget(3.0),
        seed=0,
    )
    vae.compile(keras.optimizers.Adam(1e-2), jit_compile=False)
    vae.fit(X, batch_size=10, callbacks=[errors, spans], verbose=0)
    expected = [errors.found[place] for place in (2, 5, 6)]
    np.testing.assert_allclose(spans.history["rate_error"], expected, rtol=1e-6)


def test_spans_are_means_of_their_steps_and_end_with_the_epoch():
    each, spans = EachStep(), kv.callbacks.StepHistory(every=3)
    history = fit(make(), [each, spans]).history
    assert spans.history["step"] == [3, 6, 7, 10, 13, 14]
    expected = []
    for means in each.means:
        sums = np.array(means) * np.arange(1, 8)
        singles = np.diff(sums, prepend=0.0)
        expected += [singles[:3].mean(), singles[3:6].mean(), singles[6]]
    np.testing.assert_allclose(spans.history["kl_loss"], expected, rtol=1e-4)
    weights = np.array(each.weights)[[2, 5, 6, 9, 12, 13]]
    np.testing.assert_allclose(spans.history["kl_weight"], weights, rtol=1e-6)
    # The spans of an epoch have its mean.
    losses = np.array(spans.history["loss"]).reshape(2, 3) @ [3, 3, 1] / 7
    np.testing.assert_allclose(losses, history["loss"], rtol=1e-5)


def test_blocks_change_neither_the_spans_nor_the_run(monkeypatch):
    plain, blocks = (kv.callbacks.StepHistory(every=2) for _ in range(2))
    one, two, without = (make(False, steps) for steps in (1, "auto", "auto"))
    fit(one, [plain])
    # Also so short a run is trained in blocks.
    monkeypatch.setattr(kv.training.choice, "SHORT", 0)
    fit(two, [blocks])
    fit(without, [])
    assert plain.history.keys() == blocks.history.keys()
    for name, values in plain.history.items():
        np.testing.assert_allclose(blocks.history[name], values, rtol=1e-4)
    for a, b in zip(two.weights, without.weights, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-6)


def test_a_span_ends_with_an_execution():
    spans = kv.callbacks.StepHistory(every=2)
    fit(make(False, 4), [spans])
    assert spans.history["step"] == [4, 7, 11, 14]


def test_a_fit_that_goes_on_keeps_the_rows_of_the_steps_before(tmp_path):
    path, vae = tmp_path / "steps.csv", make()
    fit(vae, [kv.callbacks.StepHistory(4, path)], epochs=1, end=7)
    before = vae.get_weights(), [np.array(v) for v in vae.optimizer.variables]
    first = kv.callbacks.StepHistory.read(path)
    assert list(first)[0] == "step"
    assert list(first)[-1] == "kl_weight"
    # Of the second epoch, which is then run anew from the state before.
    fit(vae, [kv.callbacks.StepHistory(4, path)], epochs=2, initial_epoch=1)
    whole = kv.callbacks.StepHistory.read(path)
    assert (first["step"], whole["step"]) == ([4, 7], [4, 7, 11, 14])
    vae.set_weights(before[0])
    for variable, value in zip(vae.optimizer.variables, before[1], strict=True):
        variable.assign(value)
    fit(vae, [kv.callbacks.StepHistory(4, path)], epochs=2, initial_epoch=1)
    again = kv.callbacks.StepHistory.read(path)
    assert again["step"] == whole["step"]
    assert again["loss"][:2] == first["loss"]


def test_any_model_has_spans_of_its_logs():
    model = keras.Sequential([keras.layers.Dense(1)])
    model.compile("sgd", "mse")
    spans = kv.callbacks.StepHistory(every=5)
    model.fit(X, X[:, :1], batch_size=10, callbacks=[spans], verbose=0)
    assert set(spans.history) == {"step", "loss"}


def test_another_file_is_no_history(tmp_path):
    path = tmp_path / "steps.csv"
    path.write_text("step,loss\n1,many\n")
    with pytest.raises(ValueError, match="`path` must be new.*steps.csv"):
        fit(make(), [kv.callbacks.StepHistory(4, path)])
    path.write_text("epoch,loss\n1,2.0\n")
    with pytest.raises(ValueError, match="`path` must be new"):
        kv.callbacks.StepHistory.read(path)


def test_the_figure_draws_training_within_the_epochs():
    steps = {"step": [2, 4, 5], "kl_loss": [9.0, 2.0, 3.0], "kl_weight": [0.1, 0.9, 1]}
    history = {"kl_loss": [4.0], "val_kl_loss": [2.5], "kl_weight": [1.0]}
    figure = kv.figures.annealing(history, steps_per_epoch=5, steps=steps)
    left, right = figure.axes
    kl, held_out = left.get_lines()
    assert kl.get_xydata().tolist() == [[2, 9], [4, 2], [5, 3]]
    assert held_out.get_xydata().tolist() == [[5, 2.5]]
    assert right.get_lines()[0].get_xydata().tolist() == [[2, 0.1], [4, 0.9], [5, 1]]
    with pytest.raises(ValueError, match="`steps_per_epoch` must be given"):
        kv.figures.annealing(history, steps=steps)

"""What TensorBoard shows of a hierarchy."""

import numpy as np
import pytest
import recipes
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

import keras_vae as kv
from keras_vae.callbacks import level_pictures


def test_a_row_for_each_level_from_the_top():
    recipe = recipes.make("ladder")
    model, x = recipe.model, recipe.x[:3]
    recipe.build(model)
    # They start at zero, so that all levels say the same.
    for latent in model.latents[:-1]:
        latent.prior.head.kernel.assign(np.ones(latent.prior.head.kernel.shape))
    events, columns = level_pictures.what_each_level_adds(model, x, x)
    assert (len(events), columns) == (4 * 3, 3)
    data, top, two, whole = events.reshape(4, *x.shape)
    np.testing.assert_array_equal(data, x)
    np.testing.assert_array_equal(top, model.reconstruct(x, keep_levels=["level_3"]))
    kept = model.reconstruct(x, keep_levels=["level_2", "level_3"])
    np.testing.assert_array_equal(two, kept)
    np.testing.assert_allclose(whole, model.reconstruct(x), rtol=1e-5)
    assert np.abs(two - top).max() > 1e-6


def test_a_run_has_pictures_of_the_levels(tmp_path):
    recipe = recipes.make("two_levels")
    model = recipe.compile("adam", jit_compile=False)
    callback = kv.callbacks.TensorBoard(tmp_path, data=recipe.x[:6], num_images=4)
    model.fit(recipe.x, epochs=2, callbacks=[callback], verbose=0)
    events = EventAccumulator(str(tmp_path / "latent")).Reload()
    tags = events.Tags()["tensors"]
    assert {"images/levels", "images/kl_of_units", "latent/kl_per_unit"} <= set(tags)
    assert "images/traversals" not in tags
    assert len(events.Tensors("images/kl_of_units")) == 2


def test_heat_map_counts_epochs(tmp_path, monkeypatch):
    seen, original = [], kv.figures.unit_rates

    def draw(*args):
        seen.append(original(*args))
        return seen[-1]

    monkeypatch.setattr(level_pictures.figures, "unit_rates", draw)
    recipe = recipes.make("two_levels")
    model = recipe.compile("adam", jit_compile=False)
    callback = kv.callbacks.TensorBoard(tmp_path, data=recipe.x[:6], images_freq=2)
    model.fit(recipe.x, epochs=6, initial_epoch=2, callbacks=[callback], verbose=0)
    axes = seen[-1].axes[0]
    labels = zip(axes.get_xticks(), axes.get_xticklabels(), strict=True)
    found = {int(place): label.get_text() for place, label in labels}
    # Epochs 2 and 4, counted from 0, and the last one.
    assert found == {1: "3", 2: "5", 3: "6"}
    assert axes.get_xlabel() == "epoch"


def test_heat_map_holds_the_rates():
    rates = np.array([[0.5, 1.0, 2.0], [0.0, 3.0, 4.0]])
    figure = kv.figures.unit_rates(rates, {"level_1": 2, "level_2": 1})
    axes = figure.axes[0]
    np.testing.assert_array_equal(axes.get_images()[0].get_array(), rates.T)
    np.testing.assert_array_equal(axes.get_yticks(), [1.0, 2.5])
    labels = [label.get_text() for label in axes.get_xticklabels()]
    assert sorted(labels) == ["1", "2"]
    many = kv.figures.unit_rates(np.ones((50, 3)), {"level_1": 3}).axes[0]
    labels = [int(label.get_text()) for label in many.get_xticklabels()]
    assert (max(labels), len(labels) <= 8) == (50, True)
    with pytest.raises(ValueError, match="`epochs` must have one number for each"):
        kv.figures.unit_rates(rates, {"level_1": 3}, [1])

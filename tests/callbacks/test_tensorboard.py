import json
import os
import re
import subprocess
import sys
import time
import urllib.request

import keras
import matrix
import numpy as np
import pytest
import tensorflow as tf
from google.protobuf import text_format
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.custom_scalar import layout_pb2
from tensorboard.plugins.projector import projector_config_pb2
from tensorboard.util import tensor_util

import keras_vae as kv
from keras_vae.callbacks import TensorBoard

LATENT_DIM = 3
X = np.random.default_rng(0).uniform(size=(48, 8, 8, 1)).astype("float32")


def make_vae(event_shape=(8, 8, 1), prior="standard_normal", **kwargs):
    keras.utils.set_random_seed(1)
    # Keras cannot add losses in half precision.
    regularizer = "l2" if keras.config.dtype_policy().name == "float32" else None
    encoder = keras.Sequential(
        [
            keras.layers.Flatten(),
            keras.layers.Dense(16, "relu", activity_regularizer=regularizer),
            keras.layers.BatchNormalization(),
            keras.layers.Dropout(0.2),
        ]
    )
    vae = kv.VAE(
        encoder,
        kv.networks.mlp_decoder([16], event_shape),
        LATENT_DIM,
        prior=prior,
        seed=0,
        **kwargs,
    )
    vae.compile(keras.optimizers.Adam(1e-2))
    return vae


def read(directory):
    accumulator = EventAccumulator(str(directory), size_guidance={"tensors": 0})
    accumulator.Reload()
    return {
        tag: {event.step: event.tensor_proto for event in accumulator.Tensors(tag)}
        for tag in accumulator.Tags()["tensors"]
    }


def scalars(events):
    return [float(tensor_util.make_ndarray(proto)) for proto in events.values()]


def picture(proto):
    width, height, png = tensor_util.make_ndarray(proto)[:3]
    image = tf.io.decode_png(png).numpy()
    assert image.shape[:2] == (int(height), int(width))
    return image


# === What is written ===


def test_scalars_are_the_history(tmp_path):
    vae = make_vae()
    history = vae.fit(
        X,
        validation_data=(X[:16],),
        epochs=4,
        verbose=0,
        callbacks=[
            TensorBoard(tmp_path),
            kv.KLAnnealing(kv.schedules.linear("50%")),
        ],
    ).history
    train, validation = read(tmp_path / "train"), read(tmp_path / "validation")
    names = ["negative_elbo", "reconstruction_loss", "kl_loss", "loss", "kl_weight"]
    for name in names:
        np.testing.assert_allclose(
            scalars(train[f"epoch_{name}"]), history[name], rtol=1e-6, err_msg=name
        )
        if name != "kl_weight":
            np.testing.assert_allclose(
                scalars(validation[f"epoch_{name}"]), history[f"val_{name}"], rtol=1e-6
            )
    # Nothing twice: no weight of validation, no `evaluation_*_vs_iterations`.
    assert sorted(validation) == sorted(f"epoch_{name}" for name in names[:-1])
    others = {"epoch_learning_rate", "custom_scalars__config__"}
    assert set(train) == {f"epoch_{name}" for name in names} | others
    layout = layout_pb2.Layout()
    layout.ParseFromString(
        tensor_util.make_ndarray(train["custom_scalars__config__"][0]).item()
    )
    ((chart,),) = [category.chart for category in layout.category]
    shown = [tag for tag in train if any(re.match(t, tag) for t in chart.multiline.tag)]
    assert sorted(shown) == [
        "epoch_kl_loss",
        "epoch_kl_weight",
        "epoch_reconstruction_loss",
    ]


@pytest.mark.slow
def test_the_logs_of_evaluate_alone_are_written(tmp_path):
    vae, callback = make_vae(), TensorBoard(tmp_path)
    vae.fit(X, epochs=1, verbose=0, callbacks=[callback])
    logs = vae.evaluate(X, verbose=0, return_dict=True, callbacks=[callback])
    written = read(tmp_path / "validation")
    assert scalars(written["evaluation_loss_vs_iterations"]) == [
        pytest.approx(logs["loss"])
    ]


def test_projector_has_the_posterior_means_and_their_labels(tmp_path):
    vae = make_vae()
    labels = [f"a\t{i % 3}\n" for i in range(30)]
    callback = TensorBoard(tmp_path, data=X[:30], labels=labels)
    vae.fit(X, epochs=2, verbose=0, callbacks=[callback])
    config = projector_config_pb2.ProjectorConfig()
    directory = tmp_path / "latent"
    text_format.Parse((directory / "projector_config.pbtxt").read_text(), config)
    (embedding,) = config.embeddings
    means = np.loadtxt(directory / embedding.tensor_path, delimiter="\t")
    np.testing.assert_allclose(means, vae.encode(X[:30])[0], atol=1e-4)
    lines = (directory / embedding.metadata_path).read_text().splitlines()
    assert lines == [f"a {i % 3}" for i in range(30)]


def test_projector_has_the_units_of_the_largest_kl_where_there_are_many(
    tmp_path, monkeypatch
):
    monkeypatch.setattr("keras_vae.callbacks.tensorboard._PROJECTED", 1)
    vae = make_vae()
    callback = TensorBoard(tmp_path, data=X[:30])
    vae.fit(X, epochs=2, verbose=0, callbacks=[callback])
    means = np.loadtxt(tmp_path / "latent" / "means.tsv", delimiter="\t", ndmin=2)
    mean, stddev = vae.encode(X[:30])
    kl = kv.metrics.kl_to_standard_normal(mean, stddev).mean(axis=0)
    best = [int(np.argmax(kl))]
    np.testing.assert_allclose(means, mean.numpy()[:, best], atol=1e-4)


@pytest.mark.slow
def test_the_plane_is_that_of_the_epochs_of_this_fit(tmp_path):
    callback = TensorBoard(tmp_path, images_freq=2)
    settings = {"validation_data": (X[:16],), "verbose": 0, "callbacks": [callback]}
    vae = make_vae()
    vae.fit(X, epochs=1, **settings)
    history = vae.fit(X, epochs=3, **settings).history
    events = read(tmp_path / "latent")["images/rate_distortion"]
    expected = kv.figures.pixels(kv.figures.rate_distortion_path(history))
    np.testing.assert_array_equal(picture(events[2]), expected)
    events = read(tmp_path / "latent")["images/annealing"]
    expected = kv.figures.pixels(kv.figures.annealing(history))
    np.testing.assert_array_equal(picture(events[2]), expected)


@pytest.mark.slow
def test_without_data_only_what_needs_none(tmp_path):
    make_vae().fit(X, epochs=2, verbose=0, callbacks=[TensorBoard(tmp_path)])
    assert sorted(read(tmp_path / "latent")) == [
        "images/annealing",
        "images/rate_distortion",
        "images/samples",
        "images/traversals",
    ]
    assert sorted(os.listdir(tmp_path)) == ["latent", "train"]


@pytest.mark.slow
def test_one_event_file_in_each_directory(tmp_path):
    callback = TensorBoard(tmp_path, data=X)
    make_vae().fit(X, validation_data=(X,), epochs=2, verbose=0, callbacks=[callback])
    files = [sum("tfevents" in f for f in files) for _, _, files in os.walk(tmp_path)]
    assert files == [0, 1, 1, 1]


@pytest.mark.slow
def test_units_are_those_of_the_data(tmp_path):
    vae = make_vae()
    vae.fit(X, epochs=3, verbose=0, callbacks=[TensorBoard(tmp_path, data=X[:30])])
    events = read(tmp_path / "latent")
    mean, stddev = vae.encode(X[:30])
    kl = kv.metrics.kl_to_standard_normal(mean, stddev).mean(axis=0)
    histogram = tensor_util.make_ndarray(events["latent/kl_per_unit"][2])
    assert histogram[:, 2].sum() == LATENT_DIM
    np.testing.assert_allclose(histogram[0, 0], kl.min(), rtol=1e-4)
    np.testing.assert_allclose(histogram[-1, 1], kl.max(), rtol=1e-4)
    assert scalars(events["latent/active_units"])[-1] == (
        kv.metrics.active_units(mean).number
    )


@pytest.mark.slow
def test_units_over_several_batches_of_data(tmp_path, monkeypatch):
    monkeypatch.setattr("keras_vae.callbacks.tensorboard._BATCH_SIZE", 7)
    vae = make_vae()
    vae.fit(X, epochs=1, verbose=0, callbacks=[TensorBoard(tmp_path, data=X)])
    histogram = tensor_util.make_ndarray(
        read(tmp_path / "latent")["latent/kl_per_unit"][0]
    )
    kl = kv.metrics.kl_to_standard_normal(*vae.encode(X)).mean(axis=0)
    np.testing.assert_allclose(histogram[-1, 1], kl.max(), rtol=1e-4)


def test_pictures(tmp_path):
    vae = make_vae()
    vae.fit(
        X,
        epochs=1,
        verbose=0,
        callbacks=[TensorBoard(tmp_path, data=X, num_images=10, seed=5)],
    )
    events = read(tmp_path / "latent")
    # Cells of 8 pixels and a line of 1, fourfold.
    picture_of = {
        tag: picture(events[f"images/{tag}"][0])[::4, ::4]
        for tag in ("reconstructions", "samples", "traversals")
    }
    # Ten examples in columns of four: three rows, each with its reconstructions.
    assert picture_of["reconstructions"].shape == (6 * 9 - 1, 4 * 9 - 1, 1)
    assert picture_of["samples"].shape == (3 * 9 - 1, 4 * 9 - 1, 1)
    assert picture_of["traversals"].shape == (LATENT_DIM * 9 - 1, 9 * 9 - 1, 1)

    def pixels(events):
        return np.rint(255 * np.asarray(events))

    rows = picture_of["reconstructions"]
    np.testing.assert_array_equal(rows[18:26, 9:17], pixels(X[5]))
    decoded = vae.reconstruct(X[5:6])[0]
    np.testing.assert_allclose(rows[27:35, 9:17], pixels(decoded), atol=1)
    assert (rows[36:, 18:] == 255).all()
    samples = vae.generate(10, seed=5)
    np.testing.assert_allclose(
        picture_of["samples"][9:17, :8], pixels(samples[4]), atol=1
    )
    kl = kv.metrics.kl_to_standard_normal(*vae.encode(X)).mean(axis=0)
    first = vae.decode(kv.figures.traversal(LATENT_DIM, dims=[kl.argmax()]))
    np.testing.assert_allclose(
        picture_of["traversals"][:8, -8:], pixels(first[-1]), atol=1
    )


@pytest.mark.slow
def test_pictures_every_n_epochs_and_in_the_last(tmp_path):
    callback = TensorBoard(tmp_path, data=X, images_freq=3)
    make_vae().fit(X, epochs=6, verbose=0, callbacks=[callback])
    for events in read(tmp_path / "latent").values():
        assert list(events) == [0, 3, 5]


@pytest.mark.slow
def test_no_look_at_the_model(tmp_path):
    callback = TensorBoard(tmp_path, data=X, images_freq=0)
    make_vae().fit(X, epochs=1, verbose=0, callbacks=[callback])
    assert os.listdir(tmp_path) == ["train"]


@pytest.mark.slow
def test_grey_values_are_scaled_by_the_range_of_the_data(tmp_path):
    x = 4 * X - 2
    vae = make_vae(likelihood="normal")
    vae.fit(x, epochs=1, verbose=0, callbacks=[TensorBoard(tmp_path, data=x)])
    image = picture(read(tmp_path / "latent")["images/reconstructions"][0])
    expected = np.rint(255 * (x[0] - x.min()) / (x.max() - x.min()))
    np.testing.assert_array_equal(image[:32:4, :32:4], expected)


@pytest.mark.parametrize(
    "event_shape", matrix.first(2, [((8, 8, 3),), ((16,),), ((8, 2),), ((4, 4, 2),)])
)
def test_events_of_any_shape(event_shape, tmp_path):
    x = np.random.default_rng(0).uniform(size=(20, *event_shape))
    vae = make_vae(event_shape)
    vae.fit(x, epochs=1, verbose=0, callbacks=[TensorBoard(tmp_path, data=x)])
    events = read(tmp_path / "latent")
    assert {"latent/active_units", "latent/kl_per_unit"} <= set(events)
    assert ("images/samples" in events) == kv.figures.is_image(event_shape)


@pytest.mark.parametrize(
    ("prior", "has_kl"),
    [("learned_normal", True), (kv.priors.VampPrior(4), False)]
    + [(kv.priors.GaussianMixture(4), False)],
)
@pytest.mark.slow
def test_kl_of_units_only_where_there_is_one(prior, has_kl, tmp_path):
    vae = make_vae(prior=prior, objective=kv.ELBO(kl="monte_carlo"))
    vae.fit(X, epochs=1, verbose=0, callbacks=[TensorBoard(tmp_path, data=X)])
    events = read(tmp_path / "latent")
    assert ("latent/kl_per_unit" in events) == has_kl
    assert "latent/active_units" in events


@pytest.mark.slow
def test_full_covariance_and_mixed_precision(tmp_path):
    keras.config.set_dtype_policy("mixed_float16")
    vae = make_vae(posterior="full_covariance_normal")
    vae.fit(X, epochs=1, verbose=0, callbacks=[TensorBoard(tmp_path, data=X)])
    events = read(tmp_path / "latent")
    histogram = tensor_util.make_ndarray(events["latent/kl_per_unit"][0])
    assert histogram[:, 2].sum() == LATENT_DIM
    assert "images/traversals" in events


def test_a_target_of_another_shape_than_the_input(tmp_path):
    vae = make_vae((4, 4, 1))
    callback = TensorBoard(tmp_path, data=X, num_images=4)
    vae.fit(X, X[:, ::2, ::2], epochs=1, verbose=0, callbacks=[callback])
    image = picture(read(tmp_path / "latent")["images/reconstructions"][0])
    assert image.shape == (9 * 8, 9 * 8, 1)


def test_scalars_of_a_model_that_is_no_vae(tmp_path):
    x = keras.Input((8, 8, 1))
    z = kv.layers.Latent(LATENT_DIM, seed=0)(keras.layers.Flatten()(x))
    model = keras.Model(x, kv.networks.mlp_decoder([16], (8, 8, 1))(z))
    model.compile("adam", loss=kv.losses.NegativeLogLikelihood("bernoulli"))
    history = model.fit(X, X, epochs=2, verbose=0, callbacks=[TensorBoard(tmp_path)])
    train = read(tmp_path / "train")
    np.testing.assert_allclose(
        scalars(train["epoch_kl_loss"]), history.history["kl_loss"], rtol=1e-6
    )
    with pytest.raises(ValueError, match="`keras_vae.VAE` to encode and decode"):
        model.fit(X, X, verbose=0, callbacks=[TensorBoard(tmp_path, data=X)])


@pytest.mark.slow
def test_a_model_that_has_diverged_trains_on(tmp_path):
    vae = make_vae()
    vae.fit(X, epochs=1, verbose=0)
    vae.latent.head.bias.assign(np.full(2 * LATENT_DIM, np.nan))
    vae.fit(X, epochs=1, verbose=0, callbacks=[TensorBoard(tmp_path, data=X)])
    events = read(tmp_path / "latent")
    assert "latent/active_units" not in events
    assert np.isnan(scalars(read(tmp_path / "train")["epoch_loss"])).all()


# === When it is written ===


@pytest.mark.slow
def test_epochs_are_recorded_between_recorded_batches(tmp_path):
    callback = TensorBoard(tmp_path, data=X, update_freq=7)
    make_vae().fit(X, batch_size=16, epochs=5, verbose=0, callbacks=[callback])
    train, latent = read(tmp_path / "train"), read(tmp_path / "latent")
    for events in (train["epoch_loss"], latent["images/samples"]):
        assert list(events) == [0, 1, 2, 3, 4]
    # Older TensorFlow records the batches between as well.
    assert {7, 14} <= set(train["batch_loss"])


@pytest.mark.slow
def test_each_epoch_can_be_read_at_its_end(tmp_path):
    seen = []

    class Reader(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            events = [read(tmp_path / run) for run in ("train", "latent")]
            seen.append([len(e[t]) for e, t in zip(events, tags, strict=True)])

    tags = ["epoch_loss", "images/samples"]
    callbacks = [TensorBoard(tmp_path), Reader()]
    make_vae().fit(X, epochs=3, verbose=0, callbacks=callbacks)
    assert seen == [[1, 1], [2, 2], [3, 3]]


@pytest.mark.slow
def test_a_second_fit_goes_on(tmp_path):
    vae, callback = make_vae(), TensorBoard(tmp_path, data=X)
    vae.fit(X, epochs=2, verbose=0, callbacks=[callback])
    vae.fit(X, initial_epoch=2, epochs=4, verbose=0, callbacks=[callback])
    assert list(read(tmp_path / "latent")["images/samples"]) == [0, 1, 2, 3]


# === What it leaves behind: nothing ===


@pytest.mark.parametrize(
    ("prior", "steps_per_execution", "jit_compile", "policy"),
    matrix.first(
        1,
        [
            ("standard_normal", 1, False, "float32"),
            ("vamp", 1, False, "mixed_float16"),
            ("vamp", 1, False, "float32"),
            ("standard_normal", 3, True, "float32"),
        ],
    ),
)
def test_training_is_bitwise_the_same(
    prior, steps_per_execution, jit_compile, policy, tmp_path
):
    def train(callbacks):
        keras.config.set_dtype_policy(policy)
        model_prior = kv.priors.VampPrior(4, seed=0) if prior == "vamp" else prior
        vae = make_vae(prior=model_prior, objective=kv.ELBO(kl="monte_carlo"))
        vae.compile(
            keras.optimizers.Adam(1e-2),
            steps_per_execution=steps_per_execution,
            jit_compile=jit_compile,
        )
        keras.utils.set_random_seed(2)
        callbacks.append(kv.KLAnnealing(kv.schedules.linear("50%")))
        history = vae.fit(
            X,
            validation_data=(X[:16],),
            batch_size=8,
            epochs=2,
            verbose=0,
            callbacks=callbacks,
        ).history
        return vae, history

    plain, history = train([])
    watched, watched_history = train([TensorBoard(tmp_path, data=X)])
    assert watched_history == history
    assert len(watched.losses) <= len(plain.losses)
    for mine, theirs in zip(watched.weights, plain.weights, strict=True):
        np.testing.assert_array_equal(mine, theirs, err_msg=mine.path)
    for mine, theirs in zip(
        watched.optimizer.variables, plain.optimizer.variables, strict=True
    ):
        np.testing.assert_array_equal(mine, theirs, err_msg=mine.path)


# === Errors ===


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"data": "digits"}, "`data` must be an array of numbers"),
        ({"data": tf.data.Dataset.range(3)}, "`data` must be an array of numbers"),
        ({"data": np.zeros(5)}, "`data` must have a batch axis"),
        ({"data": np.zeros((0, 8, 8, 1))}, "`data` must hold at least one example"),
        ({"data": np.full((2, 8), np.inf)}, "`data` must be finite"),
        ({"data": X, "labels": "ab"}, "`labels` must be one .* 2 labels, and 48 ex"),
        ({"labels": "ab"}, "`labels` must be one .* 2 labels, and no examples"),
        ({"images_freq": -1}, "`images_freq` must be an integer, at least 0"),
        ({"images_freq": 0.5}, "`images_freq` must be an integer, at least 0"),
        ({"num_images": 0}, "`num_images` must be a positive integer"),
        ({"seed": None}, "`seed` must be an integer, at least 0"),
    ],
)
def test_arguments_out_of_range(arguments, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        TensorBoard(tmp_path, **arguments)


@pytest.mark.parametrize("shape", [(5, 64), (5, 8, 8), (5, 8, 8, 3), (5, 9, 8, 1)])
def test_data_of_another_shape(shape, tmp_path):
    vae = make_vae()
    with pytest.raises(ValueError, match="`data` must have the shape of the model's"):
        vae.fit(X, verbose=0, callbacks=[TensorBoard(tmp_path, data=np.zeros(shape))])
    assert int(vae.optimizer.iterations) == 0


# === The real thing ===


@pytest.fixture
def server(tmp_path):
    """Trains two epochs into `runs/digits` and serves `runs` on the loopback."""
    x_train, x_test = kv.datasets.digits()
    callback = TensorBoard(tmp_path / "runs" / "digits", data=x_test)
    make_vae().fit(
        x_train, validation_data=(x_test,), epochs=2, verbose=0, callbacks=[callback]
    )
    command = [sys.executable, "-m", "tensorboard.main", "--logdir", "runs"]
    log = tmp_path / "log"
    with log.open("w") as out:
        process = subprocess.Popen(
            [*command, "--host=127.0.0.1", "--port=0", "--load_fast=false"],
            cwd=tmp_path,
            stdout=out,
            stderr=out,
        )
    try:
        deadline = time.monotonic() + 120
        while not (found := re.search(r"http://\S+?:\d+/", log.read_text())):
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.2)
        yield found[0]
    finally:
        process.terminate()
        process.wait(30)


def get(url):
    with urllib.request.urlopen(url, timeout=30) as response:
        return response.read()


@pytest.mark.slow
def test_tensorboard_serves_scalars_histograms_and_images(server):
    plugins = f"{server}data/plugin"
    runs = {f"digits/{name}" for name in ("train", "validation", "latent")}
    deadline = time.monotonic() + 60
    while not runs <= set(json.loads(get(f"{server}data/runs"))):
        assert time.monotonic() < deadline
        time.sleep(0.5)
    tags = {
        name: json.loads(get(f"{plugins}/{name}/tags"))
        for name in ("scalars", "histograms", "images")
    }
    expected = {"epoch_negative_elbo", "epoch_reconstruction_loss", "epoch_kl_loss"}
    expected |= {"epoch_kl_weight", "epoch_loss"}
    assert expected <= set(tags["scalars"]["digits/train"])
    assert expected <= set(tags["scalars"]["digits/validation"])
    assert "latent/active_units" in tags["scalars"]["digits/latent"]
    assert "latent/kl_per_unit" in tags["histograms"]["digits/latent"]
    names = {f"images/{n}" for n in ("reconstructions", "samples", "traversals")}
    assert names == set(tags["images"]["digits/latent"])

    query = "run=digits/latent&tag=latent/kl_per_unit"
    histograms = json.loads(get(f"{plugins}/histograms/histograms?{query}"))
    assert [step for _, step, _ in histograms] == [0, 1]
    for name in names:
        query = f"run=digits/latent&tag={name}&sample=0"
        images = json.loads(get(f"{plugins}/images/images?{query}"))
        assert [image["step"] for image in images] == [0, 1]
        png = get(f"{plugins}/images/individualImage?{images[-1]['query']}")
        assert tf.io.decode_png(png).shape[2] == 1


# === Conditions ===


def conditional_vae(conditions):
    model = kv.VAE(
        kv.networks.mlp_encoder([8], conditions=conditions),
        kv.networks.mlp_decoder([8], (4, 4, 1), conditions=conditions),
        latent_dim=2,
        prior="conditional",
        conditions=conditions,
        seed=0,
    )
    model.compile("adam")
    return model


@pytest.mark.parametrize("conditions", [{"label": 3}, {"label": 3, "age": None}])
@pytest.mark.slow
def test_pictures_are_under_conditions(tmp_path, monkeypatch, conditions):
    random = np.random.default_rng(0)
    data = {
        "x": np.float32(random.integers(0, 2, (12, 4, 4, 1))),
        "label": np.arange(12) % 3,
        "age": np.float32(random.normal(size=12)),
    }
    data = {name: data[name] for name in ("x", *conditions)}
    asked = {}

    def watched(model, n, seed=None, noise=False, condition=None):
        asked.update(condition, n=n)
        return generate(model, n, seed, noise, condition)

    generate = kv.VAE.generate
    monkeypatch.setattr(kv.VAE, "generate", watched)
    callback = kv.TensorBoard(tmp_path, data=data, num_images=4)
    conditional_vae(conditions).fit(data, verbose=0, callbacks=[callback])
    # Whole rows of all classes, or the conditions of the first examples.
    labels = [0, 1, 2, 0, 1, 2] if len(conditions) == 1 else [0, 1, 2, 0]
    assert asked["n"] == len(labels)
    np.testing.assert_array_equal(asked["label"], labels)
    if "age" in conditions:
        np.testing.assert_array_equal(asked["age"], data["age"][:4])


def test_data_without_their_conditions_are_an_error(tmp_path):
    x = np.zeros((12, 4, 4, 1), "float32")
    model = conditional_vae({"label": 3})
    for data, message in (
        (x, "`data` must be a dict with the keys"),
        ({"x": x, "label": np.full(12, 3)}, r"`label` must be labels in \[0, 3\)"),
    ):
        with pytest.raises(ValueError, match=message):
            model.fit(
                {"x": x, "label": np.arange(12) % 3},
                callbacks=[kv.TensorBoard(tmp_path, data=data)],
                verbose=0,
            )

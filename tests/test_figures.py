import sys

import matplotlib
import matrix
import numpy as np
import pytest

import keras_vae as kv
from keras_vae import figures
from keras_vae.figures import drawing
from keras_vae.figures import epochs

RNG = np.random.default_rng(0)
IMAGES = RNG.uniform(size=(20, 8, 6, 1))
HISTORY = {
    "loss": [9.0, 8.0, 7.0],
    "negative_elbo": [30.0, 20.0, 12.5],
    "val_negative_elbo": [31.0, 21.0, 13.5],
    "reconstruction_loss": [29.0, 18.0, 10.0],
    "val_reconstruction_loss": [29.5, 18.5, 10.5],
    "kl_loss": [1.0, 2.0, 2.5],
    "val_kl_loss": [1.5, 2.5, 3.0],
    "kl_weight": [0.0, 0.5, 1.0],
    "val_kl_weight": [0.0, 0.5, 1.0],
}


# === Grids ===


@pytest.mark.parametrize(
    ("shape", "expected"),
    [((8, 8), True), ((8, 8, 1), True), ((8, 8, 3), True)]
    + [((8, 8, 2), False), ((8,), False), ((2, 8, 8, 1), False), ((), False)],
)
def test_is_image(shape, expected):
    assert figures.is_image(shape) is expected


def test_image_grid_places_every_pixel():
    images = np.array([[[0.0, 1.0]], [[0.5, 2.0]], [[-1.0, np.nan]]])[..., None]
    grid = figures.image_grid(images, columns=2)
    assert grid.dtype == np.uint8
    # One white pixel between images; the fourth cell is empty.
    assert grid[..., 0].tolist() == [
        [0, 255, 255, 128, 255],
        [255, 255, 255, 255, 255],
        [0, 0, 255, 255, 255],
    ]


def test_image_grid_without_padding_is_a_reshape():
    images = RNG.uniform(size=(6, 4, 5, 3))
    grid = figures.image_grid(images, columns=3, padding=0)
    expected = images.reshape(2, 3, 4, 5, 3).swapaxes(1, 2).reshape(8, 15, 3)
    np.testing.assert_array_equal(grid, np.rint(255 * expected))


def test_image_grid_is_about_square_and_never_wider_than_its_images():
    assert figures.image_grid(np.zeros((10, 2, 2, 1)), padding=0).shape == (6, 8, 1)
    assert figures.image_grid(np.zeros((2, 4, 4)), columns=9).shape == (4, 9, 1)


@pytest.mark.parametrize("shape", [(4, 16), (0, 8, 8, 1), (4, 8, 8, 2)])
def test_image_grid_of_something_else(shape):
    with pytest.raises(ValueError, match="`images` must be .* Received: images.shape="):
        figures.image_grid(np.zeros(shape))


def test_traversal_moves_one_latent_at_a_time():
    latents = figures.traversal(3, num_steps=5, limit=2.0, dims=[2, 0])
    steps = [-2.0, -1.0, 0.0, 1.0, 2.0]
    expected = [[0, 0, step] for step in steps] + [[step, 0, 0] for step in steps]
    assert latents.dtype == np.float32
    assert latents.tolist() == expected
    assert figures.traversal(3, num_steps=5).shape == (15, 3)


@pytest.mark.parametrize("dims", [[3], [-1]])
def test_traversal_of_unknown_units(dims):
    with pytest.raises(ValueError, match="`dims` must be in \\[0, 3\\)"):
        figures.traversal(3, dims=dims)


# === Reports ===


@pytest.fixture
def report(monkeypatch):
    """Returns what a report draws, by the title of the axes."""

    def draw(*args, **kwargs):
        drawn = []
        with monkeypatch.context() as patch:
            patch.setattr(drawing, "save", lambda figure, path: drawn.append(figure))
            figures.training_report("report.png", *args, **kwargs)
        return {axes.get_title("left"): axes for axes in drawn[0].axes}

    return draw


def test_report_draws_images(report):
    drawn = report(IMAGES, 1 - IMAGES, IMAGES[:4], IMAGES.reshape(4, 5, 8, 6, 1), {})
    pixels = [
        drawn[title].get_images()[0].get_array()
        for title in (
            "Data and its reconstructions",
            "Samples from the prior",
            "Traversals: one latent from \N{MINUS SIGN}2.5 to 2.5",
        )
    ]
    pairs = np.concatenate([IMAGES[:16], 1 - IMAGES[:16]])
    np.testing.assert_array_equal(pixels[0], figures.image_grid(pairs, 16)[..., 0])
    np.testing.assert_array_equal(pixels[1], figures.image_grid(IMAGES[:4], 2)[..., 0])
    np.testing.assert_array_equal(pixels[2], figures.image_grid(IMAGES, 5)[..., 0])
    assert len(drawn) == 3


def test_report_names_the_traversed_units(report):
    images = IMAGES.reshape(4, 5, 8, 6, 1)
    drawn = report(IMAGES, IMAGES, None, images, {}, dims=[7, 3, 1, 0], limit=3.0)
    axes = drawn["Traversals: one latent from \N{MINUS SIGN}3 to 3"]
    names = [label.get_text() for label in axes.get_yticklabels()]
    assert names == ["$z_{7}$", "$z_{3}$", "$z_{1}$", "$z_{0}$"]


def test_report_draws_vectors_as_lines(report):
    x = RNG.normal(size=(10, 5))
    drawn = report(x, x + 1, x, x.reshape(2, 5, 5), {})
    first = drawn["Data and its reconstructions, by index"].get_lines()
    np.testing.assert_array_equal(first[0].get_ydata(), x[0])
    np.testing.assert_array_equal(first[1].get_ydata(), x[0] + 1)
    samples = drawn["Samples from the prior, by index"].get_lines()
    assert len(samples) == 11
    np.testing.assert_array_equal(samples[3].get_ydata(), x[3])
    np.testing.assert_allclose(samples[-1].get_ydata(), x.mean(axis=0))
    unit = drawn["Traversals: one latent from \N{MINUS SIGN}2.5 (blue) to 2.5 (red)"]
    np.testing.assert_array_equal(unit.get_lines()[4].get_ydata(), x[4])


def test_report_names_the_columns(report):
    x = np.arange(30.0).reshape(6, 5)
    columns = ["a", "b", "cost in $", "d", "very long name"]
    drawn = report(x, x, x, x[None], {}, columns=columns)
    names = ["a", "b", "cost in $", "d", "very long\N{HORIZONTAL ELLIPSIS}"]
    assert "Samples from the prior, by column" in drawn
    for axes in drawn.values():
        assert [text.get_text() for text in axes.get_xticklabels()] == names
        assert axes.get_xticks().tolist() == [0, 1, 2, 3, 4]
    # Where there is no room for all, every so many are named.
    wide = np.zeros((3, 300))
    drawn = report(wide, wide, wide, None, {}, columns=list(map(str, range(300))))
    for axes in drawn.values():
        places = axes.get_xticks()
        steps = np.diff(places)
        assert places[0] == 0
        assert 1 < steps[0] == steps[-1] < 60
        texts = [text.get_text() for text in axes.get_xticklabels()]
        assert texts == [str(place) for place in places]
    with pytest.raises(
        ValueError, match="`columns` must be one name for each.*2 names"
    ):
        report(x, x, None, None, {}, columns=["a", "b"])


def test_report_draws_the_history(report):
    drawn = report(IMAGES, IMAGES, None, None, HISTORY)
    elbo = drawn["Negative ELBO and distortion"]
    assert elbo.get_ylabel() == drawn["Rate (KL)"].get_ylabel() == "nats"
    curves = {line.get_label(): line for line in elbo.get_lines()}
    assert {name: line.get_ydata().tolist() for name, line in curves.items()} == {
        "\N{MINUS SIGN}ELBO": HISTORY["negative_elbo"],
        "\N{MINUS SIGN}ELBO, validation": HISTORY["val_negative_elbo"],
        "distortion": HISTORY["reconstruction_loss"],
        "distortion, validation": HISTORY["val_reconstruction_loss"],
    }
    assert curves["distortion"].get_xdata().tolist() == [1, 2, 3]
    weight = drawn["KL weight"]
    assert [line.get_ydata().tolist() for line in weight.get_lines()] == [[0, 0.5, 1]]
    assert weight.get_ylim()[0] == 0


def test_report_sums_up_the_last_epoch():
    assert epochs.summary(HISTORY) == (
        "3 epochs; last validation: \N{MINUS SIGN}ELBO 13.5 nats, "
        "distortion 10.5 nats, rate 3 nats"
    )
    assert epochs.summary({"kl_loss": [2.0]}) == "1 epoch; last training: rate 2 nats"
    assert epochs.summary({}) == "0 epochs"


@pytest.mark.parametrize(
    ("curve", "low", "high"),
    [
        ([100.0, 2.0], -3.88, 105.88),
        ([1e4] + [10.0, 20.0] * 20, 9.4, 20.6),
        ([30.0] + [10.0, 20.0] * 20, 8.8, 31.2),
        ([5.0, 5.0], 4.7, 5.3),
        ([0.0], -0.06, 0.06),
        ([np.nan, np.inf], -0.06, 0.06),
    ],
)
def test_limits_leave_out_first_epochs_far_above_the_others(curve, low, high):
    assert epochs._limits([np.array(curve)]) == pytest.approx((low, high))


@pytest.mark.parametrize("epochs", matrix.first(2, [0, 1, 2, 200]))
@pytest.mark.parametrize(
    "event",
    matrix.first(2, [((8, 8, 1),), ((8, 8, 3),), ((8, 8),), ((12,),), ((3, 4, 2),)]),
)
def test_report_is_a_png_1400_pixels_wide(epochs, event, tmp_path, monkeypatch):
    from matplotlib.image import imread

    # Neither a display nor global state: pyplot must not even be imported.
    monkeypatch.setitem(sys.modules, "matplotlib.pyplot", None)
    path = tmp_path / "new" / "report.png"
    x = RNG.uniform(size=(6, *event))
    history = {key: RNG.uniform(size=epochs) for key in HISTORY}
    figures.training_report(path, x, x, x, x.reshape(2, 3, *event), history)
    assert imread(path).shape[1] == 1400
    assert list(path.parent.iterdir()) == [path]


def test_report_draws_one_sample_of_each_class_in_a_row(report):
    samples = np.repeat(np.arange(6.0) % 3 / 2, 48).reshape(6, 8, 6, 1)
    drawn = report(IMAGES, IMAGES, samples, None, {}, across=3)
    pixels = drawn["Samples from the prior"].get_images()[0].get_array()
    np.testing.assert_array_equal(pixels, figures.image_grid(samples, 3)[..., 0])


def test_report_replaces_the_old_one_only_when_complete(tmp_path, monkeypatch):
    from matplotlib.figure import Figure

    def fail(self, path, **kwargs):
        path.write_bytes(b"half")
        raise OSError("disk full")

    path = tmp_path / "report.png"
    path.write_bytes(b"old")
    monkeypatch.setattr(Figure, "savefig", fail)
    with pytest.raises(OSError, match="disk full"):
        figures.training_report(path, IMAGES, IMAGES, None, None, {})
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_report_of_unlike_arrays():
    with pytest.raises(ValueError, match=r"`reconstructions` must .*\(3, 8, 6, 1\)"):
        figures.training_report("report.png", IMAGES, IMAGES[:3], None, None, {})


# === Weights ===


@pytest.mark.parametrize("shape", [(6, 6, 1), (6, 6, 3), (7,)])
@pytest.mark.parametrize("number", [2, 20])
def test_by_weight_draws_all_kinds_of_events(shape, number, tmp_path):
    x = RNG.uniform(size=(3, number, *shape))
    figures.by_weight(tmp_path / "w.png", x[0], x, x[:, :5], ["a", "b", "c"])
    assert (tmp_path / "w.png").read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"


@pytest.mark.parametrize("names", [["a"], ["a", "b", "c", "d"]])
def test_by_weight_needs_a_name_for_each_row(names, tmp_path):
    x = np.zeros((3, 4, 5))
    with pytest.raises(ValueError, match="`reconstructions` must have shape .* names"):
        figures.by_weight(tmp_path / "w.png", x[0], x, x, names)
    assert not (tmp_path / "w.png").exists()


def test_annealing_has_two_axes_and_a_file(tmp_path):
    history = {
        "kl_loss": [9.0, 2.0, 3.0],
        "val_kl_loss": [8.0, 2.5, 2.9],
        "kl_weight": [0.1, 0.9, 1.0],
    }
    path = tmp_path / "annealing.png"
    left, right = figures.annealing(history, steps_per_epoch=50, path=path).axes
    kl, validation = left.get_lines()
    (weight,) = right.get_lines()
    for line, name in ((kl, "kl_loss"), (validation, "val_kl_loss")):
        assert line.get_ydata().tolist() == history[name]
        assert line.get_xdata().tolist() == [50, 100, 150]
    assert weight.get_ydata().tolist() == history["kl_weight"]
    assert left.get_xlabel() == "step"
    assert path.read_bytes()[1:4] == b"PNG"
    assert figures.pixels(figures.annealing({})).shape == (460, 720, 3)
    figures.pixels(left.figure)  # Places are known once it is drawn.
    texts = left.findobj(matplotlib.text.Text)
    (title,) = [x for x in texts if x.get_text() == left.get_title("left")]
    legend = left.get_legend().get_window_extent()
    for artist in (title, left):
        assert not legend.overlaps(artist.get_window_extent().padded(-1))


def test_the_forecast_lies_dashed_below_the_curves():
    x, _ = kv.datasets.digits()
    found = kv.linear_forecast(x[:200], latent_dim=3, noise=1.0)
    names = ("beta", "rate", "distortion", "negative_elbo", "active_units")
    columns = {name: getattr(found, name) for name in names}
    figure = kv.figures.rate_distortion({"": columns}, forecast=columns)
    for axes, across, up in zip(
        figure.axes, ("rate", "beta", "beta"), names[2:], strict=True
    ):
        (line,) = [x for x in axes.get_lines() if x.get_label().startswith("Linear")]
        np.testing.assert_array_equal(line.get_xdata(), columns[across])
        np.testing.assert_array_equal(line.get_ydata(), columns[up])
        assert line.get_linestyle() == "--"
